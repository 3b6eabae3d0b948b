"""The waits, in a process of their own that is measured: triggers of this package or of another provider.

Prints a line that begins with ``BENCH`` when it has warmed up, waits for one of input, and prints what it measured.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenant import Tenant

_PROBE = 0.02
"""Seconds between two looks at the event loop."""
MANY = 5000
"""From how many waits on the event loop is looked at."""


class Process:
    """What an event loop does meanwhile.

    Python's full garbage collections are told apart. Without any wait, one of Airflow's objects takes 0.1 s.
    """

    def __init__(self) -> None:
        begun = time.thread_time()
        gc.collect()
        self.collection_before = time.thread_time() - begun
        self.longest_stop = self.longest_collection = 0.0
        self._collecting = self._begun = 0.0
        gc.callbacks.append(self._collects)

    def _collects(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] < 2:
            return
        if phase == "start":
            self._begun = time.thread_time()
            return
        took = time.thread_time() - self._begun
        self._collecting += took
        self.longest_collection = max(self.longest_collection, took)

    async def watch(self) -> None:
        """Find the longest time for which the event loop was busy with its own work."""
        self.longest_collection = 0.0
        while True:
            begun, worked, collecting = time.monotonic(), time.thread_time(), self._collecting
            await asyncio.sleep(_PROBE)
            late = time.monotonic() - begun - _PROBE
            busy = min(late, time.thread_time() - worked) - (self._collecting - collecting)
            self.longest_stop = max(self.longest_stop, busy)


def ours(tenant: Tenant, interval: float) -> Callable[[int], Any]:
    """A trigger that a task has deferred to a while ago."""
    from airflow_provider_enos.client import timing
    from airflow_provider_enos.triggers import enos

    timing.current = timing.Timing(handover=0.0)

    def make(number: int) -> Any:
        connection = os.environ.get("BENCH_EACH_ITS_TENANT") and f"enos_{number % tenant.waits}"
        return enos.EnosFlowInstanceTrigger(
            tenant.instance_id(number),
            enos_conn_id=connection or "enos_default",
            poll_interval=interval,
            deadline=time.time() + 86_400,
            known=True,
        )

    return make


def dbt_cloud(tenant: Tenant, interval: float) -> Callable[[int], Any]:
    """The dbt Cloud provider's."""
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    return lambda number: DbtCloudRunJobTrigger("dbt_cloud_default", number, time.time() + 86_400, interval, 1)


def databricks(tenant: Tenant, interval: float) -> Callable[[int], Any]:
    """The Databricks provider's."""
    from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger

    return lambda number: DatabricksExecutionTrigger(number, "databricks_default", polling_period_seconds=int(interval))


async def main(kind: str, tenant: Tenant, interval: float, warm_up: float, seconds: float) -> None:
    make = {"ours": ours, "dbt": dbt_cloud, "databricks": databricks}[kind](tenant, interval)
    events: dict[int, float] = {}
    numbers = iter(range(10**9))

    async def wait() -> None:
        """One after the other, as a slot of the triggerer."""
        while True:
            number = next(numbers)
            async for _ in make(number).run():
                events[number] = time.time()
                break

    # Imports and what is made once are no cost of waiting.
    first = asyncio.create_task(anext(make(0).run()))
    await asyncio.wait({first}, timeout=3.0)
    first.cancel()
    process = Process()
    memory = resident()
    tasks = []
    for number in range(tenant.waits):
        tasks.append(asyncio.create_task(wait()))
        # A triggerer takes them a few at a time; evenly, so that nobody is ahead by a common beat.
        if number % 10 == 0:
            await asyncio.sleep(10 * min(interval, warm_up) / tenant.waits)
    await asyncio.sleep(warm_up)
    print("BENCH null", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    # Where little else goes on, the probe would itself be what is measured.
    probe = asyncio.create_task(process.watch() if tenant.waits >= MANY else asyncio.sleep(seconds))
    begun, cpu = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    spent, took = time.process_time() - cpu, time.monotonic() - begun
    probe.cancel()
    failed = [str(task.exception()) for task in tasks if task.done()]
    result = {
        "cpu": spent / took,
        "memory": resident() - memory,
        "stop": process.longest_stop,
        "collection": process.longest_collection,
        "collection_before": process.collection_before,
        "events": events,
        "failed": failed[:3],
    }
    print("BENCH", json.dumps(result), flush=True)
    os._exit(0)


def resident() -> float:
    """Resident memory of this process, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    kind, waits, others, now, interval, warm_up, seconds = sys.argv[1:]
    asyncio.run(
        main(kind, Tenant(int(waits), int(others), float(now)), float(interval), float(warm_up), float(seconds))
    )
