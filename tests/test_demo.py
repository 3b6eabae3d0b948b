"""``make demo``. The example DAGs themselves are run in ``test_example_dags.py``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The script, with a stand-in for Airflow that prints ``OUTPUT`` and ends after ``SECONDS``."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import demo

    (tmp_path / "example_dags").symlink_to(demo.PROJECT / "example_dags")
    monkeypatch.setattr(demo, "PROJECT", tmp_path)
    monkeypatch.setattr(demo, "HOME", tmp_path / ".demo")
    code = "import sys, time; print(sys.argv[1], flush=True); time.sleep(float(sys.argv[2]))"

    def airflow(*arguments: str) -> list[str]:
        if arguments[0] == "db":
            return [sys.executable, "-c", ""]
        return [sys.executable, "-c", code, demo.OUTPUT, str(demo.SECONDS)]

    monkeypatch.setattr(demo, "airflow", airflow)
    monkeypatch.setattr(demo, "OUTPUT", "DagRun Finished: state=success", raising=False)
    monkeypatch.setattr(demo, "SECONDS", 0, raising=False)
    return demo


def test_a_dag_that_succeeds(demo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main() == 0
    assert "What EnOS has:" in capsys.readouterr().out


def test_a_dag_that_fails(demo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo, "OUTPUT", "DagRun Finished: state=failed")
    assert demo.main() == 1
    assert "did not succeed: see " in capsys.readouterr().err


def test_a_dag_that_does_not_end(
    demo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is stopped, and the message says what to do."""
    monkeypatch.setattr(demo, "SECONDS", 600)
    monkeypatch.setattr(demo, "TIMEOUT", 0.5)
    assert demo.main() == 1
    told = capsys.readouterr().err
    assert "has not ended after 0.5 s, and was stopped" in told
    assert "DEMO_TIMEOUT=1 make demo DAG=enos_trigger_and_wait" in told


def test_an_unknown_dag(demo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo, "DAG_ID", "enos_nothing")
    assert demo.main() == 2
    assert "there are enos_by_name, " in capsys.readouterr().err


def test_it_shows_the_times_of_nodes(demo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sim = EnosSimulator(progress="at_once")
    sim.trigger(3377, 108580, 1594016819108)
    demo.show_instances(sim)
    shown = capsys.readouterr().out
    assert "flow instance 3377-20200706062600  SUCCESS  (as in the EnOS documentation)" in shown
    assert "INIT     ingest     108579-20200706062600\n" in shown
    assert " to " in shown
