"""Read and check an Airflow connection of type ``enos``."""

from __future__ import annotations

import ipaddress
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from airflow_provider_enos.client.tracebacks import without_frames
from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol.text import NO_SECRETS, Secrets, excerpt, shown
from airflow_provider_enos.protocol.wire.redaction import hide, holds
from airflow_provider_enos.provider_info import CONNECTION_FIELDS

DEFAULT_TIMEOUT = 65.0
"""Seconds. The gateway answers with an error when a service takes more than 60 s, so wait a little longer."""
CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a TCP connection at most."""
LONGEST_TIMEOUT = 3600.0

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]+\]")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_LONGEST_LINK = 1_000
_LINK_FIELDS = {"flow_id", "flow_instance_id"}


class AirflowConnection(Protocol):
    """The attributes that are read of a connection, in Airflow 2 and 3."""

    host: Any
    schema: Any
    port: Any
    login: Any
    password: Any
    extra: Any


@dataclass(frozen=True, slots=True)
class Settings:
    """The checked contents of a connection. Made by ``read``."""

    base_url: str
    access_key: str
    secret_key: str = field(repr=False)
    org_id: str
    user_id: str
    verify: bool | str
    timeout: float
    console_url: str | None

    def link(self, flow_instance_id: str) -> str | None:
        """Return the address of this instance in the console; None without ``console_url``."""
        if self.console_url is None:
            return None
        flow_id, _, _ = flow_instance_id.partition("-")
        return self.console_url.format(
            flow_id=quote(flow_id, safe=""), flow_instance_id=quote(flow_instance_id, safe="")
        )


def read(connection: AirflowConnection, *, org_id: str | None = None, user_id: str | None = None) -> Settings:
    """Return the settings of ``connection``. ``org_id`` and ``user_id`` override its own.

    Raises ``EnosConfigError`` with the field, its value unless it is secret, and what is expected.
    """
    # Some crash reporters show local variables, and a connection's repr may show its password.
    with without_frames():
        try:
            found = _read(connection, org_id, user_id)
            _check_no_secret_elsewhere(found)
        except EnosConfigError as error:
            raise _without_secret(error, connection.password) from None
        return found


def _read(connection: AirflowConnection, org_id: str | None, user_id: str | None) -> Settings:
    extra = _extra(connection)
    return Settings(
        base_url=_base_url(connection, _allow_http(extra.get("allow_http", False))),
        access_key=_credential(connection.login, "login", "the access key"),
        secret_key=_credential(connection.password, "password", "the secret key"),
        org_id=_tenant(org_id, extra, "org_id"),
        user_id=_tenant(user_id, extra, "user_id"),
        verify=_verify(extra.get("verify")),
        timeout=_timeout(extra.get("timeout")),
        console_url=_console_url(extra.get("console_url")),
    )


def _check_no_secret_elsewhere(found: Settings) -> None:
    """Refuse a secret key in a field whose value is shown in logs and messages."""
    shown_elsewhere = {
        "host": found.base_url,
        "login": found.access_key,
        "org_id": found.org_id,
        "user_id": found.user_id,
        "verify": str(found.verify),
        "console_url": found.console_url or "",
    }
    for name, value in shown_elsewhere.items():
        if holds(value, found.secret_key):
            raise EnosConfigError(name, "the connection's password is in it", accepted="no secret, since it is shown")


def _without_secret(error: EnosConfigError, password: Any) -> EnosConfigError:
    """Return the error without the password, or parts of it, which people put into the wrong field."""
    problem, _, accepted = str(error).removeprefix(f"{error.field}: ").rpartition("; expected ")
    secrets = Secrets((password,)) if isinstance(password, str) else NO_SECRETS
    return EnosConfigError(error.field, hide(problem, secrets), accepted=accepted)


def _extra(connection: AirflowConnection) -> Mapping[str, Any]:
    text = connection.extra
    if text in (None, ""):
        return {}
    try:
        extra = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        # The text is not shown: people put secrets here.
        raise EnosConfigError("extra", "it is no JSON", accepted="a JSON object") from None
    if not isinstance(extra, dict):
        raise EnosConfigError("extra", f"it is a JSON {type(extra).__name__}", accepted="a JSON object")
    # The form of Airflow 2 stores "" for an empty field.
    return {name: value for name, value in extra.items() if value is not None and value != ""}


def _base_url(connection: AirflowConnection, allow_http: bool) -> str:
    host, schema, port = connection.host, str(connection.schema or "").strip().lower(), connection.port
    if not isinstance(host, str) or not host.strip():
        raise EnosConfigError("host", "it is missing", accepted="the gateway's address, such as apim.example.com")
    host = host.strip()
    prefix = ""
    if "/" in host or (":" in host and not _is_ipv6(host.strip("[]"))):
        host, schema, port, prefix = _split_address(host, schema, port)
    scheme = schema or "https"
    if scheme not in ("https", "http"):
        raise EnosConfigError("schema", _shown(schema), accepted="https or http")
    host = f"[{host}]" if _is_ipv6(host) else host
    if not is_host(host):
        raise EnosConfigError("host", _shown(host), accepted="a host name or IP address")
    if scheme == "http" and not allow_http and not _is_loopback(host):
        raise EnosConfigError(
            "schema",
            f"plain http to {host} would send the credentials' signatures and all data in the clear",
            accepted="https, or allow_http: true in extra",
        )
    return f"{scheme}://{host}{_port(port)}{prefix}"


def _split_address(host: str, schema: str, port: Any) -> tuple[str, str, Any, str]:
    """Split a whole address in ``host``, as people paste it. Return host, scheme, port and path prefix."""
    refused = EnosConfigError(
        "host",
        _shown(host),
        accepted="a host name, or an address such as https://apim.example.com:443/prefix",
    )
    try:
        parts = urlsplit(host if "://" in host else f"//{host}")
        inner_port = parts.port
    except ValueError:
        raise refused from None
    prefix = parts.path.rstrip("/")
    if "@" in parts.netloc or parts.query or parts.fragment or not parts.hostname:
        raise refused
    # urlsplit silently drops some characters that cannot be printed.
    if not host.isprintable() or not _PREFIX.fullmatch(prefix):
        raise refused
    if parts.scheme and schema and parts.scheme != schema:
        raise EnosConfigError("schema", f"{_shown(schema)}, but host says {parts.scheme}", accepted="one of them")
    if inner_port and port and str(inner_port) != str(port):
        raise EnosConfigError("port", f"{_shown(port)}, but host says {inner_port}", accepted="one of them")
    return parts.hostname, parts.scheme or schema, port if inner_port is None else inner_port, prefix


def _port(port: Any) -> str:
    if port is None or port == "":
        return ""
    number = int(port) if isinstance(port, str) and re.fullmatch(r"[0-9]{1,5}", port) else port
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 65535:
        raise EnosConfigError("port", _shown(port), accepted="1 to 65535")
    return f":{number}"


def is_host(host: str) -> bool:
    """Return whether this can be the host of an address: a name, an IPv4 address, or an IPv6 address in brackets."""
    return bool(_HOST.fullmatch(host)) and (not host.startswith("[") or _is_ipv6(host[1:-1]))


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _credential(value: Any, name: str, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise EnosConfigError(name, "it is missing", accepted=what)
    if value != value.strip() or not value.isprintable():
        raise EnosConfigError(name, "it has white space or control characters in it", accepted=what)
    return value


def _tenant(given: Any, extra: Mapping[str, Any], name: str) -> str:
    value = extra.get(name) if given is None or given == "" else given
    if value is None:
        strange = ", ".join(sorted(extra.keys() - CONNECTION_FIELDS.keys()))
        raise EnosConfigError(
            name,
            "it is missing in extra" + (f" (which has {excerpt(strange, 80)})" if strange else ""),
            accepted=f"the EnOS {name}, in the connection's extra or as an argument",
        )
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    # A template that finds nothing renders to "None".
    if not isinstance(value, str) or value.strip() in ("", "None") or not value.isprintable() or len(value) > 200:
        raise EnosConfigError(name, _shown(value), accepted="a text such as o15504722874071")
    return value.strip()


def check_tenant(*, org_id: Any, user_id: Any) -> None:
    """Raise ``EnosConfigError`` for an id that cannot work. None or an empty text stand for the connection's."""
    for name, value in (("org_id", org_id), ("user_id", user_id)):
        if value is not None and value != "":
            _tenant(value, {}, name)


