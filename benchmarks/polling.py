"""Measure what waiting costs the triggerer, for this package's triggers and for those of two other providers.

TLS on loopback; the gateway is a process of its own (``gateway.py``). The waits are another process (``waiting.py``),
which is measured by itself. ``tenant.py`` describes the tenant.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PEERS = HERE.parent / "build" / "benchmark" / "bin" / "python"
"""Where the other providers are installed, and this package too."""
SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))


@dataclass(frozen=True)
class Measured:
    """What one kind of wait has cost, by the minute or as a share of a core, and how late it has reported ends."""

    requests: float
    singly: float
    cpu: float
    memory: float
    stop: float
    collection: float
    """The longest of Python's full garbage collections in the meantime, in seconds; 0 where there was none."""
    collection_before: float
    """One before there were any waits."""
    p50: float
    p95: float
    told: int
    ended: int


def main() -> None:
    """Measure all, and print the table."""
    table = Table()
    print(f"\nWaiting in the triggerer, TLS on loopback, {SECONDS:.0f} s each; 6 % of the waits end each minute")
    dbt = measure("dbt", 1000, 10)
    databricks = measure("databricks", 1000, 10)
    few = measure("ours", 1000, 10)
    table.head("1,000 waits at 10 s, 500 other instances", dbt, databricks, few)
    single = 1000 * 60 / 10
    table.row("requests, of one a wait and interval", few.requests / single, 1 / 40, "fraction")
    table.row("CPU, of the dbt Cloud trigger's", few.cpu / dbt.cpu, 1 / 18, "fraction")
    table.row("CPU, of the Databricks trigger's", few.cpu / databricks.cpu, 1 / 7, "fraction")
    table.row("end to event, p50", few.p50, 1.2, "s")
    table.row("end to event, p95", few.p95, 2.5, "s")
    table.row("memory added", few.memory, 10, "MB")
    busy = measure("ours", 1000, 10, others=20_000)
    table.head("the same with 20,000 other instances", busy)
    table.row("requests, of those with 500", busy.requests / few.requests, 1.5, "times")
    table.row("CPU, of that with 500", busy.cpu / few.cpu, 1.5, "times")
    table.row("end to event, p95, of that with 500", busy.p95 / few.p95, 1.5, "times")
    many = measure("ours", 10_000, 30, others=5000, warm_up=60)
    table.head("10,000 waits at 30 s, 5,000 other instances", many)
    table.row("requests, of one a wait and interval", many.requests / (10_000 * 60 / 30), 1 / 100, "fraction")
    table.row("end to event, p95", many.p95, 3.0, "s")
    table.row("CPU", many.cpu * 100, 4.5, "%")
    table.row("longest stop of the event loop", many.stop * 1000, 30, "ms")
    full, before = many.collection * 1000, many.collection_before * 1000
    print(f"      beside full garbage collections of Python: up to {full:.0f} ms ({before:.0f} ms without any wait)")
    apart = measure("ours", 100, 10, tenants=100)
    table.head("100 waits at 10 s, each of a tenant of its own", apart)
    table.row("requests, of one a wait and interval", apart.requests / (100 * 60 / 10), 1.15, "times")
    for switch in ("ignore_sorters", "ignore_filters", "refuse_lists"):
        odd = measure("ours", 1000, 10, switches=switch)
        table.head(f"1,000 waits at 10 s, gateway with {switch}", odd)
        table.row("requests, of one a wait and interval", odd.requests / single, 1.05, "times")
        table.row("end to event, p95", odd.p95, 11.0, "s")
    young(table)


def young(table: Table) -> None:
    """One wait that has just begun."""
    for lasts in (3, 10, 25, 60):
        delay, looks = one_young_wait(lasts)
        table.head(f"one wait, poll_interval 30 s, instance of {lasts} s")
        table.row("end to event", delay, max(2.0, lasts / 3) + 0.3, "s")
        if looks is not None:
            table.row("looks in its first 30 s", looks, 8, "")


class Table:
    """Print what was measured beside the target."""

    def __init__(self) -> None:
        self.missed = 0

    def head(self, title: str, *measured: Measured) -> None:
        print(f"  {title}")
        names = ("dbt Cloud", "Databricks", "ours") if len(measured) == 3 else ("ours",)
        for name, one in zip(names, measured, strict=False):
            print(
                f"      {name:10} {one.requests:6.0f} requests a minute, {one.singly:5.0f} of them single looks; "
                f"{one.cpu * 60:5.2f} CPU s a minute; p50 {one.p50:4.1f} s, p95 {one.p95:4.1f} s; "
                f"{one.told} of {one.ended} told"
            )

    def row(self, what: str, is_: float, target: float, unit: str) -> None:
        def shown(value: float) -> str:
            return f"1/{1 / value:.0f}" if unit == "fraction" else f"{value:.1f} {unit}".rstrip()

        passed = is_ <= target
        self.missed += not passed
        print(f"    {what:42} {shown(is_):>10}   at most {shown(target):>8}   {'pass' if passed else 'MISSED'}")


