"""How commands end, and what they print besides their result: in processes of their own, and without a database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import airflow
import pytest

from airflow_provider_enos.cli.runner import command
from airflow_provider_enos.errors import EnosTriggerError
from airflow_provider_enos.simulator import EnosSimulator

Run = Callable[..., Any]

MODULE = "airflow_provider_enos"
PROVIDER_SCHEMA = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
PROGRAMS = [[MODULE], ["airflow", "enos"]] if "cli" in PROVIDER_SCHEMA["properties"] else [[MODULE]]


@pytest.fixture
def elsewhere(connection: EnosSimulator, tmp_path: Path) -> dict[str, str]:
    """The environment of a process whose Airflow has no database, only the connection."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}
    # Airflow 2 warns of how it measures.
    settings = {"AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True"}
    return {**kept, **settings, "AIRFLOW_HOME": str(tmp_path)}


@contextmanager
def started(program: list[str], *arguments: str, environment: dict[str, str]) -> Iterator[Any]:
    """A process that ends with the test; it can be interrupted, also where the tests run in the background."""
    line = [sys.executable, "-m", *program, *arguments]
    pipe = subprocess.PIPE
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(line, env=environment, stdout=pipe, stderr=pipe, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_a_process_of_its_own_without_a_database(
    elsewhere: dict[str, str], sim: EnosSimulator, program: list[str]
) -> None:
    """Also with all that Airflow logs, the result is alone on stdout, and no secret is anywhere."""
    with started(program, "check", "--verbose", "--output", "json", environment=elsewhere) as process:
        out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert json.loads(out)["works"]
    assert out.startswith("{")
    for secret in (sim.secret_key, "APP_PORTAL"):
        assert secret not in out + err


def test_a_signal_interrupts_a_wait(elsewhere: dict[str, str], sim: EnosSimulator) -> None:
    sim.progress = "manual"
    with started([MODULE], "trigger", "3377", "--wait", environment=elsewhere) as process:
        flow_instance_id = process.stdout.readline().strip()
        assert flow_instance_id == sim.instances[0].id
        while "of flow 3377" not in (line := process.stderr.readline()):
            assert line, "it has ended"
        process.send_signal(signal.SIGINT)
        assert process.wait(600) == 130
        assert process.stderr.readlines()[-1].startswith(f"Interrupted. Flow instance {flow_instance_id} runs on. ")
    assert sim.instances[0].status != "CANCEL"


def test_nobody_reads_on(elsewhere: dict[str, str], sim: EnosSimulator) -> None:
    """For example ``| head``."""
    with started([MODULE], "flow", "3377", environment=elsewhere) as process:
        process.stdout.close()
        assert process.wait(600) == 141
        assert process.stderr.read() == ""


@pytest.fixture
def stored_connection(sim: EnosSimulator) -> Iterator[str]:
    """A connection that is in Airflow's metadata database only."""
    from airflow import settings
    from airflow.models.base import Base
    from airflow.models.connection import Connection

    # Not all tables: some refer to models that nobody has imported here.
    table = Connection.__table__
    Base.metadata.create_all(settings.engine, tables=[table, *(key.column.table for key in table.foreign_keys)])
    conn_id = "enos_stored"
    with settings.Session() as session:
        session.add(Connection(conn_id=conn_id, uri=sim.connection_uri))
        session.commit()
    yield conn_id
    with settings.Session() as session:
        session.query(Connection).filter(Connection.conn_id == conn_id).delete()
        session.commit()


def test_a_connection_of_the_database(run: Run, sim: EnosSimulator, stored_connection: str) -> None:
    """Airflow 3 reads the database only for its own commands, and for commands that declare to be like them."""
    ran = run("flow", "3377", "--conn-id", stored_connection)
    assert (ran.code, ran.err) == (0, "")
    assert "_AIRFLOW_PROCESS_CONTEXT" not in os.environ


OPTIONS = {"conn_id": "enos_default", "org_id": None, "user_id": None, "output": "table", "verbose": False}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (EnosTriggerError("what \x1b[2J\nwent wrong"), "airflow enos log: what went wrong\n"),
        (ZeroDivisionError("oh"), "airflow enos log: ZeroDivisionError: oh (--verbose shows where)\n"),
    ],
)
def test_an_error_is_one_line(error: Exception, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def log(*given: object) -> int:
        print("this is for the other stream")
        raise error

    with pytest.raises(SystemExit) as ended:
        log(Namespace(subcommand="log", **OPTIONS))
    assert ended.value.code == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"this is for the other stream\n{said}")
    with pytest.raises(type(error)):
        log(Namespace(subcommand="log", **{**OPTIONS, "verbose": True}))
