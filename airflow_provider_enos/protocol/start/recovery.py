"""Choose the node from which a flow instance that ended badly is run again.

A retry with ``retry_from="failure"`` does not start the flow from the beginning, but from one of its nodes, by Trigger
Flow From Task. That call runs the node and everything downstream of it. So the restart node must lead to every
unfinished node, and of the nodes that do, it is the one that repeats the fewest nodes that had succeeded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from airflow_provider_enos.protocol.models import FlowInstanceGraph, FlowStatus, Outcome
from airflow_provider_enos.protocol.text import excerpt

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import Flow, FlowInstance, FlowInstanceNode, Relation
    from airflow_provider_enos.protocol.start.attempts import Target

_NOT_STARTED = (FlowStatus.INIT, FlowStatus.WAIT, FlowStatus.READY)


@dataclass(frozen=True, slots=True)
class Restart:
    """The node to start from. The counts are of the nodes that the failed instance had to run.

    :param nodes: how many nodes that were.
    :param failed: how many nodes failed.
    :param cancelled: how many nodes were cancelled.
    :param never_ran: how many nodes did not begin.
    :param not_finished: how many nodes have another status that is no success, such as a suspended node.
    :param kept: how many nodes that had succeeded do not run again.
    :param repeated: how many nodes that had succeeded run again.
    :param provisional: whether this holds only if the nodes that still run succeed.
    :param runs_again: the restart node and everything downstream of it, in the order of the graph.
    :param stays: the nodes that had succeeded and do not run again, in the order of the graph.
    """

    task_id: int
    task_name: str
    nodes: int
    failed: int
    cancelled: int
    never_ran: int
    not_finished: int
    kept: int
    repeated: int
    provisional: bool = False
    runs_again: tuple[FlowInstanceNode, ...] = ()
    stays: tuple[FlowInstanceNode, ...] = ()

    def __str__(self) -> str:
        return f"{self.node}: {self.summary}"

    @property
    def node(self) -> str:
        """The node, for a line of a log."""
        return f"node {excerpt(self.task_name, 100)} ({self.task_id})"

    @property
    def summary(self) -> str:
        """What became of the nodes, and which of them run again, for a line of a log."""
        counts = (
            (self.failed, "failed"),
            (self.cancelled, "were cancelled" if self.cancelled > 1 else "was cancelled"),
            (self.never_ran, "never ran"),
            (self.not_finished, "did not finish"),
        )
        (first, what), *more = [(count, what) for count, what in counts if count]
        unfinished = ", ".join(
            [f"{first} of {_nodes(self.nodes)} {what}", *(f"{count} {what}" for count, what in more)]
        )
        again = f", {self.repeated} run{'s' * (self.repeated == 1)} again" if self.repeated else ""
        return f"{unfinished}; {self.kept} that succeeded {'is' if self.kept == 1 else 'are'} kept{again}"


@dataclass(frozen=True, slots=True)
class NoRestart:
    """No node to start from: what was started the first time is started again.

    :param why: the reason, for a log.
    :param for_now: whether there may be a node once nothing of the instance runs, or once the flow is known.
    """

    why: str
    for_now: bool = False


class _Impossible(Exception):
    """There is no restart node; the message says why."""


class _NotKnownYet(_Impossible):
    """There is no restart node as far as is known now."""


def restart_of(
    graph: FlowInstanceGraph, flow: Flow | None = None, target: Target | None = None, *, is_restart: bool = False
) -> Restart | NoRestart:
    """Return the node from which the failed instance is run again, or the reason why there is none.

    :param graph: the instance. Nothing of it may be running any more.
    :param flow: the flow as it is now; None where EnOS cannot be asked for it.
    :param target: what was started; None where that is not known. Then the instance counts as started from the nodes
        that ran in it.
    :param is_restart: whether ``target`` was itself chosen as a restart node. Then to start from it again is a restart,
        too: what is upstream of it had succeeded before.
    """
    try:
        _check(graph, flow, target)
        nodes = _Nodes(graph.instance.nodes, _relations_of(graph, flow))
        return _choose(nodes, target, from_everywhere=target is None or is_restart)
    except _Impossible as reason:
        return NoRestart(str(reason), for_now=isinstance(reason, _NotKnownYet))


def rerun_of(instance: FlowInstance) -> Restart | NoRestart:
    """Return the node from which a rerun of an instance would start, or why there is none. This asks EnOS nothing.

    It is what the instance alone tells. The rerun itself also looks at the flow as it is now. Where nodes still run, it
    is the node of the case that they and the nodes after them succeed.
    """
    graph = FlowInstanceGraph.of(instance)
    if not (instance.status.ended_badly and instance.working_nodes):
        return restart_of(graph)
    try:
        nodes = _Nodes(instance.nodes, _relations_of(graph, None)).if_all_goes_well()
    except _Impossible:
        return restart_of(graph)
    choice = restart_of(replace(graph, instance=replace(instance, nodes=tuple(nodes))))
    return replace(choice, provisional=True) if isinstance(choice, Restart) else restart_of(graph)


def rerun_line(choice: Restart | NoRestart) -> str:
    """Return the line that tells readers of a failure from where a rerun would start."""
    if isinstance(choice, Restart):
        if_it_holds = ", if what still runs succeeds" if choice.provisional else ""
        return f"A rerun would start from {choice.node}{if_it_holds}: {choice.summary}"
    if choice.for_now:
        return f"From which node a rerun would start is not known yet: {choice.why}"
    return f"A rerun has no node to start from: {choice.why}"


def repeat_of(graph: FlowInstanceGraph, flow: Flow, target: Target, task_id: int) -> tuple[int, ...] | NoRestart:
    """Return the ids of the nodes that run if the flow is started from this node; the reason why it cannot be.

    :param target: what the instance was asked for.
    """
    try:
        _check(graph, flow, target)
        nodes = _Nodes(graph.instance.nodes, _relations_of(graph, flow))
        return tuple(node.task_id for node in nodes.of(nodes.from_node(task_id)) if node.task_id is not None)
    except _Impossible as reason:
        return NoRestart(str(reason), for_now=isinstance(reason, _NotKnownYet))


def left_out(graph: FlowInstanceGraph, task_id: int) -> tuple[str, ...]:
    """Return the names of the nodes downstream of this node that did not run though they were not skipped.

    Return none where the graph cannot be read: then nothing shows that EnOS has left out a node.
    """
    try:
        nodes = _Nodes(graph.instance.nodes, _relations_of(graph, None))
        below = nodes.from_node(task_id)
    except _Impossible:
        return ()
    missed = below & nodes.where(lambda node: node.status in _NOT_STARTED)
    return tuple(excerpt(node.task_name, 100) for number, node in enumerate(nodes.all) if missed >> number & 1)


def restart_line(retry: int, flow_id: int, choice: Restart | NoRestart) -> str:
    """Return the line of the log that says from where a retry starts, and why. ``retry``: 1 for the first one."""
    if isinstance(choice, Restart):
        return f"Retry {retry} restarts flow {flow_id} from {choice}"
    return f"Retry {retry} starts flow {flow_id} as the first time: {choice.why}"


def _nodes(number: int) -> str:
    return f"{number} node" if number == 1 else f"{number} nodes"


def _check(graph: FlowInstanceGraph, flow: Flow | None, target: Target | None) -> None:
    """Raise the reason why the instance cannot be run again from one of its nodes."""
    instance = graph.instance
    if not instance.status.ended:
        raise _NotKnownYet(f"it has not ended, its status is {instance.status}")
    if instance.nodes_left_out or instance.nodes_left_out is None or graph.left_out:
        raise _Impossible("its graph cannot be read completely")
    if not instance.nodes:
        raise _Impossible("its graph has no nodes")
    if working := instance.working_nodes:
        raise _NotKnownYet(f"node {working[0]} is still running")
    if graph.flows or (flow is not None and flow.flows):
        raise _Impossible("it depends on other flows")
    if target is not None and target.parameters is not None:
        raise _Impossible("it has parameters, which cannot be given to a start from a node")
    if flow is None:
        return
    if target is None and instance.parameters and set(instance.parameters) != set(flow.parameters):
        raise _Impossible("its parameters are not those of the flow")
    ids, present = {node.task_id for node in instance.nodes}, {node.task_id for node in flow.nodes}
    is_whole = target is not None and target.from_task_id is None
    if not ids <= present or (is_whole and ids != present):
        raise _Impossible(f"the nodes of flow {flow.flow_id} have changed since")


def _relations_of(graph: FlowInstanceGraph, flow: Flow | None) -> Sequence[tuple[str, str]]:
    """Return the edges between the nodes of the instance: its own, or those of the flow if it gives none."""
    relations: Sequence[Relation] = graph.relations
    names = {node.node_id: node.node_id for node in graph.instance.nodes}
    if not relations and len(graph.instance.nodes) > 1:
        if flow is None:
            raise _NotKnownYet("its graph has no relations")
        relations = flow.relations
        # The ids of nodes may differ between a flow and its instance; those of tasks do not.
        of_tasks = {node.task_id: node.node_id for node in graph.instance.nodes}
        names = {node.node_id: of_tasks.get(node.task_id, "") for node in flow.nodes}
    for relation in relations:
        if relation.source not in names or relation.target not in names:
            raise _Impossible("a relation of its graph leads to an unknown node")
        if relation.of_another_day:
            raise _Impossible(f"a node of it depends on the run of another day ({excerpt(relation.cycle_gap, 20)})")
    edges = ((names[relation.source], names[relation.target]) for relation in relations)
    # Nodes that the instance does not have are upstream of its start.
    return [(source, target) for source, target in edges if source and target]


class _Nodes:
    """The nodes of an instance and their order. A set of nodes is a number, with one bit for each of them.

    :raises _Impossible: the nodes cannot be told apart, or the edges are a cycle.
    """

    def __init__(self, nodes: Sequence[FlowInstanceNode], edges: Sequence[tuple[str, str]]) -> None:
        self.all = nodes
        numbers = {node.node_id: number for number, node in enumerate(nodes)}
        if len(numbers) < len(nodes) or len({node.task_id for node in nodes}) < len(nodes):
            raise _Impossible("several nodes of its graph have the same id")
        after: dict[int, list[int]] = {number: [] for number in range(len(nodes))}
        for source, target in edges:
            after[numbers[source]].append(numbers[target])
        try:
            backwards = list(TopologicalSorter(after).static_order())
        except CycleError:
            raise _Impossible("its graph has a cycle") from None
        self.downstream = [1 << number for number in range(len(nodes))]
        """For each node, itself and everything downstream of it."""
        for number in backwards:
            for following in after[number]:
                self.downstream[number] |= self.downstream[following]
        self.depth = [0] * len(nodes)
        """For each node, the length of the longest way to it."""
        for number in reversed(backwards):
            for following in after[number]:
                self.depth[following] = max(self.depth[following], self.depth[number] + 1)

    def where(self, test: Callable[[FlowInstanceNode], bool]) -> int:
        """Return the nodes that pass the test."""
        return sum(1 << number for number, node in enumerate(self.all) if test(node))

    def if_all_goes_well(self) -> list[FlowInstanceNode]:
        """Return the nodes as they will be if what runs succeeds, and then what comes after that."""
        stopped = 0
        for number, node in enumerate(self.all):
            if node.status is not None and node.status.ended_badly:
                stopped |= self.downstream[number]
        succeeds = self.from_all_that_ran() & ~stopped & ~self.where(_ended_as(Outcome.SKIPPED))
        return [
            replace(node, status=FlowStatus.SUCCESS) if succeeds >> number & 1 else node
            for number, node in enumerate(self.all)
        ]

    def of(self, numbers: int) -> tuple[FlowInstanceNode, ...]:
        """Return the nodes of this set."""
        return tuple(node for number, node in enumerate(self.all) if numbers >> number & 1)

    def from_node(self, task_id: int) -> int:
        """Return the node of this id and everything downstream of it."""
        for number, node in enumerate(self.all):
            if node.task_id == task_id:
                return self.downstream[number]
        raise _Impossible(f"its graph does not have the node {task_id} that it was started from")

    def from_all_that_ran(self) -> int:
        """Return every node that ran, and everything downstream of them."""
        scope = 0
        for number, node in enumerate(self.all):
            if node.has_run:
                scope |= self.downstream[number]
        return scope

    def leading_to(self, wanted: int, scope: int) -> list[int]:
        """Return the numbers of the nodes of ``scope`` from which all ``wanted`` nodes run."""
        return [
            number
            for number, node in enumerate(self.all)
            if node.task_id is not None and scope >> number & 1 and not wanted & ~self.downstream[number]
        ]


def _choose(nodes: _Nodes, target: Target | None, *, from_everywhere: bool) -> Restart:
    """Return the restart node. ``from_everywhere``: also where everything runs again."""
    if target is None:
        scope = nodes.from_all_that_ran()
    elif target.from_task_id is not None:
        scope = nodes.from_node(target.from_task_id)
    else:
        scope = nodes.where(lambda node: True)
    succeeded = scope & nodes.where(_ended_as(Outcome.SUCCEEDED))
    unfinished = scope & ~nodes.where(_ended_as(Outcome.SUCCEEDED, Outcome.SKIPPED))
    if not scope:
        raise _Impossible("none of its nodes has run")
    if not unfinished:
        raise _Impossible("none of its nodes is unfinished")
    candidates = nodes.leading_to(unfinished, scope)
    if not candidates:
        raise _Impossible("no single node leads to all of its unfinished nodes")
    best = min(candidates, key=lambda number: (_count(nodes.downstream[number] & succeeded), -nodes.depth[number]))
    node, again = nodes.all[best], nodes.downstream[best]
    if node.task_id is None or not (from_everywhere or scope & ~again):
        raise _Impossible(
            f"everything runs again, since its unfinished nodes begin with {excerpt(node.task_name, 100)}"
        )
    failed = unfinished & nodes.where(_ended_as(Outcome.FAILED))
    cancelled = unfinished & nodes.where(_ended_as(Outcome.CANCELLED))
    not_ended = unfinished & ~failed & ~cancelled
    ran = nodes.where(lambda node: node.has_run)
    return Restart(
        task_id=node.task_id,
        task_name=node.task_name,
        nodes=_count(scope),
        failed=_count(failed),
        cancelled=_count(cancelled),
        never_ran=_count(not_ended & ~ran),
        not_finished=_count(not_ended & ran),
        kept=_count(succeeded & ~again),
        repeated=_count(succeeded & again),
        runs_again=nodes.of(again),
        stays=nodes.of(succeeded & ~again),
    )


def _ended_as(*outcomes: Outcome) -> Callable[[FlowInstanceNode], bool]:
    return lambda node: node.status is not None and node.status.outcome in outcomes


def _count(nodes: int) -> int:
    return nodes.bit_count()
