"""Start a DAG for the day that EnOS has computed.

For Airflow 3.3. The first DAG has EnOS compute a day. Its asset event names the instance, and has the business date of
EnOS as its partition key. The second DAG runs for that day, and for no other event of the asset.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, PartitionedAssetTimetable, task

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator

# [START howto_outlet_by_day]
clean_readings = Asset("clean_meter_readings")

with DAG(
    dag_id="enos_outlet_by_day",
    schedule="@daily",
    start_date=pendulum.datetime(2020, 7, 1, tz="Asia/Shanghai"),
    catchup=False,
    doc_md=__doc__,
    tags=["example", "enos"],
):
    EnosTriggerFlowFromTaskOperator(
        task_id="clean_meter_readings",
        flow_id=3377,
        from_task_id=108580,
        outlets=[clean_readings],
        outlet_partition="business_date",
    )

with DAG(
    dag_id="enos_report_of_day",
    schedule=PartitionedAssetTimetable(assets=clean_readings),
    doc_md=__doc__,
    tags=["example", "enos"],
):

    @task
    def report(dag_run: Any = None, triggering_asset_events: Any = None) -> dict[str, Any]:
        (event,) = triggering_asset_events[clean_readings]
        print(f"{event.extra['flow_instance_id']} has computed {dag_run.partition_key}")
        return {"day": dag_run.partition_key, **event.extra}

    report()
# [END howto_outlet_by_day]
