"""What a poller does when the gateway, a list or this package fails."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from happened import until
from polled import looks, run, trigger, wait_in
from worker import Log

from airflow_provider_enos.client.polling import circuit_breaker
from airflow_provider_enos.client.polling.poller import Poller
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.errors import (
    EnosAuthError,
    EnosFlowTimeoutError,
    EnosPollLostError,
    EnosRateLimitError,
    EnosRequestError,
)
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.simulator import EnosSimulator


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


def test_a_slow_answer_holds_up_no_other_wait(sim: EnosSimulator, found: Settings) -> None:
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
def test_a_busy_gateway_is_left_alone_for_a_while(
    sim: EnosSimulator, found: Settings, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """One pause for all, not one for each wait."""
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE", 0.25)
    ids = trigger(sim, 10)
    sim.fault(kind, on="flowInstances/get", times=None)

    async def work(poller: Poller) -> None:
        waits = [asyncio.create_task(wait_in(poller, one)) for one in ids]
        await asyncio.sleep(0.6)
        asked = looks(sim)["get"]
        # 60 looks were due; the pauses are 0.25 and 0.5 s, and up to 8 requests are under way when one begins.
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


def test_an_error_of_this_package_ends_the_waits_and_does_not_hang_them(
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
    """No wait depends on the list: single polls replace it."""
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


def test_what_the_list_does_not_show_is_asked_for_singly(sim: EnosSimulator, found: Settings) -> None:
    """No wait depends on the list."""
    ids = trigger(sim, 30)
    sim.fault("data_null", on="flowInstances/search", times=None)

    async def work(poller: Poller) -> None:
        waits = [asyncio.create_task(wait_in(poller, one)) for one in ids]
        await asyncio.sleep(0.3)
        for one in ids:
            sim.finish(one, "SUCCESS")
        await asyncio.wait_for(asyncio.gather(*waits), 15)

    run(found, work)


@pytest.mark.parametrize("kind", ["http_429", "http_503", "http_502", "dropped"])
def test_deadlines_hold_while_the_gateway_is_left_alone(
    sim: EnosSimulator, found: Settings, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The tolerance holds too: a poll that is not sent counts as failed."""
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE", 30.0)
    ids = trigger(sim, 60)
    sim.fault(kind, on="flowInstances/get", times=None)
    sim.fault(kind, on="flowInstances/search", times=None)

    async def work(poller: Poller) -> tuple[list[Any], float]:
        begun = time.monotonic()
        waits = [wait_in(poller, one, deadline=1.5, tolerance=60 if n % 2 else 0.3) for n, one in enumerate(ids)]
        ends = await asyncio.gather(*waits, return_exceptions=True)
        return ends, time.monotonic() - begun

    ends, took = run(found, work)
    assert [type(end) for end in ends] == [EnosPollLostError, EnosFlowTimeoutError] * 30
    assert took < 20
    assert sum(looks(sim).values()) < 100, "it is left alone"


def test_a_slow_answer_holds_up_no_wait_that_the_list_shows(sim: EnosSimulator, found: Settings) -> None:
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


def test_an_error_with_one_instance_ends_no_other_wait(sim: EnosSimulator, found: Settings) -> None:
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


def test_procedures_fail_at_once_while_the_gateway_is_left_alone(sim: EnosSimulator, found: Settings) -> None:
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
