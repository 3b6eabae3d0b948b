"""Cancel a flow instance, and find out whether it was really cancelled.

EnOS accepts a cancel before it carries it out, and does not say what happens to a cancel that comes too late. So its
answer does not count here: the status of the instance afterwards does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_provider_enos.errors import EnosCancelError, EnosError, EnosFlowTimeoutError, EnosPollLostError
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.follow.poll_tolerance import is_refusal
from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure, Sleep

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowInstance

_FIRST_PAUSE = 1.0


def has_stopped(instance: FlowInstance) -> bool:
    """Return whether no node of it runs any more. EnOS shows FAIL once one node has failed, while others may run."""
    return instance.status.ended and not instance.working_nodes


def was_cancelled(instance: FlowInstance) -> bool:
    """Return whether a cancel has stopped it, or at least the nodes that still ran after a failure."""
    return instance.status.outcome is Outcome.CANCELLED or bool(instance.nodes_with(Outcome.CANCELLED))


def ask_to_cancel(
    watch: InstanceWatch,
    *,
    poll_interval: float,
    deadline: float,
    clock: Callable[[], float],
    log: Log,
    tolerance: float,
) -> Procedure[FlowInstance]:
    """Ask EnOS to cancel the instance, unless it has stopped; return the instance as it was before.

    A cancel that fails is sent again every ``poll_interval`` seconds while the instance runs.

    :param deadline: epoch seconds.
    :param tolerance: for how many seconds EnOS may refuse the cancel.
    :raises EnosPollLostError: EnOS refused the cancel for longer than ``tolerance``.
    :raises EnosFlowTimeoutError: at the ``deadline``.
    """
    cancel = _Cancel(watch.flow_instance_id, log, tolerance)
    while True:
        instance = yield from watch.look(clock=clock, deadline=deadline)
        if instance is not None:
            if has_stopped(instance):
                return instance
            if (yield from cancel.ask(clock)):
                return instance
        left = deadline - clock()
        if left <= 0:
            late = watch.out_of_time()
            raise _late(late, _not_accepted(cancel.failure)) if cancel.failure else late
        yield Sleep(min(poll_interval, left))


def await_stop(
    watch: InstanceWatch, *, poll_interval: float, deadline: float, clock: Callable[[], float]
) -> Procedure[FlowInstance]:
    """Wait until a cancelled instance has stopped. Raise what ``ask_to_cancel`` raises."""
    # Most instances stop at once, but only after the answer to the cancel.
    yield Sleep(min(poll_interval, _FIRST_PAUSE))
    try:
        return (yield from watch.wait(poll_interval=poll_interval, deadline=deadline, clock=clock, until=has_stopped))
    except EnosFlowTimeoutError as error:
        said = "EnOS has accepted to cancel it, but cannot stop jobs that a node has submitted already"
        raise _late(error, said) from None


def stopped_at_once(
    watch: InstanceWatch, *, poll_interval: float, clock: Callable[[], float]
) -> Procedure[FlowInstance | None]:
    """Poll once, soon after the cancel was accepted; return the instance if it has stopped, otherwise None."""
    yield Sleep(min(poll_interval, _FIRST_PAUSE))
    instance = yield from watch.look_before_deferral(clock=clock)
    return instance if instance is not None and has_stopped(instance) else None


def cancel_late(error: EnosFlowTimeoutError) -> Procedure[EnosFlowTimeoutError]:
    """Cancel an instance that did not end in time; return the error to raise."""
    failure = yield from try_to_cancel(error.flow_instance_id)
    return _late(error, _not_accepted(failure) if failure else "it was asked to be cancelled")


def try_to_cancel(flow_instance_id: str) -> Procedure[EnosError | None]:
    """Send a cancel, and once more if it is refused, since the connection is read again then; return the error."""
    for last in (False, True):
        try:
            yield calls.cancel_flow_instance(flow_instance_id)
        except EnosError as error:
            if last or not is_refusal(error):
                return error
        else:
            return None
    raise AssertionError("unreachable")


def not_cancelled(instance: FlowInstance) -> EnosCancelError:
    """Return the error of a cancel that came too late."""
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


class _Cancel:
    """A cancel that is sent until EnOS accepts it. ``failure``: the last error."""

    def __init__(self, flow_instance_id: str, log: Log, tolerance: float) -> None:
        self.failure: EnosError | None = None
        self._id = flow_instance_id
        self._log = log
        self._tolerance = tolerance
        self._refused_since: float | None = None

    def ask(self, clock: Callable[[], float]) -> Procedure[bool]:
        """Send the cancel; return whether EnOS has accepted it. Log an error unless the one before said the same."""
        try:
            yield calls.cancel_flow_instance(self._id)
        except EnosError as error:
            self._note(error, clock())
            return False
        self._log.info("Asked EnOS to cancel flow instance %s", self._id)
        return True

    def _note(self, error: EnosError, now: float) -> None:
        if not is_refusal(error):
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = now
        lasted = 0.0 if self._refused_since is None else now - self._refused_since
        if is_refusal(error) and lasted >= self._tolerance:
            raise EnosPollLostError(
                f"flow instance {self._id}: cancelling it was refused for {lasted:.0f} s; it may still run. "
                f"Last error: {error}",
                flow_instance_id=self._id,
            ) from error
        if str(error) != str(self.failure):
            self._log.warning("Cannot cancel flow instance %s, will try again: %s", self._id, error)
        self.failure = error
