"""Looking at flows, switching their schedule, deleting them; and what a locked user or flow may not do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator

MINUTE = 1594016819108
RELIED_ON = "This workflow is relied on by other workflows and cannot be deleted."


def code_and_message(answer: Any) -> tuple[int, str]:
    return answer.json["code"], answer.json["msg"]


def search(client: Any, number: int = 1, size: int = 50, **more: Any) -> Any:
    sorters = more.pop("sorters", None)
    page = {"pageNo": number, "pageSize": size} | ({"sorters": sorters} if sorters is not None else {})
    return client.call("flows/search", {"pagination": page, **more})


def ids(answer: Any) -> list[str]:
    return [str(flow["flowId"]) for flow in answer.json["data"]]


# ---- Get Flow -------------------------------------------------------------------------------------------------------


def test_get_flow_has_every_documented_field(client: Any, sim: EnosSimulator) -> None:
    flow = client.call("flows/get", flowId="4010").json["data"]
    graph = json.loads(flow.pop("graph"))
    assert flow == {
        "flowId": 4010,
        "flowName": "scheduled_daily",
        "active": 1,
        "creator": sim.user_id,
        "updateUser": sim.user_id,
        "createTime": "2020-07-01 08:00:00.0",
        "updateTime": "2020-07-01 08:00:00.0",
        "freq": "0 0 0 * * ? *",
        "cycle": "D",
        "parameters": "[]",
        "owner": f";{sim.user_id};",
        "visitor": "",
        "doAs": "data_simulator",
        "alertMode": 0,
        "entry": 0,
        "type": 1,
        "syncType": 0,
        "desc": "",
        "startTime": "2020-07-01",
        "virtual": False,
        "locked": False,
        "hasEditPri": True,
        "hasReadPri": True,
        "isUserLocked": False,
    }
    assert graph.keys() == {
        *("creator", "freq", "alertMode", "type", "owners", "visitors", "startTime", "cycle", "doAs", "name"),
        *("syncType", "queue", "desc", "active", "parameters", "flows", "tasks", "relations"),
    }


def test_a_flow_that_others_run_before(client: Any) -> None:
    """What a flow relies on is a node of its graph, and in its instances one without a status."""
    graph = json.loads(client.call("flows/get", flowId="4011").json["data"]["graph"])
    (other,) = graph["flows"]
    assert (other["flowId"], other["flowName"], other["nodeId"]) == (3377, "meter_readings_daily", "f_3377")
    assert {"cycleGap": "D0", "source": "f_3377", "target": "t_40111", "rerun": False} in graph["relations"]
    made = client.trigger(flowId=4011, taskId=40111).json["data"]["flowInstanceId"]
    (shown,) = json.loads(client.get(made)["graph"])["flows"]
    assert shown["status"] == "NONE"


# ---- Get My Flow, Search Flow ---------------------------------------------------------------------------------------


def test_my_flows(sim: EnosSimulator, client: Any) -> None:
    sim.add_flow(21, name="visited", owner="another_user", visitors=f";x;{sim.user_id}")
    mine = client.call("flows/getMyFlow").json["data"]
    assert {"flowId": "4010", "editable": True, "flowName": "scheduled_daily", "cycle": "D"} in mine
    assert {"flowId": "21", "editable": False, "flowName": "visited", "cycle": "D"} in mine
    assert "4008" not in {flow["flowId"] for flow in mine}
    sim.ids_as = "int"
    assert [flow["flowId"] for flow in client.call("flows/getMyFlow", expression="daily").json["data"]] == [
        "3377",
        "4010",
    ]
    assert ids(client.call("flows/getMyFlow", expression="337")) == ["3377"]
    assert ids(client.call("flows/getMyFlow", expression="")) == [flow["flowId"] for flow in mine]
    assert client.call("flows/getMyFlow", searchValue="x").json["code"] == 62102


def test_search_flows(sim: EnosSimulator, client: Any) -> None:
    everything = ids(search(client, expression=""))
    assert {"3377", "4008"} <= set(everything)
    assert search(client, expression="337").json["data"] == [{"flowId": 3377, "flowName": "meter_readings_daily"}]
    assert ids(search(client, 2, 5)) == everything[5:10]
    assert ids(search(client, 9, 5)) == []
    sim.ids_as = "str"
    assert search(client, expression="another").json["data"] == [{"flowId": "4008", "flowName": "of_another_user"}]


@pytest.mark.parametrize("first", [0, 1])
def test_search_counts_its_pages_from(sim: EnosSimulator, client: Any, first: int) -> None:
    sim.search_first_page = first
    assert ids(search(client, first, 1)) == ["3377"]
    assert search(client, first - 1, 1).json["code"] == 62102


@pytest.mark.parametrize("field", ["create", "update", "start"])
def test_search_sorted(sim: EnosSimulator, client: Any, field: str) -> None:
    late: dict[str, Any] = {"created_at": 2 * 10**12, "updated_at": 2 * 10**12, "start_time": "2021-01-01"}
    sim.add_flow(22, **late)
    up = ids(search(client, sorters=[{"field": f"{field}_time"}]))
    down = ids(search(client, sorters=[{"field": f"{field}_time", "order": "DESC"}]))
    assert (up[-1], down[0]) == ("22", "22")
    assert up != down


@pytest.mark.parametrize(
    ("names", "field", "says"),
    [
        ("either", "start_time", "OK"),
        ("either", "startTime", "OK"),
        ("snake", "start_time", "OK"),
        ("snake", "startTime", "Illegal field, should be one of [create_time, update_time, start_time]."),
        ("camel", "startTime", "OK"),
        ("camel", "start_time", "Illegal field, should be one of [createTime, updateTime, startTime]."),
        ("either", "end_time", "Illegal field, should be one of [create_time, update_time, start_time]."),
    ],
)
def test_names_to_sort_by(sim: EnosSimulator, client: Any, names: str, field: str, says: str) -> None:
    sim.search_sorters = names
    assert code_and_message(search(client, sorters=[{"field": field}])) == (0 if says == "OK" else 62102, says)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"expression": 7, "pagination": {"pageNo": 1, "pageSize": 1}},
        {"pagination": {"pageNo": 1, "pageSize": 0}},
        {"pagination": {"pageNo": "1", "pageSize": 1}},
        {"pagination": {"pageNo": 1, "pageSize": 1}, "more": 1},
    ],
)
def test_search_body_is_strict(client: Any, body: Any) -> None:
    assert code_and_message(client.call("flows/search", body)) == (62102, "Invalid request body.")


# ---- enable, disable, and the schedule ------------------------------------------------------------------------------


def test_a_schedule_is_switched_off_and_on(sim: EnosSimulator, client: Any) -> None:
    made = sim.run_schedule(4010, MINUTE)
    assert made
    assert (made.id, made.type) == ("4010-2020070606", 1)
    assert client.call("flows/disable", {"flowId": 4010}).json == {"code": 0, "msg": "OK", "data": ""}
    assert client.call("flows/get", flowId="4010").json["data"]["active"] == 0
    assert sim.run_schedule(4010, MINUTE + 86_400_000) is None
    assert client.trigger(flowId=4010, taskId=40101, triggerTime=MINUTE + 60_000).json["code"] == 0
    assert client.call("flows/enable", {"flowId": 4010}).json == {"code": 0, "msg": "OK", "data": ""}
    assert client.call("flows/get", flowId="4010").json["data"]["active"] == 1
    assert sim.run_schedule(4010, MINUTE + 86_400_000)
    assert client.search(type=1).json["data"]["count"] == 2


def test_what_a_schedule_does_not_start(sim: EnosSimulator) -> None:
    sim.add_flow(23, type=1, tasks=[1], start_time="2020-07-06")
    assert sim.run_schedule(3377, MINUTE) is None, "it is not periodic"
    assert sim.run_schedule(23, MINUTE - 86_400_000) is None, "it does not hold yet"
    assert sim.run_schedule(23, MINUTE)
    with pytest.raises(ValueError, match="that minute"):
        sim.run_schedule(23, MINUTE)
    with pytest.raises(KeyError):
        sim.run_schedule(1)


def test_a_trigger_of_a_flow_that_is_paused(sim: EnosSimulator, client: Any) -> None:
    """A manual flow has no schedule that could be off."""
    sim.paused_trigger = "refused"
    for flow_id, task_id, code in ((4010, 40101, 62102), (4009, 40091, 0)):
        assert client.trigger(flowId=flow_id, taskId=task_id, triggerTime=0).json["code"] == 0
        client.call("flows/disable", {"flowId": flow_id})
        assert client.trigger(flowId=flow_id, taskId=task_id).json["code"] == code


@pytest.mark.parametrize("action", ["enable", "disable"])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"flowId": "4010"}, 62102),
        ({"flowId": 1}, 62102),
        ({}, 62102),
        ({"flowId": 4010, "more": 1}, 62102),
        ({"flowId": 4007}, 62103),
        ({"flowId": 4008}, 62103),
    ],
)
def test_schedules_that_cannot_be_switched(client: Any, action: str, body: Any, code: int) -> None:
    assert client.call(f"flows/{action}", body).json["code"] == code


# ---- delete ---------------------------------------------------------------------------------------------------------


def test_delete_takes_the_instances_along(sim: EnosSimulator, client: Any) -> None:
    made = sim.trigger(4009, trigger_time=MINUTE).id
    sim.finish(made, "SUCCESS")
    kept = sim.trigger(3377, trigger_time=MINUTE).id
    assert client.call("flows/delete", flowId="4009").json == {"code": 0, "msg": "OK", "data": ""}
    assert client.call("flows/get", flowId="4009").json["code"] == 62102
    assert client.call("flowInstances/get", flowInstId=made).json["code"] == 62102
    assert client.call("taskInstances/get", taskInstId="40091-20200706062600").json["code"] == 62102
    assert [one.id for one in sim.instances] == [kept]
    assert "4009" not in ids(search(client))
    assert client.call("flows/delete", flowId="4009").json["code"] == 62102


def test_delete_is_a_get(client: Any) -> None:
    assert client.call("flows/delete", {"flowId": 4009}).status == 405


def test_a_flow_that_others_rely_on_stays(client: Any) -> None:
    assert code_and_message(client.call("flows/delete", flowId="3377")) == (62104, RELIED_ON)
    assert client.call("flows/delete", flowId="4011").json["code"] == 0
    assert client.call("flows/delete", flowId="3377").json["code"] == 0


def test_a_flow_that_runs_stays(sim: EnosSimulator, client: Any) -> None:
    made = sim.trigger(4009)
    code, message = code_and_message(client.call("flows/delete", flowId="4009"))
    assert code == 62104
    assert "running instance" in message
    client.call("flowInstances/cancel", {"flowInstId": made.id})
    assert client.call("flows/delete", flowId="4009").json["code"] == 0


def test_an_instance_yet_to_come_does_not_keep_its_flow(sim: EnosSimulator, client: Any) -> None:
    sim.trigger(4009, trigger_time=sim.now_ms() + 3_600_000)
    assert client.call("flows/delete", flowId="4009").json["code"] == 0
    assert sim.instances == []


@pytest.mark.parametrize(("flow", "code"), [("x", 62102), ("1", 62102), ("4007", 62103), ("4008", 62103)])
def test_flows_that_cannot_be_deleted(client: Any, flow: str, code: int) -> None:
    assert client.call("flows/delete", flowId=flow).json["code"] == code


# ---- a locked user, several owners ----------------------------------------------------------------------------------


def test_a_locked_user_looks_and_changes_nothing(sim: EnosSimulator, client: Any) -> None:
    sim.user_locked = True
    assert client.call("flows/get", flowId="3377").json["data"]["isUserLocked"] is True
    refused = [
        client.trigger(),
        client.call("flows/enable", {"flowId": 4010}),
        client.call("flows/disable", {"flowId": 4010}),
        client.call("flows/delete", flowId="4009"),
        client.call("flowInstances/cancel", {"flowInstId": "1-1"}),
        client.call("directories/create", {}),
    ]
    assert {code_and_message(answer) for answer in refused} == {(62103, "User has no privilege.")}
    assert code_and_message(client.call("flows/save", {})) == (62105, "Your account has been locked")
    sim.user_locked = False
    assert client.trigger().json["code"] == 0
    with pytest.raises(ValueError, match="True or False"):
        sim.user_locked = "no"  # type: ignore[assignment]


def test_a_flow_may_have_several_owners(sim: EnosSimulator, client: Any) -> None:
    sim.add_flow(24, tasks=[1], owner=f"first;{sim.user_id}")
    flow = client.call("flows/get", flowId="24").json["data"]
    assert (flow["owner"], flow["creator"], flow["hasEditPri"]) == (f"first;{sim.user_id}", "first", True)
    assert client.trigger(flowId=24, taskId=1).json["code"] == 0
    assert client.search(owner="first").json["data"]["count"] == 1


@pytest.mark.parametrize(
    "description",
    [
        {"active": 1},
        {"cycle": None},
        {"start_time": 7},
        {"type": True},
        {"directory": "none"},
        {"links": [("a", 1)]},
        {"tasks": [1], "link_edges": [("a", 1)]},
        {"places": {1: (0, 0)}},
    ],
)
def test_flows_that_make_no_sense(description: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        EnosSimulator().add_flow(7, **description)
