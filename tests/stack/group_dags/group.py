"""A flow of six nodes as a task group. Its definition is written by the test, beside this file's copy."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, task

from airflow_provider_enos.task_groups.enos import EnosFlowTaskGroup

for dag_id, retries in (("group", 0), ("group_retries", 1)):
    with DAG(dag_id, schedule=None, default_args={"retries": retries, "retry_delay": timedelta(seconds=1)}):
        nodes = EnosFlowTaskGroup(
            "nodes", definition=f"{dag_id}.json", trigger_time="2026-03-03T00:00:00+00:00", poll_interval=2
        )

        @task
        def after_d() -> None:
            pass

        nodes["d"] >> after_d()
