"""Many instances on one page: a few are asked for at a time, and all pages share what is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from viewed import Viewed

from airflow_provider_enos.plugins.view import briefs as module
from airflow_provider_enos.plugins.view.briefs import (
    FRESH_BRIEF,
    FRESH_BRIEF_ENDED,
    FRESH_BRIEF_PROBLEM,
    MOST_LOOKS,
    BriefLooks,
)
from airflow_provider_enos.plugins.view.lookups import Lookups, Problem, Source
from airflow_provider_enos.simulator import EnosSimulator

TRIGGER_TIME = 1594016819108


class Pages(Viewed):
    """Pages of DAG runs, and tabs, in one process."""

    def run(self, play: Callable[[Lookups, BriefLooks], Coroutine[Any, Any, Any]]) -> Any:
        async def all_of_it() -> Any:
            lookups = Lookups(self.settings_of, self.clock)
            return await play(lookups, BriefLooks(lookups, self.clock))

        return asyncio.run(all_of_it())


@pytest.fixture
def pages(sim: EnosSimulator) -> Pages:
    return Pages(sim)


@pytest.fixture
def many(sim: EnosSimulator) -> list[Source]:
    """The instances of thirty flows."""
    sources = []
    for flow_id in range(8200, 8230):
        sim.add_flow(
            flow_id, name=f"flow {flow_id}", tasks={flow_id * 10: "a", flow_id * 10 + 1: "b"}, progress="manual"
        )
        sources.append(source_of(sim.trigger(flow_id, trigger_time=TRIGGER_TIME).id))
    return sources


def source_of(flow_instance_id: str, **more: Any) -> Source:
    return Source("enos_default", None, None, None, flow_instance_id, **more)


def looks(sim: EnosSimulator) -> int:
    return sim.count("flowInstances/get")


def test_what_a_line_says(pages: Pages, sim: EnosSimulator) -> None:
    sim.add_flow(8201, name="readings", tasks={1: "ingest", 2: "clean", 3: "publish"}, progress="manual")
    instance = sim.trigger(8201, trigger_time=TRIGGER_TIME)
    sim.set_node_status(instance.id, 1, "SUCCESS")
    sim.set_node_status(instance.id, 2, "FAIL")
    (seen,) = pages.run(lambda _, brief_looks: brief_looks.of([source_of(instance.id)]))
    assert {name: seen[name] for name in ("flow_name", "nodes", "ended", "failed", "seconds", "has_stopped")} == {
        "flow_name": "readings",
        "nodes": 3,
        "ended": 2,
        "failed": ["clean"],
        "seconds": None,
        "has_stopped": True,
    }
    assert sim.count("taskInstances/get") == 0, "times of nodes are for the tab"


def test_a_few_are_asked_for_at_a_time(pages: Pages, sim: EnosSimulator, many: list[Source]) -> None:
    async def play(_: Lookups, brief_looks: BriefLooks) -> list[int]:
        known = []
        for _look in range(4):
            seen = await brief_looks.of(many)
            known.append(sum(one is not None for one in seen))
        return known

    assert pages.run(play) == [MOST_LOOKS, 2 * MOST_LOOKS, 30, 30]
    assert looks(sim) == 30


def test_all_who_look_share_what_is_known(pages: Pages, sim: EnosSimulator, many: list[Source]) -> None:
    few = many[:5]
    sim.finish(few[0].flow_instance_id, "SUCCESS")

    async def play(_: Lookups, brief_looks: BriefLooks) -> list[int]:
        counts = []
        for pause in (0.0, FRESH_BRIEF - 1, 2.0, FRESH_BRIEF_ENDED):
            pages.clock.now += pause
            found = await asyncio.gather(*(brief_looks.of(few) for _viewer in range(6)))
            assert all(seen == found[0] and None not in seen for seen in found)
            counts.append(looks(sim))
        return counts

    assert pages.run(play) == [5, 5, 9, 14]


def test_what_a_tab_has_just_seen_is_not_asked_for_again(pages: Pages, sim: EnosSimulator, many: list[Source]) -> None:
    async def play(lookups: Lookups, brief_looks: BriefLooks) -> Any:
        drawn = await lookups.instance(many[0])
        assert looks(sim) == 1
        (seen,) = await brief_looks.of(many[:1])
        return drawn, seen

    drawn, seen = pages.run(play)
    assert seen == drawn["brief"]
    assert looks(sim) == 1


def test_an_instance_of_another_flow_is_not_shown(pages: Pages, many: list[Source]) -> None:
    foreign = source_of(many[0].flow_instance_id, flow_id=8201)
    (seen,) = pages.run(lambda _, brief_looks: brief_looks.of([foreign]))
    assert isinstance(seen, Problem)
    assert "of another flow" in seen.message


def test_a_problem_of_one_is_not_a_problem_of_all(pages: Pages, many: list[Source]) -> None:
    unknown = source_of("8200-20200101000000")
    first, second = pages.run(lambda _, brief_looks: brief_looks.of([unknown, many[1]]))
    assert isinstance(first, Problem)
    assert second["flow_name"] == "flow 8201"


def test_a_gateway_that_hangs_does_not_hold_the_page_nor_pile_up(
    pages: Pages, sim: EnosSimulator, many: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    sim.fault("slow", on="flowInstances/get", seconds=1.0, times=None)

    async def play(_: Lookups, brief_looks: BriefLooks) -> int:
        for _look in range(5):
            assert await brief_looks.of(many) == [None] * 30
        return len(brief_looks._pending)

    assert pages.run(play) == MOST_LOOKS


def test_a_gateway_that_hangs_does_not_hold_up_what_is_known_or_elsewhere(
    pages: Pages, sim: EnosSimulator, many: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its page has taken all places that its connection has."""
    elsewhere = replace(many[29], conn_id="another")

    async def play(_: Lookups, brief_looks: BriefLooks) -> Any:
        known = await brief_looks.of(many[:2])
        sim.fault("slow", on="flowInstances/get", seconds=3.0, times=MOST_LOOKS)
        monkeypatch.setattr(module, "PATIENCE", 0.3)
        await brief_looks.of(many[2:])
        monkeypatch.setattr(module, "PATIENCE", 30.0)
        started = time.monotonic()
        assert await brief_looks.of(many[:2]) == known
        assert time.monotonic() - started < 1.0
        sim.clear_faults()
        return await brief_looks.of([elsewhere])

    (seen,) = pages.run(play)
    assert seen["flow_name"] == "flow 8229"


def test_a_problem_is_not_asked_for_at_each_look(pages: Pages, sim: EnosSimulator) -> None:
    async def play(_: Lookups, brief_looks: BriefLooks) -> list[int]:
        counts = []
        for pause in (0.0, FRESH_BRIEF_PROBLEM - 1, 2.0):
            pages.clock.now += pause
            (seen,) = await brief_looks.of([source_of("8200-20200101000000")])
            assert isinstance(seen, Problem)
            counts.append(looks(sim))
        return counts

    first, second, third = pages.run(play)
    assert first == second < third


def test_the_same_instance_of_many_tasks_is_asked_for_once(
    pages: Pages, sim: EnosSimulator, many: list[Source]
) -> None:
    seen = pages.run(lambda _, brief_looks: brief_looks.of([many[0]] * 50))
    assert len(seen) == 50
    assert looks(sim) == 1
