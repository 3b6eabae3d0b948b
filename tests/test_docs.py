"""What the documentation says is true. Sphinx checks its links: ``make docs``."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import shlex
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_enos
from airflow_provider_enos import errors
from airflow_provider_enos.cli import definition, runner, survey_questions
from airflow_provider_enos.client import settings
from airflow_provider_enos.client.polling import poller
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.operators.enos import (
    DEFAULT_TRIGGER_TIME,
    EnosCancelFlowInstanceOperator,
    EnosTriggerFlowFromTaskOperator,
    EnosTriggerFlowOperator,
)
from airflow_provider_enos.plugins.view import briefs, clock, lookups, picture, run_record, usual
from airflow_provider_enos.plugins.view.drawing import MOST_NODES as MOST_DRAWN
from airflow_provider_enos.protocol import trigger_time
from airflow_provider_enos.protocol.follow import failure_reason, failure_report, flow_events
from airflow_provider_enos.protocol.models import FlowInstance, FlowStatus, Outcome
from airflow_provider_enos.protocol.start import states
from airflow_provider_enos.protocol.start.recovery import rerun_of
from airflow_provider_enos.protocol.wire import calls, replies
from airflow_provider_enos.provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor, EnosFlowSensor
from airflow_provider_enos.simulator import FAULTS, EnosSimulator
from airflow_provider_enos.simulator.config import SWITCHES
from airflow_provider_enos.simulator.flows import END_STATUSES
from airflow_provider_enos.triggers.enos import EnosFlowEventTrigger
from airflow_provider_enos.utils.kept_error import ERROR_KEY

PROJECT = Path(__file__).resolve().parent.parent
DOCS = PROJECT / "docs"
PAGES = {path.relative_to(DOCS).with_suffix("").as_posix(): path.read_text() for path in DOCS.rglob("*.md")}
PACKAGE = Path(airflow_provider_enos.__file__).parent
PUBLIC = [
    ".".join(["airflow_provider_enos", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.relative_to(PACKAGE).parts[0] not in ("protocol", "client", "cli")
    and path.parent.name != "operations"
    and "__all__ = " in path.read_text()
]
SHOWN = sorted([*PROJECT.glob("example_dags/*.py"), *DOCS.glob("examples/**/*.py")])
INCLUDES = [
    ((DOCS / page).parent / found[1], found[2])
    for page, text in PAGES.items()
    for found in re.finditer(r"```\{literalinclude\} (\S+)\n(.*?)```", text, re.S)
]


def table(page: str, heading: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading."""
    text = PAGES[page]
    (found,) = re.finditer(rf"^\| {re.escape(heading)} \|.*\n\| ---", text, re.M)
    lines = text[found.start() :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines[2:]]


def drawing(name: str) -> str:
    return (DOCS / "images" / f"{name}.svg").read_text()


def names_in(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


def parameters_of(*classes: type) -> dict[str, inspect.Parameter]:
    """Return the parameters of the constructors of these classes and of their bases in this package."""
    return {
        name: parameter
        for cls in classes
        for base in reversed(cls.__mro__)
        if base.__module__.startswith("airflow_provider_enos.") and "__init__" in vars(base)
        for name, parameter in inspect.signature(vars(base)["__init__"]).parameters.items()
        if name not in ("self", "args", "kwargs")
    }


def choices(cls: Any, argument: str, **needed: Any) -> set[str]:
    """Return the texts that this argument takes, as the error for another one lists them."""
    with pytest.raises(errors.EnosConfigError) as refused:
        cls(task_id="task", **needed, **{argument: "?"})
    return set(re.findall(r'"(\w+)"', str(refused.value)))


def check_defaults(rows: list[list[str]], parameters: dict[str, inspect.Parameter]) -> None:
    """Compare the defaults in the second column that are written as Python, or as a duration."""
    for row in rows:
        default = parameters[re.findall(r"`(\w+)`", row[0])[0]].default
        said = re.fullmatch(r"(\d+) (s|min|days)", row[1])
        if said:
            seconds = default.total_seconds() if isinstance(default, timedelta) else default
            assert seconds == int(said[1]) * {"s": 1, "min": 60, "days": 86_400}[said[2]], row
        elif row[1].startswith("`"):
            assert ast.literal_eval(row[1].strip("`")) == default, row


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.stem)
def test_every_example_is_shown(path: Path) -> None:
    assert path in {included.resolve() for included, _ in INCLUDES}


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.stem)
def test_every_part_that_is_marked_is_shown(path: Path) -> None:
    shown = "".join(options for included, options in INCLUDES if included.resolve() == path)
    for name in re.findall(r"# \[START (\w+)\]", path.read_text()):
        assert f"[END {name}]" in shown
        assert f"# [END {name}]" in path.read_text()


