"""Ends of flow instances in EnOS start DAGs of a real Airflow, each once, also over a triggerer that is killed."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from airflows import AIRFLOW

if AIRFLOW < (3, 3):
    pytest.skip("triggers can keep what they have told from 3.3 on", allow_module_level=True)
from stack import Stack, until

from airflow_provider_enos.simulator import EnosSimulator

Airflow = tuple[Stack, EnosSimulator]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    with EnosSimulator(progress="manual", one_at_a_time=False) as sim:
        for flow_id in (8101, 8102):
            sim.add_flow(flow_id, name=f"flow_{flow_id}", tasks={flow_id * 10: "extract"})
            ended(sim, flow_id, "FAIL", hours_ago=9)
        stack = Stack(tmp_path_factory.mktemp("stack"), Path(__file__).parent / "event_dags", sim.connection_json)
        try:
            stack.start()
            yield stack, sim
        finally:
            stack.stop()


def ended(sim: EnosSimulator, flow_id: int, status: str, hours_ago: int) -> str:
    """An instance that EnOS's own schedule has started, and that has ended."""
    instance = sim.trigger(flow_id, trigger_time=int(time.time() * 1000) - hours_ago * 3_600_000, type=1)
    sim.finish(instance.id, status)
    return instance.id


def of_asset(stack: Stack, asset: str, query: str) -> list[Any]:
    """What Airflow's database has for it. (Its API fails on events whose run has not begun.)"""
    with closing(sqlite3.connect(f"file:{stack.database}?mode=ro", uri=True, timeout=10)) as database:
        return [json.loads(value) for (value,) in database.execute(query, (asset,))]


def kept(stack: Stack, asset: str) -> list[str]:
    """The instances whose ends are noted in Airflow as told."""
    query = "select value from asset_state_store join asset on asset.id = asset_id where name = ?"
    return [id for value in of_asset(stack, asset, query) for id in value["ends"]]


def told(stack: Stack, asset: str) -> list[dict[str, Any]]:
    """The payloads of the asset's events."""
    query = "select asset_event.extra from asset_event join asset on asset.id = asset_id where name = ?"
    return [extra["payload"] for extra in of_asset(stack, asset, query)]


def handed_over(stack: Stack, dag_id: str) -> list[dict[str, Any]]:
    """The payloads that runs of the DAG were given."""
    runs = stack.call("GET", f"dags/{dag_id}/dagRuns?order_by=run_after")["dag_runs"]
    paths = [f"dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances/task" for run in runs]
    done = [path for path in paths if stack.call("GET", path)["state"] == "success"]
    return [one for path in done for one in stack.call("GET", f"{path}/xcomEntries/return_value")["value"]]


def ids(payloads: list[dict[str, Any]]) -> list[str]:
    return sorted(one["flow_instance_id"] for one in payloads)


def test_an_end_in_enos_runs_a_dag_once_also_when_the_triggerer_was_dead(airflow: Airflow) -> None:
    stack, sim = airflow
    until(lambda: kept(stack, "any_end") and kept(stack, "failure"), 60, "a first look at the flows")
    first = ended(sim, 8101, "SUCCESS", hours_ago=8)
    ended(sim, 8102, "SUCCESS", hours_ago=8)
    failed = ended(sim, 8102, "FAIL", hours_ago=7)
    until(lambda: first in kept(stack, "any_end") and failed in kept(stack, "failure"), 60, "the events to be stored")
    until(
        lambda: ids(handed_over(stack, "on_end")) == [first], 60, "a run with the event", lambda: told(stack, "any_end")
    )
    until(lambda: ids(handed_over(stack, "on_failure")) == [failed], 60, "a run with the failure")
    (payload,) = handed_over(stack, "on_end")
    assert payload["flow_id"] == 8101
    assert payload["flow_name"] == "flow_8101"
    assert payload["status"] == "SUCCESS"
    assert all(payload[name] for name in ("trigger_time", "start_time", "end_time", "business_date"))

    stack.stop_part("triggerer", signal.SIGKILL)
    second = ended(sim, 8101, "CANCEL", hours_ago=6)
    third = ended(sim, 8101, "SUCCESS", hours_ago=70)
    looks = sim.count("flowInstances/search")
    stack.start_part("triggerer")
    until(lambda: len(told(stack, "any_end")) > 1, 60, "the events of what ended meanwhile")
    until(
        lambda: {second, third} <= set(kept(stack, "any_end")), 60, "them to be noted", lambda: kept(stack, "any_end")
    )
    seen = sim.count("flowInstances/search")
    until(lambda: sim.count("flowInstances/search") > seen + 12, 60, "more looks")
    until(lambda: len(handed_over(stack, "on_end")) > 2, 30, "the runs", lambda: handed_over(stack, "on_end"))
    assert looks < seen
    assert ids(told(stack, "any_end")) == ids(handed_over(stack, "on_end")) == sorted([first, second, third])
    assert ids(told(stack, "failure")) == [failed]
    assert sim.secret_key not in stack.log("triggerer")
