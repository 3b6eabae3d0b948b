"""The tests of those rows of docs/security.md that concern more than one module."""

from __future__ import annotations

import ast
import asyncio
import base64
import dataclasses
import importlib
import json
import logging
import os
import pickle
import pkgutil
import re
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.models.connection import Connection as StoredConnection
from airflow.providers.common.compat.sdk import Connection, redact
from airflows import AIRFLOW
from happened import until
from rogue import TOKEN, drive_with_aiohttp, drive_with_requests, rogue_gateway, settings_of

import airflow_provider_enos
from airflow_provider_enos import errors
from airflow_provider_enos.client import settings
from airflow_provider_enos.errors import EnosConfigError, EnosError
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.simulator import FAULTS, EnosSimulator
from airflow_provider_enos.triggers.enos import EnosFlowInstanceTrigger

TESTS = Path(__file__).resolve().parent
PACKAGE = Path(airflow_provider_enos.__file__).parent
FUZZING = list((TESTS / "fuzzing").glob("test_*.py"))
PAGE = (TESTS.parent / "docs" / "security.md").read_text()
SECRET_KEY = "the-s3cret-key-of-the-simulator"
DRIVES = [drive_with_requests, drive_with_aiohttp]
HEARD = ("apim-accesstoken", "apim-signature")

Drive = Callable[[settings.Settings, Any], Any]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# ---- the page -------------------------------------------------------------------------------------------------------


ALL_TESTS = {
    node.name
    for path in TESTS.rglob("test_*.py")
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.FunctionDef)
}


def rows() -> Iterator[tuple[str, str]]:
    """Each threat of the page, with the cell that names its tests."""
    for line in PAGE.splitlines():
        cells = re.split(r" *(?<!\\)\| *", line.strip("| "))
        if line.startswith("| ") and len(cells) == 3 and not set(cells[0]) <= {"-"} and cells[2] != "test":
            yield cells[0], cells[2]


@pytest.mark.parametrize(("threat", "tests"), list(rows()), ids=lambda cell: cell[:40])
def test_each_row_names_tests_that_exist(threat: str, tests: str) -> None:
    names = re.findall(r"`(test_\w+)`", tests)
    assert names, f"{threat}: nothing holds it"
    assert set(names) <= ALL_TESTS


def test_the_page_has_every_attacker() -> None:
    assert len(list(rows())) >= 40
    assert re.findall(r"^## (.+)$", PAGE, re.M)[1:7] == [
        "A DAG author",
        "A user of Airflow",
        "A user of EnOS",
        "Somebody between Airflow and the gateway",
        "A gateway that is hostile, or broken",
        "Somebody on the same machine",
    ]


def test_the_nightly_fuzzing_takes_ten_minutes() -> None:
    makefile = (TESTS.parent / "Makefile").read_text()
    (seconds,) = re.findall(r"^FUZZ \?= (\d+)$", makefile, re.M)
    assert "ENOS_FUZZ_SECONDS=$(FUZZ) $(BIN)/pytest" in makefile
    properties = sum(
        path.read_text().count("    hold(\n") + path.read_text().count("    hold(check") for path in FUZZING
    )
    assert properties * int(seconds) >= 600


# ---- secrets --------------------------------------------------------------------------------------------------------


class Wiretap(EnosSimulator):
    """Notes what its clients sent that is secret."""

    def __init__(self) -> None:
        super().__init__(secret_key=SECRET_KEY, access_key="the-access-key")
        self.__dict__["secrets"] = {SECRET_KEY}

    def respond(self, request: Any, send: Any) -> None:
        secrets = self.__dict__["secrets"]
        secrets.update(text for name, text in request.headers.items() if name in HEARD)
        if request.resource == "token":
            body = json.loads(request.body)
            secrets.update(str(body[name]) for name in ("encryption", "accessToken") if name in body)
        super().respond(request, send)


def settings_for(sim: EnosSimulator, timeout: float = 5.0) -> settings.Settings:
    uri = f"{sim.connection_uri}&timeout={timeout}&allow_http=true"
    return settings.read(StoredConnection(conn_id="x", uri=uri))


def shown(error: BaseException) -> str:
    """All that it leads to: itself and what it came of, with the local variables of all functions but the tests'."""
    text, left = "", [traceback.TracebackException.from_exception(error, capture_locals=True)]
    while left:
        whole = left.pop()
        text += "".join(whole.format_exception_only())
        for frame in whole.stack:
            text += f"{frame.line}\n" + ("" if frame.filename.startswith(str(TESTS)) else str(frame.locals))
        left += [one for one in (whole.__cause__, whole.__context__) if one is not None]
    return text


