"""A daily DAG with 200 days to catch up on, all at once."""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator

with DAG(
    "daily",
    schedule="@daily",
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    end_date=pendulum.datetime(2025, 7, 19, tz="UTC"),
    catchup=True,
    max_active_runs=200,
    max_active_tasks=200,
    # With 200 tasks that want to start at once Airflow itself may lose one before it runs.
    default_args={"retries": 3, "retry_delay": pendulum.duration(seconds=1)},
):
    EnosTriggerFlowFromTaskOperator(task_id="task", flow_id=8301, from_task_id=83010, wait_for_completion=False)
