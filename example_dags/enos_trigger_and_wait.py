"""Start an EnOS flow from one of its task nodes each day, and end as the flow instance ends.

The flow and the node are the ones of the EnOS documentation. They are built into the simulator.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator

with DAG(
    dag_id="enos_trigger_and_wait",
    schedule="@daily",
    start_date=pendulum.datetime(2020, 7, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    tags=["example", "enos"],
):
    # [START howto_operator_enos_trigger_flow_from_task]
    EnosTriggerFlowFromTaskOperator(
        task_id="clean_meter_readings",
        flow_id=3377,
        from_task_id=108580,
        poll_interval=5,
        timeout=timedelta(hours=2),
        retries=2,
    )
    # [END howto_operator_enos_trigger_flow_from_task]
