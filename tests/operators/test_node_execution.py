"""The task of a node, on the models of EnOS and of Airflow, without an adversary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from group_adversary import GroupAdversary
from group_model import SIX
from start_model import MORNING

Scene = Callable[..., GroupAdversary]


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Set up a group of six nodes of which some have failed. In the end all of it has to succeed."""
    made: list[GroupAdversary] = []

    def make(fails: set[int] | None, **changes: Any) -> GroupAdversary:
        machine = GroupAdversary()
        made.append(machine)
        given: dict[str, Any] = {
            "graph": SIX,
            "retries": 0,
            "trigger_time": MORNING,
            "in_triggerer": False,
            "deferrable": True,
            "has_parameters": False,
            "taken": 0,
            "documented_ids": True,
            "clock_minute": 0.0,
            "unseen": "error",
            "times_in": 8,
        }
        machine.begin(fails=fails, **{**given, **changes})
        return machine

    yield make
    for one in made:
        one.teardown()


def ids(group: GroupAdversary) -> list[str]:
    return [one.id for one in group.gateway.instances]


def test_clearing_a_failed_node_starts_one_instance_from_it(scene: Scene, deferrable: bool) -> None:
    group = scene({3}, deferrable=deferrable)
    group.clear_what_failed()
    group._quiet_down()
    assert [one.from_node for one in group.gateway.instances] == [None, 3]
    assert sorted(group.gateway.instances[1].scope) == [3, 5, 6]


def test_failed_siblings_that_are_cleared_at_once_make_one_instance(scene: Scene, deferrable: bool) -> None:
    group = scene({2, 3}, deferrable=deferrable)
    group.clear_what_failed()
    group._quiet_down()
    assert len(ids(group)) == 2


@pytest.mark.parametrize("documented_ids", [True, False])
def test_sibling_between_the_reply_and_the_record(scene: Scene, documented_ids: bool) -> None:
    """It takes over the instance by the request of the other, also where EnOS names instances otherwise."""
    group = scene({2, 3}, documented_ids=documented_ids)
    group.clear_what_failed()
    group.all_begin()
    first, second = group.nodes[2], group.nodes[3]
    group._move(first, 60, to_trigger=True)
    group._advance(first, group._good(first))
    group._advance(first, group._good(first))
    group._move(second, 60)
    assert len(ids(group)) == 2


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
    group.worker_is_frozen(which=0)


def goes_on(group: GroupAdversary) -> None:
    """Let the frozen worker go on to its end."""
    while group.frozen:
        group.frozen_goes_on(which=0, most=60)


@pytest.mark.parametrize("steps", range(12))
def test_worker_that_wakes_up_after_start_was_cleared_starts_nothing(scene: Scene, steps: int) -> None:
    group = scene({3})
    frozen_after(group, steps)
    group.clear_start(request="arrives")
    group._begin_all()
    group._move_all()
    there = ids(group)
    goes_on(group)
    assert ids(group) == there
    assert group.xcoms.read(group.start.id, "enos_group")["first"]["flow_instance_id"] == there[-1]


@pytest.mark.parametrize("steps", range(12))
def test_worker_that_wakes_up_while_start_is_cleared_starts_nothing(scene: Scene, steps: int) -> None:
    group = scene({3})
    frozen_after(group, steps)
    group.clear_start(request="arrives")
    group._begin(group.start)
    there = ids(group)
    goes_on(group)
    assert ids(group) == there


@pytest.mark.parametrize("steps", range(12))
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
