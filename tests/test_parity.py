"""Whatever waits, and whatever happens meanwhile: the task ends the same.

Every status and every way to wait, under four courses of events: the same state of the task, the same class and text
of the error, the same XCom.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException
from ends import End, rescheduled, started_from_trigger, waited
from worker import Log, TaskInstance

from airflow_provider_enos import errors
from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers.enos import EnosFlowInstanceTrigger

TIME = 1594016819108
FLOW, NODE, FAILING = 7001, 70011, 70012
INSTANCE = f"{FLOW}-20200706062600"


def operator(log: Log | None = None, **arguments: Any) -> Callable[[], Any]:
    logged = type("Logged", (EnosTriggerFlowFromTaskOperator,), {"log": log or Log()})
    return lambda: logged(
        task_id="task", flow_id=FLOW, from_task_id=NODE, trigger_time=TIME, poll_interval=0.01, **arguments
    )


def sensor(log: Log | None = None, **arguments: Any) -> Callable[[], Any]:
    logged = type("Logged", (EnosFlowInstanceSensor,), {"log": log or Log()})
    return lambda: logged(task_id="task", flow_instance_id=INSTANCE, poke_interval=0.01, **arguments)


WAYS: dict[str, Callable[[], End]] = {
    "operator": lambda: waited(operator(deferrable=False)),
    "operator deferred": lambda: waited(operator(deferrable=True)),
    "sensor poke": lambda: waited(sensor(deferrable=False)),
    "sensor reschedule": lambda: rescheduled(sensor(mode="reschedule", deferrable=False)),
    "sensor deferred": lambda: waited(sensor(deferrable=True)),
    "sensor from trigger": lambda: started_from_trigger(sensor(start_from_trigger=True), STATUSES["SKIP"][1]),
}
STATUSES = {
    "SUCCESS": (None, ""),
    "FAIL": (errors.EnosFlowFailedError, f"instance {INSTANCE} ended with status FAIL; node load "),
    "INTERNAL_ERROR": (errors.EnosFlowFailedError, f"instance {INSTANCE} ended with status INTERNAL_ERROR"),
    "TIMEOUT": (errors.EnosFlowFailedError, f"instance {INSTANCE} ended with status TIMEOUT"),
    "CANCEL": (errors.EnosFlowCancelledError, f"instance {INSTANCE} ended with status CANCEL"),
    "SKIP": (AirflowSkipException, f"flow instance {INSTANCE} was skipped in EnOS"),
}
COURSES = ["answer at once", "after three polls", "unknown status first", "poll errors first"]


def prepare(sim: EnosSimulator, status: str, course: str) -> None:
    progress: Any = ("polls", 3) if course == "after three polls" else "at_once"
    failing = FAILING if status == "FAIL" else None
    sim.add_flow(
        FLOW, name="flow", tasks={NODE: "extract", FAILING: "load"}, progress=progress, ends_as=status,
        failing_task=failing, logs={FAILING: "why it failed"},
    )  # fmt: skip
    if course == "unknown status first":
        sim.fault("unknown_status", on="flowInstances/get", times=2)
    if course == "poll errors first":
        sim.fault("http_502", on="flowInstances/get", times=6)


@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("status", STATUSES)
def test_every_way_to_wait_ends_the_same(
    status: str, course: str, monkeypatch: pytest.MonkeyPatch, short_pauses: None
) -> None:
    ends = {}
    for way, wait in WAYS.items():
        with EnosSimulator() as sim:
            monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)
            prepare(sim, status, course)
            if way.startswith("sensor"):
                sim.trigger(FLOW, NODE, TIME)
            ends[way] = wait()
            assert [instance.id for instance in sim.instances] == [INSTANCE]
    error, message = STATUSES[status]
    for way, end in ends.items():
        assert end.error is error, way
        assert message in end.message, way
        assert end.message == ends["operator"].message, way
        # A sensor that fails has nothing to give; an operator has given its id before it began to wait.
        assert end.xcom == (INSTANCE if error is None or way.startswith("operator") else None), way


LOGGED: dict[str, Callable[[Log], End]] = {
    "operator": lambda log: waited(operator(log, deferrable=False, task_logs="all")),
    "operator deferred": lambda log: waited(operator(log, deferrable=True, task_logs="all")),
    "sensor poke": lambda log: waited(sensor(log, deferrable=False, task_logs="all")),
    "sensor reschedule": lambda log: rescheduled(sensor(log, mode="reschedule", deferrable=False, task_logs="all")),
    "sensor deferred": lambda log: waited(sensor(log, deferrable=True, task_logs="all")),
    "sensor from trigger": lambda log: started_from_trigger(
        sensor(log, start_from_trigger=True, task_logs="all"), STATUSES["SKIP"][1]
    ),
}


@pytest.mark.parametrize("log_keeps", ["head", "tail"])
@pytest.mark.parametrize("status", ["SUCCESS", "FAIL", "CANCEL"])
def test_every_way_to_wait_shows_the_same_of_the_logs(
    status: str, log_keeps: str, monkeypatch: pytest.MonkeyPatch, short_pauses: None
) -> None:
    """While they grow, each line once, wherever the one part of the wait ends and the other begins."""
    texts = {node: [f"{node} line {number}" for number in range(8)] for node in (NODE, FAILING)}
    shown: dict[str, list[str]] = {}
    for way, wait in LOGGED.items():
        log = Log()
        monkeypatch.setattr(EnosFlowInstanceTrigger, "log", log)
        with EnosSimulator(log_grows=True, log_keeps=log_keeps) as sim:
            monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)
            sim.add_flow(
                FLOW, name="flow", tasks={NODE: "extract", FAILING: "load"}, progress=("polls", 8), ends_as=status,
                failing_task=None if status == "SUCCESS" else FAILING,
                logs={node: "\n".join(lines) for node, lines in texts.items()},
            )  # fmt: skip
            if way.startswith("sensor"):
                sim.trigger(FLOW, NODE, TIME)
            wait(log)
        shown[way] = [line for line in log.lines if " line " in line or line.startswith("::group::")]
        assert sum(line.startswith("::group::Log of node extract") for line in shown[way]) > 2, f"{way}: all at once"
    for way, lines in shown.items():
        assert [line for line in lines if " line " in line] == [*texts[NODE], *texts[FAILING]], way
        assert lines == shown["operator"], way


@pytest.mark.parametrize("task_logs", ["failed", "none"])
@pytest.mark.parametrize("deferrable", [False, True])
def test_no_log_is_read_while_nobody_wants_to_see_it(
    connection: EnosSimulator, deferrable: bool, task_logs: str, short_pauses: None
) -> None:
    prepare(connection, "SUCCESS", "after three polls")
    assert waited(operator(deferrable=deferrable, task_logs=task_logs)) == End(None, "", INSTANCE)
    assert connection.count("taskInstances/getLog") == connection.count("taskInstances/get") == 0


@pytest.mark.parametrize("way", ["sensor poke", "sensor reschedule", "sensor deferred"])
@pytest.mark.parametrize("argument", ["soft_fail", "never_fail"])
def test_sensors_that_must_not_fail_are_skipped(
    way: str, argument: str, connection: EnosSimulator, short_pauses: None
) -> None:
    prepare(connection, "FAIL", "answer at once")
    connection.trigger(FLOW, NODE, TIME)
    modes: dict[str, Any] = {
        "sensor poke": {"deferrable": False},
        "sensor reschedule": {"deferrable": False, "mode": "reschedule"},
        "sensor deferred": {"deferrable": True},
    }
    wait = rescheduled if way == "sensor reschedule" else waited
    end = wait(sensor(**modes[way], **{argument: True}))
    assert end.error is AirflowSkipException
    assert "node load" in end.message


@pytest.mark.parametrize("cancel", [True, False])
def test_an_operator_that_runs_out_of_time_ends_the_same(
    cancel: bool, monkeypatch: pytest.MonkeyPatch, short_pauses: None
) -> None:
    ends, cancels = [], []
    for deferrable in (False, True):
        with EnosSimulator(progress="manual") as sim:
            monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)
            sim.add_flow(FLOW, name="flow", tasks={NODE: "extract"}, progress="manual")
            ends.append(waited(operator(deferrable=deferrable, timeout=0.2, cancel_on_timeout=cancel)))
            cancels.append(sim.count("flowInstances/cancel"))
    assert ends[0] == ends[1]
    assert ends[0].error is errors.EnosFlowTimeoutError
    assert cancels == [int(cancel)] * 2


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_resumed_task_fails_on_an_event_that_it_does_not_know(connection: EnosSimulator, deferrable: bool) -> None:
    for make in (operator(deferrable=deferrable), sensor(deferrable=deferrable)):
        with pytest.raises(errors.EnosEventError):
            make().execute_complete({"ti": TaskInstance()}, {"status": "success"})


@pytest.mark.parametrize("value", ["True", "False"])
def test_deferral_is_the_default_where_airflow_says_so(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", value)
    for make in (operator(), sensor()):
        assert make().deferrable is (value == "True")


@pytest.mark.parametrize("deferrable", [False, True])
def test_an_operator_waits_for_what_enos_does_not_show_yet(
    connection: EnosSimulator, deferrable: bool, short_pauses: None
) -> None:
    prepare(connection, "SUCCESS", "answer at once")
    connection.fault("data_null", on="flowInstances/get", times=2)
    assert waited(operator(deferrable=deferrable)) == End(None, "", INSTANCE)
