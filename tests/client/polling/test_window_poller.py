"""Waiting for windows in the triggerer: few and many, with and without the feed of ends."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from fake_tenant import SETTINGS, FakeTenant, api_error
from happened import until
from lists import Run
from virtual_time import run as run_virtually
from worker import Log

from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.client.polling import (
    end_feed as feed_module,
    window_poller as windows_module,
)
from airflow_provider_enos.client.polling.poller import Poller
from airflow_provider_enos.client.polling.shared_poller import SharedPoller
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosAuthError,
    EnosFlowTimeoutError,
    EnosPollLostError,
    EnosServerError,
)
from airflow_provider_enos.protocol.follow.end_feed import Reading
from airflow_provider_enos.protocol.follow.options import DEFAULT_ALLOWED, DEFAULT_FAILED, DEFAULT_SKIPPED
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.follow.window_rules import Rules, Verdict
from airflow_provider_enos.protocol.follow.window_wait import Wanted, WindowWatch
from airflow_provider_enos.protocol.models import FlowInstance, Outcome
from airflow_provider_enos.simulator import EnosSimulator

HOUR = 3_600_000
DAY = 24 * HOUR
TIME = 1594080000000
"""2020-07-07T00:00:00Z."""
FLOW = 7000

Waiting = Callable[..., Awaitable[Verdict]]


@pytest.fixture
def flows(sim: EnosSimulator) -> list[int]:
    """Flows whose instances run until the test ends them."""
    sim.one_at_a_time = False
    ids = list(range(FLOW, FLOW + 30))
    for flow_id in ids:
        sim.add_flow(flow_id, tasks={flow_id * 10: "extract"}, progress="manual", cycle="H")
    return ids


@pytest.fixture
def run(sim: EnosSimulator, settings_for: Callable[..., Settings]) -> Callable[..., Any]:
    def run(work: Callable[[Poller], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            async with SharedPoller(settings_for(sim)) as poller:
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
    watch = WindowWatch(one, tolerance=tolerance, log=log or Log())
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


def test_windows_that_overlap(sim: EnosSimulator, flows: list[int], run: Any) -> None:
    """30 windows of one flow, each a day long and an hour after the one before: each gets its instances."""
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


def failing(*_: Any) -> Any:
    raise EnosServerError(500, "no", operation="List Flow Instances", http_status=500)
    yield


def blind(*_: Any) -> Any:
    return Reading((), (), is_sound=True, confirmations=1, requests=1)
    yield


def broken(*_: Any) -> Any:
    raise ZeroDivisionError("a fault of ours")
    yield


@pytest.mark.parametrize("read", [failing, blind, broken])
def test_no_wait_depends_on_the_feed_to_be_right(
    sim: EnosSimulator, flows: list[int], run: Any, monkeypatch: pytest.MonkeyPatch, read: Any
) -> None:
    monkeypatch.setattr(feed_module.EndFeed, "read", read)

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


def test_a_wait_that_fails_or_is_cancelled_touches_no_other(sim: EnosSimulator, flows: list[int], run: Any) -> None:
    async def work(poller: Poller) -> None:
        good = [wait_in(poller, wanted(flow_id)) for flow_id in flows[3:]]
        failed, cancelled, late = (
            wait_in(poller, wanted(flow_id), deadline=deadline)
            for flow_id, deadline in zip(flows[:3], (30, 30, 2.0), strict=True)
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


def test_the_wait_that_asked_for_the_list_may_be_cancelled(sim: EnosSimulator, flows: list[int], run: Any) -> None:
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
    """A wait for an instance was refused, so a wait for a window does not ask either."""

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
    """By the context Airflow knows to which task's log a line belongs."""
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


class Tenant:
    """Windows of one flow each, with one instance that ends at some time, on virtual time."""

    def __init__(self, fake: FakeTenant, count: int, *, lasts: float, seed: int = 1) -> None:
        self.fake = fake
        self.count = count
        self.lasts = lasts
        self.luck = random.Random(seed)
        self.delays: list[float] = []

    async def story(self, poller: Poller, **changes: Any) -> None:
        await asyncio.gather(*(self.one(poller, 7000 + number, **changes) for number in range(self.count)))
        await poller.close()

    async def one(self, poller: Poller, flow_id: int, **changes: Any) -> None:
        run = Run(f"{flow_id}-2020070623", TIME - 30 * 60_000, self.fake.now(), type=1)
        self.fake.lists.add(run)
        ending = asyncio.create_task(self.fake.run_for(run, self.luck.uniform(10, self.lasts)))
        watch = WindowWatch(wanted(flow_id, **changes), tolerance=600, log=Log(), check_existence=False)
        verdict = await poller.windows.wait(watch, poll_interval=60.0, deadline=self.fake.now() + 86_400)
        assert verdict.ids == [run.id]
        self.delays.append(self.fake.now() - (run.ended or 0.0))
        await ending


