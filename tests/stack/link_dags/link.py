"""A task for each way to wait, whose link is looked at from outside."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor

for name, flow_id, deferrable in (("link_running", 8101, False), ("link_deferred", 8102, True)):
    with DAG(name, schedule=None):
        EnosTriggerFlowFromTaskOperator(
            task_id="task", flow_id=flow_id, from_task_id=flow_id * 10, poll_interval=1, deferrable=deferrable
        )

with DAG("link_from_trigger", schedule=None):
    start = EnosTriggerFlowFromTaskOperator(
        task_id="start", flow_id=8103, from_task_id=81030, wait_for_completion=False
    )
    EnosFlowInstanceSensor(
        task_id="task", flow_instance_id=start.output, poke_interval=1, timeout=600, start_from_trigger=True
    )
