"""What all waits in the triggerer have in common: refusals, deadlines, and the end of the task."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import os
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import XCom
from airflow.triggers.base import BaseTrigger
from instance_triggers import (
    INSTANCE,
    START,
    TIME,
    MakeTrigger,
    ended_in_triggerer,
    error_of,
    events,
    rotate,
)
from worker import Log

from airflow_provider_enos import errors
from airflow_provider_enos.client.polling import shared_poller
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers.enos import EnosFlowInstanceTrigger, EnosFlowTrigger
from airflow_provider_enos.utils import connections
from airflow_provider_enos.utils.trigger_events import InstanceEvent


def test_the_deadline_is_a_moment_and_not_a_duration(trigger: MakeTrigger, sim: EnosSimulator) -> None:
    """A trigger that is started again by another triggerer ends when it would have ended."""
    sim.progress = "manual"
    begun = time.monotonic()
    error = error_of(events(trigger(deadline=time.time() - 1)))
    assert isinstance(error, errors.EnosFlowTimeoutError)
    assert time.monotonic() - begun < 30
    assert sim.count("flowInstances/cancel") == 0


def test_a_connection_that_cannot_work_is_an_event_too(trigger: MakeTrigger) -> None:
    error = error_of(events(trigger(org_id="a\nb")))
    assert isinstance(error, errors.EnosConfigError)
    assert str(error).startswith("org_id: ")


@pytest.mark.parametrize("deferred", [True, False])
def test_a_task_is_not_resumed_as_soon_as_it_is_deferred(
    trigger: MakeTrigger, sim: EnosSimulator, override_timing: Callable[..., None], deferred: bool
) -> None:
    """Airflow 3.3 would confuse the end of the process that deferred it with the end of the resumed process."""
    override_timing(handover=0.4 if deferred else 3600.0)
    sim.progress = "at_once"
    arguments = {} if deferred else {"deadline": None, "timeout": 60}
    begun = time.monotonic()
    assert len(events(trigger(**arguments))) == 1
    took = time.monotonic() - begun
    assert took >= 0.4 if deferred else took < 60


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
    (payload,) = events(trigger())
    assert payload.items() >= {"flow_instance_id": INSTANCE, "status": "ended", "error": None}.items()
    failures[:] = [OSError("away")] * 99
    error = error_of(events(trigger(poll_error_tolerance=0.1)))
    assert isinstance(error, errors.EnosPollLostError)
    assert "Airflow cannot read the connection 'enos_default': away" in str(error)


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
    (payload,) = events(one)
    assert payload.items() >= {"flow_instance_id": INSTANCE, "status": "ended", "error": None}.items()


def test_an_argument_that_cannot_work_is_not_waited_for(trigger: MakeTrigger, sim: EnosSimulator) -> None:
    """No connection mends it."""
    error = error_of(events(trigger(org_id="None", silent_fail=True)))
    assert isinstance(error, errors.EnosConfigError)
    assert sim.requests == []


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
    resumed_by = InstanceEvent.of(event.payload)
    assert (resumed_by.flow_instance_id, resumed_by.error) == (one.id, None)


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


def test_a_wait_needs_little_memory(trigger: MakeTrigger, sim: EnosSimulator) -> None:
    """A triggerer has thousands of them: what all can share, such as a logger, is not made for each."""
    sim.progress = "manual"
    waits, waiting = 300, []

    async def begin(number: int) -> None:
        waiting.extend(asyncio.create_task(anext(trigger(poll_interval=60).run())) for _ in range(number))
        until = time.monotonic() + 60
        while sum(users for _, users in shared_poller._pollers.values()) < len(waiting):
            assert time.monotonic() < until
            await asyncio.sleep(0.05)

    async def main() -> float:
        await begin(20)
        gc.collect()
        tracemalloc.start()
        await begin(waits)
        gc.collect()
        needed = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return needed / waits

    needed = asyncio.run(main())
    assert needed < 5_500
