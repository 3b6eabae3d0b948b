"""The poller against gateways of every kind, on virtual time: hours, and thousands of waits, in seconds."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

import pytest
from fake_tenant import SETTINGS, FakeTenant, api_error
from hypothesis import HealthCheck, given, settings, strategies as st
from lists import Run
from virtual_time import run as run_virtually

from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.client.polling import end_feed as feed_module
from airflow_provider_enos.client.polling.poller import Poller
from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosAuthError,
    EnosFlowTimeoutError,
    EnosRateLimitError,
    EnosServerError,
)

MINUTES_AT_MIDNIGHT = 0.6


@dataclass
class Story:
    """What happened to a tenant: how late each wait heard of its end, and what was asked for."""

    delays: list[float]
    gets: float
    lists: float
    single_looks: float
    """What a look of each wait at each interval would cost."""

    @property
    def requests(self) -> float:
        return self.gets + self.lists

    def p(self, part: float) -> float:
        return sorted(self.delays)[int(len(self.delays) * part)]


async def live(
    tenant: FakeTenant,
    *,
    waits: int,
    interval: float,
    seconds: float,
    others: int = 0,
    lasts: tuple[float, float] = (300.0, 1700.0),
    seed: int = 1,
    spoil: Any = lambda number, run: None,
    **options: Any,
) -> Story:
    """Have ``waits`` tasks wait, each for the next instance once one has ended. ``others``: instances that are over."""
    luck = random.Random(seed)
    for _ in range(others):
        run = tenant.start(-luck.randrange(1200))
        run.status, run.ended = "SUCCESS", tenant.now() - luck.uniform(60, 900)
    poller = Poller(SETTINGS)
    begun, delays = tenant.now(), list[float]()

    async def slot(number: int) -> None:
        remaining = luck.uniform(1.0, lasts[1])
        while tenant.now() < begun + seconds:
            run = tenant.start(0 if luck.random() < MINUTES_AT_MIDNIGHT else -luck.randrange(1200))
            spoil(number, run)
            status = luck.choice(["SUCCESS", "SUCCESS", "FAIL", "CANCEL"])
            ending = asyncio.create_task(tenant.run_for(run, remaining, status))
            instance, delay = await tenant.wait(poller, run, interval, **options)
            await ending
            assert instance.flow_instance_id == run.id
            assert instance.status.name == run.status
            if (run.ended or 0.0) < begun + seconds:
                delays.append(delay)
            remaining = luck.uniform(*lasts)

    slots = [asyncio.create_task(slot(number)) for number in range(waits)]
    await asyncio.sleep(seconds)
    asked = tenant.asked.copy()
    await asyncio.gather(*slots)
    await poller.close()
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert left == []
    return Story(delays, asked["get"], asked["list"], waits * seconds / interval)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes tenants; closing a session takes no network."""

    async def close(client: AsyncClient) -> None:
        """Nothing was opened."""

    monkeypatch.setattr(AsyncClient, "close", close)
    return lambda **options: FakeTenant(monkeypatch, **options)


def told(tenant: FakeTenant, **options: Any) -> Story:
    return run_virtually(live(tenant, **options))


def test_many_waits_cost_a_twentieth_and_end_within_seconds(fresh: Any) -> None:
    story = told(fresh(first_page=1), waits=300, interval=10, seconds=1200, others=500, read_end=False)
    assert story.requests < story.single_looks / 20
    assert story.p(0.5) < 1.5
    assert story.p(0.95) < 2.6
    assert max(story.delays) < 100


def test_new_waits_are_hardly_ever_looked_at_singly(fresh: Any) -> None:
    story = told(fresh(), waits=300, interval=30, seconds=3000, read_end=False)
    assert story.gets < 0.3 * len(story.delays) + 60


def test_an_end_that_is_read_singly_costs_one_look(fresh: Any) -> None:
    story = told(fresh(), waits=100, interval=10, seconds=1200)
    assert len(story.delays) <= story.gets < 2 * len(story.delays) + 100
    assert story.p(0.95) < 6


