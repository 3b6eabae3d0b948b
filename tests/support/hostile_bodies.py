"""Bodies that are made to cost as much as they can, by kind."""

from __future__ import annotations

import gzip
from collections.abc import Callable

INSTANCE = "3377-20200706062600"
MIB = 2**20


def data(of: bytes) -> bytes:
    """The reply of a call that went well."""
    return b'{"code":0,"status":0,"data":' + of + b"}"


def many(item: bytes, size: int, ends: bytes = b"[]") -> bytes:
    """Return a list of this item, or an object with this member, of ``size`` bytes."""
    return ends[:1] + (item + b",") * (size // (len(item) + 1)) + item + ends[1:]


def instance(size: int, **fields: bytes) -> bytes:
    """A flow instance, with fields that are JSON."""
    named = {"instanceId": f'"{INSTANCE}"'.encode(), "flowId": b"3377", "status": b"2", **fields}
    return data(b"{" + b",".join(f'"{name}":'.encode() + value for name, value in named.items()) + b"}")


def text(inner: bytes, size: int, end: bytes = b"") -> bytes:
    """A long text in each field that some operation reads one from."""
    value = b'"' + inner * (size // len(inner)) + end + b'"'
    return b'{"code":0,"data":{"status":' + value + b',"instanceId":"1-2","log":"","graph":""}}'


def log(inner: bytes, size: int, end: bytes = b"") -> bytes:
    """A long log."""
    return data(b'{"log":"' + inner * (size // len(inner)) + end + b'"}')


def keys(size: int) -> bytes:
    """Return an object with names of ``size`` bytes in all."""
    return data(b"{" + b",".join(b'"%x":""' % number for number in range(size // 10)) + b"}")


def graph_text(item: bytes, size: int) -> bytes:
    """An instance whose graph is JSON in a text, with as many tasks."""
    inner = b'{"tasks":' + many(item, size) + b"}"
    return instance(size, graph=b'"' + inner.replace(b'"', b'\\"') + b'"')


def pages(size: int, graph_size: int) -> bytes:
    """Return a list of instances, each with a graph of empty nodes in a text of ``graph_size`` bytes."""
    graph = b'"{\\"tasks\\":' + many(b"{}", graph_size) + b'}"'
    one = b'{"instanceId":"1-2","status":1,"graph":' + graph + b"}"
    return data(b'{"flowInsts":' + many(one, size) + b',"count":1}')


def settings_in_texts(size: int) -> bytes:
    """An export whose tasks have small texts of JSON."""
    one = b'{"name":"a","runMode":"{\\"a\\":' + many(b"[]", 800) + b'}"}'
    return data(b'{"tasks":' + many(one, size) + b"}")


_BODIES: dict[str, Callable[[int], bytes]] = {
    "empty lists": lambda size: data(many(b"[]", size)),
    "empty objects": lambda size: data(many(b"{}", size)),
    "objects with a member": lambda size: data(many(b'{"a":1}', size)),
    "a graph of empty nodes": lambda size: instance(size, graph=b'{"tasks":' + many(b"{}", size) + b"}"),
    "relations of one that failed": lambda size: instance(
        size, status=b"-1", graph=b'{"relations":' + many(b'{"source":"a","target":"b"}', size) + b"}"
    ),
    "a graph in a text": lambda size: graph_text(b'{"status":"a"}', size),
    "graphs in texts": lambda size: pages(size, 15_000),
    "small graphs in texts": lambda size: pages(size, 800),
    "settings in texts": settings_in_texts,
    "directories": lambda size: data(many(b'{"key":"1","children":[{"key":2}]}', size)),
    "small numbers": lambda size: data(many(b"1", size)),
    "fractions": lambda size: data(many(b"1.5", size)),
    "infinite numbers": lambda size: data(many(b"1e999", size)),
    "numbers of 4,300 digits": lambda size: data(many(b"9" * 4300, size)),
    "one number": lambda size: data(b"9" * size),
    "empty texts": lambda size: data(many(b'""', size)),
    "names": keys,
    "one name again and again": lambda size: data(many(b'"a":{}', size, b"{}")),
    "nested lists": lambda size: data(b"[" * (size // 2) + b"]" * (size // 2)),
    "a long status": lambda size: text(b"x", size),
    "a status of line breaks": lambda size: text(b"\\n", size),
    "a long log": lambda size: log(b"x", size),
    "a log of line breaks": lambda size: log(b"\\n", size),
    "a log of quotes": lambda size: log(b'\\"x', size),
    "a log of escaped letters": lambda size: log(b"\\u4e2d", size),
    "a log with a wide letter": lambda size: log(b"x", size, "\U0001f600".encode()),
    "parameters": lambda size: instance(size, parameters=many(b'{"key":"a"}', size)),
    "a long message": lambda size: b'{"code":62102,"msg":"' + b"access_token " * (size // 13) + b'"}',
    "spaces": lambda size: b" " * size + data(b"{}"),
    "quotes": lambda size: b'"' * size,
    "backslashes": lambda size: b'"' + b"\\" * size,
    "no text": lambda size: b"\xff" * size,
}


def with_length(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _bomb(size: int) -> bytes:
    return with_length(gzip.compress(log(b"x", 100 * MIB), 6), "Content-Encoding: gzip")


def _gzipped(size: int) -> bytes:
    return with_length(gzip.compress(data(many(b"[]", size)), 1), "Content-Encoding: gzip")


def _chunks(size: int) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"2\r\n[]\r\n" * (size // 2) + b"0\r\n\r\n"


_RAW: dict[str, Callable[[int], bytes]] = {
    "gzip: a bomb": _bomb,
    "gzip: empty lists": _gzipped,
    "chunks of two bytes": _chunks,
}
OPERATION_OF = {
    "graphs in texts": "list_flow_instances",
    "small graphs in texts": "list_flow_instances",
    "settings in texts": "export_flow",
    "directories": "list_workflow_directories",
    **{kind: "get_task_instance_log" for kind in _BODIES if " log" in kind},
}
"""What a kind is meant for; all others are for ``get_flow_instance``."""
DRIP = "a byte now and then"
KINDS = [*_BODIES, *_RAW, DRIP]


def raw(kind: str, size: int) -> bytes:
    """Return all bytes of a reply of this kind, with a body of about ``size`` bytes."""
    return _RAW[kind](size) if kind in _RAW else with_length(_BODIES[kind](size))
