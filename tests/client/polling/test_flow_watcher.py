from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from lists import Lists, drive
from virtual_time import run as run_virtually

from airflow_provider_enos.client import settings
from airflow_provider_enos.client.polling import flow_watcher as watcher_module
from airflow_provider_enos.client.polling.end_feed import Subscription
from airflow_provider_enos.client.polling.flow_watcher import Look, Watched, Watcher, stream
from airflow_provider_enos.client.polling.shared_poller import SharedPoller
from airflow_provider_enos.errors import EnosError, EnosReplyError, EnosServerError
from airflow_provider_enos.protocol.follow import pace
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.simulator import EnosSimulator

HOUR, DAY = 3_600_000, 86_400_000
WEEK = 7 * 86_400.0


@pytest.fixture
def past(sim: EnosSimulator) -> Callable[..., str]:
    """Makes an instance that EnOS's schedule started this many hours ago."""
    sim.progress = "manual"
    sim.one_at_a_time = False

    def make(flow_id: int, hours: int) -> str:
        if flow_id not in made:
            made.add(flow_id)
            sim.add_flow(flow_id, name=f"flow_{flow_id}", tasks={flow_id * 10: "extract"})
        return sim.trigger(flow_id, trigger_time=sim.now_ms() - hours * HOUR, type=1).id

    made: set[int] = set()
    return make


def run(
    sim: EnosSimulator,
    work: Callable[[Watched, Any], Coroutine[Any, Any, Any]],
    *,
    poll_interval: float = 0.02,
    lookback: float = WEEK,
) -> Any:
    """Have ``work`` take the results of polls from a watcher."""
    connection = SimpleNamespace(
        conn_id="enos",
        host="127.0.0.1",
        port=sim.port,
        schema="http",
        login=sim.access_key,
        password=sim.secret_key,
        extra={"org_id": sim.org_id, "user_id": sim.user_id, "timeout": 5},
    )

    async def main() -> Any:
        with stream("key") as watched:
            watcher = Watcher(watched, poll_interval=poll_interval, lookback=lookback)
            async with SharedPoller(settings.read(connection)) as poller:
                return await asyncio.wait_for(work(watched, lambda: watcher.looks(poller)), 60)

    return asyncio.run(main())


def shown(look: Look) -> dict[int, list[str]]:
    return {flow_id: sorted(one.flow_instance_id for one in found) for flow_id, found in look.flows.items()}


@pytest.mark.parametrize("first_page", [0, 1])
@pytest.mark.parametrize("others", [0, 10], ids=["each for itself", "all in one list"])
def test_each_flow_is_shown_its_own_instances(
    sim: EnosSimulator, past: Callable[..., str], first_page: int, others: int
) -> None:
    sim.first_page = first_page
    sim.ids_as = "str"
    expected = {51: sorted([past(51, 3), past(51, 100)]), 52: [past(52, 5)], 5152: []}
    # Their ids hold the numbers of the others.
    past(9510, 1)
    past(1952, 1)

    async def work(watched: Watched, looks: Any) -> None:
        for flow_id in [*expected, *range(9000, 9000 + others)]:
            watched.add(flow_id)
        look = await anext(looks())
        assert look.window.whole
        assert look.is_complete
        assert {flow_id: shown(look)[flow_id] for flow_id in expected} == expected
        assert len(look.flows) == len(expected) + others

    run(sim, work)
    # Three types; and a page 0 that is refused where pages start at 1.
    lists = 1 if others else len(expected)
    asked = [one for one in sim.requests if one.operation == "flowInstances/search" and b'"status":""' in one.body]
    assert len(asked) == 3 * lists * (1 if first_page == 0 else 2) or first_page == 0


def test_more_than_a_page(sim: EnosSimulator, past: Callable[..., str]) -> None:
    ids = sorted(past(51, hours) for hours in range(120, 0, -1))

    async def work(watched: Watched, looks: Any) -> None:
        watched.add(51)
        assert shown(await anext(looks())) == {51: ids}

    run(sim, work)


