"""What the page of a DAG run is told to draw, and when it is to ask again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflows import AIRFLOW

from airflow_provider_enos.plugins.view.lookups import Problem, Source
from airflow_provider_enos.plugins.view.picture import REFRESH, REFRESH_SLOW
from airflow_provider_enos.plugins.view.record import Record
from airflow_provider_enos.plugins.view.run_picture import of_run
from airflow_provider_enos.plugins.view.run_record import Row, RunRecord

if AIRFLOW < (3, 0):
    pytest.skip("Airflow 2 has no tabs", allow_module_level=True)

SOURCE = Source("enos_default", None, None, None, "3377-20200706062600", 3377)
ENDED, RUNS = {"status": "SUCCESS", "has_stopped": True}, {"status": "RUNNING", "has_stopped": False}
PROBLEM = Problem("EnOS does not answer at the moment.")


def run(state: str | None, source: Source | None = SOURCE, *, ended: bool = False) -> RunRecord:
    record = Record(state, 1, ended, of_enos=True, has_connection=True, source=source, linked=None)
    return RunRecord((Row("load", 2, "site b", record),), {str(state): 7}, ended)


def test_a_line_says_what_airflow_and_enos_say() -> None:
    drawn = of_run(run("deferred"), {SOURCE: RUNS})
    assert drawn["rows"] == [
        {
            "task_id": "load",
            "map_index": 2,
            "label": "site b",
            "state": "deferred",
            "try_number": 1,
            "instance": "3377-20200706062600",
            "brief": RUNS,
        }
    ]
    assert (drawn["total"], drawn["states"]) == (7, {"deferred": 7})
    assert json.loads(json.dumps(drawn)) == drawn


@pytest.mark.parametrize(
    ("source", "seen", "more"),
    [
        (None, {}, {"instance": None}),
        (SOURCE, {SOURCE: None}, {"instance": SOURCE.flow_instance_id}),
        (SOURCE, {SOURCE: PROBLEM}, {"instance": SOURCE.flow_instance_id, "problem": PROBLEM.message}),
    ],
    ids=["no instance", "not asked for yet", "a problem"],
)
def test_a_line_without_what_enos_says(source: Source | None, seen: Any, more: dict[str, object]) -> None:
    (row,) = of_run(run(None, source), seen)["rows"]
    assert row["state"] == "no status"
    assert {name: row[name] for name in row.keys() & {"instance", "problem", "brief"}} == more


@pytest.mark.parametrize(
    ("ended", "seen", "refresh"),
    [
        (False, ENDED, REFRESH_SLOW),
        (True, ENDED, None),
        (True, RUNS, REFRESH_SLOW),
        (True, PROBLEM, REFRESH_SLOW),
        (True, None, REFRESH),
    ],
)
def test_it_asks_again_until_all_has_ended(ended: bool, seen: Any, refresh: int | None) -> None:
    assert of_run(run("success", ended=ended), {SOURCE: seen})["refresh"] == refresh
