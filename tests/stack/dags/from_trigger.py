"""A sensor that starts and ends in the triggerer, for an instance whose id is known only when the DAG runs."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor

with DAG("from_trigger", schedule=None):
    start = EnosTriggerFlowFromTaskOperator(
        task_id="start", flow_id=8006, from_task_id=80060, wait_for_completion=False
    )
    EnosFlowInstanceSensor(
        task_id="task", flow_instance_id=start.output, poke_interval=1, timeout=600, start_from_trigger=True
    )
