from __future__ import annotations

import asyncio
import inspect
import json
import os
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import XCom
from airflow.triggers.base import BaseTrigger
from worker import Log

from airflow_provider_enos import errors
from airflow_provider_enos.links.enos import LINK_KEY
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers import enos
from airflow_provider_enos.triggers.enos import EnosFlowInstanceTrigger, EnosFlowTrigger
from airflow_provider_enos.utils import connections
from airflow_provider_enos.utils.trigger_events import InstanceEvent, WindowEvent

INSTANCE = "3377-20200706062600"
TIME = 1594016819108

MakeTrigger = Callable[..., EnosFlowInstanceTrigger]


@pytest.fixture
def trigger(connection: EnosSimulator) -> MakeTrigger:
    def make(flow_instance_id: str = INSTANCE, **arguments: Any) -> EnosFlowInstanceTrigger:
        if not connection.instances:
            connection.trigger(3377, 108580, TIME)
        defaults = {"enos_conn_id": "enos_default", "poll_interval": 0.02, "deadline": time.time() + 10}
        return EnosFlowInstanceTrigger(flow_instance_id, **{**defaults, **arguments})

    return make


def events(trigger: Any) -> list[Any]:
    async def main() -> list[Any]:
        async with asyncio.timeout(60):
            return [event.payload async for event in trigger.run()]

    return asyncio.run(main())


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
        "org_id": "o",
        "user_id": "u",
    }
    path, arguments = first.serialize()
    assert path == f"{enos.__name__}.EnosFlowInstanceTrigger"
    assert arguments == expected
    assert EnosFlowInstanceTrigger(**json.loads(json.dumps(arguments))).serialize() == first.serialize()


def test_one_event_when_the_instance_has_ended(trigger: MakeTrigger) -> None:
    assert events(trigger()) == [{"flow_instance_id": INSTANCE, "status": "ended", "error": None}]


def error_of(payloads: list[Any]) -> errors.EnosError:
    (payload,) = json.loads(json.dumps(payloads))
    event = InstanceEvent.of(payload)
    assert event.error is not None
    return event.error


def test_the_deadline_is_a_moment_and_not_a_duration(trigger: MakeTrigger, sim: EnosSimulator) -> None:
    """A trigger that is started again by another triggerer ends when it would have ended."""
    sim.progress = "manual"
    begun = time.monotonic()
    error = error_of(events(trigger(deadline=time.time() - 1)))
    assert isinstance(error, errors.EnosFlowTimeoutError)
    assert time.monotonic() - begun < 30
    assert sim.count("flowInstances/cancel") == 0


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


def test_a_connection_that_cannot_work_is_an_event_too(trigger: MakeTrigger) -> None:
    error = error_of(events(trigger(org_id="a\nb")))
    assert isinstance(error, errors.EnosConfigError)
    assert str(error).startswith("org_id: ")


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

    monkeypatch.setattr(enos, "is_still_deferred", still_deferred)
    monkeypatch.delattr(BaseTrigger, "on_kill", raising=False)
    asyncio.run(cancelled(trigger()))
    assert sim.instances[0].status == status or (deferred and sim.instances[0].status == "READY")


@pytest.mark.skipif(not hasattr(BaseTrigger, "on_kill"), reason="Airflow before 3.3")
def test_a_triggerer_that_stops_cancels_nothing(trigger: MakeTrigger, sim: EnosSimulator) -> None:
    """From 3.3 on only on_kill cancels; the cancellation of the coroutine is that of a restart, too."""
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


