"""What the README says is so."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from airflows import AIRFLOW, dag_bag

from airflow_provider_enos import errors
from airflow_provider_enos.cli.definition import COMMANDS, COMMON
from airflow_provider_enos.client import settings
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.operators.enos import (
    DEFAULT_TRIGGER_TIME,
    EnosCancelFlowInstanceOperator,
    EnosTriggerFlowFromTaskOperator,
    EnosTriggerFlowOperator,
)
from airflow_provider_enos.protocol.follow import options
from airflow_provider_enos.protocol.follow.options import Instances, OnEnded
from airflow_provider_enos.protocol.models import FlowStatus, Outcome
from airflow_provider_enos.protocol.wire import calls, replies
from airflow_provider_enos.provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor, EnosFlowSensor
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers.enos import EnosFlowEventTrigger

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)


def table(heading: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading."""
    lines = README[README.index(f"| {heading} |") :].split("\n\n")[0].splitlines()
    return [re.split(r" *\| *", line.strip("| ")) for line in lines[2:]]


def test_the_first_dag_is_short_and_works(tmp_path: Path) -> None:
    dag_file = SNIPPETS[0]
    assert len([line for line in dag_file.splitlines() if line.strip()]) <= 12
    if AIRFLOW < (3, 0):
        dag_file = dag_file.replace("from airflow.sdk import DAG", "from airflow import DAG")
    (tmp_path / "meter_readings.py").write_text(dag_file)
    bag = dag_bag(tmp_path)
    assert bag.import_errors == {}
    assert isinstance(bag.dags["meter_readings"].task_dict["clean_meter_readings"], EnosTriggerFlowFromTaskOperator)


def test_the_simulator_snippet_runs() -> None:
    exec(SNIPPETS[1], {})


def test_the_hook_snippet_and_its_methods(connection: EnosSimulator, capsys: pytest.CaptureFixture[str]) -> None:
    (snippet,) = (one for one in SNIPPETS if "EnosHook" in one)
    exec(snippet, {})
    assert "108580 clean" in capsys.readouterr().out
    rows = {row[0].strip("`").partition("(")[0]: row for row in table("method")}
    assert len(rows) == 22
    assert rows.keys() == {name for name in vars(EnosHook) if not name.startswith("_") and hasattr(calls, name)}
    for name, (call, page, *_) in rows.items():
        method = getattr(EnosHook, name)
        taken = [one for one in inspect.signature(method).parameters if one != "self"]
        assert re.findall(r"\w+", call.partition("(")[2]) == taken
        assert re.match(rf"{page}[.:;, ]", method.__doc__)


def test_the_connection_fields() -> None:
    rows = table("field")
    names = [row[0].strip("`").removeprefix("extra `") for row in rows]
    assert names == ["host", "schema", "port", "login", "password", *CONNECTION_FIELDS]
    labels = {**FIELD_BEHAVIOUR["relabeling"], **{name: field["label"] for name, field in CONNECTION_FIELDS.items()}}
    assert {name: row[1] for name, row in zip(names, rows, strict=True)} == labels
    assert dict(zip(names, (row[3] for row in rows), strict=True))["timeout"] == f"{settings.DEFAULT_TIMEOUT:g}"


def test_the_commands() -> None:
    """All of them, each with options that it has."""
    rows = {row[0].strip("`").split()[0]: row[0] for row in table("command")}
    commands = {command.name: {flag for option in command.options for flag in option.flags} for command in COMMANDS}
    assert rows.keys() == commands.keys()
    for name, row in rows.items():
        assert set(re.findall(r"--[a-z-]+", row)) <= commands[name]
        positional = {flag.upper() for flag in commands[name] if not flag.startswith("-")}
        assert set(re.findall(r"[A-Z_]+_ID|TEXT", row)) == positional
    section = README.split("\n## Command line\n")[1].split("\n## ")[0]
    common = {flag for option in COMMON for flag in option.flags}
    assert {"--conn-id", "--org-id", "--user-id", "--output"} <= common & set(re.findall(r"--[a-z-]+", section))


def test_the_arguments_of_the_operator() -> None:
    parameters = {
        name: parameter
        for cls in (*EnosTriggerFlowFromTaskOperator.__mro__, EnosTriggerFlowOperator)
        if cls.__module__.startswith("airflow_provider_enos.") and "__init__" in vars(cls)
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
        if name not in ("self", "kwargs")
    }
    rows = table("argument")
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert set(named) == set(parameters)
    shown = {
        "poll_interval": ("30 s", 30.0),
        "timeout": ("7 days", timedelta(days=7)),
        "poll_error_tolerance": ("10 min", timedelta(minutes=10)),
    }
    for row in rows:
        name = re.findall(r"`(\w+)`", row[0])[0]
        default = parameters[name].default
        if name in shown:
            assert (row[1], default) == shown[name]
        elif row[1].startswith("`"):
            assert ast.literal_eval(row[1].strip("`")) == default
    assert parameters["trigger_time"].default == DEFAULT_TRIGGER_TIME
    templates = {name for row in rows if "template" in row[2] for name in re.findall(r"`(\w+)`", row[0])}
    assert templates == {*EnosTriggerFlowFromTaskOperator.template_fields, *EnosTriggerFlowOperator.template_fields}


def test_the_cancel_operator_takes_what_is_said() -> None:
    assert set(re.findall(r'`(?:on_ended=)?"(\w+)"`', README)) >= {"skip", "succeed"}
    for choice in get_args(OnEnded):
        EnosCancelFlowInstanceOperator(task_id="task", flow_instance_id="3377-20200706062600", on_ended=choice)


