from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from happened import until
from worker import Log

from airflow_provider_enos.client import settings
from airflow_provider_enos.client.polling import circuit_breaker, poller as poller_module
from airflow_provider_enos.client.polling.poller import Poller, shared_poller
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.errors import (
    EnosAuthError,
    EnosFlowTimeoutError,
    EnosPollLostError,
    EnosRateLimitError,
    EnosRequestError,
)
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.follow.log_tail import LogStream
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.simulator import EnosSimulator

TIME = 1594016819108
FLOW = 3377


@pytest.fixture
def found(sim: EnosSimulator) -> Settings:
    return settings_for(sim)


def settings_for(sim: EnosSimulator) -> Settings:
    connection = SimpleNamespace(
        conn_id="enos",
        host="127.0.0.1",
        port=sim.port,
        schema="http",
        login=sim.access_key,
        password=sim.secret_key,
        extra={"org_id": sim.org_id, "user_id": sim.user_id, "timeout": 5},
    )
    return settings.read(connection)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert poller_module._pollers == {}


def trigger(sim: EnosSimulator, count: int) -> list[str]:
    """So many instances, which run until they are finished by hand."""
    sim.progress = "manual"
    sim.one_at_a_time = False
    return [sim.trigger(FLOW, 108580, TIME + minute * 60_000).id for minute in range(count)]


async def wait_in(
    poller: Poller, flow_instance_id: str, *, interval: float = 0.1, deadline: float = 60.0, tolerance: float = 5.0
) -> FlowInstance:
    watch = InstanceWatch(flow_instance_id, tolerance=tolerance, log=Log())
    return await poller.wait(watch, poll_interval=interval, deadline=time.time() + deadline)


