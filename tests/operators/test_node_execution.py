"""The task of a node, on the models of EnOS and of Airflow, without an adversary."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from group_adversary import GroupAdversary
from group_airflow import Order, Task, Write
from group_model import NodesInstance
from group_scenes import Scene, ids, without_reply


def test_clearing_a_failed_node_starts_one_instance_from_it(scene: Scene, deferrable: bool) -> None:
    group = scene({3}, deferrable=deferrable)
    group.clear_what_failed()
    group._quiet_down()
    assert [one.from_node for one in group.gateway.instances] == [None, 3]
    assert sorted(group.gateway.instances[1].scope) == [3, 5, 6]


def test_instance_whose_end_has_no_time_is_recovered(scene: Scene, deferrable: bool) -> None:
    group = scene({3}, deferrable=deferrable, times_in=None)
    group.clear_what_failed()
    group._quiet_down()
    assert len(ids(group)) == 2


def test_node_that_never_ran_is_recovered_where_the_end_has_no_time(scene: Scene, deferrable: bool) -> None:
    group = scene(None, deferrable=deferrable, times_in=None)
    group._begin_all()
    group._move_all()
    group.gateway.instances[0].node_ends(1, "SUCCESS", group.clock.now)
    group._begin_all()
    group._move_all()
    group._begin_all()
    group.gateway.instances[0].cancel(group.clock.now)
    group.clock.now += 60.0
    for _ in range(3):
        group._move_all()
    assert group.nodes[2].state == "failed"
    group._quiet_down()
    assert len(ids(group)) == 2


def test_what_a_lost_try_has_started_comes_to_rest_before_it_is_recovered(scene: Scene, deferrable: bool) -> None:
    group = scene({2}, deferrable=deferrable, retries=3)
    group.clear_what_failed()
    group._begin(group.nodes[2])
    group._move(group.nodes[2], 60, to_trigger=True)
    group.worker_is_lost(which=0, request="arrives")
    (*_, lost) = group.gateway.instances
    lost.cancel(group.clock.now)
    assert lost.is_live(group.clock.now)
    group._begin(group.nodes[2])
    group._quiet_down()
    assert lost in group._on_record()


def frozen_after(group: GroupAdversary, steps: int) -> None:
    """Let the task of the failed node go on for some steps, until its worker freezes and Airflow gives it up."""
    group.clear_what_failed()
    group._begin(group.nodes[3])
    group._move(group.nodes[3], steps, to_trigger=True)
    while not group.may_freeze:
        group._move(group.nodes[3], 1)
    group.freeze(group.nodes[3])


def goes_on(group: GroupAdversary) -> None:
    """Let the frozen worker go on to its end."""
    while group.frozen:
        group.frozen_goes_on(which=0, most=60)


STEPS = range(14)
"""After how many steps it freezes. After the last ones its request is under way."""


def new_ones(group: GroupAdversary, there: list[str]) -> list[NodesInstance]:
    """Return the instances beside these that run, or have run."""
    return [one for one in group.gateway.instances if one.id not in there and one.status != "CANCEL"]


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("has_begun", [False, True])
def test_worker_that_wakes_up_after_start_was_cleared_starts_nothing(scene: Scene, steps: int, has_begun: bool) -> None:
    """Or it cancels what it has started: its request was under way."""
    group = scene({3})
    frozen_after(group, steps)
    group.clear_start(request="arrives")
    group._begin(group.start)
    if has_begun:
        group._move_all()
    there = ids(group)
    goes_on(group)
    assert not new_ones(group, there)
    if has_begun:
        assert group.xcoms.read(group.start.id, "enos_group")["first"]["flow_instance_id"] == there[-1]


@pytest.mark.parametrize("steps", STEPS)
def test_worker_that_wakes_up_late_leaves_the_request_of_a_later_try_on_record(scene: Scene, steps: int) -> None:
    group = scene({3}, retries=3)
    frozen_after(group, steps)
    task = group.nodes[3]
    for _ in range(2):
        group._begin(task)
        group._move(task, 60, to_trigger=True)
        group._move(task, 60)
        (*_, newest) = group.gateway.instances
        if newest.is_live(group.clock.now):
            newest.node_ends(3, "FAIL", group.clock.now)
            group._move(task, 60)
    there, intent = ids(group), group.xcoms.read(group.start.id, "enos_intent_3")
    goes_on(group)
    assert ids(group) == there
    assert group.xcoms.read(group.start.id, "enos_intent_3") == intent


@pytest.mark.parametrize("steps", STEPS)
def test_worker_that_wakes_up_beside_the_next_try_starts_nothing_of_its_own(scene: Scene, steps: int) -> None:
    """Whatever the next try has done by then, there is one more instance."""
    group = scene({3}, retries=3)
    there = ids(group)
    frozen_after(group, steps)
    task = group.nodes[3]
    group._begin(task)
    for _ in range(20):
        if group.frozen:
            group.frozen_goes_on(which=0, most=1)
        group._move(task, 1)
    assert len(ids(group)) == len(there) + 1


def frozen_as_it_records(group: GroupAdversary) -> None:
    """Let the task of the failed node go on until its worker freezes while it records its request."""
    group.clear_what_failed()
    task = group.nodes[3]
    group._begin(task)
    for _ in range(60):
        step = task.worker.step if task.worker else None
        if isinstance(step, Write) and step.key.startswith("enos_intent"):
            break
        group._move(task, 1)
    group.freeze(task)


def test_the_try_is_looked_at_again_between_record_and_request(scene: Scene) -> None:
    group = scene({3}, retries=3)
    there = ids(group)
    frozen_as_it_records(group)
    group._begin(group.nodes[3])
    group._move(group.nodes[3], 1)
    goes_on(group)
    assert ids(group) == there


@pytest.mark.parametrize("way", ["answered", "lost", "kept"])
def test_what_was_started_for_a_round_that_is_over_is_cancelled(scene: Scene, way: str) -> None:
    """Only what EnOS has named is surely of this try."""
    group = scene({3})
    group.clear_what_failed()
    task = group.nodes[3]
    task.operator.cancel_on_kill = way != "kept"
    group._begin(task)
    group._move(task, 60, to_trigger=True)
    group.freeze(task)
    group.clear_start(request="never arrives")
    group._begin(group.start)
    ghost = group.frozen[0]
    if way == "lost":
        order: Order = partial(_lost, group, ghost)
        group.current = ghost
        ghost.worker.go_on(order)  # type: ignore[union-attr]
    goes_on(group)
    started = [one for one in group.gateway.instances if one.from_node == 3]
    assert [one.status for one in started] == (["CANCEL"] if way == "answered" else ["RUNNING"])


def _lost(group: GroupAdversary, ghost: Task) -> Any:
    group._trigger(*group._request(ghost))
    without_reply()


def test_what_a_killed_task_still_sees_is_no_success_that_was_cleared(scene: Scene) -> None:
    """Its process goes on for some seconds. The next try does not start again what has succeeded meanwhile."""
    group = scene({3})
    group.clear_what_failed()
    task = group.nodes[3]
    group._begin(task)
    group._move(task, 60, to_trigger=True)
    group._advance(task, group._good(task))
    (*_, newest) = group.gateway.instances
    newest.node_ends(3, "SUCCESS", group.clock.now)
    group._kill(task, "never arrives", lasts=20)
    group._ended(task, "failed", None)
    group._clear([task], "never arrives")
    there = ids(group)
    group._begin(task)
    group._move(task, 60)
    assert task.state == "success"
    assert ids(group) == there
