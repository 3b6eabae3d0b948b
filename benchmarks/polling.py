"""What waiting costs the triggerer: the shared poller, and beside it a client with a session for each poll.

TLS on loopback; the gateway is the simulator in a process of its own, the client another one, measured by itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from airflow_provider_enos.protocol.trigger_time import predicted_flow_instance_id

FLOW, NODE = 9001, 90010
FIRST_MINUTE = 1704067200000
_PROBE = 0.05
"""Seconds between two looks at the event loop: more often they would themselves be what is measured."""
ENDING = 60
"""So many of the instances end while it is measured."""


def main() -> None:
    print("\nWaiting in the triggerer, TLS on loopback")
    ours = measure("poller", 1000, 10, seconds=60)
    peer = measure("session a poll", 1000, 10, seconds=30)
    many = measure("poller", 10_000, 30, seconds=60)
    print("  1,000 waiting at 10 s                       target")
    row("CPU of the process", f"{ours['cpu']:.2f} %", "2 % of a core")
    times = peer["cpu"] / ours["cpu"]
    row("  a session for each poll, beside it", f"{peer['cpu']:.1f} %", f"9 times ours; is {times:.0f}")
    row("requests a wait and interval", f"1/{1 / ours['requests']:.0f}", "1/20")
    row("memory added", f"{ours['memory']:.1f} MB", "10 MB")
    row("from the end to the event, p95", f"{ours['latency']:.1f} s", "11 s")
    row("TLS handshakes", str(ours["handshakes"]), "16 in 60 s")
    print("  10,000 waiting at 30 s")
    row("CPU of the process", f"{many['cpu']:.2f} %", "5 % of a core")
    row("longest stop of the event loop", f"{many['stop'] * 1e3:.0f} ms", "100 ms")
    row("from the end to the event, p95", f"{many['latency']:.1f} s", "31 s")


def row(what: str, is_: str, target: str) -> None:
    print(f"    {what:38} {is_:>10}  {target}")


def measure(client: str, waits: int, interval: float, *, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(waits, Path(folder))
        try:
            command = [sys.executable, __file__, "client", client, str(waits), str(interval), str(seconds)]
            environment = {**os.environ, **gateway.environment}
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
            assert process.stdout is not None
            process.stdout.readline()  # it has warmed up
            before = gateway.ask("count")
            gateway.ask(f"end {ENDING} {seconds - 2 * interval if seconds > 2 * interval else seconds / 3}")
            result = json.loads(process.communicate()[0].splitlines()[-1])
            after = gateway.ask("count")
        finally:
            gateway.stop()
    ended = after["ended"]
    latencies = sorted(moment - ended[one] for one, moment in result.pop("events").items() if one in ended)
    return {
        **result,
        "requests": (after["requests"] - before["requests"]) / (waits * seconds / interval),
        "handshakes": after["handshakes"],
        "latency": latencies[int(len(latencies) * 0.95)] if latencies else float("nan"),
    }


class Gateway:
    """The simulator in another process, with so many instances that run."""

    def __init__(self, waits: int, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "gateway", str(waits), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.environment = {"BENCH_CONNECTION": self._process.stdout.readline().strip()}

    def ask(self, question: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(question, file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


def serve(waits: int, folder: Path) -> None:
    import threading

    import trustme

    from airflow_provider_enos.simulator import EnosSimulator

    class Counting(ssl.SSLContext):
        handshakes = 0

        def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
            Counting.handshakes += 1
            return super().wrap_socket(*args, **kwargs)

    authority = trustme.CA()
    context = Counting(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    ended: dict[str, float] = {}
    with EnosSimulator(tls=context, one_at_a_time=False) as sim:
        sim.add_flow(FLOW, name="flow", tasks={NODE + n: f"task {n}" for n in range(4)}, progress="manual")
        ids = [sim.trigger(FLOW, NODE, FIRST_MINUTE + n * 60_000).id for n in range(waits)]
        connection = json.loads(sim.connection_json)
        connection["extra"]["verify"] = str(folder / "ca.pem")
        connection["extra"] = json.dumps(connection["extra"])
        print(json.dumps(connection), flush=True)

        def end(count: int, seconds: float) -> None:
            for one in random.sample(ids, count):
                time.sleep(seconds / count)
                sim.finish(one, "SUCCESS")
                ended[one] = time.time()

        for line in sys.stdin:
            match line.split():
                case ["count"]:
                    answer: Any = {"requests": len(sim.requests), "handshakes": Counting.handshakes, "ended": ended}
                case ["end", count, seconds]:
                    threading.Thread(target=end, args=(int(count), float(seconds)), daemon=True).start()
                    answer = None
            print(json.dumps(answer), flush=True)


def settings() -> Any:
    from types import SimpleNamespace

    from airflow_provider_enos.client.settings import read

    return read(SimpleNamespace(conn_id="bench", **json.loads(os.environ["BENCH_CONNECTION"])))


async def client(kind: str, waits: int, interval: float, seconds: float) -> None:
    logging.disable(logging.CRITICAL)
    ids = [predicted_flow_instance_id(FLOW, FIRST_MINUTE + n * 60_000) for n in range(waits)]
    events: dict[str, float] = {}
    wait = {"poller": with_poller, "session a poll": with_sessions}[kind]
    await warm_up()
    memory = resident()
    tasks = [asyncio.create_task(wait(one, interval, events)) for one in ids]
    await asyncio.sleep(1.5 * interval)
    print("warm", flush=True)
    stops = asyncio.create_task(longest_stop(seconds))
    begun, cpu = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    spent = (time.process_time() - cpu) / (time.monotonic() - begun)
    added = resident() - memory
    # Before the waits are taken down, which is no part of waiting.
    stop = await stops
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps({"cpu": spent * 100, "memory": added, "stop": stop, "events": events}))


async def warm_up() -> None:
    """What is imported and made once is no cost of waiting."""
    from airflow_provider_enos.client import poller  # noqa: F401
    from airflow_provider_enos.client.aio import AsyncClient
    from airflow_provider_enos.protocol import calls

    async with AsyncClient(settings()) as once:
        await once.call(calls.get_time_zone())


async def with_poller(one: str, interval: float, events: dict[str, float]) -> None:
    from airflow_provider_enos.client.poller import shared_poller
    from airflow_provider_enos.protocol.waiting import Watch

    watch = Watch(one, tolerance=600, log=logging.getLogger("bench"))
    async with shared_poller(settings()) as poller:
        await poller.wait(watch, poll_interval=interval, deadline=time.time() + 3600)
    events[one] = time.time()


async def with_sessions(one: str, interval: float, events: dict[str, float]) -> None:
    """The pattern of the dbt Cloud provider: for each poll a session, and so a connection and a handshake."""
    import aiohttp

    found = settings()
    context = _context(found.verify)
    headers = {"apim-accesstoken": "x", "apim-signature": "x", "apim-timestamp": "0"}
    url = f"{found.base_url}/batch-processing-service/v2.1/flowInstances?action=get&flowInstId={one}"
    await asyncio.sleep(random.uniform(0, interval))
    while True:
        async with aiohttp.ClientSession(headers=headers) as session, session.get(url, ssl=context) as reply:
            await reply.json()
        await asyncio.sleep(interval)


_contexts: dict[str, ssl.SSLContext] = {}


def _context(verify: str) -> ssl.SSLContext:
    return _contexts.setdefault(verify, ssl.create_default_context(cafile=verify))


async def longest_stop(seconds: float) -> float:
    """The longest time for which the event loop did not come round."""
    longest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        await asyncio.sleep(_PROBE)
        longest = max(longest, time.monotonic() - begun - _PROBE)
    return longest


def resident() -> float:
    """Resident memory of this process, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["gateway", count, folder]:
            serve(int(count), Path(folder))
        case ["client", kind, count, interval, seconds]:
            asyncio.run(client(kind, int(count), float(interval), float(seconds)))
        case _:
            main()
