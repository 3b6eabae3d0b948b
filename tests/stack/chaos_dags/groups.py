"""The flow of group.json as a task group, whose nodes wait in the triggerer or in workers. A run brings its minute."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_enos.task_groups.enos import EnosFlowTaskGroup

for name, deferrable in {"group_deferred": True, "group_sync": False}.items():
    with DAG(name, schedule=None, default_args={"retries": 5, "retry_delay": timedelta(seconds=1)}):
        EnosFlowTaskGroup(
            "nodes",
            definition="group.json",
            trigger_time="{{ dag_run.conf['trigger_time'] }}",
            poll_interval=0.5,
            deferrable=deferrable,
        )
