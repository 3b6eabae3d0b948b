"""A flow of six nodes as a task group, for each thing that can befall it a DAG with a flow of its own."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_enos.task_groups.enos import EnosFlowTaskGroup

DAGS = ("clears", "siblings", "retries", "waits", "restarts")
"""The test writes the definition of each flow beside this file."""


@task
def after_d() -> None:
    """Needs one node only."""


for dag_id in DAGS:
    defaults = {"retries": 1 if dag_id == "retries" else 0, "retry_delay": timedelta(seconds=1)}
    with DAG(dag_id, schedule=None, default_args=defaults):
        nodes = EnosFlowTaskGroup(
            "nodes", definition=f"{dag_id}.json", trigger_time="2026-03-03T00:00:00+00:00", poll_interval=1
        )
        nodes["d"] >> after_d()