def test_windows_rely_on_the_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 windows for two hours, at 60 s: 24,000 polls if each wait polled for itself."""
    tenant = Tenant(FakeTenant(monkeypatch, first_page=0), 200, lasts=7200)

    async def main() -> None:
        monkeypatch.setattr(AsyncClient, "close", no_close)
        await tenant.story(Poller(SETTINGS))

    run_virtually(main())
    assert tenant.fake.asked["list"] < 24_000 / 6
    assert sorted(tenant.delays)[100] < 20
    assert max(tenant.delays) <= 600


def test_statuses_that_are_not_final_do_not_rely_on_the_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The feed does not show that an instance has begun to run, if a wait is for that."""
    fake = FakeTenant(monkeypatch, first_page=0)

    async def main() -> float:
        monkeypatch.setattr(AsyncClient, "close", no_close)
        poller = Poller(SETTINGS)
        crowd = asyncio.create_task(Tenant(fake, 60, lasts=3000).story(poller))
        await asyncio.sleep(1500)
        watch = WindowWatch(wanted(9999, allowed_statuses=["RUNNING"]), tolerance=600, log=Log(), check_existence=False)
        waiting = asyncio.create_task(poller.windows.wait(watch, poll_interval=60.0, deadline=fake.now() + 86_400))
        await asyncio.sleep(400)
        fake.lists.add(Run("9999-2020070623", TIME - 30 * 60_000, fake.now(), type=1))
        begun = fake.now()
        await waiting
        late = fake.now() - begun
        await crowd
        return late

    assert run_virtually(main()) <= 61


def test_an_end_far_outside_of_the_window_wakes_no_wait() -> None:
    watch = WindowWatch(wanted(), tolerance=5, log=Log())
    for id, wakes in (
        (f"{FLOW}-2020070700", True),
        (f"{FLOW}-2020070700000000", True),
        (f"{FLOW}-20200704000000", False),
        (f"{FLOW}-202007100000", False),
        ("of another kind", True),
    ):
        wait = windows_module._Wait(watch, 60.0, 0.0)
        wait.note_end(FlowInstance.parse({"instanceId": id, "status": 1}))
        assert wait.woken.is_set() == wakes, id


@pytest.mark.parametrize("tolerant", [False, True])
def test_a_refusal_of_the_connection_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tolerant: bool) -> None:
    """The trigger reads the connection again, whatever the watch tolerates."""
    fake = FakeTenant(monkeypatch)
    if tolerant:
        monkeypatch.setattr(WindowWatch, "missed", lambda watch, error, now: None)
    fake.errors["list"] = api_error(EnosAccessError, 62103)

    async def main() -> float:
        monkeypatch.setattr(AsyncClient, "close", no_close)
        poller, begun = Poller(SETTINGS), fake.now()
        watch = WindowWatch(wanted(), tolerance=600, log=Log(), check_existence=False)
        with pytest.raises(EnosAccessError):
            await poller.windows.wait(watch, poll_interval=60.0, deadline=fake.now() + 86_400)
        await poller.close()
        return fake.now() - begun

    assert run_virtually(main()) < 1


def test_a_deadline_holds_while_the_pages_never_end(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeTenant(monkeypatch, cap=10, count="none")
    fake.slow["list"] = 5.0
    for number in range(5000):
        fake.lists.add(Run(f"{FLOW}-{number}", TIME - 30 * 60_000, 0.0, type=1))

    async def main() -> float:
        monkeypatch.setattr(AsyncClient, "close", no_close)
        poller, begun = Poller(SETTINGS), fake.now()
        watch = WindowWatch(wanted(), tolerance=600, log=Log(), check_existence=False)
        with pytest.raises(EnosFlowTimeoutError):
            await poller.windows.wait(watch, poll_interval=60.0, deadline=fake.now() + 60)
        await poller.close()
        return fake.now() - begun

    assert run_virtually(main()) <= 71


async def no_close(client: AsyncClient) -> None:
    """Nothing was opened."""
