"""A flow as a file for a repository: what is in it, and that the file is whole or as before."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import PROGRAM, Run, error_line

from airflow_provider_enos.cli.export import write
from airflow_provider_enos.cli.runner import Failure
from airflow_provider_enos.simulator import EnosSimulator

TEXT = """\
{
  "format": 1,
  "flow_id": 4711,
  "name": "every_morning",
  "nodes": [
    {"task_id": 1, "name": "汇总"},
    {"task_id": 2, "name": "b"},
    {"task_id": 3, "name": "c"}
  ],
  "relations": [
    [1, 3],
    [3, 2]
  ],
  "schedule": {
    "active": true,
    "cycle": "D",
    "cron": "0 0 6 * * ? *",
    "start_date": "2020-07-01"
  },
  "parameters": {
    "password": null,
    "region": null
  }
}
"""


@pytest.fixture
def morning(sim: EnosSimulator) -> int:
    """The id of a flow that has everything."""
    sim.add_flow(
        4711,
        name="every_morning",
        tasks={3: "c", 1: "汇总", 2: "b"},
        relations=[(3, 2), (1, 3)],
        parameters={"region": "emea", "password": "hunter2"},
        type=1,
        freq="0 0 6 * * ? *",
        owner=f"{sim.user_id};somebody_else",
    )
    return 4711


def test_export_prints_the_flow(enos: Run, morning: int) -> None:
    ran = enos("export", morning)
    assert (ran.code, ran.out, ran.err) == (0, TEXT, "")
    assert enos("export", "--flow-name", "every_morning").out == TEXT


def test_export_writes_a_file(enos: Run, morning: int, tmp_path: Path) -> None:
    file = tmp_path / "flow.json"
    ran = enos("export", morning, "-o", file)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == f"Wrote flow 4711 to {file}: 3 nodes, 2 relations\n"
    assert file.read_bytes() == TEXT.encode()
    assert os.listdir(tmp_path) == ["flow.json"]


def test_export_shows_no_owner_and_no_value_of_a_parameter(enos: Run, sim: EnosSimulator, morning: int) -> None:
    ran = enos("export", morning)
    for secret in ("hunter2", "emea", sim.user_id, "somebody_else", sim.org_id, "data_simulator"):
        assert secret not in ran.out + ran.err


def test_export_writes_values_of_parameters_only_where_it_is_told_to(enos: Run, morning: int) -> None:
    ran = enos("export", morning, "--parameter-values")
    assert json.loads(ran.out)["parameters"] == {"password": "hunter2", "region": "emea"}
    assert "See that none is a secret before you commit it." in ran.err
    assert enos("export", 3377, "--parameter-values").err == ""


@pytest.mark.parametrize("flow_id", [3377, 3388, 4001, 4009, 4010])
def test_export_of_every_flow_of_a_simulator(enos: Run, flow_id: int) -> None:
    assert enos("export", flow_id).json["flow_id"] == flow_id


@pytest.mark.parametrize(
    ("flow", "said"),
    [
        ((4006,), "flow 4006: nodes: there is none; expected at least one"),
        (
            (4011,),
            "flow 4011: it depends on flow 3377 (meter_readings_daily); expected a flow that depends on no other",
        ),
        ((999,), f"Flow 999 does not exist, or this user may not see it. To find an id: {PROGRAM} flows."),
        (("--flow-name", "meter_reading"), "3377"),
    ],
)
def test_what_cannot_be_exported_leaves_the_file_as_it_was(
    enos: Run, tmp_path: Path, flow: tuple[object, ...], said: str
) -> None:
    file = tmp_path / "flow.json"
    file.write_text("before")
    ran = enos("export", *flow, "-o", file)
    assert said in error_line(ran)
    assert "To test the connection" not in ran.err
    assert (ran.out, file.read_text(), os.listdir(tmp_path)) == ("", "before", ["flow.json"])


def test_export_needs_a_flow(enos: Run) -> None:
    ran = enos("export")
    assert (ran.code, "give either FLOW_ID or --flow-name" in ran.err) == (2, True)


def test_the_bytes_do_not_depend_on_the_encoding_of_the_terminal(sim: EnosSimulator, morning: int) -> None:
    environment = {**os.environ, "AIRFLOW_CONN_ENOS_DEFAULT": sim.connection_uri, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "airflow_provider_enos", "export", str(morning)]
    ran = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert ran.stdout == TEXT.encode()


# ---- the file -------------------------------------------------------------------------------------------------------


def test_a_file_keeps_its_permissions(tmp_path: Path) -> None:
    file = tmp_path / "flow.json"
    before = os.umask(0o027)
    try:
        write("new", file)
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
    finally:
        os.umask(before)
    file.chmod(0o604)
    write("again", file)
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("again", 0o604)


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file, link = tmp_path / "elsewhere" / "flow.json", tmp_path / "link.json"
    link.symlink_to(file)
    write("new", link)
    assert link.is_symlink()
    assert file.read_text() == "new"


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "flow.json"
    file.write_text("before")

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", full)
    with pytest.raises(Failure, match=r"cannot write .*flow.json: No space left on device$"):
        write("new", file)
    assert (file.read_text(), os.listdir(tmp_path)) == ("before", ["flow.json"])


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(Failure, match="it is no regular file"):
            write("new", path)
    with pytest.raises(Failure, match="No such file or directory"):
        write("new", tmp_path / "nowhere" / "flow.json")
