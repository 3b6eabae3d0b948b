from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_enos.client import settings
from airflow_provider_enos.client.polling import flow_watcher as watcher_module
from airflow_provider_enos.client.polling.flow_watcher import Look, Watched, Watcher, stream
from airflow_provider_enos.client.polling.poller import shared_poller
from airflow_provider_enos.errors import EnosError, EnosReplyError, EnosServerError
from airflow_provider_enos.protocol.follow import pace
from airflow_provider_enos.simulator import EnosSimulator

HOUR, DAY = 3_600_000, 86_400_000
WEEK = 7 * 86_400.0


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert watcher_module._streams == {}


@pytest.fixture
def past(sim: EnosSimulator) -> Callable[..., str]:
    """Makes an instance of a flow that was started so many hours ago by EnOS's schedule."""
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
    """Has ``work`` take looks from a watcher."""
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
            async with shared_poller(settings.read(connection)) as poller:
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


def test_whoever_comes_later_is_shown_all_at_once(sim: EnosSimulator, past: Callable[..., str]) -> None:
    """Also to a flow that somebody else watches already; and the next look is the others' again."""
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


def test_those_who_keep_coming_do_not_keep_the_others_waiting(sim: EnosSimulator, past: Callable[..., str]) -> None:
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


def test_who_holds_something_back_is_called_before_enos_is_asked(sim: EnosSimulator, past: Callable[..., str]) -> None:
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


def test_all_is_shown_again_to_who_could_make_nothing_of_it(sim: EnosSimulator, past: Callable[..., str]) -> None:
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


def test_who_leaves_is_looked_at_no_more(sim: EnosSimulator, past: Callable[..., str]) -> None:
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
    """Also as one that has just come, which is looked at before the others."""
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
    """As many instances as the whole organisation has in a week are nothing to keep in memory."""
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
def test_the_feed_tells_of_which_flow_to_look_at_once(
    sim: EnosSimulator, past: Callable[..., str], monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Long before the next regular look, and as far back as the instance lies; with it at the next regular looks."""
    monkeypatch.setattr(pace, "SHORTEST", 0.05)
    monkeypatch.setattr(pace, "_WORTH", 0.1)
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


def test_what_the_feed_has_told_of_is_looked_at_again(
    sim: EnosSimulator, past: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as the next regular look: an event may have been held back for it."""
    monkeypatch.setattr(pace, "SHORTEST", 0.02)
    monkeypatch.setattr(pace, "_WORTH", 0.1)
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
