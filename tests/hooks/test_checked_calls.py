"""Arguments are checked before anything is sent."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from enos_documents import EXPORT as DOCUMENTED
from hook_fixtures import TRIGGER_TIME, MakeHook

from airflow_provider_enos import errors
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.protocol.models import Flow, FlowExport, FlowStatus
from airflow_provider_enos.simulator import EnosSimulator

# Without what it depends on, which the simulator does not have.
EXPORT = {**DOCUMENTED, "flowLinks": [], "taskLinks": [], "linkRelations": [], "owners": ""}


LONG = "9" * 30
LOADED = Flow.parse({"flowId": 3377, "flowName": "daily", "type": 0, "alertMode": 0, "active": 1})
EXPORTED = FlowExport.parse(EXPORT)
TASK = FlowExport.parse({**EXPORT, "tasks": [{"name": "only"}]}).tasks[0]
WRONG: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], str]] = {
    "flow_id none": ("trigger_flow_from_task", (None, 108580, TRIGGER_TIME), {}, "flow_id"),
    "flow_id text": ("trigger_flow_from_task", ("flow", 108580, TRIGGER_TIME), {}, "flow_id"),
    "flow_id true": ("trigger_flow_from_task", (True, 108580, TRIGGER_TIME), {}, "flow_id"),
    "flow_id 0": ("get_flow", (0,), {}, "flow_id"),
    "flow_id without end": ("get_flow", (LONG,), {}, "flow_id"),
    "flow_id a fraction": ("trigger_flow", (3377.0, TRIGGER_TIME), {}, "flow_id"),
    "flow_id not rendered": ("trigger_flow", ("{{ params.flow }}", TRIGGER_TIME), {}, "flow_id"),
    "flow_id of an update": ("update_and_trigger_flow", ("", TRIGGER_TIME, {}), {}, "flow_id"),
    "from_task_id": ("trigger_flow_from_task", (3377, "108580x", TRIGGER_TIME), {}, "from_task_id"),
    "trigger_time in seconds": ("trigger_flow_from_task", (3377, 108580, 1594016819), {}, "trigger_time"),
    "trigger_time naive": ("trigger_flow", (3377, datetime(2020, 7, 6)), {}, "trigger_time"),
    "trigger_time none": ("trigger_flow", (3377, None), {}, "trigger_time"),
    "trigger_time of an update": ("update_and_trigger_flow", (3377, "tomorrow", {}), {}, "trigger_time"),
    "parameters a list": ("update_and_trigger_flow", (3377, TRIGGER_TIME, [("a", "b")]), {}, "parameters"),
    "parameters with a float": ("update_and_trigger_flow", (3377, TRIGGER_TIME, {"a": 1.5}), {}, "parameters['a']"),
    "flow_instance_id": ("get_flow_instance", ("3377 20200706062600",), {}, "flow_instance_id"),
    "flow_instance_id of nothing": ("get_flow_instance", ("None",), {}, "flow_instance_id"),
    "flow_instance_id with a query": ("get_flow_instance", ("3377&userId=u1",), {}, "flow_instance_id"),
    "flow_instance_id to cancel": ("cancel_flow_instance", (None,), {}, "flow_instance_id"),
    "task_instance_id": ("get_task_instance", ("",), {}, "task_instance_id"),
    "task_instance_id of a log": ("get_task_instance_log", (5,), {}, "task_instance_id"),
    "max_length 0": ("get_task_instance_log", ("1-1", 0), {}, "max_length"),
    "max_length true": ("get_task_instance_log", ("1-1", True), {}, "max_length"),
    "max_length a fraction": ("get_task_instance_log", ("1-1", 1.5), {}, "max_length"),
    "max_length text": ("get_task_instance_log", ("1-1", "all"), {}, "max_length"),
    "from_trigger_time": ("list_flow_instances", ("yesterday", TRIGGER_TIME), {}, "from_trigger_time"),
    "to_trigger_time": ("list_flow_instances", (TRIGGER_TIME, 0), {}, "to_trigger_time"),
    "type unknown": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"type": 3}, "type"),
    "type true": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"type": True}, "type"),
    "type a list": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"type": [0]}, "type"),
    "type text": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"type": "0"}, "type"),
    "status text": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"status": "FAILED"}, "status"),
    "status names": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"status": ["FAIL", ""]}, "status"),
    "status a number": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"status": 5}, "status"),
    "status none": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"status": None}, "status"),
    "status numbers": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"status": [-1]}, "status"),
    "one status unknown": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"status": FlowStatus(42)}, "status"),
    "owner an object": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"owner": object()}, "owner"),
    "owner none": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"owner": None}, "owner"),
    "owner half a character": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"owner": "a\ud83d"}, "owner"),
    "expression a number": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"expression": 3377}, "expression"),
    "expression half a character": (
        "list_flow_instances",
        (TRIGGER_TIME, TRIGGER_TIME),
        {"expression": "\udc80"},
        "expression",
    ),
    "parameters with half a character": (
        "update_and_trigger_flow",
        (3377, TRIGGER_TIME, {"a": "\ud83d"}),
        {},
        "parameters['a']",
    ),
    "status unknown": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"status": [FlowStatus(42)]}, "status"),
    "page_size 0": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"page_size": 0}, "page_size"),
    "page_size huge": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"page_size": 1001}, "page_size"),
    **{
        f"flow_id to {method}": (method, (given,), {}, "flow_id")
        for method in ("export_flow", "load_flow_for_edit", "delete_flow", "enable_flow", "disable_flow")
        for given in (None, "daily", "3377&action=get")
    },
    "expression of my flows": ("get_my_flow", (3377,), {}, "expression"),
    "expression of a search": ("search_flows", (None,), {}, "expression"),
    "page_size of a search 0": ("search_flows", ("", 0), {}, "page_size"),
    "page_size of a search above what is recommended": ("search_flows", ("", 51), {}, "page_size"),
    "page_size of a search text": ("search_flows", ("", "50"), {}, "page_size"),
    "parent_id": ("create_directory", (None, "new"), {}, "parent_id"),
    "parent_id empty": ("create_directory", (" ", "new"), {}, "parent_id"),
    "dir_name": ("create_directory", ("root", ""), {}, "dir_name"),
    "dir_name two lines": ("create_directory", ("root", "a\nb"), {}, "dir_name"),
    "dir_name half a character": ("create_directory", ("root", "a\ud83d"), {}, "dir_name"),
    "flow_name": ("import_flow", ("", "root", EXPORT), {}, "flow_name"),
    "dir_id": ("import_flow", ("copy", 5, EXPORT), {}, "dir_id"),
    "flow_id to import": ("import_flow", ("copy", "root", EXPORT), {"flow_id": "x"}, "flow_id"),
    "desc none": ("import_flow", ("copy", "root", EXPORT), {"desc": None}, "desc"),
    "desc half a character": ("import_flow", ("copy", "root", EXPORT), {"desc": "\ud83d"}, "desc"),
    "flow_json text": ("import_flow", ("copy", "root", "{}"), {}, "flow_json"),
    "flow_json none": ("import_flow", ("copy", "root", None), {}, "flow_json"),
    "flow_json of something else": ("import_flow", ("copy", "root", {"tasks": [{"taskId": 5}]}), {}, "flow_json"),
    "flow_json no JSON": ("import_flow", ("copy", "root", {**EXPORT, "x": object()}), {}, "flow_json"),
    "flow_json no number": ("import_flow", ("copy", "root", {**EXPORT, "x": float("nan")}), {}, "flow_json"),
    "flow_json half a character": ("import_flow", ("copy", "root", {**EXPORT, "x": "\ud83d"}), {}, "flow_json"),
    "flow_json with no tasks": ("import_flow", ("copy", "root", replace(EXPORTED, tasks=None)), {}, "flow_json"),
    "flow_json with a run mode that is none": (
        "import_flow",
        ("copy", "root", replace(EXPORTED, tasks=(replace(TASK, run_mode=5),))),
        {},
        "flow_json",
    ),
    "flow an id": ("save_flow", (3377,), {}, "flow"),
    "flow a document": ("save_flow", (LOADED.document(),), {}, "flow"),
    "flow without a type": ("save_flow", (replace(LOADED, type=None),), {}, "flow.type"),
    "flow without an alert mode": ("save_flow", (replace(LOADED, alert_mode=None),), {}, "flow.alert_mode"),
    "flow with half a character": ("save_flow", (replace(LOADED, description="\ud83d"),), {}, "flow"),
    "flow with nodes that are none": ("save_flow", (replace(LOADED, nodes=("first",)),), {}, "flow"),
    "flow with parameters that are none": ("save_flow", (replace(LOADED, parameters=5),), {}, "flow"),
    "page_size true": ("list_flow_instances", (TRIGGER_TIME, TRIGGER_TIME), {"page_size": True}, "page_size"),
}


@pytest.mark.parametrize(("method", "given", "named", "field"), WRONG.values(), ids=WRONG)
def test_arguments_are_checked_before_any_request(
    hook: EnosHook, sim: EnosSimulator, method: str, given: Any, named: Any, field: str
) -> None:
    """The call itself raises the error, also if it returns an iterator."""
    with pytest.raises(errors.EnosConfigError, match=rf"^{re.escape(field)}: .*expected ") as caught:
        getattr(hook, method)(*given, **named)
    assert caught.value.field == field
    assert sim.requests == []


@pytest.mark.parametrize("conn_id", ["", " ", "None", None, 123])
def test_an_id_that_no_connection_has_is_refused(conn_id: Any) -> None:
    with pytest.raises(errors.EnosConfigError, match=r"^enos_conn_id: .*; expected the id of an Airflow connection"):
        EnosHook(conn_id)


def test_a_connection_that_cannot_work_sends_nothing(sim: EnosSimulator, hook_for: MakeHook) -> None:
    with pytest.raises(errors.EnosConfigError, match=r"^login: it is missing"):
        hook_for(sim, fields={"login": ""}).get_flow(3377)
    assert sim.requests == []
