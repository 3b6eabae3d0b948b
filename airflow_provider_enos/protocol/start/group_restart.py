"""Choose what the task of a node starts after the newest instance of its group.

The choice depends on that instance alone, so tasks of several nodes that retry at once come to the same request, and
the minute makes it one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from airflow_provider_enos.protocol.start.attempts import Target
from airflow_provider_enos.protocol.start.group import GroupInstance, GroupRequest, GroupStart, NodeStep
from airflow_provider_enos.protocol.start.lookup import can_be_ours
from airflow_provider_enos.protocol.start.pauses import Backoff
from airflow_provider_enos.protocol.start.recovery import NoRestart, Restart, repeat_of
from airflow_provider_enos.protocol.start.restarts import at_rest, flow_at, restart_after
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.protocol.wire.messages import Procedure, Sleep

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowInstance, FlowInstanceGraph

_MOST_NAMES = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start.

    :param runs: the ids of the nodes that it runs; None for all nodes of the group.
    :param line: what the log says about it.
    """

    target: Target
    runs: tuple[int, ...] | None
    line: str

    def has(self, node: int) -> bool:
        """Return whether what it starts runs this node."""
        return self.runs is None or node in self.runs


def plan_after(
    start: GroupStart, at: GroupInstance, seen: FlowInstance, task_id: int, step: NodeStep, backoff: Backoff
) -> Procedure[Plan | None]:
    """Return what follows the instance ``at``, once nothing of it runs any more. None if it runs again.

    :param seen: how it was when the task decided.
    :param task_id: the node of the task.
    :param step: ``RECOVER`` or ``REPEAT``.
    """
    graph = yield from at_rest(seen, backoff)
    if graph is None:
        return None
    if isinstance(graph, NoRestart):
        return _as_first(start, at, graph)
    target = Target(start.flow_id, at.from_task_id, start.parameters)
    if step is NodeStep.REPEAT:
        return (yield from _repeat(start, at, graph, target, task_id, backoff))
    is_restart = at.from_task_id != start.first.from_task_id
    choice = yield from restart_after(graph, target, backoff, is_restart=is_restart)
    if not isinstance(choice, Restart):
        return _as_first(start, at, choice)
    runs = tuple(node.task_id for node in choice.runs_again if node.task_id is not None)
    names = [excerpt(node.task_name, 100) for node in choice.runs_again]
    more = ", ..." if len(names) > _MOST_NAMES else ""
    return Plan(
        Target(start.flow_id, choice.task_id), runs, f"from {choice}. It runs {', '.join(names[:_MOST_NAMES])}{more}"
    )


def _repeat(
    start: GroupStart, at: GroupInstance, graph: FlowInstanceGraph, target: Target, task_id: int, backoff: Backoff
) -> Procedure[Plan]:
    flow = yield from flow_at(target.flow_id, backoff)
    runs = flow if isinstance(flow, NoRestart) else repeat_of(graph, flow, target, task_id)
    if isinstance(runs, NoRestart):
        return _as_first(start, at, runs)
    line = f"from node {task_id}: its task was cleared after it had succeeded in {at.flow_instance_id}"
    return Plan(Target(start.flow_id, task_id), runs, line)


def _as_first(start: GroupStart, at: GroupInstance, why: NoRestart) -> Plan:
    target = Target(start.flow_id, start.first.from_task_id, start.parameters)
    return Plan(target, None, f"as the first time, after {at.flow_instance_id}: {why.why}")


_PAUSE, _LOOKS = 1.0, 15
"""Seconds between two looks at the record of a task whose request may be under way, and how many of them."""


class Requests(Protocol):
    """The record of the group, as far as it is about its restarts."""

    def start(self) -> GroupStart: ...

    def instances(self, start: GroupStart) -> tuple[GroupInstance, ...]: ...

    def requests(self, nodes: Iterable[int]) -> list[GroupRequest]: ...


@dataclass(frozen=True, slots=True)
class Siblings:
    """The other tasks of the group, which may have started the instance that has a minute.

    :param after: the instance that this task starts another one after.
    :param node: the node of this task.
    :param plan: what it starts.
    :param nodes: the nodes of the other tasks.
    :param clock: epoch seconds as the gateway counts them.
    """

    after: GroupInstance
    node: int
    plan: Plan
    record: Requests
    nodes: Sequence[int]
    clock: Callable[[], float]

    def known(self, flow_instance_id: str) -> GroupInstance | None:
        """Return the instance as it is on record, or as another task knows it that has its id."""
        return self._known(flow_instance_id, self.record.requests(self.nodes))

    def _known(self, id: str, requests: list[GroupRequest]) -> GroupInstance | None:
        on_record = [one for one in self.record.instances(self.record.start()) if one.flow_instance_id == id]
        # The task to which EnOS has named it has started it. Others may have taken it over.
        claims = sorted(requests, key=lambda one: not one.intent.named)
        claimed = [one.instance(id) for one in claims if one.intent.flow_instance_id == id]
        return next(iter(on_record + claimed), None)

    def have_started(self, found: FlowInstance, time: int) -> Procedure[bool]:
        """Return whether another task has started this instance, and it runs the node of this task, too.

        :param time: a moment of its minute, epoch milliseconds.
        """
        one = yield from self._started(found, time)
        return one is not None and one.has(self.node)

    def have_started_otherwise(self, found: FlowInstance, time: int) -> Procedure[bool]:
        """Return whether another task has started this instance from another node than this task starts from."""
        one = yield from self._started(found, time)
        return one is not None and one.from_task_id != self.plan.target.from_task_id

    def _started(self, found: FlowInstance, time: int) -> Procedure[GroupInstance | None]:
        """Return the instance as another task knows it that has started it; None if none has, as far as can be told."""
        id, asked = found.flow_instance_id, list[GroupRequest]()
        for _ in range(_LOOKS):
            requests = self.record.requests(self.nodes)
            known, asked = self._known(id, requests), [one for one in requests if one.may_have_made(id, time)]
            if known is not None or not asked:
                return known
            # A request is under way. Its task knows better than this one whose the instance is.
            yield Sleep(_PAUSE)
        same = [one for one in asked if self._is_same(one)]
        first = min((one.intent.first_sent for one in same), default=0)
        is_theirs = same and (yield from can_be_ours(found, first, int(self.clock() * 1000)))
        return same[0].instance(id) if is_theirs else None

    def _is_same(self, request: GroupRequest) -> bool:
        """Return whether another task has asked for the same as this one."""
        is_after = request.after == self.after.flow_instance_id
        return is_after and request.intent.from_task_id == self.plan.target.from_task_id
