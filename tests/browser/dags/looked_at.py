"""What the tests look at: one DAG for each kind of task instance, each with a task ``task``."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task

from airflow_provider_enos.operators.enos import EnosTriggerFlowOperator
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor, EnosFlowSensor

FLOWS = {"runs": 8101, "fails": 8102, "hostile": 8103, "ends": 8105}

for name, flow_id in FLOWS.items():
    with DAG(name, schedule=None):
        EnosTriggerFlowOperator(task_id="task", flow_id=flow_id, poll_interval=2, deferrable=True)

with DAG("not_of_enos", schedule=None):
    EmptyOperator(task_id="task")

for name in ("senses", "ended"):
    with DAG(name, schedule=None):
        EnosFlowInstanceSensor(
            task_id="task", flow_instance_id="{{ dag_run.conf['instance'] }}", poke_interval=2, deferrable=True
        )

with DAG("mapped", schedule=None):

    @task
    def instances(**context: object) -> list[str]:
        return context["dag_run"].conf["instances"]  # type: ignore[attr-defined, no-any-return]

    EnosFlowInstanceSensor.partial(task_id="task", poke_interval=2, deferrable=True).expand(
        flow_instance_id=instances()
    )

with DAG("several", schedule=None):
    (
        EmptyOperator(task_id="prepare")
        >> [
            EnosTriggerFlowOperator(task_id="load", flow_id=8112, poll_interval=2, deferrable=True),
            EnosTriggerFlowOperator(task_id="publish", flow_id=8113, poll_interval=1, deferrable=False),
            EnosFlowInstanceSensor.partial(task_id="wait_for_readings", poke_interval=2, deferrable=True).expand(
                flow_instance_id=instances()
            ),
        ]
        >> EnosTriggerFlowOperator(task_id="report", flow_id=8104)
    )

for name in ("waits", "forgotten"):
    with DAG(name, schedule=None, is_paused_upon_creation=True):
        EnosTriggerFlowOperator(task_id="task", flow_id=8104)

with DAG("retries", schedule=None):
    EnosTriggerFlowOperator(
        task_id="task", flow_id=8108, poll_interval=1, deferrable=False, retries=1, retry_delay=timedelta(hours=1)
    )

with DAG("tried", schedule=None):
    EnosTriggerFlowOperator(
        task_id="task", flow_id=8110, poll_interval=1, deferrable=False, retries=1, retry_delay=timedelta(seconds=1)
    )

with DAG("usual", schedule=None):
    EnosTriggerFlowOperator(task_id="task", flow_id=8111, poll_interval=2, deferrable=True)

with DAG("never_starts", schedule=None):
    # EnOS has no such flow.
    EnosTriggerFlowOperator(task_id="task", flow_id=8199)

with DAG("no_template", schedule=None):
    EnosTriggerFlowOperator(task_id="task", flow_id="{{ dag_run.conf['flow'] }}")

with DAG("window", schedule=None):
    EnosFlowSensor(
        task_id="task",
        flow_id=8109,
        window_start="2020-07-06T00:00:00+00:00",
        window_end="2020-07-07T00:00:00+00:00",
        deferrable=False,
        enos_conn_id="enos_console",
    )
