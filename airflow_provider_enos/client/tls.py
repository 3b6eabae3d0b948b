"""TLS contexts: what the certificate of a gateway, or of a proxy that speaks TLS, is checked with."""

from __future__ import annotations

import os
import re
import ssl
import stat
from contextlib import suppress

from airflow_provider_enos.errors import EnosSetupError
from airflow_provider_enos.protocol.text import shown

_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""The names under which OpenSSL looks for certificates in a directory."""
_MOST_SHARED = 20

_Stamp = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and modification time of each file that a context was made of."""

_shared: dict[str, tuple[_Stamp, ssl.SSLContext]] = {}


def new_context(verify: bool | str) -> ssl.SSLContext:
    """Return a TLS context for a connection's ``verify``. May block, since it reads files.

    :raises EnosSetupError: the certificate authorities cannot be loaded.
    """
    return _context(verify, is_shared=False)


def shared_context(verify: bool | str) -> ssl.SSLContext:
    """Return the same, but one context for all callers with the same files. Load a file that has changed again.

    Loading certifi's file takes 30 ms and a megabyte, and a triggerer may have a hundred tenants. A caller must not
    change a shared context.
    """
    return _context(verify, is_shared=True)


def _context(verify: bool | str, *, is_shared: bool) -> ssl.SSLContext:
    if verify is False:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return _for_http(context)
    setting, path = _authorities(verify)
    try:
        return _shared_from(path) if is_shared else _loaded_from(path)
    except (OSError, ValueError) as error:
        said = _problem(error)
    raise EnosSetupError(
        f"{setting}={shown(path, 200)}: {said}; expected a CA file in PEM form, or a CA directory",
        setting=setting,
        tls=True,
    )


def _authorities(verify: bool | str) -> tuple[str, str]:
    """Return the setting that names the certificate authorities, and their path, as requests finds them."""
    if isinstance(verify, str):
        return "verify", verify
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if os.environ.get(name):
            return name, os.environ[name]
    import certifi

    return "certifi", certifi.where()


def _shared_from(path: str) -> ssl.SSLContext:
    stamp = tuple(map(_stamp, _files(path)))
    if path not in _shared or _shared[path][0] != stamp:
        context = _loaded_from(path)
        if len(_shared) >= _MOST_SHARED:
            _shared.clear()
        _shared[path] = stamp, context
        return context
    return _shared[path][1]


def _stamp(file: str) -> tuple[str, int, int, int]:
    # In a directory there may be links that lead nowhere, which OpenSSL passes over.
    with suppress(OSError):
        found = os.stat(file)
        return file, found.st_ino, found.st_size, found.st_mtime_ns
    return file, 0, 0, 0


def _files(path: str) -> list[str]:
    """Return the files of certificates at this path. Raise ``OSError`` or ``ValueError``."""
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        return [path]
    if not stat.S_ISDIR(mode):
        raise _Unusable("it is neither a file nor a directory")
    files = [os.path.join(path, name) for name in sorted(os.listdir(path)) if _HASHED.fullmatch(name)]
    if not files:
        raise _Unusable("no file in this directory has a name by which OpenSSL finds it (see openssl rehash)")
    return files


def _loaded_from(path: str) -> ssl.SSLContext:
    """Return a new context that trusts the authorities at ``path``. Raise ``OSError`` or ``ValueError``."""
    if _files(path) != [path]:
        return _for_http(ssl.create_default_context(capath=path))
    # Of a file that cannot be read, ssl does not say why.
    with open(path, "rb") as file:
        file.read(1)
    return _for_http(ssl.create_default_context(cafile=path))


def _for_http(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Unusable(ValueError):
    """What is wrong with a path, in words for the user."""


def _problem(error: OSError | ValueError) -> str:
    match error:
        case _Unusable():
            return str(error)
        case ssl.SSLError():
            return "it holds no certificates in PEM form, or one that is broken"
        case OSError():
            return os.strerror(error.errno).lower() if error.errno else "it cannot be read"
    return "it is no path"
