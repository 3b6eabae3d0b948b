"""Exported flows, and that they are imported as they were exported."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from enos_documents import EXPORT, EXPORTED_TASK, but, snake
from hypothesis import given, strategies as st

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol.models import (
    Cycle,
    ExportedRelation,
    ExportedTask,
    FlowExport,
    FlowLink,
    FlowType,
    LinkRelation,
    TaskLink,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(10**9), 10**9)
plain = st.dictionaries(texts.filter(lambda name: name.startswith("x")), texts | numbers | st.booleans(), max_size=2)
exports = st.builds(
    FlowExport,
    name=texts,
    type=st.none() | numbers.map(FlowType),
    cycle=texts.map(Cycle),
    parameters=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    tasks=st.lists(
        st.builds(
            ExportedTask,
            name=texts,
            type=st.none() | numbers | texts,
            command=texts,
            run_mode=plain,
            other=plain,
            **dict.fromkeys(("resource", "submitter", "file_package", "cron", "success_code"), texts),
            **dict.fromkeys(
                ("sync_type", "priority_level", "timeout", "retry_limit", "retry_interval"), st.none() | numbers
            ),
        ),
        max_size=2,
    ).map(tuple),
    relations=st.lists(st.builds(ExportedRelation, texts, texts), max_size=2).map(tuple),
    flow_links=st.lists(st.builds(FlowLink, texts, texts), max_size=2).map(tuple),
    task_links=st.lists(st.builds(TaskLink, texts, texts, texts), max_size=2).map(tuple),
    link_relations=st.lists(st.builds(LinkRelation, texts, texts), max_size=2).map(tuple),
    other=plain,
    **dict.fromkeys(("cron", "description", "start_date", "submitter", "owners", "visitors"), texts),
    **dict.fromkeys(("alert_mode", "sync_type"), st.none() | numbers),
)


def test_export_as_documented() -> None:
    export = FlowExport.parse(EXPORT)
    assert (export.name, export.type, export.cycle) == ("workflow1", FlowType.PERIODIC, Cycle.DAY)
    assert (export.cron, export.start_date, export.description) == ("0 0 0 * * ? *", "2019-08-08", "what it does")
    assert (export.owners, export.visitors, export.submitter) == (";someone;", ";", "db_someone")
    assert (export.alert_mode, export.sync_type, export.parameters) == (3, 1, (("REPLACE", "ddee"),))
    load, total = export.tasks
    assert (load.name, load.type, load.command, load.as_link) == ("load", "COMMAND", 'echo "hi"', True)
    assert (load.run_mode["cpu"], load.run_mode["memory"], load.run_mode["taskMode"]) == (0.6, 1.1, 1)
    assert (load.timeout, load.retry_limit, load.retry_interval, load.success_code) == (300, 3, 0, "0")
    assert (load.resource, load.priority_level, load.sync_type, load.file_package) == ("default", 1, 1, "")
    assert (total.name, total.type) == ("sum", 3)
    assert export.relations == (ExportedRelation("load", "sum", rerun=True),)
    assert export.flow_links == (FlowLink("f_2809", "upstream"),)
    assert export.task_links == (TaskLink("t_9", "upstream", "last"),)
    assert export.link_relations == (LinkRelation("f_2809", "load", rerun=False),)


def test_export_is_written_as_it_was_read() -> None:
    assert FlowExport.parse(EXPORT).document() == EXPORT


def test_what_is_not_documented_is_kept() -> None:
    """Such as ``waitCode``, which one of the documentation's samples has."""
    task = {**EXPORTED_TASK, "waitCode": ""}
    document = {**EXPORT, "tasks": [task], "appId": {"of": ["v2.0"]}}
    assert FlowExport.parse(document).document() == document


@pytest.mark.parametrize("name", ["name", "alertMode", "type", "syncType"])
def test_what_is_missing_is_not_invented(name: str) -> None:
    """The samples of Import Flow have no ``name``."""
    document = but(EXPORT, **{name: ...})
    assert FlowExport.parse(document).document() == document