@pytest.mark.parametrize("deferred", [True, False])
def test_a_task_is_not_resumed_as_soon_as_it_is_deferred(
    trigger: MakeTrigger, sim: EnosSimulator, override_timing: Callable[..., None], deferred: bool
) -> None:
    """Airflow 3.3 would take the end of the process that deferred it for the end of the one that goes on."""
    override_timing(handover=0.4 if deferred else 3600.0)
    sim.progress = "at_once"
    arguments = {} if deferred else {"deadline": None, "timeout": 60}
    begun = time.monotonic()
    assert len(events(trigger(**arguments))) == 1
    took = time.monotonic() - begun
    assert took >= 0.4 if deferred else took < 60


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reading of the connection is new."""
    monkeypatch.setattr(connections, "_FRESH", 0.0)


def test_a_connection_that_cannot_be_read_for_a_while_is_waited_for(
    trigger: MakeTrigger, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    """As when the API server restarts together with the triggerer."""
    read, failures = connections.async_settings, [OSError("the API server is away")] * 3

    async def flaky(*arguments: Any, **more: Any) -> Any:
        if failures:
            raise failures.pop()
        return await read(*arguments, **more)

    monkeypatch.setattr(connections, "async_settings", flaky)
    assert events(trigger()) == [{"flow_instance_id": INSTANCE, "status": "ended", "error": None}]
    failures[:] = [OSError("away")] * 99
    error = error_of(events(trigger(poll_error_tolerance=0.1)))
    assert isinstance(error, errors.EnosPollLostError)
    assert "Airflow cannot read the connection 'enos_default': away" in str(error)


def rotate(sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key and connection, in one step."""
    sim.secret_key = "rotated"
    sim.expire_tokens()
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)


