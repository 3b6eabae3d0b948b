"""Requests that are held until told."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def in_thread(function: Callable[[], Any]) -> Future[Any]:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(function)
    pool.shutdown(wait=False)
    return future


def control(sim: EnosSimulator, method: str, route: str, body: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", sim.port, timeout=10)
    connection.request(method, f"/_simulator/{route}", None if body is None else json.dumps(body))
    response = connection.getresponse()
    answer = json.load(response)
    connection.close()
    return response.status, answer


@pytest.mark.parametrize(("at", "instances"), [("received", 0), ("accepted", 1), ("replied", 1)])
def test_held_and_let_go(sim: EnosSimulator, client: Any, at: str, instances: int) -> None:
    sim.hold(on="flows/triggerFromTask", at=at)
    answer = in_thread(client.trigger)
    until(lambda: sim.held)
    (held,) = sim.held
    assert (held.on, held.at, sim.armed_holds) == ("flows/triggerFromTask", at, [])
    assert len(sim.instances) == instances
    assert at == "replied" or not answer.done()
    sim.release(held.id)
    assert answer.result(10).json["code"] == 0
    assert len(sim.instances) == 1
    assert sim.held == []


@pytest.mark.parametrize(("at", "instances"), [("received", 0), ("accepted", 1)])
def test_held_and_dropped(sim: EnosSimulator, client: Any, at: str, instances: int) -> None:
    sim.hold(on="flows/triggerFromTask", at=at)
    answer = in_thread(client.trigger)
    until(lambda: sim.held)
    sim.release(drop=True)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        answer.result(10)
    assert len(sim.instances) == instances
    assert sim.requests[-1].status is None


def test_dropped_after_the_reply_closes_the_connection(sim: EnosSimulator, client: Any) -> None:
    sim.hold(on="token/get", at="replied")
    assert client.token_call().json["status"] == 0
    until(lambda: sim.held)
    sim.release(drop=True)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
        client.token_call()


def test_which_and_how_often(sim: EnosSimulator, client: Any) -> None:
    sim.hold(times=2)
    client.sim.hold(on="flows/triggerFromTask", at="accepted", times=None)
    answer = in_thread(client.trigger)
    for on, at in [
        ("token/get", "received"),
        ("flows/triggerFromTask", "received"),
        ("flows/triggerFromTask", "accepted"),
    ]:
        until(lambda: sim.held)
        assert (sim.held[0].on, sim.held[0].at) == (on, at)
        sim.release()
    assert answer.result(10).json["code"] == 0
    assert sim.armed_holds == [{"on": "flows/triggerFromTask", "at": "accepted", "times": None}]
    sim.clear_holds()
    assert sim.armed_holds == []


def test_a_refused_request_is_never_accepted(sim: EnosSimulator, client: Any) -> None:
    sim.hold(at="accepted", times=None)
    assert client.trigger(taskId=1).json["code"] == 62102
    assert client.get() is None


@pytest.mark.parametrize("end", ["stop", "reset"])
def test_stop_and_reset_drop_what_is_held(end: str, client: Any, sim: EnosSimulator) -> None:
    sim.hold(on="flows/triggerFromTask", times=None)
    answer = in_thread(client.trigger)
    until(lambda: sim.held)
    began = time.monotonic()
    getattr(sim, end)()
    assert time.monotonic() - began < 2
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        answer.result(10)
    assert (sim.instances, sim.held, sim.armed_holds) == ([], [], [])
    name = f"enos-simulator-{sim.port}"
    sim.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def test_over_the_control_path(sim: EnosSimulator, client: Any) -> None:
    asked = {"on": "flows/triggerFromTask", "at": "accepted", "times": 2}
    assert control(sim, "POST", "holds", asked) == (200, {"ok": True})
    answer = in_thread(client.trigger)
    until(lambda: control(sim, "GET", "holds")[1]["held"])
    _, state = control(sim, "GET", "holds")
    assert state["armed"] == [{**asked, "times": 1}]
    (held,) = state["held"]
    assert (held["on"], held["at"], held["seconds"] < 10) == ("flows/triggerFromTask", "accepted", True)
    assert control(sim, "POST", "holds/release", {"id": held["id"]})[0] == 200
    assert answer.result(10).json["code"] == 0
    answer = in_thread(lambda: client.trigger(triggerTime=1594016900000))
    until(lambda: sim.held)
    assert control(sim, "DELETE", "holds")[0] == 200
    assert answer.result(10).json["code"] == 0
    assert control(sim, "GET", "holds")[1] == {"armed": [], "held": []}


@pytest.mark.parametrize(
    ("route", "body", "says"),
    [
        ("holds", {"on": "flows/explode"}, "there is no operation 'flows/explode'; there are "),
        ("holds", {"at": "done"}, "a hold is at one of 'received', 'accepted', 'replied', not 'done'"),
        ("holds", {"at": ["received"]}, "a hold is at one of "),
        ("holds", {"times": 0}, "times is a whole number from 1"),
        ("holds", {"on": "flowInstances/get", "at": "accepted"}, "'flowInstances/get' changes nothing"),
        ("holds", {"on": "token/get", "at": "accepted"}, "'token/get' changes nothing"),
        ("holds", {"until": "told"}, "until"),
        ("holds/release", {"id": 7}, "no request is held as 7"),
        ("holds/release", {"drop": "yes"}, 'a "drop" that is true or false'),
        ("holds/release", {"held": 1}, 'a release has an "id"'),
    ],
)
def test_bad_input(sim: EnosSimulator, route: str, body: Any, says: str) -> None:
    status, answer = control(sim, "POST", route, body)
    assert status == 400
    assert says in answer["error"]
    assert sim.armed_holds == []
