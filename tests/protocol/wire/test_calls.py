"""Each operation as the documentation describes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from enos_documents import EXPORT, WHOLE_FLOW

from airflow_provider_enos.protocol.models import Flow, FlowExport, FlowPage, FlowStatus, FlowSummary
from airflow_provider_enos.protocol.wire import calls

BATCH = "/batch-processing-service/v2.1"
LIST = {"type": 1, "from_trigger_time": 1573648355000, "to_trigger_time": 1573698120000, "page_no": 0, "page_size": 50}
PAIRS = [{"key": "REPLACE", "value": "ddee"}]
BY_CREATION = [{"field": "create_time", "order": "ASC"}]
FLOW = Flow.parse(WHOLE_FLOW)
BODY_OF_LIST = {
    "type": 1,
    "owner": "",
    "expression": "",
    "fromTriggerTime": 1573648355000,
    "toTriggerTime": 1573698120000,
    "status": "",
    "pagination": {"pageNo": 0, "pageSize": 50, "sorters": BY_CREATION},
}
FOUND = FlowPage((FlowSummary(20, "x"),))
TOKEN_BODY = {"appKey": "key", "encryption": "digest", "timestamp": 1572574909697}

POSTED = [
    (calls.trigger_flow(3377, 5), "flows", "trigger", {"flowId": 3377, "triggerTime": 5}),
    (
        calls.trigger_flow_from_task(3377, 108580, 5),
        "flows",
        "triggerFromTask",
        {"flowId": 3377, "taskId": 108580, "triggerTime": 5},
    ),
    (
        calls.update_and_trigger_flow(3377, 5, {"REPLACE": "ddee"}),
        "flows",
        "updateAndTrigger",
        {"flowId": 3377, "triggerTime": 5, "parameters": PAIRS},
    ),
    (calls.list_flow_instances(**LIST), "flowInstances", "search", BODY_OF_LIST),
    (calls.cancel_flow_instance("3377-1"), "flowInstances", "cancel", {"flowInstId": "3377-1"}),
    (calls.enable_flow(3377), "flows", "enable", {"flowId": 3377}),
    (calls.disable_flow(3377), "flows", "disable", {"flowId": 3377}),
    (calls.create_directory("249a", "d"), "directories", "create", {"parentId": "249a", "dirName": "d"}),
    (
        calls.search_flows(page_no=1, page_size=10, expression="x"),
        "flows",
        "search",
        {"expression": "x", "pagination": {"pageNo": 1, "pageSize": 10, "sorters": BY_CREATION}},
    ),
    (
        calls.search_flows(page_no=0, page_size=10, sort_by="createTime"),
        "flows",
        "search",
        {
            "expression": "",
            "pagination": {"pageNo": 0, "pageSize": 10, "sorters": [{"field": "createTime", "order": "ASC"}]},
        },
    ),
    (
        calls.import_flow("new", "249a", FlowExport.parse(EXPORT), flow_id=5, desc="mine"),
        "flows",
        "import",
        {"flowName": "new", "dirId": "249a", "flowJson": EXPORT, "flowId": 5, "desc": "mine"},
    ),
    (
        calls.import_flow("new", "249a", FlowExport.parse(EXPORT)),
        "flows",
        "import",
        {"flowName": "new", "dirId": "249a", "flowJson": EXPORT, "desc": EXPORT["desc"]},
    ),
    (calls.save_flow(FLOW), "flows", "save", FLOW.document()),
]
GOTTEN = [
    (calls.get_flow(3377), "flows", [("action", "get"), ("flowId", "3377")]),
    (calls.get_flow_instance("3377-1"), "flowInstances", [("action", "get"), ("flowInstId", "3377-1")]),
    (calls.get_task_instance("9-1"), "taskInstances", [("action", "get"), ("taskInstId", "9-1")]),
    (calls.get_task_instance_log("9-1"), "taskInstances", [("action", "getLog"), ("taskInstId", "9-1")]),
    (
        calls.get_task_instance_log("9-1", 7),
        "taskInstances",
        [("action", "getLog"), ("taskInstId", "9-1"), ("maxLength", "7")],
    ),
    (calls.export_flow(3377), "flows", [("action", "export"), ("flowId", "3377")]),
    (calls.load_flow_for_edit(3377), "flows", [("action", "loadForEdit"), ("flowId", "3377")]),
    (calls.delete_flow(3377), "flows", [("action", "delete"), ("flowId", "3377")]),
    (calls.get_my_flow(), "flows", [("action", "getMyFlow")]),
    (calls.get_my_flow("33 ä"), "flows", [("action", "getMyFlow"), ("expression", "33 ä")]),
    (calls.list_workflow_directories(), "directories", [("action", "listWorkFlowDirs")]),
    (calls.get_current_time(), "time", [("action", "getCurrentTime")]),
    (calls.get_time_zone(), "time", [("action", "getTimeZone")]),
]
TOKEN_CALLS = [
    (calls.get_token("key", "digest", 1572574909697), "get", TOKEN_BODY),
    (
        calls.refresh_token("key", "digest", 1572574909697, "old"),
        "refresh",
        {**TOKEN_BODY, "accessToken": "old"},
    ),
]
ALL = [call for call, *_ in (*POSTED, *GOTTEN, *TOKEN_CALLS)]


@pytest.mark.parametrize(("call", "resource", "action", "body"), POSTED, ids=[call.operation for call, *_ in POSTED])
def test_post_calls(call: Any, resource: str, action: str, body: object) -> None:
    assert (call.method, call.path, call.query) == ("POST", f"{BATCH}/{resource}", (("action", action),))
    assert json.loads(call.body) == body


@pytest.mark.parametrize(("call", "resource", "query"), GOTTEN)
def test_get_calls(call: Any, resource: str, query: list[tuple[str, str]]) -> None:
    assert (call.method, call.path, list(call.query)) == ("GET", f"{BATCH}/{resource}", query)
    assert call.body is None


@pytest.mark.parametrize(("call", "verb", "body"), TOKEN_CALLS, ids=["get", "refresh"])
def test_token_service(call: Any, verb: str, body: object) -> None:
    assert (call.method, call.path, call.query) == ("POST", f"/apim-token-service/v2.0/token/{verb}", ())
    assert json.loads(call.body) == body
    assert not call.tenant


def test_all_22_operations_are_there() -> None:
    """The operations of the Batch Processing Service v2.1, and two of the token service."""
    assert len({call.operation for call in ALL}) == 22 + 2


def test_calls_that_create_something_are_unsafe() -> None:
    """A trigger that is sent twice may start two instances, and a GET may change something, too."""
    assert {call.operation for call in ALL if not call.safe} == {
        "Create Directory",
        "Delete Flow",
        "Import Flow",
        "Load Flow For Edit",
        "Save Flow",
        "Trigger Flow",
        "Trigger Flow From Task",
        "Update And Trigger Flow",
    }


def test_tenant_belongs_to_all_but_time_and_token() -> None:
    assert {call.operation for call in ALL if not call.tenant} == {
        "Get Current Time",
        "Get Timezone",
        "Get Access Token",
        "Refresh Access Token",
    }


def test_calls_whose_empty_reply_means_not_found() -> None:
    """EnOS has no code of its own for this; for a missing log it may also report an internal error."""
    assert {call.operation: call.missing_codes for call in ALL if call.missing_codes} == {
        "Get Flow": (62102,),
        "Load Flow For Edit": (62102,),
        "Get Flow Instance": (62102,),
        "Get Task Instance": (62102,),
        "Get Task Instance Log": (62102, 62109),
    }


def test_body_is_compact_utf8() -> None:
    call = calls.update_and_trigger_flow(1, 2, {"描述": 'ä"'})
    assert call.body == '{"flowId":1,"triggerTime":2,"parameters":[{"key":"描述","value":"ä\\""}]}'.encode()


def test_list_filters() -> None:
    call = calls.list_flow_instances(
        **LIST, status=(FlowStatus.FAIL, FlowStatus.SUCCESS), owner="somebody", expression="3377"
    )
    body = json.loads(call.body or b"")
    assert (body["status"], body["owner"], body["expression"]) == ("-1,1", "somebody", "3377")


@pytest.mark.parametrize(
    ("call", "data", "parsed"),
    [
        (calls.trigger_flow(1, 2), {"flowInstanceId": "1-2"}, "1-2"),
        (calls.cancel_flow_instance("1-2"), "", None),
        (calls.cancel_flow_instance("1-2"), None, None),
        (calls.enable_flow(1), "", None),
        (calls.disable_flow(1), "", None),
        (calls.delete_flow(1), "", None),
        (calls.import_flow("new", "249a", FlowExport.parse(EXPORT)), {"flowId": "2839"}, 2839),
        (calls.save_flow(FLOW), {"flowId": 2841}, 2841),
        (calls.load_flow_for_edit(1), WHOLE_FLOW, FLOW),
        (calls.export_flow(1), EXPORT, FlowExport.parse(EXPORT)),
        (calls.create_directory("249a", "d"), {"dirId": "62e3"}, "62e3"),
        (calls.list_workflow_directories(), [], ()),
        (calls.get_my_flow(), [], ()),
        (calls.search_flows(page_no=1, page_size=1), [{"flowId": "20", "flowName": "x"}], FOUND),
        (calls.get_current_time(), 1564628400000, 1564628400000),
        (calls.get_current_time(), "1564628400000", 1564628400000),
        (calls.get_time_zone(), {"timezone": "GMT+8"}, "GMT+8"),
        (calls.get_task_instance_log("1"), {"log": "a\nb"}, "a\nb"),
        (calls.get_task_instance_log("1"), {}, ""),
    ],
)
def test_results_of_calls(call: Any, data: object, parsed: object) -> None:
    assert call.parse(data) == parsed