@pytest.mark.parametrize("page", PAGES)
def test_what_looks_like_python_is(page: str) -> None:
    for snippet in re.findall(r"^```python\n(.*?)^```", PAGES[page], re.M | re.S):
        if ">>>" not in snippet:
            compile(snippet, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            for module, names in re.findall(r"^from (airflow_provider_enos\S+) import (.+)$", snippet, re.M):
                assert all(hasattr(importlib.import_module(module), name) for name in names.split(", "))


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if ">>>" in text])
def test_dialogues_are_as_they_are_shown(page: str) -> None:
    ran = doctest.testfile(str(DOCS / f"{page}.md"), module_relative=False)
    assert ran.attempted
    assert not ran.failed


@pytest.mark.parametrize("module", PUBLIC)
def test_the_reference_has_all_that_is_public(module: str) -> None:
    for name in importlib.import_module(module).__all__:
        if name != "FAULTS":
            assert re.search(rf"\b{name}\b", PAGES["reference"])


def test_the_connection_fields() -> None:
    rows = table("connection", "field")
    names = [row[0].strip("`").removeprefix("extra `") for row in rows]
    assert names == ["host", "schema", "port", "login", "password", *CONNECTION_FIELDS]
    labels = {**FIELD_BEHAVIOUR["relabeling"], **{name: field["label"] for name, field in CONNECTION_FIELDS.items()}}
    assert {name: row[1] for name, row in zip(names, rows, strict=True)} == labels
    assert dict(zip(names, (row[3] for row in rows), strict=True))["timeout"] == f"{settings.DEFAULT_TIMEOUT:g}"
    extras = {name for name in re.findall(r"^(.+) \(extra\)$", PAGES["connection"], re.M) for name in names_in(name)}
    assert extras <= CONNECTION_FIELDS.keys()


def test_the_view_page() -> None:
    text = " ".join(PAGES["view"].split())
    assert f"refreshed every {picture.REFRESH} seconds" in text
    assert f"instance is requested at most once in {lookups.FRESH:.0f} seconds" in text
    assert f"After it has ended, it is once in {lookups.FRESH_ENDED:.0f} seconds" in text
    assert f"after a problem, once in {lookups.FRESH_PROBLEM:.0f} seconds" in text
    assert lookups.FRESH_LIMITED == lookups.RUNS_PAUSE == 60
    assert f"makes {lookups.MOST_RUNS} of these requests at most" in text
    assert f"at most {lookups.AT_A_TIME} requests for instances or logs at the same time" in text
    assert f"the tab looks every {picture.REFRESH_SLOW} seconds" in text
    assert f"{picture.MOST_NODES:,} nodes and {picture.MOST_EDGES:,} edges" in text
    assert f"the last {lookups.LOG_LINES:,} lines" in text
    assert f"more than {MOST_DRAWN} nodes" in text
    assert f"one list of {usual.PAGE_SIZE} instances, once in {usual.FRESH_USUAL / 60:.0f} minutes" in text
    assert f"up to {usual.PAGE_SIZE} instances that succeeded" in text
    assert f"the {usual.DAYS_BACK} days before that month. With fewer than {usual.FEWEST} of them" in text
    assert f"up to {usual.MOST_REQUESTS} requests" in text
    assert f"at most {run_record.MOST_TASKS} task instances" in text
    assert f"requests {briefs.MOST_LOOKS} instances at a time through a connection" in text
    assert f"each at most once in {briefs.FRESH_BRIEF:.0f} seconds; after it has ended" in text
    assert f"once in {briefs.FRESH_BRIEF_ENDED / 60:.0f} minutes; after a problem, once a minute" in text
    assert briefs.FRESH_BRIEF_PROBLEM == 60
    assert f"So a run of {run_record.MOST_TASKS} tasks" in text
    assert f"the times of up to {failure_reason.MOST_COMPARED} failed nodes" in text
    assert f"of a failed instance, at most once in {lookups.FRESH_ENDED:.0f} seconds" in text
    assert f"in its XCom `{ERROR_KEY}`" in text
    assert (clock.FRESH, clock.FRESH_PROBLEM) == (3600, 60)


