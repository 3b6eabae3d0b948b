"""Every recipe of ``docs/recipes.md`` is run through Airflow against the simulator, as it is printed there."""

from __future__ import annotations

import asyncio
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflows import AIRFLOW, dag_bag
from dag_process import environment, new_home, run_dag
from recipes import MODULES, PAGE, RECIPES, write_modules

from airflow_provider_enos.errors import EnosFlowCancelledError, EnosFlowFailedError, EnosPollLostError
from airflow_provider_enos.simulator import EnosSimulator

Run = Callable[..., dict[str, Any]]


def since(dag_id: str) -> tuple[int, ...]:
    """The first version of Airflow that has what the recipe needs, as its heading says."""
    heading = re.findall(r"^## (.*)$", PAGE[: PAGE.index(RECIPES[dag_id])], re.M)[-1]
    found = re.search(r"\(Airflow (\d+)\.(\d+)\)", heading)
    return (int(found[1]), int(found[2])) if found else (2, 11)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """The file of a recipe, in a DAGs folder of its own, with the modules in Airflow's folder for plugins."""
    write_modules(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "plugins"))

    def write(dag_id: str) -> Path:
        if since(dag_id) > AIRFLOW:
            pytest.skip(f"needs Airflow {'.'.join(map(str, since(dag_id)))}")
        file = tmp_path / "dags" / f"{dag_id}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(RECIPES[dag_id])
        return file

    return write


@pytest.fixture
def run(recipe: Callable[[str], Path], migrated_home: Path, tmp_path: Path, sim: EnosSimulator) -> Run:
    sim.progress = "at_once"
    new_home(migrated_home, tmp_path)
    return lambda dag_id: run_dag(recipe(dag_id), dag_id, tmp_path, sim)


def parsed(file: Path) -> Any:
    bag = dag_bag(file)
    assert bag.import_errors == {}
    return bag.dags[file.stem]


def fails(sim: EnosSimulator, ends_as: str = "FAIL") -> None:
    sim.add_flow(3377, name="meter_readings_daily", tasks={108580: "clean"}, ends_as=ends_as, failing_task=108580)


def test_retry_policy_fails_at_once_what_somebody_has_stopped(run: Run, sim: EnosSimulator) -> None:
    fails(sim, ends_as="CANCEL")
    result = run("enos_retry_policy")
    assert (result["tasks"], result["tries"]) == ({"clean": "failed"}, {"clean": 1})
    assert "somebody has stopped the flow in EnOS" in result["printed"]
    assert len(sim.instances) == 1


def test_retry_policy_retries_the_others_sooner_or_later(recipe: Callable[[str], Path]) -> None:
    policy = parsed(recipe("enos_retry_policy")).task_dict["clean"].retry_policy
    known = {"flow_instance_id": "3377-1", "status": "any"}
    decided = {
        error: policy.evaluate(error, try_number=1, max_tries=3)
        for error in (
            EnosFlowCancelledError("c", **known),
            EnosFlowFailedError("f", **known),
            EnosPollLostError("p", flow_instance_id="3377-1"),
        )
    }
    assert [(one.action.value, one.retry_delay) for one in decided.values()] == [
        ("fail", None),
        ("retry", timedelta(minutes=30)),
        ("retry", timedelta(minutes=1)),
    ]


@pytest.mark.skipif(AIRFLOW == (3, 0), reason="Airflow 3.0 gives callbacks no exception")
def test_notifier_says_which_node_failed_and_why(run: Run, sim: EnosSimulator) -> None:
    result = run("enos_notifier")
    (instance,) = sim.instances
    assert result["tasks"] == {"load": "failed"}
    said = [line for line in result["printed"].splitlines() if "to team of enos_notifier: " in line]
    assert "load has failed: " in said[0]
    assert "ColumnMissing: dw.meter_readings has no column 'reactive_power'" in said[0]
    assert f"{instance.id} has status FAIL; failed nodes: load (40012-" in said[1]


def test_deadline_lets_the_run_go_on(run: Run, recipe: Callable[[str], Path], sim: EnosSimulator) -> None:
    """The run fails: `dags test`, which queues no run, trips over the deadline of one that has succeeded."""
    (alert,) = parsed(recipe("enos_deadline")).deadline
    assert alert.interval == timedelta(hours=2)
    fails(sim)
    assert run("enos_deadline")["tasks"] == {"clean": "failed"}


def test_deadline_says_what_to_look_at(recipe: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    """How a triggerer finds it: ``tests/stack/test_deferred.py``."""
    (alert,) = parsed(recipe("enos_deadline")).deadline
    module, _, name = alert.callback.path.rpartition(".")
    asyncio.run(getattr(import_module(module), name)(**alert.callback.kwargs, context={}))
    assert "flow 3377 is late; see: airflow enos instances --flow 3377" in caplog.text


def test_expand_starts_each_flow(run: Run, sim: EnosSimulator) -> None:
    assert run("enos_expand")["state"] == "success"
    assert sorted(instance.flow_id for instance in sim.instances) == [3377, 3388, 4010]


def test_pool_counts_what_is_deferred(run: Run, tmp_path: Path, sim: EnosSimulator) -> None:
    (command,) = re.findall(r"^airflow pools set .*$", PAGE, re.M)
    subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        env=environment(tmp_path, tmp_path / "dags"),
        check=True,
        capture_output=True,
    )
    with sqlite3.connect(tmp_path / "airflow.db") as database:
        pools = database.execute("select pool, slots, include_deferred from slot_pool where pool = 'enos'").fetchall()
    assert pools == [("enos", 2, 1)]
    assert run("enos_pool")["state"] == "success"
    assert len(sim.instances) == 3


def test_every_recipe_is_run_here() -> None:
    assert set(RECIPES) == set(re.findall(r'\b(?:run|recipe)\("(\w+)"\)', Path(__file__).read_text()))
    assert len(RECIPES) + len(MODULES) == len(re.findall("^```python$", PAGE, re.M))
