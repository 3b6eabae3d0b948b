"""Each day, let EnOS clean and publish the meter readings of the day before."""

from __future__ import annotations

import pendulum

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator

# [START quickstart]
with DAG(
    "meter_readings",
    schedule="@daily",
    start_date=pendulum.datetime(2024, 3, 1, tz="UTC"),
    catchup=False,
) as dag:
    EnosTriggerFlowFromTaskOperator(
        task_id="clean_meter_readings",
        flow_id=3377,
        from_task_id=108580,
        retries=2,
    )
# [END quickstart]