def test_the_trigger_page() -> None:
    text = PAGES["operators/trigger"]
    said = {row[0].strip('`"') for row in table("operators/trigger", "`on_conflict`")}
    assert said == choices(EnosTriggerFlowOperator, "on_conflict", flow_id=3377)
    assert f"up to {trigger_time.MOST_MINUTES} are tried" in text
    assert f"last {failure_report._SHOWN_LINES} lines" in " ".join(text.split())
    assert f"from {poller.MANY} on" in text
    (default,) = (row[0] for row in table("operators/trigger", "`on_conflict`") if "The default" in row[1])
    assert default == f'`"{parameters_of(EnosTriggerFlowOperator)["on_conflict"].default}"`'
    (where,) = (row[2] for row in table("operators/trigger", "argument") if row[0] == "`retry_from`")
    assert set(re.findall(r'`"(\w+)"`', where)) == choices(EnosTriggerFlowOperator, "retry_from", flow_id=3377)


def test_the_arguments_of_the_trigger_operators() -> None:
    operators = EnosTriggerFlowFromTaskOperator, EnosTriggerFlowOperator
    rows, parameters = table("operators/trigger", "argument"), parameters_of(*operators)
    assert {name for row in rows for name in names_in(row[0])} == parameters.keys()
    check_defaults(rows, parameters)
    assert parameters["trigger_time"].default == DEFAULT_TRIGGER_TIME
    templates = {name for row in rows if "template" in row[2] for name in names_in(row[0])}
    assert templates == {field for operator in operators for field in operator.template_fields}


def test_the_arguments_of_the_flow_sensor() -> None:
    rows = table("sensors", "argument of `EnosFlowSensor`")
    parameters = dict(inspect.signature(EnosFlowSensor.__init__).parameters)
    for elsewhere in ("self", "kwargs", "start_from_trigger"):
        del parameters[elsewhere]
    assert {name for row in rows for name in names_in(row[0])} == parameters.keys()
    check_defaults(rows, parameters)
    templates = {name for row in rows if "template" in row[2] for name in names_in(row[0])}
    assert templates == set(EnosFlowSensor.template_fields) - {"enos_conn_id", "org_id", "user_id"}
    for name, bound in (("window_start", "start"), ("window_end", "end")):
        assert f"data_interval_{bound} " in parameters[name].default
    (row,) = (row for row in rows if row[0] == "`instances`")
    assert set(re.findall(r"`\"(\w+)\"`", row[2])) == choices(EnosFlowSensor, "instances", flow_id=3377)
    assert parameters["window_shift"].default == timedelta()


def test_the_arguments_of_both_sensors() -> None:
    said = names_in(PAGES["sensors"].split("Both sensors also take")[1].split(", as the")[0])
    assert said == {"poll_error_tolerance", "task_logs", "enos_conn_id", "org_id", "user_id"}
    for sensor in (EnosFlowInstanceSensor, EnosFlowSensor):
        assert {*said, "start_from_trigger", "deferrable"} <= parameters_of(sensor).keys()


