from __future__ import annotations

import ssl

import pytest

from airflow_provider_enos.client import failures
from airflow_provider_enos.errors import EnosReplyError, EnosTransportError

GATEWAY = "https://gateway"


@pytest.mark.parametrize(
    ("error", "sent", "text"),
    [
        (failures.unresolved(GATEWAY), False, "the host name cannot be resolved"),
        (failures.unconnected(GATEWAY, ConnectionRefusedError("no")), False, "cannot connect: ConnectionRefusedError"),
        (failures.no_connection_in_time(GATEWAY), False, "no connection in time"),
        (failures.tls(GATEWAY, ssl.SSLCertVerificationError("self-signed")), False, "TLS failed: .*self-signed"),
        (failures.tls(GATEWAY, ssl.SSLError("EOF")), True, "TLS failed: SSLError"),
        (failures.proxy(GATEWAY), False, "the proxy failed"),
        (failures.proxy("http://gateway"), True, "the proxy failed"),
        (failures.no_reply_in_time(GATEWAY), True, "no reply in time"),
        (failures.broken(GATEWAY, ConnectionResetError("gone")), True, "the connection broke: ConnectionResetError"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_whether_it_was_sent(error: EnosTransportError, sent: bool, text: str) -> None:
    """Only what surely was not sent may be sent again blindly."""
    assert error.sent is sent
    with pytest.raises(EnosTransportError, match=f"^https?://gateway: {text}"):
        raise error


def test_replies_that_cannot_be_read() -> None:
    assert isinstance(failures.undecodable(GATEWAY), EnosReplyError)
    assert "32 MiB" in str(failures.too_large(GATEWAY, 200, 32 * 2**20))
    assert "small pieces" in str(failures.too_many_pieces(GATEWAY, 200))
