"""Wait for one flow instance, and end as it has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.errors import EnosError, EnosFlowTimeoutError, EnosPollLostError
from airflow_provider_enos.protocol.follow.options import TaskLogs
from airflow_provider_enos.protocol.follow.watch import Watch
from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.models import FlowStatus, Outcome
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.follow.log_tail import LogStream
    from airflow_provider_enos.protocol.models import FlowInstance, FlowInstanceNode

_MOST_LOGGED = 200
"""Nodes whose change of status one poll logs."""
_MOST_REMEMBERED = 20_000
"""Nodes whose status is remembered: twice as many as are read of an instance."""
_MOST_IN_MEMORY = 500
"""Nodes whose status is handed to another process: about 40 kB of JSON. Airflow advises 64 kB at most."""

_MOST_TOLD = 100
"""The same for the event of a trigger, of which there may be thousands at once. About 8 kB."""


class InstanceWatch(Watch["FlowInstance"]):
    """Wait until a flow instance has ended.

    :param link: where people can look at the instance.
    """

    __slots__ = ("_has_seen_nodes", "_logs_nodes", "_node_statuses", "_status", "flow_instance_id", "link")

    needs_nodes = False
    """Whether a list, which shows no nodes, cannot replace a poll."""

    def __init__(
        self,
        flow_instance_id: str,
        *,
        tolerance: float,
        log: Log,
        link: str | None = None,
        known: bool = False,
        stream: LogStream | None = None,
        gives_up: bool = True,
        strict: bool = False,
    ) -> None:
        super().__init__(
            flow_instance_id,
            tolerance=tolerance,
            log=log,
            known=known,
            stream=stream,
            gives_up=gives_up,
            strict=strict,
        )
        self.flow_instance_id = flow_instance_id
        self.link = link
        self._status: FlowStatus | None = None
        self._node_statuses: dict[str, FlowStatus] = {}
        self._logs_nodes = True
        """Whether a poll logs which nodes have changed. False for the first poll after one with too many nodes."""
        self._has_seen_nodes = False
        """Whether the status of each node at the last poll is known. If not, the log must not say what it was."""

    @property
    def memory(self) -> dict[str, Any]:
        is_small = len(self._node_statuses) <= _MOST_IN_MEMORY
        nodes = {node: status.name for node, status in self._node_statuses.items()} if is_small else None
        return {
            **_of(self.flow_instance_id),
            "status": self._status and self._status.name,
            "nodes": nodes,
            "failing_since": self.tolerance.failing_since,
            **({"logs": self.stream.memory} if self.stream else {}),
        }

    @property
    def told(self) -> dict[str, Any]:
        if self._status is None:
            return {}
        nodes = {node: status.name for node, status in self._node_statuses.items()}
        return {"status": self._status.name, "nodes": nodes if len(nodes) <= _MOST_TOLD else None}

    def was_told(self, told: object) -> None:
        if isinstance(told, dict) and told:
            self.remember({"status": told.get("status"), "nodes": told.get("nodes"), **_of(self.flow_instance_id)})

    def remember(self, memory: object) -> None:
        if not isinstance(memory, dict) or memory.get("flow_instance_id") != self.flow_instance_id:
            return
        status, nodes = memory.get("status"), memory.get("nodes", {})
        if isinstance(status, str):
            self._status = FlowStatus(status)
            self.tolerance.known = True
        if isinstance(nodes, dict):
            self._node_statuses = {str(node): FlowStatus(status) for node, status in nodes.items()}
        self._has_seen_nodes = bool(nodes)
        self._logs_nodes = nodes is not None
        self.tolerance.remember(memory.get("failing_since"))
        if self.stream is not None:
            self.stream.remember(memory.get("logs"))

    def sight(self, *, clock: Callable[[], float]) -> Procedure[FlowInstance]:
        instance: FlowInstance = yield calls.get_flow_instance(self.flow_instance_id)
        self.saw(instance, clock())
        return instance

    def _look(self, clock: Callable[[], float], raises_refusals: bool) -> Procedure[FlowInstance | None]:
        instance = yield from super()._look(clock, raises_refusals)
        if self.stream is not None and instance is not None and not instance.status.ended:
            yield from self.stream.follow(self.part_of(instance))
        return instance

    def is_over(self, seen: FlowInstance) -> bool:
        return seen.status.ended

    def part_of(self, instance: FlowInstance) -> FlowInstance:
        """Return the instance with the nodes that this wait is about."""
        return instance

    def saw(self, instance: FlowInstance, now: float) -> None:
        """Note that a poll has shown the instance like this."""
        self.tolerance.known = True
        self.tolerance.answered(now)
        self._note_status(instance)
        if len(self._node_statuses) > _MOST_REMEMBERED:
            self._node_statuses.clear()
        nodes = self.part_of(instance).nodes
        changes = [change for node in nodes if (change := self._note_node(node)) is not None]
        # A list shows an instance without its nodes.
        self._has_seen_nodes = self._has_seen_nodes or bool(nodes)
        if self._logs_nodes:
            for node, before in changes[:_MOST_LOGGED]:
                status = str(node.status) if before is None else f"{before} -> {node.status}"
                self._level(node.status)("Node %s: %s", str(node), status)
            if len(changes) > _MOST_LOGGED:
                self.log.info("And %s more nodes have another status than before", len(changes) - _MOST_LOGGED)
        self._logs_nodes = True

    def lost(self, said: str, error: EnosError) -> EnosPollLostError:
        return EnosPollLostError(
            f"flow instance {self.flow_instance_id}: EnOS {said}; it was left running. Last error: {error}",
            flow_instance_id=self.flow_instance_id,
        )

    def out_of_time(self) -> EnosFlowTimeoutError:
        return out_of_time(self.flow_instance_id, str(self._status) if self._status else "unknown")

    def _note_status(self, instance: FlowInstance) -> None:
        status, before = instance.status, self._status
        if status == before:
            return
        self._status = status
        if before is None:
            flow = f"flow {instance.flow_id} {excerpt(instance.flow_name, 80)!r}"
            where = f", see {self.link}" if self.link else ""
            self._level(status)("Flow instance %s of %s: %s%s", self.flow_instance_id, flow, str(status), where)
        else:
            # As text, since Airflow 2 logs the value of an enum, here a number.
            self._level(status)("Flow instance %s: %s -> %s", self.flow_instance_id, str(before), str(status))
        if not status.known:
            self.log.warning(
                "Flow instance %s: EnOS does not document the status %s; it counts as running",
                self.flow_instance_id,
                str(status),
            )

    def _level(self, status: FlowStatus | None) -> Callable[..., Any]:
        """Return the method of the log for a line that says that something has this status now."""
        has_failed = status is not None and status.outcome is Outcome.FAILED
        return self.log.warning if has_failed else self.log.info

    def _note_node(self, node: FlowInstanceNode) -> tuple[FlowInstanceNode, FlowStatus | None] | None:
        """Remember the status of a node. Return the node and its former status, if known, if that has changed."""
        key = node.task_instance_id or excerpt(node.node_id or node.task_name)
        before = self._node_statuses.get(key, FlowStatus.INIT)
        if node.status is None or node.status == before:
            return None
        is_known = self._has_seen_nodes or key in self._node_statuses
        self._node_statuses[key] = node.status
        return node, before if is_known else None


def _of(flow_instance_id: str) -> dict[str, str]:
    return {"flow_instance_id": flow_instance_id}


def out_of_time(flow_instance_id: str, status: str) -> EnosFlowTimeoutError:
    """Return the error of a wait that is over before the instance has ended."""
    return EnosFlowTimeoutError(
        f"flow instance {flow_instance_id} had not ended in the time given to it",
        flow_instance_id=flow_instance_id,
        status=status,
    )


def conclude(
    instance: FlowInstance,
    *,
    task_logs: TaskLogs,
    link: str | None,
    log: Log,
    stream: LogStream | None = None,
    zone_name: str = "",
    now: float = 0.0,
) -> Procedure[Outcome]:
    """Return how the instance has ended if it succeeded or was skipped; otherwise raise the error that says why not.

    :param stream: what has shown the logs of the nodes so far. Only the ends of failed nodes' logs are shown again.
    :param zone_name: the zone of the gateway, if it is known already, and the time in epoch seconds as ``now``.
    :raises EnosFlowFailedError: with the failed nodes and the ends of their logs.
    :raises EnosFlowCancelledError: the same, where it was cancelled.
    """
    logs: dict[str, str] = {}
    if task_logs == "all":
        from airflow_provider_enos.protocol.follow.log_tail import LogStream

        logs = yield from (stream or LogStream(log)).finish(instance)
    outcome = instance.status.outcome
    if outcome in (Outcome.SUCCEEDED, Outcome.SKIPPED):
        return outcome
    # Imported late, since only a failure needs it.
    from airflow_provider_enos.protocol.follow.failure_report import examine

    report = yield from examine(
        instance, logs=task_logs != "none", link=link, known_logs=logs, zone_name=zone_name, now=now
    )
    for line in report.lines(logs=task_logs != "none"):
        log.info("%s", line)
    raise report.error()
