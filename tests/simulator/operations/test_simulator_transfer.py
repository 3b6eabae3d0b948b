"""Export Flow and Import Flow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator

ROOT = "249a33bd419a4710b1567f5088f8955b"
WRONG = "Incorrect parameter"
UNFIT = "Workflow validation failed"


def export(client: Any, flow_id: int) -> Any:
    return client.call("flows/export", flowId=str(flow_id)).json["data"]


def bring_in(client: Any, content: Any, **more: Any) -> Any:
    body = {"flowName": "brought_in", "dirId": ROOT, "flowJson": content} | more
    return client.call("flows/import", {name: value for name, value in body.items() if value is not ...}).json


def everything() -> dict[str, Any]:
    """A struct with something in each place."""
    task = {
        "resource": "default",
        "type": "DATA_INTEGRATION",
        "runMode": json.dumps({"taskMode": 2, "cpu": 1.0, "memory": 2.0}),
        "syncType": 1,
        "cmd": "echo hi",
        "submitter": "account",
        "filePackage": "a.zip",
        "cron": "0 0 0 * * ? *",
        "priorityLevel": 2,
        "timeout": 60,
        "retryLimit": 1,
        "retryInterval": 5,
        "successCode": "0",
        "asLink": True,
    }
    return {
        "name": "brought_in",
        "cycle": "H",
        "cron": "0 0 * * * ? *",
        "parameters": json.dumps([{"key": "K", "value": "v"}]),
        "alertMode": 1,
        "type": 1,
        "syncType": 1,
        "submitter": "account",
        "owners": ";u15426865866571;other;",
        "visitors": ";x;",
        "desc": "why",
        "startTime": "2020-08-01",
        "tasks": [task | {"name": "one"}, task | {"name": "two", "type": 3}, task | {"name": "three"}],
        "flowLinks": [{"linkId": "l1", "sourceFlowName": "meter_readings_daily"}],
        "taskLinks": [{"linkId": "l2", "sourceFlowName": "slow", "sourceTaskName": "load"}],
        "relations": [
            {"sourceTaskName": "one", "targetTaskName": "two", "rerun": True},
            {"sourceTaskName": "one", "targetTaskName": "three", "rerun": False},
        ],
        "linkRelations": [
            {"linkId": "l1", "targetTaskName": "one", "rerun": False},
            {"linkId": "l2", "targetTaskName": "three", "rerun": True},
        ],
    }


def test_export(sim: EnosSimulator, client: Any) -> None:
    content = export(client, 4011)
    assert content == {
        "name": "relies_on_meter_readings",
        "cycle": "D",
        "cron": "0 0 0 * * ? *",
        "parameters": "[]",
        "alertMode": 0,
        "type": 0,
        "syncType": 0,
        "submitter": "data_simulator",
        "owners": f";{sim.user_id};",
        "visitors": "",
        "desc": "",
        "startTime": "2020-07-01",
        "tasks": content["tasks"],
        "flowLinks": [{"linkId": "a1", "sourceFlowName": "meter_readings_daily"}],
        "taskLinks": [],
        "relations": [{"sourceTaskName": "report", "targetTaskName": "send", "rerun": False}],
        "linkRelations": [{"linkId": "a1", "targetTaskName": "report", "rerun": False}],
    }
    assert content["tasks"][0].keys() == {"name", *everything()["tasks"][0]}
    assert [(task["name"], task["type"], task["cmd"]) for task in content["tasks"]] == [
        ("report", "COMMAND", "python report.py"),
        ("send", "COMMAND", "python send.py"),
    ]
    sim.task_types_as = "int"
    assert export(client, 4011)["tasks"][0]["type"] == 3


def test_export_of_other_flows(client: Any) -> None:
    assert export(client, 4008)["owners"] == ";another_user;"
    for flow in ("x", "-1", ""):
        answer = client.call("flows/export", flowId=flow).json
        assert (answer["code"], answer["msg"]) == (62102, "Flow validation exception")
    assert client.call("flows/export", flowId="1").json["code"] == 62102


def test_what_comes_in_goes_out_the_same(client: Any) -> None:
    made = bring_in(client, everything())["data"]["flowId"]
    assert export(client, made) == everything()
    again = bring_in(client, export(client, made), flowName="once_more")["data"]["flowId"]
    assert again != made
    assert export(client, again) == everything() | {"name": "once_more"}


@pytest.mark.parametrize("flow_id", [3377, 4001, 4006, 4010, 4011])
def test_the_seeds_go_round(client: Any, flow_id: int) -> None:
    content = export(client, flow_id)
    made = bring_in(client, content)["data"]["flowId"]
    assert export(client, made) == content | {"name": "brought_in"}


def test_an_imported_flow_is_one_like_any_other(sim: EnosSimulator, client: Any) -> None:
    directory = sim.add_directory("imported")
    made = bring_in(client, everything(), dirId=directory, desc="another")["data"]["flowId"]
    flow = client.call("flows/get", flowId=str(made)).json["data"]
    graph = json.loads(flow["graph"])
    assert (flow["desc"], flow["active"], flow["entry"], flow["creator"]) == ("another", 0, 1, sim.user_id)
    assert [other["nodeId"] for other in graph["flows"]] == ["f_3377", "f_4009"]
    assert sim.run_schedule(made, 1_600_000_000_000) is None, "its schedule is off"
    root = client.call("directories/listWorkFlowDirs").json["data"][0]
    assert [file["key"] for file in root["children"][-1]["children"]] == [made]
    task = graph["tasks"][0]["taskId"]
    assert task not in {108579, 108580}
    instance = client.trigger(flowId=made, taskId=task).json["data"]["flowInstanceId"]
    for _ in range(4):
        shown = client.get(instance)
    assert shown["statusDesc"] == "SUCCESS"
    node = json.loads(shown["graph"])["tasks"][0]["taskInstId"]
    detail = client.call("taskInstances/get", taskInstId=node).json["data"]
    assert (detail["cmd"], detail["timeout"], detail["recallLimit"]) == ("echo hi", 60, 1)
    assert "cmdline:\techo hi" in client.call("taskInstances/getLog", taskInstId=node).json["data"]["log"]
    assert client.call("flows/delete", flowId="4009").json["code"] == 62104, "a task link relies on it"
    assert client.call("flows/enable", {"flowId": made}).json["code"] == 0
    assert sim.run_schedule(made, 1_600_000_000_000)


def test_the_id_that_is_wanted(sim: EnosSimulator, client: Any) -> None:
    content = export(client, 4009)
    assert bring_in(client, content, flowId=77)["data"] == {"flowId": 77}
    other = bring_in(client, content, flowId=77, flowName="other")["data"]["flowId"]
    assert other not in (77, 4009)
    assert client.call("flows/delete", flowId=str(other)).json["code"] == 0
    assert bring_in(client, content, flowName="third")["data"]["flowId"] > other, "ids are not used again"
    sim.ids_as = "str"
    assert bring_in(client, content, flowId=78, flowName="fourth")["data"] == {"flowId": "78"}


def plain(**changes: Any) -> dict[str, Any]:
    """A struct whose nodes have nothing to do with each other or with another flow."""
    alone: dict[str, Any] = {"relations": [], "linkRelations": [], "flowLinks": [], "taskLinks": []}
    return everything() | alone | changes


def without(name: str) -> dict[str, Any]:
    return {kept: value for kept, value in everything().items() if kept != name}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"flowName": ...}, "Invalid parameter: flowName"),
        ({"flowName": ""}, "Invalid parameter: flowName"),
        ({"flowName": 7}, "Invalid parameter: flowName"),
        ({"dirId": "0"}, "Directory does not exist"),
        ({"dirId": 7}, WRONG),
        ({"dirId": ...}, WRONG),
        ({"flowJson": ...}, WRONG),
        ({"flowJson": json.dumps(everything())}, WRONG),
        ({"flowJson": without("cron")}, WRONG),
        ({"flowJson": without("taskLinks")}, WRONG),
        ({"flowJson": everything() | {"more": 1}}, WRONG),
        ({"flowJson": everything() | {"type": "1"}}, WRONG),
        ({"flowJson": plain(tasks=["one"])}, WRONG),
        ({"flowJson": plain(tasks=[{"name": "one", "timeout": True}])}, WRONG),
        ({"flowJson": plain(relations=[{"sourceTaskName": "one", "targetTaskName": "two"}])}, WRONG),
        ({"flowId": "77"}, WRONG),
        ({"flowId": 0}, WRONG),
        ({"desc": 7}, WRONG),
        ({"more": 1}, WRONG),
        ({"flowName": "slow"}, UNFIT),
        ({"flowJson": everything() | {"cycle": "Y"}}, UNFIT),
        ({"flowJson": everything() | {"cron": "daily"}}, UNFIT),
        ({"flowJson": everything() | {"startTime": "soon"}}, UNFIT),
        ({"flowJson": everything() | {"alertMode": 9}}, UNFIT),
        ({"flowJson": everything() | {"syncType": 2}}, UNFIT),
        ({"flowJson": everything() | {"parameters": "[7]"}}, UNFIT),
        ({"flowJson": everything() | {"parameters": "no JSON"}}, UNFIT),
        ({"flowJson": plain(tasks=[{"name": "one"}, {"name": "one"}])}, UNFIT),
        ({"flowJson": plain(tasks=[{"name": ""}])}, UNFIT),
        ({"flowJson": everything() | {"tasks": []}}, UNFIT),
        ({"flowJson": everything() | {"flowLinks": []}}, UNFIT),
        ({"flowJson": plain(flowLinks=[{"linkId": "l1", "sourceFlowName": "nowhere"}])}, UNFIT),
        ({"flowJson": plain(flowLinks=[{"linkId": "l1", "sourceFlowName": "slow"}] * 2)}, UNFIT),
        (
            {"flowJson": plain(taskLinks=[{"linkId": "l2", "sourceFlowName": "slow", "sourceTaskName": "nothing"}])},
            UNFIT,
        ),
        (
            {"flowJson": plain(relations=[{"sourceTaskName": "one", "targetTaskName": "one", "rerun": False}])},
            UNFIT,
        ),
    ],
)
def test_what_does_not_come_in(sim: EnosSimulator, client: Any, changes: Any, says: str) -> None:
    before = sim.flows
    answer = bring_in(client, everything(), **changes)
    assert (answer["code"], answer["msg"]) == (62102, says)
    assert sim.flows == before


def test_what_the_wrong_structs_are_made_of_is_right(client: Any) -> None:
    for place, content in enumerate(
        (
            everything(),
            plain(),
            plain(tasks=[{"name": "one"}]),
            plain(flowLinks=[{"linkId": "l1", "sourceFlowName": "slow"}]),
            plain(taskLinks=[{"linkId": "l2", "sourceFlowName": "slow", "sourceTaskName": "load"}]),
            plain(relations=[{"sourceTaskName": "one", "targetTaskName": "two", "rerun": False}]),
        )
    ):
        assert bring_in(client, content, flowName=f"fits_{place}", flowId=...)["code"] == 0


def test_owners_of_what_comes_in(sim: EnosSimulator, client: Any) -> None:
    assert bring_in(client, export(client, 4008))["code"] == 62103
    made = bring_in(client, export(client, 4008) | {"owners": ""})["data"]["flowId"]
    assert export(client, made)["owners"] == f";{sim.user_id};"


def test_a_desc_may_be_demanded(sim: EnosSimulator, client: Any) -> None:
    sim.import_needs_desc = True
    assert bring_in(client, everything())["msg"] == WRONG
    assert bring_in(client, everything(), desc="")["code"] == 0
