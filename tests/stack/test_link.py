"""The link to the EnOS console in a real Airflow, as the API server gives it to every viewer of the task."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflows import AIRFLOW

if AIRFLOW < (3, 0):
    pytest.skip("Airflow 2 has another API", allow_module_level=True)
from stack import Run, Simulator, Stack, until

Airflow = tuple[Stack, Simulator]
CONSOLE = "https://console.example/flows/{flow_id}?id={flow_instance_id}"


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    simulator = Simulator()
    connection = json.loads(simulator.connection)
    extra = connection["extra"]
    connection["extra"] = {**(json.loads(extra) if isinstance(extra, str) else extra), "console_url": CONSOLE}
    stack = Stack(tmp_path_factory.mktemp("stack"), Path(__file__).parent / "link_dags", json.dumps(connection))
    try:
        for flow_id in range(8101, 8104):
            tasks = {str(flow_id * 10): "extract"}
            simulator.post("flows", {"flow_id": flow_id, "name": "flow", "tasks": tasks, "progress": "manual"})
        stack.start()
        yield stack, simulator
    finally:
        stack.stop()
        simulator.stop()


def link_of(stack: Stack, run: Run) -> str | None:
    answer = stack.call("GET", f"{run._path}/links")
    found: str | None = answer["extra_links"]["EnOS flow instance"]
    return found


def address(simulator: Simulator, flow_id: int, number: int = 0) -> str:
    until(lambda: len(simulator.instances(flow_id)) > number, 60, f"an instance of flow {flow_id}")
    return CONSOLE.format(flow_id=flow_id, flow_instance_id=simulator.instances(flow_id)[number]["id"])


def end(simulator: Simulator, flow_id: int) -> None:
    for instance in simulator.instances(flow_id):
        simulator.post(f"instances/{instance['id']}/finish", {"status": "SUCCESS"})


@pytest.mark.parametrize(
    ("dag", "flow_id", "state"), [("link_running", 8101, "running"), ("link_deferred", 8102, "deferred")]
)
def test_the_link_is_there_while_the_task_waits_and_once_it_has_ended(
    airflow: Airflow, dag: str, flow_id: int, state: str
) -> None:
    """And after a clear it leads to the instance that was started then."""
    stack, simulator = airflow
    run = stack.run(dag)
    run.wait_for(state)
    first = address(simulator, flow_id)
    until(lambda: link_of(stack, run) == first, 10, "the link", lambda: link_of(stack, run))
    assert run.task["state"] == state
    end(simulator, flow_id)
    run.wait_for("success")
    assert link_of(stack, run) == first
    run.wait_for_run("success")
    run.clear()
    second = address(simulator, flow_id, 1)
    until(lambda: link_of(stack, run) == second, 20, "the new link", lambda: link_of(stack, run))
    end(simulator, flow_id)
    run.wait_for("success")
    assert link_of(stack, run) == second


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="tasks start in the triggerer from 3.3 on")
def test_a_sensor_that_no_worker_runs_has_its_link_too(airflow: Airflow) -> None:
    stack, simulator = airflow
    run = stack.run("link_from_trigger")
    run.wait_for("deferred")
    until(lambda: link_of(stack, run) == address(simulator, 8103), 20, "the link", lambda: link_of(stack, run))
    end(simulator, 8103)
    run.wait_for("success")
    assert link_of(stack, run) == address(simulator, 8103)
    assert run.task["pid"] is None, "a worker would have left its process id"
