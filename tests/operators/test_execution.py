"""Tasks that are deferred or resumed, and instances that an earlier try has cancelled."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from tries import INSTANCE, TRIGGER_TIME, completed, started
from worker import StateStore

from airflow_provider_enos import errors
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.utils.trigger_events import InstanceEvent

FLOW = 5001

MakeTask = Callable[..., Any]


@pytest.mark.parametrize("deferrable", [False, True])
def test_what_an_earlier_try_had_cancelled_is_not_the_end_of_this_one(
    task: MakeTask, sim: EnosSimulator, store: Any, deferrable: bool
) -> None:
    """A user clears a running task: the next try finds the instance running, and only then EnOS cancels it."""
    sim.add_flow(FLOW, tasks=[1], progress="manual")
    sim.cancel_takes = 60
    one = task(store, flow_id=FLOW, from_task_id=1, timeout=0.2, deferrable=deferrable)
    with pytest.raises(errors.EnosFlowTimeoutError, match="it was asked to be cancelled"):
        completed(one, one.run)
    assert (sim.instances[0].status, sim.instances[0].cancelled) == ("RUNNING", True)
    sim.add_flow(FLOW, tasks=[1], progress="at_once")

    def carry_out(event: str, record: Any) -> None:
        if (event, record.operation) == ("replied", "flowInstances/get") and sim.instances[0].status == "RUNNING":
            sim.finish(sim.instances[0].id, "CANCEL")

    sim.on_event(carry_out)
    one.arguments["timeout"] = 60
    assert completed(one, one.retry) == f"{FLOW}-20200706062700"
    assert [instance.status for instance in sim.instances] == ["CANCEL", "SUCCESS"]
    assert f"{FLOW}-20200706062600 has been cancelled since it was taken over" in one.log.lines
    assert one.ti.xcom["return_value"] == f"{FLOW}-20200706062700"


@pytest.mark.parametrize("deferrable", [False, True])
def test_an_instance_of_its_own_that_is_cancelled_is_the_end(
    task: MakeTask, sim: EnosSimulator, store: Any, deferrable: bool
) -> None:
    sim.fault("internal_error", on="flows/triggerFromTask")
    one = task(store, flow_id=4002, from_task_id=40021, deferrable=deferrable)
    with pytest.raises(errors.EnosError):
        one.run()
    with pytest.raises(errors.EnosFlowCancelledError, match="4002-20200706062600 ended with status CANCEL"):
        completed(one, one.retry)
    assert started(sim) == ["4002-20200706062600"]


@pytest.mark.parametrize("fault", ["unknown_status", "http_502"])
def test_an_instance_that_turns_out_not_to_have_ended_is_waited_for(
    task: MakeTask, sim: EnosSimulator, fault: str
) -> None:
    """The trigger has seen its end; meanwhile it was run again in EnOS, or one of EnOS's servers lags behind."""
    one = task()
    one.run()
    sim.fault(fault, on="flowInstances/get", times=3)
    event = {"flow_instance_id": INSTANCE, "status": "ended", "error": None}
    assert one.resume("execute_complete", event, {}) == INSTANCE


def test_an_instance_that_ended_in_time_is_not_late_since_its_worker_is(task: MakeTask, sim: EnosSimulator) -> None:
    """The pool was full until after the deadline, and then EnOS does not answer at once."""
    one = task()
    one.run()
    sim.fault("http_502", on="flowInstances/get", times=6)
    event = {"flow_instance_id": INSTANCE, "status": "ended", "error": None}
    assert one.resume("execute_complete", event, {"deadline": time.time() - 60}) == INSTANCE
    assert sim.count("flowInstances/cancel") == 0


LATE = errors.EnosFlowTimeoutError("it is late", flow_instance_id=INSTANCE, status="RUNNING")


LOST = errors.EnosPollLostError("lost", flow_instance_id=INSTANCE)


REFUSED = errors.EnosAuthError(401, "no", operation="Get Flow Instance", http_status=401)


