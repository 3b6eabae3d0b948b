"""One DAG for each way of running the operator; the flow comes with the run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator

VARIANTS: dict[str, dict[str, Any]] = {
    "sync": {"deferrable": False},
    "deferred": {"deferrable": True},
    "unfollowed": {"wait_for_completion": False},
    "late_sync": {"deferrable": False, "timeout": 4},
    "late_deferred": {"deferrable": True, "timeout": 4},
    "recovering_sync": {"deferrable": False, "retry_from": "failure", "retries": 2},
    "recovering_deferred": {"deferrable": True, "retry_from": "failure", "retries": 2},
}

for name, options in VARIANTS.items():
    with DAG(name, schedule=None):
        EnosTriggerFlowFromTaskOperator(
            task_id="task",
            flow_id="{{ dag_run.conf['flow_id'] }}",
            from_task_id="{{ dag_run.conf['flow_id'] * 10 }}",
            poll_interval=0.5,
            retry_delay=timedelta(seconds=1),
            **{"retries": 1, **options},
        )
