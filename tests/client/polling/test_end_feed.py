"""The feed of ends: when it is read, which subscribers it calls, and how far waits may rely on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fake_tenant import FIRST, FakeTenant, api_error
from lists import Lists, Run
from virtual_time import run as run_virtually

from airflow_provider_enos.client.polling.end_feed import MANY, EndFeedReader, Subscription
from airflow_provider_enos.errors import EnosRateLimitError, EnosServerError
from airflow_provider_enos.protocol.models import FlowInstance

MINUTE = 60_000


class Scene:
    """The feed of a tenant, and its subscribers."""

    def __init__(self, tenant: FakeTenant) -> None:
        self.tenant = tenant
        self.losses = 0
        self.told: list[tuple[str | int, str]] = []
        self.feed = EndFeedReader(tenant.run, self.lost)
        self.subscriptions: dict[str | int, Subscription] = {}

    async def lost(self) -> None:
        self.losses += 1

    def want(self, of: str | int, minute: int | None = FIRST, **options: Any) -> Subscription:
        def told(instance: FlowInstance) -> None:
            self.told.append((of, instance.status.name))

        changed = {"looks": 1, "poll_interval": 10.0, "types": None, **options}
        end = None if minute is None else minute + MINUTE
        subscription = self.subscriptions[of] = Subscription(of=of, first=minute, end=end, on_end=told, **changed)
        self.feed.add(subscription)
        return subscription

    def start(self, count: int, **options: Any) -> list[Run]:
        runs = [self.tenant.start(**options) for _ in range(count)]
        for run in runs:
            self.want(run.id)
        return runs


@pytest.fixture
def play(fresh: Callable[..., FakeTenant]) -> Callable[..., Any]:
    """Plays a scene on virtual time."""

    def play(work: Callable[[Scene], Any], **options: Any) -> Scene:
        async def main() -> Scene:
            scene = Scene(fresh(**{"first_page": 0, **options}))
            await work(scene)
            await scene.feed.close()
            return scene

        return run_virtually(main())

    return play


def test_the_feed_is_read_only_for_many_subscriptions(play: Any) -> None:
    async def work(scene: Scene) -> None:
        scene.start(MANY - 1)
        await asyncio.sleep(60)
        assert scene.tenant.asked["list"] == 0
        scene.start(1)
        await asyncio.sleep(60)
        assert scene.tenant.asked["list"] > 0
        for subscription in list(scene.subscriptions.values())[:5]:
            scene.feed.remove(subscription)
        await asyncio.sleep(30)
        before = scene.tenant.asked["list"]
        await asyncio.sleep(60)
        assert scene.tenant.asked["list"] == before
        assert scene.feed.patience == 1.0

    play(work)


def test_each_subscriber_is_called_for_its_own_instance(play: Any) -> None:
    async def work(scene: Scene) -> None:
        runs = scene.start(30)
        scene.want(int(runs[3].id.partition("-")[0]))
        scene.want(4, types=(1,))
        await asyncio.sleep(30)
        scene.tenant.end(runs[3], "FAIL")
        scene.tenant.lists.add(Run("4-20250101000000", FIRST, 0.0, status="SUCCESS", ended=scene.tenant.now()))
        await asyncio.sleep(30)

    told = set(play(work).told)
    assert {type(of) for of, _ in told} == {str, int}
    assert {status for _, status in told} == {"FAIL"}
    assert len(told) == 2


def test_the_subscriber_of_a_flow_is_called_once_for_each_end(play: Any) -> None:
    async def work(scene: Scene) -> None:
        scene.start(30)
        run = scene.tenant.start()
        scene.want(int(run.id.partition("-")[0]))
        await asyncio.sleep(30)
        scene.tenant.end(run)
        await asyncio.sleep(100)
        run.status = "RERUN"
        await asyncio.sleep(30)
        scene.tenant.end(run, "FAIL")
        await asyncio.sleep(100)

    assert [status for _, status in play(work).told] == ["SUCCESS", "FAIL"]


def test_patience_grows_with_shown_ends_and_is_lost_with_a_missed_one(play: Any) -> None:
    async def work(scene: Scene) -> None:
        runs = scene.start(60)
        await asyncio.sleep(30)
        assert scene.feed.patience == 1.0
        for run in runs[:4]:
            scene.tenant.end(run)
            await asyncio.sleep(10)
        assert scene.feed.patience == 5.0
        runs[10].shows_end = False
        scene.tenant.lists.runs[runs[10].id].is_hidden = True
        scene.tenant.end(runs[10])
        scene.feed.found(runs[10].id)
        await asyncio.sleep(30)
        assert scene.feed.patience == 1.0
        assert scene.losses == 1

    play(work)


def test_an_end_that_is_shown_a_little_later_is_not_missed(play: Any) -> None:
    async def work(scene: Scene) -> None:
        runs = scene.start(60)
        await asyncio.sleep(30)
        for run in runs[:10]:
            scene.tenant.end(run)
            scene.feed.found(run.id)
            await asyncio.sleep(3)
        await asyncio.sleep(20)
        assert scene.feed.patience == 10.0
        assert scene.losses == 0

    play(work)


def test_there_is_no_patience_while_the_feed_fails(play: Any) -> None:
    async def work(scene: Scene) -> None:
        runs = scene.start(60)
        await asyncio.sleep(30)
        for run in runs[:9]:
            scene.tenant.end(run)
        await asyncio.sleep(30)
        assert scene.feed.patience == 10.0
        sound_since = scene.feed.sound_since
        scene.tenant.errors["list"] = api_error(EnosServerError)
        await asyncio.sleep(60)
        assert scene.feed.patience == 1.0
        assert not scene.feed.covers(FIRST, FIRST)
        assert scene.losses == 1
        scene.tenant.errors.clear()
        await asyncio.sleep(90)
        assert scene.feed.patience == 10.0
        assert scene.feed.sound_since > sound_since + 60

    play(work)


def test_the_window_covers_the_next_day_and_not_the_far_past(play: Any) -> None:
    async def work(scene: Scene) -> None:
        scene.start(30)
        await asyncio.sleep(60)
        day = 86_400_000
        assert scene.feed.covers(FIRST, FIRST + MINUTE)
        assert scene.feed.covers(FIRST + day // 2, FIRST + day // 2 + MINUTE)
        assert not scene.feed.covers(FIRST - 3 * day, FIRST - 3 * day + MINUTE)
        assert not scene.feed.covers(None, None)
        scene.want("1-2", FIRST - 3 * day)
        await asyncio.sleep(60)
        assert scene.feed.covers(FIRST - 3 * day, FIRST - 3 * day + MINUTE)

    play(work)


def test_types_without_a_subscription_are_not_read(play: Any) -> None:
    async def work(scene: Scene) -> None:
        runs = scene.start(60)
        await asyncio.sleep(60)
        assert {body["type"] for body in scene.tenant.lists.asked} == {0, 1, 2}
        scene.tenant.end(runs[0])
        await asyncio.sleep(60)
        scene.tenant.lists.asked.clear()
        await asyncio.sleep(60)
        assert {body["type"] for body in scene.tenant.lists.asked} == {0}
        scene.want(77, types=(1,))
        await asyncio.sleep(60)
        assert {body["type"] for body in scene.tenant.lists.asked} == {0, 1}

    play(work)


def test_more_waits_make_more_reads_up_to_one_in_2_seconds(play: Any) -> None:
    counted = {}

    async def work(scene: Scene) -> None:
        scene.feed.shown_under(0)
        scene.tenant.end(scene.tenant.start())
        for waits in (20, 40, 200, 1000):
            scene.start(waits - len(scene.subscriptions))
            await asyncio.sleep(60)
            before = scene.tenant.asked["list"]
            await asyncio.sleep(600)
            counted[waits] = scene.tenant.asked["list"] - before

    play(work)
    single_looks = {waits: waits * 60 for waits in counted}
    assert counted[20] >= 54, "no less often than once an interval"
    assert counted[20] - 5 <= counted[40] <= single_looks[40] / 36
    assert counted[200] <= single_looks[200] / 38
    assert 260 <= counted[1000] <= 300


def test_a_quota_slows_it_down(play: Any) -> None:
    async def work(scene: Scene) -> None:
        scene.start(400)
        scene.feed.shown_under(0)
        await asyncio.sleep(60)
        for _ in range(3):
            scene.tenant.errors["list"] = api_error(EnosRateLimitError, 429)
            await asyncio.sleep(70)
            scene.tenant.errors.clear()
            await asyncio.sleep(30)
        before = scene.tenant.asked["list"]
        await asyncio.sleep(20)
        slow = scene.tenant.asked["list"] - before
        await asyncio.sleep(600)
        before = scene.tenant.asked["list"]
        await asyncio.sleep(20)
        assert 2 * slow < scene.tenant.asked["list"] - before

    play(work)


def test_an_error_of_this_package_is_logged_and_waits_look_themselves(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(scene: Scene) -> None:
        runs = scene.start(60)
        await asyncio.sleep(30)
        for run in runs[:9]:
            scene.tenant.end(run)
        await asyncio.sleep(30)
        with monkeypatch.context() as patch:
            patch.setattr(Lists, "answer", lambda lists, call: 1 / 0)
            await asyncio.sleep(30)
        assert scene.feed.patience == 1.0
        assert scene.losses == 1

    play(work)


def test_a_subscription_may_move_on_to_other_trigger_times(play: Any) -> None:
    """So does one of a flow that is watched for days."""

    async def work(scene: Scene) -> None:
        for number in range(MANY):
            scene.want(1000 + number)
        await asyncio.sleep(10)
        later = FIRST + 10 * 86_400_000
        assert not scene.feed.covers(later, later + MINUTE)
        for subscription in scene.subscriptions.values():
            subscription.first, subscription.end = later, later + MINUTE
        await asyncio.sleep(120)
        assert scene.feed.covers(later, later + MINUTE)
        assert not scene.feed.covers(FIRST, FIRST + MINUTE)

    play(work)
