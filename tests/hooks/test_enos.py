from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import ssl
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import trustme
from enos_documents import EXPORT as DOCUMENTED

from airflow_provider_enos import errors
from airflow_provider_enos.client.sync import SyncClient
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.protocol.models import Cycle, Flow, FlowExport, FlowStatus, FlowType
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.provider_info import CONNECTION_FIELDS, get_provider_info
from airflow_provider_enos.simulator import FAULTS, EnosSimulator
from airflow_provider_enos.simulator.config import SWITCHES
from airflow_provider_enos.simulator.wire import Reply, Request

INSTANCE = "3377-20200706062600"
TRIGGER_TIME = 1594016819108
MINUTE = 60_000
# Without what it depends on, which the simulator does not have.
EXPORT = {**DOCUMENTED, "flowLinks": [], "taskLinks": [], "linkRelations": [], "owners": ""}

MakeHook = Callable[..., EnosHook]


# ---- one method an operation ----------------------------------------------------------------------------------------


def test_trigger_flow_from_task(hook: EnosHook, sim: EnosSimulator) -> None:
    """The documentation's own sample."""
    assert hook.trigger_flow_from_task(3377, 108580, TRIGGER_TIME) == INSTANCE
    assert sim.requests[-1].json == {"flowId": 3377, "taskId": 108580, "triggerTime": TRIGGER_TIME}
    assert sim.instances[0].from_task_id == 108580


def test_arguments_may_be_rendered_templates(hook: EnosHook, sim: EnosSimulator) -> None:
    assert hook.trigger_flow_from_task("3377", " 108580 ", "2020-07-06T06:26:59.108+00:00") == INSTANCE
    assert sim.requests[-1].json == {"flowId": 3377, "taskId": 108580, "triggerTime": TRIGGER_TIME}


def test_trigger_flow(hook: EnosHook, sim: EnosSimulator) -> None:
    assert hook.trigger_flow(3377, datetime(2020, 7, 6, 6, 26, 59, 108000, tzinfo=UTC)) == INSTANCE
    assert sim.instances[0].from_task_id is None


def test_trigger_flow_now(hook: EnosHook, sim: EnosSimulator) -> None:
    hook.trigger_flow(3377, "now")
    assert abs(sim.instances[0].trigger_time - sim.now_ms()) < 10_000


def test_update_and_trigger_flow(hook: EnosHook, sim: EnosSimulator) -> None:
    assert hook.update_and_trigger_flow(3377, TRIGGER_TIME, {"day": "2020-07-05", "ort": "Zürich"}) == INSTANCE
    assert dict(sim.instances[0].parameters) == {"day": "2020-07-05", "ort": "Zürich"}
    assert dict(hook.get_flow_instance(INSTANCE).parameters) == {"day": "2020-07-05", "ort": "Zürich"}


def test_get_flow(hook: EnosHook) -> None:
    flow = hook.get_flow("3377")
    assert (flow.flow_id, flow.flow_name) == (3377, "meter_readings_daily")
    assert [node.task_id for node in flow.nodes] == [108579, 108580, 108581, 108582]


def test_get_flow_shows_what_it_is_made_of(hook: EnosHook) -> None:
    flow = hook.get_flow(4011)
    assert (flow.type, flow.cycle, flow.active) == (FlowType.MANUAL, Cycle.DAY, True)
    assert (flow.has_edit_privilege, flow.locked) == (True, False)
    assert [(other.flow_id, other.flow_name, other.node_id) for other in flow.flows] == [
        (3377, "meter_readings_daily", "f_3377")
    ]
    edges = [(edge.source, edge.target) for edge in flow.relations]
    assert sorted(edges) == [("f_3377", "t_40111"), ("t_40111", "t_40112")]
    assert hook.get_flow(4010).type is FlowType.PERIODIC


def test_get_my_flow(hook: EnosHook) -> None:
    mine = {flow.flow_id: flow for flow in hook.get_my_flow()}
    assert mine.keys() >= {3377, 4010}
    assert 4008 not in mine
    assert (mine[3377].flow_name, mine[3377].editable, mine[3377].cycle) == ("meter_readings_daily", True, Cycle.DAY)
    assert [flow.flow_id for flow in hook.get_my_flow("meter_readings_d")] == [3377]
    assert hook.get_my_flow("no such flow") == ()


def test_search_flows(hook: EnosHook) -> None:
    found = {flow.flow_id: flow.flow_name for flow in hook.search_flows()}
    assert found.keys() >= {3377, 4001, 4008, 4011}
    assert found[3377] == "meter_readings_daily"
    assert [flow.flow_id for flow in hook.search_flows("4008", page_size=1)] == [4008]
    assert list(hook.search_flows("no such flow")) == []


def test_enable_and_disable_flow(hook: EnosHook) -> None:
    assert hook.get_flow(4010).active
    for _ in range(2):
        hook.disable_flow("4010")
        assert not hook.get_flow(4010).active
    for _ in range(2):
        hook.enable_flow(4010)
        assert hook.get_flow(4010).active


def test_delete_flow(hook: EnosHook) -> None:
    hook.delete_flow("4011")
    with pytest.raises(errors.EnosNotFoundError):
        hook.get_flow(4011)
    hook.delete_flow(3377)


