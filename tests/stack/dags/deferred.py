"""One DAG for each thing that can happen to a deferred task, each with a flow of its own."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator

FLOWS = {
    "succeeds": 8001,
    "is_marked_failed": 8002,
    "is_cleared": 8003,
    "outlives": 8004,
    "is_late": 8005,
}

for name, flow_id in FLOWS.items():
    with DAG(name, schedule=None):
        EnosTriggerFlowFromTaskOperator(
            task_id="task",
            flow_id=flow_id,
            from_task_id=flow_id * 10,
            poll_interval=1,
            timeout=6 if name == "is_late" else 600,
            poll_error_tolerance=120,
            deferrable=True,
        )
