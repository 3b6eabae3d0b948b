"""Switches from a file, as a survey of a gateway writes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_enos.simulator import EnosSimulator

COMMAND = [sys.executable, "-W", "error", "-m", "airflow_provider_enos.simulator"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps({"surveyed": "today", "switches": {"first_page": 0, "graph_as": "object"}}))
    return path


def test_a_file_sets_switches_and_keywords_come_on_top(path: Path) -> None:
    sim = EnosSimulator(switches=path, graph_as="text")
    assert (sim.first_page, sim.graph_as, sim.ids_as) == (0, "text", "int")
    sim.first_page = 1
    sim.reset()
    assert sim.first_page == 0


def test_switches_by_name() -> None:
    assert EnosSimulator(switches={"first_page": 0}).first_page == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"switches": []}', "{" * 9999, "\xff", " " * (2**20 + 1)])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"other\.json is no file of switches: give one that airflow enos survey"):
        EnosSimulator(switches=str(path))


def test_an_unknown_switch_or_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no switch 'last_page'"):
        EnosSimulator(switches={"last_page": 0})
    with pytest.raises(ValueError, match="switch 'first_page' takes one of 0, 1, not 2"):
        EnosSimulator(switches={"first_page": 2})
    with pytest.raises(FileNotFoundError):
        EnosSimulator(switches=tmp_path / "missing.json")


def test_the_command_says_what_is_wrong(path: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.json"
    bad = subprocess.run([*COMMAND, "--switches", str(missing)], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert str(missing) in bad.stderr
    path.write_text('{"switches": {"first_page": 9}}')
    bad = subprocess.run([*COMMAND, "--switches", str(path)], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert "'first_page' takes one of 0, 1, not 9" in bad.stderr
