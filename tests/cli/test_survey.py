"""A survey reports what the gateway does, or that it is unknown, and starts nothing unless it is told to."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from surveys import answers, check, fill

from airflow_provider_enos.cli.survey_questions import QUESTIONS
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.simulator.config import SWITCHES
from airflow_provider_enos.simulator.operations.registry import OPERATIONS

OTHER_VALUES: dict[str, tuple[Any, ...]] = {
    "progress": ("polls:3", "at_once", "seconds:0", "manual", "nodes"),
    "time_zone": ("GMT+8", "GMT-11", "GMT+0", "GMT-0", "GMT+14", "GMT-5"),
    "clock_minute": (60.0, 0.0),
    "cancel_takes": (0.0, 60.0),
    # Whole seconds: the survey tells no more.
    "clock_skew": (0.0, -300.0, 40.0, 1200.0),
}
"""For the switches whose values are not listed."""

READ = {
    *("time_zone", "clock_skew", "envelope_http_status", "request_id", "replayed_call", "refresh_changes_token"),
    *("first_page", "search_first_page", "search_sorters", "count_means", "data_as", "graph_as", "graph_keys"),
    *("ids_as", "unknown_instance", "directory_type_as", "task_types_as", "log_missing_code", "log_keeps"),
}
"""What reading always tells, if there are some instances."""


SEEDS, SEEDS_OF_RUNS = range(12), range(100, 108)


def at_random(seed: int) -> dict[str, Any]:
    """Return a value for each switch."""
    dice = random.Random(seed)
    return {name: dice.choice(OTHER_VALUES.get(name) or switch.choices) for name, switch in SWITCHES.items()}


def writes(sim: EnosSimulator) -> list[str]:
    """Return the requests that change what EnOS holds."""
    asked = [record.operation for record in sim.requests]
    assert set(asked) <= OPERATIONS.keys() | {"token/get", "token/refresh"}
    return [name for name in asked if name in OPERATIONS and OPERATIONS[name].writes]


@pytest.mark.parametrize("seed", SEEDS)
def test_reading_tells_what_was_set_and_changes_nothing(seed: int, enos: Any, connection: EnosSimulator) -> None:
    connection.switch(at_random(seed))
    fill(connection)
    before = [instance.id for instance in connection.instances]
    ran = enos("survey", "-o", "json")
    assert ran.code == 0, ran.err
    told = answers(ran.json)
    assert told.keys() >= READ
    check(told, connection.switch_values)
    assert writes(connection) == []
    assert [instance.id for instance in connection.instances] == before


@pytest.mark.parametrize("seed", SEEDS_OF_RUNS)
def test_one_run_tells_more(seed: int, enos: Any, connection: EnosSimulator) -> None:
    set_as = at_random(seed) | {"paused_trigger": "accepted"}
    # The end of the run is awaited.
    set_as["progress"] = random.Random(seed).choice(["polls:3", "at_once"])
    connection.switch(set_as)
    options = ["--trigger", 3377, "--from-task", 108580] if seed % 2 else ["--trigger", 4010]
    ran = enos("survey", "-o", "json", "--poll-interval", 0.01, *options)
    assert ran.code == 0, ran.err
    told = answers(ran.json)
    wanted = {"listed_type", "id_style", "data_as", "log_keeps"}
    if set_as["time_zone"] not in ("GMT+0", "GMT-0"):
        wanted.add("run_times_in")
    if set_as["progress"] == "polls:3":
        wanted |= {"log_grows", "log_missing_code"}
    assert told.keys() >= wanted
    check(told, connection.switch_values)
    assert writes(connection) == ["flows/triggerFromTask" if seed % 2 else "flows/trigger"]
    assert len(connection.instances) == 1


def test_the_file_makes_a_simulator_that_behaves_alike(enos: Any, connection: EnosSimulator, tmp_path: Path) -> None:
    connection.switch(at_random(7) | {"clock_skew": 0.0})
    fill(connection)
    path = tmp_path / "gateway.json"
    ran = enos("survey", "--write", path)
    assert ran.code == 0, ran.err
    assert f"To run a simulator that behaves alike: python -m airflow_provider_enos.simulator --switches {path}" in (
        ran.err
    )
    content = json.loads(path.read_text())
    assert content["switches"].keys() >= READ
    assert {*content["switches"], *content["unknown"]} == SWITCHES.keys()
    alike = EnosSimulator(switches=path).switch_values
    assert {name: alike[name] for name in content["switches"]} == content["switches"]
    for secret in (connection.secret_key, connection.access_key, connection.org_id, str(connection.port)):
        assert secret not in path.read_text()


def test_the_table(enos: Any, connection: EnosSimulator) -> None:
    fill(connection)
    connection.graph_keys = "snake"
    ran = enos("survey")
    assert ran.code == 0
    assert ["keys of the graph", "task_id", "reads both"] in ran.rows
    assert len(ran.rows) == len(QUESTIONS)
    assert f" of {len(QUESTIONS)} questions are answered." in ran.err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--from-task", 1], 2, "--from-task goes with --trigger only"),
        (["--write", "/nowhere/gateway.json"], 2, "--write /nowhere/gateway.json: its folder does not exist"),
        (["--org-id", "other"], 1, "userId does not exist, or it does not match to orgId."),
        (["--trigger", 9999], 1, "flow 9999 cannot be read: Get Flow: 62102 Workflow not found"),
        (["--trigger", 4006], 1, "EnOS names no instance of flow 4006: Trigger Flow: 62104"),
    ],
)
def test_what_cannot_work_says_why(
    options: list[Any], code: int, message: str, enos: Any, connection: EnosSimulator
) -> None:
    ran = enos("survey", *options)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert connection.instances == []


def test_a_file_that_cannot_be_written(enos: Any, tmp_path: Path) -> None:
    ran = enos("survey", "--write", tmp_path)
    assert ran.code == 1
    assert f"cannot write {tmp_path}: " in ran.err


def test_every_value_is_surveyed() -> None:
    drawn = [at_random(seed) for seed in SEEDS]
    for name, switch in SWITCHES.items():
        assert {values[name] for values in drawn} >= set(switch.choices), name
