"""Kill a task at any moment of its life."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from kills import at, interrupted_while_held, killable, killed_at, killed_while_held
from tries import INSTANCE, TRIGGER_TIME

from airflow_provider_enos import errors
from airflow_provider_enos.client import sync
from airflow_provider_enos.simulator import EnosSimulator

FLOW = 5001
WEEK = 7 * 86_400.0

MakeTask = Callable[..., Any]


def test_a_kill_while_waiting_cancels_the_instance(task: MakeTask, sim: EnosSimulator) -> None:
    sim.progress = "manual"
    one = task()
    with killed_at(sim, one, at("replied", "flowInstances/get")) as took, pytest.raises(errors.EnosFlowCancelledError):
        one.run()
    assert sim.instances[0].status == "CANCEL"
    assert took[0] < 3


def test_a_kill_while_a_poll_is_under_way_cancels_the_instance(task: MakeTask, sim: EnosSimulator) -> None:
    """The signal interrupts the main thread inside a request: nothing that it holds is needed for the cancel."""
    sim.progress = "manual"
    sim.fault("slow", on="flowInstances/get", seconds=0.5)
    one = task()
    with killed_at(sim, one, at("received", "flowInstances/get")) as took, pytest.raises(errors.EnosFlowCancelledError):
        one.run()
    assert sim.instances[0].status == "CANCEL"
    assert took[0] < 3


def test_a_kill_while_the_token_is_renewed_cancels_the_instance(task: MakeTask, sim: EnosSimulator) -> None:
    sim.progress = "manual"
    one = task()
    looks = 0

    def in_renewal(event: str, record: Any) -> bool:
        nonlocal looks
        looks += (event, record.operation) == ("replied", "flowInstances/get")
        if looks == 1 and event == "replied":
            sim.expire_tokens()
            sim.fault("slow", on="token/get", seconds=0.5)
        return looks >= 1 and (event, record.operation) == ("received", "token/get")

    with killed_at(sim, one, in_renewal) as took, pytest.raises(errors.EnosFlowCancelledError):
        one.run()
    assert sim.instances[0].status == "CANCEL"
    assert took[0] < 3


def test_a_kill_before_the_reply_cancels_once_the_id_is_known(task: MakeTask, sim: EnosSimulator) -> None:
    sim.fault("slow", on="flows/triggerFromTask", seconds=0.3)
    one = task()
    with (
        killed_at(sim, one, at("accepted", "flows/triggerFromTask")),
        pytest.raises(errors.EnosFlowCancelledError, match="killed while it was started"),
    ):
        one.run()
    assert sim.instances[0].status == "CANCEL"


def test_a_kill_with_a_gateway_that_hangs_is_over_in_time(task: MakeTask, sim: EnosSimulator) -> None:
    """Airflow kills the process after 5 seconds: one request, and no repetition."""
    sim.progress = "manual"
    sim.fault("slow_before", on="flowInstances/cancel", seconds=8, times=1)
    one = task(timeout=0.5, cancel_on_timeout=False)
    with killed_at(sim, one, at("received", "flowInstances/get")) as took, pytest.raises(errors.EnosFlowTimeoutError):
        one.run()
    assert took[0] < 4
    assert sim.count("flowInstances/cancel") == 1


def test_a_killed_task_does_not_sleep_on(
    task: MakeTask, sim: EnosSimulator, override_timing: Callable[..., None]
) -> None:
    """Airflow would wait for 5 seconds, and then send SIGKILL."""
    override_timing(pause=float)
    sim.cancel_takes = 60
    sim.progress = "manual"
    one = task(poll_interval=30)
    begun = time.monotonic()
    with (
        killed_at(sim, one, at("replied", "flowInstances/get")),
        pytest.raises(errors.EnosFlowCancelledError, match="the task was killed while it waited"),
    ):
        one.run()
    assert time.monotonic() - begun < 15
    assert sim.instances[0].cancelled


def test_a_kill_at_the_start_of_a_resumed_task_cancels_the_instance(
    task: MakeTask, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id is not read from the event yet, or what a first request needs is just being imported."""
    sim.progress = "manual"
    one = task(cancel_on_timeout=False)
    opened = sync.SyncClient.open

    def killed(client: Any) -> None:
        one.operator.on_kill()
        opened(client)

    sim.trigger(3377, 108580, TRIGGER_TIME)
    monkeypatch.setattr(sync.SyncClient, "open", killed)
    late = errors.EnosFlowTimeoutError("it is late", flow_instance_id=INSTANCE, status="RUNNING")
    event = {"flow_instance_id": INSTANCE, "status": "error", "error": errors.to_json(late)}
    with pytest.raises(errors.EnosFlowCancelledError):
        one.resume("execute_complete", event, {"deadline": time.time()})
    assert sim.instances[0].cancelled


