"""A deferred task in a real Airflow: what users and operators of Airflow do to it, and what becomes of the instance."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflows import AIRFLOW

if AIRFLOW < (3, 3):
    pytest.skip("kills reach triggers from 3.3 on", allow_module_level=True)
from recipes import RECIPES, write_modules
from stack import Simulator, Stack, running, until

Airflow = tuple[Stack, Simulator]
OUTAGE = 60.0
"""Seconds for which EnOS is out of reach."""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    home = tmp_path_factory.mktemp("stack")
    dags = shutil.copytree(Path(__file__).parent / "dags", home / "dags")
    (dags / "late.py").write_text(RECIPES["enos_deadline"].replace("timedelta(hours=2)", "timedelta(seconds=2)"))
    write_modules(home)
    with running(home, dags) as (stack, simulator):
        for flow_id in (*range(8001, 8008), 3377):
            tasks = {"108580" if flow_id == 3377 else str(flow_id * 10): "extract"}
            simulator.post("flows", {"flow_id": flow_id, "name": "flow", "tasks": tasks, "progress": "manual"})
        yield stack, simulator


@pytest.fixture(autouse=True)
def no_faults(airflow: Airflow) -> Iterator[None]:
    yield
    airflow[1].clear_faults()


def the_instance(simulator: Simulator, flow_id: int) -> str:
    until(lambda: simulator.instances(flow_id), 60, f"an instance of flow {flow_id}")
    (instance,) = simulator.instances(flow_id)
    return str(instance["id"])


def the_watched_instance(simulator: Simulator, flow_id: int) -> str:
    """The instance, once the triggerer looks at it."""
    instance = the_instance(simulator, flow_id)
    until(lambda: simulator.instances(flow_id)[0]["polls"], 60, f"a look at {instance}")
    return instance


def test_a_deferred_run_succeeds(airflow: Airflow) -> None:
    stack, simulator = airflow
    run = stack.run("succeeds")
    run.wait_for("deferred")
    instance = the_instance(simulator, 8001)
    assert run.xcom("flow_instance_id") == instance
    simulator.post(f"instances/{instance}/finish", {"status": "SUCCESS"})
    run.wait_for("success")
    assert run.xcom() == instance
    assert f"Flow instance {instance} of flow 8001" in run.log()


def test_marking_a_deferred_task_failed_cancels_the_instance(airflow: Airflow) -> None:
    stack, simulator = airflow
    run = stack.run("is_marked_failed")
    run.wait_for("deferred")
    the_watched_instance(simulator, 8002)
    run.mark_failed()
    until(lambda: simulator.instances(8002)[0]["status"] == "CANCEL", 30, "the instance to be cancelled")
    run.wait_for("failed")


def test_clearing_a_deferred_task_cancels_the_instance_and_starts_another(airflow: Airflow) -> None:
    """The late cancel of the old trigger never touches the new instance."""
    stack, simulator = airflow
    run = stack.run("is_cleared")
    run.wait_for("deferred")
    old = the_watched_instance(simulator, 8003)
    run.clear()
    until(lambda: len(simulator.instances(8003)) == 2, 60, "another instance")
    until(lambda: simulator.instances(8003)[0]["status"] == "CANCEL", 30, "the old instance to be cancelled")
    new = simulator.instances(8003)[1]["id"]
    assert new != old
    run.wait_for("deferred")
    time.sleep(4)
    simulator.post(f"instances/{new}/finish", {"status": "SUCCESS"})
    run.wait_for("success")
    assert run.xcom() == new
    assert [one["status"] for one in simulator.instances(8003)] == ["CANCEL", "SUCCESS"]


def test_a_triggerer_that_is_replaced_goes_on_waiting(airflow: Airflow) -> None:
    """Nothing is cancelled, nothing is started again. And EnOS is out of reach for a minute, which fails nothing."""
    stack, simulator = airflow
    run = stack.run("outlives")
    run.wait_for("deferred")
    instance = the_watched_instance(simulator, 8004)
    stack.stop_part("triggerer")
    stack.start_part("triggerer")
    simulator.post("faults", {"kind": "http_502", "on": "flowInstances/get", "times": None})
    outage_ends = time.monotonic() + OUTAGE
    before = simulator.state["counts"]["flowInstances/get"]
    until(
        lambda: simulator.state["counts"]["flowInstances/get"] > before + 10,
        90,
        "the new triggerer to look at the instance",
    )
    time.sleep(max(0.0, outage_ends - time.monotonic()))
    assert run.task["state"] == "deferred"
    simulator.clear_faults()
    simulator.post(f"instances/{instance}/finish", {"status": "SUCCESS"})
    run.wait_for("success", seconds=120)
    assert len(simulator.instances(8004)) == 1
    assert simulator.instances(8004)[0]["status"] == "SUCCESS"


def test_what_is_late_is_cancelled_and_fails_with_the_reason(airflow: Airflow) -> None:
    stack, simulator = airflow
    run = stack.run("is_late")
    run.wait_for("failed")
    assert simulator.instances(8005)[0]["status"] == "CANCEL"
    assert "had not ended in the time given to it; it was asked to be cancelled" in run.log()


def test_the_recipe_for_what_is_late_tells_it_and_the_run_goes_on(airflow: Airflow) -> None:
    stack, simulator = airflow
    run = stack.run("enos_deadline").of_task("clean")
    instance = the_instance(simulator, 3377)
    until(lambda: "flow 3377 is late; see: " in stack.alerts, 60, "the alert", lambda: stack.alerts)
    assert run.wait_for("deferred")["state"] == "deferred"
    simulator.post(f"instances/{instance}/finish", {"status": "SUCCESS"})
    run.wait_for("success")


def test_a_sensor_starts_and_ends_in_the_triggerer(airflow: Airflow) -> None:
    """The id comes from another task, as a template; no worker ever runs the sensor."""
    stack, simulator = airflow
    run = stack.run("from_trigger")
    run.wait_for("deferred")
    instance = the_instance(simulator, 8006)
    simulator.post(f"instances/{instance}/finish", {"status": "SUCCESS"})
    run.wait_for("success")
    assert run.xcom() == instance
    assert run.task["pid"] is None, "a worker would have left its process id"


def test_mapped_sensors_that_cannot_start_in_the_triggerer_defer_from_a_worker(airflow: Airflow) -> None:
    stack, simulator = airflow
    run = stack.run("mapped_from_trigger")
    instance = the_instance(simulator, 8007)
    simulator.post(f"instances/{instance}/finish", {"status": "SUCCESS"})
    run.wait_for("success")
    assert run.xcom() == [instance]


def test_sensors_of_a_mapped_group_defer_from_a_worker(airflow: Airflow) -> None:
    """One waits for the group's own argument, and one for what another task of the group gives."""
    stack, simulator = airflow
    flow = {"flow_id": 8009, "name": "flow", "tasks": {"80090": "extract"}, "progress": "manual"}
    simulator.post("flows", flow)
    run = stack.run("group_from_trigger")
    instance = the_instance(simulator, 8009)
    simulator.post(f"instances/{instance}/finish", {"status": "SUCCESS"})
    run.wait_for("success")
    assert run.xcom() == [instance, instance]


def test_a_sensor_of_a_window_starts_and_ends_in_the_triggerer(airflow: Airflow) -> None:
    """The flow and the window are templates; no worker ever runs the sensor."""
    stack, simulator = airflow
    flow = {"flow_id": 8008, "tasks": {"80080": "extract"}, "type": 1, "cycle": "mi", "progress": "at_once"}
    simulator.post("flows", flow)
    run = stack.run("window_from_trigger")
    run.wait_for("deferred")
    simulator.post("flows/8008/schedule", {"trigger_time": int(time.time() - 3600) * 1000})
    run.wait_for("success")
    assert run.xcom() == [simulator.instances(8008)[0]["id"]]
    assert run.task["pid"] is None, "a worker would have left its process id"


def test_a_run_without_a_data_interval_has_no_window(airflow: Airflow) -> None:
    stack, _ = airflow
    run = stack.run("window_without_interval")
    run.wait_for("failed")
    assert "window_start: it is empty, as the default is for a DAG run without a data interval" in run.log()
