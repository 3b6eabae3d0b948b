"""The API gateway: tokens, signatures, timestamps and replays.

Written from "Get Access Token", "Refresh Access Token" and "Invoke API with the Access Token" of the EnOS
documentation (support.enos-iot.com). On purpose it uses nothing else of this package:

- ``encryption`` of the token service: lower-case hex SHA-256 of ``appKey + timestamp + appSecret``
- ``apim-signature`` of a call: lower-case hex SHA-256 of ``accessToken + paramsData + timestamp +
  appSecret``, where paramsData is the decoded query parameters, sorted by name, as ``name + value``, then
  the exact body

The documentation leaves some replies open. They are chosen here as follows. An unknown path is HTTP 404, with the
message of Kong, since the documented messages are Kong's; a wrong method 405; a body that is not ``application/json``
415; a body of unknown length 411. Timestamps may be off by 15 minutes. A token that has expired, was revoked or was
replaced is code 1203; a token that was never issued is HTTP 401.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from airflow_provider_enos.simulator.config import Config
from airflow_provider_enos.simulator.wire import (
    API_PATH,
    TOKEN_PATH,
    Reply,
    Request,
    gateway_reply,
    json_reply,
    parse_object,
)

log = logging.getLogger(__name__)

WINDOW_MS = 15 * 60 * 1000
UNAUTHORIZED = "Invalid authentication credentials"
TOKEN_MESSAGES: Mapping[int, str] = {
    0: "SUCCESS",
    1001: "Repeated requests with duplicated encryption",
    1002: "The appKey does not exist",
    1003: "The encryption is not valid",
    1004: "Invalid parameter",
    1202: "The parameter is empty",
    1203: "The access token has expired",
    1204: "Failed to refresh access token",
}
_UNREADABLE = {
    400: "Cannot process request body",
    411: "Content-Length is required",
    413: "Request size limit exceeded",
}
_TOKEN_FIELDS: Mapping[str, tuple[str, ...]] = {
    "get": ("appKey", "encryption", "timestamp"),
    "refresh": ("appKey", "encryption", "timestamp", "accessToken"),
}
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_RSA_SIZES = frozenset({128, 256, 384, 512})
"""Bytes of what a key of 1024 to 4096 bits encrypts."""
_DIGITS = re.compile(r"[0-9]{1,16}")


def sha256_hex(text: bytes) -> str:
    """Return the SHA-256 in lower-case hex."""
    return hashlib.sha256(text).hexdigest()


def token_digest(access_key: str, timestamp: str, secret_key: str) -> str:
    """Return the ``encryption`` that the token service expects."""
    return sha256_hex((access_key + timestamp + secret_key).encode())


def params_data(query: Mapping[str, str], body: bytes) -> bytes:
    """Return the part of the signed text that comes from the request."""
    return "".join(name + query[name] for name in sorted(query)).encode() + body


def call_digest(token: str, query: Mapping[str, str], body: bytes, timestamp: str, secret_key: str) -> str:
    """Return the ``apim-signature`` that the gateway expects."""
    return sha256_hex(token.encode() + params_data(query, body) + (timestamp + secret_key).encode())


class Refused(Exception):
    """The gateway replies itself, without a service."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class _TokenRefused(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class _Token:
    value: str
    expires_at: int


class _Replays:
    """The digests of the last half hour, so that none is accepted twice."""

    def __init__(self) -> None:
        self._until: dict[str, int] = {}
        self._next_sweep = 0

    def add(self, digest: str, now: int) -> bool:
        """Add a digest. Return whether it is new."""
        if now >= self._next_sweep:
            self._until = {kept: until for kept, until in self._until.items() if until > now}
            self._next_sweep = now + WINDOW_MS
        fresh = digest not in self._until
        # A timestamp may be ahead by a window, and is valid for a window after that.
        self._until[digest] = now + 2 * WINDOW_MS
        return fresh


