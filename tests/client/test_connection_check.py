"""The steps of a connection's test: each failure at the step that it belongs to."""

from __future__ import annotations

import json
import ssl
from dataclasses import replace
from typing import Any

import pytest
import trustme
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_enos.client import connection_check, settings
from airflow_provider_enos.client.connection_check import Step
from airflow_provider_enos.protocol.models import Cycle, MyFlow
from airflow_provider_enos.simulator import EnosSimulator

NAMES = ["address", "TLS", "clock", "token", "user", "rights"]


def steps(sim: EnosSimulator, **changes: Any) -> list[Step]:
    read = settings.read(Connection(conn_id="enos", **_fields(sim)))
    return list(connection_check.steps(replace(read, **changes)))


def _fields(sim: EnosSimulator) -> dict[str, Any]:
    fields = json.loads(sim.connection_json)
    return {**fields, "extra": json.dumps(fields["extra"])}


def test_all_is_well(sim: EnosSimulator) -> None:
    found = steps(sim)
    assert [(step.name, step.state) for step in found] == [(name, "ok") for name in NAMES]
    assert not any(sim.secret_key in step.said for step in found)
    assert {request.method for request in sim.requests} <= {"GET", "POST"}
    assert sim.instances == []


BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "host": ({"base_url": "https://surely-nowhere.invalid"}, "address", "Check host and port"),
    "port": ({"base_url": "http://127.0.0.1:1"}, "address", "Check host and port"),
    "access key": ({"access_key": "another"}, "token", ""),
    "secret key": ({"secret_key": "another-secret"}, "token", ""),
    "organisation": ({"org_id": "o1"}, "user", ""),
    "user": ({"user_id": "u1"}, "user", ""),
}


@pytest.mark.parametrize(("changes", "name", "to_do"), BROKEN.values(), ids=BROKEN)
def test_it_ends_with_the_step_that_fails(sim: EnosSimulator, changes: Any, name: str, to_do: str) -> None:
    *before, last = steps(sim, **changes)
    assert [step.name for step in before] == NAMES[: NAMES.index(name)]
    assert {step.state for step in before} <= {"ok"}
    assert (last.name, last.state) == (name, "failed")
    assert last.to_do.startswith(to_do) if to_do else not last.to_do
    assert "another-secret" not in last.said


FAULTS: dict[str, tuple[str, str, str, str]] = {
    "a web page": ("html_200", "token/get", "token", "failed"),
    "a barred address": ("http_403", "token/get", "token", "failed"),
    "a dropped line": ("dropped", "token/get", "address", "failed"),
    "a service in trouble": ("http_503", "flowInstances/search", "user", "failed"),
    "an API that this application may not call": ("http_403", "flows/getMyFlow", "rights", "note"),
}


@pytest.mark.parametrize(("kind", "on", "name", "state"), FAULTS.values(), ids=FAULTS)
def test_a_gateway_that_answers_otherwise(sim: EnosSimulator, kind: str, on: str, name: str, state: str) -> None:
    sim.fault(kind, on=on, times=None)
    last = steps(sim)[-1]
    assert (last.name, last.state) == (name, state)
    assert sim.count(on) == 1


def test_tls() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with EnosSimulator(tls=context) as sim:
        *_, last = steps(sim)
        assert (last.name, last.state) == ("TLS", "failed")
        assert "CA file" in last.to_do
        assert {step.name: step.state for step in steps(sim, verify=False)}["TLS"] == "note"


def test_https_to_a_plain_http_port(sim: EnosSimulator) -> None:
    *_, last = steps(sim, base_url=f"https://127.0.0.1:{sim.port}")
    assert (last.name, last.state) == ("TLS", "failed")
    assert "plain http" in last.to_do


def test_a_clock_that_is_off_is_a_note() -> None:
    with EnosSimulator(clock_skew=3600) as sim:
        found = {step.name: step for step in steps(sim)}
    assert found["clock"].state == "note"
    assert "is off by" in found["clock"].said
    assert found["rights"].state == "ok"


def test_a_user_without_flows_is_told_so() -> None:
    others = (MyFlow(flow_id=4008, flow_name="of_another_user", editable=False, cycle=Cycle.DAY),)
    for flows in ((), others):
        step = connection_check._rights(flows)
        assert (step.name, step.state) == ("rights", "note")
        assert step.said.startswith(f"The user may edit none of the {len(flows)} flows")
