"""Choose what the task of a node starts after the newest instance of its group.

The choice depends on that instance alone, so tasks of several nodes that retry at once come to the same request, and
the minute makes it one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_enos.protocol.start.attempts import Target
from airflow_provider_enos.protocol.start.group import GroupInstance, GroupStart, NodeStep
from airflow_provider_enos.protocol.start.pauses import Backoff
from airflow_provider_enos.protocol.start.recovery import NoRestart, Restart, repeat_of
from airflow_provider_enos.protocol.start.restarts import at_rest, flow_at, restart_after
from airflow_provider_enos.protocol.wire.messages import Procedure

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowInstance, FlowInstanceGraph


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
    return Plan(Target(start.flow_id, choice.task_id), runs, f"from {choice}")


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
