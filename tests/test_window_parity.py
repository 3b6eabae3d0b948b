"""Whatever waits for a window of trigger times: the task ends the same.

Every status, and instances of several statuses in one window: the same state of the task, the same class and text of
the error, the same XCom.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from ends import End, executed, rescheduled, started_from_trigger, waited
from worker import Log, TaskInstance

from airflow_provider_enos import errors
from airflow_provider_enos.client.polling import circuit_breaker
from airflow_provider_enos.sensors.enos import EnosFlowSensor
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.utils import connections

FLOW, NODE = 7001, 70011
HOUR = 3_600_000
END = 1594080000000
"""2020-07-07T00:00:00Z."""


def sensor(**arguments: Any) -> Callable[[], Any]:
    logged = type("Logged", (EnosFlowSensor,), {"log": Log()})
    defaults = {"window_start": END - 24 * HOUR, "window_end": END, "poke_interval": 0.01}
    return lambda: logged(task_id="task", flow_id=FLOW, **{**defaults, **arguments})


def ends(said_if_skipped: str = "", **arguments: Any) -> dict[str, End]:
    """By way to wait."""
    return {
        "poke": waited(sensor(deferrable=False, **arguments)),
        "reschedule": rescheduled(sensor(mode="reschedule", deferrable=False, **arguments)),
        "deferred": waited(sensor(deferrable=True, **arguments)),
        "from trigger": started_from_trigger(sensor(start_from_trigger=True, **arguments), said_if_skipped),
    }


def the_end(**arguments: Any) -> End:
    """The one end of all ways."""
    (end, *others) = ends(**arguments).values()
    assert others == [end] * 3
    return end


@pytest.fixture
def start(connection: EnosSimulator, short_pauses: None) -> Callable[..., str]:
    """Has EnOS's schedule make an instance, an hour after the one before it, that ends so."""
    connection.one_at_a_time = False
    connection.add_flow(FLOW, tasks={NODE: "load"}, progress="manual", cycle="H", logs={NODE: "why it failed"})
    made: list[str] = []

    def start(status: str) -> str:
        one = connection.trigger(FLOW, trigger_time=END - (10 - len(made)) * HOUR, type=1).id
        made.append(one)
        if status != "RUNNING":
            connection.finish(one, status)
        return one

    return start


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        ("SUCCESS", None, ""),
        ("FAIL", errors.EnosFlowFailedError, "node load failed: why it failed; .*instance {id} ended with status FAIL"),
        ("INTERNAL_ERROR", errors.EnosFlowFailedError, "instance {id} ended with status INTERNAL_ERROR"),
        ("TIMEOUT", errors.EnosFlowFailedError, "instance {id} ended with status TIMEOUT"),
        ("CANCEL", errors.EnosFlowCancelledError, "instance {id} ended with status CANCEL"),
        ("SKIP", AirflowSkipException, "^flow instance {id} was skipped in EnOS$"),
    ],
)
def test_every_status(start: Callable[[str], str], status: str, error: Any, said: str) -> None:
    one = start(status)
    end = the_end(said_if_skipped=f"flow instance {one} was skipped in EnOS")
    assert end.error is error
    assert end.xcom == ([one] if error is None else None)
    assert re.search(said.format(id=one), end.message)


SEVERAL = [
    ("SUCCESS SUCCESS", {}, [0, 1]),
    ("SUCCESS SUCCESS SUCCESS", {"expected_instances": 3}, [0, 1, 2]),
    ("SUCCESS FAIL RUNNING", {}, "FAIL"),
    ("SUCCESS SKIP CANCEL", {}, "CANCEL"),
    ("SUCCESS SKIP SUCCESS", {}, "SKIP"),
    ("FAIL SUCCESS RUNNING", {"instances": "any"}, [1]),
    ("FAIL SUCCESS SUCCESS", {"instances": "any", "expected_instances": 2}, [1, 2]),
    ("SKIP FAIL", {"instances": "any"}, "FAIL"),
    ("SKIP SKIP", {"instances": "any"}, "SKIP"),
    ("FAIL RUNNING SUCCESS", {"instances": "latest"}, [2]),
    ("SUCCESS TIMEOUT", {"instances": "latest"}, "TIMEOUT"),
    ("SUCCESS SKIP", {"instances": "latest", "expected_instances": 2}, "SKIP"),
    ("FAIL SUCCESS", {"failed_statuses": (), "allowed_statuses": ["SUCCESS", "FAIL"]}, [0, 1]),
    ("FAIL SUCCESS", {"failed_statuses": "CANCEL", "skipped_statuses": "FAIL"}, "FAIL skips"),
    ("RUNNING SUCCESS", {"allowed_statuses": ["SUCCESS", "RUNNING", "READY"]}, [0, 1]),
    ("SUCCESS", {"allowed_statuses": "SKIP", "skipped_statuses": (), "failed_statuses": "SUCCESS"}, "SUCCESS fails"),
]
SAID = {
    "FAIL skips": (AirflowSkipException, "^flow instance {id} has status FAIL, one of skipped_statuses$"),
    "SUCCESS fails": (errors.EnosFlowFailedError, "{id} has status SUCCESS, which is one of failed_statuses$"),
    "FAIL": (errors.EnosFlowFailedError, "{id} ended with status FAIL"),
    "TIMEOUT": (errors.EnosFlowFailedError, "{id} ended with status TIMEOUT"),
    "CANCEL": (errors.EnosFlowCancelledError, "{id} ended with status CANCEL"),
    "SKIP": (AirflowSkipException, "^flow instance {id} was skipped in EnOS$"),
}