def test_a_flow_is_loaded_changed_and_saved(hook: EnosHook) -> None:
    before = hook.get_flow(4011)
    flow = hook.load_flow_for_edit("4011")
    assert (flow.nodes, flow.flows, flow.relations) == (before.nodes, before.flows, before.relations)
    changed = replace(
        flow,
        cron="0 30 1 * * ? *",
        cycle=Cycle.HOUR,
        description="at half past one",
        parameters=(("ort", "Zürich"), ("day", "")),
        nodes=(replace(flow.nodes[0], task_name="report_all"), flow.nodes[1]),
    )
    flow_id = hook.save_flow(changed)
    saved = hook.get_flow(flow_id)
    assert flow_id == 4011
    assert (saved.cron, saved.cycle, saved.description) == ("0 30 1 * * ? *", "H", "at half past one")
    assert saved.parameters == (("ort", "Zürich"), ("day", ""))
    assert [node.task_name for node in saved.nodes] == ["report_all", "send"]
    assert (saved.flows, saved.relations) == (before.flows, before.relations)
    assert (saved.flow_name, saved.owner, saved.type, saved.active) == (
        before.flow_name,
        before.owner,
        before.type,
        before.active,
    )


def test_a_flow_is_saved_as_it_was_loaded(hook: EnosHook) -> None:
    before = hook.get_flow(3377)
    after = hook.get_flow(hook.save_flow(hook.load_flow_for_edit(3377)))
    leave_out = {"updated_time": None, "updated_by": "", "creator": ""}
    assert replace(after, **leave_out) == replace(before, **leave_out)


def test_a_flow_is_exported_and_imported(hook: EnosHook) -> None:
    directory = hook.create_directory(hook.list_workflow_directories()[0].key, "copies")
    export = hook.export_flow("4011")
    as_it_is = hook.import_flow("copy", directory, export, desc="a copy")
    # As it would come out of a file.
    document = json.loads(json.dumps(export.document()))
    from_document = hook.import_flow("copy of a document", directory, document, flow_id="5001")
    assert from_document == 5001
    for flow_id, name, description in ((as_it_is, "copy", "a copy"), (5001, "copy of a document", export.description)):
        flow = hook.get_flow(flow_id)
        assert (flow.flow_name, flow.description) == (name, description)
        assert [node.task_name for node in flow.nodes] == [task.name for task in export.tasks]
        again = hook.export_flow(flow_id)
        assert replace(again, name=export.name, description=export.description) == export
    # The id is taken: another one is given.
    assert hook.import_flow("one more", directory, export, flow_id=5001) not in (4011, as_it_is, 5001)


def test_directories(hook: EnosHook) -> None:
    (root,) = hook.list_workflow_directories()
    assert (root.title, root.is_directory, root.flow_id) == ("Workflow", True, None)
    files = {one.flow_id: one for one in root.walk() if not one.is_directory}
    assert files[3377].title == "meter_readings_daily"
    assert (files[3377].editable, files[4008].editable) == (True, False)
    made = hook.create_directory(root.key, "Zürich")
    inner = hook.create_directory(made, "inner")
    (root,) = hook.list_workflow_directories()
    (new,) = (one for one in root.children if one.key == made)
    assert (new.title, new.is_directory) == ("Zürich", True)
    assert [(one.key, one.title) for one in new.children] == [(inner, "inner")]


UNSAFE: dict[str, Callable[[EnosHook], object]] = {
    "flows/delete": lambda hook: hook.delete_flow(4011),
    "flows/loadForEdit": lambda hook: hook.load_flow_for_edit(3377),
    "flows/save": lambda hook: hook.save_flow(hook.get_flow(3377)),
    "flows/import": lambda hook: hook.import_flow("copy", hook.list_workflow_directories()[0].key, EXPORT),
    "directories/create": lambda hook: hook.create_directory(hook.list_workflow_directories()[0].key, "new"),
}
SAFE: dict[str, Callable[[EnosHook], object]] = {
    "flows/enable": lambda hook: hook.enable_flow(4010),
    "flows/disable": lambda hook: hook.disable_flow(4010),
    "flows/export": lambda hook: hook.export_flow(3377),
    "flows/getMyFlow": lambda hook: hook.get_my_flow(),
    "flows/search": lambda hook: list(hook.search_flows("no such flow")),
    "directories/listWorkFlowDirs": lambda hook: hook.list_workflow_directories(),
}


@pytest.mark.parametrize(("operation", "ask"), UNSAFE.items(), ids=UNSAFE)
@pytest.mark.parametrize("kind", ["lost_reply", "http_503"])
def test_what_makes_something_new_is_not_repeated(
    hook: EnosHook, sim: EnosSimulator, operation: str, ask: Callable[[EnosHook], object], kind: str
) -> None:
    """Where it cannot be known what became of it, although some of these are GETs."""
    sim.fault(kind, on=operation, times=None)
    with pytest.raises(errors.EnosError):
        ask(hook)
    assert sim.count(operation) == 1


@pytest.mark.parametrize(("operation", "ask"), SAFE.items(), ids=SAFE)
@pytest.mark.parametrize("kind", ["lost_reply", "http_503"])
def test_what_does_no_harm_is_repeated(
    hook: EnosHook, sim: EnosSimulator, operation: str, ask: Callable[[EnosHook], object], kind: str
) -> None:
    ask(hook)
    undisturbed = sim.count(operation)
    sim.fault(kind, on=operation, times=1)
    ask(hook)
    assert sim.count(operation) == 2 * undisturbed + 1


def test_get_flow_instance(hook: EnosHook, sim: EnosSimulator) -> None:
    sim.trigger(3377, 108580, TRIGGER_TIME)
    sim.finish(INSTANCE, "FAIL", failed_task=108581)
    instance = hook.get_flow_instance(INSTANCE)
    assert instance.status is FlowStatus.FAIL
    assert instance.flow_id == 3377
    statuses = {node.task_id: node.status for node in instance.nodes}
    assert statuses[108581] is FlowStatus.FAIL


