"""Which tasks begin in the triggerer, and with what."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_enos.operators.node import EnosFlowNodeOperator
from airflow_provider_enos.version_compat import BaseOperator, triggers_are_told_of_kills

needs_airflow = pytest.mark.skipif(not triggers_are_told_of_kills(), reason="only Airflow 3.3 and later can")


def node(**arguments: Any) -> EnosFlowNodeOperator:
    return EnosFlowNodeOperator(
        **{"task_id": "node", "flow_id": 1, "node": 2, "node_name": "x", "start_task_id": "start", **arguments}
    )


@pytest.mark.skipif(triggers_are_told_of_kills(), reason="where Airflow cannot")
def test_before_airflow_3_3_all_begin_in_a_worker() -> None:
    assert not getattr(node(), "start_from_trigger", False)
    assert node().start_trigger_args is None


@needs_airflow
def test_what_the_trigger_gets_is_json() -> None:
    args = node(timeout=timedelta(hours=1), org_id="{{ params.org }}", user_id=None).start_trigger_args
    kwargs = json.loads(json.dumps(args.trigger_kwargs))
    assert args.trigger_cls == "airflow_provider_enos.triggers.node.EnosFlowNodeTrigger"
    assert args.next_method == "execute_complete"
    assert args.timeout is None, "Airflow would end the task without asking"
    assert (kwargs["timeout"], kwargs["deadline"], kwargs["org_id"], kwargs["user_id"]) == (
        3600,
        None,
        "{{ params.org }}",
        None,
    )


@needs_airflow
def test_execution_timeout_bounds_the_wait() -> None:
    shorter = node(execution_timeout=timedelta(minutes=5)).start_trigger_args
    assert shorter.trigger_kwargs["timeout"] == 300.0
    assert node(execution_timeout=timedelta(days=30)).start_trigger_args.trigger_kwargs["timeout"] == 7 * 86_400


def test_execution_seconds() -> None:
    assert node().execution_seconds == inf
    assert node(execution_timeout=timedelta(minutes=5)).execution_seconds == 300.0


@needs_airflow
def test_the_output_of_another_task_is_looked_up_by_the_triggerer() -> None:
    with DAG("dag", schedule=None):
        source = BaseOperator(task_id="source")
        args = node(enos_conn_id=source.output).start_trigger_args
    assert args.trigger_kwargs["enos_conn_id"].startswith("{{ ti.xcom_pull(task_ids='source', key='return_value'")


@needs_airflow
def test_what_a_trigger_cannot_resolve_begins_in_a_worker() -> None:
    with DAG("dag", schedule=None):
        source = BaseOperator(task_id="source")
        task = node(enos_conn_id=source.output.map(str))
    assert not task.start_from_trigger


@needs_airflow
def test_a_time_becomes_text() -> None:
    from airflow_provider_enos.utils.templates import for_trigger

    assert for_trigger(datetime(2024, 3, 2, tzinfo=UTC)) == "2024-03-02T00:00:00+00:00"


@needs_airflow
@pytest.mark.parametrize("when", ["given", "later"])
def test_a_task_with_outlets_ends_in_a_worker(when: str) -> None:
    """Airflow registers no asset event for a task that ends in the triggerer."""
    from airflow.sdk import Asset

    task = node(outlets=[Asset("readings")]) if when == "given" else node()
    if when == "later":
        assert task.start_trigger_args.trigger_kwargs["ends_task"] is True
        task.add_outlets([])
        assert task.start_trigger_args.trigger_kwargs["ends_task"] is True
        task.add_outlets([Asset("readings")])
    assert task.start_trigger_args.trigger_kwargs["ends_task"] is False
