"""The arguments of the task that starts a group."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG
from groups import DEFINITION, NODES

from airflow_provider_enos.operators.group_start import EnosFlowGroupStartOperator
from airflow_provider_enos.task_groups.enos import EnosFlowTaskGroup


def start(**arguments: Any) -> EnosFlowGroupStartOperator:
    with DAG("dag", schedule=None):
        return EnosFlowTaskGroup("nodes", definition=DEFINITION.to_json(), **arguments).start


def test_the_whole_flow() -> None:
    choice = start(parameters={"site": "EMEA"}).choice()
    assert choice.flow.id == DEFINITION.flow_id
    assert choice.node is None
    assert choice.parameters == {"site": "EMEA"}


@pytest.mark.parametrize("given", [{"from_task_id": 2}, {"from_task_id": "2"}, {"from_task_name": "b"}])
def test_a_node(given: dict[str, Any]) -> None:
    choice = start(**given).choice()
    assert choice.node is not None
    assert choice.node.id == NODES["b"]
    assert choice.parameters is None


@pytest.mark.parametrize("where", ["given", "default_args"])
def test_a_node_takes_no_parameters(where: str) -> None:
    parameters = {"parameters": {"site": "EMEA"}}
    arguments = parameters if where == "given" else {"default_args": parameters}
    with pytest.raises(ValueError, match="parameters: Trigger Flow From Task takes none"):
        start(from_task_name="b", **arguments)


@pytest.mark.parametrize(
    "argument",
    [
        {"parameters": {"site": 1.5}},
        {"trigger_time": "soon"},
        {"on_conflict": "wait"},
        {"timeout": -1},
        {"enos_conn_id": ""},
        {"task_logs": "some"},
        {"deferrable": "no"},
    ],
)
def test_arguments_are_checked(argument: dict[str, Any]) -> None:
    (name,) = argument
    with pytest.raises(ValueError, match=f"task nodes.*{name}"):
        start(**argument)


def test_default_args_that_are_for_other_tasks_do_not_disturb() -> None:
    others = {"flow_name": "other", "flow_id": 5, "wait_for_completion": True, "deferrable": True, "from_task_id": 9}
    one = start(default_args={**others, "retry_from": "failure"})
    assert (one.flow_id, one.flow_name, one.from_task_id) == (DEFINITION.flow_id, None, None)
    assert not one.wait_for_completion
    assert not one.deferrable
    # Otherwise nodes before the failed one would never run in the instance of the group.
    assert one.retry_from == "start"