def test_cancel_flow_instance(hook: EnosHook, sim: EnosSimulator) -> None:
    sim.trigger(4009, 40091, TRIGGER_TIME)
    (instance,) = sim.instances
    hook.cancel_flow_instance(instance.id)
    assert hook.get_flow_instance(instance.id).status is FlowStatus.CANCEL


def test_get_task_instance_and_its_log(hook: EnosHook, sim: EnosSimulator) -> None:
    sim.progress = "at_once"
    sim.trigger(3377, 108580, TRIGGER_TIME)
    node = hook.get_flow_instance(INSTANCE).nodes[1]
    task = hook.get_task_instance(node.task_instance_id)
    assert (task.task_id, task.flow_instance_id, task.status) == (108580, INSTANCE, FlowStatus.SUCCESS)
    assert "clean done" in hook.get_task_instance_log(node.task_instance_id)
    assert hook.get_task_instance_log(node.task_instance_id, 10) == "=" * 10
    assert sim.requests[-1].query["maxLength"] == "10"


def test_time_and_zone(hook: EnosHook, sim: EnosSimulator) -> None:
    assert abs(hook.get_current_time() - sim.now_ms()) < 10_000
    assert hook.get_time_zone() == "GMT+8"


def test_run_carries_out_any_call(hook: EnosHook) -> None:
    assert hook.run(calls.get_flow(3377)).flow_id == 3377


def test_get_conn_gives_the_client(hook: EnosHook) -> None:
    assert isinstance(hook.get_conn(), SyncClient)
    assert hook.get_conn() is hook.client


def test_a_hook_can_be_made_without_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """DAG files make hooks where there is none yet."""
    monkeypatch.delenv("AIRFLOW_CONN_ENOS_DEFAULT", raising=False)
    assert EnosHook().enos_conn_id == "enos_default"


def test_tenant_of_the_hook_overrides_that_of_the_connection(sim: EnosSimulator, connect: Callable[..., str]) -> None:
    conn_id = connect(sim)
    others = EnosHook(conn_id, org_id="o-of-others")
    with pytest.raises(errors.EnosAccessError, match="62101"):
        others.get_flow(3377)
    assert sim.requests[-1].query["orgId"] == "o-of-others"
    ours = EnosHook(connect(sim, org_id="o1", user_id="u1"), org_id=sim.org_id, user_id=sim.user_id)
    assert ours.get_flow(3377).flow_id == 3377
    others.client.close()
    ours.client.close()


def test_all_hooks_of_a_process_use_one_token(sim: EnosSimulator, hook_for: MakeHook) -> None:
    hooks = [hook_for(sim) for _ in range(20)]
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda hook: hook.get_flow(3377), hooks))
    assert sim.count("token/get") == 1
    assert sim.count("flows/get") == 20


# ---- refusals of EnOS -----------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[EnosHook], object], type[errors.EnosError], str]] = {
    "no such flow": (lambda hook: hook.get_flow(1), errors.EnosNotFoundError, "62102"),
    "no such flow to trigger": (lambda hook: hook.trigger_flow(1, 10**12), errors.EnosRequestError, "62102"),
    "no such node": (lambda hook: hook.trigger_flow_from_task(3377, 1, 10**12), errors.EnosRequestError, "62102"),
    "no node at all": (lambda hook: hook.trigger_flow(4006, 10**12), errors.EnosRequestError, "62104"),
    "a locked flow": (lambda hook: hook.trigger_flow(4007, 10**12), errors.EnosAccessError, "neither of them may be"),
    "another user's flow": (lambda hook: hook.trigger_flow(4008, 10**12), errors.EnosAccessError, "must own the flow"),
    "no such instance": (lambda hook: hook.get_flow_instance("3377-1"), errors.EnosNotFoundError, "62102"),
    "no such instance to cancel": (lambda hook: hook.cancel_flow_instance("1-1"), errors.EnosRequestError, "62102"),
    "no such flow to delete": (lambda hook: hook.delete_flow(1), errors.EnosRequestError, "62102"),
    "no such flow to enable": (lambda hook: hook.enable_flow(1), errors.EnosRequestError, "62102"),
    "no such flow to disable": (lambda hook: hook.disable_flow(1), errors.EnosRequestError, "62102"),
    "no such flow to export": (lambda hook: hook.export_flow(1), errors.EnosRequestError, "there is no such flow"),
    "no such flow to load": (lambda hook: hook.load_flow_for_edit(1), errors.EnosNotFoundError, "62102"),
    "no such flow to save": (
        lambda hook: hook.save_flow(replace(hook.get_flow(3377), flow_id=1)),
        errors.EnosRequestError,
        "change what Load Flow For Edit gives",
    ),
    "a flow that others rely on": (lambda hook: hook.delete_flow(3377), errors.EnosRequestError, "62104 .*take it out"),
    "to delete another user's flow": (lambda hook: hook.delete_flow(4008), errors.EnosAccessError, "must own the flow"),
    "to enable a locked flow": (lambda hook: hook.enable_flow(4007), errors.EnosAccessError, "neither of them may be"),
    "to save another user's flow": (
        lambda hook: hook.save_flow(hook.load_flow_for_edit(4008)),
        errors.EnosAccessError,
        "must own the flow",
    ),
    "a directory in none": (
        lambda hook: hook.create_directory("none", "new"),
        errors.EnosRequestError,
        "62102 .*parent_id must be the key of a directory",
    ),
    "a directory of the same name": (
        lambda hook: hook.create_directory(hook.list_workflow_directories()[0].key, "meter data"),
        errors.EnosRequestError,
        "no other in it may have this dir_name",
    ),
    "to import into no directory": (
        lambda hook: hook.import_flow("copy", "none", EXPORT),
        errors.EnosRequestError,
        "62102 .*dir_id must be the key of a directory",
    ),
    "to import under a name that is taken": (
        lambda hook: hook.import_flow("slow", hook.list_workflow_directories()[0].key, EXPORT),
        errors.EnosRequestError,
        "62102 .*flow_name a new name",
    ),
    "no such task": (lambda hook: hook.get_task_instance("1-1"), errors.EnosNotFoundError, "62102"),
}


