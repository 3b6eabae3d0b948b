"""Show what a failed, a cancelled and a skipped flow instance look like in Airflow.

The flows are built into the simulator: 4001 fails at its second node, 4002 is cancelled by somebody in EnOS, 4003 is
skipped. The first two tasks fail, and their messages say what happened and where. The third task is skipped. The last
task always runs, and finds the ids of all three instances in XCom.
"""

from __future__ import annotations

import pendulum

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator

ENDS = {"failed": (4001, 40011), "cancelled": (4002, 40021), "skipped": (4003, 40031)}

with DAG(
    dag_id="enos_how_instances_end",
    schedule=None,
    start_date=pendulum.datetime(2020, 7, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    tags=["example", "enos"],
):

    @task(trigger_rule="all_done")
    def report(ids: dict[str, str]) -> dict[str, str]:
        return ids

    # [START howto_how_instances_end]
    instances = {
        end: EnosTriggerFlowFromTaskOperator(
            task_id=end,
            flow_id=flow_id,
            from_task_id=from_task_id,
            poll_interval=1,
        ).output
        for end, (flow_id, from_task_id) in ENDS.items()
    }
    report(instances)
    # [END howto_how_instances_end]