KINDS: dict[str, dict[str, Any]] = {
    "pages from 0": {"first_page": 0},
    "page 0 is page 1": {"page_0": "same"},
    "page 0 stumbles": {"page_0": "fault"},
    "camel case": {"names": ("endTime", "createTime")},
    "no sorting at all": {"names": ()},
    "pages of 10": {"cap": 10},
    "pages of 50, counted as asked": {"cap": 50, "offset": "asked"},
    "50 at the most, else refused": {"largest": 50},
    "20 at the most, else refused": {"largest": 20},
    "ignores sorters": {"sorting": "none"},
    "any order": {"sorting": "shuffled"},
    "ignores filters": {"filters": False},
    "ignores filters, what runs comes first": {"filters": False, "nulls": "first"},
    "ignores windows": {"windows": False},
    "counts the page": {"count": "page"},
    "counts nothing": {"count": "none"},
    "times of another zone": {"shift": 8 * 3600.0},
    "ignores everything": {"sorting": "none", "filters": False, "windows": False, "count": "none", "cap": 50},
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_gateway_makes_it_wrong_or_worse_than_single_looks(fresh: Any, kind: str) -> None:
    story = told(fresh(**KINDS[kind]), waits=80, interval=10, seconds=900, others=300, read_end=False)
    assert story.requests <= 1.1 * story.single_looks
    assert max(story.delays) <= 110, "what a list does not show is looked at within ten intervals"
    assert story.p(0.9) <= 11


def hide_some(every: int) -> Any:
    def spoil(number: int, run: Run) -> None:
        run.is_hidden = number % every == 0

    return spoil


def other_type(number: int, run: Run) -> None:
    run.type = number % 3


def without_end_time(number: int, run: Run) -> None:
    run.shows_end = number % 4 != 0


def late(seconds: float) -> Any:
    def spoil(number: int, run: Run) -> None:
        run.lags = seconds if number % 5 == 0 else 0.0

    return spoil


@pytest.mark.parametrize(
    ("spoil", "longest"),
    [
        (hide_some(1), 11),
        (hide_some(10), 40),
        (other_type, 110),
        (without_end_time, 110),
        (late(4), 110),
        (late(60), 110),
    ],
    ids=["lists nothing", "hides some", "types", "no end times", "4 s late", "60 s late"],
)
def test_single_looks_find_what_the_lists_do_not_show(fresh: Any, spoil: Any, longest: float) -> None:
    story = told(fresh(), waits=80, interval=10, seconds=2400, spoil=spoil, read_end=False)
    assert story.requests <= 1.15 * story.single_looks
    assert story.p(0.95) <= longest
    assert max(story.delays) <= 5 * longest


def test_lists_that_are_out_of_date_are_noticed(fresh: Any) -> None:
    """For 50 minutes they show a part of what has ended as running."""
    story = told(fresh(), waits=80, interval=10, seconds=6000, spoil=late(3000), read_end=False)
    learned = Story(story.delays[len(story.delays) // 2 :], 0, 0, 0)
    assert learned.p(0.9) <= 25
    assert learned.p(0.8) <= 11
    assert story.requests <= 1.15 * story.single_looks


def test_a_miss_shrinks_the_trust_at_once(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[float] = []
    was_wrong = feed_module.EndFeedReader.was_wrong

    async def noted(feed: feed_module.EndFeedReader, times: int = 1) -> None:
        await was_wrong(feed, times)
        levels.append(feed.patience)

    monkeypatch.setattr(feed_module.EndFeedReader, "was_wrong", noted)
    story = told(fresh(), waits=60, interval=10, seconds=2000, spoil=without_end_time, read_end=False)
    assert levels
    assert set(levels) == {1.0}
    # A quarter of the ends have no time, and are found out within a few looks.
    assert story.p(0.95) < 60


@pytest.mark.parametrize("error", [EnosAccessError, EnosServerError, EnosRateLimitError, EnosAuthError])
def test_lists_that_are_refused(fresh: Any, error: Any) -> None:
    tenant = fresh()
    tenant.errors["list"] = api_error(error)
    story = told(tenant, waits=100, interval=10, seconds=1000)
    assert story.requests <= 1.1 * story.single_looks + 100
    assert max(story.delays) <= 11


def test_lists_that_never_come(fresh: Any) -> None:
    tenant = fresh()
    tenant.slow["list"] = 10_000.0
    story = told(tenant, waits=100, interval=10, seconds=1000)
    assert story.p(0.9) <= 11
    assert max(story.delays) <= 20


def test_a_feed_that_fails_for_a_while_is_read_again(fresh: Any) -> None:
    tenant = fresh()

    async def main() -> Story:
        async def trouble() -> None:
            for _ in range(4):
                await asyncio.sleep(300)
                tenant.errors["list"] = api_error(EnosServerError)
                await asyncio.sleep(60)
                tenant.errors.clear()

        troubling = asyncio.create_task(trouble())
        story = await live(tenant, waits=200, interval=10, seconds=2000, read_end=False)
        await troubling
        return story

    story = run_virtually(main())
    assert max(story.delays) <= 30
    assert story.requests < story.single_looks / 3


def test_a_list_that_is_long_once_delays_no_wait_for_long(fresh: Any) -> None:
    """1,500 others end at once, 30 pages: no wait is told later than if each looked for itself, and soon as before."""
    tenant = fresh(cap=50)

    async def main() -> Story:
        async def midnight() -> None:
            await asyncio.sleep(600)
            for _ in range(1_500):
                tenant.end(tenant.start(-5))

        ending = asyncio.create_task(midnight())
        story = await live(tenant, waits=150, interval=10, seconds=1200, read_end=False)
        await ending
        return story

    story = run_virtually(main())
    assert max(story.delays) <= 25
    assert story.requests < story.single_looks / 4


def test_a_deadline_holds_while_a_look_hangs_and_while_lists_never_end(fresh: Any) -> None:
    tenant = fresh(cap=10, count="none")

    async def main() -> list[float]:
        poller = Poller(SETTINGS)
        for _ in range(3000):
            tenant.end(tenant.start(-5))
        tenant.slow = {"get": 1000.0, "list": 1.0}
        begun, late = tenant.now(), []

        async def wait(run: Run) -> None:
            with pytest.raises(EnosFlowTimeoutError):
                await tenant.wait(poller, run, 10.0, deadline=60.0)
            late.append(tenant.now() - begun - 60.0)

        await asyncio.gather(*(wait(tenant.start()) for _ in range(60)))
        await poller.close()
        return late

    late = run_virtually(main())
    assert len(late) == 60
    assert max(late) <= 11


def test_an_end_that_a_single_look_has_denied_does_not_count_again(fresh: Any) -> None:
    """The list still shows the end of the earlier run; a wait for the new run does not end with it."""
    tenant = fresh()

    async def main() -> tuple[float, int]:
        poller = Poller(SETTINGS)
        crowd = [asyncio.create_task(tenant.wait(poller, tenant.start())) for _ in range(40)]
        run = tenant.start()
        waiting = asyncio.create_task(tenant.wait(poller, run, read_end=False))
        await asyncio.sleep(100)
        tenant.end(run, "FAIL")
        assert (await waiting)[0].status.name == "FAIL"
        await asyncio.sleep(60)
        # It runs again, and the list does not know for an hour.
        tenant.code = lambda one: "RUNNING" if one is run and run.status == "FAIL" else one.status
        before = tenant.asked["get"]
        again = asyncio.create_task(tenant.wait(poller, run, read_end=False))
        await asyncio.sleep(600)
        assert not again.done()
        looks = tenant.asked["get"] - before
        tenant.end(run)
        _, delay = await again
        for task in crowd:
            task.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
        await poller.close()
        return delay, looks

    delay, looks = run_virtually(main())
    assert delay <= 31
    assert looks < 600


def test_an_end_that_only_the_list_has_costs_the_feed_its_trust(fresh: Any) -> None:
    tenant = fresh()

    async def main() -> tuple[float, int, float]:
        poller = Poller(SETTINGS)
        runs = [tenant.start() for _ in range(60)]
        waits = [asyncio.create_task(tenant.wait(poller, run, 30.0)) for run in runs]
        await asyncio.sleep(60)
        for run in runs[1:20]:
            tenant.end(run)
            await asyncio.sleep(10)
        assert poller.feed.patience == 10.0
        # In the list it has ended, and it has not.
        tenant.end(runs[0])
        tenant.code = lambda one: "RUNNING" if one is runs[0] else one.status
        before = tenant.asked["get"]
        await asyncio.sleep(40)
        patience, looks = poller.feed.patience, tenant.asked["get"] - before
        assert not waits[0].done()
        await asyncio.sleep(200)
        tenant.code = lambda one: one.status
        ended = tenant.now()
        await waits[0]
        late = tenant.now() - ended
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        await poller.close()
        return patience, looks, late

    patience, looks, late = run_virtually(main())
    assert patience < 2.0
    assert looks < 30
    assert late <= 31


def test_an_end_during_a_look_does_not_cost_the_feed_its_trust(fresh: Any) -> None:
    """The poll was sent before the end, so it does not contradict the list."""
    tenant = fresh()

    async def main() -> tuple[float, float]:
        poller = Poller(SETTINGS)
        runs = [tenant.start() for _ in range(60)]
        waits = [asyncio.create_task(tenant.wait(poller, run, 30.0)) for run in runs]
        await asyncio.sleep(60)
        for run in runs[1:20]:
            tenant.end(run)
            await asyncio.sleep(10)
        tenant.slow["get"] = 40.0
        wait = poller._waits[runs[0].id][0]
        poller._hurry(wait)
        await asyncio.sleep(1)
        tenant.end(runs[0])
        await asyncio.sleep(36)
        tenant.slow.clear()
        _, late = await waits[0]
        for one in waits:
            one.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        patience = poller.feed.patience
        await poller.close()
        return late, patience

    late, patience = run_virtually(main())
    assert late < 45
    assert patience == 10.0


def test_a_wait_does_not_rely_on_the_feed_for_earlier_ends(fresh: Any) -> None:
    """The feed has earned trust, and is then not read for a while, since there are few waits."""
    tenant = fresh(first_page=0)

    async def main() -> float:
        poller = Poller(SETTINGS)
        for _ in range(40):
            run = tenant.start()
            run.status, run.ended = "SUCCESS", tenant.now()
        crowd = [tenant.start() for _ in range(60)]
        waits = [asyncio.create_task(tenant.wait(poller, run, 30.0, read_end=False)) for run in crowd]
        await asyncio.sleep(60)
        for run in crowd:
            tenant.end(run)
            await asyncio.sleep(5)
        await asyncio.gather(*waits)
        assert poller.feed._trust.level == 10.0
        await asyncio.sleep(100)
        missed = [tenant.start() for _ in range(30)]
        for run in missed:
            tenant.end(run)
        await asyncio.sleep(5)
        for _ in range(300):
            tenant.end(tenant.start())
        begun = tenant.now()
        await asyncio.gather(*(tenant.wait(poller, run, 30.0, read_end=False) for run in missed))
        late = tenant.now() - begun
        await poller.close()
        return late

    assert run_virtually(main()) <= 31


def test_ends_while_no_triggerer_ran_do_not_cost_the_feed_its_trust(fresh: Any) -> None:
    tenant = fresh()

    async def main() -> tuple[float, float]:
        poller = Poller(SETTINGS)
        for _ in range(60):
            run = tenant.start()
            run.status, run.ended = "SUCCESS", tenant.now() - 10
        over = [tenant.start() for _ in range(40)]
        for run in over:
            run.status, run.ended = "SUCCESS", tenant.now() - 100
        runs = [tenant.start() for _ in range(60)]
        waits = [asyncio.create_task(tenant.wait(poller, run, 30.0, read_end=False)) for run in over + runs]
        for run in runs[:20]:
            await asyncio.sleep(5)
            tenant.end(run)
        await asyncio.gather(*waits[: len(over)])
        took, patience = tenant.now(), poller.feed.patience
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        await poller.close()
        return took, patience

    _, patience = run_virtually(main())
    assert patience == 10.0


@pytest.mark.parametrize("lasts", [3, 10, 25, 60])
def test_one_young_wait(fresh: Any, lasts: float) -> None:
    tenant = fresh()

    async def main() -> tuple[float, int]:
        poller = Poller(SETTINGS)
        run = tenant.start()
        ending = asyncio.create_task(tenant.run_for(run, lasts))
        waiting = asyncio.create_task(tenant.wait(poller, run, 30.0))
        await asyncio.sleep(30)
        looks = tenant.asked["get"]
        _, delay = await waiting
        await ending
        await poller.close()
        return delay, looks

    delay, looks = run_virtually(main())
    assert delay <= max(2.0, lasts / 3) + 0.3
    assert looks <= 8


def test_many_young_waits_together_get_twice_the_looks_of_the_interval(fresh: Any) -> None:
    """Lists are refused, so each wait has to be polled singly."""
    tenant = fresh()
    tenant.errors["list"] = api_error(EnosAccessError, 62103)

    async def main() -> int:
        poller = Poller(SETTINGS)
        waits = [asyncio.create_task(tenant.wait(poller, tenant.start(), 30.0)) for _ in range(100)]
        await asyncio.sleep(120)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        await poller.close()
        return tenant.asked["get"]

    assert run_virtually(main()) <= 2 * 100 * 120 / 30


def test_an_instance_that_nobody_has_looked_at_is_looked_at_at_once(fresh: Any) -> None:
    tenant = fresh()

    async def main() -> float:
        poller = Poller(SETTINGS)
        run = tenant.start()
        tenant.end(run)
        begun = tenant.now()
        await tenant.wait(poller, run, 30.0, at_once=True)
        await poller.close()
        return tenant.now() - begun

    assert run_virtually(main()) < 0.2


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    options=st.fixed_dictionaries(
        {
            "first_page": st.sampled_from([0, 1]),
            "page_0": st.sampled_from(["refused", "fault", "empty", "same"]),
            "cap": st.sampled_from([10, 50, 10**6]),
            "offset": st.sampled_from(["asked", "given"]),
            "largest": st.sampled_from([20, 50, 10**6]),
            "names": st.sampled_from([(), ("end_time", "create_time"), ("endTime", "createTime")]),
            "sorting": st.sampled_from(["asked", "none", "shuffled"]),
            "nulls": st.sampled_from(["first", "last"]),
            "filters": st.booleans(),
            "windows": st.booleans(),
            "count": st.sampled_from(["total", "page", "none"]),
        }
    ),
    hidden=st.sampled_from([0, 2, 7]),
    lags=st.sampled_from([0.0, 3.0, 40.0]),
    untimed=st.sampled_from([0, 3]),
    types=st.sampled_from([1, 2, 3]),
    seed=st.integers(0, 1000),
)
def test_any_gateway(
    fresh: Any, options: dict[str, Any], hidden: int, lags: float, untimed: int, types: int, seed: int
) -> None:
    def spoil(number: int, run: Run) -> None:
        run.is_hidden = bool(hidden) and number % hidden == 0
        run.lags = lags if number % 2 else 0.0
        run.shows_end = not (untimed and number % untimed == 0)
        run.type = number % types

    story = told(
        fresh(**options), waits=50, interval=10, seconds=600, others=100, seed=seed, spoil=spoil, lasts=(5.0, 900.0)
    )
    assert story.requests <= 1.3 * story.single_looks + 200
    assert max(story.delays) <= 410
    assert story.p(0.8) <= 60
