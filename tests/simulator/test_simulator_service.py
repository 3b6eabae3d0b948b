"""The Batch Processing operations, and both sides of each switch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.simulator.operations.registry import OPERATIONS

INSTANCE = "3377-20200706062600"
TRIGGER = {"flowId": 3377, "taskId": 108580, "triggerTime": 1594016819108}
CANNOT_CREATE = "Cannot create workflow instance. "


def nodes(data: dict[str, Any]) -> list[str]:
    return [task["status"] for task in json.loads(data["graph"])["tasks"]]


def test_documented_trigger(sim: EnosSimulator, client: Any) -> None:
    assert client.trigger().json == {"code": 0, "msg": "OK", "data": {"flowInstanceId": INSTANCE}}
    (instance,) = sim.instances_of(3377)
    assert (instance.trigger_time, instance.minute) == (1594016819108, 1594016760000)
    assert instance.from_task_id == 108580
    data = client.get()
    assert data["triggerTime"] == "2020-07-06 14:26:59"
    assert data["calDt"] == "2020-07-05"
    assert data["endTime"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"flowId": "3377"},
        {"taskId": "108580"},
        {"triggerTime": 1.5},
        {"flowId": True},
        {"flowId": None},
        {"triggerTime": -1},
        {"triggerTime": 10**15},
        {"more": 1},
    ],
)
def test_trigger_body_is_strict(client: Any, changes: Any) -> None:
    answer = client.trigger(**changes).json
    assert (answer["code"], answer["msg"]) == (62102, "Invalid request body.")


@pytest.mark.parametrize("body", [[], {}, {"flowId": 3377}, "text", 7])
def test_trigger_body_of_another_shape(client: Any, body: Any) -> None:
    answer = client.call("flows/triggerFromTask", body).json
    assert (answer["code"], answer["msg"]) == (62102, "Invalid request body.")


@pytest.mark.parametrize("changes", [{"flowId": 1}, {"taskId": 1}, {"flowId": 4006}])
def test_unknown_flow_or_task(client: Any, changes: Any) -> None:
    answer = client.trigger(**changes).json
    assert answer["code"] == 62102
    assert answer["msg"].startswith(CANNOT_CREATE)


@pytest.mark.parametrize(("flow", "code"), [(4006, 62104), (4007, 62103), (4008, 62103), (1, 62102)])
def test_flows_that_cannot_be_triggered(client: Any, flow: Any, code: Any) -> None:
    body = {"flowId": flow, "triggerTime": 1594016819108}
    assert client.call("flows/trigger", body).json["code"] == code


def test_wrong_tenant(client: Any) -> None:
    assert client.call("flows/get", flowId="3377", orgId="other").json["code"] == 62101
    assert client.call("flows/get", flowId="3377", userId="other").json["code"] == 62101


DOCUMENTED = {
    "POST": {
        *("flowInstances/cancel", "flowInstances/search", "directories/create", "flows/disable", "flows/enable"),
        *("flows/import", "flows/save", "flows/search", "flows/trigger", "flows/triggerFromTask"),
        "flows/updateAndTrigger",
    },
    "GET": {
        *("flows/delete", "flows/export", "flows/get", "flows/getMyFlow", "flows/loadForEdit", "flowInstances/get"),
        *("taskInstances/get", "taskInstances/getLog", "time/getCurrentTime", "time/getTimeZone"),
        "directories/listWorkFlowDirs",
    },
}


def test_every_documented_operation_is_there(client: Any) -> None:
    for method, names in DOCUMENTED.items():
        assert {name for name, operation in OPERATIONS.items() if operation.method == method} == names
        for name in names:
            assert client.call(name, {} if method == "POST" else None).status == 200
            assert client.call(name, None if method == "POST" else {}).status == 405


def test_unknown_operations(client: Any) -> None:
    assert client.call("flows/explode", flowId="1").json["code"] == 62102
    assert client.call("flows/trigger").status == 405
    assert client.call("robots/get").status == 404
    assert client.call("flows/get", flowId="3377", more="x").json["code"] == 62102
    assert client.call("flows/get", flowId="x").json["code"] == 62102


def test_same_minute_by_trigger_time(client: Any) -> None:
    assert client.trigger().json["code"] == 0
    answer = client.trigger(triggerTime=1594016760000).json
    assert (answer["code"], answer["msg"][:33]) == (62102, CANNOT_CREATE)
    assert client.trigger(triggerTime=1594016820000).json["code"] == 0


def test_same_minute_by_the_clock(sim: EnosSimulator, client: Any) -> None:
    sim.minute_rule = "clock"
    assert client.trigger().json["code"] == 0
    assert client.trigger(triggerTime=1594016820000).json["code"] == 62102
    sim.clock_minute = 0
    assert client.trigger(triggerTime=1594016820000).json["code"] == 0
    assert client.trigger().json["code"] == 62102, "an id names one instance"


def test_ids_of_another_style(sim: EnosSimulator, client: Any) -> None:
    sim.id_style = "other"
    made = client.trigger().json["data"]["flowInstanceId"]
    assert made.startswith("3377-")
    assert made != INSTANCE
    assert client.get(made)["instanceId"] == made


def test_parameters_hold_for_one_run(sim: EnosSimulator, client: Any) -> None:
    sim.add_flow(7, tasks=[71], parameters={"A": "1", "B": "2"})
    body = {"flowId": 7, "triggerTime": 0, "parameters": [{"key": "B", "value": "3"}]}
    made = client.call("flows/updateAndTrigger", body).json["data"]["flowInstanceId"]
    shown = json.loads(client.get(made)["parameters"])
    assert shown == [{"key": "A", "value": "1"}, {"key": "B", "value": "3"}]
    flow = client.call("flows/get", flowId="7").json["data"]
    assert json.loads(flow["parameters"])[1]["value"] == "2"
    sim.omitted_parameters = "dropped"
    made = client.call("flows/updateAndTrigger", body | {"triggerTime": 10**8}).json["data"]["flowInstanceId"]
    assert json.loads(client.get(made)["parameters"]) == [{"key": "B", "value": "3"}]
    made = client.call("flows/trigger", {"flowId": 7, "triggerTime": 2 * 10**8}).json["data"]["flowInstanceId"]
    assert len(json.loads(client.get(made)["parameters"])) == 2
    bad = body | {"triggerTime": 10**9, "parameters": ["x"]}
    assert client.call("flows/updateAndTrigger", bad).json["code"] == 62102


def test_graph_keys(sim: EnosSimulator, client: Any) -> None:
    sim.trigger(3377, 108580, TRIGGER["triggerTime"])
    assert json.loads(client.get()["graph"])["tasks"][0]["taskInstId"] == "108579-20200706062600"
    sim.graph_keys = "snake"
    assert json.loads(client.get()["graph"])["tasks"][0]["task_inst_id"] == "108579-20200706062600"
    sim.graph_as = "object"
    assert client.get()["graph"]["inst_id"] == INSTANCE


def test_ids_data_and_request_id(sim: EnosSimulator, client: Any) -> None:
    sim.trigger(3377, 108580, TRIGGER["triggerTime"])
    assert client.get()["flowId"] == 3377
    sim.switch({"ids_as": "str", "data_as": "list", "request_id": True})
    answer = client.call("flowInstances/get", flowInstId=INSTANCE).json
    assert answer["data"][0]["flowId"] == "3377"
    assert answer["requestId"]
    task = client.call("taskInstances/get", taskInstId="108580-20200706062600").json["data"]
    assert task[0]["taskId"] == "108580"


@pytest.mark.parametrize(("switch", "code", "data"), [("error", 62102, None), ("null", 0, None), ("empty_list", 0, [])])
def test_unknown_instance(sim: EnosSimulator, client: Any, switch: Any, code: Any, data: Any) -> None:
    sim.unknown_instance = switch
    answer = client.call("flowInstances/get", flowInstId="1-1").json
    assert (answer["code"], answer["data"]) == (code, data)


@pytest.mark.parametrize("status", [200, 400])
def test_http_status_of_refusals(sim: EnosSimulator, client: Any, status: Any) -> None:
    sim.envelope_http_status = status
    assert client.trigger(flowId=1).status == status
    assert client.trigger().status == 200


def test_cancel(sim: EnosSimulator, client: Any) -> None:
    client.trigger()
    client.get()
    client.get()
    answer = client.call("flowInstances/cancel", {"flowInstId": INSTANCE}).json
    assert answer == {"code": 0, "msg": "OK", "data": ""}
    data = client.get()
    assert (data["status"], data["statusDesc"]) == (8, "CANCEL")
    assert nodes(data) == ["INIT", "SUCCESS", "CANCEL", "CANCEL"]
    assert sim.instances[0].cancelled
    assert client.call("flowInstances/cancel", {"flowInstId": "1-1"}).json["code"] == 62102
    assert client.call("flowInstances/cancel", {"flowInstId": 1}).json["code"] == 62102


def test_logs(sim: EnosSimulator, client: Any) -> None:
    made = client.trigger(flowId=4001, taskId=40011).json["data"]["flowInstanceId"]
    stamp = made.partition("-")[2]

    def log(task: str, **query: str) -> Any:
        return client.call("taskInstances/getLog", taskInstId=f"{task}-{stamp}", **query).json

    assert log("40012")["code"] == 62109
    sim.log_missing_code = 62102
    assert log("40012") == {"code": 62102, "msg": "Invalid taskInstId or it has no log", "data": None}
    sim.finish(made, "FAIL")
    text = log("40012", maxLength="")["data"]["log"]
    assert f"instance:\t40012-{stamp}" in text
    assert "ColumnMissing: dw.meter_readings" in text
    assert log("40012", maxLength="5")["data"]["log"] == text[:5]
    sim.log_keeps = "tail"
    assert log("40012", maxLength="5")["data"]["log"] == text[-5:]
    assert log("40012", maxLength="x")["code"] == 62102
    assert log("1")["code"] == 62102


@pytest.mark.parametrize(
    ("status", "end"), [("SUCCESS", "INFO  a done"), ("FAIL", "ERROR a failed"), ("CANCEL", "WARN  a was cancelled")]
)
def test_a_log_ends_as_its_node(sim: EnosSimulator, client: Any, status: str, end: str) -> None:
    sim.add_flow(7001, tasks={70011: "a"}, progress="manual")
    made = sim.trigger(7001, None, 0).id
    sim.finish(made, status)
    answer = client.call("taskInstances/getLog", taskInstId=f"70011-{made.partition('-')[2]}").json
    assert answer["data"]["log"].endswith(f"{end}\n")


def test_logs_that_grow(sim: EnosSimulator, client: Any) -> None:
    """With the progress of the node: each look at the instance brings some of the lines, the end all of them."""
    sim.log_grows = True
    lines = ["one", "two", "three", "four"]
    sim.add_flow(7001, tasks={70011: "a", 70012: "b"}, progress=("polls", 4), logs={70011: "\n".join(lines)})
    made = sim.trigger(7001, None, 0).id
    shown = []
    for _ in range(4):
        client.call("flowInstances/get", flowInstId=made)
        answer = client.call("taskInstances/getLog", taskInstId=f"70011-{made.partition('-')[2]}").json
        shown.append(answer["data"]["log"].split("=" * 60 + "\n")[2].splitlines() if answer["code"] == 0 else None)
    assert shown == [None, lines[:2], lines, lines]


def test_list(sim: EnosSimulator, client: Any) -> None:
    times = [i * 60_000 for i in range(5)]
    for moment in times:
        sim.trigger(3377, 108580, moment)
    answer = client.search(pagination={"pageNo": 2, "pageSize": 2}).json["data"]
    assert [item["instanceId"][-6:] for item in answer["flowInsts"]] == ["000200", "000300"]
    assert answer["count"] == 5
    assert "status" not in json.loads(answer["flowInsts"][0]["graph"])["tasks"][0]
    sorters = [{"field": "trigger_time", "order": "DESC"}]
    page = {"pageNo": 1, "pageSize": 9, "sorters": sorters}
    assert client.search(pagination=page).json["data"]["flowInsts"][0]["instanceId"].endswith("000400")
    assert client.search(fromTriggerTime=60_000, toTriggerTime=120_000).json["data"]["count"] == 1
    assert client.search(type=1).json["data"]["count"] == 0
    assert client.search(owner="nobody").json["data"]["count"] == 0
    assert client.search(expression="000400").json["data"]["count"] == 1
    sim.finish(sim.instances[4].id, "SUCCESS")
    for status in (1, "1", "1,-1"):
        found = client.search(status=status, fromTriggerTime=240_000).json["data"]
        assert found["count"] == 1


def test_list_switches(sim: EnosSimulator, client: Any) -> None:
    sim.trigger(3377, 108580, 0)
    sim.trigger(3377, 108580, 60_000)
    sim.switch({"first_page": 0, "count_means": "page", "listed_type": 2})
    found = client.search(type=2, pagination={"pageNo": 0, "pageSize": 1}).json["data"]
    assert found["count"] == len(found["flowInsts"]) == 1
    sim.first_page = 1
    assert client.search(pagination={"pageNo": 0, "pageSize": 1}).json["code"] == 62102


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "0"},
        {"type": 3},
        {"status": "x"},
        {"status": None},
        {"owner": 1},
        {"fromTriggerTime": "0"},
        {"pagination": None},
        {"pagination": {"pageNo": 1}},
        {"pagination": {"pageNo": 1, "pageSize": 0}},
        {"pagination": {"pageNo": 1, "pageSize": 1, "more": 1}},
    ],
)
def test_list_body_is_strict(client: Any, changes: Any) -> None:
    assert client.search(**changes).json["msg"] == "Invalid request body."


@pytest.mark.parametrize("sorters", ["x", [1], [{"field": "size"}], [{"field": "start_time", "order": "UP"}]])
def test_wrong_sorters(client: Any, sorters: Any) -> None:
    answer = client.search(pagination={"pageNo": 1, "pageSize": 1, "sorters": sorters}).json
    assert (answer["code"], answer["msg"]) == (62102, "The sorters field parameter is invalid")


def test_time(sim: EnosSimulator, client: Any) -> None:
    assert abs(client.call("time/getCurrentTime").json["data"] - client.now()) < 5000
    sim.time_zone = "GMT-3"
    assert client.call("time/getTimeZone").json["data"] == {"timezone": "GMT-3"}
