"""Whatever is sent to the simulator: an answer or a closed line, and a simulator that works as before."""

from __future__ import annotations

import contextlib
import json
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzzing import JSON, TEXTS, changed, hold
from hypothesis import strategies as st

from airflow_provider_enos.simulator import FAULTS, EnosSimulator
from airflow_provider_enos.simulator.config import SWITCHES
from airflow_provider_enos.simulator.control import _ROUTES
from airflow_provider_enos.simulator.flows import FlowDescription
from airflow_provider_enos.simulator.operations.registry import OPERATIONS
from airflow_provider_enos.simulator.server import Server
from airflow_provider_enos.simulator.service import Service
from airflow_provider_enos.simulator.wire import Reply, Request

FLOW = {"flow_id": 9, "name": "n", "tasks": {"91": "a"}, "relations": [], "logs": {"91": "x"}, "parameters": {"a": "b"}}


@pytest.fixture(autouse=True)
def unexpected(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The exceptions that a simulator met in the thread of a connection: there are to be none."""
    found: list[str] = []
    monkeypatch.setattr(Server, "handle_error", lambda *_: found.append(traceback.format_exc()))
    yield found
    assert not found, found[0]


def spoken(sim: EnosSimulator, raw: bytes) -> bytes:
    """What it says to these bytes, after which nothing more comes."""
    said = b""
    with socket.create_connection(("127.0.0.1", sim.port), 5) as line, contextlib.suppress(OSError):
        line.sendall(raw)
        line.shutdown(socket.SHUT_WR)
        while piece := line.recv(65_536):
            said += piece
    return said


def assert_works(sim: EnosSimulator) -> None:
    said = spoken(sim, b"GET /_simulator/state HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200 ")
    json.loads(said.partition(b"\r\n\r\n")[2])


def test_whatever_is_on_its_line(sim: EnosSimulator, unexpected: list[str]) -> None:
    def check(pieces: list[bytes]) -> None:
        said = spoken(sim, b"".join(pieces))
        assert not said or said.startswith((b"HTTP/1.", b"<!DOCTYPE"))
        assert not unexpected, unexpected[0]

    piece = st.sampled_from(
        [
            b"GET ",
            b"POST ",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"/batch-processing-service/v2.1/flows?action=get&flowId=1",
            b"/apim-token-service/v2.0/token/get",
            b"/_simulator/state",
            b"/_simulator/%2e%2e/state?a=%zz&&=",
            b" HTTP/1.1\r\n",
            b" HTTP/1.0\r\n",
            b" HTTP/0.9\r\n",
            b"Host: 127.0.0.1\r\n",
            b"Content-Length: 2\r\n",
            b"Content-Length: " + b"9" * 5_000 + b"\r\n",
            b"Content-Length: \xb2\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Type: application/json\r\n",
            b"apim-timestamp: \xff\r\n",
            b"Expect: 100-continue\r\n",
            b"\r\n",
            b"{}",
            b'{"appKey":"\\ud800","encryption":"x","timestamp":1}',
            b"A: b\r\n" * 101,
        ]
    )
    hold(check, pieces=st.lists(piece | st.binary(max_size=30), max_size=10), examples=100)
    assert_works(sim)


def test_whatever_an_operation_is_asked(sim: EnosSimulator) -> None:
    """As somebody with a good signature: the service behind the gateway answers in its envelope."""
    service = Service(sim, sim._state)
    tenant = {"userId": sim.user_id, "orgId": sim.org_id}
    fields = sorted({name for one in OPERATIONS.values() for name in (*one.required, *one.optional)})

    def check(name: str, query: dict[str, str], body: Any, raw: bytes) -> None:
        operation = OPERATIONS[name]
        resource, _, action = name.partition("/")
        text = raw or json.dumps(body).encode()
        request = Request(operation.method, f"/batch-processing-service/v2.1/{resource}", body=text)
        reply = service.answer(request, {"action": action, **tenant, **query})
        assert isinstance(json.loads(reply.body), dict)

    value = JSON | st.sampled_from([3377, 108580, 1594016819108, "3377", "3377-20200706062600", []])
    hold(
        check,
        name=st.sampled_from(sorted(OPERATIONS)),
        query=st.dictionaries(st.sampled_from(fields), st.sampled_from(["3377", "4009", "-1", "", "9" * 30]) | TEXTS),
        body=st.dictionaries(st.sampled_from(fields), value) | changed([{"flowId": 3377, "triggerTime": 10**12}]),
        raw=st.just(b"") | st.binary(max_size=20),
    )
    assert_works(sim)


def test_whatever_its_control_path_is_told(sim: EnosSimulator, tmp_path: Path) -> None:
    """HTTP 400 and a sentence for what makes no sense; and what is taken leaves a simulator that answers."""

    sim.schedules = True

    def respond(request: Request) -> Reply:
        replies: list[Reply] = []
        sim.respond(request, replies.append)
        return replies[0]

    def check(told: tuple[tuple[str, str], Any], about: str) -> None:
        (method, path), body = told
        sim.trigger(3377, 108580, 1594016819108)
        host = {"host": "127.0.0.1"}
        path = f"/_simulator/{path}".replace("{id}", about)
        reply = respond(Request(method, path, headers=host, body=json.dumps(body).encode()))
        assert reply.status in (200, 400, 404), reply.body
        json.loads(reply.body)
        for probe in ("GET /_simulator/holds", "POST /_simulator/flows/2438/schedule"):
            method, path = probe.split()
            reply = respond(Request(method, path, headers=host, body=b"" if method == "GET" else b"{}"))
            assert reply.status in (200, 400), reply.body
        sim.clear_faults()
        for resource, query in (
            ("flows", {"action": "get", "flowId": "9"}),
            ("flowInstances", {"action": "get", "flowInstId": "3377-20200706062600"}),
            ("directories", {"action": "listWorkFlowDirs"}),
        ):
            tenant = {"userId": sim.user_id, "orgId": sim.org_id}
            asked = Request("GET", f"/batch-processing-service/v2.1/{resource}")
            json.loads(Service(sim, sim._state).answer(asked, {**query, **tenant}).body)
        assert_works(sim)
        sim.save(tmp_path / "state")
        EnosSimulator().load(tmp_path / "state")
        sim.reset()

    values = JSON | st.sampled_from([3377, 108580, 1e300, 10**400, "polls:2", "seconds:1e300", "FAIL", {"9": "a"}, [9]])
    fields = [*FlowDescription.__annotations__, "flow_id"]
    bodies = {
        "switches": st.dictionaries(st.sampled_from(sorted(SWITCHES)), values, min_size=1),
        "faults": st.fixed_dictionaries(
            {"kind": st.sampled_from(sorted(FAULTS))}, optional={"seconds": values, "times": values, "on": values}
        ),
        "flows": st.builds(
            lambda name, value: {**FLOW, name: value}, st.sampled_from(fields), values | st.lists(values, max_size=3)
        )
        | changed([FLOW]),
        "directories": st.fixed_dictionaries({"title": values}, optional={"parent": values}),
        "flows/{id}/schedule": st.fixed_dictionaries({}, optional={"trigger_time": values}),
        "instances/{id}/finish": st.fixed_dictionaries({"status": values}, optional={"failed_task": values}),
        "holds": st.fixed_dictionaries({"on": st.just("flows/save")}, optional={"at": values, "times": values}),
        "user": st.fixed_dictionaries({"locked": values}),
    }
    routes = st.sampled_from([route for route in sorted(_ROUTES) if route[1] != "holds/release"])
    hold(
        check,
        told=routes.flatmap(lambda route: st.tuples(st.just(route), bodies.get(route[1], JSON) | JSON)),
        about=st.sampled_from(["3377", "9", "2438", "3377-20200706062600", "x", "-1", "9" * 5_000]),
    )


def test_whatever_its_state_file_holds(sim: EnosSimulator, tmp_path: Path) -> None:
    """It is read, or refused with a ValueError, after which all is as it was."""
    sim.trigger(3377, 108580, 1594016819108)
    file = tmp_path / "state"
    sim.save(file)
    saved = json.loads(file.read_bytes())

    def check(content: Any, raw: bytes) -> None:
        file.write_bytes(raw or json.dumps(content).encode())
        with EnosSimulator() as other:
            try:
                other.load(file)
            except ValueError as error:
                assert str(file) in str(error)  # noqa: PT017
                assert len(other.flows) == len(EnosSimulator().flows)
            assert_works(other)

    hold(check, content=changed([saved]) | JSON, raw=st.just(b"") | st.binary(max_size=50), examples=30)
