"""A flow as a task group, in a whole Airflow: its tasks end as the nodes do, and a clear starts EnOS from the node."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from airflow2 import Airflow2
from airflows import AIRFLOW
from group_runs import NODES, SECONDS, GroupRun, add_flow, definition, task_id
from stack import Simulator, Stack, running, until

from airflow_provider_enos.version_compat import triggers_are_told_of_kills

FLOWS = {"clears": 8201, "siblings": 8202, "retries": 8203, "waits": 8204, "restarts": 8205}
DAGS = Path(__file__).parent / "group_dags"
at_once = pytest.mark.skipif(AIRFLOW < (3, 0), reason="on SQLite, Airflow 2 runs one task at a time")


class WithTriggerer(Airflow2):
    """Airflow 2 with a triggerer."""

    parts = (*Airflow2.parts, "triggerer")


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Simulator]]:
    dags = tmp_path_factory.mktemp("dags")
    shutil.copy(DAGS / "group.py", dags)
    for dag_id, flow_id in FLOWS.items():
        (dags / f"{dag_id}.json").write_text(definition(flow_id, dag_id).text())
    kind = Stack if AIRFLOW >= (3, 0) else WithTriggerer
    with running(tmp_path_factory.mktemp("stack"), dags, kind=kind) as (stack, simulator):
        for dag_id, flow_id in FLOWS.items():
            add_flow(simulator, flow_id, dag_id)
        yield stack, simulator


def begin(airflow: tuple[Stack, Simulator], dag_id: str) -> GroupRun:
    return GroupRun(*airflow, dag_id, FLOWS[dag_id])


def succeeded(states: Mapping[str, object]) -> bool:
    return set(states.values()) == {"success"}


def fail_both_siblings(group: GroupRun) -> None:
    first = group.instance(1)
    group.nodes_are(first, SUCCESS="a", FAIL="bc", INIT="def")
    group.finish(first, "FAIL")


def the_fork_is_started_once(group: GroupRun) -> None:
    """Check that the second instance runs from the fork, with which the flow begins, and that it is the last."""
    second = group.instance(2)
    assert second["from_task_id"] is None
    group.wait(lambda _: group.waits_for_node("b") and group.waits_for_node("c"), "both siblings to wait")
    group.finish(second, "SUCCESS")
    group.wait(succeeded, "the group to succeed")
    assert [one["id"] for one in group.instances] == [group.instance_of("a"), second["id"]]
    for node in "bcdef":
        assert group.instance_of(node) == second["id"]


def test_clearing_a_failed_node_starts_the_flow_from_it(airflow: tuple[Stack, Simulator]) -> None:
    group = begin(airflow, "clears")
    first = group.instance(1)
    group.nodes_are(first, SUCCESS="abd", FAIL="c", INIT="ef")
    group.finish(first, "FAIL")
    group.run.wait_for_run("failed", SECONDS)
    assert group.states() == {
        **dict.fromkeys(("start", "a", "b", "d", "after_d"), "success"),
        "c": "failed",
        **dict.fromkeys("ef", "upstream_failed"),
    }
    group.clear("c", "e", "f")
    second = group.instance(2)
    assert second["from_task_id"] == task_id("c", group.flow_id)
    group.finish(second, "SUCCESS")
    group.wait(succeeded, "the group to succeed")
    assert len(group.instances) == 2
    assert group.nodes_of(2) == {**dict.fromkeys("abd", "INIT"), **dict.fromkeys("cef", "SUCCESS")}
    for node in "cef":
        assert group.instance_of(node) == second["id"]
    for node in "abd":
        assert group.instance_of(node) == first["id"]


@at_once
def test_two_failed_siblings_that_are_cleared_at_once_start_one_instance(airflow: tuple[Stack, Simulator]) -> None:
    group = begin(airflow, "siblings")
    fail_both_siblings(group)
    group.run.wait_for_run("failed", SECONDS)
    group.clear(*"bcdef", "after_d")
    the_fork_is_started_once(group)


@at_once
def test_two_failed_siblings_that_airflow_retries_start_one_instance(airflow: tuple[Stack, Simulator]) -> None:
    group = begin(airflow, "retries")
    fail_both_siblings(group)
    the_fork_is_started_once(group)
    assert {node: group.tasks[node]["try_number"] for node in "abcd"} == {"a": 1, "b": 2, "c": 2, "d": 1}


def test_a_node_is_waited_for_alone_and_started_again_after_it_had_succeeded(airflow: tuple[Stack, Simulator]) -> None:
    group = begin(airflow, "waits")
    first = group.instance(1)
    group.wait(lambda _: group.waits_for_node("a"), "a to wait")
    group.nodes_are(first, SUCCESS="abcde", RUNNING="f")
    group.wait(lambda _: group.waits_for_node("f"), "f to wait")
    group.wait(lambda states: states["after_d"] == "success", "what needs d alone")
    assert group.waits_for_node("f")
    if triggers_are_told_of_kills():
        # No process of a worker has run any of them.
        assert {node: group.tasks[node]["pid"] for node in NODES} == dict.fromkeys(NODES)
        assert group.states()["f"] == "deferred"
    group.nodes_are(first, SUCCESS="f")
    group.finish(first, "SUCCESS")
    group.run.wait_for_run("success", SECONDS)
    group.clear("b", "d", "f", "after_d")
    second = group.instance(2)
    assert second["from_task_id"] == task_id("b", group.flow_id)
    group.finish(second, "SUCCESS")
    group.wait(succeeded, "the group to succeed again")
    assert len(group.instances) == 2
    assert group.nodes_of(2) == {**dict.fromkeys("ace", "INIT"), **dict.fromkeys("bdf", "SUCCESS")}
    assert [group.instance_of(node) for node in "bdf"] == [second["id"]] * 3


def test_clearing_start_and_ending_the_run_cancel_the_instance(airflow: tuple[Stack, Simulator]) -> None:
    group = begin(airflow, "restarts")
    first = group.instance(1)
    group.nodes_are(first, SUCCESS="a", RUNNING="bc")
    for node in "bc":
        group.wait(lambda _, node=node: group.waits_for_node(node), f"{node} to wait")  # type: ignore[misc]
        group.wait_for_trigger(node)
    group.clear("start", *NODES, "after_d")
    second = group.instance(2)
    assert second["from_task_id"] is None
    if AIRFLOW < (3, 4):
        assert group.instances[0]["cancelled"]
    # From 3.4 on, a clear discards what start would know it by. The triggers of the nodes cancel it.
    until(lambda: group.instances[0]["cancelled"], SECONDS, "the first instance to be cancelled", group.states)
    group.wait(lambda _: group.tasks["a"]["try_number"] == 2 and group.waits_for_node("a"), "a to wait again")
    group.wait_for_trigger("a", 2)
    group.mark_run_failed()
    until(lambda: group.instances[1]["cancelled"], SECONDS, "the instance to be cancelled", group.states)
    assert len(group.instances) == 2
