"""A flow of six nodes as a task group in a whole Airflow, and what a test does to a run of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from stack import Run, Simulator, Stack, until

from airflow_provider_enos.protocol.flow_definition import DefinedNode, FlowDefinition
from airflow_provider_enos.version_compat import triggers_are_told_of_kills

NODES = dict(zip("abcdef", range(1, 7), strict=True))
EDGES = ["ab", "ac", "bd", "ce", "df", "ef"]
SECONDS = 90
"""How long something of a group takes at most, on a quiet machine."""


def task_id(node: str, flow_id: int) -> int:
    return flow_id * 10 + NODES[node]


def relations(flow_id: int) -> list[tuple[int, int]]:
    return [(task_id(one, flow_id), task_id(two, flow_id)) for one, two in EDGES]


def definition(flow_id: int, name: str) -> FlowDefinition:
    """Return what ``airflow enos export`` writes of the flow."""
    nodes = tuple(DefinedNode(task_id(node, flow_id), node) for node in NODES)
    return FlowDefinition(flow_id, name, nodes, tuple(relations(flow_id)))


def add_flow(simulator: Simulator, flow_id: int, name: str) -> None:
    """Add the flow. Its nodes do only what a test says."""
    tasks = {str(task_id(node, flow_id)): node for node in NODES}
    flow = {"flow_id": flow_id, "name": name, "tasks": tasks, "relations": relations(flow_id)}
    simulator.post("flows", {**flow, "progress": "manual"})


class GroupRun:
    """A run of a DAG with a group, and the instances of its flow.

    :param minute: the trigger time of the run, for a DAG that takes it from there. Then only the instances of its day
        are of this run.
    """

    def __init__(self, stack: Stack, simulator: Simulator, dag_id: str, flow_id: int, minute: datetime | None = None):
        self.stack, self.simulator, self.flow_id, self._minute = stack, simulator, flow_id, minute
        self.run = stack.run(dag_id, minute and {"trigger_time": minute.isoformat()})
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
        found = self.simulator.instances(self.flow_id)
        return found if self._minute is None else [one for one in found if _is_on(self._minute, one)]

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


def _is_on(minute: datetime, instance: Mapping[str, Any]) -> bool:
    return abs(instance["trigger_time"] / 1000 - minute.timestamp()) < timedelta(hours=12).total_seconds()
