"""A DAG that the end of an instance in EnOS schedules, and one for failures of two flows."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_enos.triggers.enos import EnosFlowEventTrigger


def ended(name: str, flow_id: int, **arguments: Any) -> Asset:
    trigger = EnosFlowEventTrigger(flow_id, poll_interval=1, **arguments)
    return Asset(name, watchers=[AssetWatcher(name=name, trigger=trigger)])


def run_for(dag_id: str, asset: Asset) -> None:
    with DAG(dag_id, schedule=asset):

        @task(task_id="task")
        def payloads(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
            return [event.extra["payload"] for event in triggering_asset_events[asset]]

        payloads()


run_for("on_end", ended("any_end", 8101))
run_for("on_failure", ended("failure", 8102, statuses=["FAIL"]))
