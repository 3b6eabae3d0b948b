"""What the gateway refuses."""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator, gateway

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "signing.json").read_text(encoding="utf-8"))
GET = "/batch-processing-service/v2.1/flows?action=get&userId=u&orgId=o"
UNAUTHORIZED = {"message": "Invalid authentication credentials"}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, Any]) -> None:
    """The simulator's own digests are the published and the derived ones."""
    if vector["kind"] == "token":
        digest = gateway.token_digest(vector["access_key"], vector["timestamp"], vector["secret_key"])
    else:
        body = (vector["body"] or "").encode()
        assert gateway.params_data(dict(vector["query"]), body).decode() == vector["params_data"]
        digest = gateway.call_digest(
            vector["access_token"], dict(vector["query"]), body, vector["timestamp"], vector["secret_key"]
        )
    assert digest == vector["digest"]


def test_token_is_handed_out_again_with_what_it_has_left(sim: EnosSimulator, client: Any) -> None:
    first = client.token_call().json
    assert first["status"] == 0
    assert first["business"] == "apim-token-service"
    sim.clock_skew = 100
    again = client.token_call(signed_at=client.now() + 100_000).json
    assert again["data"]["accessToken"] == first["data"]["accessToken"]
    assert 7095 <= again["data"]["expire"] <= 7100


def test_timestamp_of_a_token_call_may_be_digits(client: Any) -> None:
    stamp = client.now()
    assert client.token_call(signed_at=stamp, timestamp=str(stamp)).json["status"] == 0


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"appKey": "stranger"}, 1002),
        ({"encryption": "0" * 64}, 1003),
        ({"signed_at": 1594016819108}, 1003),
        ({"timestamp": None}, 1202),
        ({"appKey": ""}, 1202),
        ({"timestamp": True}, 1004),
        ({"timestamp": "soon"}, 1004),
        ({"appKey": 7}, 1004),
        ({"more": "x"}, 1004),
    ],
)
def test_token_refusals(client: Any, changes: Any, status: Any) -> None:
    answer = client.token_call(**changes).json
    assert answer["status"] == status
    assert answer["data"] is None


def test_repeated_encryption(client: Any) -> None:
    stamp = client.now()
    assert client.token_call(signed_at=stamp).json["status"] == 0
    assert client.token_call(signed_at=stamp).json["status"] == 1001


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"appKey":NaN}', b"[" * 100_000])
def test_token_call_without_an_object(client: Any, body: Any) -> None:
    target = "/apim-token-service/v2.0/token/get"
    assert client.send("POST", target, body, Content_Type="application/json").json["status"] == 1004


@pytest.mark.parametrize("changes", [True, False])
@pytest.mark.parametrize("revokes", [True, False])
def test_refresh(sim: EnosSimulator, client: Any, changes: Any, revokes: Any) -> None:
    sim.switch({"refresh_changes_token": changes, "refresh_revokes_old": revokes})
    old = client.token
    answer = client.token_call("refresh", accessToken=old).json
    assert answer["status"] == 0
    assert answer["data"]["expire"] in (7199, 7200)
    assert (answer["data"]["accessToken"] != old) is changes
    assert client.call("time/getTimeZone").json["code"] == (1203 if changes and revokes else 0)


def test_refresh_of_no_token_or_a_dead_one(sim: EnosSimulator, client: Any) -> None:
    assert client.token_call("refresh", accessToken="nobody's").json["status"] == 1204
    old = client.token
    sim.expire_tokens()
    assert client.token_call("refresh", accessToken=old).json["status"] == 1203


@pytest.mark.parametrize(("switch", "status"), [("envelope", 200), ("http", 401)])
def test_expired_token(sim: EnosSimulator, client: Any, switch: Any, status: Any) -> None:
    sim.refused_token = switch
    sim.token_lifetime = 60
    assert client.call("time/getTimeZone").json["code"] == 0
    sim.clock_skew = 61
    answer = client.call("time/getTimeZone")
    assert answer.status == status
    assert answer.json.get("code") == (1203 if status == 200 else None)


