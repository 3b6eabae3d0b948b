"""A flow as a task group, in a whole Airflow: its tasks end as the nodes do, and a clear starts EnOS from the node."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from airflows import AIRFLOW
from stack import Run, Simulator, Stack, running, until

from airflow_provider_enos.protocol.flow_definition import DefinedNode, FlowDefinition

pytestmark = pytest.mark.skipif(AIRFLOW < (3, 0), reason="the DAGs of this test are those of Airflow 3")

NODES = dict(zip("abcdef", range(1, 7), strict=True))
EDGES = ["ab", "ac", "bd", "ce", "df", "ef"]
FLOW = {"group": 8201, "group_retries": 8202}
DAGS = Path(__file__).parent / "group_dags"


def task_id(node: str, flow_id: int) -> int:
    return flow_id * 10 + NODES[node]


def relations(flow_id: int) -> list[tuple[int, int]]:
    return [(task_id(one, flow_id), task_id(two, flow_id)) for one, two in EDGES]


def set_flow(simulator: Simulator, dag_id: str, failing: str | None = None) -> None:
    """Set what happens to the next instances of the flow."""
    flow_id = FLOW[dag_id]
    simulator.post(
        "flows",
        {
            "flow_id": flow_id,
            "name": dag_id,
            "tasks": {str(task_id(node, flow_id)): node for node in NODES},
            "relations": relations(flow_id),
            "progress": ["seconds", 8],
            **({} if failing is None else {"ends_as": "FAIL", "failing_task": task_id(failing, flow_id)}),
        },
    )


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Simulator]]:
    dags = tmp_path_factory.mktemp("dags")
    shutil.copy(DAGS / "group.py", dags)
    for dag_id, flow_id in FLOW.items():
        nodes = tuple(DefinedNode(task_id(node, flow_id), node) for node in NODES)
        definition = FlowDefinition(flow_id, dag_id, nodes, tuple(relations(flow_id)))
        (dags / f"{dag_id}.json").write_text(definition.text())
    with running(tmp_path_factory.mktemp("stack"), dags) as (stack, simulator):
        yield stack, simulator


class Group:
    """A run of a DAG with a group."""

    def __init__(self, stack: Stack, simulator: Simulator, dag_id: str) -> None:
        self.stack, self.simulator, self.flow_id = stack, simulator, FLOW[dag_id]
        self.run = stack.run(dag_id)

    @property
    def tasks(self) -> dict[str, dict[str, object]]:
        path = f"dags/{self.run.dag_id}/dagRuns/{self.run.run_id}/taskInstances"
        return {one["task_id"]: one for one in self.stack.call("GET", path)["task_instances"]}

    def states(self) -> dict[str, object]:
        return {name.removeprefix("nodes."): one["state"] for name, one in self.tasks.items()}

    def of(self, node: str) -> Run:
        return self.run.of_task(f"nodes.{node}")

    def clear(self, *nodes: str) -> None:
        ids = [f"nodes.{node}" for node in nodes]
        body = {"dry_run": False, "task_ids": ids, "dag_run_id": self.run.run_id, "only_failed": False}
        self.stack.call("POST", f"dags/{self.run.dag_id}/clearTaskInstances", {**body, "reset_dag_runs": True})

    def wait(self, condition: Callable[[dict[str, object]], bool], what: str) -> dict[str, object]:
        until(lambda: condition(self.states()), 90, what, self.states)
        return self.states()

    def nodes_of(self, instance: Mapping[str, object]) -> dict[str, str]:
        """Return the status of each node of an instance, as EnOS has it."""
        nodes = instance["nodes"]
        assert isinstance(nodes, list)
        return {node["name"]: node["status"] for node in nodes}

    @property
    def instances(self) -> list[dict[str, object]]:
        return self.simulator.instances(self.flow_id)


def ended(states: Mapping[str, object]) -> bool:
    return all(state in ("success", "failed", "upstream_failed", "skipped") for state in states.values())


def test_clearing_a_failed_node_starts_the_flow_from_it(airflow: tuple[Stack, Simulator]) -> None:
    stack, simulator = airflow
    set_flow(simulator, "group", failing="c")
    group = Group(stack, simulator, "group")
    states = group.wait(ended, "the group to end")
    assert states == {
        **dict.fromkeys(("start", "a", "b", "d", "after_d"), "success"),
        "c": "failed",
        **dict.fromkeys("ef", "upstream_failed"),
    }
    [first] = group.instances
    set_flow(simulator, "group")
    group.run.wait_for_run("failed")
    group.clear("c", "e", "f")
    states = group.wait(lambda states: ended(states) and states["f"] == "success", "the group to succeed")
    assert set(states.values()) == {"success"}
    first, second = group.instances
    assert second["from_task_id"] == task_id("c", group.flow_id)
    assert group.nodes_of(second) == {**dict.fromkeys("abd", "INIT"), **dict.fromkeys("cef", "SUCCESS")}
    for node in "cef":
        assert group.of(node).xcom("flow_instance_id") == second["id"]
    for node in "abd":
        assert group.of(node).xcom("flow_instance_id") == first["id"]
