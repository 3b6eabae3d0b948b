"""Sensors that are to start in the triggerer, where Airflow cannot do it."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, TaskDeferred
from sensor_tasks import MakeSensor

from airflow_provider_enos.simulator import EnosSimulator

UNRENDERABLE: dict[str, Any] = {"org_id": lambda context, jinja_env: "o1"}
"""An argument that a triggerer cannot find out."""


def test_a_task_that_cannot_start_in_the_triggerer_says_so_and_defers(sensor: MakeSensor, sim: EnosSimulator) -> None:
    one = sensor(start_from_trigger=True, **UNRENDERABLE)
    one.rendered = {"org_id": sim.org_id}
    sim.progress = "manual"
    with pytest.raises(TaskDeferred):
        one.run()
    assert not one.operator.start_from_trigger
    assert any(line.startswith("Airflow cannot start this task in the triggerer") for line in one.log.lines)


def test_default_args_reach_all_arguments() -> None:
    from airflow_provider_enos.sensors.enos import EnosFlowSensor

    given = {"flow_id": 7001, "org_id": "o1", "task_logs": "none", "poll_error_tolerance": 5, "instances": "any"}
    with DAG("dag", schedule=None, default_args=given):
        one = EnosFlowSensor(task_id="wait")
    assert (one.flow_id, one.org_id, one.task_logs, one.poll_error_tolerance) == (7001, "o1", "none", 5)
    assert one.trigger_arguments["instances"] == "any"
