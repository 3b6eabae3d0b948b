"""Replies that are made to cost as much as they can, and what each of them costs.

Three processes: the gateway that sends them, the client that is measured, and whoever wants to know. Run as a program
this is one of the first two.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

INSTANCE = "3377-20200706062600"
TASK = "108580-20200706062600"
MIB = 2**20
_TOKEN = json.dumps({"status": 0, "data": {"accessToken": "a-token-of-the-rogue-gateway", "expire": 7200}}).encode()


# What is sent


def data(of: bytes) -> bytes:
    """The reply of a call that went well."""
    return b'{"code":0,"status":0,"data":' + of + b"}"


def many(item: bytes, size: int, ends: bytes = b"[]") -> bytes:
    """A list of this item, or an object with this member, of so many bytes."""
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
    """One object of as many names."""
    return data(b"{" + b",".join(b'"%x":""' % number for number in range(size // 10)) + b"}")


def graph_text(item: bytes, size: int) -> bytes:
    """An instance whose graph is JSON in a text, with as many tasks."""
    inner = b'{"tasks":' + many(item, size) + b"}"
    return instance(size, graph=b'"' + inner.replace(b'"', b'\\"') + b'"')


def pages(size: int) -> bytes:
    """A list of instances, each with a graph of 5,000 empty nodes in a text."""
    graph = b'"' + b'{"tasks":' + many(b"{}", 15_000) + b"}".replace(b'"', b'\\"') + b'"'
    graph = b'"{\\"tasks\\":' + many(b"{}", 15_000) + b'}"'
    one = b'{"instanceId":"1-2","status":1,"graph":' + graph + b"}"
    return data(b'{"flowInsts":' + many(one, size) + b',"count":1}')


_BODIES: dict[str, Callable[[int], bytes]] = {
    "empty lists": lambda size: data(many(b"[]", size)),
    "empty objects": lambda size: data(many(b"{}", size)),
    "objects with a member": lambda size: data(many(b'{"a":1}', size)),
    "a graph of empty nodes": lambda size: instance(size, graph=b'{"tasks":' + many(b"{}", size) + b"}"),
    "a graph in a text": lambda size: graph_text(b'{"status":"a"}', size),
    "graphs in texts": pages,
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


def _with_length(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _bomb(size: int) -> bytes:
    return _with_length(gzip.compress(log(b"x", 100 * MIB), 6), "Content-Encoding: gzip")


def _gzipped(size: int) -> bytes:
    return _with_length(gzip.compress(data(many(b"[]", size)), 1), "Content-Encoding: gzip")


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
    "directories": "list_workflow_directories",
    **{kind: "get_task_instance_log" for kind in _BODIES if " log" in kind},
}
"""What a kind is meant for; all others are for ``get_flow_instance``."""
DRIP = "a byte now and then"
KINDS = [*_BODIES, *_RAW, DRIP]


def raw(kind: str, size: int) -> bytes:
    """All bytes of a reply of this kind, whose body has about so many."""
    return _RAW[kind](size) if kind in _RAW else _with_length(_BODIES[kind](size))


def serve() -> None:
    """Send what the path of a request asks for: ``/<number of kind>/<size>/<x or token>/...``.

    ``token``: to a request for a token; else those get one.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    print(listener.getsockname()[1], flush=True)
    while True:
        line, _ = listener.accept()
        threading.Thread(target=_talk, args=(line,), daemon=True).start()


def _talk(line: socket.socket) -> None:
    kept: dict[tuple[str, int], bytes] = {}
    with contextlib.suppress(OSError, ValueError), line, line.makefile("rb") as incoming:
        while first := incoming.readline().decode("latin-1"):
            length = 0
            while (header := incoming.readline().strip().lower()) != b"":
                if header.startswith(b"content-length:"):
                    length = int(header.partition(b":")[2])
            incoming.read(length)
            _, number, size, on_token, *_ = first.split(" ")[1].split("/")
            if ("/apim-token-service/" in first) != (on_token == "token"):
                line.sendall(_with_length(_TOKEN if "/apim-token-service/" in first else data(b"{}")))
                continue
            kind = KINDS[int(number)]
            if kind == DRIP:
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while True:
                    line.sendall(b" ")
                    time.sleep(0.1)
            wanted = (kind, int(size))
            if wanted not in kept:
                kept.clear()
                kept[wanted] = raw(*wanted)
            line.sendall(kept[wanted])


