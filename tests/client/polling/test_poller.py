"""What the poller asks for, and which waits end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from polled import FLOW, TIME, looks, run, settings_for, trigger, wait_in
from worker import Log

from airflow_provider_enos.client.polling.poller import Poller
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.simulator import EnosSimulator


def test_one_instance(sim: EnosSimulator, found: Settings) -> None:
    sim.trigger(FLOW, 108580, TIME)
    instance = run(found, lambda poller: wait_in(poller, "3377-20200706062600"))
    assert instance.status.name == "SUCCESS"
    assert looks(sim) == {"get": 3, "search": 0}


def test_few_are_asked_for_singly(sim: EnosSimulator, found: Settings) -> None:
    ids = trigger(sim, 5)

    async def work(poller: Poller) -> None:
        waits = [asyncio.create_task(wait_in(poller, one)) for one in ids]
        await asyncio.sleep(0.5)
        for one in ids:
            sim.finish(one, "SUCCESS")
        await asyncio.gather(*waits)

    run(found, work)
    assert looks(sim)["search"] == 0


@pytest.mark.parametrize("switches", [{}, {"first_page": 0}, {"listed_type": 1}, {"listed_type": 2}, {"ids_as": "str"}])
def test_many_are_looked_at_by_list(switches: dict[str, Any]) -> None:
    """100 instances, 10 polls each: a few requests a poll for all together, and one for each that ended."""
    with EnosSimulator(**switches) as sim:
        ids = trigger(sim, 100)

        async def work(poller: Poller) -> list[FlowInstance]:
            waits = [asyncio.create_task(wait_in(poller, one, interval=0.1)) for one in ids]
            await asyncio.sleep(1)
            for one in ids[:50]:
                sim.finish(one, "FAIL")
            await asyncio.sleep(0.2)
            for one in ids[50:]:
                sim.finish(one, "SUCCESS")
            return await asyncio.gather(*waits)

        found = run(settings_for(sim), work)
        assert [one.flow_instance_id for one in found] == ids
        assert [one.status.name for one in found] == ["FAIL"] * 50 + ["SUCCESS"] * 50
        assert found[0].nodes[1].status is not None, "read by Get, which shows the nodes"
        # 100 waits, 12 looks: 1,200 if each were asked for. 100 at their ends, an eightieth of the rest now and then.
        assert looks(sim)["get"] < 100 + 75
        assert looks(sim)["search"] < 100


def test_a_few_newcomers_join_the_list(sim: EnosSimulator, found: Settings) -> None:
    """For example while a DAG catches up."""
    ids = trigger(sim, 35)

    async def work(poller: Poller) -> None:
        waits = [asyncio.create_task(wait_in(poller, one)) for one in ids[:20]]
        for start in (20, 25, 30):
            await asyncio.sleep(0.3)
            waits += [asyncio.create_task(wait_in(poller, one)) for one in ids[start : start + 5]]
        await asyncio.sleep(1)
        for one in ids:
            sim.finish(one, "SUCCESS")
        await asyncio.gather(*waits)

    run(found, work)
    # The 35 ends take one poll each. Before a list has shown them, the waits take 12 to 33 more, by the jitter of their
    # pauses. Polled singly, the 15 newcomers alone would take 150.
    assert looks(sim)["get"] < 35 + 4 * 15


def test_instances_whose_ids_name_no_minute_are_asked_for_singly(found: Settings) -> None:
    with EnosSimulator(id_style="other") as sim:
        ids = trigger(sim, 25)

        async def work(poller: Poller) -> None:
            waits = [asyncio.create_task(wait_in(poller, one)) for one in ids]
            await asyncio.sleep(0.3)
            for one in ids:
                sim.finish(one, "SUCCESS")
            await asyncio.wait_for(asyncio.gather(*waits), 15)

        run(settings_for(sim), work)
        assert looks(sim)["search"] == 0


@pytest.mark.parametrize("count", [2, 30])
def test_each_wait_is_logged_in_its_own_context(sim: EnosSimulator, found: Settings, count: int) -> None:
    """By the context Airflow knows to which task's log a line belongs; with single looks and with lists."""
    whose: ContextVar[str] = ContextVar("whose")
    said: dict[str, set[str]] = {}

    class Asking(Log):
        def info(self, message: str, *arguments: Any, **_: Any) -> None:
            said.setdefault(whose.get("nobody"), set()).add(arguments[0])

        warning = error = info

    async def one_wait(poller: Poller, one: str) -> None:
        whose.set(one)
        watch = InstanceWatch(one, tolerance=5, log=Asking())
        await poller.wait(watch, poll_interval=0.1, deadline=time.time() + 10)

    async def work(poller: Poller) -> None:
        waits = [asyncio.create_task(one_wait(poller, one)) for one in ids]
        await asyncio.sleep(0.3)
        sim.fault("http_502", on="flowInstances/get", times=3)
        sim.fault("http_502", on="flowInstances/search", times=3)
        await asyncio.sleep(0.3)
        for one in ids:
            sim.finish(one, "SUCCESS")
        await asyncio.gather(*waits)

    ids = trigger(sim, count)
    run(found, work)
    assert said.keys() == set(ids)
    assert all(one in lines and not (lines & (set(ids) - {one})) for one, lines in said.items())


def test_two_who_wait_for_the_same_instance(sim: EnosSimulator, found: Settings) -> None:
    (one,) = trigger(sim, 1)

    async def work(poller: Poller) -> None:
        waits = [asyncio.create_task(wait_in(poller, one)) for _ in range(30)]
        await asyncio.sleep(0.3)
        sim.finish(one, "SUCCESS")
        await asyncio.wait_for(asyncio.gather(*waits), 15)

    run(found, work)


def busy_tenant(sim: EnosSimulator, minutes: int) -> None:
    """Many flows of others, whose instances fill the window."""
    for flow_id in range(6000, 6060):
        sim.add_flow(flow_id, name="other", tasks=[1], progress="at_once")
        for minute in range(minutes):
            sim.trigger(flow_id, 1, TIME + minute * 60_000)


def test_a_tenant_with_many_other_instances_costs_no_more(sim: EnosSimulator, found: Settings) -> None:
    ids = trigger(sim, 25)
    busy_tenant(sim, 25)

    async def work(poller: Poller) -> float:
        waits = [asyncio.create_task(wait_in(poller, one)) for one in ids]
        await asyncio.sleep(1)
        begun = time.monotonic()
        for one in ids:
            sim.finish(one, "SUCCESS")
        await asyncio.gather(*waits)
        return time.monotonic() - begun

    assert run(found, work) < 15
    assert looks(sim)["search"] <= 60


def test_a_test_can_make_every_pause_short(
    sim: EnosSimulator, found: Settings, override_timing: Callable[..., None]
) -> None:
    """As the pytest plugin does, whatever the intervals are."""
    override_timing(poll_pause=lambda pause: min(pause, 0.01))
    sim.progress = ("polls", 5)
    sim.trigger(FLOW, 108580, TIME)
    begun = time.monotonic()
    run(found, lambda poller: wait_in(poller, "3377-20200706062600", interval=600.0))
    assert time.monotonic() - begun < 1.5
