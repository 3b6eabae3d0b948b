"""Decide what a retry starts after an instance that ended badly: all of it again, or from the node that has to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from math import inf
from typing import TYPE_CHECKING

from airflow_provider_enos.errors import EnosError, EnosReplyError
from airflow_provider_enos.protocol.arguments import RetryFrom
from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.models.statuses import FlowStatus
from airflow_provider_enos.protocol.start.attempts import Attempt, Target, nothing_sent
from airflow_provider_enos.protocol.start.pauses import Backoff, is_passing
from airflow_provider_enos.protocol.start.recovery import NoRestart, Restart, left_out, restart_line, restart_of
from airflow_provider_enos.protocol.start.states import StepOutcome
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.protocol.trigger_time import minute_of
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure, Sleep, one_call

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import Flow, FlowInstance, FlowInstanceGraph

_PAUSES = (2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before each further look at a failed instance of which something is still running; the last one repeats."""

_QUEUED = (FlowStatus.WAIT, FlowStatus.READY)
_TURN = 300.0
"""Seconds for which a node of a failed instance may wait for its turn, before it counts as one that never runs."""

_MOST_NAMES = 10


@dataclass
class Restarts:
    """What the next request of a try asks for.

    A retry with ``retry_from="failure"`` restarts from a node. A fresh attempt never does, nor does a retry that may
    follow a clear.

    :param target: what the task is to start.
    """

    target: Target
    attempt: Attempt
    retry_from: RetryFrom
    backoff: Backoff
    log: Log
    next: Target = field(init=False)
    """What the next request asks for."""
    _line: str | None = field(default=None, init=False)
    """What the log says before that request."""
    _is_first_failure: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        """Ask for the same node again as the record says: its request may not have reached EnOS."""
        self.next = self.target
        node, intent = self._node_on_record, self.attempt.intent
        if node is None or intent is None or not self._is_wanted or self.target.parameters or self._hindrance:
            return
        self.next = Target(self.target.flow_id, node)
        self._line = f"Retry {self.attempt.tries_before} restarts flow {self.target.flow_id} from node {node}, as " + (
            f"try {intent.try_number} was to" if intent.try_number else "an earlier try was to"
        )

    @property
    def node(self) -> int | None:
        """The node from which the next request restarts; None where it asks for what the task is to start."""
        return None if self.next is self.target else self.next.from_task_id

    def announce(self) -> None:
        """Log from where the try starts, and why, before its first request."""
        if self._line is not None:
            self.log.info("%s", self._line)
        self._line = None

    def give_up_node(self, error: EnosError) -> bool:
        """Go back to the original start, since the restart node does not exist. Return False if there was none."""
        if self.node is None:
            return False
        self.log.warning("%s: starting as the first time", error)
        self.next = self.target
        return True

    def recover(self, failed: FlowInstance) -> Procedure[StepOutcome]:
        """Wait until nothing of the failed instance runs any more, and choose what the next request asks for."""
        choice: Restart | NoRestart | None = None
        if self._is_wanted:
            choice = yield from self._choose(failed)
            if choice is None:
                return StepOutcome.RUNS_AGAIN
            self._line = restart_line(self.attempt.tries_before, self.target.flow_id, choice)
        self._is_first_failure = False
        self.log.info("%s ended with status %s: starting another", failed.flow_instance_id, str(failed.status))
        if isinstance(choice, Restart):
            self.next = Target(self.target.flow_id, choice.task_id)
            return StepOutcome.FROM_NODE
        self.next = self.target
        return StepOutcome.FROM_START

    @property
    def node_before(self) -> int | None:
        """The node from which an earlier try has restarted its instance; None where it has not restarted one."""
        intent = self.attempt.intent
        if intent is None:
            return self.node
        return intent.from_task_id if intent.is_restart else None

    def ran_incompletely(self, instance: FlowInstance) -> Procedure[bool]:
        """Return whether a restarted instance has succeeded without running all that is downstream of its node."""
        node = self.node_before
        if node is None or not instance.status.ended or instance.status.ended_badly:
            return False
        missed = yield from self.backoff.repeat(lambda: nodes_left_out(instance.flow_instance_id, node))
        if missed:
            self.log.warning("%s", incomplete_line(instance.flow_instance_id, node, missed))
        return bool(missed)

    @property
    def _is_wanted(self) -> bool:
        return self.retry_from == "failure" and not self.attempt.fresh

    @property
    def _node_on_record(self) -> int | None:
        """The node of the last request, if that was a restart of what the task is to start now."""
        intent = self.attempt.intent
        if intent is None or not intent.is_restart or intent.first_task_id != self.target.from_task_id:
            return None
        return intent.from_task_id

    @property
    def _hindrance(self) -> str | None:
        """Why this retry has to run all of it again, whatever the failed instance is; None if nothing is known."""
        attempt, intent = self.attempt, self.attempt.intent
        if attempt.clears > (intent.clears if intent else 0):
            return "tasks of the DAG run have been cleared since, perhaps this one"
        if intent is None:
            return None if self._is_first_failure else "it is not on record from which node it was started"
        if minute_of(intent.trigger_time) != minute_of(attempt.trigger_time):
            return "the trigger time has changed since"
        return None

    def _choose(self, failed: FlowInstance) -> Procedure[Restart | NoRestart | None]:
        """Return the choice; None if the instance runs again."""
        seen = yield from at_rest(failed, self.backoff)
        if seen is None or isinstance(seen, NoRestart):
            return seen
        if why := self._hindrance:
            return NoRestart(why)
        if seen.instance.status.ended and not seen.instance.status.ended_badly:
            return NoRestart("EnOS has not run all nodes downstream of the node that it was restarted from")
        node = self._node_on_record
        started = self.target if node is None else replace(self.target, from_task_id=node)
        return (yield from restart_after(seen, started, self.backoff, is_restart=node is not None))


