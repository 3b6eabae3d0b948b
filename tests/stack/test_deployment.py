"""How deployment.py judges what it finds; `make cluster-test` runs it on a real cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import deployment
import pytest
import services
from cluster import SCHEDULERS, TRIGGERERS, WORKERS
from deployment import FLOW, Kill, Task, judge, plan

FIRST = datetime(2025, 1, 1, tzinfo=UTC)
TASKS = [
    Task(FIRST + timedelta(hours=hour), "success", "success", 1, f"{FLOW}-20250101{hour:02}0000") for hour in range(3)
]
INSTANCES = [{"id": task.instance, "status": "SUCCESS"} for task in TASKS]


def test_all_is_well() -> None:
    assert judge(3, TASKS, INSTANCES, 0).bad == []


def test_an_instance_that_no_run_stands_for_is_a_duplicate() -> None:
    findings = judge(3, TASKS, [*INSTANCES, {"id": f"{FLOW}-20250101000100", "status": "SUCCESS"}], 0)
    assert findings.duplicates == [f"DUPLICATE: {FLOW}-20250101000100 SUCCESS, of no run's hour"]
    assert not findings.lost


def test_an_id_that_is_there_twice_is_a_duplicate() -> None:
    (duplicate,) = judge(3, TASKS, [*INSTANCES, INSTANCES[0]], 0).duplicates
    assert duplicate == f"DUPLICATE: {INSTANCES[0]['id']}, 2 times"


def test_an_instance_that_is_not_there_is_lost() -> None:
    (lost,) = judge(3, TASKS, INSTANCES[:2], 0).lost
    assert lost == f"LOST: {INSTANCES[2]['id']} is not there"


def test_an_instance_that_has_not_succeeded_is_lost() -> None:
    (lost,) = judge(3, TASKS, [*INSTANCES[:2], {**INSTANCES[2], "status": "CANCEL"}], 0).lost
    assert lost == f"LOST: {INSTANCES[2]['id']} is CANCEL"


def test_a_run_that_is_not_there_is_lost() -> None:
    findings = judge(3, TASKS[:2], INSTANCES, 0)
    assert "LOST: 2 runs of different hours, 3 expected" in findings.lost
    assert findings.duplicates


@pytest.mark.parametrize("named", [None, f"{FLOW}-20250101010000"])
def test_a_task_that_names_another_instance_has_lost_its_own(named: str | None) -> None:
    (lost,) = judge(3, [replace(TASKS[0], instance=named), *TASKS[1:]], INSTANCES, 0).lost
    assert lost == f"LOST: {INSTANCES[0]['id']} is named {named} by its task"


@pytest.mark.parametrize(("run", "state"), [("running", "deferred"), ("failed", "failed"), ("running", "success")])
def test_what_has_not_come_to_its_end_is_left_behind(run: str, state: str) -> None:
    (left,) = judge(3, [replace(TASKS[0], run_state=run, state=state), *TASKS[1:]], INSTANCES, 0).left_behind
    assert left == f"LEFT BEHIND: run {run}, task {state} of {INSTANCES[0]['id']}"


def test_triggers_are_left_behind() -> None:
    assert judge(3, TASKS, INSTANCES, 2).left_behind == ["LEFT BEHIND: 2 triggers"]


@pytest.mark.parametrize("seed", range(20))
def test_one_of_each_is_killed_while_there_is_work(seed: int) -> None:
    kills = plan(seed)
    assert all(kill.part in parts for kill, parts in zip(kills, (WORKERS, SCHEDULERS, TRIGGERERS), strict=True))
    assert all(deployment.EARLIEST <= kill.done <= deployment.LATEST for kill in kills)
    assert plan(seed) == kills


@pytest.mark.parametrize(
    ("part", "states", "due"),
    [
        ("worker-1", {"running": 1, "queued": 99}, True),
        ("worker-1", {"queued": 50, "deferred": 50}, False),
        ("scheduler-2", {"queued": 1, "running": 99}, True),
        ("scheduler-2", {"running": 50, "deferred": 50}, False),
        ("triggerer-1", {"deferred": 10, "success": 90}, True),
        ("triggerer-1", {"deferred": 9, "success": 91}, False),
    ],
)
def test_a_part_is_killed_while_it_has_something_in_hand(part: str, states: dict[str, int], due: bool) -> None:
    assert Kill(part, done=0.5, away=1).is_due(0.5, states) == due
    assert not Kill(part, done=0.5, away=1).is_due(0.4, states)
    assert not Kill(part, done=0.5, away=1, back_at=1.0).is_due(0.5, states)


def test_both_of_each_have_their_turn() -> None:
    assert {kill.part for seed in range(20) for kill in plan(seed)} == {*WORKERS, *SCHEDULERS, *TRIGGERERS}


def test_without_postgres_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="PostgreSQL is not installed: apt-get install postgresql"):
        services.postgres_programs(str(tmp_path))


def test_the_newest_postgres_is_taken(tmp_path: Path) -> None:
    for version in ("9.6", "10", "15"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    assert services.postgres_programs(str(tmp_path)) == tmp_path / "15" / "bin"


def test_without_redis_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="Redis is not installed: apt-get install redis-server"):
        services.redis_program()
