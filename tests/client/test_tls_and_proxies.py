"""Whom a client trusts, and which way its requests go."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from client_calls import (
    INSTANCE,
    MakeClient,
    get,
    trigger,
)

from airflow_provider_enos import errors
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.exchange import AT_ONCE
from airflow_provider_enos.simulator import EnosSimulator

# ---- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_sim(authority: trustme.CA) -> Iterator[EnosSimulator]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with EnosSimulator(tls=context) as sim:
        yield sim


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)


def test_a_certificate_of_an_unknown_authority_is_refused(
    tls_sim: EnosSimulator, client_for: MakeClient, ca_file: str
) -> None:
    client_for(tls_sim, verify=ca_file).call(calls.get_current_time())
    seen = len(tls_sim.requests)
    for _ in range(2):
        with pytest.raises(errors.EnosTransportError, match="TLS failed: SSLCertVerificationError") as caught:
            client_for(tls_sim).call(trigger())
        assert caught.value.tls
        assert not caught.value.sent
    assert len(tls_sim.requests) == seen


def test_a_refused_certificate_is_not_asked_for_again(
    tls_sim: EnosSimulator, client_for: MakeClient, pauses: list[float]
) -> None:
    client = client_for(tls_sim)
    with pytest.raises(errors.EnosTransportError, match="TLS failed"):
        client.call(calls.get_current_time())
    assert pauses == []


def test_a_certificate_for_another_name_is_refused(
    tls_sim: EnosSimulator, client_for: MakeClient, ca_file: str
) -> None:
    client = client_for(tls_sim, url=f"https://localhost:{tls_sim.port}", verify=ca_file)
    with pytest.raises(errors.EnosTransportError, match=r"TLS failed: .*localhost") as caught:
        client.call(calls.get_current_time())
    assert caught.value.tls
    assert tls_sim.requests == []


def test_a_ca_file_of_the_connection(tls_sim: EnosSimulator, client_for: MakeClient, ca_file: str) -> None:
    assert client_for(tls_sim, verify=ca_file).call(trigger()) == INSTANCE


def test_a_ca_file_of_the_environment(
    tls_sim: EnosSimulator, client_for: MakeClient, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_file)
    assert client_for(tls_sim).call(trigger()) == INSTANCE


def test_verify_false_is_taken_at_its_word(
    tls_sim: EnosSimulator, client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the environment has a CA file, and without a warning at each request to this host."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        client = client_for(tls_sim, verify=False)
        assert client.call(trigger()) == INSTANCE
        assert client.call(get()).flow_id == 3377
    assert warned == []


def test_others_are_still_warned_of_unverified_requests(tls_sim: EnosSimulator, client_for: MakeClient) -> None:
    import requests
    from urllib3.exceptions import InsecureRequestWarning

    with warnings.catch_warnings():
        client_for(tls_sim, verify=False).call(calls.get_current_time())
        with pytest.warns(InsecureRequestWarning, match="localhost"):
            requests.get(f"https://localhost:{tls_sim.port}/", verify=False, timeout=5)


def test_plain_http_where_tls_is_spoken(tls_sim: EnosSimulator, client_for: MakeClient) -> None:
    client = client_for(tls_sim, url=f"http://127.0.0.1:{tls_sim.port}", options={"retry": AT_ONCE})
    with pytest.raises(errors.EnosTransportError, match="the connection broke"):
        client.call(calls.get_current_time())


def test_tls_where_plain_http_is_spoken(sim: EnosSimulator, client_for: MakeClient) -> None:
    client = client_for(sim, url=f"https://127.0.0.1:{sim.port}", options={"retry": AT_ONCE})
    with pytest.raises(errors.EnosTransportError, match="TLS failed") as caught:
        client.call(calls.get_current_time())
    assert caught.value.tls


# ---- proxies ---------------------------------------------------------------------------------------------------------


def test_the_proxy_of_the_environment_is_used(
    sim: EnosSimulator, client_for: MakeClient, proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert client_for(sim).call(trigger()) == INSTANCE
    assert [line.split()[0] for line in proxy.lines] == ["POST", "POST"]
    assert all(line.split()[1].startswith(sim.url) for line in proxy.lines)


def test_no_proxy_is_respected(
    sim: EnosSimulator, client_for: MakeClient, proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert client_for(sim).call(trigger()) == INSTANCE
    assert proxy.lines == []


def test_a_proxy_that_refuses_the_tunnel(
    tls_sim: EnosSimulator, client_for: MakeClient, ca_file: str, proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_for(tls_sim, verify=ca_file).call(calls.get_current_time())
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    client = client_for(tls_sim, verify=ca_file, options={"retry": AT_ONCE})
    with pytest.raises(
        errors.EnosTransportError, match=r"the proxy http://127.0.0.1:\d+ \(HTTPS_PROXY\) refused with HTTP 403$"
    ) as caught:
        client.call(trigger())
    assert not caught.value.sent
    assert {line.split()[0] for line in proxy.lines} == {"CONNECT"}
