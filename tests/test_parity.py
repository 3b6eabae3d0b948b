"""Whatever waits, and whatever happens meanwhile: the task ends the same.

Every status and every way to wait, under several courses of events, refusals and rotated keys among them: the same
state of the task, the same class and text of the error, the same XCom.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException, TaskDeferred
from ends import End, executed, rescheduled, started_from_trigger, waited
from worker import Log, TaskInstance

from airflow_provider_enos import errors
from airflow_provider_enos.client.polling import circuit_breaker
from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers.enos import EnosFlowInstanceTrigger
from airflow_provider_enos.utils import connections, deferral
from airflow_provider_enos.version_compat import AirflowTaskTimeout

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
SHORT: dict[str, Any] = {"poll_error_tolerance": 0.3}
REFUSED: dict[str, Callable[[], End]] = {
    "operator": lambda: waited(operator(deferrable=False, **SHORT)),
    "operator deferred": lambda: waited(operator(deferrable=True, **SHORT)),
    "sensor poke": lambda: waited(sensor(deferrable=False, **SHORT)),
    "sensor reschedule": lambda: rescheduled(sensor(mode="reschedule", deferrable=False, **SHORT)),
    "sensor deferred": lambda: waited(sensor(deferrable=True, **SHORT)),
    "sensor from trigger": lambda: started_from_trigger(sensor(start_from_trigger=True, **SHORT), ""),
}
STATUSES = {
    "SUCCESS": (None, ""),
    "FAIL": (errors.EnosFlowFailedError, f"instance {INSTANCE} ended with status FAIL"),
    "INTERNAL_ERROR": (errors.EnosFlowFailedError, f"instance {INSTANCE} ended with status INTERNAL_ERROR"),
    "TIMEOUT": (errors.EnosFlowFailedError, f"instance {INSTANCE} ended with status TIMEOUT"),
    "CANCEL": (errors.EnosFlowCancelledError, f"instance {INSTANCE} ended with status CANCEL"),
    "SKIP": (AirflowSkipException, f"flow instance {INSTANCE} was skipped in EnOS"),
}
COURSES = [
    "answer at once",
    "after three polls",
    "unknown status first",
    "poll errors first",
    "refusals first",
    "keys rotated",
    "user moved",
    "connection made again",
]


def prepare(sim: EnosSimulator, status: str, course: str) -> None:
    progress: Any = "at_once" if course.endswith(("at once", "first")) else ("polls", 3)
    failing = FAILING if status == "FAIL" else None
    sim.add_flow(
        FLOW, name="flow", tasks={NODE: "extract", FAILING: "load"}, progress=progress, ends_as=status,
        failing_task=failing, logs={FAILING: "why it failed"},
    )  # fmt: skip
    if course == "unknown status first":
        sim.fault("unknown_status", on="flowInstances/get", times=2)
    if course == "poll errors first":
        sim.fault("http_502", on="flowInstances/get", times=6)
    if course == "refusals first":
        sim.fault("http_401", on="flowInstances/get", times=4)
        sim.fault("http_403", on="flowInstances/get", times=2)
    if course == "keys rotated":
        after_the_first_look(sim, lambda: rotate(sim))
    if course == "user moved":
        after_the_first_look(sim, lambda: move(sim))
    if course == "connection made again":
        after_the_first_look(sim, lambda: make_again(sim))


def after_the_first_look(sim: EnosSimulator, do: Callable[[], None]) -> None:
    """Do it while the first poll is answered, so that the next poll meets it."""
    todo = [do]

    def see(event: str, record: Any) -> None:
        if event == "received" and record.operation == "flowInstances/get" and todo:
            todo.pop()()

    sim.on_event(see)


def rotate(sim: EnosSimulator) -> None:
    """The key and the connection, in one step."""
    sim.secret_key = "rotated"
    sim.expire_tokens()
    os.environ["AIRFLOW_CONN_ENOS_DEFAULT"] = sim.connection_uri


def move(sim: EnosSimulator) -> None:
    """The user of the connection is another from now on; for the one before it is 62101."""
    sim.user_id = "another_user"
    threading.Timer(0.3, os.environ.__setitem__, ("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)).start()


def make_again(sim: EnosSimulator) -> None:
    """The connection is deleted, and made again a little later; meanwhile a proxy refuses what it says."""
    made = os.environ.pop("AIRFLOW_CONN_ENOS_DEFAULT")
    sim.fault("http_403", on="flowInstances/get", times=3)
    threading.Timer(0.3, os.environ.__setitem__, ("AIRFLOW_CONN_ENOS_DEFAULT", made)).start()


REFUSALS = ["http_401", "http_403", "62101", "connection"]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_that_stays_is_a_lost_poll_that_can_be_retried(
    refusal: str, monkeypatch: pytest.MonkeyPatch, short_pauses: None
) -> None:
    """Never ``AirflowFailException``: the instance runs on, and the retry takes it over."""
    for way, wait in REFUSED.items():
        with EnosSimulator(progress="manual") as sim:
            monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)
            sim.add_flow(FLOW, name="flow", tasks={NODE: "extract"}, progress="manual")
            if way.startswith("sensor"):
                sim.trigger(FLOW, NODE, TIME)
            after_the_first_look(sim, lambda: refuse(sim, monkeypatch, refusal))
            end = wait()
            assert end.error is errors.EnosPollLostError, (way, end.message)
            assert INSTANCE in end.message, way
            assert sim.count("flowInstances/cancel") == 0, way


def refuse(sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch, refusal: str) -> None:
    if refusal == "62101":
        sim.user_id = "another_user"
        return
    sim.fault("http_401" if refusal == "connection" else refusal, on="flowInstances/get", times=None)
    if refusal == "connection":
        monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", "enos://nobody@")


@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("status", STATUSES)
def test_every_way_to_wait_ends_the_same(
    status: str, course: str, monkeypatch: pytest.MonkeyPatch, short_pauses: None
) -> None:
    monkeypatch.setattr(connections, "_FRESH", 0.0)
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
    """While they grow, each line once, at whatever point one part of the wait hands over to the next.

    The end of the log of the node that failed comes once more, just above the line that says why.
    """
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
        lines = [line for line in log.lines if not line.startswith("node load failed: ")]
        ends = [number for number, line in enumerate(lines) if line.startswith("End of the log of node load ")]
        assert len(ends) == (status == "FAIL"), way
        grown, end = (lines[: ends[0]], lines[ends[0] + 1 :]) if ends else (lines, [])
        told, end = ([line for line in part if " line " in line] for part in (grown, end))
        assert told + [line for line in end if line not in told] == [*texts[NODE], *texts[FAILING]], way
        assert end == (texts[FAILING] if ends else []), way
        # The first look of a deferred sensor, in the worker, shows none: what had come by then comes with the second.
        if way != "sensor deferred":
            shown[way] = [line for line in grown if " line " in line or line.startswith("::group::")]
            assert sum(line.startswith("::group::Log of node extract") for line in shown[way]) > 2, f"{way}: at once"
    for way, lines in shown.items():
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


SENSOR_MODES: dict[str, Any] = {
    "poke": {"deferrable": False},
    "reschedule": {"deferrable": False, "mode": "reschedule"},
    "deferred": {"deferrable": True},
}


@pytest.mark.parametrize("mode", SENSOR_MODES)
@pytest.mark.parametrize("status", ["FAIL", "CANCEL", "SKIP", "SUCCESS"])
def test_silent_fail_is_for_looks_and_not_for_what_the_instance_came_to(
    mode: str, status: str, connection: EnosSimulator, short_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any failed poll it keeps waiting; the result of the instance is reported at once."""
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE", 0.01)
    prepare(connection, status, "answer at once")
    connection.trigger(FLOW, NODE, TIME)
    for fault in ("http_404", "http_503", "http_401", "data_null"):
        connection.fault(fault, on="flowInstances/get", times=4)
    log = Log()
    arguments = {**SENSOR_MODES[mode], "silent_fail": True, "poll_error_tolerance": 0, "poke_interval": 0.01}
    logged = type("Logged", (EnosFlowInstanceSensor,), {"log": log})
    end = executed(lambda: logged(task_id="task", flow_instance_id=INSTANCE, **arguments))
    error, message = STATUSES[status]
    assert end.error is error
    assert message in end.message
    assert any("Cannot ask EnOS" in line and "404" in line for line in log.lines)


