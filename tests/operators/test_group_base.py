"""What the tasks of a group know of each other."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG
from groups import DEFINITION, NODES

from airflow_provider_enos.operators.group_base import node_tasks
from airflow_provider_enos.operators.node import EnosFlowNodeOperator
from airflow_provider_enos.task_groups.enos import EnosFlowTaskGroup


def made() -> EnosFlowTaskGroup:
    with DAG("dag", schedule=None):
        return EnosFlowTaskGroup("nodes", definition=DEFINITION.to_json())


def test_a_node_knows_the_others() -> None:
    assert made()["c"].nodes_beside == [NODES[name] for name in "abdef"]


def test_start_knows_the_tasks_of_nodes() -> None:
    assert made().start.node_task_ids == [f"nodes.{name}" for name in "abcdef"]


def test_a_task_without_a_group() -> None:
    alone = EnosFlowNodeOperator(task_id="node", flow_id=1, node=2, node_name="x", start_task_id="start")
    assert node_tasks(alone) == []
    assert alone.nodes_beside == []


def test_others_in_the_same_group_are_no_nodes() -> None:
    with DAG("dag", schedule=None):
        group = EnosFlowTaskGroup("nodes", definition=DEFINITION.to_json())
        with group:
            EnosFlowNodeOperator.partial(
                task_id="mapped", flow_id=1, node_name="x", start_task_id="start", task_group=group
            ).expand(node=[7])
    assert len(node_tasks(group.start)) == len(NODES)