# What is asked


def operations() -> dict[str, Any]:
    """Every operation of EnOS, by its name in ``calls``."""
    from airflow_provider_enos.protocol import calls
    from airflow_provider_enos.protocol.models import Flow, FlowExport

    flow = Flow.parse({"flowId": 3377})
    return {
        "trigger_flow": calls.trigger_flow(3377, 0),
        "trigger_flow_from_task": calls.trigger_flow_from_task(3377, 108580, 0),
        "update_and_trigger_flow": calls.update_and_trigger_flow(3377, 0, {}),
        "get_flow": calls.get_flow(3377),
        "export_flow": calls.export_flow(3377),
        "import_flow": calls.import_flow("a", "b", FlowExport.parse({})),
        "load_flow_for_edit": calls.load_flow_for_edit(3377),
        "save_flow": calls.save_flow(flow),
        "delete_flow": calls.delete_flow(3377),
        "enable_flow": calls.enable_flow(3377),
        "disable_flow": calls.disable_flow(3377),
        "get_my_flow": calls.get_my_flow(),
        "search_flows": calls.search_flows(page_no=1, page_size=50),
        "list_workflow_directories": calls.list_workflow_directories(),
        "create_directory": calls.create_directory("a", "b"),
        "get_flow_instance": calls.get_flow_instance(INSTANCE),
        "list_flow_instances": calls.list_flow_instances(
            type=0, from_trigger_time=0, to_trigger_time=1, page_no=1, page_size=50
        ),
        "cancel_flow_instance": calls.cancel_flow_instance(INSTANCE),
        "get_task_instance": calls.get_task_instance(TASK),
        "get_task_instance_log": calls.get_task_instance_log(TASK),
        "get_current_time": calls.get_current_time(),
        "get_time_zone": calls.get_time_zone(),
        # Sent ahead of any other one.
        "get_token": calls.get_time_zone(),
    }


@dataclass(frozen=True)
class Cost:
    """What a reply cost. ``stop``: the most CPU time that went by while an event loop had no turn."""

    kind: str
    operation: str
    said: str
    stop: float
    cpu: float
    seconds: float
    memory: float
    """MiB by which the process is larger than before, at its largest since it began."""


def settings_of(port: int, kind: str, size: int, *, on_token: bool) -> Any:
    """What a connection says that leads to this kind of reply."""
    from airflow_provider_enos.client import settings

    prefix = f"{KINDS.index(kind)}/{size}/{'token' if on_token else 'x'}"
    return settings.read(
        SimpleNamespace(
            conn_id="hostile",
            host=f"http://127.0.0.1:{port}/{prefix}",
            port=None,
            schema=None,
            login="key",
            password="secret",
            extra=json.dumps({"org_id": "o1", "user_id": "u1", "timeout": 2 if kind == DRIP else 30, "verify": False}),
        )
    )


