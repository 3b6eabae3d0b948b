"""What ``make ui`` starts: a flow that fails, a slow one, and fifty waits. ``scripts/ui.py`` gives EnOS these flows."""

from __future__ import annotations

import os

from airflow.sdk import DAG

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator, EnosTriggerFlowOperator

NUMBER = int(os.environ["ENOS_UI_WAITS"])
FAILS = """\
A task whose flow fails at a node. The tab "EnOS" of the task shows which node and why; the log ends with the reason.
Clear the task, and it starts another instance.
"""
SLOW = 'A task whose flow takes five minutes. The tab "EnOS" of the task shows each node as it starts and ends.'
WAITS = "Many tasks that wait for a flow each. All of them wait in the triggerer, so none of them uses a worker."

with DAG("tour_1_fails", schedule=None, doc_md=FAILS, tags=["tour"]):
    EnosTriggerFlowFromTaskOperator(task_id="load_tariffs", flow_id=5101, from_task_id=51011, priority_weight=9)

with DAG("tour_2_slow", schedule=None, doc_md=SLOW, tags=["tour"]):
    EnosTriggerFlowOperator(task_id="settle_month", flow_id=5102, deferrable=True, priority_weight=9)

with DAG("tour_3_waits", schedule=None, doc_md=WAITS, tags=["tour"]):
    EnosTriggerFlowOperator.partial(task_id="read_site", deferrable=True).expand(
        flow_id=[5200 + number for number in range(1, NUMBER + 1)]
    )
