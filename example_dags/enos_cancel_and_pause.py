"""Cancel a flow instance, and switch the flow's own schedule off until that is done."""

from __future__ import annotations

import pendulum

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_enos.operators.enos import (
    EnosCancelFlowInstanceOperator,
    EnosDisableFlowOperator,
    EnosEnableFlowOperator,
    EnosTriggerFlowOperator,
)

with DAG(
    dag_id="enos_cancel_and_pause",
    schedule=None,
    start_date=pendulum.datetime(2020, 7, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    tags=["example", "enos"],
):
    # A flow that takes a minute, so that there is something to cancel.
    start = EnosTriggerFlowOperator(task_id="start", flow_id=4009, wait_for_completion=False)

    # [START howto_operator_enos_cancel_flow_instance]
    cancel = EnosCancelFlowInstanceOperator(
        task_id="cancel",
        flow_instance_id=start.output,
        poll_interval=1,
        on_ended="skip",
    )
    # [END howto_operator_enos_cancel_flow_instance]

    # [START howto_operator_enos_enable_disable_flow]
    pause = EnosDisableFlowOperator(task_id="pause", flow_id=4009)
    resume = EnosEnableFlowOperator(task_id="resume", flow_id=4009, trigger_rule="all_done")
    # [END howto_operator_enos_enable_disable_flow]

    start >> pause >> cancel >> resume
