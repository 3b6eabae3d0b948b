"""Two triggerers in a tenant whose instances are all ours: waves of waits, one triggerer is killed, and few are left.

So runs a backfill, and so does ``make cluster-test``. On virtual time.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from fake_tenant import SETTINGS, FakeTenant
from lists import Run
from virtual_time import run as run_virtually

from airflow_provider_enos.client.polling.poller import Poller

LASTS = 300.0
STARTED = {0: 0, 330: 470, 600: 490, 640: 536, 820: 730, 1000: 858, 1280: 860, 1400: 924, 1480: 1000}
"""How many instances have been started after so many seconds. While workers resume tasks, they start fewer."""
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


@pytest.fixture
def play(fresh: Callable[..., FakeTenant]) -> Callable[..., Any]:
    """Plays a scene on virtual time, with a tenant and a poller in it."""

    def play(work: Callable[[FakeTenant, Poller], Awaitable[Any]], **options: Any) -> Any:
        async def main() -> Any:
            tenant, poller = fresh(**options), Poller(SETTINGS)
            found = await work(tenant, poller)
            await poller.close()
            return found

        return run_virtually(main())

    return play


def test_waves_of_waits_are_looked_at_singly_three_times_in_ten(fresh: Callable[..., FakeTenant]) -> None:
    async def main() -> Cluster:
        cluster = Cluster(fresh())
        await cluster.play()
        return cluster

    cluster = run_virtually(main())
    delays = sorted(cluster.delays)
    assert len(delays) == 1000
    assert delays[500] <= 3.0
    assert delays[950] <= INTERVAL
    assert delays[-1] <= 2 * INTERVAL
    assert cluster.tenant.asked["get"] <= 300
    assert cluster.tenant.asked["list"] <= 1300


def test_the_last_waits_are_told_as_soon_as_few_are(play: Any) -> None:
    """They have relied on the feed, which nobody reads for so few."""

    async def work(tenant: FakeTenant, poller: Poller) -> list[float]:
        runs = [tenant.start() for _ in range(60)]
        waits = [asyncio.create_task(tenant.wait(poller, run, INTERVAL, read_end=False)) for run in runs]
        await asyncio.sleep(100)
        for run in runs[:45]:
            tenant.end(run)
            await asyncio.sleep(0.5)
        assert poller.feed.patience == 10.0
        while poller.feed.patience > 1.0:
            await asyncio.sleep(1)
        for run in runs[45:]:
            tenant.end(run)
        return [delay for _, delay in await asyncio.gather(*waits)]

    assert max(play(work)[45:]) <= INTERVAL + 1


def test_ten_waits_share_a_list(play: Any) -> None:
    """They are told as soon as if each were looked at singly."""

    async def work(tenant: FakeTenant, poller: Poller) -> tuple[list[float], Counter[str]]:
        waits = []
        for _ in range(10):
            waits.append(asyncio.create_task(tenant.wait(poller, tenant.start(), INTERVAL)))
            await asyncio.sleep(2)
        await asyncio.sleep(200)
        asked = tenant.asked.copy()
        for run in tenant.lists.runs.values():
            tenant.end(run)
            await asyncio.sleep(2)
        return [delay for _, delay in await asyncio.gather(*waits)], asked

    delays, asked = play(work)
    assert asked["get"] <= 60, "220 if each were looked at singly"
    assert asked["list"] <= 60
    assert max(delays) <= INTERVAL + 1


def test_a_list_of_others_is_not_asked_for_few(play: Any) -> None:
    """Thousands of others run, and ours are not on the first page."""

    async def work(tenant: FakeTenant, poller: Poller) -> Counter[str]:
        runs = [tenant.start() for _ in range(10)]
        for run in runs:
            run.created -= 1000
        for _ in range(2000):
            tenant.start()
        waits = [asyncio.create_task(tenant.wait(poller, run, INTERVAL)) for run in runs]
        await asyncio.sleep(600)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        return tenant.asked

    asked = play(work)
    assert asked["list"] <= 60
    assert asked["get"] <= 10 * 600 / INTERVAL + 100


def test_a_wait_that_is_due_alone_waits_for_others(play: Any) -> None:
    """One more begins every 7 s, among 50 that are older."""

    async def work(tenant: FakeTenant, poller: Poller) -> int:
        waits = [asyncio.create_task(tenant.wait(poller, tenant.start(), INTERVAL)) for _ in range(50)]
        await asyncio.sleep(100)
        before = tenant.asked["get"]
        for _ in range(30):
            waits.append(asyncio.create_task(tenant.wait(poller, tenant.start(), INTERVAL)))
            await asyncio.sleep(7)
        looks = tenant.asked["get"] - before
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        return looks

    assert play(work) <= 20


def test_each_wait_is_looked_at_singly_now_and_then(play: Any) -> None:
    async def work(tenant: FakeTenant, poller: Poller) -> float:
        waits = [asyncio.create_task(tenant.wait(poller, tenant.start(), INTERVAL)) for _ in range(50)]
        await asyncio.sleep(100)
        before = tenant.asked["get"]
        await asyncio.sleep(6000)
        looks = tenant.asked["get"] - before
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        return looks / len(waits)

    assert 1.0 <= play(work) <= 3.0, "once in 300 intervals"