def run(found: Settings, work: Callable[[Poller], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with shared_poller(found) as poller:
            return await asyncio.wait_for(work(poller), 60)

    return asyncio.run(main())


def looks(sim: EnosSimulator) -> dict[str, int]:
    return {name: sim.count(f"flowInstances/{name}") for name in ("get", "search")}


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
    """200 instances, 10 looks each: a few requests a look for all of them together, and one for each that ended."""
    with EnosSimulator(**switches) as sim:
        ids = trigger(sim, 200)

        async def work(poller: Poller) -> list[FlowInstance]:
            waits = [asyncio.create_task(wait_in(poller, one, interval=0.2)) for one in ids]
            await asyncio.sleep(2)
            for one in ids[:100]:
                sim.finish(one, "FAIL")
            await asyncio.sleep(0.5)
            for one in ids[100:]:
                sim.finish(one, "SUCCESS")
            return await asyncio.gather(*waits)

        found = run(settings_for(sim), work)
        assert [one.flow_instance_id for one in found] == ids
        assert [one.status.name for one in found] == ["FAIL"] * 100 + ["SUCCESS"] * 100
        assert found[0].nodes[1].status is not None, "read by Get, which shows the nodes"
        # 200 waits, 12 looks: 2,400 if each were asked for. 200 at their ends, an eightieth of the rest now and then.
        assert looks(sim)["get"] < 200 + 150
        assert looks(sim)["search"] < 100


def test_a_few_newcomers_join_the_list(sim: EnosSimulator, found: Settings) -> None:
    """As they come in while a DAG catches up."""
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
    # Of the 15, ten looks each or more; 35 at their ends, and an eightieth of all others.
    assert looks(sim)["get"] < 35 + 15 + 15


def test_what_the_list_does_not_show_is_asked_for_singly(sim: EnosSimulator, found: Settings) -> None:
    """Being right never depends on the list."""
    ids = trigger(sim, 30)
    sim.fault("data_null", on="flowInstances/search", times=None)

    async def work(poller: Poller) -> None:
        waits = [asyncio.create_task(wait_in(poller, one)) for one in ids]
        await asyncio.sleep(0.3)
        for one in ids:
            sim.finish(one, "SUCCESS")
        await asyncio.wait_for(asyncio.gather(*waits), 15)

    run(found, work)


def test_a_list_that_is_refused_is_done_without(sim: EnosSimulator, found: Settings) -> None:
    ids = trigger(sim, 30)
    sim.fault("http_404", on="flowInstances/search", times=None)

    async def work(poller: Poller) -> None:
        waits = [asyncio.create_task(wait_in(poller, one)) for one in ids]
        await asyncio.sleep(0.5)
        for one in ids:
            sim.finish(one, "SUCCESS")
        await asyncio.wait_for(asyncio.gather(*waits), 15)

    run(found, work)
    assert looks(sim)["search"] <= 2


def test_an_instance_whose_id_says_nothing_of_its_minute(found: Settings) -> None:
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


def test_a_wait_that_fails_touches_no_other(sim: EnosSimulator, found: Settings) -> None:
    ids = trigger(sim, 2)

    async def work(poller: Poller) -> None:
        good, bad, cancelled, late = (
            asyncio.create_task(wait)
            for wait in (
                wait_in(poller, ids[0]),
                wait_in(poller, "3377-19990101000000"),
                wait_in(poller, ids[1]),
                wait_in(poller, ids[1], deadline=0.2),
            )
        )
        with pytest.raises(EnosRequestError):
            await bad
        cancelled.cancel()
        with pytest.raises(EnosFlowTimeoutError, match="had not ended in the time given to it"):
            await late
        sim.finish(ids[0], "SUCCESS")
        assert (await good).status.name == "SUCCESS"

    run(found, work)


@pytest.mark.parametrize("count", [2, 30])
def test_each_wait_is_logged_in_its_own_context(sim: EnosSimulator, found: Settings, count: int) -> None:
    """By which Airflow tells to which task's log a line belongs; singly asked for and by list."""
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


def test_a_slow_answer_holds_up_nobody_else(sim: EnosSimulator, found: Settings) -> None:
    ids = trigger(sim, 3)
    sim.fault("slow", on="flowInstances/get", seconds=40)

    async def work(poller: Poller) -> None:
        waits = [asyncio.create_task(wait_in(poller, one)) for one in ids]
        await asyncio.sleep(0.2)
        for one in ids:
            sim.finish(one, "SUCCESS")
        await until(lambda: sum(wait.done() for wait in waits) == 2)
        for wait in waits:
            wait.cancel()
        ends = await asyncio.gather(*waits, return_exceptions=True)
        assert [one.status.name for one in ends if isinstance(one, FlowInstance)] == ["SUCCESS"] * 2

    run(replace(found, timeout=60.0), work)


def test_errors_are_waited_through_and_no_longer_than_tolerated(sim: EnosSimulator, found: Settings) -> None:
    ids = trigger(sim, 2)
    sim.fault("http_502", on="flowInstances/get", times=None)

    async def work(poller: Poller) -> None:
        patient = asyncio.create_task(wait_in(poller, ids[0]))
        hasty = asyncio.create_task(wait_in(poller, ids[1], tolerance=0.3))
        with pytest.raises(EnosPollLostError, match="left running"):
            await hasty
        sim.clear_faults()
        sim.finish(ids[0], "SUCCESS")
        await patient

    run(found, work)


def test_wrong_credentials_end_every_wait_at_once(sim: EnosSimulator, found: Settings) -> None:
    ids = trigger(sim, 3)
    sim.secret_key = "another"

    async def work(poller: Poller) -> list[Any]:
        return await asyncio.gather(*(wait_in(poller, one) for one in ids), return_exceptions=True)

    assert {type(error) for error in run(found, work)} == {EnosAuthError}


@pytest.mark.parametrize("kind", ["http_429", "http_503"])
def test_a_busy_gateway_is_left_alone_for_a_while(sim: EnosSimulator, found: Settings, kind: str) -> None:
    """One pause for all, not one for each wait."""
    ids = trigger(sim, 10)
    sim.fault(kind, on="flowInstances/get", times=None)

    async def work(poller: Poller) -> None:
        waits = [asyncio.create_task(wait_in(poller, one)) for one in ids]
        await asyncio.sleep(2.5)
        asked = looks(sim)["get"]
        # 250 looks were due; the pauses are 1 and 2 seconds, and up to 8 requests are under way when one begins.
        assert asked <= 3 * 8
        sim.clear_faults()
        for one in ids:
            sim.finish(one, "SUCCESS")
        await asyncio.gather(*waits)

    run(found, work)


def test_expired_tokens_are_renewed(sim: EnosSimulator, found: Settings) -> None:
    ids = trigger(sim, 3)

    async def work(poller: Poller) -> None:
        waits = [asyncio.create_task(wait_in(poller, one)) for one in ids]
        await until(lambda: looks(sim)["get"] >= 3)
        sim.expire_tokens()
        await until(lambda: sim.count("token/get") >= 2)
        before = looks(sim)["get"]
        await until(lambda: looks(sim)["get"] >= before + 6)
        for one in ids:
            sim.finish(one, "SUCCESS")
        await asyncio.gather(*waits)

    run(found, work)
    assert sim.count("token/get") == 2


def test_one_poller_for_all_with_the_same_settings(sim: EnosSimulator, found: Settings) -> None:
    """It is gone when the last one leaves; who comes with changed credentials gets another."""

    async def main() -> None:
        async with shared_poller(found) as first, shared_poller(replace(found)) as second:
            assert first is second
            async with shared_poller(replace(found, secret_key="rotated")) as third:
                assert third is not first
            assert len(poller_module._pollers) == 1
        assert poller_module._pollers == {}
        async with shared_poller(found) as fourth:
            assert fourth is not first

    asyncio.run(main())


def test_the_last_one_to_leave_ends_it(sim: EnosSimulator, found: Settings) -> None:
    ids = trigger(sim, 1)

    async def main() -> None:
        async with shared_poller(found) as poller:
            wait = asyncio.create_task(wait_in(poller, ids[0]))
            await asyncio.sleep(0.2)
            wait.cancel()
            await asyncio.gather(wait, return_exceptions=True)
        await asyncio.sleep(0)
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    asyncio.run(main())


def test_a_fault_of_ours_ends_the_waits_instead_of_hanging_them(
    sim: EnosSimulator, found: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = trigger(sim, 1)

    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(Poller, "_get", broken)
    with pytest.raises(ZeroDivisionError):
        run(found, lambda poller: wait_in(poller, ids[0]))


@pytest.mark.parametrize("kind", ["http_502", "http_500", "dropped", "http_404"])
def test_a_list_that_fails_ends_no_wait(sim: EnosSimulator, found: Settings, kind: str) -> None:
    """Being right never depends on the list: as long as single instances can be asked for, they are."""
    ids = trigger(sim, 30)
    sim.fault(kind, on="flowInstances/search", times=None)

    async def work(poller: Poller) -> list[FlowInstance]:
        waits = [asyncio.create_task(wait_in(poller, one, tolerance=0.5)) for one in ids]
        await asyncio.sleep(1)
        for one in ids:
            sim.finish(one, "SUCCESS")
        return await asyncio.gather(*waits)

    assert {one.status.name for one in run(found, work)} == {"SUCCESS"}
    assert looks(sim)["search"] < 10


@pytest.mark.parametrize("kind", ["http_429", "http_503", "http_502", "dropped"])
def test_a_gateway_that_is_left_alone_keeps_nobody_past_the_deadline(
    sim: EnosSimulator, found: Settings, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Nor past the tolerance: whoever is not asked for counts that as a look that failed."""
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE", 30.0)
    ids = trigger(sim, 60)
    sim.fault(kind, on="flowInstances/get", times=None)
    sim.fault(kind, on="flowInstances/search", times=None)

    async def work(poller: Poller) -> tuple[list[Any], float]:
        begun = time.monotonic()
        waits = [wait_in(poller, one, deadline=3, tolerance=60 if n % 2 else 0.3) for n, one in enumerate(ids)]
        ends = await asyncio.gather(*waits, return_exceptions=True)
        return ends, time.monotonic() - begun

    ends, took = run(found, work)
    assert [type(end) for end in ends] == [EnosPollLostError, EnosFlowTimeoutError] * 30
    assert took < 20
    assert sum(looks(sim).values()) < 100, "it is left alone"


def test_a_slow_answer_for_one_that_has_ended_holds_up_nobody_whom_the_list_covers(
    sim: EnosSimulator, found: Settings
) -> None:
    ids = trigger(sim, 40)

    async def work(poller: Poller) -> None:
        waits = {one: asyncio.create_task(wait_in(poller, one, deadline=60)) for one in ids}
        await asyncio.sleep(0.7)
        sim.hold(on="flowInstances/get", at="received")
        sim.finish(ids[0], "SUCCESS")
        while not sim.held:
            await asyncio.sleep(0.05)
        for one in ids[1:39]:
            sim.finish(one, "SUCCESS")
        while sum(not waits[one].done() for one in ids[:39]) > 1:
            await asyncio.sleep(0.05)
        with pytest.raises(EnosFlowTimeoutError):
            await wait_in(poller, ids[39], deadline=0.5)
        sim.release()
        sim.finish(ids[39], "SUCCESS")
        await asyncio.gather(*waits.values())

    # Longer than the test may take: nothing but the answer ends the look that is held.
    run(replace(found, timeout=60.0), work)


def busy_tenant(sim: EnosSimulator, minutes: int) -> None:
    """Many flows of others, whose instances fill the window."""
    for flow_id in range(6000, 6060):
        sim.add_flow(flow_id, name="other", tasks=[1], progress="at_once")
        for minute in range(minutes):
            sim.trigger(flow_id, 1, TIME + minute * 60_000)


def test_a_tenant_full_of_others_changes_nothing(sim: EnosSimulator, found: Settings) -> None:
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


def test_a_fault_with_one_instance_ends_no_other_wait(sim: EnosSimulator, found: Settings) -> None:
    ids = trigger(sim, 30)

    class Broken(Log):
        def info(self, message: str, *arguments: Any, **_: Any) -> None:
            raise ZeroDivisionError("a fault of ours")

    async def work(poller: Poller) -> list[Any]:
        broken = InstanceWatch(ids[0], tolerance=5, log=Broken())
        waits = [
            asyncio.create_task(poller.wait(broken, poll_interval=0.1, deadline=time.time() + 10)),
            *(asyncio.create_task(wait_in(poller, one)) for one in ids[1:]),
        ]
        await asyncio.sleep(0.5)
        for one in ids:
            sim.finish(one, "SUCCESS")
        return await asyncio.gather(*waits, return_exceptions=True)

    first, *others = run(found, work)
    assert isinstance(first, ZeroDivisionError)
    assert {one.status.name for one in others} == {"SUCCESS"}


def with_logs(flow_instance_id: str, log: Log) -> InstanceWatch:
    return InstanceWatch(flow_instance_id, tolerance=5.0, log=log, stream=LogStream(log))


def test_logs_that_are_slow_hold_up_nobody_else(sim: EnosSimulator, found: Settings) -> None:
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


def test_whose_logs_are_shown_is_asked_for_singly(sim: EnosSimulator, found: Settings) -> None:
    """The list does not tell which nodes run. The others are covered by it as ever."""
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


def test_logs_that_cannot_be_read_are_left_alone_for_a_while(sim: EnosSimulator, found: Settings) -> None:
    """And nothing else is."""
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


def test_logs_belong_to_the_log_of_whoever_waits(sim: EnosSimulator, found: Settings) -> None:
    whose: ContextVar[str] = ContextVar("whose", default="nobody")
    seen: dict[str, str] = {}

    class Noting(Log):
        def info(self, message: str, *arguments: Any, **_: Any) -> None:
            line = message % arguments
            if line.startswith("::group::Log of node"):
                seen[line] = whose.get()

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


def test_calls_that_belong_together_are_turned_away_while_the_gateway_is_left_alone(
    sim: EnosSimulator, found: Settings
) -> None:
    sim.fault("http_429", on="flowInstances/get", times=1, retry_after=30)
    (id,) = trigger(sim, 1)

    def look() -> Any:
        return (yield calls.get_flow_instance(id))

    async def work(poller: Poller) -> None:
        for _ in range(2):
            with pytest.raises(EnosRateLimitError):
                await poller.run(look())
        assert sim.count("flowInstances/get") == 1

    run(found, work)

    async def later(poller: Poller) -> None:
        assert (await poller.run(look())).flow_instance_id == id

    run(found, later)


def test_tests_can_make_every_pause_short(
    sim: EnosSimulator, found: Settings, override_timing: Callable[..., None]
) -> None:
    """As the pytest plugin does, whatever the intervals are."""
    override_timing(poll_pause=lambda pause: min(pause, 0.01))
    sim.progress = ("polls", 5)
    sim.trigger(FLOW, 108580, TIME)
    begun = time.monotonic()
    run(found, lambda poller: wait_in(poller, "3377-20200706062600", interval=600.0))
    assert time.monotonic() - begun < 1.5
