"""Polling many waits by one list of what runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fake_tenant import FakeTenant, api_error
from lists import Run
from virtual_time import run as run_virtually
from worker import Log

from airflow_provider_enos.client.polling.running_list import RunningList
from airflow_provider_enos.client.polling.wait import Wait
from airflow_provider_enos.errors import EnosAccessError
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.trigger_time import minute_of_id


class Scene:
    """A tenant, and the list of what runs in it."""

    def __init__(self, tenant: FakeTenant) -> None:
        self.tenant = tenant
        self.seen: dict[str, str] = {}
        self.list = RunningList(tenant.run, self.see)

    def see(self, type: int, instance: FlowInstance) -> None:
        self.seen[instance.flow_instance_id] = instance.status.name

    def start(self, count: int, **options: Any) -> list[Wait]:
        return [self.wait_for(self.tenant.start(**options)) for _ in range(count)]

    def end(self, wait: Wait) -> None:
        self.tenant.end(self.tenant.lists.runs[wait.id])

    def wait_for(self, run: Run) -> Wait:
        return Wait(
            watch=InstanceWatch(run.id, tolerance=5.0, log=Log()),
            poll_interval=10.0,
            deadline=self.tenant.now() + 1000,
            reads_end=False,
            result=asyncio.get_running_loop().create_future(),
            minute=minute_of_id(run.id),
            begun=0.0,
            seen=0.0,
        )


@pytest.fixture
def play(fresh: Callable[..., FakeTenant], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Plays a scene on virtual time, without single looks by chance."""

    def play(work: Callable[[Scene], Any], **options: Any) -> Scene:
        async def main() -> Scene:
            scene = Scene(fresh(**{"first_page": 0, **options}))
            monkeypatch.setattr("random.random", lambda: 0.99)
            await work(scene)
            return scene

        return run_virtually(main())

    return play


def test_one_page_answers_for_many(play: Any) -> None:
    async def work(scene: Scene) -> None:
        waits = scene.start(100)
        assert await scene.list.show(waits) == set(waits)
        assert scene.tenant.asked["list"] == 1

    assert set(play(work).seen.values()) == {"RUNNING"}


def test_a_page_does_not_pay_for_few_waits(play: Any) -> None:
    async def work(scene: Scene) -> None:
        assert await scene.list.show(scene.start(4)) == set()
        assert scene.tenant.asked["list"] == 0

    play(work)


def test_what_it_does_not_show_is_left_to_single_looks(play: Any) -> None:
    async def work(scene: Scene) -> None:
        waits = scene.start(50)
        for wait in waits[:20]:
            scene.end(wait)
        assert await scene.list.show(waits) == set(waits[20:])
        # They may be of another type, so all lists are read; then they count as not listed.
        assert [wait.is_unlisted for wait in waits] == [True] * 20 + [False] * 30
        assert {body["type"] for body in scene.tenant.lists.asked} == {0, 1, 2}

    play(work)


def test_each_type_is_asked_where_it_is_needed(play: Any) -> None:
    async def work(scene: Scene) -> None:
        waits = [*scene.start(20, type=2), *scene.start(20, type=1)]
        assert await scene.list.show(waits) == set(waits)
        scene.tenant.lists.asked.clear()
        for wait in waits:
            wait.type = scene.tenant.lists.runs[wait.id].type
        assert await scene.list.show(waits[:20]) == set(waits[:20])
        assert {body["type"] for body in scene.tenant.lists.asked} == {2}

    play(work)


def test_a_list_that_does_not_pay_is_not_read_for_a_while(play: Any) -> None:
    async def work(scene: Scene) -> None:
        waits = scene.start(10, is_hidden=True)
        scene.start(1000)
        assert await scene.list.show(waits) == set()
        assert scene.tenant.asked["list"] <= 2, "no more than a fifth of the looks that it could have saved"
        assert not scene.list.is_ready
        await asyncio.sleep(6)
        assert scene.list.is_ready

    play(work)


def test_a_list_that_is_refused_or_never_comes(play: Any) -> None:
    async def work(scene: Scene) -> None:
        waits = scene.start(50)
        scene.tenant.errors["list"] = api_error(EnosAccessError, 62103)
        assert await scene.list.show(waits) == set()
        await asyncio.sleep(50)
        assert not scene.list.is_ready
        await asyncio.sleep(20)
        scene.tenant.errors.clear()
        scene.tenant.slow["list"] = 1000.0
        begun = scene.tenant.now()
        assert await scene.list.show(waits) == set()
        assert scene.tenant.now() - begun <= 15
        await asyncio.sleep(110)
        assert not scene.list.is_ready

    play(work)


def test_waits_that_need_nodes_or_name_no_minute_are_never_listed(play: Any) -> None:
    async def work(scene: Scene) -> None:
        waits = scene.start(20)
        for wait in waits[:5]:
            wait.minute = None
        for wait in waits[5:10]:
            wait.deadline = 0.0
        assert await scene.list.show(waits) == set(waits[10:])

    play(work)


def test_a_list_that_is_out_of_date_loses_its_trust(play: Any) -> None:
    async def work(scene: Scene) -> None:
        waits = scene.start(60)
        for wait in waits[:10]:
            scene.tenant.lists.runs[wait.id].lags = 1000.0
            scene.end(wait)
            scene.list.found(wait.id)
        assert len(await scene.list.show(waits)) == 60
        assert scene.list._freshness.level == 20, "it may take some seconds"
        await asyncio.sleep(10)
        await scene.list.show(waits)
        assert scene.list._freshness.level == 1
        assert await scene.list.show(waits) == set(), "each is looked at singly"

    play(work)