@pytest.mark.parametrize(
    "data",
    [
        [EXPORT],
        snake(EXPORT),
        but(EXPORT, parameters=json.loads(EXPORT["parameters"])),
        but(EXPORT, parameters={"REPLACE": "ddee"}),
        but(EXPORT, tasks=json.dumps(EXPORT["tasks"])),
        but(EXPORT, tasks=[but(task, runMode=json.loads(task["runMode"])) for task in EXPORT["tasks"]]),
        but(EXPORT, relations=EXPORT["relations"][0]),
        but(EXPORT, type="1", alertMode="3"),
    ],
    ids=range(8),
)
def test_export_however_it_is_written(data: Any) -> None:
    assert FlowExport.parse(data) == FlowExport.parse(EXPORT)
    assert FlowExport.parse(data).document() == EXPORT


@pytest.mark.parametrize("nothing", [..., None, "", [], "[]"])
def test_export_with_little(nothing: object) -> None:
    lists = dict.fromkeys(("tasks", "flowLinks", "taskLinks", "relations", "linkRelations", "parameters"), nothing)
    export = FlowExport.parse(but(EXPORT, **lists))
    assert (export.tasks, export.relations, export.flow_links, export.parameters) == ((), (), (), ())
    assert (export.task_links, export.link_relations) == ((), ())
    assert FlowExport.parse(export.document()) == export


@pytest.mark.parametrize("value", ["COMMAND", "3", 3, 7, None])
def test_type_of_a_task_is_kept_as_it_came(value: object) -> None:
    """The documentation's table has numbers, its samples have texts."""
    task = ExportedTask.parse(but(EXPORTED_TASK, type=value))
    assert task.type == value
    assert type(task.type) is type(value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": 5}, "flow export: tasks: expected a list, got 5"),
        ({"tasks": "x"}, "flow export: tasks: expected JSON, got 'x'"),
        ({"tasks": [5]}, "exported task: expected an object, got 5"),
        ({"tasks": [{}]}, "exported task: name is missing"),
        ({"tasks": [{"name": "x", "runMode": "[1]"}]}, "exported task: runMode: expected an object, got [1]"),
        ({"tasks": [{"name": "x", "runMode": "{"}]}, "exported task: runMode: expected JSON, got '{'"),
        ({"tasks": [{"name": "x", "timeout": "soon"}]}, "exported task: timeout: expected a whole number, got 'soon'"),
        ({"tasks": [{"name": "x", "type": True}]}, "exported task: type: expected a whole number, got True"),
        ({"tasks": [{"name": "x", "type": []}]}, "exported task: type: expected a text, got []"),
        ({"relations": [{"sourceTaskName": "a"}]}, "exported relation: targetTaskName is missing"),
        ({"flowLinks": [{}]}, "flow link: linkId is missing"),
        ({"taskLinks": [{}]}, "task link: linkId is missing"),
        ({"linkRelations": [{"linkId": 1}]}, "link relation: targetTaskName is missing"),
        ({"type": "x"}, "flow export: type: expected a whole number, got 'x'"),
        ({"cycle": []}, "flow export: cycle: expected a text, got []"),
    ],
)
def test_export_of_the_wrong_shape(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(EnosReplyError) as raised:
        FlowExport.parse(but(EXPORT, **changes))
    assert str(raised.value) == message


@given(exports)
def test_any_export_is_written_and_read_alike(export: FlowExport) -> None:
    """Also by way of JSON, as in a file or over the wire."""
    assert FlowExport.parse(json.loads(json.dumps(export.document()))) == export


def test_a_changed_export_is_written_as_changed() -> None:
    export = FlowExport.parse(EXPORT)
    task = replace(export.tasks[0], run_mode={**export.tasks[0].run_mode, "cpu": 2})
    changed = replace(export, cycle="H", parameters=(), tasks=(task,)).document()
    assert (changed["cycle"], changed["parameters"]) == ("H", "[]")
    assert json.loads(changed["tasks"][0]["runMode"])["cpu"] == 2  # type: ignore[index]
