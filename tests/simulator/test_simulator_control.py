"""The control path."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator

INSTANCE = "3377-20200706062600"


def control(client: Any, method: str, route: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    content = None if body is None else json.dumps(body).encode()
    answer = client.send(method, f"/_simulator/{route}", content, **headers)
    return answer.status, answer.json


def test_state(sim: EnosSimulator, client: Any) -> None:
    client.trigger()
    sim.fault("slow", times=None)
    status, state = control(client, "GET", "state")
    assert status == 200
    assert state["instances"][0]["id"] == INSTANCE
    assert state["counts"] == {"token/get": 1, "flows/triggerFromTask": 1}
    assert state["switches"]["first_page"] == 1
    assert state["faults"][0]["kind"] == "slow"
    assert sim.secret_key not in str(state)
    assert len(sim.requests) == 2


def test_faults_and_switches(sim: EnosSimulator, client: Any) -> None:
    fault = {"kind": "http_500", "on": "token/get", "times": 2, "body": "html"}
    assert control(client, "POST", "faults", fault)[0] == 200
    assert client.token_call().status == 500
    assert control(client, "DELETE", "faults")[0] == 200
    assert client.token_call().status == 200
    status, values = control(client, "POST", "switches", {"first_page": 0, "progress": ["polls", 3]})
    assert (status, values["progress"], sim.first_page) == (200, "polls:3", 0)


def test_flows_instances_tokens_reset(sim: EnosSimulator, client: Any) -> None:
    flow = {"flow_id": 7, "tasks": {"71": "one", "72": "two"}, "relations": [[71, 72]], "progress": "manual"}
    assert control(client, "POST", "flows", flow)[0] == 200
    made = client.trigger(flowId=7, taskId=71).json["data"]["flowInstanceId"]
    node = {"task_id": 71, "status": "RUNNING"}
    assert control(client, "POST", f"instances/{made}/node", node)[0] == 200
    assert sim.instances[0].nodes[0].status == "RUNNING"
    end = {"status": "FAIL", "failed_task": 72}
    assert control(client, "POST", f"instances/{made}/finish", end)[0] == 200
    assert sim.instances[0].status == "FAIL"
    assert control(client, "POST", "expire-tokens")[0] == 200
    assert client.get(made) is None
    sim.first_page = 0
    assert control(client, "POST", "reset")[0] == 200
    assert (sim.instances, sim.requests, sim.first_page) == ([], [], 1)


def test_directories_schedule_and_user(sim: EnosSimulator, client: Any) -> None:
    status, made = control(client, "POST", "directories", {"title": "d"})
    assert (status, made["id"]) == (200, sim.directories[-1].id)
    flow = {"flow_id": 7, "type": 1, "tasks": {"71": "one"}, "directory": made["id"], "places": {"71": [1, 2]}}
    assert control(client, "POST", "flows", flow)[0] == 200
    started = control(client, "POST", "flows/7/schedule", {"trigger_time": 1594016819108})
    assert started == (200, {"flow_instance_id": "7-2020070606"})
    client.call("flows/disable", {"flowId": 7})
    assert control(client, "POST", "flows/7/schedule", {}) == (200, {"flow_instance_id": None})
    assert control(client, "POST", "user", {"locked": True})[0] == 200
    assert client.trigger().json["code"] == 62103
    state = control(client, "GET", "state")[1]
    assert state["user_locked"] is True
    assert state["directories"][-1] == {"id": made["id"], "title": "d", "parent": sim.directories[0].id}
    shown = next(one for one in state["flows"] if one["flow_id"] == 7)
    assert (shown["active"], shown["directory"]) == (False, made["id"])
    assert control(client, "POST", "reset")[0] == 200
    assert (sim.user_locked, len(sim.directories)) == (False, 4)


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("faults", {"kind": "flood"}),
        ("faults", {}),
        ("faults", []),
        ("switches", {"first_page": 7}),
        ("switches", {"last_page": 7}),
        ("flows", {"flow_id": "7"}),
        ("flows", {"flow_id": 7, "tasks": {"x": "y"}}),
        ("flows", {"flow_id": 7, "tasks": 5}),
        ("instances/1-1/finish", {"status": "SUCCESS"}),
        ("instances/1-1/finish", {}),
        ("directories", {"title": "examples"}),
        ("directories", {"title": "d", "parent": "nowhere"}),
        ("directories", {}),
        ("user", {"locked": 1}),
        ("user", {}),
        ("flows/1/schedule", {}),
        ("flows/x/schedule", {}),
        ("flows/4010/schedule", {"trigger_time": "now"}),
        ("flows", {"flow_id": 7, "directory": "nowhere"}),
    ],
)
def test_bad_input(client: Any, route: Any, body: Any) -> None:
    status, answer = control(client, "POST", route, body)
    assert status == 400
    assert answer["error"].startswith("Bad request: ")


def test_an_unknown_route(client: Any) -> None:
    assert control(client, "GET", "nothing")[0] == 404
