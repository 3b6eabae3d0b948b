"""How long a flow usually takes: of what one list says, and nothing where it says too little."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from viewed import Viewed

from airflow_provider_enos.plugins.view import usual as module
from airflow_provider_enos.plugins.view.lookups import FRESH_ENDED, Lookups, Source
from airflow_provider_enos.plugins.view.picture import Json
from airflow_provider_enos.plugins.view.usual import FRESH_USUAL, MOST_REQUESTS, UsualTimes, usual_of, words
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.simulator.flows import Node

TRIGGER_TIME = 1594016819108
MINUTE, DAY = 60_000, 86_400_000
SECONDS = 40.0 + 20.0
"""What an instance of the flow takes."""


class Viewer(Viewed):
    """Somebody who looks at instances of a gateway."""

    def run(self, play: Callable[[Callable[[str], Coroutine[Any, Any, Json]]], Coroutine[Any, Any, Any]]) -> Any:
        """Run what is given a way to look at an instance, on an event loop of its own."""

        async def all_of_it() -> Any:
            lookups = Lookups(self.settings_of, self.clock)
            usual_times = UsualTimes(lookups)

            async def look(flow_instance_id: str) -> Json:
                source = Source("enos_default", None, None, None, flow_instance_id)
                seen = await lookups.instance(source)
                assert isinstance(seen, dict), seen
                return await usual_times.added_to(seen, source)

            return await play(look)

        return asyncio.run(all_of_it())

    def look(self, flow_instance_id: str) -> Json:
        return dict(self.run(lambda look: look(flow_instance_id)))


@pytest.fixture
def viewer(sim: EnosSimulator) -> Viewer:
    sim.add_flow(8101, name="readings", type=1, tasks={1: Node("a", 40), 2: Node("b", 20)}, progress="nodes")
    return Viewer(sim)


def run_before(sim: EnosSimulator, number: int) -> None:
    """Let the flow run on as many days before."""
    (flow,) = (one for one in sim.flows if one.flow_id == 8101)
    for day in range(1, number + 1):
        sim._state.instances.add_past(flow, TRIGGER_TIME - day * DAY)


def lists(sim: EnosSimulator) -> int:
    return sim.count("flowInstances/search")


def test_it_is_the_median_of_what_ran_before(viewer: Viewer, sim: EnosSimulator) -> None:
    run_before(sim, 5)
    seen = viewer.look(sim.trigger(8101, trigger_time=TRIGGER_TIME).id)
    assert (seen["usual"], seen["usual_words"]) == (SECONDS, "60 s")
    assert ("Time taken", "usually 60 s") in seen["facts"]


@pytest.mark.parametrize("number", [0, 2])
def test_with_fewer_than_three_nothing_is_said(viewer: Viewer, sim: EnosSimulator, number: int) -> None:
    run_before(sim, number)
    assert "usual" not in viewer.look(sim.trigger(8101, trigger_time=TRIGGER_TIME).id)


def test_the_instance_itself_and_other_flows_do_not_count(viewer: Viewer, sim: EnosSimulator) -> None:
    """The list matches all ids that contain the id of the flow."""
    sim.add_flow(81010, name="readings", progress="at_once", tasks={3: "c"})
    for minute in range(5):
        sim.trigger(81010, trigger_time=TRIGGER_TIME - minute * MINUTE)
    run_before(sim, 3)
    (one, *_) = sim.instances_of(8101)
    assert "usual" not in viewer.look(one.id)
    assert viewer.look(sim.trigger(8101, trigger_time=TRIGGER_TIME).id)["usual"] == SECONDS


def test_instances_that_failed_do_not_count(viewer: Viewer, sim: EnosSimulator) -> None:
    run_before(sim, 2)
    failed = sim.trigger(8101, trigger_time=TRIGGER_TIME - MINUTE)
    sim.finish(failed.id, "FAIL")
    assert "usual" not in viewer.look(sim.trigger(8101, trigger_time=TRIGGER_TIME).id)


def test_it_is_asked_for_once_in_ten_minutes_for_all_who_look(viewer: Viewer, sim: EnosSimulator) -> None:
    run_before(sim, 4)
    ids = [sim.trigger(8101, trigger_time=TRIGGER_TIME + minute * MINUTE).id for minute in range(2)]

    async def play(look: Callable[[str], Coroutine[Any, Any, Json]]) -> list[int]:
        counts = []
        for pause in (0.0, FRESH_ENDED + 1, FRESH_USUAL):
            viewer.clock.now += pause
            seen = await asyncio.gather(*map(look, ids * 3))
            assert [one["usual"] for one in seen] == [SECONDS] * 6
            counts.append(lists(sim))
        return counts

    first, second, third = viewer.run(play)
    # Manual ones, of which there are none, and periodic ones; for each type page 0, which is refused, and page 1.
    assert first == 4
    assert (second, third) == (first, 2 * first)


@pytest.mark.parametrize(
    "switches", [{"first_page": 0}, {"first_page": 1}, {"ids_as": "str", "listed_type": 2}], ids=str
)
def test_however_enos_numbers_its_pages(viewer: Viewer, sim: EnosSimulator, switches: dict[str, object]) -> None:
    sim.switch(switches)
    run_before(sim, 3)
    assert viewer.look(sim.trigger(8101, trigger_time=TRIGGER_TIME).id)["usual"] == SECONDS
    assert lists(sim) <= MOST_REQUESTS


@pytest.mark.parametrize("fault", ["internal_error", "dropped", "not_json", "http_429", "http_403", "missing_status"])
def test_a_refusal_shows_nothing_and_is_not_asked_for_again(viewer: Viewer, sim: EnosSimulator, fault: str) -> None:
    run_before(sim, 4)
    name = sim.trigger(8101, trigger_time=TRIGGER_TIME).id
    sim.fault(fault, on="flowInstances/search", times=None)

    async def play(look: Callable[[str], Coroutine[Any, Any, Json]]) -> list[int]:
        counts = []
        for _ in range(3):
            seen = await look(name)
            assert seen["kind"] == "instance"
            assert "usual" not in seen
            counts.append(lists(sim))
            viewer.clock.now += FRESH_ENDED + 1
        return counts

    counts = viewer.run(play)
    assert len(set(counts)) == 1
    assert counts[0] <= 2 * MOST_REQUESTS, "each may be sent twice"


def test_a_list_that_takes_long_does_not_keep_the_picture_waiting(
    viewer: Viewer, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    run_before(sim, 4)
    name = sim.trigger(8101, trigger_time=TRIGGER_TIME).id
    sim.finish(name, "SUCCESS")
    sim.fault("slow", on="flowInstances/search", seconds=0.5, times=1)

    async def play(look: Callable[[str], Coroutine[Any, Any, Json]]) -> list[Json]:
        first = await look(name)
        await asyncio.sleep(1.0)
        return [first, await look(name)]

    first, second = viewer.run(play)
    assert "usual" not in first
    assert first["refresh"], "so that the page asks again"
    assert (second["usual"], second["refresh"]) == (SECONDS, None)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 s"),
        (42, "42 s"),
        (99, "99 s"),
        (2520, "42 min"),
        (2549, "42 min"),
        (5970, "1 h 40 min"),
        (90000, "25 h 0 min"),
    ],
)
def test_it_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert words(seconds) == said


@pytest.mark.parametrize("trigger_time", ["", "x", "0001-01-01 00:00:00", "9999-12-31 23:59:59"])
def test_a_trigger_time_that_makes_no_sense_is_now(trigger_time: str) -> None:
    assert module._month_of(trigger_time) == module._month_of(None)


def test_the_median_of_an_even_number_lies_between() -> None:
    assert usual_of({"a": 1.0, "b": 2.0, "c": 4.0, "d": 100.0, "own": 7.0}, "own") == 3.0