@pytest.mark.parametrize(("ask", "expected", "said"), REFUSED.values(), ids=REFUSED)
def test_what_enos_refuses(hook: EnosHook, ask: Callable[[EnosHook], object], expected: Any, said: str) -> None:
    with pytest.raises(expected, match=said):
        ask(hook)


def test_a_user_that_is_locked(hook: EnosHook, sim: EnosSimulator) -> None:
    flow = hook.load_flow_for_edit(3377)
    sim.user_locked = True
    assert hook.get_flow(3377).user_locked
    with pytest.raises(errors.EnosAccessError, match=r"62105 .*have it unlocked") as caught:
        hook.save_flow(flow)
    assert caught.value.final


@pytest.mark.parametrize("code", [62109, 62102])
def test_a_log_that_is_not_there_yet(hook: EnosHook, sim: EnosSimulator, code: int) -> None:
    """Whichever of its codes EnOS has for it, it is not asked again."""
    sim.log_missing_code = code
    sim.progress = "manual"
    sim.trigger(3377, 108580, TRIGGER_TIME)
    waiting = hook.get_flow_instance(INSTANCE).nodes[-1]
    with pytest.raises(errors.EnosNotFoundError, match=f"Get Task Instance Log: {code}"):
        hook.get_task_instance_log(waiting.task_instance_id)
    assert sim.count("taskInstances/getLog") == 1


def test_a_taken_minute(hook: EnosHook, sim: EnosSimulator) -> None:
    hook.trigger_flow_from_task(3377, 108580, TRIGGER_TIME)
    with pytest.raises(errors.EnosRequestError, match="62102"):
        hook.trigger_flow_from_task(3377, 108580, TRIGGER_TIME)
    assert len(sim.instances) == 1


# ---- arguments ------------------------------------------------------------------------------------------------------

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
    """At the call itself, also where the answer is an iterator."""
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


# ---- lists ----------------------------------------------------------------------------------------------------------


def populated(sim: EnosSimulator, number: int) -> list[str]:
    """Ids of so many instances, one a minute, finished."""
    sim.progress = "at_once"
    made = [sim.trigger(3377, 108580, TRIGGER_TIME + minute * MINUTE) for minute in range(number)]
    return [instance.id for instance in made]


@pytest.mark.parametrize("count_means", ["total", "page"])
@pytest.mark.parametrize("first_page", [0, 1])
@pytest.mark.parametrize("number", [0, 1, 49, 50, 51, 100, 120])
def test_a_list_of_many_pages(hook_for: MakeHook, number: int, first_page: int, count_means: str) -> None:
    """None twice, none missed, in order."""
    with EnosSimulator(first_page=first_page, count_means=count_means) as sim:
        expected = populated(sim, number)
        found = hook_for(sim).list_flow_instances(TRIGGER_TIME, TRIGGER_TIME + 120 * MINUTE, type=0)
        assert [instance.flow_instance_id for instance in found] == expected
        assert sim.count("flowInstances/search") <= number // 50 + 3


@pytest.mark.parametrize("listed_type", [0, 1, 2])
@pytest.mark.parametrize("page_size", [1, 7, 1000])
def test_all_types_are_listed_unless_one_is_asked_for(hook_for: MakeHook, listed_type: int, page_size: int) -> None:
    with EnosSimulator(listed_type=listed_type) as sim:
        expected = populated(sim, 8)
        hook = hook_for(sim)
        window = (TRIGGER_TIME, TRIGGER_TIME + 120 * MINUTE)
        found = [one.flow_instance_id for one in hook.list_flow_instances(*window, page_size=page_size)]
        assert found == expected
        for kind in (0, 1, 2):
            assert len(list(hook.list_flow_instances(*window, type=kind))) == (8 if kind == listed_type else 0)


@pytest.mark.parametrize("first_page", [0, 1])
def test_pages_are_asked_for_as_they_are_needed(hook_for: MakeHook, first_page: int) -> None:
    with EnosSimulator(first_page=first_page) as sim:
        populated(sim, 120)
        found = hook_for(sim).list_flow_instances(TRIGGER_TIME, TRIGGER_TIME + 120 * MINUTE, type=0)
        assert sim.requests == []
        next(found)
        # Where pages start at 1, that of number 0 was refused.
        to_find_the_first = 1 + first_page
        assert sim.count("flowInstances/search") == to_find_the_first
        for _ in range(49):
            next(found)
        assert sim.count("flowInstances/search") == to_find_the_first
        next(found)
        assert sim.count("flowInstances/search") == to_find_the_first + 1


def test_a_list_ends_before_its_end(hook: EnosHook, sim: EnosSimulator) -> None:
    first, second, _ = populated(sim, 3)
    found = hook.list_flow_instances(TRIGGER_TIME, TRIGGER_TIME + 2 * MINUTE)
    assert [instance.flow_instance_id for instance in found] == [first, second]


