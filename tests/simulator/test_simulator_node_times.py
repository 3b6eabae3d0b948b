"""When the nodes of an instance start and end: the same story in every reply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fuzzing import hold
from hypothesis import strategies as st

from airflow_provider_enos.simulator import EnosSimulator, Node
from airflow_provider_enos.simulator.instances import Instance

BEGIN = 1_594_016_820_000
"""2020-07-06 06:27:00 UTC."""
DIAMOND = {
    "tasks": {
        1: Node("extract", seconds=20),
        2: Node("left", seconds=5),
        3: Node("right", seconds=30),
        4: Node("load", 10),
    },
    "relations": [(1, 2), (1, 3), (2, 4), (3, 4)],
}
SECONDS = "%Y-%m-%d %H:%M:%S"


class Clock:
    """The clock of a simulator, in milliseconds."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def diamond(clock: Clock) -> EnosSimulator:
    """A simulator with flow 9, which is not started: its clock is not that of any client."""
    sim = EnosSimulator()
    sim.now_ms = clock  # type: ignore[method-assign]
    sim.add_flow(9, **DIAMOND)  # type: ignore[arg-type]
    return sim


def spans(instance: Instance) -> dict[str, tuple[float | None, float | None]]:
    """The start and end of each node, in seconds from ``BEGIN``."""

    def seconds(moment: int | None) -> float | None:
        return None if moment is None else (moment - BEGIN) / 1000

    return {node.name: (seconds(node.started_at), seconds(node.ended_at)) for node in instance.nodes}


def test_each_node_starts_when_those_before_it_have_ended(diamond: EnosSimulator, clock: Clock) -> None:
    diamond.trigger(9)
    clock.now += 600_000
    (instance,) = diamond.instances
    assert spans(instance) == {"extract": (0, 20), "left": (20, 25), "right": (20, 50), "load": (50, 60)}
    assert (instance.started_at, instance.ended_at) == (BEGIN, BEGIN + 60_000)


@pytest.mark.parametrize("one_at_a_time", [True, False])
def test_it_is_true_while_it_runs(diamond: EnosSimulator, clock: Clock, one_at_a_time: bool) -> None:
    diamond.one_at_a_time = one_at_a_time
    diamond.trigger(9)
    clock.now += 30_000
    (instance,) = diamond.instances
    assert [node.status for node in instance.nodes] == ["SUCCESS", "SUCCESS", "RUNNING", "INIT"]
    assert spans(instance) == {"extract": (0, 20), "left": (20, 25), "right": (20, None), "load": (None, None)}
    assert (instance.status, instance.ended_at) == ("RUNNING", None)


def test_from_a_node_on(diamond: EnosSimulator, clock: Clock) -> None:
    diamond.trigger(9, 3)
    clock.now += 600_000
    (instance,) = diamond.instances
    assert spans(instance) == {"extract": (None, None), "left": (None, None), "right": (0, 30), "load": (30, 40)}
    assert instance.ended_at == BEGIN + 40_000


def test_a_failed_node_ends_when_it_fails(diamond: EnosSimulator, clock: Clock) -> None:
    """The instance shows FAIL from then on, and ends when the other branch has."""
    diamond.add_flow(9, **DIAMOND, ends_as="FAIL", failing_task=2)  # type: ignore[arg-type]
    diamond.trigger(9)
    clock.now += 26_000
    (instance,) = diamond.instances
    assert (instance.status, instance.ended_at) == ("FAIL", None)
    assert spans(instance)["left"] == (20, 25)
    assert [node.status for node in instance.nodes] == ["SUCCESS", "FAIL", "RUNNING", "INIT"]
    clock.now += 600_000
    (instance,) = diamond.instances
    assert spans(instance) == {"extract": (0, 20), "left": (20, 25), "right": (20, 50), "load": (None, None)}
    assert (instance.status, instance.ended_at) == ("FAIL", BEGIN + 50_000)


@pytest.mark.parametrize("status", ["TIMEOUT", "CANCEL", "INTERNAL_ERROR"])
def test_a_node_that_times_out_runs_until_the_instance_ends(diamond: EnosSimulator, clock: Clock, status: str) -> None:
    diamond.add_flow(9, **DIAMOND, ends_as=status, failing_task=2)  # type: ignore[arg-type]
    diamond.trigger(9)
    clock.now += 40_000
    assert [node.status for node in diamond.instances[0].nodes] == ["SUCCESS", "RUNNING", "RUNNING", "INIT"]
    clock.now += 600_000
    (instance,) = diamond.instances
    assert spans(instance)["left"] == (20, 50)
    assert [node.status for node in instance.nodes] == ["SUCCESS", status, "SUCCESS", "INIT"]


def test_a_cancel_stops_what_runs(diamond: EnosSimulator, clock: Clock) -> None:
    """However late somebody looks."""
    diamond.cancel_takes = 22
    diamond._state.instances.cancel(diamond.trigger(9).id)
    clock.now += 600_000
    (instance,) = diamond.instances
    assert spans(instance) == {"extract": (0, 20), "left": (20, 22), "right": (20, 22), "load": (None, None)}
    assert [node.status for node in instance.nodes] == ["SUCCESS", "CANCEL", "CANCEL", "CANCEL"]
    assert instance.ended_at == BEGIN + 22_000


