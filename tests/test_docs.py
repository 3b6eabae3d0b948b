"""What the documentation says is so. That its links lead somewhere is Sphinx's to check: ``make docs``."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

import airflow_provider_enos
from airflow_provider_enos import errors
from airflow_provider_enos.cli import definition, runner
from airflow_provider_enos.client import settings
from airflow_provider_enos.client.polling import poller
from airflow_provider_enos.operators.base import StartingOperator, WaitingOperator
from airflow_provider_enos.plugins.view import lookups, picture
from airflow_provider_enos.protocol import trigger_time
from airflow_provider_enos.protocol.arguments import OnConflict
from airflow_provider_enos.protocol.follow import failure_report, flow_events
from airflow_provider_enos.protocol.follow.options import OnEnded
from airflow_provider_enos.protocol.models import FlowInstance, FlowStatus, Outcome
from airflow_provider_enos.protocol.wire import replies
from airflow_provider_enos.provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from airflow_provider_enos.simulator import FAULTS
from airflow_provider_enos.simulator.config import SWITCHES
from airflow_provider_enos.simulator.flows import END_STATUSES

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
    lines = text[text.index(f"| {heading} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines[2:]]


def names_in(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


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
    assert f"asked for once in {lookups.FRESH:.0f} seconds at most" in text
    assert f"once in {lookups.FRESH_ENDED:.0f} seconds when it has ended" in text
    assert f"after a problem once in {lookups.FRESH_PROBLEM:.0f} seconds" in text
    assert lookups.FRESH_LIMITED == lookups.RUNS_PAUSE == 60
    assert f"makes {lookups.MOST_RUNS} of these requests at most" in text
    assert f"{lookups.AT_A_TIME} instances or logs are asked for at the same time" in text
    assert f"the tab looks every {picture.REFRESH_SLOW} seconds" in text
    assert f"{picture.MOST_NODES:,} nodes and {picture.MOST_EDGES:,} edges" in text
    assert f"the last {lookups.LOG_LINES:,} lines" in text


def test_the_trigger_page() -> None:
    text = PAGES["operators/trigger"]
    assert {row[0].strip('`"') for row in table("operators/trigger", "`on_conflict`")} == set(get_args(OnConflict))
    assert f"up to {trigger_time.MOST_MINUTES} are tried" in text
    assert f"last {failure_report._SHOWN_LINES} lines" in text
    assert f"from {poller.MANY} on" in text
    defaults = {
        name: parameter.default
        for cls in (StartingOperator, WaitingOperator)
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
    }
    assert f"`poll_error_tolerance`, {defaults['poll_error_tolerance'].total_seconds() / 60:.0f} minutes" in text
    (default,) = (row[0] for row in table("operators/trigger", "`on_conflict`") if "The default" in row[1])
    assert default == f'`"{defaults["on_conflict"]}"`'


def test_the_cancel_page() -> None:
    said = set(re.findall(r'on_ended="(\w+)"', PAGES["operators/cancel"]))
    assert said | {"fail"} == set(get_args(OnEnded))


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


@pytest.mark.parametrize("line", re.findall(r"^\$ airflow enos (.+)$", PAGES["command_line"], re.M))
def test_the_command_lines_that_are_shown_can_be_given(line: str) -> None:
    assert definition.parser().parse_args(shlex.split(line)).subcommand == line.split()[0]


def test_the_exit_codes() -> None:
    rows = {int(row[0]) for row in table("command_line", "code")}
    assert rows == {0, runner.FAILED, runner.MISUSED, runner.SKIPPED, runner.INTERRUPTED, runner.UNREAD}


def test_the_testing_page() -> None:
    assert {row[0].strip("`") for row in table("testing", "fault")} <= FAULTS.keys()
    listed = PAGES["testing"][PAGES["testing"].index("`ends_as` is") :].split("\n\n")[0]
    assert names_in(listed) - {"ends_as"} == set(END_STATUSES)