@pytest.mark.parametrize("mode", SENSOR_MODES)
@pytest.mark.parametrize("argument", ["soft_fail", "never_fail"])
def test_why_a_sensor_is_skipped_is_logged(
    mode: str, argument: str, connection: EnosSimulator, monkeypatch: pytest.MonkeyPatch, short_pauses: None
) -> None:
    connection.trigger(3377, 108580, TIME)
    connection.fault("http_502", on="flowInstances/get", times=None)
    log = Log()
    logged = type("Logged", (EnosFlowInstanceSensor,), {"log": log})
    arguments = {**SENSOR_MODES[mode], "poll_error_tolerance": 0.1, "poke_interval": 0.01, argument: True}
    end = executed(lambda: logged(task_id="task", flow_instance_id=f"3377-{INSTANCE[5:]}", **arguments))
    assert end.error is AirflowSkipException
    (line,) = [line for line in log.lines if line.startswith("Skipped")]
    assert f"since {argument} is set: " in line
    assert "could not be asked" in line


@pytest.mark.parametrize("cancel", [True, False])
def test_an_execution_timeout_holds_while_deferred(
    cancel: bool, connection: EnosSimulator, monkeypatch: pytest.MonkeyPatch, short_pauses: None
) -> None:
    """It ends as it would in a worker, where Airflow raises this error and calls ``on_kill``."""
    monkeypatch.setattr(deferral, "ends_deferred_tasks_in_time", lambda: False)
    connection.add_flow(FLOW, name="flow", tasks={NODE: "extract"}, progress="manual")
    end = waited(operator(deferrable=True, cancel_on_kill=cancel, cancel_on_timeout=not cancel, **SHORTLY))
    assert end.error is AirflowTaskTimeout
    assert f"execution_timeout: flow instance {INSTANCE} had not ended in the time given to it" in end.message
    assert connection.count("flowInstances/cancel") == int(cancel)
    assert end.xcom == INSTANCE