def test_skipped_nodes_have_no_times(diamond: EnosSimulator, clock: Clock) -> None:
    diamond.add_flow(9, **DIAMOND, ends_as="SKIP")  # type: ignore[arg-type]
    diamond.trigger(9)
    clock.now += 600_000
    assert set(spans(diamond.instances[0]).values()) == {(None, None)}


def test_seconds_are_those_of_the_whole_instance(diamond: EnosSimulator, clock: Clock) -> None:
    """The nodes share them as their own seconds say: for how long each runs is the flow's affair."""
    diamond.add_flow(9, **DIAMOND, progress=("seconds", 6))  # type: ignore[arg-type]
    diamond.trigger(9)
    clock.now += 600_000
    assert spans(diamond.instances[0]) == {"extract": (0, 2), "left": (2, 2.5), "right": (2, 5), "load": (5, 6)}


def test_nodes_take_varied_times_by_default(clock: Clock) -> None:
    found = []
    for _ in range(2):
        sim = EnosSimulator(progress="nodes")
        sim.now_ms = clock  # type: ignore[method-assign]
        clock.now = BEGIN
        sim.trigger(3377)
        clock.now += 600_000
        found.append(spans(sim.instances[0]))
    assert found[0] == found[1]
    lengths = [end - start for start, end in found[0].values() if start is not None and end is not None]
    assert len(set(lengths)) > 1
    assert all(5 <= length <= 30 for length in lengths)


@pytest.mark.parametrize("progress", ["at_once", "manual"])
def test_progress_without_time_is_not_changed_by_the_seconds_of_nodes(
    diamond: EnosSimulator, clock: Clock, progress: str
) -> None:
    diamond.progress = progress
    diamond.trigger(9)
    clock.now += 600_000
    assert diamond.instances[0].status == ("SUCCESS" if progress == "at_once" else "RUNNING")


def test_by_polls_the_times_are_between_the_polls(diamond: EnosSimulator, clock: Clock) -> None:
    diamond.add_flow(9, tasks=[1, 2], progress=("polls", 2))
    made = diamond.trigger(9).id
    for _ in range(3):
        clock.now += 10_000
        instance = diamond._state.instances.poll(made)
    assert instance
    assert spans(instance) == {"task-1": (10, 20), "task-2": (20, 30)}


def test_by_hand(diamond: EnosSimulator, clock: Clock) -> None:
    diamond.progress = "manual"
    made = diamond.trigger(9).id
    clock.now += 1_000
    diamond.set_node_status(made, 3, "RUNNING")
    clock.now += 1_000
    diamond.set_node_status(made, 3, "FAIL")
    assert spans(diamond.instances[0]) == {
        "extract": (0, None),
        "left": (None, None),
        "right": (1, 2),
        "load": (None, None),
    }
    clock.now += 10_000
    diamond.finish(made, "FAIL", failed_task=3)
    (instance,) = diamond.instances
    assert instance.ended_at == BEGIN + 12_000
    assert spans(instance)["right"] == (1, 2)
    assert instance.nodes[0].ended_at is not None


def test_replies_and_logs_tell_the_same(clock: Clock, sim: EnosSimulator, client: Any) -> None:
    """Get Flow Instance, Get Task Instance, the log, and the list."""
    sim.add_flow(9, **DIAMOND, ends_as="FAIL", failing_task=2, logs={2: "{started} a\n{ended} b"})  # type: ignore[arg-type]
    begin = sim.now_ms()
    made = client.trigger(flowId=9, taskId=1, triggerTime=BEGIN).json["data"]["flowInstanceId"]
    stamp = made.partition("-")[2]
    sim.clock_skew = 27

    def text(seconds: float) -> set[str]:
        # The second in which the simulator has started it is this one or the next.
        moments = (datetime.fromtimestamp(begin / 1000 + seconds + late, sim.zone) for late in (0, 1))
        return {moment.strftime(SECONDS) for moment in moments}

    def task(number: int) -> Any:
        return client.call("taskInstances/get", taskInstId=f"{number}-{stamp}").json["data"]

    shown = client.get(made)
    assert [node["status"] for node in json.loads(shown["graph"])["tasks"]] == ["SUCCESS", "FAIL", "RUNNING", "INIT"]
    assert (shown["statusDesc"], shown["endTime"]) == ("FAIL", None)
    assert client.search(expression=made).json["data"]["flowInsts"][0]["statusDesc"] == "FAIL"
    assert [task(number)["stsDesc"] for number in (1, 2, 3, 4)] == ["SUCCESS", "FAIL", "RUNNING", "INIT"]
    assert task(1)["startTime"] in text(0)
    assert task(2)["startTime"] == task(1)["endTime"] in text(20)
    assert task(2)["endTime"] in text(25)
    assert (task(3)["startTime"] in text(20), task(3)["endTime"]) == (True, None)
    assert (task(4)["startTime"], task(4)["endTime"], task(4)["runNum"]) == (None, None, 0)
    log = client.call("taskInstances/getLog", taskInstId=f"2-{stamp}").json["data"]["log"]
    assert log.endswith(f"{task(2)['startTime']} a\n{task(2)['endTime']} b\n")
    started = datetime.strptime(task(2)["startTime"], SECONDS).replace(tzinfo=sim.zone).astimezone(UTC)
    assert f"{started:%H:%M:%S} UTC" in log
    for number in (3, 4):
        assert client.call("taskInstances/getLog", taskInstId=f"{number}-{stamp}").json["code"] == 62109, "not ended"
    sim.clock_skew = 600
    shown = client.get(made)
    assert task(3)["endTime"] == shown["endTime"]


