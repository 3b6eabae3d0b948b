"""Wait for flows that EnOS runs by its own schedule.

In the package's simulator, flow 4010 runs each day and flow 3388 each hour.

The DAG starts nothing in EnOS. Each sensor waits for the instances whose trigger times lie in the 24 hours before the
DAG run. The start of this window is given, since in Airflow 3 the data interval of a cron schedule is empty.
"""

from __future__ import annotations

import pendulum

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task

from airflow_provider_enos.sensors.enos import EnosFlowSensor

with DAG(
    dag_id="enos_wait_for_schedule",
    schedule="@daily",
    start_date=pendulum.datetime(2020, 7, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    tags=["example", "enos"],
):

    @task
    def report(daily: list[str], hourly: list[str]) -> dict[str, list[str]]:
        return {"daily": daily, "hourly": hourly}

    # [START howto_sensor_enos_flow]
    daily = EnosFlowSensor(
        task_id="daily",
        flow_id=4010,
        window_start="{{ data_interval_end - macros.timedelta(days=1) }}",
        poke_interval=5,
        timeout=3600,
        mode="reschedule",
    )
    # [END howto_sensor_enos_flow]
    hourly = EnosFlowSensor(
        task_id="hourly",
        flow_id=3388,
        window_start="{{ data_interval_end - macros.timedelta(days=1) }}",
        instances="latest",
        poke_interval=5,
        timeout=3600,
        deferrable=True,
    )
    report(daily.output, hourly.output)
