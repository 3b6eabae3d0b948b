"""What the environment says of proxies and certificate authorities: the same for both drivers, right or wrong."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import gc
import json
import logging
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from happened import until
from rogue import drive_with_aiohttp, drive_with_requests, reply, rogue_proxy
from worker import Log

from airflow_provider_enos.client import route, settings, sync
from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.client.sync import SyncClient
from airflow_provider_enos.errors import EnosError, EnosServerError, EnosSetupError, EnosTransportError
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.protocol.models import AccessToken
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers.enos import EnosFlowEventTrigger, EnosFlowInstanceTrigger

SECRET = "the-secret-key-of-the-connection"
PASSWORD = "pr0xy-pa55word"
DRIVES = (drive_with_requests, drive_with_aiohttp)
TRIGGER = calls.trigger_flow_from_task(3377, 108580, 1594016819108)


def connected_to(url: str, **extra: Any) -> settings.Settings:
    options = {"org_id": "o1", "user_id": "u1", "timeout": 5, "allow_http": True, **extra}
    given = SimpleNamespace(host=url, schema=None, port=None, login="key", password=SECRET, extra=options)
    return settings.read(given)


def outcomes(found: settings.Settings, call: Any = TRIGGER) -> list[Any]:
    """Of both drivers: the result; or class, ``sent`` and text of the error. A token is there already."""
    results: list[Any] = []
    for drive in DRIVES:
        sync.shared_gateway(found)._hold(AccessToken("a-token-that-is-held", 7200))
        try:
            results.append(drive(found, call))
        except EnosError as error:
            results.append((type(error), error.sent, str(error)))
    return results


# ---- a setting that cannot work -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def pem(authority: trustme.CA, tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


@pytest.fixture
def tls_sim(authority: trustme.CA) -> Iterator[EnosSimulator]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    with EnosSimulator(tls=context) as sim:
        yield sim


def no_file(folder: Path) -> str:
    return str(folder / "missing.pem")


def no_certificate(folder: Path) -> str:
    (folder / "note.pem").write_text("this is no certificate")
    return str(folder / "note.pem")


def a_broken_certificate(folder: Path) -> str:
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n")
    return str(folder / "broken.pem")


def an_empty_file(folder: Path) -> str:
    (folder / "empty.pem").touch()
    return str(folder / "empty.pem")


def an_empty_folder(folder: Path) -> str:
    (folder / "empty").mkdir()
    return str(folder / "empty")


def a_pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe.pem")
    return str(folder / "pipe.pem")


def a_loop_of_links(folder: Path) -> str:
    (folder / "loop.pem").symlink_to(folder / "loop.pem")
    return str(folder / "loop.pem")


def below_a_file(folder: Path) -> str:
    (folder / "file").touch()
    return str(folder / "file" / "ca.pem")


BAD_AUTHORITIES: dict[str, tuple[Callable[[Path], str], str]] = {
    "missing": (no_file, "no such file or directory"),
    "no PEM": (no_certificate, "it holds no certificates in PEM form"),
    "broken PEM": (a_broken_certificate, "it holds no certificates in PEM form, or one that is broken"),
    "empty": (an_empty_file, "it holds no certificates in PEM form"),
    "empty folder": (an_empty_folder, "no file in this directory has a name by which OpenSSL finds it"),
    "a pipe": (a_pipe, "it is neither a file nor a directory"),
    "a device": (lambda _: "/dev/zero", "it is neither a file nor a directory"),
    "a loop of links": (a_loop_of_links, "too many levels of symbolic links"),
    "below a file": (below_a_file, "not a directory"),
    "a name that is too long": (lambda folder: f"{folder}/{'x' * 300}.pem", "file name too long"),
    # It is a file that nobody can read, root neither.
    "unreadable": (lambda _: "/proc/self/mem", "input/output error"),
}


@pytest.mark.parametrize("setting", ["verify", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize(("make", "said"), BAD_AUTHORITIES.values(), ids=BAD_AUTHORITIES)
def test_authorities_that_cannot_be_used(
    make: Any, said: str, setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path)
    if setting != "verify":
        monkeypatch.setenv(setting, path)
    found = connected_to("https://127.0.0.1:1", verify=path if setting == "verify" else True)
    first, second = outcomes(found)
    assert first == second
    assert first[:2] == (EnosSetupError, False)
    assert first[2].startswith(f"{setting}='{path[:50]}")
    assert said in first[2]
    assert first[2].endswith("expected a CA file in PEM form, or a CA directory")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_authorities_that_others_may_not_read(kind: str, pem: Path, tmp_path: Path) -> None:
    place = pem if kind == "file" else tmp_path
    place.chmod(0)
    try:
        first, second = outcomes(connected_to("https://127.0.0.1:1", verify=str(place)))
    finally:
        place.chmod(0o700)
    assert first == second
    assert "permission denied" in first[2]


BAD_PROXIES = {
    "a port that is no number": ("http://proxy.example.com:https", "the proxy's port is not a number from 1 to 65535"),
    "a port that is too high": ("http://proxy.example.com:65536", "the proxy's port is not a number from 1 to 65535"),
    "port 0": ("http://proxy.example.com:0", "the proxy's port is not a number from 1 to 65535"),
    "no host": ("http://", "the proxy's address has no host"),
    "a port alone": ("http://:3128", "the proxy's address has no host"),
    "user and password alone": (f"http://me:{PASSWORD}@", "the proxy's address has no host"),
    "a host that is none": ("http://pro xy:3128", "the proxy's address cannot be read"),
    "a host of dots": ("http://..:3128", "the proxy's address cannot be read"),
    "a host with a sign": ("http://pro$xy:3128", "the proxy's host is neither a host name nor an IP address"),
    "IPv6 that is none": ("http://[::1", "the proxy's address cannot be read"),
    "SOCKS": (f"socks5://me:{PASSWORD}@127.0.0.1:1080", "proxies with socks5:// are not supported"),
    "SOCKS by name": ("socks5h://127.0.0.1:1080", "proxies with socks5h:// are not supported"),
    "another scheme": (f"{PASSWORD}://127.0.0.1", "proxies with this scheme are not supported"),
    "a password with a number sign": (f"http://me:{PASSWORD}#1@127.0.0.1:3128", "the proxy's address cannot be read"),
    "a password with a slash": (f"http://me:{PASSWORD}/1@127.0.0.1:3128", "the proxy's address cannot be read"),
    "a password with a question mark": (f"http://me:{PASSWORD}?@127.0.0.1:3128", "the proxy's address cannot be read"),
    "a password with a bracket": (f"http://me:{PASSWORD}[@127.0.0.1:3128", "the proxy's address cannot be read"),
    "a password with a space": (f"http://me:{PASSWORD} 1@127.0.0.1:3128", "the proxy's address cannot be read"),
    "a password and a wrong port": (f"http://me:{PASSWORD}@127.0.0.1:x", "the proxy's port is not a number"),
    "a password and no scheme": (f"me:{PASSWORD}@127.0.0.1:99999", "the proxy's port is not a number"),
    "a line break": (f"http://me:{PASSWORD}@127.0.0.1\n:3128", "the proxy's address cannot be read"),
    "bytes that are no text": ("http://\udcff:3128", "the proxy's address cannot be read"),
}


@pytest.mark.parametrize("setting", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(("address", "said"), BAD_PROXIES.values(), ids=BAD_PROXIES)
def test_a_proxy_that_cannot_be_used(address: str, said: str, setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(setting, address)
    first, second = outcomes(connected_to("https://127.0.0.1:1"))
    assert first == second
    assert first[:2] == (EnosSetupError, False)
    assert first[2].startswith(f"{setting}: {said}")
    assert PASSWORD not in first[2]
    assert "me" not in first[2].partition(";")[0].replace("name", "").replace("scheme", "")


def test_a_no_proxy_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    monkeypatch.setenv("NO_PROXY", "\udcff/8")
    first, second = outcomes(connected_to("https://127.0.0.1:1"))
    assert first == second
    assert first[:2] == (EnosSetupError, False)
    assert first[2].startswith("NO_PROXY: it cannot be read; expected host names")


def of_simulator(sim: EnosSimulator, **extra: Any) -> settings.Settings:
    return dataclasses.replace(
        connected_to(sim.url, org_id=sim.org_id, user_id=sim.user_id, **extra),
        access_key=sim.access_key,
        secret_key=sim.secret_key,
    )


def test_what_is_mended_works_with_the_next_call(
    tls_sim: EnosSimulator, pem: Path, tmp_path: Path, pauses: list[float]
) -> None:
    """A file that is mounted may come back: nothing remembers that it was missing. Nor is a call repeated for it."""
    path = tmp_path / "mounted" / "ca.pem"
    path.parent.mkdir()
    client = SyncClient(of_simulator(tls_sim, verify=str(path)))
    with pytest.raises(EnosSetupError) as caught:
        client.call(calls.get_time_zone())
    assert not caught.value.final
    assert caught.value.setting == "verify"
    assert pauses == []
    path.write_bytes(pem.read_bytes())
    assert client.call(calls.get_time_zone()) == "GMT+8"
    client.close()


def test_the_same_in_the_triggerer(tls_sim: EnosSimulator, pem: Path, tmp_path: Path) -> None:
    path = tmp_path / "mounted.pem"

    async def main() -> str:
        async with AsyncClient(of_simulator(tls_sim, verify=str(path))) as client:
            with pytest.raises(EnosSetupError):
                await client.call(calls.get_time_zone())
            path.write_bytes(pem.read_bytes())
            return await client.call(calls.get_time_zone())

    assert asyncio.run(main()) == "GMT+8"


def test_opening_ahead_of_time_raises_nothing() -> None:
    """The first call raises the error, which a wait for an instance tolerates."""
    client = SyncClient(connected_to("https://127.0.0.1:1", verify="/no/ca.pem"))
    client.open()
    with pytest.raises(EnosSetupError, match="no such file"):
        client.call(TRIGGER)


def test_plain_http_needs_no_authorities(monkeypatch: pytest.MonkeyPatch, sim: EnosSimulator) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file")
    assert route.route_to(connected_to(sim.url)).trust is None


# ---- what works -----------------------------------------------------------------------------------------------------


def hashed_folder(pem: Path) -> Path:
    """A directory as OpenSSL wants it."""
    folder = pem.parent / "authorities"
    folder.mkdir()
    name = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", str(pem)], capture_output=True, text=True, check=True
    ).stdout.strip()
    (folder / f"{name}.0").write_bytes(pem.read_bytes())
    return folder


@pytest.mark.parametrize("setting", ["verify", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_is_trusted(
    kind: str, setting: str, tls_sim: EnosSimulator, pem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(pem if kind == "file" else hashed_folder(pem))
    if setting != "verify":
        monkeypatch.setenv(setting, place)
    found = of_simulator(tls_sim, verify=place if setting == "verify" else True)
    assert outcomes(found, calls.get_time_zone()) == ["GMT+8", "GMT+8"]


def basic(user: str, encoding: str = "latin-1") -> str:
    return f"Basic {base64.b64encode(user.encode(encoding)).decode()}"


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("http://proxy:3128", ("http://proxy:3128", None)),
        ("http://proxy:3128/", ("http://proxy:3128", None)),
        (" http://proxy:3128 ", ("http://proxy:3128", None)),
        ("proxy:3128", ("http://proxy:3128", None)),
        ("proxy", ("http://proxy:80", None)),
        ("HTTPS://proxy", ("https://proxy:443", None)),
        ("http://[::1]:3128", ("http://[::1]:3128", None)),
        ("http://pr\u00f6xy.example.com:1", ("http://xn--prxy-6qa.example.com:1", None)),
        ("http://me:p%40ss%20w%C3%B6rd@proxy", ("http://proxy:80", basic("me:p@ss w\u00f6rd"))),
        ("me:p%40ss%20w%C3%B6rd@proxy:80", ("http://proxy:80", basic("me:p@ss w\u00f6rd"))),
        ("http://me@proxy", ("http://proxy:80", basic("me:"))),
        ("http://me:%E2%82%AC@proxy", ("http://proxy:80", basic("me:\u20ac", "utf-8"))),
    ],
)
def test_addresses_of_proxies(address: str, found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    proxy = route.route_to(connected_to("https://gateway.example.com")).proxy
    assert proxy is not None
    assert (proxy.address, proxy.authorization) == found
    assert str(proxy) == f"the proxy {found[0]} (HTTPS_PROXY)"
    assert "Basic" not in repr(proxy)


@pytest.mark.parametrize("drive", DRIVES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_only_the_proxy_is_told_its_password(
    drive: Any,
    scheme: str,
    authority: trustme.CA,
    pem: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In each request that it sees, and never inside the tunnel, nor in a log at level DEBUG."""
    caplog.set_level(logging.DEBUG)
    inside: list[bytes] = []
    data = json.dumps({"code": 0, "data": {"timezone": "GMT+8"}}).encode()

    def answer(line: socket.socket) -> None:
        if scheme == "http":
            line.sendall(reply(data))
            return
        line.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("gateway.example.com").configure_cert(context)
        with context.wrap_socket(line.dup(), server_side=True) as gateway:
            inside.append(gateway.recv(65536))
            gateway.sendall(reply(data))
            gateway.recv(1)

    with rogue_proxy(answer) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy.url.replace("//", f"//me:{PASSWORD}@"))
        found = connected_to(f"{scheme}://gateway.example.com", verify=str(pem))
        sync.shared_gateway(found)._hold(AccessToken("a-token-that-is-held", 7200))
        assert drive(found, calls.get_time_zone()) == "GMT+8"
    wanted = "proxy-authorization: basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode().lower()
    assert [head.lower().count(wanted) for head in proxy.heard] == [1]
    assert b"proxy-authorization" not in b"".join(inside).lower()
    assert len(inside) == (scheme == "https")
    assert PASSWORD not in caplog.text
    assert wanted.rpartition(" ")[2] not in caplog.text.lower()


