"""The flow instances of a task group in one DAG run, and what the task of a node does next.

A group begins with one instance. Each retry or clear of a node's task may add one that starts at a node and runs what
is downstream of it. The newest instance that runs a node is the one that counts for the node's task.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.protocol.start.attempts import Intent
from airflow_provider_enos.protocol.trigger_time import minute_of

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowInstance, FlowInstanceNode


@dataclass(frozen=True, slots=True)
class GroupInstance:
    """One flow instance of a group.

    :param from_task_id: the node from which it was started; None for the whole flow.
    :param index: the index of its minute; see ``minutes``.
    :param runs: the ids of the nodes that it runs; None for all nodes of the group.
    """

    flow_instance_id: str
    from_task_id: int | None
    index: int
    runs: tuple[int, ...] | None = None

    def has(self, node: int) -> bool:
        """Return whether the instance runs this node."""
        return self.runs is None or node in self.runs

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "runs": self.runs and list(self.runs)}

    @classmethod
    def from_json(cls, data: object) -> GroupInstance | None:
        """Return the instance in ``data``; None if it is none."""
        match data:
            case {
                "flow_instance_id": str(flow_instance_id),
                "from_task_id": int() | None as from_task_id,
                "index": int(index),
                "runs": list() | tuple() | None as runs,
            } if runs is None or all(type(one) is int for one in runs):
                return cls(flow_instance_id, from_task_id, index, None if runs is None else tuple(runs))
        return None


@dataclass(frozen=True, slots=True)
class GroupStart:
    """What the ``start`` task of a group has started.

    :param trigger_time: the trigger time of the round, epoch milliseconds: its minute has index 0.
    :param parameters: the parameters of the whole flow; None where it has none.
    :param origin: names the gateway and the organisation.
    """

    flow_id: int
    trigger_time: int
    first: GroupInstance
    origin: str
    parameters: dict[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "first": self.first.to_json()}

    @classmethod
    def from_json(cls, data: object) -> GroupStart | None:
        """Return the start in ``data``; None if it is none."""
        match data:
            case {
                "flow_id": int(flow_id),
                "trigger_time": int(trigger_time),
                "first": dict() as first,
                "origin": str(origin),
                "parameters": dict() | None as parameters,
            } if (instance := GroupInstance.from_json(first)) is not None:
                return cls(flow_id, trigger_time, instance, origin, parameters)
        return None


@dataclass(frozen=True, slots=True)
class GroupRequest:
    """The last request for a further instance that the task of a node has on record.

    :param after: the id of the instance after which it starts another one.
    :param runs: the ids of the nodes that it is to run; None for all nodes of the group.
    """

    after: str
    intent: Intent
    runs: tuple[int, ...] | None

    def may_have_made(self, flow_instance_id: str, time: int) -> bool:
        """Return whether the request may have made this instance, which has the minute of ``time``."""
        if self.intent.refused:
            return False
        if self.intent.flow_instance_id is not None:
            # EnOS may name an instance otherwise than it documents.
            return self.intent.flow_instance_id == flow_instance_id
        return minute_of(self.intent.sent_time) == minute_of(time)

    def instance(self, flow_instance_id: str) -> GroupInstance:
        """Return what the request has made."""
        return GroupInstance(flow_instance_id, self.intent.from_task_id, self.intent.index, self.runs)

    @classmethod
    def from_json(cls, data: object) -> GroupRequest | None:
        """Return the request in ``data``; None if it is none."""
        match data:
            case {"after": str(after), "intent": dict() as stored, "runs": list() | tuple() | None as runs} if (
                intent := Intent.from_json(stored)
            ) is not None and all(type(one) is int for one in runs or ()):
                return cls(after, intent, None if runs is None else tuple(runs))
        return None


def newest_with(node: int, instances: Iterable[GroupInstance]) -> GroupInstance | None:
    """Return the newest of these instances, the oldest of which comes first, that runs the node."""
    found = [one for one in instances if one.has(node)]
    return found[-1] if found else None


def node_of(instance: FlowInstance, task_id: int) -> FlowInstanceNode | None:
    """Return the node with this id; None where the instance does not show it."""
    return next((node for node in instance.nodes if node.task_id == task_id), None)


def outcome_of_node(instance: FlowInstance, task_id: int, *, was_quiet: bool = False) -> Outcome | None:
    """Return how the node has ended in this instance; None while it may still succeed.

    A bad end of a node counts once the instance has ended badly, too: before that, EnOS may run the node again. A node
    that has not run has failed once nothing of the instance runs any more.

    :param was_quiet: whether nothing of the instance ran at the look before this one. Between two nodes of a branch
        nothing runs for a moment, so one look is enough only where EnOS says when the instance has ended.
    """
    node = node_of(instance, task_id)
    outcome = Outcome.RUNNING if node is None or node.status is None else node.status.outcome
    if outcome in (Outcome.SUCCEEDED, Outcome.SKIPPED):
        return outcome
    if not instance.status.ended:
        return None
    if not instance.status.ended_badly:
        return Outcome.SKIPPED if instance.status.outcome is Outcome.SKIPPED else Outcome.FAILED
    if outcome is not Outcome.RUNNING:
        return outcome
    if instance.working_nodes or not (instance.end_time or was_quiet):
        # FAIL comes before the end: another branch may lead to this node.
        return None
    return instance.status.outcome


class NodeStep(Enum):
    """What the task of a node does next."""

    WATCH = "wait until the node has ended"
    END = "end as the node has ended"
    RECOVER = "start another instance, from the node that has to run again, once nothing of this one runs"
    REPEAT = "start another instance, from this node, since its task was cleared after it had succeeded"


@dataclass(frozen=True, slots=True)
class NodeSuccess:
    """The success that a node's task has seen last.

    :param try_number: the try that saw it.
    """

    flow_instance_id: str
    try_number: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> NodeSuccess | None:
        """Return the success in ``data``; None if it is none."""
        match data:
            case {"flow_instance_id": str(flow_instance_id), "try_number": int(try_number)}:
                return cls(flow_instance_id, try_number)
        return None


def next_step(
    instance: FlowInstance,
    task_id: int,
    *,
    runs_again: bool,
    success: NodeSuccess | None,
    tries_before_clear: int,
    was_quiet: bool = False,
) -> NodeStep:
    """Return what the task of the node does, given the newest instance that runs the node.

    :param runs_again: whether this is a further try of the task, which has not waited for this instance yet.
    :param success: the success that an earlier try has seen.
    :param tries_before_clear: how many tries came before the last clear of the task.
    :param was_quiet: as for ``outcome_of_node``.
    """
    outcome, node = outcome_of_node(instance, task_id, was_quiet=was_quiet), node_of(instance, task_id)
    has_run = node is not None and node.has_run
    if outcome is None:
        # Another branch may lead to a node that has not run. If none does, a further try has to recover the instance.
        return NodeStep.RECOVER if runs_again and instance.status.ended_badly and not has_run else NodeStep.WATCH
    if outcome in (Outcome.FAILED, Outcome.CANCELLED):
        return NodeStep.RECOVER if runs_again else NodeStep.END
    if success is None or success.flow_instance_id != instance.flow_instance_id:
        return NodeStep.END
    # A clear asks for another run. A retry, such as that of a worker that was lost, does not.
    return NodeStep.REPEAT if success.try_number <= tries_before_clear else NodeStep.END