@pytest.mark.parametrize("drive", DRIVES)
@pytest.mark.parametrize("operation", ["token/get", "time/getTimeZone"])
@pytest.mark.parametrize("kind", sorted(FAULTS.keys() - {"huge_body"}))
def test_a_traceback_that_shows_local_variables(kind: str, operation: str, drive: Drive) -> None:
    """As crash reporters send it away: no secret key, token or signature."""
    slow = kind in ("slow", "slow_before", "drip")
    with Wiretap() as sim:
        if slow:
            drive(settings_for(sim), calls.get_time_zone())
            if operation == "token/get":
                sim.expire_tokens()
        sim.fault(kind, on=operation, times=None, **({"seconds": 60} if slow else {}))
        try:
            drive(settings_for(sim, 0.3 if slow else 5.0), calls.get_time_zone())
        except EnosError as error:
            text = f"{shown(error)} {error!r} {vars(error)} {pickle.loads(pickle.dumps(error))!r}"
        else:
            return
    assert len(sim.__dict__["secrets"]) > 1
    assert [secret for secret in sim.__dict__["secrets"] if secret in text] == []


@pytest.mark.filterwarnings("ignore:Encountered non-JSON")  # by Airflow 2
@pytest.mark.parametrize("field", ["password", "login", "host", "extra"])
def test_a_traceback_of_a_connection_that_cannot_work(field: str) -> None:
    wrong = {"password": f" {SECRET_KEY}", "login": "", "host": "a b", "extra": "{"}
    fields = {"host": "h", "login": "a", "password": SECRET_KEY, "extra": '{"org_id":"o","user_id":"u"}'}
    connection = Connection(conn_id="x", conn_type="enos", **{**fields, field: wrong[field]})
    with pytest.raises(EnosConfigError) as caught:
        settings.read(connection)
    assert SECRET_KEY not in shown(caught.value)


@pytest.mark.parametrize("drive", DRIVES)
@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 %s\r\n\r\n",
        b"%s\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n%s\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: 1\r\n\r\n{",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/%s\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["reason", "status line", "header", "length", "chunk", "encoding", "location"],
)
def test_a_line_that_repeats_the_token(raw: bytes, drive: Drive) -> None:
    """What the HTTP libraries say of a reply that they cannot read repeats it."""

    def answer(line: socket.socket) -> None:
        line.sendall(raw.replace(b"%s", TOKEN.encode()))
        line.shutdown(socket.SHUT_WR)

    with rogue_gateway(answer) as gateway, pytest.raises(EnosError) as caught:
        drive(settings_of(gateway, timeout=2), calls.get_time_zone())
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    assert TOKEN not in shown(caught.value)


@pytest.mark.parametrize("drive", DRIVES)
def test_no_logger_tells_a_secret(drive: Drive, caplog: pytest.LogCaptureFixture) -> None:
    """Of ours and of the HTTP libraries, at the level that tells most."""
    with Wiretap() as sim, caplog.at_level(logging.DEBUG):
        drive(settings_for(sim), calls.get_time_zone())
    assert [secret for secret in sim.__dict__["secrets"] if secret in caplog.text] == []


def test_no_representation_shows_a_secret() -> None:
    """Of any dataclass with a field of such a name."""
    secret = re.compile(r"secret|password|token$|signature|^value$|^body$|^headers$")
    named = []
    for info in pkgutil.walk_packages([str(PACKAGE)], "airflow_provider_enos."):
        layer = info.name.split(".")[1]
        if layer in ("simulator", "testing", "__main__") or info.name.endswith("__main__"):
            continue
        if layer == "plugins" and AIRFLOW < (3, 1):
            continue
        for cls in vars(importlib.import_module(info.name)).values():
            if isinstance(cls, type) and dataclasses.is_dataclass(cls) and cls.__module__ == info.name:
                named += [(cls, one) for one in dataclasses.fields(cls) if secret.search(one.name)]
    assert len(named) >= 4
    for cls, one in named:
        assert not one.repr or "__repr__" in vars(cls) or cls.__repr__ is object.__repr__, f"{cls} shows {one.name}"


def test_airflow_masks_the_secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever a task logs, also where a DAG author prints it."""
    secret = "a-secret-key-that-airflow-hides"
    uri = f"enos://key:{secret}@h/?org_id=o&user_id=u"
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_MASKED", uri)
    assert EnosHook("enos_masked").settings.secret_key == secret
    assert secret not in str(redact(f"it is {secret}"))


def test_what_a_trigger_stores_is_plain_and_not_secret() -> None:
    path, stored = EnosFlowInstanceTrigger(
        "1-2", enos_conn_id="enos_default", poll_interval=30.0, deadline=1.0
    ).serialize()
    assert path.startswith("airflow_provider_enos.")
    assert json.loads(json.dumps(stored)) == stored
    assert not {name for name in stored if re.search("secret|password|key|token|signature", name)}


def test_an_event_makes_no_class_but_our_errors() -> None:
    """It comes out of a database: nobody who can write there gets code run by it."""
    for name in ("os.system", "Exception", "EnosError.__reduce__", "ClassVar", "_restore", "__builtins__"):
        with pytest.raises(errors.EnosEventError):
            errors.from_json({"class": name, "message": "x", "attributes": {}})


def test_nothing_is_unpickled_or_evaluated() -> None:
    """Nor run in a shell."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {getattr(node, "module", None), *(alias.name for alias in node.names)}
                assert not names & {"pickle", "marshal", "shelve", "subprocess", "yaml", "dill"}, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile", "__import__"), path