# ---- proxies that fail ----------------------------------------------------------------------------------------------


def closing(data: bytes = b"", *, reset: bool = False) -> Callable[[socket.socket], None]:
    def answer(line: socket.socket) -> None:
        line.sendall(data)
        if reset:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        line.shutdown(socket.SHUT_RDWR)

    return answer


def without_tls(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    line.recv(65536)
    line.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    line.recv(65536)


def refusing(status: int) -> bytes:
    body = f"<html>no, me:{PASSWORD}</html>".encode()
    return b"HTTP/1.1 %d Not %s\r\nContent-Length: %d\r\n\r\n%s" % (status, PASSWORD.encode(), len(body), body)


CLOSED = "the connection was closed before it was set up, or the proxy's answer is no HTTP"
TUNNELS: dict[str, tuple[Any, str]] = {
    "407": (refusing(407), "{proxy} refused with HTTP 407 (it wants a user name and password)"),
    "502": (refusing(502), "{proxy} refused with HTTP 502"),
    "403": (refusing(403), "{proxy} refused with HTTP 403"),
    "503": (refusing(503), "{proxy} refused with HTTP 503"),
    "a redirect": (refusing(302), "{proxy} refused with HTTP 302"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "{proxy} refused with HTTP 204"),
    "407 without a body, and closes": (closing(b"HTTP/1.1 407 x\r\n\r\n"), "{proxy} refused with HTTP 407 (it wants"),
    "garbage": (closing(b"\x00\xffnonsense\r\n\r\n"), CLOSED),
    "half a head": (closing(b"HTTP/1.1 200 O"), CLOSED),
    "closes at once": (closing(), CLOSED),
    "200, and closes": (closing(b"HTTP/1.1 200 OK\r\n\r\n"), CLOSED),
    "200, and resets": (closing(b"HTTP/1.1 200 OK\r\n\r\n", reset=True), CLOSED),
    "never answers": (lambda line: line.recv(1), "no connection in time"),
    "200, and never speaks": (b"HTTP/1.1 200 OK\r\n\r\n", "no connection in time"),
    "200, and no TLS": (without_tls, "TLS failed: SSLError: WRONG_VERSION_NUMBER"),
}
PLAIN: dict[str, tuple[Any, type[EnosError], str]] = {
    "407": (refusing(407), EnosTransportError, "{proxy} refused with HTTP 407 (it wants a user name and password)"),
    "502": (refusing(502), EnosServerError, "Trigger Flow From Task: 502"),
    "garbage": (closing(b"\x00\xffnonsense\r\n\r\n"), EnosTransportError, "the connection broke"),
    "closes at once": (closing(), EnosTransportError, "the connection broke"),
    "never answers": (lambda line: line.recv(1), EnosTransportError, "no reply in time"),
}


# aiohttp 3.11 may leave the connection of a tunnel that fails to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("answer", "said"), TUNNELS.values(), ids=TUNNELS)
def test_a_tunnel_that_does_not_come_about(answer: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent to the gateway: the request may be sent again, a trigger too."""
    with rogue_proxy(answer) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", f"//me:{PASSWORD}@"))
        first, second = outcomes(connected_to("https://gateway.example.com", timeout=1))
        assert sum(head.startswith("CONNECT gateway.example.com:443 ") for head in proxy.heard) == 2
        # What else it may have heard is a TLS handshake.
        assert not any("trigger" in head for head in proxy.heard)
    assert first == second
    assert first[:2] == (EnosTransportError, False)
    assert said.format(proxy=f"the proxy {proxy.url} (HTTPS_PROXY)") in first[2]
    assert proxy.url in first[2]
    assert first[2].startswith("https://gateway.example.com")
    assert PASSWORD not in first[2]
    gc.collect()


@pytest.mark.parametrize(("answer", "cls", "said"), PLAIN.values(), ids=PLAIN)
def test_a_proxy_that_may_have_passed_it_on(
    answer: Any, cls: type[EnosError], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rogue_proxy(answer) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        first, second = outcomes(connected_to("http://gateway.example.com", timeout=1))
        assert len(proxy.heard) == 2
    assert first == second
    assert first[:2] == (cls, True)
    assert said.format(proxy=f"the proxy {proxy.url} (HTTP_PROXY)") in first[2]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("ALL_PROXY", f"http://me:{PASSWORD}@127.0.0.1:{port}")
    first, second = outcomes(connected_to(f"{scheme}://gateway.example.com"))
    assert first == second
    assert first[:2] == (EnosTransportError, False)
    assert first[2] == (
        f"{scheme}://gateway.example.com: cannot connect to the proxy http://127.0.0.1:{port} (ALL_PROXY): "
        "ConnectionRefusedError: Connection refused"
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_whose_name_is_unknown(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://me:{PASSWORD}@surely-nowhere.invalid:3128")
    first, second = outcomes(connected_to(f"{scheme}://gateway.example.com"))
    assert first == second
    assert first[:2] == (EnosTransportError, False)
    said = "the host name of the proxy http://surely-nowhere.invalid:3128 (ALL_PROXY) cannot be resolved"
    assert first[2] == f"{scheme}://gateway.example.com: {said}"


def test_a_certificate_that_is_refused_behind_a_proxy(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("gateway.example.com").configure_cert(context)
        context.wrap_socket(line.dup(), server_side=True)

    with rogue_proxy(answer) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        first, second = outcomes(connected_to("https://gateway.example.com"))
    assert first == second
    assert first[:2] == (EnosTransportError, False)
    assert "TLS failed: SSLCertVerificationError: CERTIFICATE_VERIFY_FAILED" in first[2]


# ---- who uses it ----------------------------------------------------------------------------------------------------


@pytest.fixture
def unmounted(tls_sim: EnosSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A connection whose CA file is not there yet."""
    path = tmp_path / "unmounted.pem"
    extra = {"org_id": tls_sim.org_id, "user_id": tls_sim.user_id, "verify": str(path)}
    fields = {"host": tls_sim.url, "login": tls_sim.access_key, "password": tls_sim.secret_key, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", json.dumps({"conn_type": "enos", **fields}))
    return path


def test_the_hook(unmounted: Path) -> None:
    hook = EnosHook()
    with pytest.raises(EnosSetupError, match=r"^verify="):
        hook.run(calls.get_time_zone())
    with pytest.raises(EnosSetupError, match=r"^verify="):
        asyncio.run(hook.arun(calls.get_time_zone()))
    works, said = hook.test_connection()
    assert not works
    assert said.startswith("Nothing was sent. verify='")


def test_a_trigger_waits_through_it(unmounted: Path, tls_sim: EnosSimulator, pem: Path) -> None:
    """A wait for a known instance does not end because of a file that is mounted again soon."""
    tls_sim.progress = "manual"
    instance = tls_sim.trigger(3377, 108580, 1594016819108)
    tls_sim.finish(instance.id, "SUCCESS")
    trigger = EnosFlowInstanceTrigger(
        instance.id, enos_conn_id="enos_default", poll_interval=0.05, deadline=time.time() + 60, known=True
    )

    async def main() -> list[Any]:
        asyncio.get_running_loop().call_later(0.5, lambda: unmounted.write_bytes(pem.read_bytes()))
        async with asyncio.timeout(60):
            return [event.payload async for event in trigger.run()]

    (payload,) = asyncio.run(main())
    assert (payload["flow_instance_id"], payload["status"], payload["error"]) == (instance.id, "ended", None)


def test_a_kill_says_why_it_cannot_cancel(unmounted: Path) -> None:
    trigger = EnosFlowInstanceTrigger(
        "3377-20200706062600", enos_conn_id="enos_default", poll_interval=0.05, deadline=time.time() + 60
    )
    trigger._log = log = Log()
    asyncio.run(trigger.on_kill())
    assert "cancelling 3377-20200706062600 failed: verify='" in str(log.lines)


def test_events_are_waited_for_all_the_same(unmounted: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If the trigger ended, Airflow would start it again every two seconds."""
    trigger = EnosFlowEventTrigger(3377, poll_interval=0.05)

    async def main() -> bool:
        task = asyncio.create_task(anext(aiter(trigger.run())))
        await until(lambda: "will go on trying: verify='" in caplog.text or task.done())
        await asyncio.sleep(0.2)
        ended = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return ended

    assert not asyncio.run(main())
