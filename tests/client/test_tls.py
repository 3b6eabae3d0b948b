"""One TLS context for all tenants with the same certificate authorities, and what makes a new one."""

from __future__ import annotations

import os
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from airflow_provider_enos.client import tls
from airflow_provider_enos.errors import EnosSetupError


@pytest.fixture(autouse=True)
def no_shared_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "_shared", {})


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    return write(trustme.CA(), tmp_path / "ca.pem")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """As ``openssl rehash`` leaves one."""
    path = tmp_path / "authorities"
    path.mkdir()
    write(trustme.CA(), path / "0123abcd.0")
    (path / "4567abcd.0").symlink_to(path / "gone.pem")
    return path


def write(authority: trustme.CA, path: Path) -> Path:
    authority.cert_pem.write_to_path(str(path))
    return path


def test_all_who_trust_the_same_share_a_context(pem: Path, folder: Path) -> None:
    for verify in (True, str(pem), str(folder)):
        assert tls.shared_context(verify) is tls.shared_context(verify)
    assert len({id(tls.shared_context(verify)) for verify in (True, str(pem), str(folder))}) == 3


def test_the_environment_decides_when_a_context_is_asked_for(pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_certifi = tls.shared_context(True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    assert tls.shared_context(True) is tls.shared_context(str(pem))
    assert tls.shared_context(True) is not of_certifi


def test_a_file_that_is_renewed_is_loaded_again(pem: Path) -> None:
    before = tls.shared_context(str(pem))
    authority = trustme.CA()
    write(authority, pem)
    now = tls.shared_context(str(pem))
    assert now is not before
    assert now.get_ca_certs(binary_form=True) == [ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())]


def test_a_mounted_secret_that_is_swapped_is_loaded_again(tmp_path: Path) -> None:
    """Kubernetes turns a link to another directory; size and time of the file may be what they were."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write(trustme.CA(), tmp_path / name / "ca.pem")
        os.utime(tmp_path / name / "ca.pem", (1_000, 1_000))
    link, path = tmp_path / "data", str(tmp_path / "data" / "ca.pem")
    link.symlink_to("first")
    before = tls.shared_context(path)
    link.unlink()
    link.symlink_to("second")
    assert tls.shared_context(path) is not before


def test_a_file_that_comes_into_a_directory_is_noticed(folder: Path) -> None:
    before = tls.shared_context(str(folder))
    shutil.copy(folder / "0123abcd.0", folder / "89abcdef.0")
    assert tls.shared_context(str(folder)) is not before


def test_what_cannot_be_loaded_is_tried_again(pem: Path) -> None:
    good = pem.read_bytes()
    before = tls.shared_context(str(pem))
    pem.write_text("no certificate")
    for _ in range(2):
        with pytest.raises(EnosSetupError, match="no certificates in PEM form"):
            tls.shared_context(str(pem))
    pem.write_bytes(good)
    assert tls.shared_context(str(pem)) is not before


def test_a_bounded_number_of_contexts_is_kept(pem: Path, tmp_path: Path) -> None:
    for number in range(60):
        shutil.copy(pem, tmp_path / f"{number}.pem")
        tls.shared_context(str(tmp_path / f"{number}.pem"))
    assert len(tls._shared) <= 20


def test_what_may_be_changed_is_not_shared(pem: Path) -> None:
    """urllib3 writes to the context that it gets, and a context that checks nothing costs nothing."""
    assert tls.new_context(str(pem)) is not tls.new_context(str(pem))
    assert tls.shared_context(False) is not tls.shared_context(False)
    assert tls.shared_context(False).verify_mode is ssl.CERT_NONE
