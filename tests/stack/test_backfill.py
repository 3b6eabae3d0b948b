"""A daily DAG that catches up on 200 days at once, in a real Airflow."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from airflows import AIRFLOW

if AIRFLOW < (3, 0):
    pytest.skip("Airflow 2 has another API", allow_module_level=True)
from stack import running, until

DAYS = 200
SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": "6",
    "AIRFLOW__SCHEDULER__MAX_DAGRUNS_TO_CREATE_PER_LOOP": str(DAYS),
    "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": str(DAYS),
}


def test_a_catch_up_starts_one_instance_for_each_day(tmp_path: Path) -> None:
    """Each at the end of its data interval, so that EnOS computes the day that the run stands for."""
    with running(tmp_path, Path(__file__).parent / "backfill_dags", settings=SETTINGS) as (stack, simulator):
        flow = {"flow_id": 8301, "name": "flow", "tasks": {"83010": "extract"}, "progress": "at_once"}
        simulator.post("flows", flow)

        def succeeded() -> int:
            return int(stack.call("GET", "dags/daily/dagRuns?state=success&limit=1")["total_entries"])

        until(lambda: simulator.instances(8301), 90, "the first instance")
        until(lambda: succeeded() == DAYS, 900, f"{DAYS} runs", succeeded, pause=2)
        pages = [stack.call("GET", f"dags/daily/dagRuns?limit=100&offset={start}") for start in range(0, DAYS, 100)]
        ends = {datetime.fromisoformat(run["data_interval_end"]) for page in pages for run in page["dag_runs"]}
        assert {end - min(ends) for end in ends} == {timedelta(days=day) for day in range(DAYS)}
        expected = sorted(f"8301-{end:%Y%m%d%H%M%S}" for end in ends)
        assert sorted(one["id"] for one in simulator.instances(8301)) == expected
        assert simulator.state["counts"]["flows/triggerFromTask"] == DAYS