@pytest.mark.parametrize("progress", ["nodes", ("seconds", 60), ("polls", 5), "manual"])
def test_times_outlive_the_process(clock: Clock, tmp_path: Path, progress: Any) -> None:
    old, new = EnosSimulator(progress=progress), EnosSimulator(progress=progress)
    for sim in (old, new):
        sim.now_ms = clock  # type: ignore[method-assign]
    made = old.trigger(3377).id
    for _ in range(2):
        clock.now += 14_000
        old._state.instances.poll(made)
    old.save(tmp_path / "state.json")
    clock.now += 3_000
    new.load(tmp_path / "state.json")
    for _ in range(4):
        clock.now += 9_000
        assert new._state.instances.poll(made) == old._state.instances.poll(made)
    for sim in (old, new):
        sim.finish(made, "FAIL")
    assert new.instances == old.instances
    assert new.instances[0].nodes[0].started_at is not None


@st.composite
def flows(draw: Any) -> dict[str, Any]:
    size = draw(st.integers(1, 5))
    pairs = [(one, other) for one in range(1, size + 1) for other in range(one + 1, size + 1)]
    return {
        "tasks": {task: Node(f"n{task}", draw(st.none() | st.floats(0.1, 40))) for task in range(1, size + 1)},
        "relations": draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else [],
        "progress": draw(st.sampled_from([None, "nodes", "seconds:20", "polls:3", "manual", "at_once"])),
        "ends_as": draw(st.sampled_from(["SUCCESS", "FAIL", "TIMEOUT", "CANCEL", "SKIP"])),
        "failing_task": draw(st.none() | st.integers(1, size)),
    }


def looks(sim: EnosSimulator, clock: Clock, instance_id: str, pauses: list[int]) -> Iterator[tuple[int, Instance]]:
    for pause in pauses:
        clock.now += pause
        seen = sim._state.instances.poll(instance_id)
        assert seen
        yield clock.now, seen


def test_no_look_contradicts_another(clock: Clock) -> None:
    """What a node showed at a moment agrees with the times that it has in the end; and no node starts too early."""

    def check(flow: dict[str, Any], pauses: list[int], start: int, end: str) -> None:
        clock.now = BEGIN
        sim = EnosSimulator()
        sim.now_ms = clock  # type: ignore[method-assign]
        made = sim.add_flow(9, **flow)
        task = min(start, len(made.tasks))
        instance_id = sim.trigger(9, task or None).id
        seen = list(looks(sim, clock, instance_id, pauses))
        clock.now += 1_000
        if not sim.instances[0].ended:
            sim.finish(instance_id, end)
        last = sim.instances[0]
        assert last.started_at is not None
        assert last.ended_at is not None
        known = {node.task_id: node for node in last.nodes}
        for node in last.nodes:
            if node.started_at is not None:
                assert node.ended_at is not None
                assert last.started_at <= node.started_at <= node.ended_at <= last.ended_at
        for moment, instance in seen:
            for node in instance.nodes:
                in_the_end = known[node.task_id]
                if node.status == "RUNNING" and in_the_end.status != "SKIP":
                    assert node.started_at == in_the_end.started_at
                    assert in_the_end.ended_at is not None
                    assert in_the_end.ended_at >= moment - 1
                if node.status == "SUCCESS" and in_the_end.status == "SUCCESS":
                    assert (node.started_at, node.ended_at) == (in_the_end.started_at, in_the_end.ended_at)
                    assert node.ended_at is not None
                    assert node.ended_at <= moment
        for node in last.nodes if seen[-1][1].ended else ():
            before = [known[edge.source].ended_at for edge in made.relations if edge.target == node.task_id]
            if node.started_at is not None:
                # By polls, an instance is READY for a while before its first nodes start.
                first = min(one.started_at for one in last.nodes if one.started_at is not None)
                assert node.started_at == max([moment for moment in before if moment], default=first)
        for edge in made.relations:
            source, target = known[edge.source], known[edge.target]
            if source.started_at is not None and target.started_at is not None:
                assert source.ended_at is not None
                assert target.started_at >= source.ended_at

    hold(
        check,
        flow=flows(),
        pauses=st.lists(st.sampled_from([0, 1, 900, 7_000, 30_000]), min_size=1, max_size=8),
        start=st.integers(0, 5),
        end=st.sampled_from(["SUCCESS", "FAIL"]),
        examples=100,
    )