def _allow_http(value: Any) -> bool:
    # The Test button of Airflow 2 sends "y" for a ticked box.
    flag = True if value == "y" else _as_flag(value)
    if flag is None:
        raise EnosConfigError("allow_http", _shown(value), accepted="true or false")
    return flag


def _as_flag(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None


def _verify(value: Any) -> bool | str:
    if value is None:
        return True
    flag = _as_flag(value)
    if flag is not None:
        return flag
    # Not whether it exists: it may be mounted on the workers only.
    if isinstance(value, str) and value.isprintable() and any(mark in value for mark in (os.sep, ".")):
        return value
    raise EnosConfigError("verify", _shown(value), accepted="true, false, or the path of a CA file or directory")


def _timeout(value: Any) -> float:
    if value is None:
        return DEFAULT_TIMEOUT
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise EnosConfigError("timeout", _shown(value), accepted=f"seconds, above 0 and up to {LONGEST_TIMEOUT:g}")
    return seconds


def _console_url(value: Any) -> str | None:
    if value is None:
        return None
    accepted = f"an http or https address with {{flow_instance_id}} or {{flow_id}} in it, up to {_LONGEST_LINK} long"
    refused = EnosConfigError("console_url", _shown(value), accepted=accepted)
    if not isinstance(value, str) or not value.isprintable() or any(letter.isspace() for letter in value):
        raise refused
    try:
        parts = urlsplit(value)
        is_address = bool(parts.hostname) and parts.port != 0 and len(value) <= _LONGEST_LINK
        pieces = [(name, spec, how) for _, name, spec, how in Formatter().parse(value) if name is not None]
    except ValueError:
        raise refused from None
    plain = all(name in _LINK_FIELDS and not spec and not how for name, spec, how in pieces)
    if (
        not is_address
        or parts.scheme not in ("http", "https")
        or not _is_plain_netloc(parts.netloc)
        or not pieces
        or not plain
    ):
        raise refused
    return value


def _is_plain_netloc(netloc: str) -> bool:
    return bool(netloc) and not any(letter in netloc for letter in "{}@\\")


def _shown(value: Any) -> str:
    # People paste whole addresses, with credentials before an @.
    return excerpt(re.sub(r".*@", "***@", shown(value, 1_000)), 80)
