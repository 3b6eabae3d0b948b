"""The triggers that wait for an instance, or for the instances in a window."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import XCom
from airflow.triggers.base import BaseTrigger
from instance_triggers import (
    INSTANCE,
    START,
    TIME,
    WINDOW_END,
    MakeTrigger,
    ended_in_triggerer,
    error_of,
    events,
    rotate,
)
from worker import Log

from airflow_provider_enos import errors
from airflow_provider_enos.links.enos import LINK_KEY
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers import base, enos
from airflow_provider_enos.triggers.enos import EnosFlowInstanceTrigger, EnosFlowTrigger
from airflow_provider_enos.utils.trigger_events import InstanceEvent, WindowEvent


def test_what_is_stored_of_it() -> None:
    """Scalars, nothing secret; and the same trigger can be made of it again, after JSON."""
    first = EnosFlowInstanceTrigger(
        INSTANCE,
        enos_conn_id="other",
        poll_interval=12.5,
        deadline=1700000000.5,
        poll_error_tolerance=60,
        cancel_on_kill=False,
        org_id="o",
        user_id="u",
    )
    expected = {
        "flow_instance_id": INSTANCE,
        "enos_conn_id": "other",
        "poll_interval": 12.5,
        "deadline": 1700000000.5,
        "poll_error_tolerance": 60,
        "cancel_on_kill": False,
        "timeout": None,
        "known": False,
        "ends_task": False,
        "do_xcom_push": True,
        "show_logs": False,
        "push_link": False,
        "silent_fail": False,
        "told": None,
        "org_id": "o",
        "user_id": "u",
    }
    path, arguments = first.serialize()
    assert path == f"{enos.__name__}.EnosFlowInstanceTrigger"
    assert arguments == expected
    assert EnosFlowInstanceTrigger(**json.loads(json.dumps(arguments))).serialize() == first.serialize()


def test_one_event_when_the_instance_has_ended(trigger: MakeTrigger) -> None:
    (payload,) = events(trigger())
    assert payload.items() >= {"flow_instance_id": INSTANCE, "status": "ended", "error": None}.items()


def test_an_instance_that_is_known_may_be_missing_for_a_while(trigger: MakeTrigger, sim: EnosSimulator) -> None:
    sim.fault("http_404", on="flowInstances/get", times=3)
    assert InstanceEvent.of(events(trigger(known=True))[0]).error is None
    sim.fault("http_404", on="flowInstances/get", times=1)
    assert isinstance(error_of(events(trigger())), errors.EnosRequestError)


def test_what_ends_the_wait_otherwise(trigger: MakeTrigger, sim: EnosSimulator) -> None:
    assert isinstance(error_of(events(trigger("3377-1"))), errors.EnosNotFoundError)
    sim.fault("http_502", on="flowInstances/get", times=None)
    lost = error_of(events(trigger(poll_error_tolerance=0)))
    assert isinstance(lost, errors.EnosPollLostError)
    assert lost.flow_instance_id == INSTANCE
    sim.clear_faults()
    sim.secret_key = "another"
    sim.expire_tokens()
    lost = error_of(events(trigger(poll_error_tolerance=0.2)))
    assert isinstance(lost, errors.EnosPollLostError)
    assert "1003" in str(lost)


def test_a_kill_cancels_the_instance(trigger: MakeTrigger, sim: EnosSimulator) -> None:
    sim.progress = "manual"
    one = trigger()

    async def main() -> None:
        wait = asyncio.create_task(anext(one.run()))
        await asyncio.sleep(0.2)
        await one.on_kill()
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)

    asyncio.run(main())
    assert sim.instances[0].status == "CANCEL"


def test_a_kill_leaves_the_instance_alone_if_told_so(trigger: MakeTrigger, sim: EnosSimulator) -> None:
    sim.progress = "manual"
    asyncio.run(trigger(cancel_on_kill=False).on_kill())
    assert sim.count("flowInstances/cancel") == 0


def test_a_cancel_that_fails_is_no_error(trigger: MakeTrigger, sim: EnosSimulator) -> None:
    sim.fault("http_403", on="flowInstances/cancel", times=None)
    asyncio.run(trigger().on_kill())
    assert sim.count("flowInstances/cancel") == 1


def cancelled(one: EnosFlowInstanceTrigger) -> Coroutine[Any, Any, None]:
    async def main() -> None:
        wait = asyncio.create_task(anext(one.run()))
        await asyncio.sleep(0.2)
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait

    return main()


@pytest.mark.parametrize(("deferred", "status"), [(True, "RUNNING"), (False, "CANCEL")])
def test_before_airflow_3_3_the_state_of_the_task_tells_a_kill_from_a_restart(
    trigger: MakeTrigger, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch, deferred: bool, status: str
) -> None:
    sim.progress = "manual"

    async def still_deferred(*_: object) -> bool:
        return deferred

    monkeypatch.setattr(base, "is_still_deferred", still_deferred)
    monkeypatch.delattr(BaseTrigger, "on_kill", raising=False)
    asyncio.run(cancelled(trigger()))
    assert sim.instances[0].status == status or (deferred and sim.instances[0].status == "READY")


@pytest.mark.skipif(not hasattr(BaseTrigger, "on_kill"), reason="Airflow before 3.3")
def test_a_triggerer_that_stops_cancels_nothing(trigger: MakeTrigger, sim: EnosSimulator) -> None:
    """From 3.3 on only on_kill cancels: the coroutine is also cancelled at a restart."""
    sim.progress = "manual"
    one = trigger()
    asyncio.run(cancelled(one))
    asyncio.run(one.cleanup())
    assert sim.count("flowInstances/cancel") == 0


@pytest.mark.parametrize(
    "payload",
    [
        None,
        "ended",
        [],
        {},
        {"status": "ended"},
        {"flow_instance_id": INSTANCE},
        {"flow_instance_id": "", "status": "ended", "error": None},
        {"flow_instance_id": 3377, "status": "ended", "error": None},
        {"flow_instance_id": INSTANCE, "status": "success", "error": None},
        {"flow_instance_id": INSTANCE, "status": "error", "error": None},
        {"flow_instance_id": INSTANCE, "status": "error", "error": {"class": "SystemExit", "message": ""}},
        {"flow_instance_id": INSTANCE, "status": "error", "error": {"class": "EnosError"}},
        {"flow_instance_id": INSTANCE, "status": "ended", "error": {"class": "EnosError", "message": "x"}},
    ],
    ids=str,
)
def test_an_event_that_it_does_not_send_is_refused(payload: Any) -> None:
    with pytest.raises(errors.EnosEventError):
        InstanceEvent.of(payload)


def test_a_kill_cancels_with_the_connection_as_it_is_then(
    trigger: MakeTrigger, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    sim.progress = "manual"
    one = trigger(poll_interval=30)

    async def main() -> None:
        wait = asyncio.create_task(anext(one.run()))
        await asyncio.sleep(0.2)
        rotate(sim, monkeypatch)
        await one.on_kill()
        assert sim.instances[0].cancelled
        monkeypatch.delenv("AIRFLOW_CONN_ENOS_DEFAULT")
        await one.on_kill()
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)

    asyncio.run(main())
    assert sim.count("flowInstances/cancel") == 2, "without a connection, with what it said last"


@pytest.fixture
def console(sim: EnosSimulator, trigger: MakeTrigger, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the instance in the console, to which the connection leads."""
    address = quote("https://console.example/{flow_instance_id}", safe="")
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", f"{sim.connection_uri}&console_url={address}")
    return f"https://console.example/{INSTANCE}"


