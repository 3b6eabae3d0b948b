"""Cancels that meet errors, refusals and timeouts."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from tries import finish

from airflow_provider_enos import errors
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.utils import connections, deferral
from airflow_provider_enos.version_compat import AirflowTaskTimeout

FLOW = 5001

MakeTask = Callable[..., Any]


def test_one_that_does_not_stop_in_time(cancel: MakeTask, sim: EnosSimulator, deferrable: bool) -> None:
    sim.cancel_takes = 60
    with pytest.raises(
        errors.EnosFlowTimeoutError, match="EnOS has accepted to cancel it, but cannot stop jobs"
    ) as caught:
        finish(cancel(deferrable=deferrable, timeout=0.2))
    assert caught.value.status == "RUNNING"


def test_a_cancel_that_meets_a_fault_is_tried_again(cancel: MakeTask, sim: EnosSimulator, deferrable: bool) -> None:
    sim.fault("http_500", on="flowInstances/cancel", times=6)
    assert finish(cancel(deferrable=deferrable)) == sim.instances[0].id
    assert sim.instances[0].status == "CANCEL"


@pytest.mark.parametrize("owned", [{"owner": "another_user"}, {"locked": True}], ids=["of another user", "locked"])
def test_one_that_the_user_may_not_cancel(cancel: MakeTask, sim: EnosSimulator, owned: dict[str, Any]) -> None:
    sim.add_flow(FLOW, tasks={1: "extract"}, progress="manual", **owned)
    with pytest.raises(errors.EnosPollLostError, match=r"cancelling it was refused.*62103 .*must own the flow"):
        cancel(sim.trigger(FLOW).id, poll_error_tolerance=0).run()


def test_wrong_credentials_at_the_first_look_are_told_at_once(cancel: MakeTask, sim: EnosSimulator) -> None:
    task = cancel()
    sim.secret_key = "another"
    with pytest.raises(AirflowFailException, match="1003"):
        task.run()


@pytest.mark.parametrize("on", ["flowInstances/get", "flowInstances/cancel"])
@pytest.mark.parametrize("fault", ["http_401", "http_403"])
def test_a_refusal_that_passes_is_waited_through(
    cancel: MakeTask, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch, deferrable: bool, fault: str, on: str
) -> None:
    monkeypatch.setattr(connections, "_FRESH", 0.0)
    sim.cancel_takes = 1
    task = cancel(deferrable=deferrable)
    seen = []

    def refuse(event: str, record: Any) -> None:
        if event == "replied" and record.operation == "flowInstances/get" and not seen:
            seen.append(record)
            sim.fault(fault, on=on, times=4)

    sim.on_event(refuse)
    assert finish(task) == sim.instances[0].id
    assert sim.instances[0].status == "CANCEL"


def test_a_key_that_is_rotated_meanwhile(
    cancel: MakeTask, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    monkeypatch.setattr(connections, "_FRESH", 0.0)
    task = cancel(deferrable=deferrable)

    def rotate(event: str, record: Any) -> None:
        if event == "accepted" and record.operation == "flowInstances/cancel":
            sim.secret_key = "rotated"
            sim.expire_tokens()
            os.environ["AIRFLOW_CONN_ENOS_DEFAULT"] = sim.connection_uri

    sim.on_event(rotate)
    assert finish(task) == sim.instances[0].id


def test_a_refusal_that_stays_can_be_retried(cancel: MakeTask, sim: EnosSimulator, deferrable: bool) -> None:
    task = cancel(deferrable=deferrable, poll_error_tolerance=0.2)
    sim.cancel_takes = 60

    def refuse(event: str, record: Any) -> None:
        if event == "accepted" and record.operation == "flowInstances/cancel":
            sim.fault("http_403", on="flowInstances/get", times=None)

    sim.on_event(refuse)
    with pytest.raises(errors.EnosPollLostError):
        finish(task)
    with pytest.raises(errors.EnosAccessError):
        task.retry()


def test_what_is_cancelled_at_once_is_not_deferred(cancel: MakeTask, sim: EnosSimulator) -> None:
    assert cancel(deferrable=True).run() == sim.instances[0].id
    assert sim.instances[0].status == "CANCEL"


def test_an_execution_timeout_holds_while_deferred(
    cancel: MakeTask, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deferral, "ends_deferred_tasks_in_time", lambda: False)
    sim.cancel_takes = 60
    with pytest.raises(AirflowTaskTimeout, match=r"^execution_timeout: .*EnOS has accepted to cancel it"):
        finish(cancel(deferrable=True, execution_timeout=timedelta(seconds=0.2)))


@pytest.mark.parametrize("unknown", ["error", "null", "empty_list"])
def test_one_that_enos_does_not_know(cancel: MakeTask, sim: EnosSimulator, unknown: str) -> None:
    sim.unknown_instance = unknown
    with pytest.raises(errors.EnosRequestError):
        cancel("3377-20200706062600").run()
