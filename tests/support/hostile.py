"""Replies that are made to cost as much as they can, and what each of them costs.

Three processes: the gateway that sends them, the client that is measured, and the process that asks for the costs. Run
as a program, this module is one of the first two.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Where Python leaves the folder of a script out (PYTHONSAFEPATH), as where a wheel is tested.
sys.path.append(str(Path(__file__).parent))

from hostile_bodies import DRIP, INSTANCE, KINDS, data, raw, with_length

TASK = "108580-20200706062600"
_TOKEN = json.dumps({"status": 0, "data": {"accessToken": "a-token-of-the-rogue-gateway", "expire": 7200}}).encode()


def serve() -> None:
    """Send what the path of a request asks for: ``/<number of kind>/<size>/<x or token>/...``.

    ``token``: send it in reply to a request for a token. Without it, such a request gets a token.
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
                line.sendall(with_length(_TOKEN if "/apim-token-service/" in first else data(b"{}")))
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
    from airflow_provider_enos.protocol.models import Flow, FlowExport
    from airflow_provider_enos.protocol.wire import calls

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
        "get_flow_instance_graph": calls.get_flow_instance_graph(INSTANCE),
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
    """Return the settings of a connection that leads to this kind of reply."""
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
    """Return the most memory that this process has used, in MiB."""
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        # Linux counts in ru_maxrss what the process that started this one uses.
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Gaps:
    """The longest CPU time of this process between two ticks; waiting for other processes does not count."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = (time.monotonic(), time.process_time())

    def tick(self) -> None:
        now = (time.monotonic(), time.process_time())
        self.longest = max(self.longest, min(now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now


def drive_aiohttp(port: int, kind: str, size: int, wanted: list[str]) -> Iterator[Cost]:
    """Run the client in an event loop, as the triggerer does."""
    from airflow_provider_enos.client.aio import AsyncClient
    from airflow_provider_enos.protocol.wire.exchange import Retry

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
        except Exception as error:  # the process that asked judges it
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
    """Run the client in a thread beside another one, as in the API server."""
    from airflow_provider_enos.client.sync import SyncClient
    from airflow_provider_enos.protocol.wire.exchange import Retry

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
    """Run the client of the tab: in an event loop of its own, beside the loop of Airflow's API server."""
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
        look = lookups.log(source, TASK) if name == "get_task_instance_log" else lookups.instance(source)
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
    logging.disable(logging.CRITICAL)
    # Imports and what is made once are no cost of a reply.
    list(costs(port, "no text", 10, ["get_flow_instance"]))
    before = resident()
    for kind, size, wanted in plan:
        for cost in costs(port, kind, size, wanted):
            print(json.dumps({**asdict(cost), "memory": cost.memory - before}), flush=True)


# The process that asks for the costs


@contextlib.contextmanager
def gateway() -> Iterator[int]:
    """Yield the port of a gateway in a process of its own."""
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
    """Return what each reply of the plan costs a client in a process of its own, which may take ``seconds``."""
    command = [sys.executable, __file__, "drive", driver, str(port), json.dumps(plan)]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=seconds).stdout
    return [Cost(**json.loads(line)) for line in printed.splitlines()]


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        drive(sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
