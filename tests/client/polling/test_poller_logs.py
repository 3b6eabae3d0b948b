"""The logs of nodes, which the poller shows while it waits."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from happened import until
from polled import looks, run, trigger, wait_in
from worker import Log

from airflow_provider_enos.client.polling.poller import Poller
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.follow.log_tail import LogStream
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.simulator import EnosSimulator


def with_logs(flow_instance_id: str, log: Log) -> InstanceWatch:
    return InstanceWatch(flow_instance_id, tolerance=5.0, log=log, stream=LogStream(log))


def test_slow_logs_hold_up_no_other_wait(sim: EnosSimulator, found: Settings) -> None:
    ids = trigger(sim, 8)
    sim.fault("slow_before", on="taskInstances/getLog", times=None, seconds=30)

    async def work(poller: Poller) -> None:
        async def wait(watch: InstanceWatch) -> FlowInstance:
            return await poller.wait(watch, poll_interval=0.05, deadline=time.time() + 60)

        slow = [asyncio.create_task(wait(with_logs(one, Log()))) for one in ids[:7]]
        quick = asyncio.create_task(wait_in(poller, ids[7], interval=0.05))
        await asyncio.sleep(0.5)
        sim.finish(ids[7], "SUCCESS")
        assert (await asyncio.wait_for(quick, 15)).status.ended
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)

    run(replace(found, timeout=60.0), work)


def test_an_instance_whose_logs_are_shown_is_asked_for_singly(sim: EnosSimulator, found: Settings) -> None:
    """The list does not tell which nodes run. For the other instances the list is enough."""
    ids = trigger(sim, 40)

    def asked() -> list[str]:
        return [request.query["flowInstId"] for request in sim.requests if request.operation == "flowInstances/get"]

    async def work(poller: Poller) -> None:
        watched = asyncio.create_task(
            poller.wait(with_logs(ids[0], Log()), poll_interval=0.1, deadline=time.time() + 60)
        )
        others = [asyncio.create_task(wait_in(poller, one, interval=0.1)) for one in ids[1:]]
        await until(lambda: asked().count(ids[0]) > 5 and looks(sim)["search"] > 0)
        for one in ids:
            sim.finish(one, "SUCCESS")
        await asyncio.gather(watched, *others)

    run(found, work)
    assert asked().count(ids[1]) < 5


def test_logs_that_cannot_be_read_are_not_asked_for_again_for_a_while(sim: EnosSimulator, found: Settings) -> None:
    """Everything else is still asked for."""
    (one,) = trigger(sim, 1)
    sim.fault("http_429", on="taskInstances/getLog", times=None)

    async def work(poller: Poller) -> None:
        wait = asyncio.create_task(poller.wait(with_logs(one, Log()), poll_interval=0.05, deadline=time.time() + 60))
        await until(lambda: sim.count("taskInstances/getLog"))
        before = looks(sim)["get"]
        await until(lambda: looks(sim)["get"] > before + 5)
        sim.finish(one, "SUCCESS")
        await asyncio.wait_for(wait, 15)

    run(found, work)
    assert sim.count("taskInstances/getLog") == 1


def test_logs_go_to_the_log_of_the_task_that_waits(sim: EnosSimulator, found: Settings) -> None:
    whose: ContextVar[str] = ContextVar("whose", default="nobody")
    seen: dict[str, str] = {}

    class Noting(Log):
        def info(self, message: str, *arguments: Any, **_: Any) -> None:
            line = message % arguments
            if line.startswith("::group::Log of node"):
                seen[line] = whose.get()

    sim.log_grows = True
    ids = trigger(sim, 2)

    async def work(poller: Poller) -> None:
        async def wait(one: str) -> None:
            whose.set(one)
            await poller.wait(with_logs(one, Noting()), poll_interval=0.05, deadline=time.time() + 60)

        waits = [asyncio.create_task(wait(one)) for one in ids]
        await until(lambda: len(seen) == 2)
        for one in ids:
            sim.finish(one, "SUCCESS")
        await asyncio.gather(*waits)

    run(found, work)
    assert {line.rpartition("-")[2][:14]: owner for line, owner in seen.items()} == {one[5:]: one for one in ids}
