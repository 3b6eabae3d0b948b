"""A clear starts again, a retry takes over: what becomes of the instances in a real Airflow, of any version."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from airflow2 import Airflow2
from airflows import AIRFLOW
from stack import Run, Simulator, Stack, running, until

from airflow_provider_enos.utils.trigger_record import STATE_KEY

Airflow = tuple[Stack, Simulator]
FAILS_WHAT_IS_KILLED = AIRFLOW == (3, 0)
"""Airflow 3.0 gives a task whose process alone is killed no retry; it does where it sees no heartbeat any more."""
HEARTBEATS = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "12",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
}


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    dags = Path(__file__).parent / "dags_for_all"
    kind = Stack if AIRFLOW >= (3, 0) else Airflow2
    settings = HEARTBEATS if FAILS_WHAT_IS_KILLED else {}
    with running(tmp_path_factory.mktemp("stack"), dags, settings=settings, kind=kind) as (stack, simulator):
        for flow_id in range(8101, 8109):
            tasks = {str(flow_id * 10): "extract"}
            simulator.post("flows", {"flow_id": flow_id, "name": "flow", "tasks": tasks, "progress": "manual"})
        yield stack, simulator


def wait_until_it_waits(run: Run, simulator: Simulator, *instances: str) -> None:
    """Until the flow has these instances and no others, and the task has looked at the last of them and runs."""
    flow_id = int(instances[0].split("-")[0])
    until(lambda: len(simulator.instances(flow_id)) >= len(instances), 60, f"instances of flow {flow_id}")
    assert [one["id"] for one in simulator.instances(flow_id)] == list(instances)
    run.wait_for("running")


def wait_for_try(run: Run, number: int) -> None:
    until(lambda: run.task["try_number"] == number and run.task["state"] == "running", 60, f"try {number}")


def end(simulator: Simulator, instance: str, status: str) -> None:
    simulator.post(f"instances/{instance}/finish", {"status": status})


def test_a_retry_takes_over_what_a_killed_try_started(airflow: Airflow) -> None:
    stack, simulator = airflow
    instance = "8101-20260303000000"
    run = stack.run("is_killed")
    wait_until_it_waits(run, simulator, instance)
    run.kill(supervisor=FAILS_WHAT_IS_KILLED)
    wait_for_try(run, 2)
    end(simulator, instance, "SUCCESS")
    run.wait_for("success")
    assert [one["id"] for one in simulator.instances(8101)] == [instance]
    assert run.xcom() == instance
    assert f"Took over flow instance {instance}" in run.log(2)


def test_a_retry_starts_another_after_a_failure_in_enos(airflow: Airflow) -> None:
    stack, simulator = airflow
    failed, succeeded = "8102-20260303000000", "8102-20260303000100"
    run = stack.run("fails_in_enos")
    wait_until_it_waits(run, simulator, failed)
    end(simulator, failed, "FAIL")
    wait_until_it_waits(run, simulator, failed, succeeded)
    end(simulator, succeeded, "SUCCESS")
    run.wait_for("success")
    assert run.task["try_number"] == 2
    assert run.xcom() == succeeded
    assert [one["status"] for one in simulator.instances(8102)] == ["FAIL", "SUCCESS"]
    assert f"Started flow instance {succeeded}" in run.log(2)


def test_a_clear_starts_another_and_its_retry_takes_over_that_one(airflow: Airflow) -> None:
    """The first instance has succeeded, and is never taken for what the cleared task is to do."""
    stack, simulator = airflow
    first, second = "8103-20260303000000", "8103-20260303000100"
    run = stack.run("is_cleared_after_success")
    wait_until_it_waits(run, simulator, first)
    end(simulator, first, "SUCCESS")
    run.wait_for("success")
    # What is cleared before Airflow has ended the run may be left lying when it does.
    run.wait_for_run("success")
    run.clear()
    wait_until_it_waits(run, simulator, first, second)
    assert run.task["try_number"] == 2
    run.kill(supervisor=FAILS_WHAT_IS_KILLED)
    wait_for_try(run, 3)
    end(simulator, second, "SUCCESS")
    run.wait_for("success")
    assert [one["id"] for one in simulator.instances(8103)] == [first, second]
    assert run.xcom() == second
    assert f"Started flow instance {second}" in run.log(2)
    assert f"Took over flow instance {second}" in run.log(3)


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow before 3.3 has no task state store")
@pytest.mark.parametrize(
    ("dag_id", "flow_id", "clear", "keeps"),
    [
        ("is_cleared", 8105, Run.clear, AIRFLOW < (3, 4)),
        ("is_cleared_with_its_run", 8107, Run.clear_run, AIRFLOW < (3, 5)),
        ("is_cleared_by_command", 8108, Run.clear_by_command, True),
        pytest.param(
            "is_cleared_and_keeps_its_state",
            8106,
            partial(Run.clear, keep_task_state=True),
            True,
            marks=pytest.mark.skipif(AIRFLOW < (3, 4), reason="Airflow before 3.4 has no such option"),
        ),
    ],
)
def test_which_clears_discard_the_record(
    airflow: Airflow, dag_id: str, flow_id: int, clear: Callable[[Run], None], keeps: bool
) -> None:
    """And that another instance is started in each case, since nothing tells the task which case it is."""
    stack, simulator = airflow
    first = f"{flow_id}-20260303000000"
    run = stack.run(dag_id)
    wait_until_it_waits(run, simulator, first)
    end(simulator, first, "SUCCESS")
    tries = run.wait_for("success")["try_number"]
    run.wait_for_run("success")
    assert STATE_KEY in run.state_keys
    # The next attempt waits before it writes a record of its own.
    simulator.hold("token/get", "received")
    clear(run)
    assert (STATE_KEY in run.state_keys) is keeps
    simulator.clear_holds()
    # On a busy machine Airflow may have lost the first try. Each try may have used a minute.
    second = f"{flow_id}-2026030300{tries:02}00"
    wait_until_it_waits(run, simulator, first, second)
    end(simulator, second, "SUCCESS")
    run.wait_for("success")
    assert run.xcom() == second


def test_marking_a_running_task_failed_cancels_its_instance(airflow: Airflow) -> None:
    stack, simulator = airflow
    instance = "8104-20260303000000"
    run = stack.run("is_marked_failed_while_it_runs")
    wait_until_it_waits(run, simulator, instance)
    run.mark_failed()
    until(lambda: simulator.instances(8104)[0]["status"] == "CANCEL", 30, "the instance to be cancelled")
    run.wait_for("failed")
    assert [one["id"] for one in simulator.instances(8104)] == [instance]
    assert run.task["try_number"] == 1
