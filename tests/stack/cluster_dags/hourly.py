"""As many hours to catch up on, all at once, as the test wants runs; each its own trigger time."""

from __future__ import annotations

import os

import pendulum
from airflow.sdk import DAG

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator

RUNS = int(os.environ["ENOS_CLUSTER_RUNS"])
FIRST = pendulum.datetime(2025, 1, 1, tz="UTC")

with DAG(
    "hourly",
    schedule="@hourly",
    start_date=FIRST,
    end_date=FIRST.add(hours=RUNS - 1),
    catchup=True,
    max_active_runs=RUNS,
    default_args={"retries": 5, "retry_delay": pendulum.duration(seconds=5)},
):
    EnosTriggerFlowFromTaskOperator(
        task_id="task", flow_id=8401, from_task_id=84010, deferrable=True, poll_interval=10, pool="enos"
    )
