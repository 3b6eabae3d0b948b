"""Arguments that are known only when the task runs: such as cannot work, and such as native rendering makes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator, EnosTriggerFlowOperator
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor, EnosFlowSensor

FIRST = pendulum.datetime(2020, 7, 1, tz="UTC")
DEFAULTS = {"retries": 2, "retry_delay": timedelta(0), "deferrable": False}


@task
def given(values: Any) -> Any:
    return values


with DAG("refused", schedule=None, start_date=FIRST, default_args=DEFAULTS):
    ids = given.override(task_id="ids")(["meter_readings_daily"])
    EnosTriggerFlowFromTaskOperator.partial(task_id="mapped_id", from_task_id=108580).expand(flow_id=ids)
    all_of_it = given.override(task_id="all_of_it")([{"flow_id": 3377, "parameters": {"a": 0.5}}])
    EnosTriggerFlowOperator.partial(task_id="mapped_parameters").expand_kwargs(all_of_it)
    flags = given.override(task_id="flags")(["false"])
    EnosFlowSensor.partial(task_id="mapped_flag", flow_id=3377).expand(check_existence=flags)
    instances = given.override(task_id="instances")([3377])
    EnosFlowInstanceSensor.partial(task_id="mapped_instance").expand(flow_instance_id=instances)
    EnosTriggerFlowOperator(task_id="template_id", flow_id="{{ 'meter_readings_daily' }}")
    EnosTriggerFlowOperator(task_id="template_time", flow_id=3377, trigger_time="{{ '202403030000' }}")
    EnosTriggerFlowOperator(task_id="template_connection", flow_id=3377, enos_conn_id="{{ '' }}")
    EnosFlowSensor(task_id="template_window", flow_id=3377, window_start="{{ '2024-03-03' }}")

with DAG("native", schedule=None, start_date=FIRST, default_args=DEFAULTS, render_template_as_native_obj=True):
    EnosTriggerFlowOperator(
        task_id="texts",
        flow_id="{{ '3377' }}",
        trigger_time="{{ '1594016819108' }}",
        parameters={"day": "{{ '20240302' }}", "site": "{{ '007' }}", "factor": "'{{ 1.5 }}'", "plain": "20240302"},
        poll_interval=0.1,
    )
    EnosTriggerFlowOperator(
        task_id="whole",
        flow_id="{{ 4001 }}",
        trigger_time="{{ macros.datetime(2020, 7, 6, 6, 26, tzinfo=dag_run.start_date.tzinfo) }}",
        parameters="{{ {'day': 20240302} }}",
        wait_for_completion=False,
    )
    EnosTriggerFlowFromTaskOperator(
        task_id="run_after",
        flow_id="{{ 4002 }}",
        from_task_id="{{ '40021' }}",
        trigger_time="{{ dag_run.run_after | default(data_interval_end) }}",
        wait_for_completion=False,
    )
