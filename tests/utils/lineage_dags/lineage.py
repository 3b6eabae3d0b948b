"""Tasks whose OpenLineage events are looked at: one that defers, a sensor of its instance, and one that fails."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator, EnosTriggerFlowOperator
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor

with DAG("lineage", schedule=None, start_date=pendulum.datetime(2020, 7, 1, tz="UTC")):
    started = EnosTriggerFlowFromTaskOperator(
        task_id="started",
        flow_id=3377,
        from_task_id="{{ 108580 }}",
        trigger_time=1594016819108,
        poll_interval=0.1,
        deferrable=True,
    )
    EnosFlowInstanceSensor(task_id="waited", flow_instance_id=started.output, poke_interval=0.1, deferrable=False)
    EnosTriggerFlowOperator(
        task_id="failed", flow_id=4001, trigger_time=1594016819108, poll_interval=0.1, deferrable=False
    )