def test_a_list_of_some(hook: EnosHook, sim: EnosSimulator) -> None:
    populated(sim, 2)
    sim.trigger(4001, 40011, TRIGGER_TIME)
    sim.finish("4001-20200706062600", "FAIL")
    window = (TRIGGER_TIME, TRIGGER_TIME + 120 * MINUTE)

    def ids(**wanted: Any) -> list[str]:
        return [instance.flow_instance_id for instance in hook.list_flow_instances(*window, **wanted)]

    assert ids(status=[FlowStatus.SUCCESS]) == ["3377-20200706062600", "3377-20200706062700"]
    assert ids(status=FlowStatus.SUCCESS) == ["3377-20200706062600", "3377-20200706062700"]
    assert ids(status=FlowStatus.FAIL) == ["4001-20200706062600"]
    assert len(ids(status=(status for status in (FlowStatus.FAIL, FlowStatus.SUCCESS)))) == 3
    assert ids(expression="fails") == ["4001-20200706062600"]
    assert ids(expression="062700") == ["3377-20200706062700"]
    assert ids(owner="nobody") == []
    assert len(ids(owner=sim.user_id)) == 3
    assert len(ids(status=list(FlowStatus))) == 3


def test_a_refusal_that_is_no_matter_of_pages_comes_through(sim: EnosSimulator, hook_for: MakeHook) -> None:
    found = hook_for(sim, user_id="u-of-others").list_flow_instances(TRIGGER_TIME, TRIGGER_TIME + MINUTE)
    with pytest.raises(errors.EnosAccessError, match="62101"):
        next(found)
    assert sim.count("flowInstances/search") == 1


@pytest.mark.parametrize("sorters", ["snake", "camel"])
@pytest.mark.parametrize("first_page", [0, 1])
@pytest.mark.parametrize("number", [0, 1, 49, 50, 51, 100, 120])
def test_a_search_of_many_pages(hook_for: MakeHook, number: int, first_page: int, sorters: str) -> None:
    """None twice, none missed, whatever EnOS calls what they are sorted by."""
    with EnosSimulator(search_first_page=first_page, search_sorters=sorters) as sim:
        for place in range(number):
            sim.add_flow(70_000 + place, name=f"of many {place}", tasks=[1000 + place])
        found = [flow.flow_id for flow in hook_for(sim).search_flows("of many")]
        assert found == list(range(70_000, 70_000 + number))
        assert sim.count("flows/search") <= number // 50 + 5


def test_flows_are_searched_as_they_are_needed(hook: EnosHook, sim: EnosSimulator) -> None:
    found = hook.search_flows("", 2)
    assert sim.requests == []
    next(found)
    # Page 0 was refused.
    assert sim.count("flows/search") == 2


# ---- questions that the documentation leaves open -------------------------------------------------------------------

SIDES: dict[str, tuple[Any, ...]] = {
    "progress": ("polls:2", "at_once", "seconds:0"),
    "first_page": (0, 1),
    "minute_rule": ("trigger_minute", "clock"),
    "clock_minute": (60.0, 0.0),
    "graph_keys": ("camel", "snake"),
    "graph_as": ("text", "object"),
    "ids_as": ("int", "str"),
    "data_as": ("object", "list"),
    "listed_type": (0, 1, 2),
    "refused_token": ("envelope", "http"),
    "envelope_http_status": (200, 400),
    "refresh_changes_token": (True, False),
    "refresh_revokes_old": (True, False),
    "unknown_instance": ("error", "null", "empty_list"),
    "count_means": ("total", "page"),
    "request_id": (True, False),
    "log_missing_code": (62109, 62102),
    "log_keeps": ("head", "tail"),
    "log_grows": (True, False),
    "replayed_call": ("refused", "accepted"),
    "one_at_a_time": (True, False),
    "time_zone": ("GMT+8", "GMT-11"),
    "run_times_in": ("time_zone", "utc"),
    "cancel_takes": (0.0, 60.0),
    "clock_skew": (0.0, 3600.0, -3600.0),
    "search_first_page": (1, 0),
    "search_sorters": ("either", "snake", "camel"),
    "directory_type_as": ("int", "str"),
    "edit_copy": ("temporary", "same"),
    "task_types_as": ("str", "int"),
    "import_needs_desc": (False, True),
    "paused_trigger": ("accepted", "refused"),
    "omitted_parameters": ("kept", "dropped"),
}
NOT_FOR_THE_HOOK = {"id_style"}
"""A hook gives the id that EnOS gives; who predicts ids is the operator."""


def test_every_switch_has_its_sides_here() -> None:
    assert SIDES.keys() | NOT_FOR_THE_HOOK == SWITCHES.keys()


