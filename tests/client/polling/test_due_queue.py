"""When each wait is polled next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from virtual_time import run as run_virtually
from worker import Log

from airflow_provider_enos.client.polling import wait as wait_module
from airflow_provider_enos.client.polling.due_queue import DueQueue
from airflow_provider_enos.client.polling.wait import Wait
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[DueQueue], Coroutine[Any, Any, None]]], None]:
    """Plays with a queue on virtual time."""

    def play(work: Callable[[DueQueue], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            monkeypatch.setattr(wait_module, "time", asyncio.get_running_loop().time)
            await work(DueQueue())

        run_virtually(main())

    return play


def wait_for(name: str, deadline: float = 1000.0) -> Wait:
    """A wait with a deadline that many seconds from now."""
    loop = asyncio.get_running_loop()
    return Wait(
        watch=InstanceWatch(name, tolerance=5.0, log=Log()),
        poll_interval=10.0,
        deadline=loop.time() + deadline,
        reads_end=False,
        result=loop.create_future(),
        minute=None,
        begun=loop.time(),
        seen=loop.time(),
    )


def at_once(wait: Wait) -> float:
    return 0.0


def test_waits_are_due_in_the_order_of_their_times_and_not_after_their_deadline(play: Any) -> None:
    async def work(queue: DueQueue) -> None:
        begun = asyncio.get_running_loop().time()
        waits = {name: wait_for(name, deadline) for name, deadline in (("late", 900), ("soon", 900), ("short", 7))}
        for name, pause in (("late", 50.0), ("soon", 5.0), ("short", 500.0)):
            queue.add(waits[name], pause)
        order = []
        for _ in waits:
            first = await queue.first()
            order.append((first.id, round(asyncio.get_running_loop().time() - begun)))
            assert await queue.take(at_once) == {first}
            assert first.is_asked
        assert order == [("soon", 5), ("short", 7), ("late", 50)]

    play(work)


def test_an_earlier_time_replaces_a_later_one_and_wakes_the_loop(play: Any) -> None:
    async def work(queue: DueQueue) -> None:
        wait, begun = wait_for("a"), asyncio.get_running_loop().time()
        queue.add(wait, 100.0)
        coming = asyncio.create_task(queue.first())
        await asyncio.sleep(10)
        queue.add(wait, 1.0)
        assert await coming is wait
        assert asyncio.get_running_loop().time() - begun == pytest.approx(11)
        assert await queue.take(at_once) == {wait}
        wait.is_asked = False
        queue.add(wait, 500.0)
        await asyncio.sleep(100)
        assert await queue.take(at_once) == set(), "the entry of its first time does not count any more"

    play(work)


def test_a_wait_may_be_put_off(play: Any) -> None:
    async def work(queue: DueQueue) -> None:
        one, other = wait_for("a"), wait_for("b")
        for wait in (one, other):
            queue.add(wait, 1.0)
        await asyncio.sleep(2)
        assert await queue.take(lambda wait: 30.0 if wait is one else 0.0) == {other}
        begun = asyncio.get_running_loop().time()
        assert await queue.first() is one
        assert asyncio.get_running_loop().time() - begun == pytest.approx(30)

    play(work)


def test_a_wait_that_is_over_or_asked_for_is_not_taken(play: Any) -> None:
    async def work(queue: DueQueue) -> None:
        over, asked = wait_for("over"), wait_for("asked")
        for wait in (over, asked):
            queue.add(wait, 0.0)
        over.result.cancel()
        asked.is_asked = True
        assert await queue.take(at_once) == set()

    play(work)


def test_stale_entries_are_dropped_and_no_others(play: Any) -> None:
    async def work(queue: DueQueue) -> None:
        waits = [wait_for(str(number)) for number in range(3)]
        for number in range(3000):
            queue.add(waits[number % 3], 10.0 + number / 1000)
        assert len(queue) == 3000
        queue.drop_stale(3)
        assert len(queue) == 3
        await asyncio.sleep(20)
        assert await queue.take(at_once) == set(waits)

    play(work)