def resident() -> float:
    """MiB that this process has had in memory, at its largest."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Gaps:
    """The longest time between two ticks, counting what this process has computed in it, and no waiting for others."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = (time.monotonic(), time.process_time())

    def tick(self) -> None:
        now = (time.monotonic(), time.process_time())
        self.longest = max(self.longest, min(now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now


def drive_aiohttp(port: int, kind: str, size: int, wanted: list[str]) -> Iterator[Cost]:
    """In an event loop, as the triggerer."""
    from airflow_provider_enos.client.aio import AsyncClient
    from airflow_provider_enos.protocol.exchange import Retry

    async def tick(gaps: Gaps) -> None:
        while True:
            await asyncio.sleep(0.001)
            gaps.tick()

    async def one(client: AsyncClient, name: str) -> Cost:
        gaps = Gaps()
        ticking = asyncio.create_task(tick(gaps))
        begun, cpu = time.monotonic(), time.process_time()
        try:
            said = f"read: {type(await client.call(operations()[name])).__name__}"
        except Exception as error:  # what it is, is looked at by whoever asked
            said = f"{type(error).__name__}: {error}"
        seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
        await asyncio.sleep(0.002)
        ticking.cancel()
        return Cost(kind, name, said[:300], gaps.longest, cpu, seconds, resident())

    async def all_of_them() -> list[Cost]:
        found = []
        for names in (
            [name for name in wanted if name != "get_token"],
            [name for name in wanted if name == "get_token"],
        ):
            settings = settings_of(port, kind, size, on_token="get_token" in names)
            async with AsyncClient(settings, retry=Retry(attempts=1)) as client:
                found += [await one(client, name) for name in names]
        return found

    yield from asyncio.run(all_of_them())


def drive_requests(port: int, kind: str, size: int, wanted: list[str]) -> Iterator[Cost]:
    """In a thread beside another one, as in the API server."""
    from airflow_provider_enos.client.sync import SyncClient
    from airflow_provider_enos.protocol.exchange import Retry

    def work(client: SyncClient, name: str, said: list[str]) -> None:
        try:
            said.append(f"read: {type(client.call(operations()[name])).__name__}")
        except Exception as error:  # as above
            said.append(f"{type(error).__name__}: {error}")

    for name in wanted:
        client = SyncClient(settings_of(port, kind, size, on_token=name == "get_token"), retry=Retry(attempts=1))
        said: list[str] = []
        gaps, thread = Gaps(), threading.Thread(target=work, args=(client, name, said))
        begun, cpu = time.monotonic(), time.process_time()
        thread.start()
        while thread.is_alive():
            time.sleep(0.001)
            gaps.tick()
        seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
        client.close()
        yield Cost(kind, name, said[0][:300], gaps.longest, cpu, seconds, resident())


_loops: list[Any] = []


def drive_view(port: int, kind: str, size: int, wanted: list[str]) -> Iterator[Cost]:
    """As the tab of a task instance: in a loop of its own, beside that of Airflow's API server."""
    from airflow_provider_enos.plugins.view.lookups import Lookups, OwnLoop, Problem, Source

    lookups = Lookups(lambda source: settings_of(port, kind, size, on_token=False))
    if not _loops:
        _loops.append(OwnLoop())
    apart, source = _loops[0], Source("hostile", None, None, None, INSTANCE)

    async def tick(gaps: Gaps) -> None:
        while True:
            await asyncio.sleep(0.001)
            gaps.tick()

    async def one(name: str) -> Cost:
        gaps = Gaps()
        ticking = asyncio.create_task(tick(gaps))
        begun, cpu = time.monotonic(), time.process_time()
        look = lookups.instance(source) if name == "get_flow_instance" else lookups.log(source, TASK)
        seen = await apart.run(look)
        said = f"Problem: {seen.message}" if isinstance(seen, Problem) else f"read: {len(json.dumps(seen))}"
        seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
        await asyncio.sleep(0.002)
        ticking.cancel()
        return Cost(kind, name, said[:300], gaps.longest, cpu, seconds, resident())

    for name in wanted:
        yield asyncio.run(one(name))


def drive(driver: str, port: int, plan: list[tuple[str, int, list[str]]]) -> None:
    """Carry out the plan, a list of kind, size and names of operations; print what each costs."""
    costs = {"aiohttp": drive_aiohttp, "requests": drive_requests, "view": drive_view}[driver]
    # What is imported and made once is no cost of a reply.
    list(costs(port, "no text", 10, ["get_flow_instance"]))
    logging.disable(logging.CRITICAL)
    before = resident()
    for kind, size, wanted in plan:
        for cost in costs(port, kind, size, wanted):
            print(json.dumps({**asdict(cost), "memory": cost.memory - before}), flush=True)


# Who wants to know


@contextlib.contextmanager
def gateway() -> Iterator[int]:
    """The port of a gateway in a process of its own."""
    process = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def costs(
    driver: str, port: int, plan: list[tuple[str, int, list[str]]], *, seconds: float | None = None
) -> list[Cost]:
    """What each reply of the plan costs a client in a process of its own, which is given so many ``seconds``."""
    command = [sys.executable, __file__, "drive", driver, str(port), json.dumps(plan)]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=seconds).stdout
    return [Cost(**json.loads(line)) for line in printed.splitlines()]


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parent))
    if sys.argv[1] == "serve":
        serve()
    else:
        drive(sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
