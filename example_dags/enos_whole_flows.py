"""Start whole EnOS flows, with parameters for this run, and wait for them in the triggerer.

The two mapped tasks start the same flow for the same minute. EnOS keeps one instance for each minute, so the second
task takes the next free minute, and logs it.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_enos.operators.enos import EnosTriggerFlowOperator

with DAG(
    dag_id="enos_whole_flows",
    schedule="@daily",
    start_date=pendulum.datetime(2020, 7, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    tags=["example", "enos"],
):
    # [START howto_operator_enos_trigger_flow]
    recompute = EnosTriggerFlowOperator(
        task_id="recompute_day",
        flow_id=3377,
        parameters={"site": "all", "requested_by": "{{ dag.dag_id }}"},
        # EnOS computes the day before: 5 July.
        trigger_time="2020-07-06T06:26:59+00:00",
        on_conflict="attach",
    )
    # [END howto_operator_enos_trigger_flow]

    # [START howto_operator_enos_deferrable]
    by_region = EnosTriggerFlowOperator.partial(
        task_id="by_region",
        flow_id=3377,
        deferrable=True,
        poll_interval=timedelta(minutes=1),
    ).expand(parameters=[{"region": "north"}, {"region": "south"}])
    # [END howto_operator_enos_deferrable]

    recompute >> by_region
