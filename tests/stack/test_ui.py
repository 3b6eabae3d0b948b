"""``make ui``: one command starts all of it, and whatever ends it leaves nothing behind."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from airflows import AIRFLOW
from stack import until
from ui_process import IS_READY, UiProcess

if AIRFLOW < (3, 0):
    pytest.skip("it needs Airflow 3", allow_module_level=True)

SECONDS_TO_START = 120
SECONDS_TO_END = 15
FEW = ("--waits", "3")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[UiProcess, UiProcess]]:
    """Two of them, side by side."""
    first, second = (UiProcess(tmp_path_factory.mktemp(name), *FEW) for name in ("first", "second"))
    try:
        for one in (first, second):
            one.wait_for(IS_READY, SECONDS_TO_START)
        yield first, second
    finally:
        first.kill()
        second.kill()


def listens_at(process: psutil.Process) -> set[str]:
    try:
        return {one.laddr.ip for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN}
    except psutil.Error:  # it has ended
        return set()


def test_it_starts_with_all_dags_and_the_connection(two: tuple[UiProcess, UiProcess]) -> None:
    ui, beside = two
    assert ui.url != beside.url
    assert len(ui.pages) == 6
    assert ui.call("GET", "importErrors")["total_entries"] == 0
    dag_ids = {dag["dag_id"] for dag in ui.call("GET", "dags")["dags"]}
    assert {"tour_1_fails", "tour_2_slow", "tour_3_waits", "enos_trigger_and_wait"} <= dag_ids
    assert ui.call("GET", "connections/enos_default")["conn_type"] == "enos"


def test_it_listens_on_this_machine_only(two: tuple[UiProcess, UiProcess]) -> None:
    found = [listens_at(process) for process in two[0].processes]
    assert set().union(*found) == {"127.0.0.1"}
    assert len([one for one in found if one]) >= 2, "the API server and the gateway"


def test_a_part_that_ends_by_itself_ends_all_of_it(two: tuple[UiProcess, UiProcess]) -> None:
    ui = two[1]
    triggerer = next(process for process in ui.processes if "triggerer" in " ".join(process.cmdline()))
    triggerer.kill()
    assert ui.wait_for_its_end(SECONDS_TO_END) == []
    assert ui.code == 1
    assert (
        "Airflow's triggerer has ended by itself, with exit code -9.\nThe end of the log of triggerer:\n" in ui.printed
    )
    assert list(ui.temporary.iterdir()) == []


def test_a_run_that_rest_triggers_succeeds(two: tuple[UiProcess, UiProcess]) -> None:
    """It reads from the gateway, with the connection of the database. That flows run, ``browser/test_ui.py`` shows."""
    ui, _ = two
    ui.call("POST", "dags/enos_look_around/dagRuns", {"logical_date": None, "dag_run_id": "by_rest"})
    run = "dags/enos_look_around/dagRuns/by_rest"
    until(lambda: ui.call("GET", run)["state"] in ("success", "failed"), 90, "the end of the run")
    assert ui.call("GET", run)["state"] == "success"


def test_ctrl_c_leaves_no_process_and_no_folder(two: tuple[UiProcess, UiProcess]) -> None:
    """While tasks run."""
    ui = two[0]
    assert list(ui.temporary.glob("enos-ui-*")) != []
    assert len(ui.processes) > 5
    ui.signal(signal.SIGINT)
    assert ui.wait_for_its_end(SECONDS_TO_END) == []
    assert ui.code == 0
    assert list(ui.temporary.iterdir()) == []
    with socket.socket() as taken:
        assert taken.connect_ex(("127.0.0.1", int(urlsplit(ui.url).port or 0))) != 0


def test_it_can_be_ended_while_it_starts(tmp_path: Path) -> None:
    ui = UiProcess(tmp_path, *FEW)
    try:
        ui.wait_for("Starting Airflow", 30)
        until(lambda: len(ui.processes) > 1, 20, "the first part")
        ui.signal(signal.SIGTERM)
        assert ui.wait_for_its_end(SECONDS_TO_END) == []
        assert ui.code == 0
        assert list(ui.temporary.iterdir()) == []
    finally:
        ui.kill()
