"""What the commands do to an instance: start it, wait for its end, cancel it."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import TypedDict

from airflow_provider_enos.cli.display import next_after_failure, rerun_command
from airflow_provider_enos.cli.log_follower import TOLERANCE
from airflow_provider_enos.cli.runner import SKIPPED, Failure, Invocation, UsageError
from airflow_provider_enos.errors import (
    EnosFlowError,
    EnosFlowTimeoutError,
    EnosPollLostError,
    EnosTriggerTargetError,
    EnosTriggerUncertainError,
)
from airflow_provider_enos.protocol import trigger_time as times
from airflow_provider_enos.protocol.follow.cancelling import ask_to_cancel, await_stop, has_stopped
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch, conclude
from airflow_provider_enos.protocol.models import FlowInstance, Outcome
from airflow_provider_enos.protocol.start.attempts import Attempt, Intent, Target
from airflow_provider_enos.protocol.start.starting import Starter
from airflow_provider_enos.protocol.start.targets import TargetChoice
from airflow_provider_enos.protocol.wire.names import Choice, flow_id_of


def start(call: Invocation) -> str:
    """Start the flow that the options name; return the id of the instance."""
    options = call.options
    attempt = Attempt(times.parse(options.trigger_time, now=int(time() * 1000)))
    return start_target(call, _target(call), attempt)


def start_target(call: Invocation, target: Target, attempt: Attempt) -> str:
    """Start exactly one instance; return its id."""
    starter = Starter(
        target,
        attempt,
        _Record(call, target),
        call.terminal,
        on_conflict=call.options.on_conflict,
        tolerance=0.0,
        deadline=time() + call.options.timeout,
        clock=time,
        gateway_clock=lambda: call.hook.client.gateway.now(),
    )
    try:
        return call.hook.client.run(starter.run()).flow_instance_id
    except EnosTriggerUncertainError as error:
        call.terminal.note(_how_to_look(call, error.flow_instance_id))
        raise
    except EnosTriggerTargetError as error:
        raise _not_found(call, error) from error


def flow_of(call: Invocation) -> int:
    """Return the id of the flow that the options name. Raise ``UsageError`` unless exactly one of them does."""
    return find_flow(call, _flow(call))


def find_flow(call: Invocation, flow: Choice) -> int:
    """Return the id of a flow. Raise ``Failure`` unless exactly one has the name."""
    try:
        return call.hook.client.run(flow_id_of(flow, call.terminal))
    except EnosTriggerTargetError as error:
        raise _not_found(call, error) from error


def _flow(call: Invocation) -> Choice:
    flow_id, flow_name = call.options.flow_id, call.options.flow_name
    if (flow_id is None) == (flow_name is None):
        raise UsageError("give either FLOW_ID or --flow-name")
    return Choice(flow_id, flow_name)


def _target(call: Invocation) -> Target:
    options = call.options
    is_from_node = options.from_task is not None or options.from_task_name is not None
    choice = TargetChoice(
        _flow(call),
        Choice(options.from_task, options.from_task_name) if is_from_node else None,
        dict(options.parameter) if options.parameter else None,
    )
    try:
        return call.hook.client.run(choice.target(call.terminal))
    except EnosTriggerTargetError as error:
        raise _not_found(call, error) from error


def _not_found(call: Invocation, error: EnosTriggerTargetError) -> Failure:
    return Failure(f"{error}. To find an id: {call.next_command('flows')}")


class _Record:
    """The record of a start. It is not stored: it only lets an interrupt say what it may leave behind."""

    superseded = False

    def __init__(self, call: Invocation, target: Target) -> None:
        self._call, self._target = call, target

    def save(self, intent: Intent) -> None:
        if intent.flow_instance_id is not None:
            say_how_to_follow(self._call, intent.flow_instance_id)
        elif not intent.refused:
            predicted = times.predicted_flow_instance_id(self._target.flow_id, intent.sent_time)
            said = f"The flow may have been started. {_how_to_look(self._call, predicted)}"
            self._call.terminal.when_interrupted = said


def _how_to_look(call: Invocation, flow_instance_id: str) -> str:
    return f"Before you start it again, look: {call.next_command('instance', flow_instance_id)}"


def say_how_to_follow(call: Invocation, flow_instance_id: str) -> None:
    """Prepare the note of an interrupt: the instance runs on, and how to follow or end it."""
    call.terminal.when_interrupted = (
        f"Flow instance {flow_instance_id} runs on. To follow it again: "
        f"{call.next_command('instance', '--wait', flow_instance_id)}. "
        f"To end it: {call.next_command('cancel', flow_instance_id)}"
    )


def wait_for_end(call: Invocation, flow_instance_id: str, *, known: bool) -> FlowInstance:
    """Return the instance once it has ended, and note what happens until then.

    :param known: whether EnOS is known to have the instance. If so, "not found" is tolerated too.
    """
    return _wait(call, _watch(call, flow_instance_id, known=known))


def _wait(call: Invocation, watch: InstanceWatch, until: Callable[[FlowInstance], bool] | None = None) -> FlowInstance:
    try:
        return call.hook.client.run(watch.wait(**_pace(call), until=until))
    except (EnosFlowTimeoutError, EnosPollLostError):
        call.terminal.note(call.terminal.when_interrupted)
        raise


def wait_until_stopped(call: Invocation, flow_instance_id: str) -> FlowInstance:
    """Return the instance once no node of it runs any more, and note what happens until then."""
    return _wait(call, _watch(call, flow_instance_id, known=True), until=has_stopped)


def end_as(call: Invocation, instance: FlowInstance) -> int:
    """Return the exit code for how the instance ended. Raise ``EnosFlowError``, which says why, if it ended badly."""
    link = call.hook.settings.link(instance.flow_instance_id)
    try:
        outcome = call.hook.client.run(conclude(instance, task_logs="failed", link=link, log=call.terminal))
    except EnosFlowError:
        if next_command := next_after_failure(call, instance, {}):
            call.terminal.note(f"The whole log: {next_command}")
        if next_command := rerun_command(call, instance):
            call.terminal.note(f"To run again what did not finish: {next_command}")
        raise
    return SKIPPED if outcome is Outcome.SKIPPED else 0


def cancel_and_wait(call: Invocation) -> FlowInstance:
    """Cancel the instance unless it has stopped; return it once it has."""
    flow_instance_id = call.options.flow_instance_id
    watch, pace = _watch(call, flow_instance_id), _pace(call)
    found = call.hook.client.run(ask_to_cancel(watch, log=call.terminal, tolerance=0.0, **pace))
    if has_stopped(found):
        return found
    call.terminal.when_interrupted = f"EnOS was asked to cancel {flow_instance_id}."
    return call.hook.client.run(await_stop(watch, **pace))


class _Pace(TypedDict):
    poll_interval: float
    deadline: float
    clock: Callable[[], float]


def _pace(call: Invocation) -> _Pace:
    return {"poll_interval": call.options.poll_interval, "deadline": time() + call.options.timeout, "clock": time}


def _watch(call: Invocation, flow_instance_id: str, *, known: bool = False) -> InstanceWatch:
    link = call.hook.settings.link(flow_instance_id)
    return InstanceWatch(flow_instance_id, tolerance=TOLERANCE, log=call.terminal, link=link, known=known, strict=True)
