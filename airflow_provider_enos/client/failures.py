"""What can go wrong on the way, in the same words for both drivers, and whether the request may have been sent."""

from __future__ import annotations

import ssl

from airflow_provider_enos.errors import (
    EnosRateLimitError,
    EnosReplyError,
    EnosServerError,
    EnosTransportError,
)
from airflow_provider_enos.protocol.text import excerpt

LARGEST_REPLY = 32 * 2**20
"""Bytes of a reply that are read at the most."""
PASSING = (EnosRateLimitError, EnosServerError, EnosTransportError)
"""Errors that tell how the gateway is at the moment, and nothing of what it was asked for."""


class ListPauses:
    """For how long a list is done without that answers for many: longer after each failure in a row.

    A list that did not pay, or met an error that passes, is asked for again after seconds, up to a minute; one that was
    refused, or did not come in time, after a minute, up to ten. Whom the list would have answered for is looked at
    singly meanwhile.
    """

    def __init__(self) -> None:
        self.failures = 0
        """In a row."""

    def worked(self) -> None:
        """Note that the list has come."""
        self.failures = 0

    def failed(self, error: BaseException | None) -> float:
        """Return the seconds until the list is asked for again that met this error; None: that did not pay."""
        self.failures += 1
        soon = error is None or isinstance(error, PASSING)
        first, longest = (5.0, 60.0) if soon else (60.0, 600.0)
        asked = error.retry_after if isinstance(error, EnosRateLimitError) else None
        return min(max(first * 2.0 ** min(self.failures - 1, 10), asked or 0.0), longest)


def unresolved(base_url: str) -> EnosTransportError:
    """The host name leads nowhere."""
    return EnosTransportError(f"{base_url}: the host name cannot be resolved", sent=False)


def unconnected(base_url: str, error: BaseException) -> EnosTransportError:
    """Nobody listens there, or nothing leads there."""
    return EnosTransportError(f"{base_url}: cannot connect: {_named(error)}", sent=False)


def no_connection_in_time(base_url: str) -> EnosTransportError:
    """No connection came about in the time for it."""
    return EnosTransportError(f"{base_url}: no connection in time", sent=False)


def tls(base_url: str, error: BaseException) -> EnosTransportError:
    """The gateway could not prove who it is, or no common TLS was found."""
    # Only a refused certificate surely comes before anything is sent.
    sent = not isinstance(error, ssl.SSLCertVerificationError)
    return EnosTransportError(f"{base_url}: TLS failed: {_named(error)}", sent=sent, tls=True)


def proxy(base_url: str) -> EnosTransportError:
    """The proxy refused or failed."""
    # To an https gateway a proxy only makes a tunnel; a plain request it may have passed on.
    return EnosTransportError(f"{base_url}: the proxy failed", sent=base_url.startswith("http:"))


def no_reply_in_time(base_url: str) -> EnosTransportError:
    """The reply, or the rest of it, did not come in the time for it."""
    return EnosTransportError(f"{base_url}: no reply in time", sent=True)


def broken(base_url: str, error: BaseException) -> EnosTransportError:
    """The connection ended before the reply did."""
    return EnosTransportError(f"{base_url}: the connection broke: {_named(error)}", sent=True)


def undecodable(base_url: str) -> EnosReplyError:
    """The reply says that it is compressed, and is not."""
    return EnosReplyError(f"{base_url}: the reply cannot be decompressed")


def too_large(base_url: str, http_status: int) -> EnosReplyError:
    """The reply is larger than any that EnOS sends."""
    return EnosReplyError(f"{base_url}: the reply is larger than {LARGEST_REPLY // 2**20} MiB", http_status=http_status)


def _named(error: BaseException) -> str:
    # The HTTP libraries repeat what they could not read, and there a gateway may repeat what it was sent.
    return excerpt(f"{type(error).__name__}: {error}") if isinstance(error, OSError) else type(error).__name__
