"""Who may talk to the simulator: by the ``Host`` and the ``Origin`` of a request, on every path.

The simulator's keys are public. A web page whose name is made to resolve to this machine (DNS rebinding) could sign
calls with them, through the browser of whoever looks at it. Such a request has the page's own name in ``Host``; one
that the page sends straight to this machine has it in ``Origin``, or, if it is an image or the like, says in
``Sec-Fetch-Site`` that it comes from elsewhere. A program sends the name that it was given, and neither of these.

Let in are the loopback addresses and ``localhost``, the address that the simulator listens on, the address of this
machine that the client has connected to, and the names that the user allows.
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
    """A host with its port, as ``Host`` and addresses have them. ``port`` is None where none is named."""

    host: str | Address
    port: int | None

    @classmethod
    def of(cls, text: str) -> Authority | None:
        """Return what ``text`` names: upper case, a dot at the end and the spelling of an address do not count.

        None for anything that is no host, such as two of them, or one with a user in front.
        """
        found = _AUTHORITY.fullmatch(text.lower()) if text.isascii() else None
        if found is None:
            return None
        host = _host(found[1])
        return None if host is None else cls(host, int(found[2]) if found[2] else None)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused, in a sentence that names what would let it in."""

    reason: str
    way_in: str

    def __str__(self) -> str:
        return f"{self.reason}. {self.way_in}"


class Doors:
    """Decides which requests may come in.

    :param host: the name or address that the simulator listens on.
    :param allowed: what else may stand in ``Host`` and ``Origin``: names or addresses, each with any port, or with the
        port that it names.
    :param scheme: ``http`` or ``https``.
    :raises ValueError: one of them is no host.
    """

    def __init__(self, host: str, allowed: Collection[str], scheme: str) -> None:
        self._own = _host(host.lower())
        self._allowed = tuple(allowed_hosts(allowed))
        self._default_port = _PORTS[scheme]

    def refusal(self, request: Request) -> Refusal | None:
        """Return why the request may not come in; None if it may."""
        # The one in the target counts where there is one; who sends two different ones is up to something.
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
        # Another port of this machine is another server, whose pages are none of ours.
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
    """Return what these name. Raises ValueError, saying what would do, for what is no host."""
    found = []
    for text in texts:
        authority = Authority.of(text) if isinstance(text, str) else None
        if authority is None:
            raise ValueError(f"an allowed host is a name or an address such as 'simulator:8790', not {text!r}")
        found.append(authority)
    return found


def refused(refusal: Refusal, request: Request, *, is_control: bool) -> Reply:
    """Return the reply to a request that is refused, and log it."""
    log.warning("Refused %s %a: %s", request.method[:20], request.path[:_LONGEST_SHOWN], refusal)
    if is_control:
        return json_reply({"error": str(refusal)}, status=403)
    return gateway_reply(403, str(refusal))


def without_authority(target: str) -> tuple[str | None, str]:
    """Return the authority of a target in absolute form, as it is sent to a proxy, or None; and the path and query."""
    found = re.fullmatch(r"https?://([^/?#]*)(.*)", target, re.IGNORECASE | re.DOTALL)
    if found is None:
        return None, target
    return found[1], found[2] if found[2].startswith("/") else f"/{found[2]}"


def _host(text: str) -> str | Address | None:
    """Return the name without a dot at its end, or the address; None where it is neither."""
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