def test_a_kill_after_a_rotation_cancels_with_the_new_key(
    task: MakeTask, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.progress = "manual"
    one = task(poll_interval=0.05)
    looks: list[Any] = []

    def see(event: str, record: Any) -> None:
        if event != "replied" or record.operation != "flowInstances/get":
            return
        looks.append(record)
        if len(looks) == 1:
            sim.secret_key = "rotated"
            sim.expire_tokens()
            os.environ["AIRFLOW_CONN_ENOS_DEFAULT"] = sim.connection_uri
        elif record.code == 0 and not one.operator.is_killed:
            one.operator.on_kill()

    sim.on_event(see)
    with pytest.raises(errors.EnosFlowCancelledError):
        one.run()
    assert sim.instances[0].cancelled


def test_a_killed_task_sends_nothing_also_where_it_would_not_cancel(task: MakeTask, sim: EnosSimulator) -> None:
    one = task(cancel_on_kill=False)
    sim.fault("slow", on="token/get", seconds=0.3)
    with (
        killed_at(sim, one, at("received", "token/get")),
        pytest.raises(errors.EnosTriggerError, match="nothing is started: the task was killed"),
    ):
        one.run()
    assert sim.instances == []


def test_a_kill_leaves_the_instance_alone_if_told_so(task: MakeTask, sim: EnosSimulator) -> None:
    one = task(cancel_on_kill=False)
    with killed_at(sim, one, at("received", "flowInstances/get")) as took:
        assert one.run() == INSTANCE
    assert took
    assert sim.count("flowInstances/cancel") == 0


@pytest.mark.parametrize("kind", ["slow", "slow_before"])
def test_a_kill_before_anything_was_sent_sends_nothing(
    task: MakeTask, sim: EnosSimulator, store: Any, kind: str
) -> None:
    """The signal comes while the token is fetched: the trigger, which would be next, is not sent any more."""
    sim.fault(kind, on="token/get", seconds=0.3)
    one = task(store)
    with (
        killed_at(sim, one, at("received", "token/get")) as took,
        pytest.raises(errors.EnosTriggerError, match=r"^nothing is started: the task was killed$") as caught,
    ):
        one.run()
    assert type(caught.value) is errors.EnosTriggerError
    assert took[0] < 1
    assert sim.count("flows/triggerFromTask") == sim.count("flowInstances/cancel") == 0
    assert sim.instances == []
    assert one.retry() == INSTANCE


@pytest.mark.parametrize("operation", ["flowInstances/get", "flowInstances/search"])
def test_a_kill_while_a_retry_looks_sends_nothing(task: MakeTask, sim: EnosSimulator, operation: str) -> None:
    one = task(None)
    one.ti.try_number = 1
    sim.fault("slow", on=operation, seconds=0.3)
    killed_at_retry = killed_at(sim, one, at("received", operation))
    with (
        killed_at_retry as took,
        pytest.raises(errors.EnosTriggerError, match="nothing is started: the task was killed"),
    ):
        one.retry()
    assert took[0] < 1
    assert sim.instances == []


def test_a_kill_between_two_requests_of_a_trigger_sends_no_second(
    task: MakeTask, sim: EnosSimulator, override_timing: Callable[..., None]
) -> None:
    """The gateway was too busy for the first; the kill comes in the pause before the second."""
    sim.fault("http_429", on="flows/triggerFromTask", times=None)
    kills = iter([signal.SIGTERM])

    def killed(seconds: float) -> float:
        for kill in kills:
            signal.raise_signal(kill)
        return 0.0

    override_timing(pause=killed)
    one = task()
    with (
        killable(one) as took,
        pytest.raises(errors.EnosTriggerError, match="nothing is started: the task was killed"),
    ):
        one.run()
    assert len(took) == 1
    assert sim.count("flows/triggerFromTask") == 1


def test_a_kill_whose_trigger_is_not_answered_still_finds_and_cancels(task: MakeTask, sim: EnosSimulator) -> None:
    """The task looks for the instance of the request that was sent before the kill; it starts nothing more."""
    sim.progress = "manual"
    sim.fault("lost_reply", on="flows/triggerFromTask")
    one = task()
    with (
        killed_at(sim, one, at("accepted", "flows/triggerFromTask")),
        pytest.raises(errors.EnosFlowCancelledError, match="killed while it was started"),
    ):
        one.run()
    assert [instance.status for instance in sim.instances] == ["CANCEL"]


@pytest.mark.parametrize(
    ("cancel_on_kill", "id_style", "status"),
    [(True, "documented", "CANCEL"), (True, "other", "CANCEL"), (False, "documented", "RUNNING")],
)
def test_a_kill_between_request_and_reply_cancels_what_was_started(
    task: MakeTask, sim: EnosSimulator, store: Any, cancel_on_kill: bool, id_style: str, status: str
) -> None:
    """Without ``cancel_on_kill`` nothing is even looked for."""
    sim.progress, sim.id_style = "manual", id_style
    sim.hold(on="flows/triggerFromTask", at="accepted")
    one = task(store, cancel_on_kill=cancel_on_kill, timeout=0.3, cancel_on_timeout=False)
    with killed_while_held(sim, one) as took, pytest.raises(errors.EnosError):
        one.run()
    assert [instance.status for instance in sim.instances] == [status]
    assert took[0] < (4.5 if cancel_on_kill else 0.5)
    assert any("asked EnOS to cancel" in line for line in one.log.lines) is cancel_on_kill


def test_a_kill_between_request_and_reply_leaves_old_instances_alone(task: MakeTask, sim: EnosSimulator) -> None:
    """The trigger met a conflict: the instance in the minute is not this task's."""
    sim.progress = "manual"
    skew, sim.clock_skew = sim.clock_skew, -WEEK
    sim.trigger(3377, 108580, TRIGGER_TIME)
    sim.clock_skew = skew
    sim.hold(on="flows/triggerFromTask", at="received")
    one = task()
    with killed_while_held(sim, one) as took, pytest.raises(errors.EnosError):
        one.run()
    assert [instance.status for instance in sim.instances] == ["RUNNING"]
    assert took[0] < 5
    assert any("no instance of it can be seen" in line for line in one.log.lines)


def test_a_task_that_is_out_of_time_between_request_and_reply_cancels_too(task: MakeTask, sim: EnosSimulator) -> None:
    """As Airflow does with ``execution_timeout``: the error comes first, ``on_kill`` after it."""
    sim.progress = "manual"
    sim.hold(on="flows/triggerFromTask", at="accepted")
    one = task()

    class OutOfTime(BaseException):
        """As Airflow's own."""

    def out_of_time(*_: object) -> None:
        raise OutOfTime

    with interrupted_while_held(sim, out_of_time), pytest.raises(OutOfTime):
        one.run()
    one.operator.on_kill()
    sim.release(drop=True)
    assert [instance.status for instance in sim.instances] == ["CANCEL"]


def test_a_retry_that_is_killed_while_it_looks_back_cancels_what_its_predecessor_started(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    sim.progress = "manual"
    one = task(state_store, wait_for_completion=False)
    one.run()
    sim.hold(on="flowInstances/get", at="received")
    with killed_while_held(sim, one), pytest.raises(errors.EnosError):
        one.retry()
    assert [instance.status for instance in sim.instances] == ["CANCEL"]
