"""The hook: a method for each operation, and what the connection form shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from enos_documents import EXPORT as DOCUMENTED
from hook_fixtures import INSTANCE, TRIGGER_TIME, MakeHook

from airflow_provider_enos import errors
from airflow_provider_enos.client.sync import SyncClient
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.protocol.models import Cycle, FlowStatus, FlowType
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.provider_info import CONNECTION_FIELDS, get_provider_info
from airflow_provider_enos.simulator import EnosSimulator

# Without what it depends on, which the simulator does not have.
EXPORT = {**DOCUMENTED, "flowLinks": [], "taskLinks": [], "linkRelations": [], "owners": ""}


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
    """If the result is not known; although some of these calls are GETs."""
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


# ---- any other call --------------------------------------------------------------------------------------------------


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


# ---- what the form shows ---------------------------------------------------------------------------------------------


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
