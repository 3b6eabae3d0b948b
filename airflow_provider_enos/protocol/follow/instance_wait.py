"""Following one flow instance to its end, and saying what became of it.

Every wait, in a worker, in a sensor or in the triggerer, tells a ``Watch`` what it sees. What is logged, and which
errors are tolerated for how long, is decided here and in ``patience``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_enos.errors import (
    EnosError,
    EnosFlowTimeoutError,
    EnosPollLostError,
)
from airflow_provider_enos.protocol.follow.deadline import within
from airflow_provider_enos.protocol.follow.poll_tolerance import Patience
from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.models import FlowStatus, Outcome
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure, Sleep

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.follow.log_tail import LogStream
    from airflow_provider_enos.protocol.models import FlowInstance, FlowInstanceNode

TaskLogs = Literal["failed", "all", "none"]
"""Whose logs are shown: the end of those of failed nodes, all of those of all nodes as they grow, none."""

_MOST_TOLD = 200
"""Nodes of which a look logs that they have another status."""
_MOST_REMEMBERED = 20_000
"""Nodes of which the status is remembered: twice as many as are read of an instance."""


class Watch:
    """What one wait has seen. Logs changes, never a poll that brings nothing new.

    :param tolerance: seconds for which polls may fail one after the other.
    :param link: where people can look at the instance.
    :param known: whether EnOS is known to have the instance. If so, "not found" is tolerated too.
    :param stream: what shows the logs of the nodes as they grow, where that is wanted.
    :param gives_up: as ``Patience`` has it, and so is the next one.
    :param strict: whether a refusal before the first answer ends the wait.
    """

    # A triggerer has thousands of them.
    __slots__ = (
        "_log",
        "_node_statuses",
        "_patience",
        "_status",
        "flow_instance_id",
        "link",
        "stream",
    )

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
        self.flow_instance_id = flow_instance_id
        self._patience = Patience(
            flow_instance_id, tolerance=tolerance, log=log, known=known, gives_up=gives_up, strict=strict
        )
        self._log = log
        self.link = link
        self._status: FlowStatus | None = None
        self._node_statuses: dict[str, FlowStatus] = {}
        self.stream = stream

    @property
    def known(self) -> bool:
        """Whether EnOS is known to have the instance."""
        return self._patience.known

    @property
    def memory(self) -> dict[str, Any]:
        """What it knows, as JSON: for a wait that goes on in another process."""
        return {
            "flow_instance_id": self.flow_instance_id,
            "status": self._status and self._status.name,
            "nodes": {node: status.name for node, status in self._node_statuses.items()},
            "failing_since": self._patience.failing_since,
            **({"logs": self.stream.memory} if self.stream else {}),
        }

    def remember(self, memory: object) -> None:
        """Takes up what another ``Watch`` of the same instance knew; anything else is passed over."""
        if not isinstance(memory, dict) or memory.get("flow_instance_id") != self.flow_instance_id:
            return
        status, nodes = memory.get("status"), memory.get("nodes")
        if isinstance(status, str):
            self._status = FlowStatus(status)
            self._patience.known = True
        if isinstance(nodes, dict):
            self._node_statuses = {str(node): FlowStatus(status) for node, status in nodes.items()}
        self._patience.remember(memory.get("failing_since"))
        if self.stream is not None:
            self.stream.remember(memory.get("logs"))

    def saw(self, instance: FlowInstance, now: float) -> None:
        """A poll brought this."""
        self._patience.known = True
        self._patience.answered(now)
        self._note_status(instance)
        if len(self._node_statuses) > _MOST_REMEMBERED:
            self._node_statuses.clear()
        changed = 0
        for node in instance.nodes:
            changed += self._note_node(node, tell=changed < _MOST_TOLD)
        if changed > _MOST_TOLD:
            self._log.info("And %s more nodes have another status than before", changed - _MOST_TOLD)

    def missed(self, error: EnosError, now: float) -> None:
        """Note that a look brought this error. Raise it, or ``EnosPollLostError``, if the wait cannot go on."""
        lasted = self._patience.missed(error, now)
        if lasted is not None:
            raise self.lost(f"could not be asked for {lasted:.0f} s", error) from error

    def lost(self, said: str, error: EnosError) -> EnosPollLostError:
        """Return the error of a wait that ends without knowing how the instance stands; ``said`` of EnOS."""
        return EnosPollLostError(
            f"flow instance {self.flow_instance_id}: EnOS {said}; it was left running. Last error: {error}",
            flow_instance_id=self.flow_instance_id,
        )

    def out_of_time(self) -> EnosFlowTimeoutError:
        """Return the error of a wait that is over before the instance has ended."""
        return out_of_time(self.flow_instance_id, str(self._status) if self._status else "unknown")

    def _note_status(self, instance: FlowInstance) -> None:
        status, before = instance.status, self._status
        if status == before:
            return
        self._status = status
        if before is None:
            flow = f"flow {instance.flow_id} {excerpt(instance.flow_name, 80)!r}"
            where = f", see {self.link}" if self.link else ""
            self._log.info("Flow instance %s of %s: %s%s", self.flow_instance_id, flow, str(status), where)
        else:
            # As text, since Airflow 2 logs the value of an enum, here a number.
            self._log.info("Flow instance %s: %s -> %s", self.flow_instance_id, str(before), str(status))
        if not status.known:
            self._log.warning(
                "Flow instance %s: EnOS does not document the status %s; it counts as running",
                self.flow_instance_id,
                str(status),
            )

    def _note_node(self, node: FlowInstanceNode, *, tell: bool) -> bool:
        """Remember the status of a node, and ``tell`` of it if it has changed; return whether it has."""
        key = node.task_instance_id or excerpt(node.node_id or node.task_name)
        before = self._node_statuses.get(key, FlowStatus.INIT)
        if node.status is None or node.status == before:
            return False
        self._node_statuses[key] = node.status
        if tell:
            self._log.info("Node %s: %s -> %s", str(node), str(before), str(node.status))
        return True


def has_ended(instance: FlowInstance) -> bool:
    """Whether its status is an end."""
    return instance.status.ended


def wait(
    watch: Watch,
    *,
    poll_interval: float,
    deadline: float,
    clock: Callable[[], float],
    until: Callable[[FlowInstance], bool] = has_ended,
) -> Procedure[FlowInstance]:
    """Poll until the instance has ended, and return it. Raise ``EnosFlowTimeoutError`` at the ``deadline``."""
    while True:
        instance = yield from look(watch, clock=clock, deadline=deadline)
        if instance is not None and until(instance):
            return instance
        left = deadline - clock()
        if left <= 0:
            raise watch.out_of_time()
        yield Sleep(min(poll_interval, left))


def look(watch: Watch, *, clock: Callable[[], float], deadline: float = inf) -> Procedure[FlowInstance | None]:
    """Look once: return the instance, or None where an error is tolerated.

    Raise ``EnosFlowTimeoutError`` where the look itself lasts beyond the ``deadline``, in epoch seconds.
    """
    return within(deadline, _look(watch, clock), clock=clock, late=watch.out_of_time)


def sight(watch: Watch, *, clock: Callable[[], float]) -> Procedure[FlowInstance]:
    """Look once, and raise whatever comes instead."""
    instance: FlowInstance = yield calls.get_flow_instance(watch.flow_instance_id)
    watch.saw(instance, clock())
    return instance


def _look(watch: Watch, clock: Callable[[], float]) -> Procedure[FlowInstance | None]:
    try:
        instance = yield from sight(watch, clock=clock)
    except EnosError as error:
        watch.missed(error, clock())
        return None
    if watch.stream is not None and not instance.status.ended:
        yield from watch.stream.follow(instance)
    return instance


def out_of_time(flow_instance_id: str, status: str) -> EnosFlowTimeoutError:
    """Return the error of a wait that is over before the instance has ended."""
    return EnosFlowTimeoutError(
        f"flow instance {flow_instance_id} had not ended in the time given to it",
        flow_instance_id=flow_instance_id,
        status=status,
    )


def conclude(
    instance: FlowInstance, *, task_logs: TaskLogs, link: str | None, log: Log, stream: LogStream | None = None
) -> Procedure[Outcome]:
    """What the end of ``instance`` means: succeeded or skipped is returned, failed and cancelled are raised.

    :param stream: what has shown the logs of the nodes so far, if anything has.
    """
    logs: dict[str, str] = {}
    if task_logs == "all":
        from airflow_provider_enos.protocol.follow.log_tail import LogStream

        logs = yield from (stream or LogStream(log)).finish(instance)
    outcome = instance.status.outcome
    if outcome in (Outcome.SUCCEEDED, Outcome.SKIPPED):
        return outcome
    # Only who has a failure to tell of pays for what tells of it.
    from airflow_provider_enos.protocol.follow.failure_report import examine

    report = yield from examine(instance, logs=task_logs != "none", link=link, known_logs=logs)
    for line in report.lines(logs=task_logs == "failed"):
        log.info("%s", line)
    raise report.error()
