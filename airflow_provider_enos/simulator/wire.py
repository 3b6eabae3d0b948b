"""What travels between the simulator's modules: a request read, a reply to send, a record of both."""

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
    """One HTTP request as it came in. ``headers`` has lower-case names; ``query`` is the raw text after
    ``?``.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    unreadable: int | None = None
    """The HTTP status to refuse it with, where the body could not be read."""
    authority: str | None = None
    """Host and port of the target, where it is in absolute form."""
    reached_at: str = ""
    """The address of this machine that the client has connected to."""

    @property
    def resource(self) -> str:
        """``flows``, ``flowInstances``, ..., ``token``; empty where the path is none of the gateway's."""
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
        """``resource/action``: the name faults and counts go by."""
        return f"{self.resource}/{self.action}"


class Delivery(enum.Enum):
    """How a reply is put on the line."""

    WHOLE = "whole"
    NOTHING = "nothing"
    HALF = "half"
    DRIP = "drip"


@dataclass(frozen=True)
class Reply:
    """One HTTP reply, and how it is to be sent."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    code: int | None = None
    """The ``code`` (or the token service's ``status``) in the envelope, where there is one."""
    delivery: Delivery = Delivery.WHOLE
    seconds: float = 0.0
    """Seconds to hold the reply back; with ``DRIP``, seconds between bytes."""
    length_off: int = 0
    """How far Content-Length lies beside the truth."""


@dataclass(frozen=True)
class Record:
    """One request to the gateway, without its secrets, and what became of it.

    ``status`` and ``code`` are None until it is answered, and stay so where the connection was dropped
    instead.
    """

    method: str
    path: str
    resource: str
    action: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: float
    """When it came in, by the monotonic clock."""
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
        """The body, parsed. Raises ValueError where it is not JSON."""
        return json.loads(self.body)


def record_of(request: Request, at: float) -> Record:
    """The record of a request that has just come in."""
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
    """Compact UTF-8 JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def json_reply(value: object, status: int = 200, code: int | None = None) -> Reply:
    """A reply whose body is ``value`` as JSON."""
    return Reply(status=status, body=json_bytes(value), code=code)


def gateway_reply(status: int, message: str, **extra: str) -> Reply:
    """What the gateway itself says, as opposed to a service behind it: ``{"message": ...}``."""
    return Reply(status=status, body=json_bytes({"message": message}), headers=tuple(extra.items()))


def parse_object(body: bytes) -> dict[str, Any]:
    """A strict reading of a JSON object: no NaN, no name twice, no half of a character. Raises ValueError."""
    try:
        value = json.loads(body.decode(), object_pairs_hook=_pairs, parse_constant=_no_constant)
        # Such a half can be escaped in JSON, and written nowhere.
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