@pytest.mark.parametrize("error", [LATE, LOST, REFUSED], ids=lambda error: type(error).__name__)
def test_a_resumed_task_looks_before_it_believes_an_error(
    task: MakeTask, sim: EnosSimulator, error: errors.EnosError
) -> None:
    """If the instance has ended meanwhile, that counts; else the error stands, and is retried."""
    sim.progress = "manual"
    sim.trigger(3377, 108580, TRIGGER_TIME)
    event = InstanceEvent(INSTANCE, error).to_json()
    kwargs = {"deadline": time.time() + 60}
    with pytest.raises(errors.EnosFlowTimeoutError if error is LATE else errors.EnosPollLostError):
        task(cancel_on_timeout=False).resume("execute_complete", event, kwargs)
    assert sim.count("flowInstances/get") == 1
    sim.finish(INSTANCE, "SUCCESS")
    assert task().resume("execute_complete", event, kwargs) == INSTANCE
    assert sim.count("flowInstances/cancel") == 0


def test_a_resumed_task_waits_for_its_connection(
    task: MakeTask, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted, and made again a little later. A last cancel has the keys of the new one."""
    sim.progress = "at_once"
    sim.trigger(3377, 108580, TRIGGER_TIME)
    uri = os.environ["AIRFLOW_CONN_ENOS_DEFAULT"]
    monkeypatch.delenv("AIRFLOW_CONN_ENOS_DEFAULT")
    one = task(poll_interval=0.1)
    threading.Timer(0.5, os.environ.__setitem__, ("AIRFLOW_CONN_ENOS_DEFAULT", uri)).start()
    assert one.resume("execute_complete", InstanceEvent(INSTANCE).to_json(), {}) == INSTANCE
    assert any("Airflow cannot read the connection" in line for line in one.log.lines)
    one.operator.on_kill()
    assert sim.count("flowInstances/cancel") == 1


def test_a_retry_that_takes_over_what_has_ended_is_not_deferred(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    sim.progress = "manual"
    one = task(state_store, deferrable=True)
    with pytest.raises(TaskDeferred):
        one.run()
    with pytest.raises(TaskDeferred):
        one.retry()
    sim.finish(INSTANCE, "SUCCESS")
    assert one.retry() == INSTANCE
    assert started(sim) == [INSTANCE]


def test_a_started_instance_is_not_looked_at_before_the_task_is_deferred(task: MakeTask, sim: EnosSimulator) -> None:
    with pytest.raises(TaskDeferred):
        task(deferrable=True).run()
    assert sim.count("flowInstances/get") == 0


def statuses_in(log: Any) -> dict[str, list[str]]:
    """The statuses that a task's log gives to the flow instance and to each node, one after the other."""
    found: dict[str, list[str]] = {}
    for line in log.lines:
        if match := re.fullmatch(r"((?:Node|Flow instance) [^\s:]+).*: (?:(\w+) -> )?(\w+)", line):
            subject, before, status = match.groups()
            seen = found.setdefault(subject, [])
            assert before in (None, (seen or ["INIT"])[-1]), f"{line!r} contradicts what the log has said before"
            assert before is not None or not seen, f"{line!r} is said again"
            seen.append(status)
    return found


def test_logs_of_many_deferred_tasks_do_not_contradict_themselves(task: MakeTask, sim: EnosSimulator) -> None:
    """Their poller reads lists, which have no nodes. Retries have looked before they were deferred."""
    arguments = {"poll_interval": 1.0, "poll_error_tolerance": 0, "deferrable": True}
    tasks = []
    for flow_id in range(6000, 6060):
        nodes = {flow_id * 10 + number: name for number, name in enumerate(("extract", "load", "report"))}
        sim.add_flow(flow_id, tasks=nodes, progress=("seconds", 3 + flow_id % 3))
        tasks.append(task(StateStore(), flow_id=flow_id, from_task_id=flow_id * 10, **arguments))
    deferrals = []
    for number, one in enumerate(tasks):
        with pytest.raises(TaskDeferred) as deferred:
            one.run()
        if number % 3 == 0:
            with pytest.raises(TaskDeferred) as deferred:
                one.retry()
        deferred.value.trigger._log = one.log
        deferrals.append(deferred.value)

    async def fired() -> list[Any]:
        return await asyncio.gather(*(anext(one.trigger.run()) for one in deferrals))

    events = asyncio.run(fired())
    assert sim.count("flowInstances/search") > 0, "no list was read"
    for one, deferral, event in zip(tasks, deferrals, events, strict=True):
        one.resume(deferral.method_name, event.payload, deferral.kwargs or {})
        statuses = statuses_in(one.log)
        assert len(statuses) == 4, one.log.lines
        assert {seen[-1] for seen in statuses.values()} == {"SUCCESS"}
