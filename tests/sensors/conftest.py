from __future__ import annotations

from typing import Any

import pytest
from sensor_tasks import STAMP, TRIGGER_TIME, MakeSensor, Sensor
from worker import StateStore

from airflow_provider_enos.simulator import EnosSimulator


@pytest.fixture
def sensor(connection: EnosSimulator, short_pauses: None) -> MakeSensor:
    """A sensor for an instance of ``flow_id``, which somebody has started."""

    def make(flow_id: int = 3377, store: StateStore | None = None, **arguments: Any) -> Sensor:
        if flow_id and not connection.instances_of(flow_id):
            connection.trigger(flow_id, None, TRIGGER_TIME)
        defaults = {"flow_instance_id": f"{flow_id}-{STAMP}", "poke_interval": 0.01}
        return Sensor({**defaults, **arguments}, store)

    return make
