"""Show an EnOS flow as a task group: each node is a task, and each task ends as its node ends in EnOS.

``airflow enos export 3377 -o flows/meter_readings.json`` has written the definition. ``quality_report`` begins as soon
as the node ``aggregate`` has ended, while the other nodes still run.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task

from airflow_provider_enos.task_groups.enos import EnosFlowTaskGroup

with DAG(
    dag_id="enos_task_group",
    schedule="@daily",
    start_date=pendulum.datetime(2020, 7, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=5)},
    tags=["example", "enos"],
):

    @task
    def quality_report(flow_instance_id: str) -> str:
        return f"checked what {flow_instance_id} has computed"

    @task
    def notify() -> None:
        print("The readings of the day are there")

    # [START howto_task_group_enos]
    readings = EnosFlowTaskGroup("meter_readings", definition="flows/meter_readings.json", poll_interval=5)
    quality_report(readings["aggregate"].output)
    readings >> notify()
    # [END howto_task_group_enos]
