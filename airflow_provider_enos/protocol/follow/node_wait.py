"""Wait for one node of a flow instance, and end as the node has ended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_enos.errors import EnosFlowCancelledError, EnosFlowError, EnosFlowFailedError
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.follow.options import TaskLogs
from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.protocol.start.group import node_of, outcome_of_node
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.protocol.wire.messages import Procedure

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.follow.log_tail import LogStream
    from airflow_provider_enos.protocol.models import FlowInstance


class NodeWatch(InstanceWatch):
    """Wait until a node of a flow instance has ended, or cannot run any more.

    :param task_id: the node. EnOS calls it taskId.
    :param for_rest: whether to wait until nothing of the instance runs any more, in place of that.
    """

    __slots__ = ("_was_quiet", "for_rest", "outcome", "task_id")

    needs_nodes = True

    def __init__(
        self,
        flow_instance_id: str,
        task_id: int,
        *,
        tolerance: float,
        log: Log,
        link: str | None = None,
        known: bool = False,
        stream: LogStream | None = None,
        for_rest: bool = False,
    ) -> None:
        super().__init__(flow_instance_id, tolerance=tolerance, log=log, link=link, known=known, stream=stream)
        self.task_id = task_id
        self.for_rest = for_rest
        self.outcome: Outcome | None = None
        """How the node has ended."""
        self._was_quiet = False

    def part_of(self, instance: FlowInstance) -> FlowInstance:
        node = node_of(instance, self.task_id)
        return replace(instance, nodes=() if node is None else (node,))

    def saw(self, instance: FlowInstance, now: float) -> None:
        super().saw(instance, now)
        is_quiet = instance.status.ended and not instance.working_nodes
        if self.for_rest:
            is_at_rest = is_quiet and (bool(instance.end_time) or self._was_quiet)
            self.outcome = instance.status.outcome if is_at_rest else None
        else:
            self.outcome = outcome_of_node(instance, self.task_id, was_quiet=self._was_quiet)
        self._was_quiet = is_quiet

    def is_over(self, seen: FlowInstance) -> bool:
        return self.outcome is not None


def conclude_node(
    instance: FlowInstance,
    task_id: int,
    name: str,
    *,
    task_logs: TaskLogs,
    link: str | None,
    log: Log,
    stream: LogStream | None = None,
) -> Procedure[Outcome]:
    """Return how the node has ended if it succeeded or was skipped; otherwise raise the error that says why not.

    :param name: the node's name in the definition, for an instance that does not show the node.
    :param stream: what has shown the log of the node so far.
    :raises EnosFlowFailedError: with the end of the node's log.
    :raises EnosFlowCancelledError: the node was cancelled, or the instance before the node ran.
    """
    outcome = outcome_of_node(instance, task_id, was_quiet=True)
    node = node_of(instance, task_id)
    part = replace(instance, nodes=() if node is None else (node,))
    logs: dict[str, str] = {}
    if task_logs == "all":
        from airflow_provider_enos.protocol.follow.log_tail import LogStream

        logs = yield from (stream or LogStream(log)).finish(part)
    if outcome in (Outcome.SUCCEEDED, Outcome.SKIPPED):
        return outcome
    from airflow_provider_enos.protocol.follow.failure_report import examine

    report = yield from examine(part, logs=task_logs != "none", known_logs=logs)
    for line in report.ends_of_logs() if task_logs == "failed" else ():
        log.info("%s", line)
    if report.failed:
        reason = report.reason
    else:
        how = "was cancelled" if node is not None and node.has_run else "did not run"
        reason = f"node {excerpt(name, 100)} {how}"
    raise _error(instance, reason, outcome, link, failed=tuple(map(str, report.failed)))


def _error(
    instance: FlowInstance, reason: str, outcome: Outcome | None, link: str | None, *, failed: tuple[str, ...]
) -> EnosFlowError:
    flow = f"flow {instance.flow_id} {excerpt(instance.flow_name, 80)!r}"
    ended = f"instance {excerpt(instance.flow_instance_id)} has status {instance.status}"
    said = "; ".join(filter(None, (reason, f"{flow}: {ended}", link)))
    return (EnosFlowCancelledError if outcome is Outcome.CANCELLED else EnosFlowFailedError)(
        said,
        flow_instance_id=instance.flow_instance_id,
        status=str(instance.status),
        failed_tasks=failed,
        reason=reason,
    )