def pushed_by(one: EnosFlowInstanceTrigger, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    pushed: dict[str, Any] = {}
    monkeypatch.setattr(XCom, "set", lambda key, value, **_: pushed.update({key: value}))
    one.task_instance = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1)
    assert InstanceEvent.of(events(one)[0]).error is None
    return pushed


def test_it_stores_the_link_where_no_worker_has(
    trigger: MakeTrigger, console: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pushed_by(trigger(push_link=True), monkeypatch) == {LINK_KEY: console}
    assert pushed_by(trigger(push_link=False), monkeypatch) == {}


def test_without_a_console_there_is_no_link(trigger: MakeTrigger, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pushed_by(trigger(push_link=True), monkeypatch) == {}


def test_a_link_that_cannot_be_stored_ends_no_wait(
    trigger: MakeTrigger, console: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    monkeypatch.setattr(EnosFlowInstanceTrigger, "log", log)

    def broken(**_: object) -> None:
        raise RuntimeError("no database today")

    monkeypatch.setattr(XCom, "set", broken)
    one = trigger(push_link=True)
    one.task_instance = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1)
    assert InstanceEvent.of(events(one)[0]).error is None
    assert "Cannot store the link to the instance: no database today" in log.lines


@pytest.fixture
def shown(sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> Log:
    """What a trigger logs, of an instance of flow 7001 whose one node writes eight lines."""
    log = Log()
    monkeypatch.setattr(EnosFlowInstanceTrigger, "log", log)
    sim.log_grows = True
    lines = "\n".join(f"line {number}" for number in range(8))
    sim.add_flow(7001, tasks={70011: "a"}, progress=("polls", 8), logs={70011: lines})
    sim.trigger(7001, None, TIME)
    return log


def lines_of(log: Log) -> list[str]:
    return [line for line in log.lines if line.startswith("line ")]


def test_logs_are_shown_as_they_grow_and_how_far_goes_with_the_event(trigger: MakeTrigger, shown: Log) -> None:
    (payload,) = events(trigger(f"7001-{INSTANCE[5:]}", show_logs=True))
    assert lines_of(shown) == [f"line {number}" for number in range(7)], "the last one comes with the end"
    event = InstanceEvent.of(json.loads(json.dumps(payload)))
    assert event.logs is not None
    assert list(event.logs) == [f"70011-{INSTANCE[5:]}"]
    assert "line" not in json.dumps(payload)


def test_logs_cost_nothing_where_nobody_wants_them(trigger: MakeTrigger, shown: Log, sim: EnosSimulator) -> None:
    (payload,) = events(trigger(f"7001-{INSTANCE[5:]}"))
    assert sim.count("taskInstances/getLog") == 0
    assert "logs" not in payload


def test_a_triggerer_that_takes_over_shows_a_log_from_its_beginning_once(
    trigger: MakeTrigger, shown: Log, sim: EnosSimulator
) -> None:
    """It cannot know what the one before it has shown."""

    def waiting() -> EnosFlowInstanceTrigger:
        return trigger(f"7001-{INSTANCE[5:]}", show_logs=True, poll_interval=0.05)

    async def until_stopped() -> None:
        wait = asyncio.ensure_future(anext(waiting().run()))
        while len(lines_of(shown)) < 3:
            await asyncio.sleep(0.01)
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)

    asyncio.run(until_stopped())
    before = len(lines_of(shown))
    events(waiting())
    assert lines_of(shown)[before:] == [f"line {number}" for number in range(7)]


@pytest.mark.parametrize("fault", ["http_502", "http_429", "not_json", "http_404"])
def test_a_log_that_cannot_be_read_ends_no_wait(
    trigger: MakeTrigger, shown: Log, sim: EnosSimulator, fault: str
) -> None:
    sim.fault(fault, on="taskInstances/getLog", times=None)
    event = InstanceEvent.of(events(trigger(f"7001-{INSTANCE[5:]}", show_logs=True, poll_error_tolerance=60))[0])
    assert event.error is None
    assert sum("Cannot read the log of node a" in line for line in shown.lines) == 1


WINDOW = Window.between(WINDOW_END - 86_400_000, WINDOW_END)


def window_trigger(**arguments: Any) -> EnosFlowTrigger:
    start, end = WINDOW.bounds
    defaults = {"enos_conn_id": "enos_default", "poll_interval": 0.02, "deadline": time.time() + 10}
    return EnosFlowTrigger(3377, start, end, **{**defaults, **arguments})


def test_what_is_stored_of_a_wait_for_a_window() -> None:
    first = EnosFlowTrigger(
        3377, START, "{{ end }}", enos_conn_id="other", poll_interval=12.5, deadline=1700000000.5, window_shift=60,
        allowed_statuses=["SKIP"],
        skipped_statuses=(), instances="any", expected_instances=2, types=(0,), scheduled_only=False,
        check_existence=False, poll_error_tolerance=60, org_id="o", user_id="u",
    )  # fmt: skip
    expected = {
        "flow_id": 3377,
        "flow_name": None,
        "window_start": START,
        "window_end": "{{ end }}",
        "enos_conn_id": "other",
        "poll_interval": 12.5,
        "deadline": 1700000000.5,
        "window_shift": 60,
        "allowed_statuses": ["SKIP"],
        "failed_statuses": ["FAIL", "INTERNAL_ERROR", "TIMEOUT", "CANCEL"],
        "skipped_statuses": [],
        "instances": "any",
        "expected_instances": 2,
        "types": [0],
        "scheduled_only": False,
        "check_existence": False,
        "poll_error_tolerance": 60,
        "timeout": None,
        "ends_task": False,
        "known": False,
        "silent_fail": False,
        "told": None,
        "do_xcom_push": True,
        "org_id": "o",
        "user_id": "u",
    }
    path, arguments = first.serialize()
    assert path == f"{enos.__name__}.EnosFlowTrigger"
    assert arguments == expected
    assert EnosFlowTrigger(**json.loads(json.dumps(arguments))).serialize() == first.serialize()


def test_a_connection_that_a_template_did_not_find_resumes_the_task() -> None:
    one = window_trigger(enos_conn_id="{{ params.conn }}")
    # As Airflow renders it.
    one.enos_conn_id = "None"
    (payload,) = events(one)
    error = WindowEvent.of(json.loads(json.dumps(payload))).error
    assert isinstance(error, errors.EnosConfigError)
    assert str(error).startswith("enos_conn_id: 'None'; expected ")


@pytest.mark.parametrize("status", ["SUCCESS", "FAIL", "SKIP"])
def test_one_event_when_the_window_is_decided(connection: EnosSimulator, status: str) -> None:
    connection.finish(connection.trigger(3377, trigger_time=WINDOW_END, type=1).id, status)
    (payload,) = events(window_trigger())
    told = {"said": f"3377-2020070700 {status}"}
    expected = {"window": [WINDOW.first, WINDOW.end], "status": "ended", "error": None}
    assert payload == {**expected, "flow_id": 3377, "told": told}
    assert WindowEvent.of(json.loads(json.dumps(payload))) == WindowEvent(WINDOW, flow_id=3377, told=told)


def test_what_ends_a_wait_for_a_window_otherwise(connection: EnosSimulator) -> None:
    def error(**arguments: Any) -> Any:
        (payload,) = json.loads(json.dumps(events(window_trigger(**arguments))))
        return WindowEvent.of(payload).error

    assert isinstance(error(deadline=time.time() - 1), errors.EnosFlowTimeoutError)
    assert isinstance(error(window_shift=3_000_000_000), errors.EnosConfigError)
    assert isinstance(error(org_id="a\nb"), errors.EnosConfigError)
    connection.fault("http_502", on="flowInstances/search", times=None)
    assert isinstance(error(poll_error_tolerance=0), errors.EnosPollLostError)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"status": "ended"},
        {"status": "ended", "window": None, "error": None},
        {"status": "ended", "window": [2, 1], "error": None},
        {"status": "ended", "window": [1, "2"], "error": None},
        {"status": "ended", "window": [1, 2], "error": {"class": "EnosError", "message": "x"}},
        {"status": "success", "window": [1, 2], "error": None},
        {"status": "error", "window": [1, 2], "error": None},
        {"status": "error", "window": None, "error": {"class": "SystemExit", "message": ""}},
    ],
    ids=str,
)
def test_an_event_of_a_window_that_is_not_sent_is_refused(payload: Any) -> None:
    with pytest.raises(errors.EnosEventError):
        WindowEvent.of(payload)


@pytest.mark.skipif(not hasattr(BaseTrigger, "on_kill"), reason="tasks start in the triggerer from Airflow 3.3 on")
@pytest.mark.parametrize(("status", "expected"), [("SUCCESS", "TaskSuccessEvent"), ("SKIP", "TaskSkippedEvent")])
def test_a_wait_for_a_window_that_started_in_the_triggerer_ends_there(
    connection: EnosSimulator, pushed_xcoms: list[dict[str, Any]], status: str, expected: str
) -> None:
    one = connection.trigger(3377, trigger_time=WINDOW_END, type=1).id
    connection.finish(one, status)
    event = ended_in_triggerer(window_trigger(deadline=None, timeout=10, ends_task=True))
    assert type(event).__name__ == expected
    assert [xcom["value"] for xcom in pushed_xcoms] == ([[one]] if status == "SUCCESS" else [])
