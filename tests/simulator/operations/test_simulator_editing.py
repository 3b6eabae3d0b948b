"""Load Flow For Edit and Save Flow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator

WRONG = (62102, "Incorrect parameter")


def get(client: Any, flow_id: int) -> Any:
    data = client.call("flows/get", flowId=str(flow_id)).json["data"]
    return data | {"graph": json.loads(data["graph"])}


def body_of(data: Any, **changes: Any) -> dict[str, Any]:
    """What Save Flow takes, made of what Get Flow gives."""
    graph = data["graph"] if isinstance(data["graph"], dict) else json.loads(data["graph"])
    body = {name: data[name] for name in ("type", "freq", "cycle", "alertMode", "doAs", "startTime", "active", "desc")}
    body |= {"id": data["flowId"], "name": data["flowName"], "owners": data["owner"], "visitors": data["visitor"]}
    body |= {name: graph[name] for name in ("tasks", "flows", "relations", "queue")}
    return body | {"parameters": data["parameters"]} | changes


def save(client: Any, body: Any) -> Any:
    return client.call("flows/save", body).json


def test_saving_what_is_there_changes_nothing(client: Any) -> None:
    for flow_id in (3377, 4011):
        before = get(client, flow_id)
        assert save(client, body_of(before)) == {"code": 0, "msg": "OK", "data": {"flowId": flow_id}}
        after = get(client, flow_id)
        assert after.pop("updateTime") > before.pop("updateTime")
        assert after == before


def test_save_changes_the_flow(sim: EnosSimulator, client: Any) -> None:
    before = get(client, 3377)
    body = body_of(
        before,
        id="3377",
        name="renamed",
        type=1,
        cycle="H",
        freq="0 0 * * * ? *",
        active=0,
        alertMode=3,
        doAs="somebody",
        visitors=";x;",
        startTime="2021-02-03",
        desc="why",
        queue="fast",
        parameters=[{"key": "K", "value": "v"}],
    )
    assert save(client, body)["data"] == {"flowId": 3377}
    after = get(client, 3377)
    expected = {
        "flowName": "renamed",
        "type": 1,
        "cycle": "H",
        "freq": "0 0 * * * ? *",
        "active": 0,
        "alertMode": 3,
        "doAs": "somebody",
        "visitor": ";x;",
        "startTime": "2021-02-03",
        "desc": "why",
        "parameters": json.dumps([{"key": "K", "value": "v"}]),
        "updateUser": sim.user_id,
        "createTime": before["createTime"],
    }
    assert {name: after[name] for name in expected} == expected
    assert after["graph"]["queue"] == "fast"
    made = client.call("flows/trigger", {"flowId": 3377, "triggerTime": 0}).json["data"]["flowInstanceId"]
    instance = client.get(made)
    assert (instance["flowName"], instance["cycle"], instance["doAs"]) == ("renamed", "H", "somebody")
    assert json.loads(instance["parameters"]) == [{"key": "K", "value": "v"}]


def test_save_changes_the_graph(sim: EnosSimulator, client: Any) -> None:
    sim.add_flow(4001, tasks={40011: "a", 40012: "b"}, logs={40012: "no"}, ends_as="FAIL", failing_task=40012)
    sim.finish(sim.trigger(4001, trigger_time=0).id, "SUCCESS")
    body = body_of(get(client, 4001))
    first = body["tasks"][0] | {"taskName": "first", "x": 1.5, "y": 2}
    new = {"taskName": "new", "taskId": "77", "nodeId": "t_77", "x": 0, "y": 0}
    other = {"flowId": "4009", "flowName": "slow", "nodeId": "f_4009", "isVirtual": False, "x": 0.0, "y": 0.0}
    relations = [
        {"cycleGap": "D-1", "source": "t_40011", "target": "t_77", "rerun": True},
        {"cycleGap": "D0", "source": "f_4009", "target": "t_40011", "rerun": False},
    ]
    assert save(client, body | {"tasks": [first, new], "flows": [other], "relations": relations})["code"] == 0
    graph = get(client, 4001)["graph"]
    assert [(task["taskName"], task["taskId"], task["x"]) for task in graph["tasks"]] == [
        ("first", 40011, 1.5),
        ("new", 77, 0.0),
    ]
    assert graph["relations"] == relations
    assert graph["flows"][0]["flowId"] == 4009
    assert client.call("flows/delete", flowId="4009").json["code"] == 62104
    assert [node.name for node in sim.instances[0].nodes] == ["a", "b"], "an instance keeps the flow it was made of"
    made = sim.trigger(4001, 77, 60_000)
    assert client.get(made.id)["statusDesc"] == "READY"
    assert save(client, body_of(get(client, 4001), flows=[], relations=[]))["code"] == 0
    assert client.call("flows/delete", flowId="4009").json["code"] == 0


def test_optional_fields_keep_what_is_stored(sim: EnosSimulator, client: Any) -> None:
    sim.add_flow(41, tasks=[411], parameters={"A": "1"}, desc="kept", queue="kept")
    body = body_of(get(client, 41))
    for name in ("parameters", "desc", "queue"):
        del body[name]
    assert save(client, body)["code"] == 0
    flow = get(client, 41)
    assert (json.loads(flow["parameters"]), flow["desc"]) == ([{"key": "A", "value": "1"}], "kept")
    assert flow["graph"]["queue"] == "kept"


def task(number: int, **changes: Any) -> dict[str, Any]:
    return {"taskName": "t", "taskId": number, "nodeId": f"t_{number}", "x": 0, "y": 0} | changes


def reference(number: int) -> dict[str, Any]:
    return {"flowId": str(number), "flowName": "f", "nodeId": f"f_{number}", "isVirtual": False, "x": 0, "y": 0}


def relation(source: str, target: str, **changes: Any) -> dict[str, Any]:
    return {"cycleGap": "D0", "source": source, "target": target, "rerun": False} | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "x"},
        {"id": 1},
        {"id": True},
        {"type": 3},
        {"type": "1"},
        {"name": ""},
        {"name": "slow"},
        {"cycle": "Y"},
        {"freq": "0 0 * * *"},
        {"alertMode": 4},
        {"owners": ""},
        {"visitors": None},
        {"startTime": "2021-2-3"},
        {"startTime": "2021-02-30"},
        {"active": True},
        {"active": 2},
        {"parameters": "x"},
        {"parameters": {"K": "v"}},
        {"desc": None},
        {"more": 1},
        {"tasks": None},
        {"tasks": [task(108580), task(108580)]},
        {"tasks": [task(40091)]},
        {"tasks": [task(108580, nodeId="t_1")]},
        {"tasks": [task(108580, x="0")]},
        {"tasks": [task(108580, taskName="")]},
        {"tasks": [task(108580, status="INIT")]},
        {"flows": [reference(3377)]},
        {"flows": [reference(1)]},
        {"relations": [relation("t_108579", "t_1")]},
        {"relations": [relation("f_4009", "t_108580")]},
        {"relations": [relation("t_108579", "t_108580"), relation("t_108580", "t_108579")]},
        {"relations": [relation("t_108579", "t_108580", rerun=0)]},
        {"relations": [relation("t_108579", "t_108580", cycleGap="0")]},
    ],
    ids=str,
)
def test_save_body_is_strict(client: Any, changes: Any) -> None:
    """The graph that each change is made to is one that can be saved: see the test below."""
    before = get(client, 3377)
    graph = {} if "relations" in changes else {"relations": []}
    answer = save(client, body_of(before) | graph | changes)
    assert (answer["code"], answer["msg"]) == WRONG
    assert get(client, 3377) == before


def test_what_the_wrong_bodies_are_made_of_is_right(client: Any) -> None:
    body = body_of(get(client, 3377))
    for changes in (
        {"relations": []},
        {"relations": [], "tasks": [task(108580)]},
        {"relations": [], "flows": [reference(4009)]},
        {"relations": [relation("t_108579", "t_108580")]},
        {"relations": [relation("f_4009", "t_108580")], "flows": [reference(4009)]},
    ):
        assert save(client, body | changes)["code"] == 0


@pytest.mark.parametrize("name", ["id", "type", "owners", "active", "startTime", "tasks", "flows", "relations"])
def test_save_demands_what_any_edition_demands(client: Any, name: str) -> None:
    body = body_of(get(client, 3377))
    del body[name]
    answer = save(client, body)
    assert (answer["code"], answer["msg"]) == WRONG


def test_a_task_that_others_rely_on_stays(sim: EnosSimulator, client: Any) -> None:
    sim.add_flow(42, tasks=[421], links=[("a", 4009, 40092)], link_edges=[("a", 421)])
    body = body_of(get(client, 4009), relations=[])
    assert save(client, body | {"tasks": [one for one in body["tasks"] if one["taskId"] != 40092]})["code"] == 62102
    assert save(client, body | {"tasks": [one for one in body["tasks"] if one["taskId"] != 40093]})["code"] == 0


@pytest.mark.parametrize("flow_id", [4007, 4008])
def test_flows_that_cannot_be_saved(client: Any, flow_id: int) -> None:
    assert save(client, body_of(get(client, flow_id)))["code"] == 62103


def test_who_gives_a_flow_away_cannot_change_it_any_more(client: Any) -> None:
    assert save(client, body_of(get(client, 4009), owners=";somebody;"))["code"] == 0
    assert get(client, 4009)["hasEditPri"] is False
    assert save(client, body_of(get(client, 4009)))["code"] == 62103


def test_load_for_edit_makes_a_copy(sim: EnosSimulator, client: Any) -> None:
    loaded = client.call("flows/loadForEdit", flowId="4010").json["data"]
    assert loaded["queue"] == ""
    assert loaded["type"] == 2
    copy = loaded["flowId"]
    assert copy != 4010
    assert get(client, copy)["type"] == 2
    assert str(copy) not in {flow["flowId"] for flow in client.call("flows/getMyFlow").json["data"]}
    assert str(copy) not in str(client.call("directories/listWorkFlowDirs").json)
    assert client.trigger(flowId=copy, taskId=40101).json["code"] == 62102
    assert save(client, body_of(loaded, name="edited"))["data"] == {"flowId": 4010}
    edited = get(client, 4010)
    assert (edited["flowName"], edited["type"]) == ("edited", 1)
    assert client.call("flows/get", flowId=str(copy)).json["code"] == 62102
    assert save(client, body_of(loaded))["code"] == 62102, "a copy is saved once"


def test_load_for_edit_under_the_same_id(sim: EnosSimulator, client: Any) -> None:
    sim.edit_copy = "same"
    loaded = client.call("flows/loadForEdit", flowId="4010").json["data"]
    assert loaded["flowId"] == 4010
    assert [flow.copy_of for flow in sim.flows if flow.type == 2] == [4010]
    assert save(client, body_of(loaded, desc="edited"))["data"] == {"flowId": 4010}
    edited = get(client, 4010)
    assert (edited["desc"], edited["type"]) == ("edited", 1)


def test_copies(sim: EnosSimulator, client: Any, tmp_path: Path) -> None:
    """Anybody may load a flow for edit; copies hold nothing up, and go with their flow."""
    loaded = client.call("flows/loadForEdit", flowId="4008").json["data"]
    assert save(client, body_of(loaded))["code"] == 62103
    of_one = [client.call("flows/loadForEdit", flowId="4011").json["data"]["flowId"] for _ in range(2)]
    again = client.call("flows/loadForEdit", flowId=str(of_one[0])).json["data"]["flowId"]
    assert len({*of_one, again}) == 3
    assert save(client, body_of(get(client, 4011), flows=[], relations=[]))["code"] == 0
    assert client.call("flows/delete", flowId="3377").json["code"] == 0
    outdated = client.call("flows/loadForEdit", flowId=str(again)).json["data"]
    assert json.loads(outdated["graph"])["flows"][0]["flowName"] == ""
    assert save(client, body_of(outdated))["code"] == 62102, "it relies on what there is no more"
    sim.save(tmp_path / "state.json")
    sim.load(tmp_path / "state.json")
    client.token = ""
    assert client.call("flows/delete", flowId="4011").json["code"] == 0
    assert [flow.copy_of for flow in sim.flows if flow.copy_of] == [4008]
    assert client.call("flows/loadForEdit", flowId="1").json["code"] == 62102
