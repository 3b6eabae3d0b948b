"""Refuse requests of web pages, by their ``Host`` and ``Origin``, on every path.

The simulator's keys are public. A web page whose name is made to resolve to this machine (DNS rebinding) could sign
calls with them, through the browser of anyone who opens it. Such a request has the name of the page in ``Host``. A
request that the page sends to the address of this machine has that name in ``Origin``; images and the like have no
``Origin``, but a ``Sec-Fetch-Site`` of another site. Programs send the ``Host`` of their settings, and none of the
others.

Allowed are the loopback addresses and ``localhost``, the address that the simulator listens on, the address of this
machine that the client is connected to, and the names that the user allows.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from airflow_provider_enos.simulator.wire import Reply, Request, gateway_reply, json_reply

log = logging.getLogger(__name__)

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[0-9a-z._-]{1,253})(?::([0-9]{0,5}))?")
_ORIGIN = re.compile(r"(https?)://([^/]*)", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
_LONGEST_SHOWN = 100

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Authority:
    """A host and a port, as in ``Host`` and in URLs. ``port`` is None where none is given."""

    host: str | Address
    port: int | None

    @classmethod
    def of(cls, text: str) -> Authority | None:
        """Parse ``host`` or ``host:port``. Upper case, a dot at the end and the spelling of an address do not matter.

        Return None for anything else, such as two hosts, or one with a user name.
        """
        found = _AUTHORITY.fullmatch(text.lower()) if text.isascii() else None
        if found is None:
            return None
        host = _host(found[1])
        return None if host is None else cls(host, int(found[2]) if found[2] else None)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused, and how to allow it."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}. {self.remedy}"


class HostCheck:
    """Decide which requests are allowed.

    :param host: the name or address that the simulator listens on.
    :param allowed: more names or addresses that ``Host`` and ``Origin`` may have; with any port, unless they name one.
    :param scheme: ``http`` or ``https``.
    :raises ValueError: one of ``allowed`` is no host.
    """

    def __init__(self, host: str, allowed: Collection[str], scheme: str) -> None:
        self._own = _host(host.lower())
        self._allowed = tuple(allowed_hosts(allowed))
        self._default_port = _PORTS[scheme]

    def refusal(self, request: Request) -> Refusal | None:
        """Return why the request is refused; None if it is allowed."""
        # An absolute target takes precedence over Host. Both are checked, as an attack may send two different ones.
        named = [("Host", request.headers.get("host"))]
        named += [] if request.authority is None else [("target", request.authority)]
        port = self._default_port
        for where, text in named:
            if text is None:
                return Refusal("The request names no Host", "Send the one that the connection names")
            authority = Authority.of(text)
            if authority is None or not (self._is_own(authority, request) or self._is_allowed(authority)):
                return _refusal(where, text, authority)
            port = authority.port or port
        return self._refusal_of_origin(request, port)

    def _refusal_of_origin(self, request: Request, port: int) -> Refusal | None:
        text = request.headers.get("origin")
        if text is None:
            site = request.headers.get("sec-fetch-site", "none").strip().lower()
            return None if site in ("none", "same-origin") else _refusal("Sec-Fetch-Site", site, None)
        found = _ORIGIN.fullmatch(text)
        authority = Authority.of(found[2]) if found else None
        if found is None or authority is None:
            return _refusal("Origin", text, None)
        # Another port of this machine is another server, with pages of its own.
        authority = Authority(authority.host, authority.port or _PORTS[found[1].lower()])
        is_own = authority.port == port and self._is_own(authority, request)
        return None if is_own or self._is_allowed(authority) else _refusal("Origin", text, authority)

    def _is_own(self, authority: Authority, request: Request) -> bool:
        host = authority.host
        if isinstance(host, str):
            return host in ("localhost", self._own)
        return host.is_loopback or host in (self._own, _host(request.reached_at))

    def _is_allowed(self, authority: Authority) -> bool:
        return any(one.host == authority.host and one.port in (None, authority.port) for one in self._allowed)


def allowed_hosts(texts: Iterable[str]) -> list[Authority]:
    """Parse names of hosts. Raise ValueError, with an example, for something else."""
    found = []
    for text in texts:
        authority = Authority.of(text) if isinstance(text, str) else None
        if authority is None:
            raise ValueError(f"an allowed host is a name or an address such as 'simulator:8790', not {text!r}")
        found.append(authority)
    return found


def refused(refusal: Refusal, request: Request, *, is_control: bool) -> Reply:
    """Return the reply to a refused request, and log the refusal."""
    log.warning("Refused %s %a: %s", request.method[:20], request.path[:_LONGEST_SHOWN], refusal)
    if is_control:
        return json_reply({"error": str(refusal)}, status=403)
    return gateway_reply(403, str(refusal))


def without_authority(target: str) -> tuple[str | None, str]:
    """Return the authority of a request target, if it is in absolute form (as for a proxy); and its path and query."""
    found = re.fullmatch(r"https?://([^/?#]*)(.*)", target, re.IGNORECASE | re.DOTALL)
    if found is None:
        return None, target
    return found[1], found[2] if found[2].startswith("/") else f"/{found[2]}"


def _host(text: str) -> str | Address | None:
    """Return the name without a dot at its end, or the address; None for anything else."""
    name = text.removesuffix(".")
    try:
        address = ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None if name.startswith("[") else name or None
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _refusal(where: str, text: str, authority: Authority | None) -> Refusal:
    shown = text[:_LONGEST_SHOWN]
    if authority is None:
        return Refusal(f"The {where} {shown!a} is none that the simulator knows", "It cannot be allowed")
    host = f"[{authority.host}]" if isinstance(authority.host, IPv6Address) else str(authority.host)
    return Refusal(
        f"The {where} {shown!a} is none that the simulator knows",
        f"If it is yours, start the simulator with --allow-host {host[:_LONGEST_SHOWN]} (allowed_hosts in Python)",
    )
