"""Sensors that start in the triggerer, for instances and windows that are known only when the DAG runs."""

from __future__ import annotations

from collections.abc import Iterable

from airflow.sdk import DAG, task, task_group

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor, EnosFlowSensor


def start(flow_id: int) -> EnosTriggerFlowFromTaskOperator:
    return EnosTriggerFlowFromTaskOperator(
        task_id="start", flow_id=flow_id, from_task_id=flow_id * 10, wait_for_completion=False
    )


with DAG("from_trigger", schedule=None):
    EnosFlowInstanceSensor(
        task_id="task", flow_instance_id=start(8006).output, poke_interval=1, timeout=600, start_from_trigger=True
    )

with DAG("mapped_from_trigger", schedule=None):

    @task
    def ids(started: str) -> list[str]:
        return [started]

    @task(task_id="task")
    def gathered(ended: Iterable[str]) -> list[str]:
        return list(ended)

    sensors = EnosFlowInstanceSensor.partial(
        task_id="wait", poke_interval=1, timeout=600, start_from_trigger=True
    ).expand(flow_instance_id=ids(start(8007).output))
    gathered(sensors.output)

with DAG("group_from_trigger", schedule=None):

    @task
    def those(started: str) -> list[str]:
        return [started]

    @task
    def same(instance: str) -> str:
        return instance

    @task(task_id="task")
    def all_of(*ended: str | Iterable[str]) -> list[str]:
        # From 3.4 on, Airflow gives a list also where a group is mapped over one thing.
        return [one for each in ended for one in ([each] if isinstance(each, str) else each)]

    waits: list[EnosFlowInstanceSensor] = []

    @task_group
    def each(instance: str) -> None:
        for name, source in (("argument", instance), ("sibling", same(instance))):
            waits.append(
                EnosFlowInstanceSensor(
                    task_id=name, flow_instance_id=source, poke_interval=1, timeout=600, start_from_trigger=True
                )
            )

    each.expand(instance=those(start(8009).output))
    all_of(*(wait.output for wait in waits))

with DAG("window_from_trigger", schedule=None):
    EnosFlowSensor(
        task_id="task",
        flow_id="{{ 8000 + 8 }}",
        # A run that is triggered has no data interval.
        window_start="{{ dag_run.run_after - macros.timedelta(days=1) }}",
        window_end="{{ dag_run.run_after }}",
        poke_interval=1,
        timeout=600,
        start_from_trigger=True,
    )

with DAG("window_without_interval", schedule=None):
    EnosFlowSensor(task_id="task", flow_id=8008, poke_interval=1, timeout=600, start_from_trigger=True)
