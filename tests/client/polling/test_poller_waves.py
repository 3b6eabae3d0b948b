"""Two triggerers in a tenant whose instances are all ours: waves of waits, one triggerer is killed, and few are left.

So runs a backfill, and so does ``make cluster-test``. On virtual time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from fake_tenant import SETTINGS, FakeTenant
from lists import Run
from virtual_time import run as run_virtually

from airflow_provider_enos.client.polling.poller import Poller

LASTS = 300.0
STARTED = {0: 0, 330: 470, 600: 490, 640: 536, 820: 730, 1000: 858, 1280: 860, 1400: 924, 1480: 1000}
"""How many instances have been started after so many seconds. A resumed task takes the worker of one that would start."""
KILLED, BACK, TAKEN_OVER = 155.0, 175.0, 190.0
"""When a triggerer is killed, when another one has come up in its place, and when the waits of the first one go on."""
AT_A_TIME = 50
"""Waits that a triggerer takes over at once."""
INTERVAL = 10.0


def start_times() -> list[float]:
    """When each instance is started."""
    times: list[float] = []
    for (begun, before), (ended, after) in pairwise(STARTED.items()):
        times += [begun + (ended - begun) * number / (after - before) for number in range(after - before)]
    return times


class Cluster:
    """Two triggerers, and the waits of each."""

    def __init__(self, tenant: FakeTenant, make: Callable[[], Poller] = lambda: Poller(SETTINGS)) -> None:
        self.tenant = tenant
        self.delays: list[float] = []
        self._make = make
        self._triggerers = [make(), make()]
        self._waits: list[dict[str, asyncio.Task[Any]]] = [{}, {}]
        self._luck = random.Random(1)
        self._up = [0, 1]

    async def play(self) -> None:
        """Let all instances begin and end."""
        begun, tasks = self.tenant.now(), list[asyncio.Task[None]]()
        killing = asyncio.create_task(self._kill_one())
        for hour, at in enumerate(start_times()):
            await asyncio.sleep(max(begun + at - self.tenant.now(), 0.0))
            tasks.append(asyncio.create_task(self._one(self.tenant.start(60 * hour))))
        await asyncio.gather(*tasks, killing)
        while any(self._waits):
            await asyncio.sleep(1.0)
        for poller in self._triggerers:
            await poller.close()

    async def _one(self, run: Run) -> None:
        ending = asyncio.create_task(self.tenant.run_for(run, LASTS))
        await asyncio.sleep(self._luck.uniform(0.5, 2.5))  # until a triggerer has the wait
        self._wait(run)
        await ending

    def _wait(self, run: Run, triggerer: int | None = None) -> None:
        number = self._luck.choice(self._up) if triggerer is None else triggerer
        waits = self._waits[number]

        async def wait() -> None:
            _, delay = await self.tenant.wait(self._triggerers[number], run, INTERVAL, read_end=False)
            self.delays.append(delay)
            del waits[run.id]

        waits[run.id] = asyncio.create_task(wait())

    async def _kill_one(self) -> None:
        await asyncio.sleep(KILLED)
        lost, self._waits[0] = self._waits[0], {}
        self._up = [1]
        for wait in lost.values():
            wait.cancel()
        await asyncio.gather(*lost.values(), return_exceptions=True)
        await self._triggerers[0].close()
        await asyncio.sleep(BACK - KILLED)
        self._triggerers[0], self._up = self._make(), [0, 1]
        await asyncio.sleep(TAKEN_OVER - BACK)
        for number, id in enumerate(lost):
            self._wait(self.tenant.lists.runs[id], number // AT_A_TIME % 2)


def test_waves_of_waits_are_looked_at_singly_three_times_in_ten(fresh: Callable[..., FakeTenant]) -> None:
    async def main() -> Cluster:
        cluster = Cluster(fresh())
        await cluster.play()
        return cluster

    cluster = run_virtually(main())
    delays = sorted(cluster.delays)
    assert len(delays) == 1000
    assert delays[500] < 2.5
    assert delays[950] < 5.0
    assert cluster.tenant.asked["get"] <= 300
