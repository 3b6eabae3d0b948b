"""What the modules pass to each other: a request, the reply to send, and a record of both."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

API_PATH = "/batch-processing-service/v2.1/"
TOKEN_PATH = "/apim-token-service/v2.0/token/"

JSON_TYPE = "application/json;charset=UTF-8"
HTML_TYPE = "text/html; charset=utf-8"

SECRET_HEADERS = frozenset({"apim-accesstoken", "apim-signature", "authorization", "cookie"})


@dataclass(frozen=True)
class Request:
    """One HTTP request. ``headers`` has lower-case names; ``query`` is the raw text after ``?``."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    unreadable: int | None = None
    """The HTTP status to refuse it with, where the body could not be read."""
    authority: str | None = None
    """Host and port of the request target, where that is in absolute form."""
    reached_at: str = ""
    """The address of this machine that the client is connected to."""

    @property
    def resource(self) -> str:
        """``flows``, ``flowInstances``, ..., ``token``; empty for any other path."""
        if self.path.startswith(TOKEN_PATH):
            return "token"
        return self.path.removeprefix(API_PATH) if self.path.startswith(API_PATH) else ""

    @property
    def action(self) -> str:
        """The last part of a token path, else the query parameter ``action``."""
        if self.path.startswith(TOKEN_PATH):
            return self.path.removeprefix(TOKEN_PATH)
        return dict(parse_qsl(self.query, keep_blank_values=True)).get("action", "")

    @property
    def operation(self) -> str:
        """``resource/action``: the name of the operation in faults, holds and counts."""
        return f"{self.resource}/{self.action}"


class Delivery(enum.Enum):
    """How a reply is sent."""

    WHOLE = "whole"
    NOTHING = "nothing"
    HALF = "half"
    DRIP = "drip"


@dataclass(frozen=True)
class Reply:
    """One HTTP reply, and how to send it."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    code: int | None = None
    """The ``code`` in the envelope (the ``status`` of the token service), if there is one."""
    delivery: Delivery = Delivery.WHOLE
    seconds: float = 0.0
    """Seconds to delay the reply; with ``DRIP``, seconds between bytes."""
    length_off: int = 0
    """The error of Content-Length, in bytes."""


@dataclass(frozen=True)
class Record:
    """One request to the gateway, without its secrets, and its reply.

    ``status`` and ``code`` are None until it is answered, and remain None where the connection was dropped.
    """

    method: str
    path: str
    resource: str
    action: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: float
    """When it was received, by the monotonic clock."""
    status: int | None = None
    code: int | None = None
    fault: str | None = None
    milliseconds: float | None = None

    @property
    def operation(self) -> str:
        """``resource/action``, as in ``flows/triggerFromTask``."""
        return f"{self.resource}/{self.action}"

    @property
    def json(self) -> Any:
        """The parsed body. Raise ValueError where it is not JSON."""
        return json.loads(self.body)


def record_of(request: Request, at: float) -> Record:
    """Return the record of a request that has just been received."""
    return Record(
        method=request.method,
        path=request.path,
        resource=request.resource,
        action=request.action,
        query=dict(parse_qsl(request.query, keep_blank_values=True)),
        headers={name: text for name, text in request.headers.items() if name not in SECRET_HEADERS},
        body=request.body,
        at=at,
    )


def json_bytes(value: object) -> bytes:
    """Return compact UTF-8 JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def json_reply(value: object, status: int = 200, code: int | None = None) -> Reply:
    """Return a reply whose body is ``value`` as JSON."""
    return Reply(status=status, body=json_bytes(value), code=code)


def gateway_reply(status: int, message: str, **extra: str) -> Reply:
    """Return a reply of the gateway itself, not of a service behind it: ``{"message": ...}``."""
    return Reply(status=status, body=json_bytes({"message": message}), headers=tuple(extra.items()))


def parse_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object. Raise ValueError for anything else, a name that occurs twice, NaN, or half a character."""
    try:
        value = json.loads(body.decode(), object_pairs_hook=_pairs, parse_constant=_no_constant)
        # Half of a surrogate pair can be escaped in JSON, but not encoded.
        json_bytes(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
