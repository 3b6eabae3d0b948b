"""Tasks of one group that start the flow again at the same time, on the models of EnOS and of Airflow."""

from __future__ import annotations

import pytest
from group_adversary import GroupAdversary
from group_airflow import Task
from group_model import SIX, Graph
from group_scenes import Scene, ids, without_reply

from airflow_provider_enos.protocol.wire.messages import Sleep

ARMS = Graph({1: (2, 3, 4), 2: (5,), 3: (5,), 4: (5,), 5: ()})


def cleared(group: GroupAdversary, *nodes: int) -> list[Task]:
    """Clear the tasks of nodes. Return them, all at the request that starts the flow again."""
    tasks = [group.nodes[node] for node in nodes]
    group._clear(tasks, "never arrives")
    group.all_begin()
    for task in tasks:
        group._move(task, 60, to_trigger=True)
    return tasks


def refused_without_reply(group: GroupAdversary, task: Task) -> None:
    """Let the minute of the task's request be taken, and the refusal be lost."""
    group._send_off(task, "arrives")
    group._advance(task, without_reply)


def started_from(group: GroupAdversary) -> list[int | None]:
    return [one.from_node for one in group.gateway.instances]


def test_failed_siblings_that_are_cleared_at_once_make_one_instance(scene: Scene, deferrable: bool) -> None:
    group = scene({2, 3}, deferrable=deferrable)
    group.clear_what_failed()
    group._quiet_down()
    assert len(ids(group)) == 2


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("documented_ids", [True, False])
def test_sibling_between_the_reply_and_the_record(scene: Scene, documented_ids: bool, steps: int) -> None:
    """It takes over the instance by the request of the other, also where EnOS names instances otherwise."""
    group = scene({2, 3}, documented_ids=documented_ids)
    group.clear_what_failed()
    group.all_begin()
    first, second = group.nodes[2], group.nodes[3]
    group._move(first, 60, to_trigger=True)
    for _ in range(steps):
        group._advance(first, group._good(first))
    group._move(second, 20)
    group._quiet_down()
    assert len(ids(group)) == 2


@pytest.mark.parametrize("documented_ids", [True, False])
def test_sibling_whose_worker_is_lost_with_its_request(scene: Scene, documented_ids: bool) -> None:
    group = scene({2, 3}, documented_ids=documented_ids)
    group.clear_what_failed()
    group.all_begin()
    first, second = group.nodes[2], group.nodes[3]
    group._move(first, 60, to_trigger=True)
    group._lose(first, "arrives")
    group._ended(first, "failed", None)
    group._move(second, 80)
    group._quiet_down()
    assert len(ids(group)) == 2


@pytest.mark.parametrize("is_in_time", [True, False])
def test_what_a_sibling_has_started_from_another_node_is_not_taken_over(scene: Scene, is_in_time: bool) -> None:
    """Its minute is that of the request that was not answered: EnOS has refused it."""
    group = scene(set())
    first, second = cleared(group, 2, 3)
    group._advance(first, group._good(first))
    if is_in_time:
        group._move(first, 10)
    refused_without_reply(group, second)
    for _ in range(10):
        group._move(second, 1)
    group._quiet_down()
    assert started_from(group) == [None, 2, 3]
    assert [first.try_number, second.try_number] == [2, 2]


def test_nor_if_the_sibling_starts_it_after_another_instance(scene: Scene) -> None:
    group = scene(set())
    (other,) = cleared(group, 2)
    group._move(other, 60)
    group.gateway.instances[-1].node_ends(2, "FAIL", group.clock.now)
    group.clock.now += 5
    group._move(other, 60)
    task, other = cleared(group, 3, 2)
    group._move(task, 60, to_trigger=True)  # the minute of the first clear is taken: to the next one
    group._advance(other, group._good(other))
    refused_without_reply(group, task)
    for _ in range(12):
        group._move(task, 1)
    group._quiet_down()
    assert started_from(group) == [None, 2, 2, 3]


