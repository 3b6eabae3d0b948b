"""Run a DAG when a flow has ended in EnOS, started by its own schedule, a person or another program.

For Airflow 3. Each instance of the flow that succeeds is an event of the asset. Airflow starts this DAG for it, and may
give one run several events.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_enos.triggers.enos import EnosFlowEventTrigger

# [START howto_trigger_enos_flow_event]
meter_readings = Asset(
    "meter_readings",
    watchers=[
        AssetWatcher(
            name="enos_flow_3377",
            trigger=EnosFlowEventTrigger(flow_id=3377, statuses=["SUCCESS"]),
        )
    ],
)

with DAG(dag_id="enos_run_on_flow_end", schedule=meter_readings, doc_md=__doc__, tags=["example", "enos"]):

    @task
    def report(triggering_asset_events: Any = None) -> list[str]:
        ended = [event.extra["payload"] for event in triggering_asset_events[meter_readings]]
        for instance in ended:
            print(f"{instance['flow_instance_id']} has computed {instance['business_date']}: {instance['status']}")
        return [instance["flow_instance_id"] for instance in ended]

    report()
# [END howto_trigger_enos_flow_event]