def test_the_sensors_take_what_is_said() -> None:
    said = {
        "poll_error_tolerance",
        "task_logs",
        "enos_conn_id",
        "org_id",
        "user_id",
        "start_from_trigger",
        "deferrable",
    }
    for sensor, what in ((EnosFlowInstanceSensor, "flow_instance_id"), (EnosFlowSensor, "flow_id")):
        parameters = {name for cls in sensor.__mro__[:3] for name in inspect.signature(cls.__init__).parameters}
        assert {what, *said} <= parameters


def test_the_arguments_of_the_flow_sensor() -> None:
    parameters = dict(inspect.signature(EnosFlowSensor.__init__).parameters)
    for elsewhere in ("self", "kwargs", "start_from_trigger"):
        del parameters[elsewhere]
    rows = {name: row for row in table("argument of `EnosFlowSensor`") for name in re.findall(r"`(\w+)`", row[0])}
    assert rows.keys() == parameters.keys()
    for name, row in rows.items():
        if row[1].startswith("`"):
            assert ast.literal_eval(row[1].strip("`")) == parameters[name].default
    templates = {name for name, row in rows.items() if "template" in row[2]}
    assert templates == set(EnosFlowSensor.template_fields) - {"enos_conn_id", "org_id", "user_id"}
    for name, bound in (("window_start", "start"), ("window_end", "end")):
        assert f"data_interval_{bound} " in parameters[name].default
    assert get_args(Instances) == tuple(re.findall(r"`\"(\w+)\"`", rows["instances"][2]))
    assert (options.PERIODIC, parameters["window_shift"].default) == (1, timedelta())


@pytest.mark.parametrize("row", table("what happens"), ids=lambda row: row[0][:40])
def test_what_happens_is_held_by_a_test(row: list[str]) -> None:
    file, name = row[2].strip("`").split("::")
    assert f"\ndef {name}(" in (PROJECT / "tests" / file).read_text()
    for error in re.findall(r"`(Enos\w+Error)`", row[1]):
        assert issubclass(getattr(errors, error), errors.EnosError)


@pytest.mark.skipif(AIRFLOW < (3, 0), reason="Airflow 2 has no asset watchers")
def test_the_dag_that_events_start(tmp_path: Path) -> None:
    (snippet,) = (one for one in SNIPPETS if "EnosFlowEventTrigger" in one)
    (tmp_path / "report.py").write_text(snippet)
    bag = dag_bag(tmp_path)
    assert bag.import_errors == {}
    (watcher,) = bag.dags["report"].timetable.asset_condition.watchers
    assert watcher.trigger.serialize() == EnosFlowEventTrigger(3377, statuses=["SUCCESS"]).serialize()


def test_the_arguments_of_events() -> None:
    section = README.split("\n## Events\n")[1].split("\n## ")[0]
    rows = [re.split(r" *\| *", line.strip("| ")) for line in section.splitlines() if line.startswith("| `")]
    named = {name for first, *_ in rows for name in re.findall(r"`(\w+)`", first)}
    parameters = inspect.signature(EnosFlowEventTrigger).parameters
    assert named == set(parameters)
    said = {re.findall(r"`(\w+)`", first)[0]: (default, meaning) for first, default, meaning in rows}
    assert said["poll_interval"][0] == f"{parameters['poll_interval'].default:g} s"
    assert said["lookback"][0] == f"{parameters['lookback'].default.days} days"
    assert said["poll_error_tolerance"][0] == f"{parameters['poll_error_tolerance'].default.total_seconds() / 60:g} min"
    assert set(said["statuses"][1].split(", ")) == {status.name for status in FlowStatus if status.ended}


def test_what_each_status_does() -> None:
    said = {
        Outcome.SUCCEEDED: "succeeds",
        Outcome.FAILED: "fails with `EnosFlowFailedError`",
        Outcome.CANCELLED: "fails with `EnosFlowCancelledError`; where a retry had taken the instance over, "
        "another one is started",
        Outcome.SKIPPED: "is skipped",
        Outcome.RUNNING: "waits",
    }
    rows = {status: row[1] for row in table("status in EnOS") for status in row[0].split(", ")}
    assert rows.pop("any other") == "waits, with a warning"
    assert rows == {status.name: said[status.outcome] for status in FlowStatus}


@pytest.mark.parametrize("row", table("you see"), ids=lambda row: row[0][:40])
def test_the_errors(row: list[str]) -> None:
    """They exist, and the codes lead to them."""
    (name,) = re.findall(r"`(\w+)`", row[0])
    error = getattr(errors, name)
    assert issubclass(error, errors.EnosError)
    for code in re.findall(r"\b\d{3,5}\b", row[0]):
        assert replies._CLASSES[int(code)][0] is error


def test_the_simulator_prints_the_line_that_is_shown() -> None:
    shown = re.search(r"^export AIRFLOW_CONN_ENOS_DEFAULT='(.*), \.\.\.}'$", README, re.M)
    assert shown
    with subprocess.Popen(
        [sys.executable, "-m", "airflow_provider_enos.simulator", "--quiet"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name, value = shlex.split(process.stdout.readline())[1].split("=", 1)
        process.terminate()
    assert name == "AIRFLOW_CONN_ENOS_DEFAULT"
    printed, promised = json.loads(value), json.loads(shown[1] + "}")
    assert {**{field: printed[field] for field in promised}, "port": 8790} == promised


def test_the_demo_shows_the_documented_instance(sim: EnosSimulator) -> None:
    assert sim.trigger(3377, 108580, 1594016819108).id == "3377-20200706062600"
    assert README.count("3377-20200706062600") >= 3


def test_every_target_that_it_names_exists() -> None:
    targets = set(re.findall(r"`make ([\w-]+)", README))
    assert targets >= {"demo", "test", "check", "bench"}
    makefile = (PROJECT / "Makefile").read_text()
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_links_to_files(link: str) -> None:
    assert (PROJECT / link).exists()
