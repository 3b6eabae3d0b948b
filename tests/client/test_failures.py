from __future__ import annotations

import ssl

import pytest
from fake_tenant import api_error

from airflow_provider_enos.client import failures
from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosRateLimitError,
    EnosReplyError,
    EnosServerError,
    EnosTransportError,
)

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
    assert "32 MiB" in str(failures.too_large(GATEWAY, 200))


def test_a_list_that_fails_is_asked_for_again_later_each_time() -> None:
    passing = api_error(EnosServerError)
    pauses = failures.ListPauses()
    assert [pauses.failed(passing) for _ in range(6)] == [5, 10, 20, 40, 60, 60]
    pauses.worked()
    assert pauses.failed(passing) == 5
    refused = failures.ListPauses()
    assert [refused.failed(api_error(EnosAccessError, 62103)) for _ in range(6)] == [60, 120, 240, 480, 600, 600]
    assert failures.ListPauses().failed(TimeoutError()) == 60
    assert failures.ListPauses().failed(None) == 5


def test_a_quota_says_for_how_long() -> None:
    busy = api_error(EnosRateLimitError, 429)
    assert isinstance(busy, EnosRateLimitError)
    busy.retry_after = 30.0
    assert failures.ListPauses().failed(busy) == 30
    busy.retry_after = 3600.0
    assert failures.ListPauses().failed(busy) == 60
