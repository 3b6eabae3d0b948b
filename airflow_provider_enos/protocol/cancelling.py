"""Having a flow instance cancelled, and finding out whether it really was.

EnOS accepts a cancel before it has carried it out, and does not say what becomes of one that comes too late. So its
answer counts for nothing here: what counts is how the instance stands afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from airflow_provider_enos.errors import EnosCancelError, EnosError, EnosFlowTimeoutError
from airflow_provider_enos.protocol import calls
from airflow_provider_enos.protocol.messages import Procedure, Sleep
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.protocol.waiting import Log, Watch, look, out_of_time, wait

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowInstance

OnEnded = Literal["fail", "skip", "succeed"]
"""What becomes of a task that is to cancel an instance which has ended by itself."""

_FIRST_PAUSE = 1.0


def has_stopped(instance: FlowInstance) -> bool:
    """Whether nothing of it runs any more. EnOS shows FAIL as soon as one node has failed; others may run on."""
    return instance.status.ended and not instance.working_nodes


def was_cancelled(instance: FlowInstance) -> bool:
    """Whether a cancel has stopped it, or at least what still ran of it after a failure."""
    return instance.status.outcome is Outcome.CANCELLED or bool(instance.nodes_with(Outcome.CANCELLED))


def ask_to_cancel(
    watch: Watch, *, poll_interval: float, deadline: float, clock: Callable[[], float], log: Log
) -> Procedure[FlowInstance]:
    """Has the instance cancelled, unless it has stopped; gives it as it stood before.

    A cancel that fails is tried again as long as the instance runs, but for errors that trying again cannot help.
    Raises ``EnosFlowTimeoutError`` at the ``deadline``, an epoch time.
    """
    failure: EnosError | None = None
    while True:
        instance = yield from look(watch, clock=clock)
        if instance is not None:
            if has_stopped(instance):
                return instance
            failure = yield from _cancel(watch.flow_instance_id, log, failure)
            if failure is None:
                return instance
        left = deadline - clock()
        if left <= 0:
            late = out_of_time(watch.flow_instance_id, str(instance.status) if instance else "unknown")
            raise _late(late, _not_accepted(failure)) if failure else late
        yield Sleep(min(poll_interval, left))


def await_stop(
    watch: Watch, *, poll_interval: float, deadline: float, clock: Callable[[], float]
) -> Procedure[FlowInstance]:
    """Waits until an instance that was asked to be cancelled has stopped. Raises as ``ask_to_cancel``."""
    # Most are cancelled at once, but not before the answer to the cancel.
    yield Sleep(min(poll_interval, _FIRST_PAUSE))
    try:
        return (yield from wait(watch, poll_interval=poll_interval, deadline=deadline, clock=clock, until=has_stopped))
    except EnosFlowTimeoutError as error:
        said = "EnOS has accepted to cancel it, but cannot stop jobs that a node has submitted already"
        raise _late(error, said) from None


def cancel_late(error: EnosFlowTimeoutError) -> Procedure[EnosFlowTimeoutError]:
    """Cancels the instance that did not end in time; gives the error that says so."""
    said = "it was asked to be cancelled"
    try:
        yield calls.cancel_flow_instance(error.flow_instance_id)
    except EnosError as failure:
        said = _not_accepted(failure)
    return _late(error, said)


def not_cancelled(instance: FlowInstance) -> EnosCancelError:
    """The error of a cancel that came too late."""
    return EnosCancelError(
        f"flow instance {instance.flow_instance_id} was not cancelled: it had ended by itself, with status "
        f"{instance.status}",
        flow_instance_id=instance.flow_instance_id,
        status=str(instance.status),
    )


def _late(error: EnosFlowTimeoutError, said: str) -> EnosFlowTimeoutError:
    return EnosFlowTimeoutError(f"{error}; {said}", flow_instance_id=error.flow_instance_id, status=error.status)


def _not_accepted(failure: EnosError) -> str:
    return f"it may still run, since cancelling it failed: {failure}"


def _cancel(flow_instance_id: str, log: Log, before: EnosError | None) -> Procedure[EnosError | None]:
    """Sends one cancel; gives the error that can be waited through, which is logged where it is another than before."""
    try:
        yield calls.cancel_flow_instance(flow_instance_id)
    except EnosError as error:
        if error.final:
            raise
        if str(error) != str(before):
            log.warning("Cannot cancel flow instance %s, will try again: %s", flow_instance_id, error)
        return error
    log.info("Asked EnOS to cancel flow instance %s", flow_instance_id)
    return None
