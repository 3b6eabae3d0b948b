"""The way to a gateway: which proxy, and which certificate authorities. Found once for each session, for both drivers.

What the environment says is read as requests reads it. Whatever is wrong with it is an ``EnosSetupError``.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
import stat
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from airflow_provider_enos.client.settings import Settings, is_host
from airflow_provider_enos.errors import EnosSetupError
from airflow_provider_enos.protocol.text import shown

_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNSUPPORTED = ("socks", "socks4", "socks4a", "socks5", "socks5h", "ftp")
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""The names under which OpenSSL looks for certificates in a directory."""
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
    """``trust`` is None where no TLS is spoken."""

    base_url: str
    proxy: Proxy | None
    trust: ssl.SSLContext | None

    def __str__(self) -> str:
        return f"{self.base_url}, by {self.proxy}" if self.proxy else self.base_url


def route_to(settings: Settings) -> Route:
    """Return the way to the gateway of ``settings``. Raises ``EnosSetupError``. It reads files, so it may block."""
    proxy = _proxy_to(settings.base_url)
    speaks_tls = any(url.startswith("https:") for url in (settings.base_url, proxy.address if proxy else ""))
    return Route(settings.base_url, proxy, _trust(settings.verify) if speaks_tls else None)


def _proxy_to(base_url: str) -> Proxy | None:
    """The proxy that the environment names for this address. Its value is never shown: it may hold a password."""
    from requests.utils import get_environ_proxies, select_proxy

    try:
        found = select_proxy(base_url, get_environ_proxies(base_url))
    except ValueError:
        raise _refused("NO_PROXY", "it cannot be read", "host names and networks with commas between them") from None
    return _proxy(_named_by(base_url, found), found.strip()) if found else None


def _named_by(base_url: str, found: str) -> str:
    """The environment variable that the proxy is of."""
    names = (f"{urlsplit(base_url).scheme}_proxy", "all_proxy")
    spellings = [spelling for name in names for spelling in (name, name.upper())]
    return next((name for name in spellings if os.environ.get(name) == found), "the system's proxy settings")


def _proxy(setting: str, text: str) -> Proxy:
    address = text if "://" in text else f"http://{text}"
    scheme = address.partition("://")[0].lower()
    if scheme not in _DEFAULT_PORTS:
        # Not any scheme: what stands in front may be a part of a password.
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


def _trust(verify: bool | str) -> ssl.SSLContext:
    """What the gateway's certificate is checked by."""
    if verify is False:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        setting, path = _authorities(verify)
        loaded = _load(path)
        if isinstance(loaded, str):
            raise EnosSetupError(
                f"{setting}={shown(path, 200)}: {loaded}; expected a CA file in PEM form, or a CA directory",
                setting=setting,
                tls=True,
            )
        context = loaded
    context.set_alpn_protocols(["http/1.1"])
    return context


def _authorities(verify: bool | str) -> tuple[str, str]:
    """The setting that names the certificate authorities, and their path: as requests finds them."""
    if isinstance(verify, str):
        return "verify", verify
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if os.environ.get(name):
            return name, os.environ[name]
    import certifi

    return "certifi", certifi.where()


def _load(path: str) -> ssl.SSLContext | str:
    """The certificate authorities there, or what is wrong with them."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            if not any(_HASHED.fullmatch(name) for name in os.listdir(path)):
                return "no file in this directory has a name by which OpenSSL finds it (see openssl rehash)"
            return ssl.create_default_context(capath=path)
        if not stat.S_ISREG(mode):
            return "it is neither a file nor a directory"
        with open(path, "rb") as file:
            file.read(1)
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        return "it holds no certificates in PEM form, or one that is broken"
    except OSError as error:
        return os.strerror(error.errno).lower() if error.errno else "it cannot be read"
    except ValueError:
        return "it is no path"
