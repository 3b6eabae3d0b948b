"""A flow as a task group, as the tests look at it."""

from __future__ import annotations

from airflow.sdk import DAG, task

from airflow_provider_enos.task_groups.enos import EnosFlowTaskGroup

with DAG("grouped", schedule=None):
    readings = EnosFlowTaskGroup(
        "readings", definition="grouped.json", poll_interval=2, task_logs="failed", enos_conn_id="enos_console"
    )

    @task
    def quality_report() -> None:
        pass

    @task
    def notify() -> None:
        pass

    readings["aggregate"] >> quality_report()
    readings >> notify()