@pytest.mark.parametrize("missing", ["apim_accesstoken", "apim_signature", "apim_timestamp"])
def test_missing_header(client: Any, missing: Any) -> None:
    headers = client.signed({"action": "get"}, b"", client.now())
    del headers[missing]
    answer = client.send("GET", GET, **headers)
    assert (answer.status, answer.json) == (401, UNAUTHORIZED)


@pytest.mark.parametrize("off", [-16 * 60_000, 16 * 60_000])
def test_stale_timestamp(client: Any, off: Any) -> None:
    query = {"action": "getTimeZone"}
    headers = client.signed(query, b"", client.now() + off)
    target = "/batch-processing-service/v2.1/time?action=getTimeZone"
    assert client.send("GET", target, **headers).status == 401


def test_wrong_clock_shows_in_the_date_and_refuses_honest_calls(sim: EnosSimulator, client: Any) -> None:
    sim.clock_skew = 3600
    answer = client.token_call()
    assert answer.json["status"] == 1003
    ahead = parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()
    assert 3590 < ahead < 3601


def test_unknown_token_wrong_signature_changed_body(client: Any) -> None:
    target = "/batch-processing-service/v2.1/flows?action=trigger"
    headers = client.signed({"action": "trigger"}, b'{"a":1}', client.now())
    kind = {"Content_Type": "application/json"}
    assert client.send("POST", target, b'{"a": 1}', **kind, **headers).status == 401
    assert client.send("POST", target, b'{"a":1}', **kind, **headers | {"apim_signature": "é"}).status == 401
    upper = headers["apim_signature"].upper()
    assert client.send("POST", target, b'{"a":1}', **kind, **headers | {"apim_signature": upper}).status == 401
    client.token = "invented"
    assert client.trigger().status == 401


@pytest.mark.parametrize(("switch", "status"), [("refused", 401), ("accepted", 200)])
def test_repeated_call(sim: EnosSimulator, client: Any, switch: Any, status: Any) -> None:
    sim.replayed_call = switch
    target = "/batch-processing-service/v2.1/time?action=getTimeZone"
    headers = client.signed({"action": "getTimeZone"}, b"", client.now())
    assert client.send("GET", target, **headers).status == 200
    assert client.send("GET", target, **headers).status == status


def test_decoded_parameters_are_signed(client: Any) -> None:
    assert client.call("flowInstances/get", flowInstId="ü+ &=/%41").json["msg"] == "Instance not found"


@pytest.mark.parametrize("query", ["a=1&a=2", "a", "a=%zz", "a=%ff", "=1", "a=1&&b=2"])
def test_ambiguous_query(client: Any, query: Any) -> None:
    assert client.send("GET", f"/batch-processing-service/v2.1/flows?{query}").status == 400


@pytest.mark.parametrize(
    ("method", "target", "body", "headers", "status"),
    [
        ("GET", "/", None, {}, 404),
        ("GET", "/batch-processing-service/v2.0/flows", None, {}, 404),
        ("GET", "/apim-token-service/v2.0/token/get", None, {}, 405),
        ("POST", "/apim-token-service/v2.0/token/make", b"{}", {}, 404),
        ("POST", "/apim-token-service/v2.0/token/get", b"{}", {"Content_Type": "text/plain"}, 415),
        ("POST", GET, b"{}", {"Content_Type": "application/json;charset=latin-1"}, 415),
        ("GET", GET, b"{}", {}, 400),
        ("POST", GET, b" " * (2**20 + 1), {"Content_Type": "application/json"}, 413),
        ("POST", GET, b"", {"Content_Length": "many"}, 400),
        ("POST", GET, b"", {"Transfer_Encoding": "chunked"}, 411),
    ],
)
def test_http_refusals(client: Any, method: Any, target: Any, body: Any, headers: Any, status: Any) -> None:
    answer = client.send(method, target, body, **headers)
    assert answer.status == status
    assert set(answer.json) == {"message"}
    assert answer.headers["Date"]