def test_the_arguments_of_the_event_trigger() -> None:
    rows, parameters = table("events", "argument"), parameters_of(EnosFlowEventTrigger)
    assert {name for row in rows for name in names_in(row[0])} == parameters.keys()
    check_defaults(rows, parameters)
    (row,) = (row for row in rows if row[0] == "`statuses`")
    assert set(re.findall(r"[A-Z_]{4,}", row[2])) == {status.name for status in FlowStatus if status.ended}


def test_the_methods_of_the_hook() -> None:
    rows = {row[0].strip("`").partition("(")[0]: row for row in table("hook", "method")}
    assert rows.keys() == {name for name in vars(EnosHook) if not name.startswith("_") and hasattr(calls, name)}
    assert f"the {len(rows)} operations" in PAGES["hook"]
    for name, (call, page, *_) in rows.items():
        method = getattr(EnosHook, name)
        taken = [one for one in inspect.signature(method).parameters if one != "self"]
        assert re.findall(r"\w+", call.partition("(")[2]) == taken
        assert re.match(rf"{page}[.:;, ]", method.__doc__)


@pytest.mark.parametrize("row", table("time_zones", "the DAG runs at"), ids=lambda row: f"{row[0]} {row[1]}")
def test_which_day_enos_computes(row: list[str]) -> None:
    moment = datetime.fromisoformat(row[0])
    with EnosSimulator(time_zone=row[1]) as sim:
        started = sim.trigger(3377, 108580, int(moment.timestamp() * 1000))
        hook = hook_of(sim)
        computed = datetime.fromisoformat(str(hook.get_flow_instance(started.id).business_date))
    assert f"{computed.day} {computed:%B}" == row[3]
    there = moment.astimezone(trigger_time.zone_of(row[1]))
    assert f"{there.day} {there:%B}, {there:%H:%M}" == row[2]


def hook_of(sim: EnosSimulator) -> EnosHook:
    """Return a hook for the gateway, without a connection in Airflow."""
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_json)
        hook = EnosHook()
        _ = hook.settings
    return hook


MESSAGES = [
    "".join(part.value if isinstance(part, ast.Constant) else "%s" for part in node.values)
    if isinstance(node, ast.JoinedStr)
    else node.value
    for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.js")]
    for node in (ast.walk(ast.parse(path.read_text())) if path.suffix == ".py" else [ast.Constant(path.read_text())])
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
]
"""All texts of the package, with ``%s`` for what is put into them."""
SYMPTOMS = [
    quoted
    for line in PAGES["troubleshooting"].splitlines()
    if line.startswith("| ")
    for quoted in re.findall(r"`([^`]+)`", line.split(" | ")[0])
    if " " in quoted and not quoted.startswith("airflow ")
]


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_messages_that_are_quoted_are_written(symptom: str) -> None:
    pattern = "%[sr]".join(re.escape(part) for part in symptom.split("..."))
    assert any(re.search(pattern, message) for message in MESSAGES)


# ---- architecture.md, and the pages that name tests ------------------------------------------------------------------

TESTS = {
    node.name
    for path in (PROJECT / "tests").rglob("test_*.py")
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.FunctionDef)
}


@pytest.mark.parametrize("page", ["architecture", "what_happens"])
def test_the_tests_that_are_named_exist(page: str) -> None:
    rows = [line for line in PAGES[page].splitlines() if re.match(r"\| .*`test_\w+` \|$", line)]
    assert len(rows) > 20
    assert {name for name in names_in(PAGES[page]) if name.startswith("test_")} <= TESTS
    tables = [line for line in PAGES[page].splitlines() if line.startswith("| ") and "-" not in line[:4]]
    if page == "what_happens":
        assert len(rows) == len(tables) - PAGES[page].count("| what happens |")


