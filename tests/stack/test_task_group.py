"""A flow as a task group, in a whole Airflow: its tasks end as the nodes do, and a clear starts EnOS from the node."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from airflow2 import Airflow2
from airflows import AIRFLOW
from stack import Run, Simulator, Stack, running, until

from airflow_provider_enos.protocol.flow_definition import DefinedNode, FlowDefinition
from airflow_provider_enos.version_compat import triggers_are_told_of_kills

NODES = dict(zip("abcdef", range(1, 7), strict=True))
EDGES = ["ab", "ac", "bd", "ce", "df", "ef"]
FLOWS = {"clears": 8201, "siblings": 8202, "retries": 8203, "waits": 8204, "restarts": 8205}
DAGS = Path(__file__).parent / "group_dags"
at_once = pytest.mark.skipif(AIRFLOW < (3, 0), reason="on SQLite, Airflow 2 runs one task at a time")
SECONDS = 90
"""How long something of a group takes at most, on a quiet machine."""


class WithTriggerer(Airflow2):
    """Airflow 2 with a triggerer."""

    parts = (*Airflow2.parts, "triggerer")


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Simulator]]:
    dags = tmp_path_factory.mktemp("dags")
    shutil.copy(DAGS / "group.py", dags)
    for dag_id, flow_id in FLOWS.items():
        nodes = tuple(DefinedNode(task_id(node, flow_id), node) for node in NODES)
        definition = FlowDefinition(flow_id, dag_id, nodes, tuple(relations(flow_id)))
        (dags / f"{dag_id}.json").write_text(definition.text())
    kind = Stack if AIRFLOW >= (3, 0) else WithTriggerer
    with running(tmp_path_factory.mktemp("stack"), dags, kind=kind) as (stack, simulator):
        for dag_id, flow_id in FLOWS.items():
            tasks = {str(task_id(node, flow_id)): node for node in NODES}
            flow = {"flow_id": flow_id, "name": dag_id, "tasks": tasks, "relations": relations(flow_id)}
            simulator.post("flows", {**flow, "progress": "manual"})
        yield stack, simulator


def task_id(node: str, flow_id: int) -> int:
    return flow_id * 10 + NODES[node]


def relations(flow_id: int) -> list[tuple[int, int]]:
    return [(task_id(one, flow_id), task_id(two, flow_id)) for one, two in EDGES]


class Group:
    """A run of a DAG with a group, and the instances of its flow."""

    def __init__(self, airflow: tuple[Stack, Simulator], dag_id: str) -> None:
        self.stack, self.simulator = airflow
        self.flow_id = FLOWS[dag_id]
        self.run = self.stack.run(dag_id)
        self._path = f"dags/{dag_id}/dagRuns/{self.run.run_id}"

    # In Airflow.

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        found = self.stack.call("GET", f"{self._path}/taskInstances")["task_instances"]
        return {one["task_id"].removeprefix("nodes."): one for one in found}

    def states(self) -> dict[str, object]:
        return {name: one["state"] for name, one in self.tasks.items()}

    def wait(self, condition: Callable[[dict[str, Any]], bool], what: str) -> None:
        until(lambda: condition(self.states()), SECONDS, what, self.states)

    def waits_for_node(self, node: str) -> bool:
        return self.states()[node] in ("deferred", "running")

    def wait_for_trigger(self, node: str, try_number: int = 1) -> None:
        """Wait until the trigger of a node looks at it. Airflow tells only such a trigger of a kill."""
        log = self.of(node).log
        until(lambda: f"Node {node} (" in log(try_number), SECONDS, f"node {node} in the log", self.states)
        if try_number > 1 or not triggers_are_told_of_kills():
            # A worker has begun the try, and has shown the node. Now the trigger looks, too.
            self.wait(lambda states: states[node] == "deferred", f"{node} to be deferred")
            looks = self.looks
            until(lambda: self.looks >= looks + 2, SECONDS, f"the trigger of {node}", self.states)

    @property
    def looks(self) -> int:
        return int(self.simulator.state["counts"].get("flowInstances/get", 0))

    def clear(self, *names: str) -> None:
        ids = [name if name == "after_d" else f"nodes.{name}" for name in names]
        body = {"dry_run": False, "task_ids": ids, "dag_run_id": self.run.run_id, "only_failed": False}
        self.stack.call("POST", f"dags/{self.run.dag_id}/clearTaskInstances", {**body, "reset_dag_runs": True})

    def mark_run_failed(self) -> None:
        self.stack.call("PATCH", self._path, {"state": "failed"})

    def of(self, node: str) -> Run:
        return self.run.of_task(f"nodes.{node}")

    def instance_of(self, node: str) -> Any:
        return self.of(node).xcom("flow_instance_id")

    # In EnOS.

    @property
    def instances(self) -> list[dict[str, Any]]:
        return self.simulator.instances(self.flow_id)

    def instance(self, number: int) -> dict[str, Any]:
        """Return one of the instances, the first of which has number 1, once it is there."""
        until(
            lambda: len(self.instances) >= number,
            SECONDS,
            f"instance {number}",
            lambda: (self.states(), self.instances),
        )
        assert len(self.instances) == number
        return self.instances[-1]

    def nodes_are(self, instance: Mapping[str, Any], **statuses: str) -> None:
        """Set nodes of an instance: ``STATUS="nodes"``."""
        for status, nodes in statuses.items():
            for node in nodes:
                body = {"task_id": task_id(node, self.flow_id), "status": status}
                self.simulator.post(f"instances/{instance['id']}/node", body)

    def finish(self, instance: Mapping[str, Any], status: str) -> None:
        self.simulator.post(f"instances/{instance['id']}/finish", {"status": status})

    def nodes_of(self, number: int) -> dict[str, str]:
        """Return the status of each node of an instance."""
        return {node["name"]: node["status"] for node in self.instances[number - 1]["nodes"]}


def succeeded(states: Mapping[str, object]) -> bool:
    return set(states.values()) == {"success"}


def fail_both_siblings(group: Group) -> None:
    first = group.instance(1)
    group.nodes_are(first, SUCCESS="a", FAIL="bc", INIT="def")
    group.finish(first, "FAIL")


def the_fork_is_started_once(group: Group) -> None:
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
    group = Group(airflow, "clears")
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
    group = Group(airflow, "siblings")
    fail_both_siblings(group)
    group.run.wait_for_run("failed", SECONDS)
    group.clear(*"bcdef", "after_d")
    the_fork_is_started_once(group)


@at_once
def test_two_failed_siblings_that_airflow_retries_start_one_instance(airflow: tuple[Stack, Simulator]) -> None:
    group = Group(airflow, "retries")
    fail_both_siblings(group)
    the_fork_is_started_once(group)
    assert {node: group.tasks[node]["try_number"] for node in "abcd"} == {"a": 1, "b": 2, "c": 2, "d": 1}


def test_a_node_is_waited_for_alone_and_started_again_after_it_had_succeeded(airflow: tuple[Stack, Simulator]) -> None:
    group = Group(airflow, "waits")
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
    group.wait(succeeded, "the group to succeed")
    group.clear("b", "d", "f", "after_d")
    second = group.instance(2)
    assert second["from_task_id"] == task_id("b", group.flow_id)
    group.finish(second, "SUCCESS")
    group.wait(succeeded, "the group to succeed again")
    assert len(group.instances) == 2
    assert group.nodes_of(2) == {**dict.fromkeys("ace", "INIT"), **dict.fromkeys("bdf", "SUCCESS")}
    assert [group.instance_of(node) for node in "bdf"] == [second["id"]] * 3


def test_clearing_start_and_ending_the_run_cancel_the_instance(airflow: tuple[Stack, Simulator]) -> None:
    group = Group(airflow, "restarts")
    first = group.instance(1)
    group.nodes_are(first, SUCCESS="a", RUNNING="bc")
    for node in "bc":
        group.wait(lambda _, node=node: group.waits_for_node(node), f"{node} to wait")  # type: ignore[misc]
        group.wait_for_trigger(node)
    group.clear("start", *NODES, "after_d")
    second = group.instance(2)
    assert second["from_task_id"] is None
    assert group.instances[0]["cancelled"]
    group.wait(lambda _: group.tasks["a"]["try_number"] == 2 and group.waits_for_node("a"), "a to wait again")
    group.wait_for_trigger("a", 2)
    group.mark_run_failed()
    until(lambda: group.instances[1]["cancelled"], SECONDS, "the instance to be cancelled", group.states)
    assert len(group.instances) == 2
