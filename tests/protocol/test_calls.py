"""Each operation as the documentation describes it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_enos.protocol import calls
from airflow_provider_enos.protocol.models import FlowStatus

BATCH = "/batch-processing-service/v2.1"
LIST = {"type": 1, "from_trigger_time": 1573648355000, "to_trigger_time": 1573698120000, "page_no": 0, "page_size": 50}
PAIRS = [{"key": "REPLACE", "value": "ddee"}]
BODY_OF_LIST = {
    "type": 1,
    "owner": "",
    "expression": "",
    "fromTriggerTime": 1573648355000,
    "toTriggerTime": 1573698120000,
    "status": "",
    "pagination": {"pageNo": 0, "pageSize": 50, "sorters": [{"field": "create_time", "order": "ASC"}]},
}
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
def test_posted(call: Any, resource: str, action: str, body: object) -> None:
    assert (call.method, call.path, call.query) == ("POST", f"{BATCH}/{resource}", (("action", action),))
    assert json.loads(call.body) == body


@pytest.mark.parametrize(("call", "resource", "query"), GOTTEN)
def test_gotten(call: Any, resource: str, query: list[tuple[str, str]]) -> None:
    assert (call.method, call.path, list(call.query)) == ("GET", f"{BATCH}/{resource}", query)
    assert call.body is None
    assert call.safe


@pytest.mark.parametrize(("call", "verb", "body"), TOKEN_CALLS, ids=["get", "refresh"])
def test_token_service(call: Any, verb: str, body: object) -> None:
    assert (call.method, call.path, call.query) == ("POST", f"/apim-token-service/v2.0/token/{verb}", ())
    assert json.loads(call.body) == body
    assert not call.tenant


def test_only_triggers_are_unsafe() -> None:
    """A trigger that is sent twice may start two instances; everything else does no harm."""
    assert {call.operation for call in ALL if not call.safe} == {
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


def test_which_answers_say_that_it_is_not_there() -> None:
    """EnOS has no code for that alone; of a log that is not there it speaks as of an internal error too."""
    assert {call.operation: call.missing_codes for call in ALL if call.missing_codes} == {
        "Get Flow": (62102,),
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
        (calls.get_current_time(), 1564628400000, 1564628400000),
        (calls.get_current_time(), "1564628400000", 1564628400000),
        (calls.get_time_zone(), {"timezone": "GMT+8"}, "GMT+8"),
        (calls.get_task_instance_log("1"), {"log": "a\nb"}, "a\nb"),
        (calls.get_task_instance_log("1"), {}, ""),
    ],
)
def test_what_they_give(call: Any, data: object, parsed: object) -> None:
    assert call.parse(data) == parsed