def test_the_paths_of_the_architecture_exist() -> None:
    named = re.findall(r"`((?:\w+/)+(?:\w+\.\w+)?|\w+\.py)`", PAGES["architecture"])
    drawn = re.findall(r"^ +((?:\w+/)+(?:\w+\.\w+)?)  ", PAGES["architecture"], re.M)
    assert len(named) > 20
    assert len(drawn) > 10
    for path in {*named, *drawn}:
        assert (PACKAGE / path).exists() or (PROJECT / path).exists(), path


def test_the_folders_of_the_architecture_are_all_there() -> None:
    said = {name.split("/")[0] for row in table("architecture", "folder") for name in re.findall(r"`(\S+)`", row[0])}
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"links"} == said


def test_the_table_of_the_start() -> None:
    """The table, and the states and arrows of the picture, agree with the code."""
    rows = table("architecture", "state")
    written = {tuple(cell.strip("`") for cell in row[:4]) for row in rows}
    assert len(written) == len(rows)
    known = {
        (state.name, outcome.name, follows.state.name, "next" if follows.next_minute else "same")
        for (state, outcome), follows in states.TRANSITIONS.items()
    }
    assert written == known
    picture_of_it = drawing("start-states")
    arrows = re.findall(r'data-from="(\w+)" data-to="(\w+)"', picture_of_it)
    assert sorted(arrows) == sorted({(state, following) for state, _, following, _ in known})
    drawn = set(re.findall(r'class="state"[^>]*>(\w+)<', picture_of_it))
    assert drawn == {name for arrow in arrows for name in arrow}


def test_the_picture_of_what_runs_again() -> None:
    """Each flow of the picture restarts as the code says."""
    drawn = re.findall(r'<g class="flow" data-start="([^"]*)">(.*?)</g>', drawing("recovery"), re.S)
    assert len(drawn) == 6
    for start, flow in drawn:
        nodes = re.findall(r'data-name="([^"]+)" data-status="(\w+)" data-rerun="(\w*)"', flow)
        tasks = [
            {"taskId": number, "taskName": name, "nodeId": name, "taskInstId": name, "status": status}
            for number, (name, status, _) in enumerate(nodes)
        ]
        edges = re.findall(r'data-from="([^"]+)" data-to="([^"]+)"', flow)
        relations = [{"source": source, "target": target} for source, target in edges]
        graph = {"tasks": tasks, "relations": relations}
        found = rerun_of(FlowInstance.parse({"instanceId": "1-1", "status": "FAIL", "graph": graph}))
        assert getattr(found, "task_name", "") == start
        said = {name: what for name, _, what in nodes if what}
        again = {node.task_name: "again" for node in getattr(found, "runs_again", ())}
        assert said == again | {node.task_name: "kept" for node in getattr(found, "stays", ())}


def test_the_cancel_page() -> None:
    said = set(re.findall(r'on_ended="(\w+)"', PAGES["operators/cancel"]))
    assert said | {"fail"} == choices(
        EnosCancelFlowInstanceOperator, "on_ended", flow_instance_id="3377-20200706062600"
    )


def test_what_each_status_does() -> None:
    said = {
        Outcome.SUCCEEDED: "succeeds",
        Outcome.FAILED: "fails with `EnosFlowFailedError`",
        Outcome.CANCELLED: "fails with `EnosFlowCancelledError`",
        Outcome.SKIPPED: "is skipped",
        Outcome.RUNNING: "waits",
    }
    rows = sorted(table("statuses", "status in EnOS"))
    assert rows == sorted(
        [status.name, str(status.value), status.outcome.value, said[status.outcome]] for status in FlowStatus
    )


def test_the_errors_are_all_there() -> None:
    """In the order of the tree, which puts each below what it is a kind of."""
    drawn = re.findall(r"(Enos\w+)", (errors.__doc__ or "").split('"final"')[0])
    rows = table("errors", "error")
    assert [row[0].strip("`") for row in rows] == drawn
    assert {row[0].strip("`"): row[1] == "yes" for row in rows} == {name: getattr(errors, name).final for name in drawn}