def test_nor_if_the_sibling_needs_long_to_write_down_what_it_has_started(scene: Scene) -> None:
    """The task takes it over then, and finds out later whose it is. Neither goes round in circles."""
    group = scene(set(), retries=3)
    owner, other = cleared(group, 2, 3)
    group._advance(owner, group._good(owner))
    refused_without_reply(group, other)
    group._move(other, 60)
    group._move(owner, 100)
    assert owner.worker is None
    group._quiet_down()
    assert started_from(group) == [None, 2, 3]


def test_what_is_taken_over_stays_on_record_as_it_is(scene: Scene) -> None:
    """A node that had succeeded is cleared with two that failed: these restart at the fork, and so run it, too."""
    group = scene({2, 3}, graph=ARMS)
    group._clear([group.nodes[node] for node in (2, 3, 4, 5)], "never arrives")
    group.all_begin()
    one, other = group.nodes[2], group.nodes[4]
    for task in (one, other):
        group._move(task, 60, to_trigger=True)
    group._move(one, 60)
    group._move(other, 60)
    group._quiet_down()
    assert started_from(group) == [None, None]
    assert all(task.try_number == 2 for node, task in group.nodes.items() if node in (2, 3, 4))


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_what_runs_the_node_too_is_waited_for(scene: Scene, steps: int) -> None:
    """The others have started the whole flow, and have not written it down yet."""
    group = scene({2, 3}, graph=ARMS)
    one, other, *_ = cleared(group, 2, 4, 3, 5)
    for _ in range(steps):
        group._advance(one, group._good(one))
    for _ in range(60):
        group._move(other, 1)
        if isinstance(other.worker and other.worker.step, Sleep):
            group._move(one, 60)
        if other.trigger is not None:
            break
    group._move(one, 60)
    group._quiet_down()
    assert started_from(group) == [None, None]


def test_a_try_recovers_nothing_that_fails_while_it_waits(scene: Scene, deferrable: bool) -> None:
    """Otherwise two tasks start the flow in turn, for as long as it fails at once, within one try each."""
    group = scene({2, 3}, deferrable=deferrable)
    group.clear_what_failed()
    one, other = group.nodes[2], group.nodes[3]

    def moves(task: Task) -> None:
        there = len(ids(group))
        for _ in range(80):
            group._move(task, 1)
            waits = task.trigger is not None or isinstance(task.worker and task.worker.step, Sleep)
            if not task.is_active or (len(ids(group)) > there and waits):
                return

    group._begin(one)
    moves(one)
    group.instances_end(fails={2, 3})
    group._begin(other)
    for _ in range(10):
        for task in (other, one):
            if task.is_active:
                moves(task)
                group.instances_end(fails={2, 3})
    assert len(ids(group)) <= 4


def test_a_request_of_an_earlier_try_runs_what_that_try_had_planned(scene: Scene) -> None:
    """The flow has changed since, so that this try would start it as the first time."""
    group = scene(None)
    slow = group.nodes[5]
    for _ in range(20):
        for task in group.tasks:
            if task is not slow and task.may_begin and not task.is_active:
                group._begin(task)
        group._move_all()
        group.instances_end(fails={2})
    assert slow.state is None
    group.retries = 3
    task = group.nodes[2]
    group._clear([task, group.nodes[4], group.nodes[6]], "never arrives")
    group._begin(task)
    group._move(task, 60, to_trigger=True)
    assert task.worker is not None
    assert task.worker.asked_for[1] == 2
    group.worker_is_lost(which=0, request="arrives")
    group._begin(task)
    group.gateway.graph = Graph({**SIX.after, 7: ()})
    group._move(task, 60)
    for _ in range(20):
        group._begin_all()
        group._move_all()
        group.instances_end(fails=set())
    assert (slow.state, slow.try_number) == ("success", 1)
