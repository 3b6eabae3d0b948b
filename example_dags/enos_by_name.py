"""Give the flow and its node by their names, so that the same DAG runs in each environment.

The ids of a flow and of its nodes differ between development and production. Their names are looked up when the task
runs. An Airflow variable could say the name, as a template does here.
"""

from __future__ import annotations

import pendulum

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator

with DAG(
    dag_id="enos_by_name",
    schedule="@daily",
    start_date=pendulum.datetime(2020, 7, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    params={"flow": "meter_readings_daily"},
    tags=["example", "enos"],
):
    # [START howto_operator_enos_by_name]
    clean = EnosTriggerFlowFromTaskOperator(
        task_id="clean_meter_readings",
        flow_name="{{ params.flow }}",
        from_task_name="clean",
        trigger_time="2020-07-06T06:26:59+00:00",
    )
    # [END howto_operator_enos_by_name]