@pytest.mark.parametrize("row", table("errors", "code"), ids=lambda row: row[0])
def test_what_code_is_which_error(row: list[str]) -> None:
    assert replies._CLASSES[int(row[0])][0].__name__ == row[2].strip("`")


def test_no_code_is_left_out_that_an_operator_meets() -> None:
    assert {code for code in replies._CLASSES if code > 60_000} <= {int(row[0]) for row in table("errors", "code")}


@pytest.mark.parametrize("page", PAGES)
def test_errors_that_are_named_exist(page: str) -> None:
    for name in re.findall(r"\bEnos\w+Error\b", PAGES[page]):
        assert issubclass(getattr(errors, name), errors.EnosError)


def test_every_switch_is_an_open_question() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGES["open_questions"].splitlines() if line.startswith("| ")]
    named = Counter(name for row in rows if len(row) == 3 for name in names_in(row[2]))
    assert named.keys() == SWITCHES.keys()


def test_the_survey_page() -> None:
    rows = {row[0]: row[1] for row in table("survey", "what it takes")}
    assert {name for switches in rows.values() for name in names_in(switches)} == SWITCHES.keys()
    assert names_in(rows["more than a survey does"]) == survey_questions.NOT_ASKED.keys()
    parsed = definition.parser().parse_args(["survey"])
    assert (parsed.timeout, "for an hour at most" in PAGES["survey"]) == (3600, True)
    known = {flag for one in (definition.COMMON, survey_options()) for option in one for flag in option.flags}
    assert set(re.findall(r"--[a-z][a-z-]+", PAGES["survey"])) <= known | {"--port", "--switch", "--switches"}


def survey_options() -> tuple[definition.Option, ...]:
    return next(one.options for one in definition.COMMANDS if one.name == "survey")


def test_the_payload_of_an_event() -> None:
    told = {name for row in table("events", "key") for name in names_in(row[0])}
    instance = FlowInstance.parse({"instanceId": "3377-20200706062600", "status": 1})
    assert told == flow_events.payload(instance).keys()


def test_the_commands() -> None:
    assert [row[0].strip("`") for row in table("command_line", "command")] == [one.name for one in definition.COMMANDS]
    assert [row[0].strip("`") for row in table("command_line", "option")] == [
        next(flag for flag in option.flags if flag.startswith("--")) for option in definition.COMMON
    ]
    options = [*definition.COMMON, *(option for one in definition.COMMANDS for option in one.options)]
    known = {flag for option in options for flag in option.flags}
    for row in table("command_line", "command"):
        (one,) = (one for one in definition.COMMANDS if one.name == row[0].strip("`"))
        assert set(re.findall(r"`(--[\w-]+)`", row[1])) <= {flag for option in one.options for flag in option.flags}
    assert set(re.findall(r"--[a-z][a-z-]+", PAGES["command_line"])) <= known | {"--help"}


@pytest.mark.parametrize("line", re.findall(r"^\$ airflow enos (.+)$", PAGES["command_line"] + PAGES["survey"], re.M))
def test_the_command_lines_that_are_shown_can_be_given(line: str) -> None:
    assert definition.parser().parse_args(shlex.split(line)).subcommand == line.split()[0]


def test_the_exit_codes() -> None:
    rows = {int(row[0]) for row in table("command_line", "code")}
    assert rows == {0, runner.FAILED, runner.MISUSED, runner.SKIPPED, runner.INTERRUPTED, runner.UNREAD}


def test_the_testing_page() -> None:
    assert {row[0].strip("`") for row in table("testing", "fault")} <= FAULTS.keys()
    listed = PAGES["testing"][PAGES["testing"].index("`ends_as` is") :].split("\n\n")[0]
    assert names_in(listed) - {"ends_as"} == set(END_STATUSES)