class Gateway:
    """Check requests, and pass those that are as documented on to a service. Any thread may call it."""

    def __init__(self, config: Config, service: Callable[[Request, Mapping[str, str]], Reply]) -> None:
        self._config = config
        self._service = service
        self._lock = threading.Lock()
        self._tokens: dict[str, _Token] = {}
        self._current: _Token | None = None
        self._encryptions = _Replays()
        self._signatures = _Replays()

    def answer(self, request: Request) -> Reply:
        """Return the reply of the gateway, or of the service behind it."""
        try:
            _readable(request)
            if request.path.startswith(TOKEN_PATH):
                return self._token_service(request)
            if request.path.startswith(API_PATH):
                query = decoded_query(request.query)
                return (
                    self._service(request, query) if self._let_through(request, query) else expired_reply(self._config)
                )
        except Refused as refused:
            return refused.reply
        return gateway_reply(404, "no Route matched with those values")

    def expire_tokens(self) -> None:
        """Make all tokens expired."""
        with self._lock:
            for token in self._tokens.values():
                token.expires_at = 0

    def _let_through(self, request: Request, query: Mapping[str, str]) -> bool:
        """Return False for an expired token. Raise Refused for anything else that is wrong."""
        _body_as_documented(request)
        if is_poseidon(request):
            self._check_poseidon(request)
            return True
        now = self._config.now_ms()
        sent, signature, timestamp = (
            request.headers.get(f"apim-{name}", "") for name in ("accesstoken", "signature", "timestamp")
        )
        with self._lock:
            token = self._tokens.get(sent)
            if token is None or not _DIGITS.fullmatch(timestamp):
                raise _unauthorized()
            expected = call_digest(sent, query, request.body, timestamp, self._config.secret_key)
            if not _same(expected, signature) or abs(now - int(timestamp)) > WINDOW_MS:
                raise _unauthorized()
            if token.expires_at <= now:
                return False
            if not self._signatures.add(signature, now) and self._config.replayed_call == "refused":
                raise _unauthorized()
        return True

    def _check_poseidon(self, request: Request) -> None:
        if self._config.poseidon != "accept":
            log.warning(
                "Refused %s %s: it comes from the vendor's SDK (Poseidon), with an apim-accesstoken that is encrypted "
                "for EnOS, so that nobody else can verify it. To accept such calls without verification, start the "
                'simulator with --poseidon accept (EnosSimulator(poseidon="accept") in Python)',
                request.method,
                request.operation,
            )
            raise _unauthorized()

    def _token_service(self, request: Request) -> Reply:
        if request.action not in _TOKEN_FIELDS:
            return gateway_reply(404, "no Route matched with those values")
        if request.method != "POST":
            return gateway_reply(405, "Method not allowed", Allow="POST")
        _body_as_documented(request)
        try:
            with self._lock:
                data = self._token_data(request)
        except _TokenRefused as refused:
            return _token_reply(refused.status, None)
        return _token_reply(0, data)

    def _token_data(self, request: Request) -> dict[str, Any]:
        fields = _token_fields(request)
        now = self._config.now_ms()
        self._check_encryption(fields, now)
        if request.action == "refresh":
            token = self._refreshed(fields["accessToken"], now)
        elif self._current is None or self._current.expires_at <= now:
            token = self._issue(now)
        else:
            token = self._current
        # The documented 7200 is the initial value: a token that is returned again has less time left.
        return {"accessToken": token.value, "expire": (token.expires_at - now) // 1000}

    def _check_encryption(self, fields: Mapping[str, str], now: int) -> None:
        if not _same(self._config.access_key, fields["appKey"]):
            raise _TokenRefused(1002)
        expected = token_digest(fields["appKey"], fields["timestamp"], self._config.secret_key)
        if not _same(expected, fields["encryption"]) or abs(now - int(fields["timestamp"])) > WINDOW_MS:
            raise _TokenRefused(1003)
        if not self._encryptions.add(expected, now):
            raise _TokenRefused(1001)

    def _refreshed(self, value: str, now: int) -> _Token:
        old = self._tokens.get(value)
        if old is None:
            raise _TokenRefused(1204)
        if old.expires_at <= now:
            raise _TokenRefused(1203)
        if not self._config.refresh_changes_token:
            old.expires_at = self._end_of_life(now)
            return old
        if self._config.refresh_revokes_old:
            old.expires_at = 0
        return self._issue(now)

    def _issue(self, now: int) -> _Token:
        token = _Token(f"APP_PORTAL_S_{secrets.token_urlsafe(24)}", self._end_of_life(now))
        self._tokens[token.value] = self._current = token
        return token

    def _end_of_life(self, now: int) -> int:
        return now + int(self._config.token_lifetime * 1000)


def is_poseidon(request: Request) -> bool:
    """Return whether a call has the form of the vendor's SDK (Poseidon).

    Its only header of authentication is ``apim-accesstoken``: keys and times, encrypted by RSA for EnOS, in base64.
    """
    if any(f"apim-{name}" in request.headers for name in ("signature", "timestamp")):
        return False
    try:
        encrypted = base64.b64decode(request.headers.get("apim-accesstoken", ""), validate=True)
    except ValueError:
        return False
    return len(encrypted) in _RSA_SIZES


def decoded_query(text: str) -> dict[str, str]:
    """Return the decoded query parameters. Raise Refused for a query whose signature is ambiguous."""
    query: dict[str, str] = {}
    for pair in text.split("&") if text else ():
        encoded_name, equals, encoded_value = pair.partition("=")
        if not equals:
            raise Refused(gateway_reply(400, "A query parameter has no value"))
        name, value = _decoded(encoded_name), _decoded(encoded_value)
        if not name or name in query:
            raise Refused(gateway_reply(400, "A query parameter is nameless or occurs twice"))
        query[name] = value
    return query


def expired_reply(config: Config) -> Reply:
    """Return the reply to a call with an expired token."""
    if config.refused_token == "http":
        return gateway_reply(401, UNAUTHORIZED)
    return json_reply({"code": 1203, "msg": TOKEN_MESSAGES[1203], "data": None}, code=1203)


def _decoded(text: str) -> str:
    try:
        if _BARE_PERCENT.search(text):
            raise ValueError(text)
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except ValueError as error:
        raise Refused(gateway_reply(400, "A query parameter is not percent-encoded UTF-8")) from error


def _readable(request: Request) -> None:
    if request.unreadable is not None:
        raise Refused(gateway_reply(request.unreadable, _UNREADABLE[request.unreadable]))


def _body_as_documented(request: Request) -> None:
    if request.method != "POST":
        if request.body:
            raise Refused(gateway_reply(400, _UNREADABLE[400]))
        return
    media_type, _, charset = request.headers.get("content-type", "").lower().replace(" ", "").partition(";")
    if media_type != "application/json" or charset not in ("", "charset=utf-8"):
        raise Refused(gateway_reply(415, "Content-Type must be application/json;charset=UTF-8"))


def _unauthorized() -> Refused:
    return Refused(gateway_reply(401, UNAUTHORIZED))


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogateescape"))


def _token_fields(request: Request) -> dict[str, str]:
    """Return the documented fields as text, the timestamp as digits. Raise _TokenRefused."""
    try:
        body = parse_object(request.body)
    except ValueError as error:
        raise _TokenRefused(1004) from error
    names = _TOKEN_FIELDS[request.action]
    if any(body.get(name) in (None, "") for name in names):
        raise _TokenRefused(1202)
    timestamp = body["timestamp"]
    if isinstance(timestamp, int) and not isinstance(timestamp, bool):
        body["timestamp"] = str(timestamp)
    texts = {name: text for name, text in body.items() if isinstance(text, str)}
    if texts.keys() != set(names) or body.keys() != set(names) or request.query:
        raise _TokenRefused(1004)
    if not _DIGITS.fullmatch(texts["timestamp"]):
        raise _TokenRefused(1004)
    return texts


def _token_reply(status: int, data: dict[str, Any] | None) -> Reply:
    envelope = {
        "status": status,
        "msg": TOKEN_MESSAGES[status],
        "business": "apim-token-service",
        "data": data,
    }
    return json_reply(envelope, code=status)
