"""The operators that cancel an instance, and that switch the schedule of a flow."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_enos import errors
from airflow_provider_enos.operators.enos import (
    EnosCancelFlowInstanceOperator,
    EnosDisableFlowOperator,
    EnosEnableFlowOperator,
)
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.utils import connections, deferral
from airflow_provider_enos.version_compat import AirflowTaskTimeout

FLOW = 5001

MakeTask = Callable[..., Any]


@pytest.fixture
def cancel(task: MakeTask, sim: EnosSimulator) -> MakeTask:
    """A task that cancels the instance which has been started of a flow of two nodes."""

    def make(flow_instance_id: str | None = None, **arguments: Any) -> Any:
        if flow_instance_id is None:
            sim.add_flow(
                FLOW, name="long", tasks={1: "extract", 2: "load"}, progress=arguments.pop("progress", "manual")
            )
            flow_instance_id = sim.trigger(FLOW).id
        made = task()
        made.operator_class = EnosCancelFlowInstanceOperator
        made.arguments = {"flow_instance_id": flow_instance_id, "poll_interval": 0.01, "retries": 2, **arguments}
        return made

    return make


def finish(task: Any, deferrable: bool) -> Any:
    """Runs it to its end, through the triggerer if it defers."""
    try:
        return task.run()
    except TaskDeferred as deferral:
        assert deferrable
        trigger = deferral.trigger

        async def fire() -> Any:
            return await anext(trigger.run())

        event = asyncio.run(fire())
        return task.resume(deferral.method_name, event.payload, deferral.kwargs or {})


@pytest.fixture(params=[False, True], ids=["in a worker", "deferred"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


# ---- cancelling -----------------------------------------------------------------------------------------------------


def test_a_running_instance_is_cancelled(cancel: MakeTask, sim: EnosSimulator, deferrable: bool) -> None:
    task = cancel(deferrable=deferrable)
    assert finish(task, deferrable) == sim.instances[0].id
    assert sim.instances[0].status == "CANCEL"


def test_it_is_waited_until_it_really_is(cancel: MakeTask, sim: EnosSimulator, deferrable: bool) -> None:
    """EnOS accepts a cancel before it has carried it out."""
    sim.cancel_takes = 0.3
    finish(cancel(deferrable=deferrable), deferrable)
    assert sim.instances[0].status == "CANCEL"
    assert sim.count("flowInstances/cancel") == 1


def test_without_waiting_it_is_enough_that_enos_accepts_it(cancel: MakeTask, sim: EnosSimulator) -> None:
    sim.cancel_takes = 60
    cancel(wait_for_completion=False).run()
    assert sim.instances[0].status == "RUNNING"
    assert sim.count("flowInstances/cancel") == 1


@pytest.mark.parametrize("status", ["SUCCESS", "FAIL", "SKIP", "TIMEOUT", "INTERNAL_ERROR"])
def test_one_that_has_ended_by_itself(cancel: MakeTask, sim: EnosSimulator, status: str) -> None:
    sim.add_flow(FLOW, tasks={1: "extract"}, progress="manual")
    ended = sim.trigger(FLOW).id
    sim.finish(ended, status)
    with pytest.raises(
        AirflowFailException, match=f"{ended} was not cancelled: it had ended by itself, with status {status}"
    ):
        cancel(ended).run()
    with pytest.raises(AirflowSkipException, match="was not cancelled"):
        cancel(ended, on_ended="skip").run()
    assert cancel(ended, on_ended="succeed").run() == ended
    assert sim.count("flowInstances/cancel") == 0


def test_one_that_ends_by_itself_before_the_cancel_takes_hold(
    cancel: MakeTask, sim: EnosSimulator, deferrable: bool
) -> None:
    sim.cancel_takes = 60
    task = cancel(deferrable=deferrable, progress=("polls", 3))
    with pytest.raises(AirflowFailException, match="ended by itself, with status SUCCESS"):
        finish(task, deferrable)
    assert sim.count("flowInstances/cancel") == 1


def test_what_still_runs_after_a_failure_is_stopped(cancel: MakeTask, sim: EnosSimulator, deferrable: bool) -> None:
    """EnOS shows FAIL as soon as one node has failed, while others run on."""
    sim.add_flow(FLOW, tasks={1: "fails", 2: "runs_on"}, relations=[], progress="manual")
    failed = sim.trigger(FLOW).id
    sim.set_node_status(failed, 1, "FAIL")
    assert finish(cancel(failed, deferrable=deferrable), deferrable) == failed
    assert {node.name: node.status for node in sim.instances[0].nodes} == {"fails": "FAIL", "runs_on": "CANCEL"}


def test_a_retry_finds_it_cancelled(cancel: MakeTask, sim: EnosSimulator) -> None:
    task = cancel()
    task.run()
    assert task.retry() == sim.instances[0].id
    assert sim.count("flowInstances/cancel") == 1


def test_one_that_does_not_stop_in_time(cancel: MakeTask, sim: EnosSimulator, deferrable: bool) -> None:
    sim.cancel_takes = 60
    with pytest.raises(
        errors.EnosFlowTimeoutError, match="EnOS has accepted to cancel it, but cannot stop jobs"
    ) as caught:
        finish(cancel(deferrable=deferrable, timeout=0.2), deferrable)
    assert caught.value.status == "RUNNING"


def test_a_cancel_that_meets_a_fault_is_tried_again(cancel: MakeTask, sim: EnosSimulator, deferrable: bool) -> None:
    sim.fault("http_500", on="flowInstances/cancel", times=6)
    assert finish(cancel(deferrable=deferrable), deferrable) == sim.instances[0].id
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
    assert finish(task, deferrable) == sim.instances[0].id
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
    assert finish(task, deferrable) == sim.instances[0].id


def test_a_refusal_that_stays_can_be_retried(cancel: MakeTask, sim: EnosSimulator, deferrable: bool) -> None:
    task = cancel(deferrable=deferrable, poll_error_tolerance=0.2)
    sim.cancel_takes = 60

    def refuse(event: str, record: Any) -> None:
        if event == "accepted" and record.operation == "flowInstances/cancel":
            sim.fault("http_403", on="flowInstances/get", times=None)

    sim.on_event(refuse)
    with pytest.raises(errors.EnosPollLostError):
        finish(task, deferrable)
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
        finish(cancel(deferrable=True, execution_timeout=timedelta(seconds=0.2)), True)


@pytest.mark.parametrize("unknown", ["error", "null", "empty_list"])
def test_one_that_enos_does_not_know(cancel: MakeTask, sim: EnosSimulator, unknown: str) -> None:
    sim.unknown_instance = unknown
    with pytest.raises(errors.EnosRequestError):
        cancel("3377-20200706062600").run()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on_ended": "ignore"}, r"on_ended: 'ignore'; expected one of \"fail\", \"skip\", \"succeed\""),
        ({"poll_interval": 0}, "poll_interval: 0; expected"),
        ({"timeout": "1h"}, "timeout: '1h'; expected"),
    ],
)
def test_arguments_that_cannot_work(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.EnosConfigError, match=message):
        EnosCancelFlowInstanceOperator(task_id="task", flow_instance_id="1-20200706062600", **arguments)


def test_a_rendered_id_that_cannot_work(cancel: MakeTask, sim: EnosSimulator) -> None:
    with pytest.raises(AirflowFailException, match="flow_instance_id: 'None'; expected an instance id"):
        cancel("None").run()
    assert sim.requests == []


# ---- schedules ------------------------------------------------------------------------------------------------------


@pytest.fixture
def schedule(task: MakeTask) -> MakeTask:
    def make(operator_class: type[Any], flow_id: Any) -> Any:
        made = task()
        made.operator_class, made.arguments = operator_class, {"flow_id": flow_id, "retries": 0}
        return made

    return make


@pytest.mark.parametrize("flow_id", [4010, " 4010 "])
def test_a_schedule_is_switched_off_and_on(schedule: MakeTask, sim: EnosSimulator, flow_id: Any) -> None:
    from airflow_provider_enos.hooks.enos import EnosHook

    for operator_class, active in [
        (EnosDisableFlowOperator, False),
        (EnosDisableFlowOperator, False),
        (EnosEnableFlowOperator, True),
        (EnosEnableFlowOperator, True),
    ]:
        assert schedule(operator_class, flow_id).run() is None
        assert bool(EnosHook().get_flow(4010).active) is active


@pytest.mark.parametrize("operator_class", [EnosDisableFlowOperator, EnosEnableFlowOperator])
@pytest.mark.parametrize(
    ("flow_id", "error", "message"),
    [
        (4008, AirflowFailException, "62103"),
        (4007, AirflowFailException, "62103"),
        (9999, errors.EnosRequestError, "62102"),
        ("None", AirflowFailException, "flow_id: 'None'; expected a whole number"),
    ],
    ids=["of another user", "locked", "unknown", "not rendered"],
)
def test_a_schedule_that_cannot_be_switched(
    schedule: MakeTask, operator_class: type[Any], flow_id: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        schedule(operator_class, flow_id).run()


@pytest.mark.parametrize(
    ("operator_class", "fields"),
    [
        (EnosCancelFlowInstanceOperator, {"flow_instance_id", "enos_conn_id", "org_id", "user_id"}),
        (EnosEnableFlowOperator, {"flow_id", "enos_conn_id", "org_id", "user_id"}),
        (EnosDisableFlowOperator, {"flow_id", "enos_conn_id", "org_id", "user_id"}),
    ],
)
def test_templates(operator_class: type[Any], fields: set[str]) -> None:
    assert set(operator_class.template_fields) == fields
