"""The task of a node in a task group: the view knows which node it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflows import AIRFLOW

from airflow_provider_enos.operators.node import EnosFlowNodeOperator
from airflow_provider_enos.plugins.view.picture import Seen, of_instance
from airflow_provider_enos.protocol.models import FlowInstanceGraph

if AIRFLOW < (3, 1):
    pytest.skip("Airflow before 3.1 has no tabs", allow_module_level=True)


def test_the_page_can_tell_nodes_by_the_ids_of_their_tasks() -> None:
    names = {108580: "clean", 108581: "aggregate"}
    tasks = [
        {"taskId": node, "taskName": name, "taskInstId": f"{node}-20200706062600", "nodeId": f"t_{node}"}
        for node, name in names.items()
    ]
    flows = [{"flowId": 1, "flowName": "before", "nodeId": "f_1"}]
    graph = json.dumps({"tasks": tasks, "relations": [], "flows": flows})
    data = {"instanceId": "3377-20200706062600", "status": 2, "flowName": "readings", "graph": graph}
    drawn = of_instance(Seen(FlowInstanceGraph.parse(data), {}, None))
    assert {node["name"]: node["task_id"] for node in drawn["nodes"]} == {
        "before": None,
        "clean": 108580,
        "aggregate": 108581,
    }


@pytest.mark.parametrize(
    ("known", "node"),
    [("108580", 108580), (" 7 ", 7), (None, None), ("", None), ("{{ node }}", None), ("1.5", None), ("9" * 19, None)],
)
def test_what_is_on_record_as_the_node_is_a_number_or_nothing(known: str | None, node: int | None) -> None:
    from airflow_provider_enos.plugins.view import record

    assert record._number(known) == node


def test_the_node_is_a_template_field_so_that_airflow_stores_it() -> None:
    from airflow_provider_enos.plugins.view import record

    task: Any = EnosFlowNodeOperator(
        task_id="clean", flow_id=3377, node=108580, node_name="clean", start_task_id="start"
    )
    assert set(task.template_fields) & set(record._ARGUMENTS) == {
        "flow_id",
        "node",
        "enos_conn_id",
        "org_id",
        "user_id",
    }
    assert record._known(task.node) == "108580"