def delete_and_make_again(sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = os.environ["AIRFLOW_CONN_ENOS_DEFAULT"]
    monkeypatch.delenv("AIRFLOW_CONN_ENOS_DEFAULT")
    sim.fault("http_403", times=6)
    threading.Timer(0.3, os.environ.__setitem__, ("AIRFLOW_CONN_ENOS_DEFAULT", uri)).start()


def break_and_mend(sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = os.environ["AIRFLOW_CONN_ENOS_DEFAULT"]
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", "enos://nobody@")
    sim.fault("http_401", times=6)
    threading.Timer(0.3, os.environ.__setitem__, ("AIRFLOW_CONN_ENOS_DEFAULT", uri)).start()


def refuse_for_a_while(kind: str) -> Callable[..., None]:
    def refuse(sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
        sim.fault(kind, times=None)
        threading.Timer(0.3, sim.clear_faults).start()

    return refuse


CHANGES = {
    "rotated": rotate,
    "deleted": delete_and_make_again,
    "broken": break_and_mend,
    "401": refuse_for_a_while("http_401"),
    "403": refuse_for_a_while("http_403"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["instance", "window"])
def test_a_refusal_ends_no_wait(
    sim: EnosSimulator, trigger: MakeTrigger, monkeypatch: pytest.MonkeyPatch, at_once: None, kind: str, change: str
) -> None:
    """Three waits: they go on with the connection as it is then."""
    sim.progress = "manual"
    log = Log()
    one = sim.trigger(3377, None, TIME, type=1)
    arguments = {"enos_conn_id": "enos_default", "poll_interval": 0.05, "deadline": time.time() + 30}
    for cls in (EnosFlowInstanceTrigger, EnosFlowTrigger):
        monkeypatch.setattr(cls, "log", log)

    def made() -> Any:
        if kind == "instance":
            return EnosFlowInstanceTrigger(one.id, **arguments)
        return EnosFlowTrigger(3377, TIME - 60_000, TIME, scheduled_only=False, **arguments)

    async def main() -> list[Any]:
        waits = [asyncio.create_task(anext(made().run())) for _ in range(3)]
        await asyncio.sleep(0.2)
        CHANGES[change](sim, monkeypatch)
        while len([line for line in log.lines if "Cannot ask EnOS" in line]) < 3:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        assert not any(wait.done() for wait in waits)
        sim.finish(one.id, "SUCCESS")
        return [event.payload for event in await asyncio.wait_for(asyncio.gather(*waits), 20)]

    assert [event["status"] for event in asyncio.run(main())] == ["ended"] * 3
    assert sum("EnOS answers again" in line for line in log.lines) == 3
    assert "rotated" not in str(log.lines)


@pytest.mark.parametrize("change", ["http_401", "http_403"])
def test_a_refusal_that_stays_is_a_lost_poll(trigger: MakeTrigger, sim: EnosSimulator, change: str) -> None:
    sim.fault(change, times=None)
    error = error_of(events(trigger(poll_error_tolerance=0.2)))
    assert isinstance(error, errors.EnosPollLostError)
    assert not error.final


def test_a_refusal_lasts_no_longer_than_the_deadline(trigger: MakeTrigger, sim: EnosSimulator) -> None:
    sim.fault("http_401", times=None)
    for deadline in ({"deadline": time.time() + 0.3}, {"deadline": None, "timeout": 0.3}):
        assert isinstance(error_of(events(trigger(poll_interval=20, **deadline))), errors.EnosFlowTimeoutError)


def test_one_with_silent_fail_goes_on_to_its_deadline(trigger: MakeTrigger, sim: EnosSimulator) -> None:
    """Whatever comes, and however long."""
    sim.fault("http_404", on="flowInstances/get", times=5)
    one = trigger(silent_fail=True, poll_error_tolerance=0)
    assert events(one) == [{"flow_instance_id": INSTANCE, "status": "ended", "error": None}]


def test_an_argument_that_cannot_work_is_not_waited_for(trigger: MakeTrigger, sim: EnosSimulator) -> None:
    """No connection mends it."""
    error = error_of(events(trigger(org_id="None", silent_fail=True)))
    assert isinstance(error, errors.EnosConfigError)
    assert sim.requests == []


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


def test_a_thousand_refused_at_once_do_not_read_the_connection_a_thousand_times(
    sim: EnosSimulator, trigger: MakeTrigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_FRESH", 1.0)
    read, readings = connections.async_settings, []

    async def counted(*arguments: Any, **more: Any) -> Any:
        readings.append(time.monotonic())
        return await read(*arguments, **more)

    monkeypatch.setattr(connections, "async_settings", counted)
    monkeypatch.setattr(EnosFlowInstanceTrigger, "log", Log())
    sim.fault("http_401", times=None)

    async def main() -> None:
        many = [trigger(poll_interval=0.2, poll_error_tolerance=60) for _ in range(200)]
        waits = [asyncio.create_task(anext(one.run())) for one in many]
        await asyncio.sleep(3)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    asyncio.run(main())
    assert 1 < len(readings) < 10


@pytest.fixture
def pushed_xcoms(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is pushed to XCom by others than a task instance, in place of its way to Airflow's API server."""
    pushed: list[dict[str, Any]] = []
    monkeypatch.setattr(XCom, "set", lambda **xcom: pushed.append(xcom))
    return pushed


def ended_in_triggerer(one: Any) -> Any:
    """The event of a trigger that may end its task."""
    one.task_instance = SimpleNamespace(dag_id="dag", task_id="task", run_id="run", map_index=-1, start_date=None)
    return asyncio.run(anext(one.run()))


@pytest.mark.skipif(not hasattr(BaseTrigger, "on_kill"), reason="tasks start in the triggerer from Airflow 3.3 on")
@pytest.mark.parametrize(
    ("flow_id", "node", "expected"), [(3377, 108580, "TaskSuccessEvent"), (4003, 40031, "TaskSkippedEvent")]
)
@pytest.mark.parametrize("do_xcom_push", [True, False])
def test_a_task_that_started_in_the_triggerer_ends_there(
    trigger: MakeTrigger,
    sim: EnosSimulator,
    pushed_xcoms: list[dict[str, Any]],
    flow_id: int,
    node: int,
    expected: str,
    do_xcom_push: bool,
) -> None:
    one = sim.trigger(flow_id, node, TIME)
    event = ended_in_triggerer(trigger(one.id, deadline=None, timeout=10, ends_task=True, do_xcom_push=do_xcom_push))
    assert type(event).__name__ == expected
    task = {"dag_id": "dag", "task_id": "task", "run_id": "run", "map_index": -1}
    pushes = expected == "TaskSuccessEvent" and do_xcom_push
    assert pushed_xcoms == ([{"key": "return_value", "value": one.id, **task}] if pushes else [])
    # Airflow 3.3 would encode it once more.
    assert not event.xcoms


def test_a_worker_ends_the_task_if_the_triggerer_cannot_store_what_it_returns(
    trigger: MakeTrigger, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise RuntimeError("the API server is away")

    monkeypatch.setattr(XCom, "set", refuse)
    one = sim.trigger(3377, 108580, TIME)
    event = ended_in_triggerer(trigger(one.id, deadline=None, timeout=10, ends_task=True))
    assert InstanceEvent.of(event.payload) == InstanceEvent(one.id)


@pytest.mark.parametrize("flow_instance_id", ["4001-20200706062600", "None", "{{ never rendered }}"])
def test_what_went_wrong_is_told_by_the_task_itself(
    trigger: MakeTrigger, sim: EnosSimulator, flow_instance_id: str
) -> None:
    """It has the retries, the callbacks and the log; so it is resumed."""
    sim.trigger(4001, 40011, TIME)
    one = trigger("{{ id }}", deadline=None, timeout=10, ends_task=True)
    # As Airflow renders it.
    one.flow_instance_id = flow_instance_id
    (payload,) = events(one)
    event = InstanceEvent.of(json.loads(json.dumps(payload)))
    assert isinstance(event.error, errors.EnosConfigError) or event.flow_instance_id == "4001-20200706062600"
    assert (event.error is None) is (flow_instance_id[0] == "4")


def test_a_timeout_counts_from_the_start_of_the_task(trigger: MakeTrigger, sim: EnosSimulator) -> None:
    sim.progress = "manual"
    one = trigger(deadline=None, timeout=60)
    one.task_instance = SimpleNamespace(task_id="task", start_date=datetime.now(UTC) - timedelta(seconds=120))
    assert isinstance(error_of(events(one)), errors.EnosFlowTimeoutError)


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


# Windows

WINDOW_END = 1594080000000
START = "2020-07-06T00:00+00:00"
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
        "do_xcom_push": True,
        "org_id": "o",
        "user_id": "u",
    }
    path, arguments = first.serialize()
    assert path == f"{enos.__name__}.EnosFlowTrigger"
    assert arguments == expected
    assert EnosFlowTrigger(**json.loads(json.dumps(arguments))).serialize() == first.serialize()


REFUSED: dict[str, Sequence[Any]] = {
    "flow_instance_id": ["", "None", 3377, None],
    "flow_id": ["meter_readings", None, True, 3377.0],
    "window_start": [None, "2024-03-03", 1594016819, "202403030000", "now"],
    "window_end": ["", 1594016819.5],
    "window_shift": [3, "60", None],
    "enos_conn_id": ["", None, 123],
    "poll_interval": [-1, "30", None],
    "poll_error_tolerance": [-1, "30", None],
    **dict.fromkeys(
        ("cancel_on_kill", "known", "ends_task", "do_xcom_push", "show_logs", "push_link", "scheduled_only"),
        ("false", 0, None),
    ),
    "check_existence": ["yes", 1],
    "allowed_statuses": ["DONE", ()],
    "types": [3, 1.0],
}


@pytest.mark.parametrize("cls", [EnosFlowInstanceTrigger, EnosFlowTrigger])
def test_arguments_that_cannot_work_are_refused_by_the_constructor(cls: type[Any]) -> None:
    least = {"enos_conn_id": "enos_default", "poll_interval": 1.0, "deadline": None}
    if cls is EnosFlowTrigger:
        least |= {"flow_id": 3377, "window_start": START, "window_end": "{{ data_interval_end }}"}
    else:
        least |= {"flow_instance_id": INSTANCE}
    names = REFUSED.keys() & inspect.signature(cls).parameters
    assert len(names) > 8
    for name in names:
        for value in REFUSED[name]:
            with pytest.raises(errors.EnosConfigError, match=f"^{name}: .*; expected "):
                cls(**{**least, name: value})


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
    assert payload == {"window": [WINDOW.first, WINDOW.end], "status": "ended", "error": None}
    assert WindowEvent.of(json.loads(json.dumps(payload))) == WindowEvent(WINDOW)


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