# ---- the environment ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drive", DRIVES)
def test_no_password_of_a_netrc_file_is_sent(drive: Drive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a password belongs to the user, for this host, and is not for EnOS."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password of-somebody-else\ndefault login me password of-mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with Wiretap() as sim:
        assert drive(settings_for(sim), calls.get_time_zone()) == "GMT+8"
    for record in sim.requests:
        assert "authorization" not in record.headers
    heard: list[dict[str, str]] = []
    with rogue_gateway(b"") as gateway:
        with pytest.raises(EnosError):
            drive(settings_of(gateway), calls.get_time_zone())
        heard = [head.lower() for head in gateway.heard]
    assert len(heard) >= 2
    assert not any("authorization:" in head for head in heard)


@pytest.mark.parametrize("drive", DRIVES)
@pytest.mark.parametrize("past", [None, "127.0.0.0/8", "127.0.0.1"])
def test_both_drivers_take_the_same_way(drive: Drive, past: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the proxy of the environment, with the proxy's own password, or past it."""
    with rogue_gateway(b"") as proxy, EnosSimulator() as sim:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:of%20the%20proxy@127.0.0.1:{proxy.port}")
        if past is None:
            with pytest.raises(EnosError):
                drive(settings_for(sim, 2.0), calls.get_time_zone())
            wanted = base64.b64encode(b"me:of the proxy").decode()
            assert f"proxy-authorization: basic {wanted}".lower() in proxy.heard[0].lower()
        else:
            monkeypatch.setenv("NO_PROXY", past)
            assert drive(settings_for(sim), calls.get_time_zone()) == "GMT+8"
            assert proxy.heard == []


@pytest.mark.parametrize("drive", DRIVES)
def test_cookies_are_neither_kept_nor_sent(drive: Drive) -> None:
    body = b'{"code":0,"data":{"timezone":"GMT+8"}}'
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: track=1; Path=/\r\nContent-Length: %d\r\n\r\n" % len(body)
    with rogue_gateway(head + body) as gateway:
        for _ in range(2):
            drive(settings_of(gateway), calls.get_time_zone())
        assert not any("cookie" in request.lower() for request in gateway.heard)


# ---- the machine ----------------------------------------------------------------------------------------------------


def test_the_state_file_is_its_owners(tmp_path: Path) -> None:
    """And what somebody else has put beside it is not written through."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "state.new").symlink_to(victim)
    EnosSimulator().save(tmp_path / "state")
    assert victim.read_text() == "mine"
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
    EnosSimulator().load(tmp_path / "state")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "state.new", "victim"]


def test_a_state_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        EnosSimulator().save(tmp_path / "state")
    assert list(tmp_path.iterdir()) == []


def test_the_simulator_listens_on_the_loopback_interface_only(sim: EnosSimulator) -> None:
    assert sim._server is not None
    assert sim._server.socket.getsockname()[0] == "127.0.0.1"


def test_no_option_of_the_command_line_takes_a_secret() -> None:
    """Everybody on a machine can read the arguments of its processes."""
    from airflow_provider_enos.cli.definition import COMMANDS, COMMON

    flags = {
        flag for option in (*COMMON, *(one for command in COMMANDS for one in command.options)) for flag in option.flags
    }
    assert flags
    assert not {flag for flag in flags if re.search("secret|password|token|access|login", flag)}


def test_nothing_waits_for_a_hostile_gateway_in_the_loop() -> None:
    """The triggerer goes on while a reply does not come."""

    async def main() -> None:
        with rogue_gateway(lambda line: line.recv(1)) as gateway:
            from airflow_provider_enos.client.aio import AsyncClient

            async with AsyncClient(settings_of(gateway, timeout=30)) as client:
                call = asyncio.create_task(client.call(calls.trigger_flow(1, 1594016819108)))
                await until(lambda: len(gateway.heard) == 2)
                begun = time.monotonic()
                for _ in range(10):
                    await asyncio.sleep(0.01)
                assert not call.done()
                assert time.monotonic() - begun < 15
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)

    asyncio.run(main())