@pytest.mark.parametrize(
    ("name", "side"),
    [pytest.param(name, side, id=f"{name}={side}") for name, sides in SIDES.items() for side in sides],
)
def test_the_same_on_either_side_of_every_switch(hook_for: MakeHook, name: str, side: Any) -> None:
    with EnosSimulator(**{name: side}) as sim:
        hook = hook_for(sim)
        assert hook.trigger_flow_from_task(3377, 108580, TRIGGER_TIME) == INSTANCE
        for _ in range(5):
            instance = hook.get_flow_instance(INSTANCE)
        assert (instance.flow_instance_id, instance.flow_id) == (INSTANCE, 3377)
        assert instance.status is FlowStatus.SUCCESS
        assert {node.task_id for node in instance.nodes} >= {108580, 108581, 108582}
        assert [node.task_id for node in hook.get_flow(3377).nodes] == [108579, 108580, 108581, 108582]
        node = next(node for node in instance.nodes if node.task_id == 108580)
        assert hook.get_task_instance(node.task_instance_id).task_id == 108580
        assert hook.get_task_instance_log(node.task_instance_id)
        found = hook.list_flow_instances(TRIGGER_TIME - MINUTE, TRIGGER_TIME + MINUTE)
        assert [one.flow_instance_id for one in found] == [INSTANCE]
        for ask in (hook.get_flow_instance, hook.get_task_instance):
            with pytest.raises(errors.EnosRequestError):
                ask("3377-19990101000000")
        with pytest.raises(errors.EnosRequestError):
            hook.trigger_flow_from_task(3377, 108580, TRIGGER_TIME)
        sim.expire_tokens()
        hook.cancel_flow_instance(INSTANCE)
        assert len(sim.instances) == 1
        assert hook.test_connection()[0]


@pytest.mark.parametrize(
    ("name", "side"),
    [pytest.param(name, side, id=f"{name}={side}") for name, sides in SIDES.items() for side in sides],
)
def test_flows_the_same_on_either_side_of_every_switch(hook_for: MakeHook, name: str, side: Any) -> None:
    with EnosSimulator(**{name: side}) as sim:
        hook = hook_for(sim)
        flow = hook.get_flow(4011)
        assert [node.task_id for node in flow.nodes] == [40111, 40112]
        assert [other.flow_id for other in flow.flows] == [3377]
        assert len(flow.relations) == 2
        assert 4011 in [one.flow_id for one in hook.get_my_flow()]
        assert [one.flow_id for one in hook.search_flows("401")] == [4010, 4011]
        (root,) = hook.list_workflow_directories()
        assert {3377, 4010, 4011} <= {one.flow_id for one in root.walk()}
        assert root.type == 1
        new = hook.create_directory(root.key, "new")
        export = hook.export_flow(4011)
        copy = hook.import_flow("copy", new, export)
        assert replace(hook.export_flow(copy), name=export.name) == export
        loaded = hook.load_flow_for_edit(copy)
        assert hook.save_flow(replace(loaded, description="changed", parameters=(("a", "b"),))) == copy
        hook.disable_flow(copy)
        saved = hook.get_flow(copy)
        assert (saved.description, saved.parameters, saved.active) == ("changed", (("a", "b"),), False)
        assert [node.task_name for node in saved.nodes] == [node.task_name for node in flow.nodes]
        assert len(saved.relations) == 2
        hook.enable_flow(copy)
        assert hook.get_flow(copy).active
        hook.delete_flow(copy)
        with pytest.raises(errors.EnosNotFoundError):
            hook.get_flow(copy)


@pytest.mark.parametrize("changes", [True, False])
@pytest.mark.parametrize("revokes", [True, False])
def test_a_token_is_refreshed_whatever_becomes_of_the_old_one(hook_for: MakeHook, changes: bool, revokes: bool) -> None:
    """Two hooks of one process never drag behind each other's renewals."""
    with EnosSimulator(refresh_changes_token=changes, refresh_revokes_old=revokes) as sim:
        one, other = hook_for(sim), hook_for(sim)
        one.get_flow(3377)
        # As late as makes it due, without the wait.
        one.client.gateway._token = _due(one.client.gateway._token)
        other.get_flow(3377)
        one.get_flow(3377)
        assert sim.count("token/refresh") == 1
        assert {request.code for request in sim.requests} == {0}


def _due(token: Any) -> Any:
    import dataclasses

    return dataclasses.replace(token, renew_at=0)


# ---- the connection test --------------------------------------------------------------------------------------------


def test_a_connection_that_works(hook: EnosHook, sim: EnosSimulator) -> None:
    works, message = hook.test_connection()
    assert works
    assert message == f"Connected to {sim.url} as user {sim.user_id} of organisation {sim.org_id}."
    assert sim.instances == []


@pytest.mark.parametrize("skew", [3600, -3600])
def test_a_clock_that_is_off_is_mentioned(hook_for: MakeHook, skew: float) -> None:
    with EnosSimulator(clock_skew=skew) as sim:
        works, message = hook_for(sim).test_connection()
    assert works
    assert re.search(r"This machine's clock is off by 3(59[5-9]|60[0-5]) s, which is corrected for\.$", message)


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "wrong key": ({"login": "another-key"}, r"^Access key or secret key are not accepted\. .*1002 .*login"),
    "wrong secret": ({"password": "another-secret"}, r"^Access key or secret key are not accepted\. .*1003 .*password"),
    "wrong organisation": (
        {"extra": {"org_id": "o1", "user_id": "u15426865866571"}},
        r"^EnOS does not let this user or caller in\. .*62101 .*org_id and user_id do not belong together",
    ),
    "wrong user": (
        {"extra": {"org_id": "o15426865866571", "user_id": "u1"}},
        r"^EnOS does not let this user or caller in\. .*62101",
    ),
    "plain http": (
        {"host": "10.0.0.1"},
        r"^The connection cannot work\. schema: plain http to 10\.0\.0\.1 .*allow_http",
    ),
    "no such host": (
        {"host": "surely-nowhere.invalid", "schema": "https"},
        r"^Cannot reach the gateway\. .*the host name cannot be resolved",
    ),
    "nobody there": ({"port": 1}, r"^Cannot reach the gateway\. .*ConnectionRefusedError"),
    "TLS where there is none": ({"schema": "https"}, r"^TLS is refused\. "),
    "another address": ({"host": "http://127.0.0.1/edge"}, r"^The gateway does not answer as EnOS does\. .*404 .*host"),
    "no host": ({"host": ""}, r"^The connection cannot work\. host: it is missing; expected .*apim\.example\.com"),
    "no login": ({"login": ""}, r"^The connection cannot work\. login: it is missing"),
    "no password": ({"password": ""}, r"^The connection cannot work\. password: it is missing"),
    "no extra": ({"extra": None}, r"^The connection cannot work\. org_id: it is missing in extra"),
}


