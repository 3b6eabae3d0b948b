"""Call EnOS from a task of your own: list the nodes of a flow, and the instances that failed since yesterday."""

from __future__ import annotations

from datetime import timedelta

import pendulum

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task

with DAG(
    dag_id="enos_look_around",
    schedule=None,
    start_date=pendulum.datetime(2020, 7, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    tags=["example", "enos"],
):
    # [START howto_hook_enos]
    @task
    def nodes() -> dict[str, str]:
        from airflow_provider_enos.hooks.enos import EnosHook

        flow = EnosHook().get_flow(3377)
        return {node.task_name: str(node.task_id) for node in flow.nodes}

    @task
    def failed_since_yesterday() -> list[str]:
        from airflow_provider_enos.hooks.enos import EnosHook
        from airflow_provider_enos.protocol.models import FlowStatus

        now = pendulum.now("UTC")
        found = EnosHook().list_flow_instances(now - timedelta(days=1), now, status=FlowStatus.FAIL)
        return [instance.flow_instance_id for instance in found]

    # [END howto_hook_enos]

    nodes()
    failed_since_yesterday()
