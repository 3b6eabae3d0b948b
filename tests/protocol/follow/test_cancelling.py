"""Cancelling an instance, and finding out whether it was cancelled."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosFlowTimeoutError,
    EnosNotFoundError,
    EnosPollLostError,
    EnosRequestError,
    EnosTransportError,
)
from airflow_provider_enos.protocol.follow.cancelling import (
    ask_to_cancel,
    await_stop,
    cancel_late,
    has_stopped,
    not_cancelled,
    stopped_at_once,
    try_to_cancel,
    was_cancelled,
)
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.models import FlowInstance, FlowStatus, Outcome

ID = "3377-20200706062600"
LOST = EnosTransportError("read timed out", sent=True)
REFUSED = EnosRequestError(62102, "no", operation="Cancel Flow Instance", http_status=200)
NOT_MINE = EnosAccessError(62103, "User has no privilege.", operation="Cancel Flow Instance", http_status=200)
GONE = EnosNotFoundError(62102, "Instance not found", operation="Get Flow Instance", http_status=200)


def instance(status: object, **nodes: str | None) -> FlowInstance:
    tasks = [{"taskName": name, "taskInstId": f"{name}-1", "status": status} for name, status in nodes.items()]
    return FlowInstance.parse({"instanceId": ID, "flowId": 3377, "status": status, "graph": {"tasks": tasks}})


@pytest.fixture
def watch(log: Any) -> InstanceWatch:
    return InstanceWatch(ID, tolerance=600, log=log)


@pytest.fixture
def ask(watch: InstanceWatch, play: Any, clock: Any, log: Any) -> Any:
    def ask(*answers: object, lasts: float = 60.0, tolerance: float = 600.0) -> Any:
        pace = {"poll_interval": 5, "deadline": clock.now + lasts, "clock": clock}
        steps = ask_to_cancel(watch, log=log, tolerance=tolerance, **pace)
        return play(steps, answers, clock)

    return ask


@pytest.fixture
def await_end(watch: InstanceWatch, play: Any, clock: Any) -> Any:
    def await_end(*answers: object, lasts: float = 60.0) -> Any:
        steps = await_stop(watch, poll_interval=5, deadline=clock.now + lasts, clock=clock)
        return play(steps, answers, clock)

    return await_end


def test_an_instance_that_runs_is_cancelled(ask: Any, log: Any) -> None:
    played = ask(instance("RUNNING"), None)
    assert played.operations == ["Get Flow Instance", "Cancel Flow Instance"]
    assert not has_stopped(played.value)
    assert log.lines[-1] == f"info: Asked EnOS to cancel flow instance {ID}"


@pytest.mark.parametrize("status", [status.name for status in FlowStatus if status.ended])
def test_an_instance_that_has_stopped_is_not_cancelled(ask: Any, status: str) -> None:
    played = ask(instance(status, load="SUCCESS"))
    assert played.operations == ["Get Flow Instance"]
    assert has_stopped(played.value)


def test_nodes_that_still_run_after_a_failure_are_cancelled(ask: Any) -> None:
    """EnOS shows FAIL as soon as one node has failed."""
    assert ask(instance("FAIL", load="FAIL", report="RUNNING"), None).operations[-1] == "Cancel Flow Instance"


def test_a_cancel_that_fails_is_tried_again_as_long_as_the_instance_runs(ask: Any, log: Any) -> None:
    played = ask(
        instance("RUNNING"), LOST, instance("RUNNING"), LOST, LOST, instance("RUNNING"), REFUSED, instance("SUCCESS")
    )
    assert played.operations == [
        *("Get Flow Instance", "Cancel Flow Instance", 5, "Get Flow Instance", "Cancel Flow Instance", 5),
        *("Get Flow Instance", 5, "Get Flow Instance", "Cancel Flow Instance", 5, "Get Flow Instance"),
    ]
    warned = [line for line in log.lines if "Cannot cancel" in line]
    assert len(warned) == 2, "once for each reason"


def test_a_cancel_that_is_refused_is_tried_again_for_as_long_as_is_tolerated(ask: Any, log: Any) -> None:
    """The connection may have the right user by then, and a retry looks first."""
    error = ask(*[instance("RUNNING"), NOT_MINE] * 3, tolerance=10).error
    assert isinstance(error, EnosPollLostError)
    assert str(error) == (
        f"flow instance {ID}: cancelling it was refused for 10 s; it may still run. "
        "Last error: Cancel Flow Instance: 62103 User has no privilege."
    )
    assert sum("Cannot cancel" in line for line in log.lines) == 1


def test_a_cancel_that_is_refused_and_then_accepted(ask: Any) -> None:
    answers = [NOT_MINE, instance("RUNNING"), LOST, instance("RUNNING"), NOT_MINE, instance("RUNNING"), None]
    assert ask(instance("RUNNING"), *answers, tolerance=6).operations[-1] == "Cancel Flow Instance"


def test_an_instance_that_is_refused_is_asked_for_again(ask: Any) -> None:
    assert ask(NOT_MINE, instance("RUNNING"), None).operations[-1] == "Cancel Flow Instance"


def test_one_look_soon_after_the_cancel(watch: InstanceWatch, play: Any, clock: Any) -> None:
    """Before the task is deferred: what has stopped needs no triggerer, and an error no haste."""
    for answer, stopped in ((instance("CANCEL"), True), (instance("RUNNING"), False), (LOST, False)):
        played = play(stopped_at_once(watch, poll_interval=5, clock=clock), [answer], clock)
        assert (played.value is not None, played.pauses) == (stopped, [1])


def test_an_instance_that_enos_does_not_know(ask: Any) -> None:
    assert ask(GONE).error.code == 62102


def test_a_cancel_that_is_never_accepted(ask: Any) -> None:
    error = ask(*[instance("RUNNING"), REFUSED] * 3, lasts=10).error
    assert isinstance(error, EnosFlowTimeoutError)
    assert error.status == "RUNNING"
    assert "it may still run, since cancelling it failed: Cancel Flow Instance: 62102 no" in str(error)


def test_enos_is_out_of_reach_until_the_deadline(ask: Any) -> None:
    error = ask(LOST, LOST, LOST, lasts=10).error
    assert isinstance(error, EnosFlowTimeoutError)
    assert error.status == "unknown"


def test_enos_is_out_of_reach_for_too_long(ask: Any) -> None:
    assert isinstance(ask(*[LOST] * 121, lasts=10_000).error, EnosPollLostError)


def test_the_wait_goes_on_until_no_node_runs(await_end: Any) -> None:
    stages = instance("RUNNING"), instance("CANCEL", load="RUNNING"), instance("CANCEL", load="CANCEL")
    played = await_end(*stages)
    assert played.pauses == [1, 5, 5]
    assert was_cancelled(played.value)


def test_an_instance_that_does_not_stop(await_end: Any) -> None:
    error = await_end(*[instance("RUNNING")] * 3, lasts=11).error
    assert isinstance(error, EnosFlowTimeoutError)
    assert error.status == "RUNNING"
    assert "EnOS has accepted to cancel it, but cannot stop jobs that a node has submitted already" in str(error)


@pytest.mark.parametrize("status", list(FlowStatus))
def test_what_counts_as_cancelled(status: FlowStatus) -> None:
    assert was_cancelled(instance(status.name)) is (status.outcome is Outcome.CANCELLED)
    assert was_cancelled(instance(status.name, load="FAIL", report="CANCEL"))


def test_the_error_of_a_cancel_that_came_too_late() -> None:
    error = not_cancelled(instance("SUCCESS"))
    assert (error.flow_instance_id, error.status, error.final) == (ID, "SUCCESS", True)
    assert str(error) == f"flow instance {ID} was not cancelled: it had ended by itself, with status SUCCESS"


def test_late_instance_is_cancelled(play: Any) -> None:
    late = EnosFlowTimeoutError("it took too long", flow_instance_id=ID, status="RUNNING")
    played = play(cancel_late(late), [None])
    assert played.operations == ["Cancel Flow Instance"]
    assert str(played.value) == "it took too long; it was asked to be cancelled"
    assert (played.value.flow_instance_id, played.value.status) == (ID, "RUNNING")


def test_late_instance_cannot_be_cancelled(play: Any) -> None:
    late = EnosFlowTimeoutError("it took too long", flow_instance_id=ID, status="RUNNING")
    error = play(cancel_late(late), [LOST]).value
    assert str(error) == "it took too long; it may still run, since cancelling it failed: read timed out"


@pytest.mark.parametrize(
    ("answers", "failure"),
    [([None], None), ([LOST], LOST), ([REFUSED], REFUSED), ([NOT_MINE, None], None), ([NOT_MINE, NOT_MINE], NOT_MINE)],
)
def test_a_last_cancel_is_sent_once_more_where_the_connection_was_refused(
    play: Any, answers: list[Any], failure: Any
) -> None:
    played = play(try_to_cancel(ID), answers)
    assert str(played.value) == str(failure)
    assert len(played.sent) == len(answers)