def restart_after(
    seen: FlowInstanceGraph, started: Target, backoff: Backoff, *, is_restart: bool
) -> Procedure[Restart | NoRestart]:
    """Return the node from which an instance at rest is run again, given its flow as it is now.

    :param started: what was asked for; ``is_restart``: whether that was a restart.
    """
    flow = yield from flow_at(started.flow_id, backoff)
    return flow if isinstance(flow, NoRestart) else restart_of(seen, flow, started, is_restart=is_restart)


def flow_at(flow_id: int, backoff: Backoff) -> Procedure[Flow | NoRestart]:
    """Return the flow as it is now, or the reason why a node of it cannot be chosen."""
    try:
        flow: Flow = yield from backoff.repeat(lambda: one_call(calls.get_flow(flow_id)))
    except EnosError as error:
        if is_passing(error) and not isinstance(error, EnosReplyError):
            raise
        return NoRestart(f"flow {flow_id} cannot be read ({error})")
    backoff.answered()
    return flow


def at_rest(failed: FlowInstance, backoff: Backoff) -> Procedure[FlowInstanceGraph | NoRestart | None]:
    """Wait until nothing of the instance runs any more. Return None if it does not count as ended badly by then."""
    pauses, quiet_since, is_said = chain(_PAUSES, repeat(_PAUSES[-1])), inf, False
    while True:
        try:
            graph = yield from backoff.repeat(lambda: one_call(calls.get_flow_instance_graph(failed.flow_instance_id)))
        except EnosError as error:
            if is_passing(error) and not isinstance(error, EnosReplyError):
                raise
            return NoRestart(f"it cannot be read ({error})")
        backoff.answered()
        now = graph.instance
        if not now.status.ended or (failed.status.ended_badly and not now.status.ended_badly):
            return None
        # Between two nodes of a branch nothing runs for a moment, so one look is enough only after the end.
        is_quiet = backoff.clock() > quiet_since + _patience(now, quiet_since, backoff.deadline)
        if not now.working_nodes and (now.end_time or is_quiet):
            return graph
        quiet_since = inf if now.working_nodes else min(quiet_since, backoff.clock())
        pause, working = next(pauses), _what_goes_on(now)
        if backoff.clock() + pause > backoff.deadline:
            raise nothing_sent(f"the failed flow instance {now.flow_instance_id} has not come to rest{working}")
        if working and not is_said:
            backoff.log.info("Waiting until nothing of %s runs any more%s", now.flow_instance_id, working)
        is_said = is_said or bool(working)
        yield Sleep(pause)


def _patience(instance: FlowInstance, quiet_since: float, deadline: float) -> float:
    """Return for how many seconds nothing may run of an instance without an end before it counts as ended."""
    is_queued = any(node.status in _QUEUED for node in instance.nodes)
    return min(_TURN, (deadline - quiet_since) / 2) if is_queued and quiet_since < inf else 0.0


def _what_goes_on(instance: FlowInstance) -> str:
    """Return which node still runs or waits for its turn, for a line of a log; empty if there is none."""
    for node in instance.working_nodes:
        return f": node {excerpt(str(node), 100)} is running"
    for node in instance.nodes:
        if node.status in _QUEUED:
            return f": node {excerpt(str(node), 100)} waits for its turn"
    return ""


def nodes_left_out(flow_instance_id: str, node: int) -> Procedure[tuple[str, ...]]:
    """Return the nodes downstream of the restart node that a restarted instance has not run, by their names.

    EnOS does not document whether Trigger Flow From Task follows the relations whose ``rerun`` flag is off.
    """
    graph: FlowInstanceGraph = yield calls.get_flow_instance_graph(flow_instance_id)
    return left_out(graph, node)


def incomplete_line(flow_instance_id: str, node: int, missed: Sequence[str]) -> str:
    """Return the line of the log about a restarted instance that has left out nodes."""
    shown = ", ".join(missed[:_MOST_NAMES]) + (", ..." if len(missed) > _MOST_NAMES else "")
    return (
        f"{flow_instance_id} has succeeded, but EnOS did not run all that is downstream of node {node}: {shown}. "
        "The flow is started as the first time"
    )