def test_the_last_day_is_looked_at_every_time_and_all_now_and_then(
    sim: EnosSimulator, past: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recent, old = past(51, 3), past(51, 100)

    async def work(watched: Watched, looks: Any) -> None:
        watched.add(51)
        one = looks()
        seen = [await anext(one) for _ in range(3)]
        assert [look.window.whole for look in seen] == [True, False, False]
        assert [old in shown(look)[51] for look in seen] == [True, False, False]
        assert all(recent in shown(look)[51] for look in seen)
        monkeypatch.setattr(watcher_module, "time", lambda: time.time() + 601)
        assert (await anext(one)).window.whole

    run(sim, work)


def test_a_new_flow_is_shown_its_whole_window_at_once(sim: EnosSimulator, past: Callable[..., str]) -> None:
    """Also if another trigger watches the flow already; the next look shows the last day again."""
    old = past(51, 100)
    past(52, 1)

    async def work(watched: Watched, looks: Any) -> None:
        watched.add(51)
        watched.add(52)
        one = looks()
        await anext(one)
        coming = asyncio.create_task(anext(one))
        await asyncio.sleep(0.1)
        watched.add(51)
        look = await coming
        assert shown(look) == {51: [old]}
        assert look.window.whole

    run(sim, work, poll_interval=30)


def test_new_flows_do_not_delay_the_others(sim: EnosSimulator, past: Callable[..., str]) -> None:
    ended = past(51, 1)

    async def work(watched: Watched, looks: Any) -> None:
        watched.add(51)
        one = looks()
        await anext(one)
        begun = time.monotonic()

        async def come() -> None:
            for flow_id in range(9000, 9100):
                watched.add(flow_id)
                await asyncio.sleep(0.1)

        coming = asyncio.create_task(come())
        while shown(look := await anext(one)).get(51) != [ended]:
            assert time.monotonic() - begun < 5
        assert not look.window.whole
        coming.cancel()

    run(sim, work, poll_interval=0.5)


def test_a_trigger_that_holds_events_gets_a_look_before_enos_is_asked(
    sim: EnosSimulator, past: Callable[..., str]
) -> None:
    past(51, 1)

    async def work(watched: Watched, looks: Any) -> None:
        watched.add(51)
        one = looks()
        await anext(one)
        asked = sim.count("flowInstances/search")
        watched.holding.add(one)
        look = await anext(one)
        assert (look.flows, look.is_complete, sim.count("flowInstances/search")) == ({}, False, asked)
        watched.holding.clear()
        assert 51 in (await anext(one)).flows

    run(sim, work)


def test_the_whole_window_is_shown_again_on_request(sim: EnosSimulator, past: Callable[..., str]) -> None:
    """At the next look, and not at once."""
    past(51, 1)

    async def work(watched: Watched, looks: Any) -> None:
        watched.add(51)
        one = looks()
        await anext(one)
        begun = time.monotonic()
        watched.show_all_again(51)
        watched.show_all_again(52)
        look = await anext(one)
        assert (set(look.flows), look.window.whole) == ({51}, True)
        assert time.monotonic() - begun > 0.2
        assert not (await anext(one)).window.whole

    run(sim, work, poll_interval=0.4)


def test_a_flow_that_is_removed_is_looked_at_no_more(sim: EnosSimulator, past: Callable[..., str]) -> None:
    past(51, 1)

    async def work(watched: Watched, looks: Any) -> None:
        for flow_id in (51, 51, 52):
            watched.add(flow_id)
        one = looks()
        assert set((await anext(one)).flows) == {51, 52}
        watched.remove(51)
        watched.remove(52)
        assert set((await anext(one)).flows) == {51}
        watched.remove(51)
        waiting = asyncio.create_task(anext(one))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        watched.add(52)
        assert set((await waiting).flows) == {52}

    run(sim, work)


def test_a_flow_whose_list_fails_holds_up_no_other(sim: EnosSimulator, past: Callable[..., str]) -> None:
    past(51, 1)
    past(52, 1)

    async def work(watched: Watched, looks: Any) -> None:
        for flow_id in (51, 52):
            watched.add(flow_id)
        sim.fault("http_500", on="flowInstances/search", times=2)
        one = looks()
        look = await anext(one)
        assert set(look.flows) == {52}
        assert not look.is_complete
        with pytest.raises(EnosServerError):
            await anext(one)
        look = await anext(looks())
        assert (set(look.flows), look.window.whole, look.is_complete) == ({51}, True, True)

    run(sim, work)


@pytest.mark.parametrize("others", [0, 10], ids=["each for itself", "all in one list"])
def test_a_flow_that_can_never_be_listed_holds_up_no_other(
    sim: EnosSimulator, past: Callable[..., str], monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """Also as a new flow, which is looked at before the others."""
    recent, old = past(51, 1), past(51, 100)
    flow = sim.add_flow(52, tasks={520: "extract"})
    sim._state.catalog.add_flows([replace(flow, name=["what is no text"])])  # type: ignore[arg-type]
    sim.trigger(52, trigger_time=sim.now_ms() - HOUR, type=1)

    async def work(watched: Watched, looks: Any) -> None:
        one = looks()

        async def next_look() -> Look:
            nonlocal one
            while True:
                try:
                    look: Look = await anext(one)
                except EnosReplyError:
                    one = looks()
                else:
                    assert 52 not in look.flows
                    return look

        for flow_id in (51, *range(9000, 9000 + others)):
            watched.add(flow_id)
        assert shown(await next_look())[51] == sorted([old, recent])
        watched.add(52)
        for _ in range(3):
            look = await next_look()
            assert (shown(look)[51], look.window.whole) == ([recent], False)
            # So that nobody says that EnOS answers again.
            assert not look.is_complete
        monkeypatch.setattr(watcher_module, "time", lambda: time.time() + 601)
        assert shown(await next_look())[51] == sorted([old, recent])
        assert not (await next_look()).window.whole
        assert watched.new == {52}

    run(sim, work)


def test_a_list_of_everything_that_takes_too_many_pages_is_given_up(
    sim: EnosSimulator, past: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instances of a whole organisation in a week need too much memory."""
    monkeypatch.setattr(watcher_module, "_PAGES_A_FLOW", 1, raising=False)
    sim.first_page = 0
    ids = [past(51, 3), past(52, 4)]
    sim.add_flow(7, tasks={70: "extract"}, cycle="mi")
    for minutes in range(500):
        sim.trigger(7, trigger_time=sim.now_ms() - HOUR - minutes * 60_000, type=1)

    async def work(watched: Watched, looks: Any) -> None:
        for flow_id in (51, 52, *range(9000, 9007)):
            watched.add(flow_id)
        one = looks()
        for _ in range(3):
            look = await anext(one)
            assert (shown(look)[51], shown(look)[52], len(look.flows)) == ([ids[0]], [ids[1]], 9)

    run(sim, work)
    of_all = [one for one in sim.requests if b'"expression":""' in one.body and b'"status":""' in one.body]
    # Once for the whole window, and once for the last day; nine flows pay for nine pages.
    assert len(of_all) == 2 * 9


def test_where_nothing_can_be_listed_it_says_so(sim: EnosSimulator) -> None:
    async def work(watched: Watched, looks: Any) -> None:
        watched.add(51)
        sim.fault("http_403", on="flowInstances/search", times=None)
        with pytest.raises(EnosError):
            await anext(looks())

    run(sim, work)


def test_one_instance_can_be_read(sim: EnosSimulator, past: Callable[..., str]) -> None:
    id = past(51, 1)

    async def work(watched: Watched, looks: Any) -> None:
        watched.add(51)
        look = await anext(looks())
        assert look.flows[51][0].business_date is None
        assert (await look.read(id)).business_date is not None

    run(sim, work)


def test_those_with_one_key_share_what_is_watched() -> None:
    async def main() -> None:
        with stream("a") as one, stream("a") as same, stream("b") as other:
            assert one is same
            assert one is not other
        with stream("a") as later:
            assert later is not one

    asyncio.run(main())


@pytest.mark.parametrize("hours", [3, 100])
def test_the_feed_shows_which_flow_to_look_at_now(
    sim: EnosSimulator, past: Callable[..., str], monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Long before the next regular poll, and back to the trigger time of the instance."""
    monkeypatch.setattr(pace, "SHORTEST", 0.05)
    monkeypatch.setattr(pace, "_POLLS_A_REQUEST", 0.1)
    running, other = past(51, hours), past(52, 1)

    async def work(watched: Watched, looks: Any) -> None:
        for flow_id in (51, 52, *range(9000, 9008)):
            watched.add(flow_id)
        one = looks()
        first = await anext(one)
        assert (shown(first)[51], shown(first)[52]) == ([running], [other])
        coming = asyncio.create_task(anext(one))
        await asyncio.sleep(0.5)
        assert not coming.done()
        sim.finish(running, "SUCCESS")
        look = await coming
        assert shown(look) == {51: [running]}
        assert look.flows[51][0].status.name == "SUCCESS"
        assert look.window.whole == (hours > 24)

    run(sim, work, poll_interval=30)


def test_a_flow_with_a_new_end_is_looked_at_again_at_the_next_regular_looks(
    sim: EnosSimulator, past: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as the next regular poll: an event may have been held back for it."""
    monkeypatch.setattr(pace, "SHORTEST", 0.02)
    monkeypatch.setattr(pace, "_POLLS_A_REQUEST", 0.1)
    ids = [past(51, hours) for hours in range(1, 12)]

    async def work(watched: Watched, looks: Any) -> None:
        for flow_id in (51, *range(9000, 9010)):
            watched.add(flow_id)
        one = looks()
        await anext(one)
        for id in ids:
            sim.finish(id, "SUCCESS")
            await anext(one)
        # The feed is trusted by now, so that nothing else would be looked at for ten intervals.
        for _ in range(2):
            look = await asyncio.wait_for(anext(one), 20)
            assert 51 in look.flows

    run(sim, work, poll_interval=1.0)


class Gateway:
    """Stands for a poller: its feed tells what the test has it tell, and a list takes ``list_takes`` seconds."""

    patience, sound_since = 1.0, 0.0

    def __init__(self) -> None:
        self.feed = self
        self.subscriptions: dict[str | int, Subscription] = {}
        self.lists = Lists(first_page=0)
        self.list_takes = 0.0

    def add(self, subscription: Subscription) -> None:
        self.subscriptions[subscription.of] = subscription

    def remove(self, subscription: Subscription) -> None:
        del self.subscriptions[subscription.of]

    def covers(self, first: int, end: int) -> bool:
        return True

    def show_end(self, flow_id: int, hours: int = 1) -> None:
        at = time.gmtime(now() - hours * 3600)
        one = {"instanceId": f"{flow_id}-{time.strftime('%Y%m%d%H%M%S', at)}", "flowId": flow_id, "status": "SUCCESS"}
        self.subscriptions[flow_id].on_end(FlowInstance.parse(one))

    async def run(self, procedure: Any) -> Any:
        result = drive(procedure, self.lists)
        await asyncio.sleep(self.list_takes)
        return result


class CountedRounds(Watched):
    """Fail a loop that never waits."""

    rounds = 0

    def take_new(self) -> set[int]:
        self.rounds += 1
        assert self.rounds < 1000, "it goes round and round"
        return super().take_new()


def now() -> float:
    """Epoch seconds on virtual time."""
    return 1_750_000_000.0 + asyncio.get_running_loop().time()


def watch(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[Gateway, Watched, Any], Coroutine[Any, Any, None]], **options: Any
) -> None:
    """Have ``work`` take looks at flows 51 and 52, on virtual time."""
    monkeypatch.setattr(watcher_module, "time", now)

    async def main() -> None:
        gateway, watched = Gateway(), CountedRounds()
        watched.add(51)
        watched.add(52)
        looks = Watcher(watched, **{"poll_interval": 60.0, "lookback": WEEK, **options}).looks(gateway)  # type: ignore[arg-type]
        await work(gateway, watched, looks)
        await looks.aclose()
        assert gateway.subscriptions == {}

    run_virtually(main())


def test_an_end_of_a_flow_that_is_watched_no_more_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, such an end kept the loop from waiting, and so blocked the triggerer."""

    async def work(gateway: Gateway, watched: Watched, looks: Any) -> None:
        assert set((await anext(looks)).flows) == {51, 52}
        begun = now()
        gateway.show_end(51)
        watched.remove(51)
        assert set((await anext(looks)).flows) == {52}
        assert now() - begun > 50, "at the next regular look"

    watch(monkeypatch, work)


@pytest.mark.parametrize("hours", [1, 100])
def test_an_end_that_the_feed_shows_during_a_look_leads_to_another_look(
    monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """The list may have been read before the instance ended. It is looked for as far back as it lies."""

    async def work(gateway: Gateway, watched: Watched, looks: Any) -> None:
        await anext(looks)
        gateway.list_takes = 5.0
        gateway.show_end(51)
        begun, coming = now(), asyncio.create_task(anext(looks))
        await asyncio.sleep(1)
        gateway.show_end(51, hours)
        first, second = await coming, await anext(looks)
        assert set(first.flows) == set(second.flows) == {51}
        assert (first.window.whole, second.window.whole) == (False, hours > 24)
        assert now() - begun < 15

    watch(monkeypatch, work)


def test_the_feed_is_asked_for_the_trigger_times_of_today_however_long_it_watches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once, the window stayed where it was at the start: after some days the feed showed no new instance."""

    async def work(gateway: Gateway, watched: Watched, looks: Any) -> None:
        begun = now()
        while now() < begun + 10 * 86_400:
            await anext(looks)
        for one in gateway.subscriptions.values():
            assert one.first is not None
            assert one.end is not None
            assert abs(one.first - (now() - WEEK) * 1000) < 2 * HOUR
            assert abs(one.end - (now() * 1000 + DAY)) < 2 * HOUR

    watch(monkeypatch, work, poll_interval=3600.0)
