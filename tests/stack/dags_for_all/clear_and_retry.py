"""One DAG for each thing that can befall a task that waits in a worker, each with a flow of its own."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator

FLOWS = {
    "is_killed": 8101,
    "fails_in_enos": 8102,
    "is_cleared_after_success": 8103,
    "is_marked_failed_while_it_runs": 8104,
    "is_cleared": 8105,
    "is_cleared_and_keeps_its_state": 8106,
    "is_cleared_with_its_run": 8107,
    "is_cleared_by_command": 8108,
}

for name, flow_id in FLOWS.items():
    with DAG(name, schedule=None):
        EnosTriggerFlowFromTaskOperator(
            task_id="task",
            flow_id=flow_id,
            from_task_id=flow_id * 10,
            trigger_time="2026-03-03T00:00:00+00:00",
            poll_interval=0.5,
            retries=1,
            retry_delay=timedelta(seconds=1),
            deferrable=False,
        )
