"""Every fault can be observed, and says rightly whether the request was processed."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any

import pytest

from airflow_provider_enos.simulator import FAULTS, EnosSimulator

INSTANCE = "3377-20200706062600"
TRIGGER = "flows/triggerFromTask"
DROPS = (http.client.HTTPException, ConnectionError)
OK = {"code": 0, "msg": "OK", "data": {"flowInstanceId": INSTANCE}}


@pytest.mark.parametrize(("kind", "made"), [("lost_reply", 1), ("dropped", 0), ("dropped_mid_body", 1)])
def test_dropped_connections(sim: EnosSimulator, client: Any, kind: Any, made: Any) -> None:
    sim.fault(kind, on=TRIGGER)
    with pytest.raises(DROPS):
        client.trigger()
    assert len(sim.instances) == made
    client.connection.close()
    assert client.trigger().json["code"] == (62102 if made else 0)
    first = next(record for record in sim.requests if record.operation == TRIGGER)
    assert first.fault == kind
    assert first.status == (200 if kind == "dropped_mid_body" else None)


@pytest.mark.parametrize("kind", ["slow", "slow_before"])
def test_late_replies(sim: EnosSimulator, client: Any, kind: Any) -> None:
    events: list[tuple[str, float]] = []
    sim.on_event(lambda event, record: events.append((event, time.monotonic())))
    sim.fault(kind, on=TRIGGER, seconds=0.2)
    assert client.trigger().json == OK
    sim.stop()  # whatever thread still has something to tell has told it
    moments = dict(events[-3:])
    waited_before = moments["accepted"] - moments["received"]
    waited_after = moments["replied"] - moments["accepted"]
    assert (waited_before if kind == "slow_before" else waited_after) >= 0.19


def test_drip(sim: EnosSimulator, client: Any) -> None:
    sim.fault("drip", on=TRIGGER, seconds=0)
    assert client.trigger().json == OK


@pytest.mark.parametrize("processed", [True, False])
@pytest.mark.parametrize("body", ["json", "html"])
@pytest.mark.parametrize("status", [401, 403, 404, 413, 500, 502, 503, 504])
def test_http_errors(sim: EnosSimulator, client: Any, status: Any, body: Any, processed: Any) -> None:
    sim.fault(f"http_{status}", on=TRIGGER, processed=processed, body=body)
    answer = client.trigger()
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("text/html" if body == "html" else "application/json")
    assert len(sim.instances) == processed


@pytest.mark.parametrize("after", [3, "Wed, 21 Oct 2026 07:28:00 GMT", "soon", None])
def test_throttling(sim: EnosSimulator, client: Any, after: Any) -> None:
    sim.fault("http_429", on=TRIGGER, retry_after=after)
    answer = client.trigger()
    assert answer.status == 429
    assert answer.headers["Retry-After"] == (None if after is None else str(after))
    assert client.trigger().json == OK


def test_answers_without_processing(sim: EnosSimulator, client: Any) -> None:
    sim.fault("redirect", on=TRIGGER)
    answer = client.trigger()
    assert (answer.status, answer.headers["Location"]) == (302, "http://elsewhere.invalid/login")
    sim.fault("expired_token", on=TRIGGER)
    assert client.trigger().json["code"] == 1203
    sim.fault("internal_error", on=TRIGGER)
    assert client.trigger().json["code"] == 62109
    sim.fault("secret_echo", on=TRIGGER)
    assert client.token in client.trigger().json["msg"]
    assert sim.instances == []


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("empty_body", b""),
        ("not_json", b"upstream says no"),
        ("json_null", b"null"),
        ("json_list", b"[]"),
        ("json_number", b"42"),
        ("json_string", b'"OK"'),
        ("nan_json", b'{"code":0,"msg":"OK","data":NaN}'),
        ("invalid_utf8", b'{"code":0,"msg":"\xff\xfe","data":""}'),
        ("truncated_json", b'{"code":0,"msg":"OK","data":{"flow'),
        ("json_bom", b"\xef\xbb\xbf" + json.dumps(OK, separators=(",", ":")).encode()),
    ],
)
def test_spoilt_bodies(sim: EnosSimulator, client: Any, kind: Any, body: Any) -> None:
    sim.fault(kind, on=TRIGGER)
    answer = client.trigger()
    assert (answer.status, answer.body) == (200, body)
    assert len(sim.instances) == 1
    assert client.get()["instanceId"] == INSTANCE, "the connection stays usable"


def test_other_spoilt_bodies(sim: EnosSimulator, client: Any) -> None:
    operation = "time/getTimeZone"
    sim.fault("deep_json", on=operation)
    with pytest.raises(RecursionError):
        _ = client.call(operation).json
    sim.fault("huge_body", on=operation)
    assert len(client.call(operation).body) > 32 * 2**20
    sim.fault("bad_gzip", on=operation)
    assert client.call(operation).headers["Content-Encoding"] == "gzip"
    sim.fault("html_200", on=operation)
    assert client.call(operation).body.startswith(b"<!DOCTYPE html>")
    sim.fault("no_content", on=operation)
    assert client.call(operation).status == 204
    sim.fault("wrong_content_length", on=operation, off_by=7)
    with pytest.raises(http.client.IncompleteRead):
        client.call(operation)


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("no_code", {"msg": "OK", "data": OK["data"]}),
        ("code_null", OK | {"code": None}),
        ("code_text", OK | {"code": "OK"}),
        ("numbers_as_strings", OK | {"code": "0"}),
        ("data_missing", {"code": 0, "msg": "OK"}),
        ("data_null", OK | {"data": None}),
        ("data_text", OK | {"data": "text"}),
        ("data_number", OK | {"data": 42}),
        ("data_empty_list", OK | {"data": []}),
        ("data_list_of_two", OK | {"data": [OK["data"], OK["data"]]}),
        ("missing_instance_id", OK | {"data": {}}),
    ],
)
def test_changed_answers(sim: EnosSimulator, client: Any, kind: Any, answer: Any) -> None:
    sim.fault(kind, on=TRIGGER)
    assert client.trigger().json == answer


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("missing_status", "status", "absent"),
        ("null_status", "status", None),
        ("unknown_status", "status", 42),
        ("text_status", "status", "READY"),
        ("graph_not_json", "graph", "{tasks: "),
        ("graph_wrong_shape", "graph", '{"tasks":{"a":7}}'),
        ("missing_instance_id", "instanceId", "absent"),
    ],
)
def test_changed_instances(sim: EnosSimulator, client: Any, kind: Any, field: Any, value: Any) -> None:
    client.trigger()
    sim.fault(kind, times=2)
    assert client.get().get(field, "absent") == value
    assert client.search().json["data"]["flowInsts"][0].get(field, "absent") in (value, "RUNNING")


def test_token_service_suffers_too(sim: EnosSimulator, client: Any) -> None:
    sim.fault("no_code", on="token/get")
    assert "status" not in client.token_call().json


@pytest.mark.parametrize("kind", list(FAULTS))
def test_each_kind_spares_the_next_request(sim: EnosSimulator, client: Any, kind: Any) -> None:
    """A fault for one request is gone with it, whatever it did to the connection."""
    client.token  # noqa: B018
    sim.fault(kind, seconds=0) if kind.startswith("slow") else sim.fault(kind)
    try:
        client.call("time/getTimeZone")
    except DROPS:
        client.connection.close()
    assert sim.requests[-1].fault == kind
    assert client.call("time/getTimeZone").json["code"] == 0


def test_times_and_operations(sim: EnosSimulator, client: Any) -> None:
    sim.fault("http_503", on=TRIGGER, times=2)
    assert client.call("time/getTimeZone").status == 200
    assert [client.trigger().status for _ in range(3)] == [503, 503, 200]
    sim.fault("http_503", times=None)
    assert [client.trigger().status for _ in range(3)] == [503] * 3
    sim.clear_faults()
    assert client.trigger().status == 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"kind": "flood"}, "there is no fault 'flood'; there are lost_reply"),
        ({"kind": "slow", "colour": 1}, "has no option 'colour'; it has processed, seconds"),
        ({"kind": "slow", "seconds": -1}, "takes a number that is not negative"),
        ({"kind": "slow", "seconds": "1"}, "takes a number"),
        ({"kind": "slow", "on": "flows/fly"}, "there is no operation 'flows/fly'"),
        ({"kind": "slow", "times": 0}, "times is a whole number"),
        ({"kind": "http_500", "body": "xml"}, "one of 'json', 'html'"),
        ({"kind": "http_500", "processed": 1}, "one of True, False"),
        ({"kind": "redirect", "location": "a\r\nb"}, "printable"),
        ({"kind": "http_429", "retry_after": "a\r\nb"}, "header text"),
    ],
)
def test_unknown_faults(sim: EnosSimulator, arguments: Any, said: Any) -> None:
    with pytest.raises(ValueError, match=said):
        sim.fault(**arguments)
