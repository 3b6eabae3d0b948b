"""Start an EnOS flow, do something else meanwhile, and wait for the flow in a task of its own.

The sensor is in reschedule mode: between two looks it holds no worker slot.
"""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

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
    def meanwhile() -> str:
        return "the worker is free for this"

    start >> meanwhile()