@pytest.mark.parametrize(("statuses", "arguments", "expected"), SEVERAL, ids=lambda value: str(value))
def test_several_instances_in_the_window(
    start: Callable[[str], str], statuses: str, arguments: dict[str, Any], expected: Any
) -> None:
    ids = [start(status) for status in statuses.split()]
    if isinstance(expected, list):
        end = the_end(**arguments)
        assert end == End(None, "", [ids[index] for index in expected])
        return
    error, said = SAID[expected]
    decisive = ids[statuses.split().index(expected.split()[0])]
    skipped = said.strip("^$").format(id=decisive) if error is AirflowSkipException else ""
    end = the_end(said_if_skipped=skipped, **arguments)
    assert (end.error, end.xcom) == (error, None)
    assert re.search(said.format(id=decisive), end.message)


@pytest.mark.parametrize(
    "switches", [{"first_page": 0}, {"ids_as": "str"}, {"listed_type": 1}, {"graph_keys": "snake"}]
)
def test_what_the_documentation_leaves_open(
    start: Callable[[str], str], connection: EnosSimulator, switches: dict[str, Any]
) -> None:
    """And what was triggered through the API, or belongs to a flow that is named like this one, does not count."""
    for name, value in switches.items():
        setattr(connection, name, value)
    connection.add_flow(FLOW * 10, name=f"after {FLOW}", tasks={1: "load"}, ends_as="FAIL")
    connection.trigger(FLOW * 10, trigger_time=END, type=1)
    connection.finish(connection.trigger(FLOW, trigger_time=END - 60_000).id, "FAIL")
    one = start("SUCCESS")
    assert the_end() == End(None, "", [one])


@pytest.mark.parametrize("listed_type", [0, 1, 2])
def test_what_was_triggered_through_the_api_counts_if_wanted(
    start: Callable[[str], str], connection: EnosSimulator, listed_type: int
) -> None:
    connection.listed_type = listed_type
    triggered = connection.trigger(FLOW, trigger_time=END - 60_000).id
    connection.finish(triggered, "SUCCESS")
    scheduled = start("SUCCESS")
    assert the_end(scheduled_only=False, types=(0, 1, 2)).xcom == [scheduled, triggered]
    assert the_end(scheduled_only=False).xcom == [scheduled, *[triggered] * (listed_type == 1)]


def test_only_what_lies_in_the_window_counts(start: Callable[[str], str], connection: EnosSimulator) -> None:
    """After its start, up to and including its end."""
    connection.add_flow(FLOW, tasks={NODE: "load"}, progress="manual", cycle="mi")
    for outside in (END - 24 * HOUR, END + 60_000, END + HOUR):
        connection.finish(connection.trigger(FLOW, trigger_time=outside, type=1).id, "FAIL")
    last = connection.trigger(FLOW, trigger_time=END, type=1).id
    connection.finish(last, "SUCCESS")
    assert the_end() == End(None, "", [last])
    day_before = the_end(window_shift=86_400)
    assert day_before.error is errors.EnosFlowFailedError, "the end of that window is the start of this one"


def test_a_window_of_one_minute(start: Callable[[str], str], connection: EnosSimulator) -> None:
    """As the data intervals of Airflow 3's cron schedules are."""
    before = start("FAIL")
    last = connection.trigger(FLOW, trigger_time=END, type=1).id
    connection.finish(last, "SUCCESS")
    assert the_end(window_start="2020-07-07T00:00:00+00:00", window_end="2020-07-07T00:00:00Z").xcom == [last]
    assert before in the_end().message


def test_a_flow_that_does_not_exist_fails_for_good(connection: EnosSimulator, short_pauses: None) -> None:
    end = the_end()
    assert end.error is AirflowFailException
    assert end.message.startswith(f"flow_id: EnOS has no flow {FLOW} (Get Flow: 62102 ")


@pytest.mark.parametrize(
    "arguments",
    [{"flow_id": "None"}, {"window_start": "None"}, {"window_end": "soon"}, {"window_end": END - 72 * HOUR}],
)
def test_rendered_arguments_that_cannot_work(connection: EnosSimulator, arguments: dict[str, Any]) -> None:
    (name,) = arguments
    logged = type("Logged", (EnosFlowSensor,), {"log": Log()})
    defaults = {"flow_id": FLOW, "window_start": END - 24 * HOUR, "window_end": END}
    for way in ({"deferrable": False}, {"deferrable": True}, {"start_from_trigger": True}):

        def make(way: dict[str, Any] = way) -> Any:
            task = logged(task_id="task", **{**defaults, name: "{{ rendered }}", **way})
            task.rendered = arguments
            setattr(task, name, arguments[name])
            return task

        end = started_from_trigger(make, "") if way.get("start_from_trigger") else waited(make)
        assert end.error is AirflowFailException
        assert end.message.startswith(("window_start" if arguments == {"window_end": END - 72 * HOUR} else name) + ": ")
    assert connection.requests == []


