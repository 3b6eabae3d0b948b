"""Faults: the next requests to an operation go wrong in the way that was asked for.

A fault either replaces the reply or changes it. The option ``processed`` says whether EnOS executes the request: if it
is True, only the reply is bad.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from airflow_provider_enos.simulator.config import Config, OneOf, checked_operation, checked_times, not_negative
from airflow_provider_enos.simulator.gateway import expired_reply
from airflow_provider_enos.simulator.service import INTERNAL_ERROR, envelope
from airflow_provider_enos.simulator.wire import (
    HTML_TYPE,
    Delivery,
    Reply,
    Request,
    gateway_reply,
    json_bytes,
)


@dataclass(frozen=True)
class Target:
    """The request that a fault is applied to."""

    request: Request
    options: Mapping[str, Any]
    config: Config


Change = Callable[[Reply, Target], Reply]
Option = tuple[object, Callable[[object], object]]


@dataclass(frozen=True)
class _Kind:
    about: str
    apply: Change
    options: Mapping[str, Option]


@dataclass(frozen=True)
class Fault:
    """A fault that is armed."""

    kind: str
    on: str | None
    options: Mapping[str, Any]

    @property
    def processed(self) -> bool:
        """Whether EnOS executes the request."""
        return bool(self.options["processed"])

    @property
    def seconds_before(self) -> float:
        """Seconds to wait before EnOS executes the request."""
        return float(self.options["seconds"]) if self.kind == "slow_before" else 0.0

    def apply(self, reply: Reply, request: Request, config: Config) -> Reply:
        """Return the reply to send."""
        return _KINDS[self.kind].apply(reply, Target(request, self.options, config))


class FaultRegistry:
    """The faults that are armed, oldest first. Any thread may call it."""

    def __init__(self, operations: frozenset[str]) -> None:
        self._operations = operations
        self._lock = threading.Lock()
        self._armed: list[tuple[Fault, int | None]] = []

    def add(self, kind: str, on: str | None, times: int | None, options: Mapping[str, object]) -> None:
        """Arm a fault. Raise ValueError, with what exists, for an unknown kind, operation or option."""
        fault = Fault(kind, checked_operation(on, self._operations), _checked_options(kind, options))
        with self._lock:
            self._armed.append((fault, checked_times(times)))

    def take(self, operation: str) -> Fault | None:
        """Return the fault for a request to this operation, or None, and count it as used."""
        if operation not in self._operations:
            return None
        with self._lock:
            for place, (fault, times) in enumerate(self._armed):
                if fault.on in (None, operation):
                    self._armed[place : place + 1] = [] if times == 1 else [(fault, times and times - 1)]
                    return fault
        return None

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._armed.clear()

    def listing(self) -> list[dict[str, object]]:
        """Return the armed faults, in plain values."""
        with self._lock:
            return [
                {"kind": fault.kind, "on": fault.on, "times": times, "options": dict(fault.options)}
                for fault, times in self._armed
            ]


def _checked_options(kind: str, given: Mapping[str, object]) -> dict[str, object]:
    if kind not in _KINDS:
        raise ValueError(f"there is no fault {kind!r}; there are {', '.join(_KINDS)}")
    known = _KINDS[kind].options
    options = {name: default for name, (default, _) in known.items()}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"fault {kind!r} has no option {name!r}; it has {', '.join(known)}")
        try:
            options[name] = known[name][1](value)
        except ValueError as error:
            raise ValueError(f"option {name!r} of fault {kind!r} takes {error}, not {value!r}") from None
    return options


_FLAG = OneOf(True, False)
_KINDS: dict[str, _Kind] = {}


def _add(kind: str, about: str, apply: Change, *, processed: bool = True, **options: Option) -> None:
    _KINDS[kind] = _Kind(about, apply, {"processed": (processed, _FLAG), **options})


def _add_http(status: int, message: str, about: str) -> None:
    def apply(reply: Reply, target: Target) -> Reply:
        if target.options["body"] == "json":
            return gateway_reply(status, message)
        page = f"<html><head><title>{status} {message}</title></head><body><h1>{message}</h1></body></html>"
        return Reply(status=status, body=page.encode(), content_type=HTML_TYPE)

    _add(f"http_{status}", about, apply, processed=False, body=("json", OneOf("json", "html")))


def _throttled(reply: Reply, target: Target) -> Reply:
    after = target.options["retry_after"]
    headers = {} if after is None else {"Retry-After": str(after)}
    return gateway_reply(429, "API rate limit exceeded", **headers)


def _retry_after(value: object) -> object:
    unusable = isinstance(value, bool) or not isinstance(value, int | float | str | None)
    if unusable or (isinstance(value, str) and not (value.isascii() and value.isprintable())):
        raise ValueError("seconds, header text or None")
    return value


def _header_text(value: object) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise ValueError("printable ASCII text")
    return value


def _size(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a whole number that is not negative")
    return value


def _offset(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not value:
        raise ValueError("a whole number that is not 0")
    return value


def _bytes(body: bytes) -> Change:
    return lambda reply, target: replace(reply, status=200, body=body, code=None)


def _html_200(reply: Reply, target: Target) -> Reply:
    return Reply(body=b"<!DOCTYPE html><html><body>Please sign in</body></html>", content_type=HTML_TYPE)


def _redirect(reply: Reply, target: Target) -> Reply:
    return Reply(status=302, headers=(("Location", target.options["location"]),))


def _secret_echo(reply: Reply, target: Target) -> Reply:
    headers = "; ".join(f"{name}: {value}" for name, value in target.request.headers.items())
    heard = f"{headers}; body: {target.request.body.decode('utf-8', 'replace')}"
    return envelope(target.config, 62109, f"Request failed: {heard}", None)


def _huge_body(reply: Reply, target: Target) -> Reply:
    filler = b"x" * target.options["bytes"]
    return replace(reply, body=b'{"code":0,"msg":"OK","data":"' + filler + b'"}')


def _envelope(change: Callable[[dict[str, Any]], object]) -> Change:
    """Return a fault that changes the envelope of the real reply."""

    def apply(reply: Reply, target: Target) -> Reply:
        try:
            content = json.loads(reply.body)
        except ValueError:
            return reply
        change(content)
        return replace(reply, body=json_bytes(content))

    return apply


def _code(change: Callable[[dict[str, Any], str], object]) -> Change:
    """Return a fault that changes ``code``, which the token service calls ``status``."""
    return _envelope(lambda content: change(content, "status" if "business" in content else "code"))


def _data(value: Callable[[Any], object]) -> Change:
    return _envelope(lambda content: content.update(data=value(content.get("data"))))


def _items(change: Callable[[dict[str, Any]], object]) -> Change:
    """Return a fault that changes each instance in the real reply."""

    def change_all(content: dict[str, Any]) -> None:
        data = content.get("data")
        found = data.get("flowInsts", [data]) if isinstance(data, dict) else data
        for item in found if isinstance(found, list) else ():
            if isinstance(item, dict):
                change(item)

    return _envelope(change_all)


def _without(*names: str) -> Change:
    return _items(lambda item: [item.pop(name, None) for name in names])


def _instead(**values: object) -> Change:
    return _items(lambda item: item.update({name: new for name, new in values.items() if name in item}))


def _numbers_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _numbers_as_text(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_numbers_as_text(inner) for inner in value]
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _add_line_faults() -> None:
    seconds: Option = (1.0, not_negative)
    drop: Change = lambda reply, target: replace(reply, delivery=Delivery.NOTHING)  # noqa: E731
    slow: Change = lambda reply, target: replace(reply, seconds=target.options["seconds"])  # noqa: E731
    _add("lost_reply", "processed, then the connection is dropped without an answer", drop)
    _add("dropped", "the connection is dropped before anything is processed", drop, processed=False)
    half: Change = lambda reply, target: replace(reply, delivery=Delivery.HALF)  # noqa: E731
    _add("dropped_mid_body", "the connection is dropped after half of the body", half)
    _add("slow", "processed, and answered late", slow, seconds=seconds)
    _add("slow_before", "processed late", lambda reply, target: reply, seconds=seconds)
    drip: Change = lambda reply, target: replace(  # noqa: E731
        reply, delivery=Delivery.DRIP, seconds=target.options["seconds"]
    )
    _add("drip", "the body comes byte by byte", drip, seconds=(0.001, not_negative))
    off: Change = lambda reply, target: replace(reply, length_off=target.options["off_by"])  # noqa: E731
    _add("wrong_content_length", "Content-Length is wrong", off, off_by=(10, _offset))


def _add_status_faults() -> None:
    _add_http(500, "An unexpected error occurred", "the gateway fails")
    _add_http(502, "An invalid response was received from the upstream server", "the service fails")
    _add_http(503, "Service unavailable", "the service is not there")
    _add_http(504, "The upstream server is timing out", "the service takes too long")
    _add_http(401, "Invalid authentication credentials", "the credentials are refused")
    _add_http(403, "Your IP address is not allowed", "the caller's address is refused")
    _add_http(404, "no Route matched with those values", "the gateway knows no such path")
    _add_http(413, "Request size limit exceeded", "the request is too large")
    _add("http_429", "too many requests", _throttled, processed=False, retry_after=(None, _retry_after))
    location: Option = ("http://elsewhere.invalid/login", _header_text)
    _add("redirect", "sent to another host", _redirect, processed=False, location=location)
    _add("no_content", "204 without a body", lambda reply, target: Reply(status=204))
    _add(
        "expired_token",
        "the token has expired, it says",
        lambda reply, target: expired_reply(target.config),
        processed=False,
    )
    _add(
        "internal_error",
        "code 62109",
        lambda reply, target: envelope(target.config, 62109, INTERNAL_ERROR, None),
        processed=False,
    )
    _add("secret_echo", "an error that repeats the request's headers and body", _secret_echo, processed=False)


def _add_body_faults() -> None:
    _add("html_200", "a page of HTML", _html_200)
    _add("empty_body", "no body", _bytes(b""))
    cut: Change = lambda reply, target: replace(reply, body=reply.body[: len(reply.body) // 2])  # noqa: E731
    _add("truncated_json", "the first half of the JSON", cut)
    _add("not_json", "text", _bytes(b"upstream says no"))
    _add("invalid_utf8", "bytes that are not UTF-8", _bytes(b'{"code":0,"msg":"\xff\xfe","data":""}'))
    bom: Change = lambda reply, target: replace(reply, body=b"\xef\xbb\xbf" + reply.body)  # noqa: E731
    _add("json_bom", "the answer after a byte order mark", bom)
    _add("json_null", "the JSON null", _bytes(b"null"))
    _add("json_list", "a JSON list", _bytes(b"[]"))
    _add("json_number", "a JSON number", _bytes(b"42"))
    _add("json_string", "a JSON string", _bytes(b'"OK"'))
    _add("nan_json", "JSON with NaN for data", _bytes(b'{"code":0,"msg":"OK","data":NaN}'))
    deep = b'{"code":0,"msg":"OK","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    _add("deep_json", "100,000 nested lists", _bytes(deep))
    _add("huge_body", "more than 32 MiB", _huge_body, bytes=(33 * 2**20, _size))
    gzip: Change = lambda reply, target: replace(reply, headers=(("Content-Encoding", "gzip"),))  # noqa: E731
    _add("bad_gzip", "says it is gzip, and is not", gzip)


def _add_answer_faults() -> None:
    _add("no_code", "the answer without its code", _code(lambda content, name: content.pop(name, None)))
    _add("code_null", "the answer with code null", _code(lambda content, name: content.update({name: None})))
    _add("code_text", "the answer with code 'OK'", _code(lambda content, name: content.update({name: "OK"})))
    _add(
        "numbers_as_strings",
        "the answer with every number as text",
        _envelope(lambda content: content.update(_numbers_as_text(content))),
    )
    _add("data_missing", "the answer without data", _envelope(lambda content: content.pop("data", None)))
    _add("data_null", "the answer with data null", _data(lambda data: None))
    _add("data_text", "the answer with text for data", _data(lambda data: "text"))
    _add("data_number", "the answer with a number for data", _data(lambda data: 42))
    _add("data_empty_list", "the answer with [] for data", _data(lambda data: []))
    _add("data_list_of_two", "the answer with its data twice in a list", _data(lambda data: [data, data]))
    _add("missing_instance_id", "no instance id", _without("flowInstanceId", "instanceId"))
    _add("missing_status", "an instance without status", _without("status", "statusDesc", "stsDesc"))
    _add("null_status", "an instance with status null", _instead(status=None, statusDesc=None, stsDesc=None))
    unknown = _instead(status=42, statusDesc="HIBERNATED", stsDesc="HIBERNATED")
    _add("unknown_status", "an instance with status 42", unknown)
    _add("text_status", "an instance with its status by name", _items(_name_status))
    _add("graph_not_json", "an instance whose graph is not JSON", _instead(graph="{tasks: "))
    _add("graph_wrong_shape", "an instance whose graph has another shape", _instead(graph='{"tasks":{"a":7}}'))


def _name_status(item: dict[str, Any]) -> None:
    if "status" in item:
        item["status"] = item.get("statusDesc", item.get("stsDesc"))


_add_line_faults()
_add_status_faults()
_add_body_faults()
_add_answer_faults()

FAULTS: Mapping[str, str] = MappingProxyType({name: kind.about for name, kind in _KINDS.items()})
"""Every kind of fault, with a description."""
