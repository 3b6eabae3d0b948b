"""The sensors for EnOS flows and flow instances."""

from __future__ import annotations

from airflow_provider_enos.sensors.flow import EnosFlowSensor
from airflow_provider_enos.sensors.flow_instance import EnosFlowInstanceSensor

__all__ = ["EnosFlowInstanceSensor", "EnosFlowSensor"]