COURSES = ["poll errors first", "unknown status first", "after some polls", "refusals first", "keys rotated"]


@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("status", ["SUCCESS", "FAIL", "SKIP"])
def test_every_course_of_events(monkeypatch: pytest.MonkeyPatch, short_pauses: None, course: str, status: str) -> None:
    monkeypatch.setattr(connections, "_FRESH", 0.0)
    found = []
    for way in ("poke", "reschedule", "deferred", "from trigger"):
        with EnosSimulator() as sim:
            monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)
            progress: Any = ("polls", 3) if course in ("after some polls", "keys rotated") else "at_once"
            sim.add_flow(FLOW, tasks={NODE: "load"}, progress=progress, ends_as=status, logs={NODE: "why"})
            one = sim.trigger(FLOW, trigger_time=END, type=1).id
            if course == "poll errors first":
                sim.fault("http_502", on="flowInstances/search", times=6)
            if course == "unknown status first":
                sim.fault("unknown_status", on="flowInstances/search", times=2)
            if course == "refusals first":
                sim.fault("http_401", on="flowInstances/search", times=4)
                sim.fault("http_403", on="flowInstances/search", times=2)
            if course == "keys rotated":
                sim.on_event(partial(rotate, sim, []))
            found.append(the_end_of(way, f"flow instance {one} was skipped in EnOS"))
    assert found == [found[0]] * 4
    assert found[0].error is {"SUCCESS": None, "FAIL": errors.EnosFlowFailedError, "SKIP": AirflowSkipException}[status]


def rotate(sim: EnosSimulator, rotated: list[bool], event: str, record: Any) -> None:
    """The key and the connection, in one step, after the first list."""
    if event == "replied" and record.operation == "flowInstances/search" and not rotated:
        rotated.append(True)
        sim.secret_key = "rotated"
        sim.expire_tokens()
        os.environ["AIRFLOW_CONN_ENOS_DEFAULT"] = sim.connection_uri


@pytest.mark.parametrize("refusal", ["http_401", "http_403", "62101"])
def test_a_refusal_that_stays_can_be_retried(
    start: Callable[[str], str], connection: EnosSimulator, refusal: str
) -> None:
    start("RUNNING")
    if refusal == "62101":
        connection.user_id = "another_user"
    else:
        connection.fault(refusal, times=None)
    for way, end in ends(poll_error_tolerance=0.2).items():
        assert end.error is errors.EnosPollLostError, way


@pytest.mark.parametrize("status", ["FAIL", "CANCEL", "SKIP"])
def test_silent_fail_is_for_looks_and_not_for_what_the_instances_came_to(
    start: Callable[[str], str], connection: EnosSimulator, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE", 0.01)
    one = start(status)
    error, said = SAID[status]
    for mode in ({}, {"mode": "reschedule"}, {"deferrable": True}):
        for fault in ("http_404", "http_503", "http_401"):
            connection.fault(fault, on="flowInstances/search", times=4)
        end = executed(sensor(silent_fail=True, poll_error_tolerance=0, **mode))
        assert end.error is error, mode
        assert re.search(said.format(id=one), end.message)
        connection.clear_faults()


@pytest.mark.parametrize("status", ["SUCCESS", "FAIL", "SKIP"])
def test_what_has_ended_is_not_deferred(start: Callable[[str], str], status: str) -> None:
    one = start(status)
    if status == "SUCCESS":
        assert sensor(deferrable=True)().execute({"ti": TaskInstance()}) == [one]
        return
    with pytest.raises(SAID[status][0]):
        sensor(deferrable=True)().execute({"ti": TaskInstance()})


def the_end_of(way: str, said_if_skipped: str) -> End:
    if way == "reschedule":
        return rescheduled(sensor(mode="reschedule", deferrable=False))
    if way == "from trigger":
        return started_from_trigger(sensor(start_from_trigger=True), said_if_skipped)
    return waited(sensor(deferrable=way == "deferred"))


@pytest.mark.parametrize("argument", ["soft_fail", "never_fail"])
def test_sensors_that_must_not_fail_are_skipped(start: Callable[[str], str], argument: str) -> None:
    start("FAIL")
    end = the_end(**{argument: True})
    assert end.error is AirflowSkipException
    assert "ended with status FAIL" in end.message


def test_what_runs_out_of_time(start: Callable[[str], str]) -> None:
    start("RUNNING")
    for deferrable in (False, True):
        assert waited(sensor(deferrable=deferrable, timeout=0.2)).error is AirflowSensorTimeout


def test_a_resumed_task_fails_on_an_event_that_it_does_not_know(connection: EnosSimulator) -> None:
    for event in (None, {"status": "success"}, {"flow_instance_id": "7001-1", "status": "ended", "error": None}):
        with pytest.raises(errors.EnosEventError):
            sensor()().execute_complete({"ti": TaskInstance()}, event)