@pytest.mark.parametrize(("fields", "said"), UNFIT.values(), ids=UNFIT)
def test_a_connection_that_does_not_work(sim: EnosSimulator, hook_for: MakeHook, fields: Any, said: str) -> None:
    works, message = hook_for(sim, fields=fields).test_connection()
    assert not works
    assert re.search(said, message)
    assert len(message) < 400
    assert "\n" not in message


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"password": ""}, 'expected the secret key. In the form, password is "Secret Key".'),
        ({"port": 99999}, "port: 99999; expected 1 to 65535."),
        ({"host": "10.0.0.1"}, 'In the form, schema is "Scheme", allow_http is "Allow plain http".'),
        ({"schema": "https"}, 'plain http one, set schema. In the form, host is "Gateway", schema is "Scheme".'),
    ],
)
def test_the_sentence_says_what_the_form_calls_a_field(
    sim: EnosSimulator, hook_for: MakeHook, fields: Any, said: str
) -> None:
    """Where its label is no more than its name, it says nothing of it."""
    works, message = hook_for(sim, fields=fields).test_connection()
    assert not works
    assert message.endswith(said)


REPLIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "a web page": ("html_200", {}, r"^The gateway does not answer as EnOS does\. .*no JSON object"),
    "a login page elsewhere": ("redirect", {}, r"^The gateway does not answer as EnOS does\. .*points elsewhere"),
    "an address that is barred": ("http_403", {}, r"^EnOS does not let this user or caller in\. .*its address may be"),
    "a gateway in trouble": ("http_503", {"body": "html"}, r"^The gateway does not answer as EnOS does\. .*503"),
    "a line that drops": ("dropped", {}, r"^Cannot reach the gateway\. .*the connection broke"),
    "the quota": ("http_429", {"retry_after": 60}, r"429 .*over the quota"),
}


@pytest.mark.parametrize("on", ["token/get", "time/getCurrentTime", "flowInstances/search"])
@pytest.mark.parametrize(("kind", "options", "said"), REPLIES.values(), ids=REPLIES)
def test_a_gateway_that_does_not_answer_as_it_should(
    hook: EnosHook, sim: EnosSimulator, kind: str, options: Any, said: str, on: str
) -> None:
    """Said at once: who waits for the answer sits before a form."""
    sim.fault(kind, on=on, times=None, **options)
    works, message = hook.test_connection()
    assert not works
    assert re.search(said, message)
    assert len(message) < 300
    assert sim.count(on) == 1


def test_a_certificate_that_is_not_trusted(hook_for: MakeHook) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with EnosSimulator(tls=context) as sim:
        works, message = hook_for(sim).test_connection()
        assert not works
        assert message.startswith("TLS is refused. ")
        assert "CERTIFICATE_VERIFY_FAILED" in message
        assert hook_for(sim, verify=False).test_connection()[0]


# ---- what the form shows --------------------------------------------------------------------------------------------


def test_field_behaviour_is_that_of_provider_info() -> None:
    (described,) = get_provider_info()["connection-types"]
    behaviour = EnosHook.get_ui_field_behaviour()
    assert {name.replace("_", "-"): value for name, value in behaviour.items()} == described["ui-field-behaviour"]
    assert behaviour.keys() == {"hidden_fields", "relabeling", "placeholders"}


def test_the_hook_is_the_one_of_provider_info() -> None:
    (described,) = get_provider_info()["connection-types"]
    assert described["hook-class-name"] == f"{EnosHook.__module__}.{EnosHook.__name__}"
    assert described["connection-type"] == EnosHook.conn_type
    assert described["hook-name"] == EnosHook.hook_name


def test_the_form_of_airflow_2_has_the_fields_of_provider_info() -> None:
    pytest.importorskip("flask_appbuilder", reason="only in Airflow 2")
    from wtforms import BooleanField, Form

    widgets = EnosHook.get_connection_form_widgets()
    assert widgets.keys() == CONNECTION_FIELDS.keys()
    form = type("ConnectionForm", (Form,), widgets)()
    for name, described in CONNECTION_FIELDS.items():
        assert form[name].label.text == described["label"]
        assert form[name].description == described["description"]
        assert isinstance(form[name], BooleanField) == ("boolean" in described["schema"]["type"])


# ---- secrets --------------------------------------------------------------------------------------------------------


