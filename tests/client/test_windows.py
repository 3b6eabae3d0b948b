"""Waiting for windows in the triggerer: few and many, with and without the list that they share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from happened import until
from worker import Log

from airflow_provider_enos.client import poller as poller_module, windows as windows_module
from airflow_provider_enos.client.poller import Poller, shared_poller
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.errors import EnosAuthError, EnosFlowTimeoutError, EnosPollLostError, EnosServerError
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.protocol.windows import (
    DEFAULT_ALLOWED,
    DEFAULT_FAILED,
    DEFAULT_SKIPPED,
    FlowWatch,
    Rules,
    Verdict,
    Wanted,
    Window,
)
from airflow_provider_enos.simulator import EnosSimulator

HOUR = 3_600_000
DAY = 24 * HOUR
TIME = 1594080000000
"""2020-07-07T00:00:00Z."""
FLOW = 7000

Waiting = Callable[..., Awaitable[Verdict]]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert poller_module._pollers == {}


@pytest.fixture
def flows(sim: EnosSimulator) -> list[int]:
    """So many flows, whose instances run until they are finished by hand."""
    sim.one_at_a_time = False
    ids = list(range(FLOW, FLOW + 30))
    for flow_id in ids:
        sim.add_flow(flow_id, tasks={flow_id * 10: "extract"}, progress="manual", cycle="H")
    return ids


@pytest.fixture
def run(sim: EnosSimulator, settings_for: Callable[..., Settings]) -> Callable[..., Any]:
    def run(work: Callable[[Poller], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            async with shared_poller(settings_for(sim)) as poller:
                return await asyncio.wait_for(work(poller), 60)

        return asyncio.run(main())

    return run


def wanted(flow_id: int = FLOW, *, start: int = TIME - DAY, end: int = TIME, **changes: Any) -> Wanted:
    defaults: dict[str, Any] = {
        "allowed_statuses": DEFAULT_ALLOWED,
        "failed_statuses": DEFAULT_FAILED,
        "skipped_statuses": DEFAULT_SKIPPED,
        "instances": "all",
        "expected_instances": 1,
        "types": 1,
        "scheduled_only": True,
    }
    return Wanted(flow_id, Window.between(start, end), Rules.of(**{**defaults, **changes}))


def wait_in(
    poller: Poller,
    one: Wanted,
    *,
    interval: float = 0.2,
    deadline: float = 60.0,
    tolerance: float = 5.0,
    log: Any = None,
) -> asyncio.Task[Verdict]:
    watch = FlowWatch(one, tolerance=tolerance, log=log or Log())
    return asyncio.create_task(
        poller.windows.wait(watch, poll_interval=interval, deadline=time.time() + deadline)  # type: ignore[arg-type]
    )


def start(sim: EnosSimulator, flow_id: int, trigger_time: int = TIME) -> str:
    """What the schedule of EnOS does."""
    return sim.trigger(flow_id, trigger_time=trigger_time, type=1).id


def looks(sim: EnosSimulator) -> int:
    return sim.count("flowInstances/search")


def test_an_instance_that_comes_while_it_is_waited_for(sim: EnosSimulator, flows: list[int], run: Any) -> None:
    async def work(poller: Poller) -> Verdict:
        waiting = wait_in(poller, wanted())
        await until(lambda: sim.count("flows/get"))
        one = start(sim, FLOW)
        before = looks(sim)
        await until(lambda: looks(sim) > before + 2)
        assert not waiting.done()
        sim.finish(one, "SUCCESS")
        return await waiting

    verdict = run(work)
    assert (verdict.outcome, verdict.ids) == (Outcome.SUCCEEDED, [f"{FLOW}-2020070700"])
    assert sim.count("flows/get") == 1


@pytest.mark.parametrize("first_page", [0, 1])
def test_many_share_one_list(sim: EnosSimulator, flows: list[int], run: Any, first_page: int) -> None:
    """30 waits of as many flows, 9 looks each: a list now and then for all, and one of its own for who has news."""
    sim.first_page = first_page

    async def work(poller: Poller) -> list[Verdict]:
        waits = [wait_in(poller, wanted(flow_id)) for flow_id in flows]
        await until(lambda: sim.count("flows/get") == 30)
        await asyncio.sleep(0.6)
        ids = [start(sim, flow_id) for flow_id in flows]
        await asyncio.sleep(1.2)
        for one in ids:
            sim.finish(one, "SUCCESS")
        return await asyncio.gather(*waits)

    verdicts = run(work)
    assert [verdict.ids for verdict in verdicts] == [[f"{flow_id}-2020070700"] for flow_id in flows]
    # First look, the instance that came, its end: 90 lists of their own, and a tenth of the rest; twice, for page 0.
    own = [one for one in sim.requests if one.operation == "flowInstances/search" and b'"expression":"70' in one.body]
    assert len(own) < 90 * 2 + 120
    assert sim.count("flowInstances/search") - len(own) < 200


def test_windows_that_overlap_share_it_too(sim: EnosSimulator, flows: list[int], run: Any) -> None:
    """30 windows of one flow, an hour from one to the next and a day long: each gets what lies in it."""
    windows = [(TIME + number * HOUR - DAY, TIME + number * HOUR) for number in range(30)]

    async def work(poller: Poller) -> list[Verdict]:
        waits = [
            wait_in(poller, wanted(start=first, end=last, expected_instances=24), interval=0.3)
            for first, last in windows
        ]
        await asyncio.sleep(0.8)
        for number in range(-23, 30):
            sim.finish(start(sim, FLOW, TIME + number * HOUR), "SUCCESS")
            await asyncio.sleep(0.02)
        return await asyncio.gather(*waits)

    for number, verdict in enumerate(run(work)):
        expected = [sim.instances[index].id for index in range(number, number + 24)]
        assert verdict.ids == expected


def test_what_lies_outside_of_the_window_is_no_news(sim: EnosSimulator, flows: list[int], run: Any) -> None:
    """An instance of the flow that another window has is looked at once, and not again."""
    sim.finish(start(sim, FLOW, TIME - 40 * HOUR), "SUCCESS")

    async def work(poller: Poller) -> None:
        waits = [wait_in(poller, wanted(flow_id, start=TIME - 48 * HOUR)) for flow_id in flows[1:]]
        mine = wait_in(poller, wanted(), interval=0.1)
        await asyncio.sleep(1.5)
        for one in [mine, *waits]:
            assert not one.done()
            one.cancel()
        await asyncio.gather(mine, *waits, return_exceptions=True)

    run(work)
    mine = [one for one in sim.requests if f'"expression":"{FLOW}"'.encode() in one.body]
    assert len(mine) <= 4 * 2


def failing(*_: Any, **__: Any) -> Any:
    raise EnosServerError(500, "no", operation="List Flow Instances", http_status=500)
    yield


def too_long(*_: Any, **__: Any) -> Any:
    return None
    yield


def blind(*_: Any, **__: Any) -> Any:
    return []
    yield


@pytest.mark.parametrize("overview", [failing, too_long, blind])
def test_being_right_never_depends_on_the_shared_list(
    sim: EnosSimulator, flows: list[int], run: Any, monkeypatch: pytest.MonkeyPatch, overview: Any
) -> None:
    monkeypatch.setattr(windows_module, "overview", overview)

    async def work(poller: Poller) -> list[Verdict]:
        waits = [wait_in(poller, wanted(flow_id), interval=0.1) for flow_id in flows]
        await until(lambda: sim.count("flows/get") == 30)
        for flow_id in flows:
            sim.finish(start(sim, flow_id), "SUCCESS")
        return await asyncio.gather(*waits)

    assert {verdict.outcome for verdict in run(work)} == {Outcome.SUCCEEDED}


@pytest.mark.parametrize("fault", ["http_502", "data_null", "http_404"])
def test_a_gateway_in_trouble_is_waited_for(sim: EnosSimulator, flows: list[int], run: Any, fault: str) -> None:
    async def work(poller: Poller) -> list[Verdict]:
        waits = [wait_in(poller, wanted(flow_id), tolerance=15) for flow_id in flows]
        await until(lambda: sim.count("flows/get") == 30)
        # From the eighth on the gateway is left alone, twice as long each time.
        sim.fault(fault, on="flowInstances/search", times=9)
        for flow_id in flows:
            sim.finish(start(sim, flow_id), "SUCCESS")
        return await asyncio.gather(*waits)

    assert {verdict.outcome for verdict in run(work)} == {Outcome.SUCCEEDED}


def test_a_shared_list_of_too_many_pages_is_done_without(sim: EnosSimulator, flows: list[int], run: Any) -> None:
    stranger = 9999
    sim.add_flow(stranger, tasks=[1], progress="at_once", cycle="mi")
    for minute in range(400):
        start(sim, stranger, TIME - minute * 60_000)

    def shared() -> int:
        return sum(b'"expression":""' in one.body for one in sim.requests)

    async def work(poller: Poller) -> None:
        waits = [wait_in(poller, wanted(flow_id)) for flow_id in flows]
        await until(shared)
        before = looks(sim)
        await until(lambda: looks(sim) > before + 4 * len(flows))
        for flow_id in flows:
            sim.finish(start(sim, flow_id), "SUCCESS")
        await asyncio.gather(*waits)

    run(work)
    assert 1 <= shared() <= 4


def test_a_wait_that_fails_or_is_cancelled_touches_no_other(sim: EnosSimulator, flows: list[int], run: Any) -> None:
    async def work(poller: Poller) -> None:
        good = [wait_in(poller, wanted(flow_id)) for flow_id in flows[3:]]
        failed, cancelled, late = (
            wait_in(poller, wanted(flow_id), deadline=deadline)
            for flow_id, deadline in zip(flows[:3], (9, 9, 0.5), strict=True)
        )
        await asyncio.sleep(0.3)
        cancelled.cancel()
        sim.finish(start(sim, flows[0]), "FAIL")
        with pytest.raises(EnosFlowTimeoutError, match=f"^flow {flows[2]}, .*: no instance yet$"):
            await late
        assert (await failed).outcome is Outcome.FAILED
        await asyncio.sleep(0.5)
        for flow_id in flows[3:]:
            sim.finish(start(sim, flow_id), "SUCCESS")
        assert {(await one).outcome for one in good} == {Outcome.SUCCEEDED}

    run(work)


def test_the_one_who_asked_for_the_list_may_leave(sim: EnosSimulator, flows: list[int], run: Any) -> None:
    async def work(poller: Poller) -> None:
        waits = [wait_in(poller, wanted(flow_id)) for flow_id in flows]
        await asyncio.sleep(0.5)
        sim.hold(on="flowInstances/search", times=None)
        await asyncio.sleep(0.5)
        for one in waits[:15]:
            one.cancel()
        sim.clear_holds()
        for flow_id in flows:
            sim.finish(start(sim, flow_id), "SUCCESS")
        assert {(await one).outcome for one in waits[15:]} == {Outcome.SUCCEEDED}

    run(work)


def test_a_gateway_that_is_busy_is_left_alone_by_all(sim: EnosSimulator, flows: list[int], run: Any) -> None:
    """Whoever waits for an instance has found out, and whoever waits for a window does not ask either."""

    async def work(poller: Poller) -> None:
        waiting = wait_in(poller, wanted(), interval=0.1)
        await until(lambda: sim.count("flows/get"))
        sim.fault("http_429", times=1, retry_after=2)
        await until(lambda: any(one.fault == "http_429" for one in sim.requests))
        await asyncio.sleep(0.1)
        before = len(sim.requests)
        await asyncio.sleep(0.8)
        assert len(sim.requests) == before
        sim.finish(start(sim, FLOW), "SUCCESS")
        assert (await waiting).outcome is Outcome.SUCCEEDED

    run(work)


def test_what_cannot_be_waited_through(sim: EnosSimulator, flows: list[int], run: Any) -> None:
    async def lost(poller: Poller) -> None:
        sim.fault("http_502", on="flowInstances/search", times=None)
        await wait_in(poller, wanted(), tolerance=0.3)

    with pytest.raises(EnosPollLostError):
        run(lost)
    sim.clear_faults()

    async def refused(poller: Poller) -> None:
        waiting = wait_in(poller, wanted())
        await until(lambda: sim.count("flows/get"))
        sim.secret_key = "another"
        sim.expire_tokens()
        await waiting

    with pytest.raises(EnosAuthError):
        run(refused)


def test_each_wait_is_logged_in_its_own_context(sim: EnosSimulator, flows: list[int], run: Any) -> None:
    """By which Airflow tells to which task's log a line belongs."""
    whose: ContextVar[int] = ContextVar("whose")
    said: dict[int, set[str]] = {}

    class Asking(Log):
        def info(self, message: str, *arguments: Any, **_: Any) -> None:
            said.setdefault(whose.get(0), set()).add(arguments[0])

        warning = error = info

    async def one_wait(poller: Poller, flow_id: int) -> None:
        whose.set(flow_id)
        await wait_in(poller, wanted(flow_id), log=Asking())

    async def work(poller: Poller) -> None:
        waits = [asyncio.create_task(one_wait(poller, flow_id)) for flow_id in flows]
        await asyncio.sleep(0.5)
        for flow_id in flows:
            sim.finish(start(sim, flow_id), "SUCCESS")
        await asyncio.gather(*waits)

    run(work)
    assert said == {flow_id: {str(wanted(flow_id))} for flow_id in flows}
