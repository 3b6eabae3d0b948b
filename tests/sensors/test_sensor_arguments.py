"""Arguments that come from the DAG."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_enos.sensors.enos import EnosFlowSensor


def test_default_args_reach_all_arguments() -> None:
    given = {"flow_id": 7001, "org_id": "o1", "task_logs": "none", "poll_error_tolerance": 5, "instances": "any"}
    with DAG("dag", schedule=None, default_args=given):
        one = EnosFlowSensor(task_id="wait")
    assert (one.flow_id, one.org_id, one.task_logs, one.poll_error_tolerance) == (7001, "o1", "none", 5)
    assert one.trigger_arguments["instances"] == "any"