def measure(
    kind: str,
    waits: int,
    interval: float,
    *,
    others: int | None = None,
    switches: str = "",
    warm_up: float | None = None,
    tenants: int = 1,
) -> Measured:
    """Run this many ``waits``, and end some of them."""
    others = max(500, waits // 2) if others is None else others
    warm_up = 2.5 * interval if warm_up is None else warm_up
    with gateway(waits, others, switches) as serving:
        arguments = [kind, waits, others, serving.now, interval, warm_up, SECONDS]
        environment = {**os.environ, **serving.environment(waits if tenants > 1 else 0)}
        command = [str(PEERS), str(HERE / "waiting.py"), *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        assert process.stdin is not None
        serving.ask("live")
        heard(process)  # it has warmed up
        before, begun = serving.ask("count"), time.time()
        process.stdin.write("\n")
        process.stdin.flush()
        result = heard(process)
        after, took = serving.ask("count"), time.time() - begun
        process.wait()
    if result["failed"]:
        raise SystemExit(f"{kind}: waits have failed: {result['failed']}")
    requests = {name: after["requests"][name] - before["requests"].get(name, 0) for name in after["requests"]}
    ended = {
        number: at for number, at in after["ended"].items() if begun <= at < begun + SECONDS - min(2 * interval, 15)
    }
    events = {number: at for number, at in result["events"].items() if number in ended}
    delays = sorted(at - ended[number] for number, at in events.items())
    return Measured(
        requests=sum(requests.values()) * 60 / took,
        singly=requests.get("get", 0) * 60 / took,
        cpu=result["cpu"],
        memory=result["memory"],
        stop=result["stop"],
        collection=result["collection"],
        collection_before=result["collection_before"],
        p50=delays[len(delays) // 2] if delays else float("nan"),
        p95=delays[int(len(delays) * 0.95)] if delays else float("nan"),
        told=len(events),
        ended=len(ended),
    )


def one_young_wait(lasts: float) -> tuple[float, int | None]:
    """The delay from the end of a new instance to its event; the polls in its first 30 s, if it lasts as long."""
    with gateway(1, 0) as serving:
        environment = {**os.environ, **serving.environment(0)}
        command = [str(PEERS), str(HERE / "waiting.py"), "ours", "1", "0", str(serving.now), "30", "0", str(lasts + 25)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        assert process.stdin is not None
        heard(process)
        begun, looks = time.time(), None
        before = serving.ask("count")["requests"].get("get", 0)
        process.stdin.write("\n")
        process.stdin.flush()
        if lasts > 30:
            time.sleep(30)
            looks = serving.ask("count")["requests"].get("get", 0) - before
        time.sleep(max(begun + lasts - time.time(), 0))
        serving.ask("start")
        serving.ask("end 0")
        result = heard(process)
        ended = serving.ask("count")["ended"]["0"]
        process.wait()
    return result["events"].get("0", float("inf")) - ended, looks


def heard(process: subprocess.Popen[str]) -> Any:
    """Return the next message of the process for this program, among lines of logs."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("BENCH "):
            return json.loads(line.removeprefix("BENCH "))
    raise SystemExit("the process that waits has ended")


class Gateway:
    """The gateway's process."""

    def __init__(self, process: subprocess.Popen[str], now: float, folder: Path) -> None:
        self._process = process
        self._folder = folder
        self.now = now
        assert process.stdout is not None
        self._port = json.loads(process.stdout.readline())

    def environment(self, tenants: int) -> dict[str, str]:
        """Return the environment that leads the clients to it. ``tenants``: the number of connections beside the
        default one."""
        place = {"host": "127.0.0.1", "port": self._port, "schema": "https", "login": "key", "password": "secret"}
        extra = {"org_id": "o1", "user_id": "u1", "verify": str(self._folder / "ca.pem")}
        enos = {"conn_type": "enos", **place}
        found = {
            "AIRFLOW_CONN_ENOS_DEFAULT": json.dumps({**enos, "extra": extra}),
            "AIRFLOW_CONN_DBT_CLOUD_DEFAULT": json.dumps(
                {"conn_type": "dbt_cloud", **place, "host": f"127.0.0.1:{self._port}", "login": "1"}
            ),
            "AIRFLOW_CONN_DATABRICKS_DEFAULT": json.dumps(
                {"conn_type": "databricks", **place, "login": "", "extra": {"token": "secret"}}
            ),
            "SSL_CERT_FILE": str(self._folder / "ca.pem"),
            "AIRFLOW_HOME": str(self._folder),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        }
        for number in range(tenants):
            one = {**enos, "extra": {**extra, "org_id": f"o{number}"}}
            found[f"AIRFLOW_CONN_ENOS_{number}"] = json.dumps(one)
            found["BENCH_EACH_ITS_TENANT"] = "1"
        return found

    def ask(self, question: str) -> Any:
        """Send it a command. Return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(question, file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


@contextmanager
def gateway(waits: int, others: int, switches: str = "", page_cap: int = 500) -> Iterator[Gateway]:
    """Run a gateway of that tenant."""
    with tempfile.TemporaryDirectory() as folder:
        now = time.time()
        arguments = [waits, others, now, switches, page_cap, folder]
        command = [sys.executable, str(HERE / "gateway.py"), *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            yield Gateway(process, now, Path(folder))
        finally:
            process.kill()
            process.communicate()


if __name__ == "__main__":
    main()
