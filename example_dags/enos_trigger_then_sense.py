"""Start an EnOS flow in one task, and wait for it in another one, so that other tasks can run in between.

The sensor is in reschedule mode: between two polls it uses no worker slot.
"""

from __future__ import annotations

import pendulum

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor

with DAG(
    dag_id="enos_trigger_then_sense",
    schedule="@daily",
    start_date=pendulum.datetime(2020, 7, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    tags=["example", "enos"],
):
    # [START howto_sensor_enos_flow_instance]
    start = EnosTriggerFlowFromTaskOperator(
        task_id="start",
        flow_id=3377,
        from_task_id=108580,
        wait_for_completion=False,
    )
    wait = EnosFlowInstanceSensor(
        task_id="wait",
        flow_instance_id=start.output,
        poke_interval=5,
        timeout=3600,
        mode="reschedule",
    )
    # [END howto_sensor_enos_flow_instance]

    @task
    def in_between() -> str:
        return "the worker is free for this"

    start >> in_between()
