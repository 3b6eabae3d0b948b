"""Runs as people have them, to be looked at in Airflow's own pages: waited for in the triggerer, and in a worker."""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator

for name, flow_id, deferrable in (("meter_readings", 8106, True), ("meter_readings_in_worker", 8107, False)):
    with DAG(name, schedule=None):
        clean = EnosTriggerFlowFromTaskOperator(
            task_id="clean_meter_readings",
            flow_id=flow_id,
            from_task_id=flow_id * 10 + 1,
            poll_interval=1,
            deferrable=deferrable,
            task_logs="all",
            enos_conn_id="enos_console",
        )
        clean >> EmptyOperator(task_id="publish")