class Wiretap(EnosSimulator):
    """Keeps every token, signature and digest that goes over the wire: the simulator's records leave them out."""

    def __init__(self, **options: Any) -> None:
        self.heard: set[str] = set()
        super().__init__(**options)

    def respond(self, request: Request, send: Callable[[Reply], None]) -> None:
        headers = (request.headers.get(f"apim-{name}", "") for name in ("accesstoken", "signature"))
        self.heard.update(filter(None, headers))
        self.heard.update(re.findall(r'"encryption":"(\w+)"', request.body.decode()))

        def overheard(reply: Reply) -> None:
            self.heard.update(re.findall(r"APP_PORTAL_S_[\w-]+", reply.body[:4096].decode("utf-8", "replace")))
            send(reply)

        super().respond(request, overheard)


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Any:
    """All that anybody could read: every logger at its most talkative, warnings, both streams."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    names = ("", "urllib3", "urllib3.connectionpool", "requests", "http.client", "airflow", "airflow_provider_enos")
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    loggers[0].addHandler(handler)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")

        def everything() -> str:
            out, err = capfd.readouterr()
            stream.write(out + err + "".join(str(one.message) for one in warned))
            return stream.getvalue()

        yield stream.write, everything
    loggers[0].removeHandler(handler)
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def no_secret_in(text: str, sim: Wiretap, *more: str) -> None:
    """Not even 18 characters of one."""
    assert sim.heard
    for secret in (sim.secret_key, *sim.heard, *more):
        random_part = secret.removeprefix("APP_PORTAL_S_")
        for place in range(0, len(random_part) - 11, 6):
            assert random_part[place : place + 12] not in text


def tell(write: Callable[[str], Any], hook: EnosHook, error: BaseException | None = None) -> None:
    """Writes down what a debugger, a log or a crash report would show."""
    shown: list[Any] = [hook, hook.settings, hook.client, hook.client.gateway, vars(hook)]
    shown += [vars(hook.client), getattr(hook.client.gateway, "_token", None)]
    while error is not None:
        shown += [error, error.args, vars(error)]
        write("".join(traceback.format_exception(error)) + str(error))
        error = error.__cause__ or error.__context__
    write("\n".join(f"{one!r} {one}" for one in shown))


@pytest.mark.parametrize("operations", [("token/get",), ("flowInstances/get", "flows/triggerFromTask")])
@pytest.mark.parametrize("kind", FAULTS)
def test_secrets_are_said_nowhere(said: Any, hook_for: MakeHook, kind: str, operations: tuple[str, ...]) -> None:
    """Whatever the gateway answers, also where it repeats what it was sent; and where all is well."""
    write, everything = said
    options = {"seconds": 0.2} if kind in ("slow", "slow_before") else {}
    takes_its_time = kind in ("slow", "slow_before", "drip", "huge_body")
    with Wiretap(secret_key="the-secret-key-of-the-simulator") as sim:
        sim.trigger(3377, 108580, TRIGGER_TIME + MINUTE)
        hook = hook_for(sim, timeout=0.1 if kind in ("slow", "slow_before", "drip") else 5)
        for operation in operations:
            sim.fault(kind, on=operation, times=1 if takes_its_time else None, **options)
        for ask in (
            lambda: hook.get_flow_instance("3377-20200706062700"),
            lambda: hook.trigger_flow_from_task(3377, 108580, TRIGGER_TIME),
            hook.test_connection,
        ):
            try:
                write(repr(ask()))
            except errors.EnosError as error:
                tell(write, hook, error)
        sim.clear_faults()
        write(repr(hook_for(sim).get_flow_instance("3377-20200706062700")))
        tell(write, hook)
    no_secret_in(everything(), sim)


def test_a_wrong_secret_is_said_nowhere(said: Any, hook_for: MakeHook) -> None:
    write, everything = said
    with Wiretap() as sim:
        hook = hook_for(sim, fields={"password": "a-wrong-secret-of-some-length"})
        with pytest.raises(errors.EnosAuthError) as caught:
            hook.get_flow(3377)
        write(repr(hook.test_connection()))
        tell(write, hook, caught.value)
    no_secret_in(everything(), sim, "a-wrong-secret-of-some-length")


def test_requests_and_tokens_show_nothing_of_themselves(hook: EnosHook, sim: EnosSimulator) -> None:
    seen: list[str] = []
    send = hook.client._send

    def noting(request: Any) -> Any:
        reply = send(request)
        seen.extend((repr(request), str(request), repr(reply)))
        return reply

    hook.client._send = noting  # type: ignore[method-assign]
    hook.get_flow(3377)
    text = "".join(seen)
    assert "flows" in text
    for name in ("APP_PORTAL", "apim-signature", "encryption", sim.secret_key):
        assert name not in text


READS: dict[str, Any] = {
    "export": lambda: calls.export_flow(4011),
    "get": lambda: calls.get_flow(4011),
    "getMyFlow": lambda: calls.get_my_flow(),
    "listWorkFlowDirs": lambda: calls.list_workflow_directories(),
    "search": lambda: calls.search_flows(page_no=1, page_size=50),
    "search from 0": lambda: calls.search_flows(page_no=0, page_size=50),
    "export of no flow": lambda: calls.export_flow(1),
    "loadForEdit of no flow": lambda: calls.load_flow_for_edit(1),
    "delete of what others rely on": lambda: calls.delete_flow(3377),
    "create in no directory": lambda: calls.create_directory("none", "new"),
}


@pytest.mark.parametrize("make", READS.values(), ids=READS)
def test_both_ways_of_calling_agree(
    sim: EnosSimulator, hook: EnosHook, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_ASYNC", sim.connection_uri)

    def outcome(ask: Callable[[], object]) -> tuple[object, ...]:
        try:
            return (ask(),)
        except errors.EnosError as error:
            return type(error), str(error)

    assert outcome(lambda: hook.run(make())) == outcome(lambda: asyncio.run(EnosHook("enos_async").arun(make())))


def test_any_call_without_blocking_the_event_loop(sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_ASYNC", sim.connection_uri)
    assert asyncio.run(EnosHook("enos_async").arun(calls.get_time_zone())) == "GMT+8"
