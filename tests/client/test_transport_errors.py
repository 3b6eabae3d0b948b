from __future__ import annotations

import errno
import socket
import ssl
from typing import Any

import pytest

from airflow_provider_enos.client import transport_errors
from airflow_provider_enos.client.route import Proxy, Route
from airflow_provider_enos.errors import EnosReplyError

GATEWAY = "https://gateway"
DIRECT = Route(GATEWAY, None, None)
PROXIED = Route(GATEWAY, Proxy("HTTPS_PROXY", "http://proxy:3128", "Basic c2VjcmV0"), None)
PLAIN = Route("http://gateway", Proxy("HTTP_PROXY", "http://proxy:3128", None), None)
REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed")
EOF = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
VIA = "https://gateway, by the proxy http://proxy:3128 (HTTPS_PROXY)"


def wrapped(reason: BaseException) -> BaseException:
    """As an HTTP library hands it on."""
    error = RuntimeError("of a library")
    error.__cause__ = ValueError(reason)
    return error


CASES: list[tuple[Route, BaseException, str, bool]] = [
    (DIRECT, socket.gaierror(-2, "x"), f"{GATEWAY}: the host name cannot be resolved", False),
    (
        PROXIED,
        socket.gaierror(-2, "x"),
        f"{GATEWAY}: the host name of the proxy http://proxy:3128 (HTTPS_PROXY) can",
        False,
    ),
    (DIRECT, REFUSED, f"{GATEWAY}: cannot connect: ConnectionRefusedError: Connection refused", False),
    (PROXIED, REFUSED, f"{GATEWAY}: cannot connect to the proxy http://proxy:3128 (HTTPS_PROXY): ConnectionRef", False),
    (DIRECT, OSError(errno.ENETUNREACH, "x"), f"{GATEWAY}: cannot connect: OSError: Network is unreachable", False),
    (DIRECT, TimeoutError(), f"{GATEWAY}: no connection in time", False),
    (DIRECT, TimeoutError(errno.ETIMEDOUT, "x"), f"{GATEWAY}: no connection in time", False),
    (DIRECT, ConnectionAbortedError("SSL handshake is taking longer"), f"{GATEWAY}: no connection in time", False),
    (PROXIED, TimeoutError(), f"{VIA}: no connection in time", False),
    (DIRECT, ssl.SSLCertVerificationError("self-signed"), f"{GATEWAY}: TLS failed: SSLCertVerificationError", True),
    (DIRECT, ssl.SSLError("?"), f"{GATEWAY}: TLS failed: SSLError", True),
    (DIRECT, EOF, f"{GATEWAY}: the connection was closed before it was set up", False),
    (PROXIED, EOF, f"{VIA}: the connection was closed before it was set up, or the proxy's answer", False),
    (DIRECT, ConnectionResetError(errno.ECONNRESET, "x"), f"{GATEWAY}: the connection was closed before", False),
    (DIRECT, ValueError("x"), f"{GATEWAY}: the connection was closed before it was set up", False),
]


@pytest.mark.parametrize(("route", "reason", "said", "tls"), CASES, ids=lambda value: str(value)[:40])
def test_what_was_surely_not_sent(route: Route, reason: BaseException, said: str, tls: bool) -> None:
    """Only that may be sent again blindly."""
    for error in (reason, wrapped(reason)):
        failure = transport_errors.lost(route, error, connected=False)
        assert str(failure).startswith(said)
        assert (failure.sent, failure.tls) == (False, tls)


@pytest.mark.parametrize(
    ("reason", "said"),
    [(TimeoutError(), "no reply in time"), (REFUSED, "the connection broke"), (EOF, "the connection broke")],
    ids=str,
)
def test_what_may_have_been_sent(reason: BaseException, said: str) -> None:
    failure = transport_errors.lost(DIRECT, wrapped(reason), connected=True)
    assert str(failure).startswith(f"{GATEWAY}: {said}")
    assert (failure.sent, failure.tls) == (True, False)


def test_what_the_caller_was_handling_is_no_reason() -> None:
    error, before = RuntimeError(), ssl.SSLCertVerificationError("of long ago")
    error.__context__ = before
    assert "TLS" not in str(transport_errors.lost(DIRECT, error, connected=False, handled=before))
    before.__context__ = error
    assert list(transport_errors.chain(error, None)) == [error, before]


@pytest.mark.parametrize(("route", "sent"), [(PROXIED, False), (PLAIN, True)])
def test_a_proxy_that_refuses(route: Any, sent: bool) -> None:
    """A tunnel carries nothing before it stands; a plain request another proxy may have passed on."""
    failure = transport_errors.refused_by_proxy(route, 407)
    assert "the proxy http://proxy:3128 (" in str(failure)
    assert "HTTP 407 (it wants a user name and password)" in str(failure)
    assert failure.sent is sent


def test_replies_that_cannot_be_read() -> None:
    assert isinstance(transport_errors.undecodable(GATEWAY), EnosReplyError)
    assert "32 MiB" in str(transport_errors.too_large(GATEWAY, 200, 32 * 2**20))
    assert "small pieces" in str(transport_errors.too_many_pieces(GATEWAY, 200))
