"""The way to a gateway: through which proxy, and with which TLS context. Both drivers find it once a session.

The environment variables for proxies are read as requests reads them. A bad value raises ``EnosSetupError``.
"""

from __future__ import annotations

import base64
import os
import ssl
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from airflow_provider_enos.client.settings import Settings, is_host
from airflow_provider_enos.client.tls import new_context, shared_context
from airflow_provider_enos.errors import EnosSetupError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNSUPPORTED = ("socks", "socks4", "socks4a", "socks5", "socks5h", "ftp")
_AN_ADDRESS = "http:// or https://, a host and a port; special characters of user and password percent-encoded"


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; ``setting`` is the environment variable that names it."""

    setting: str
    address: str
    """Scheme, host and port, without user and password."""
    authorization: str | None = field(repr=False)
    """The value of ``Proxy-Authorization``."""

    def __str__(self) -> str:
        return f"the proxy {self.address} ({self.setting})"


@dataclass(frozen=True, slots=True)
class Route:
    """The way to a gateway. ``trust`` is the TLS context, None for plain http."""

    base_url: str
    proxy: Proxy | None
    trust: ssl.SSLContext | None

    def __str__(self) -> str:
        return f"{self.base_url}, by {self.proxy}" if self.proxy else self.base_url


def route_to(settings: Settings, *, shares_tls: bool = False) -> Route:
    """Return the way to the gateway of ``settings``. May block, since it reads files.

    :param shares_tls: whether other sessions may have the same TLS context. urllib3 writes to the context that it gets.
    :raises EnosSetupError: a proxy's address or a CA file cannot be used.
    """
    proxy = _proxy_to(settings.base_url)
    speaks_tls = any(url.startswith("https:") for url in (settings.base_url, proxy.address if proxy else ""))
    context = shared_context if shares_tls else new_context
    return Route(settings.base_url, proxy, context(settings.verify) if speaks_tls else None)


def _proxy_to(base_url: str) -> Proxy | None:
    """Return the proxy that the environment names for this address.

    Messages never show the variable's value: it may hold a password.
    """
    from requests.utils import get_environ_proxies, select_proxy

    try:
        found = select_proxy(base_url, get_environ_proxies(base_url))
    except ValueError:
        raise _refused("NO_PROXY", "it cannot be read", "host names and networks with commas between them") from None
    return _proxy(_named_by(base_url, found), found.strip()) if found else None


def _named_by(base_url: str, found: str) -> str:
    """Return the environment variable that names this proxy."""
    names = (f"{urlsplit(base_url).scheme}_proxy", "all_proxy")
    spellings = [spelling for name in names for spelling in (name, name.upper())]
    return next((name for name in spellings if os.environ.get(name) == found), "the system's proxy settings")


def _proxy(setting: str, text: str) -> Proxy:
    address = text if "://" in text else f"http://{text}"
    scheme = address.partition("://")[0].lower()
    if scheme not in _DEFAULT_PORTS:
        # Only schemes that we know: the text in front of :// may be part of a password.
        said = f"{scheme}://" if scheme in _UNSUPPORTED else "this scheme"
        raise _refused(setting, f"proxies with {said} are not supported")
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").encode("idna").decode("ascii")
    except ValueError:
        raise _refused(setting, "the proxy's address cannot be read") from None
    if not text.isprintable() or " " in text or "@" in parts.path + parts.query + parts.fragment:
        raise _refused(setting, "the proxy's address cannot be read")
    port = _port(setting, parts)
    if not host:
        raise _refused(setting, "the proxy's address has no host")
    host = f"[{host}]" if ":" in host else host
    if not is_host(host):
        raise _refused(setting, "the proxy's host is neither a host name nor an IP address")
    return Proxy(setting, f"{scheme}://{host}:{port or _DEFAULT_PORTS[scheme]}", _authorization(parts))


def _port(setting: str, parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise _refused(setting, "the proxy's port is not a number from 1 to 65535")
    return port


def _refused(setting: str, problem: str, accepted: str = _AN_ADDRESS) -> EnosSetupError:
    return EnosSetupError(f"{setting}: {problem}; expected {accepted}", setting=setting)


def _authorization(parts: SplitResult) -> str | None:
    if not parts.username and not parts.password:
        return None
    both = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    try:
        # As requests does.
        raw = both.encode("latin-1")
    except UnicodeEncodeError:
        raw = both.encode("utf-8", "replace")
    return f"Basic {base64.b64encode(raw).decode('ascii')}"
