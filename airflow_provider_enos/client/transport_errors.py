"""Errors of connections and replies, in the same words for both drivers, and whether the request may have been sent."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_provider_enos.errors import EnosReplyError, EnosTransportError
from airflow_provider_enos.protocol.text import excerpt

if TYPE_CHECKING:
    from airflow_provider_enos.client.route import Route

PROXY_WANTS_PASSWORD = 407
"""The HTTP status that no gateway sends, only a proxy."""


def lost(
    route: Route,
    error: BaseException,
    *,
    connected: bool,
    proxy_status: int | None = None,
    handled: BaseException | None = None,
) -> EnosTransportError:
    """Return the error for a request that got no reply. ``sent`` says whether the gateway may have received it.

    The HTTP libraries' own messages are not used: they differ, and they may quote what was sent.

    :param error: what the HTTP library raised.
    :param connected: whether there was a connection to send the request on, tunnel and TLS included.
    :param proxy_status: the HTTP status with which a proxy refused the tunnel.
    :param handled: the exception that the caller was handling before, which Python adds to the chain of causes.
    """
    reasons = list(chain(error, handled))
    if not connected:
        return _unconnected(route, reasons, proxy_status)
    if any(isinstance(reason, TimeoutError) for reason in reasons):
        return EnosTransportError(f"{route}: no reply in time", sent=True)
    said = "the connection broke before a whole reply came, or what came is no HTTP"
    return EnosTransportError(f"{route}: {said}", sent=True)


def refused_by_proxy(route: Route, http_status: int) -> EnosTransportError:
    """Return the error for a proxy that refuses a tunnel, or that answers a plain request with 407."""
    wanted = " (it wants a user name and password)" if http_status == PROXY_WANTS_PASSWORD else ""
    # Before a tunnel stands, nothing is sent. A plain request may have passed this proxy and failed at a second one.
    sent = route.base_url.startswith("http:")
    return EnosTransportError(
        f"{route.base_url}: {route.proxy or 'a proxy'} refused with HTTP {http_status}{wanted}", sent=sent
    )


def chain(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes, without ``handled`` and its causes."""
    left: list[BaseException | None] = [error]
    seen = [handled]
    while left:
        reason = left.pop(0)
        if reason is not None and not any(reason is one for one in seen):
            seen.append(reason)
            yield reason
            # urllib3 passes some causes on as an argument only.
            wrapped = [one for one in reason.args if isinstance(one, BaseException)]
            left += [reason.__cause__, reason.__context__, *wrapped]


def _unconnected(route: Route, reasons: list[BaseException], proxy_status: int | None) -> EnosTransportError:
    if proxy_status is not None:
        return refused_by_proxy(route, proxy_status)
    # Only Python's own: aiohttp's TLS errors are subclasses.
    of_tls = [reason for reason in reasons if isinstance(reason, ssl.SSLError) and type(reason).__module__ == "ssl"]
    failed = [reason for reason in of_tls if not _is_end(reason)]
    to = f"{route.proxy}" if route.proxy else ""
    if any(_is_timeout(reason) for reason in reasons):
        said = "no connection in time"
    elif any(isinstance(reason, socket.gaierror) for reason in reasons):
        said = f"the host name of {to} cannot be resolved" if to else "the host name cannot be resolved"
        return EnosTransportError(f"{route.base_url}: {said}", sent=False)
    elif failed:
        return EnosTransportError(f"{route}: TLS failed: {_named_tls(failed[0])}", sent=False, tls=True)
    elif refused := next(filter(None, map(_system_error, reasons)), None):
        return EnosTransportError(f"{route.base_url}: cannot connect{to and f' to {to}'}: {refused}", sent=False)
    else:
        said = "the connection was closed before it was set up" + (", or the proxy's answer is no HTTP" if to else "")
    return EnosTransportError(f"{route}: {said}", sent=False)


def _is_timeout(error: BaseException) -> bool:
    # asyncio calls a TLS handshake that takes too long an aborted connection.
    return isinstance(error, TimeoutError) or (isinstance(error, ConnectionAbortedError) and not error.errno)


def _is_end(error: ssl.SSLError) -> bool:
    """Return whether this only says that the other side closed the connection, or that there is nothing to read yet."""
    ends = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
    return isinstance(error, ends) or _reason(error) == "UNEXPECTED_EOF_WHILE_READING"


def _named_tls(error: ssl.SSLError) -> str:
    name = "SSLCertVerificationError" if isinstance(error, ssl.SSLCertVerificationError) else "SSLError"
    return excerpt(": ".join(filter(None, (name, _reason(error), getattr(error, "verify_message", "")))))


def _reason(error: ssl.SSLError) -> str:
    # Only errors that OpenSSL raised have one.
    return getattr(error, "reason", None) or ""


def _system_error(error: BaseException) -> str | None:
    """Return the system's reason why there is no connection; None if there was one and it was closed."""
    if not isinstance(error, OSError) or isinstance(error, ssl.SSLError) or not isinstance(error.errno, int):
        return None
    if error.errno <= 0 or error.errno in (errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ENOTCONN):
        return None
    return f"{type(OSError(error.errno, '')).__name__}: {os.strerror(error.errno)}"


def undecodable(base_url: str) -> EnosReplyError:
    """Return the error for a reply that claims to be compressed and is not."""
    return EnosReplyError(f"{base_url}: the reply cannot be decompressed")


def too_large(base_url: str, http_status: int, largest: int) -> EnosReplyError:
    """Return the error for a reply of more than ``largest`` bytes."""
    return EnosReplyError(f"{base_url}: the reply is larger than {largest / 2**20:g} MiB", http_status=http_status)


def too_many_pieces(base_url: str, http_status: int) -> EnosReplyError:
    """Return the error for a reply that comes in a great many chunks of a few bytes."""
    return EnosReplyError(f"{base_url}: the reply comes in too many small pieces", http_status=http_status)
