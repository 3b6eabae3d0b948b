"""Sensors that are to start in the triggerer, where Airflow cannot do it."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
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