SHORTLY: dict[str, Any] = {"execution_timeout": timedelta(seconds=0.3)}


def test_the_shorter_one_of_timeout_and_execution_timeout_tells(
    connection: EnosSimulator, monkeypatch: pytest.MonkeyPatch, short_pauses: None
) -> None:
    monkeypatch.setattr(deferral, "ends_deferred_tasks_in_time", lambda: False)
    connection.add_flow(FLOW, name="flow", tasks={NODE: "extract"}, progress="manual")
    connection.trigger(FLOW, NODE, TIME)
    for way in ({"deferrable": True}, {"start_from_trigger": True}):
        wait = waited if "deferrable" in way else lambda made: started_from_trigger(made, "")
        assert wait(sensor(timeout=60, **way, **SHORTLY)).error is AirflowTaskTimeout, way
        assert wait(sensor(timeout=0.3, execution_timeout=timedelta(hours=1), **way)).error is AirflowSensorTimeout, way
    assert connection.count("flowInstances/cancel") == 0, "a sensor cancels nothing"


@pytest.mark.parametrize("status", STATUSES)
def test_what_has_ended_is_not_deferred(connection: EnosSimulator, short_pauses: None, status: str) -> None:
    prepare(connection, status, "answer at once")
    connection.trigger(FLOW, NODE, TIME)
    ti = TaskInstance()
    error, message = STATUSES[status]
    if error is None:
        assert sensor(deferrable=True)().execute({"ti": ti}) == INSTANCE
    else:
        with pytest.raises(error, match=re.escape(message)):
            sensor(deferrable=True)().execute({"ti": ti})
    assert connection.count("flowInstances/get") == 1


def test_a_look_that_fails_is_no_reason_not_to_defer(connection: EnosSimulator, short_pauses: None) -> None:
    connection.add_flow(FLOW, name="flow", tasks={NODE: "extract"}, progress="manual")
    connection.trigger(FLOW, NODE, TIME)
    for fault in ("http_503", "http_401", "http_403", "dropped"):
        connection.fault(fault, on="flowInstances/get", times=4)
        with pytest.raises(TaskDeferred) as deferral:
            sensor(deferrable=True)().execute({"ti": TaskInstance()})
        assert deferral.value.trigger.known is False
        connection.clear_faults()
