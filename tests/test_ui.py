"""``make ui``, as far as it needs no Airflow. ``stack/test_ui.py`` starts it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parent.parent
QUICKSTART = (PROJECT / "docs" / "quickstart.md").read_text()


@pytest.fixture
def ui(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(PROJECT / "scripts"))
    import ui

    return ui


def test_it_says_that_airflow_2_is_too_old(
    ui: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ui, "AIRFLOW", (2, 11))
    assert ui.main([]) == 2
    told = capsys.readouterr().err
    assert "make ui needs Airflow 3, and this is Airflow " in told
    assert "make demo" in told


def test_the_quickstart_shows_what_it_prints(ui: Any) -> None:
    (shown,) = re.findall(r"^\$ make ui\n.*\n(\nAirflow is ready after (\d+) s.*?)\n```$", QUICKSTART, re.M | re.S)
    url = re.findall(r"http://127\.0\.0\.1:\d+", shown[0])[0]
    assert shown[0] == ui.WHAT_TO_LOOK_AT.format(seconds=int(shown[1]), url=url, tab="/plugin/enos")


def test_the_shell_does_not_reach_it(ui: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody has exported for another Airflow, and a proxy."""
    monkeypatch.setattr(os, "environ", {"AIRFLOW_CONN_ENOS_DEFAULT": "enos://", "no_proxy": "intranet", "HOME": "/"})
    ui.forget_settings()
    assert os.environ == {"HOME": "/", "NO_PROXY": "127.0.0.1", "no_proxy": "intranet,127.0.0.1"}


@pytest.mark.parametrize(("airflow", "left_out"), [((3, 0), {"enos_outlet_by_day.py"}), ((3, 3), set())])
def test_it_has_the_dags_that_this_airflow_can_run(
    ui: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, airflow: tuple[int, int], left_out: set[str]
) -> None:
    monkeypatch.setattr(ui, "AIRFLOW", airflow)
    examples = {path.name for path in (PROJECT / "example_dags").glob("*.py")}
    assert {path.name for path in ui.link_dags(tmp_path / "dags").iterdir()} == (examples | {"tour.py"}) - left_out
