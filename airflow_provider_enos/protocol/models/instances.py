"""Flow and task instances: what has run, or runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol.models.fields import Fields, graph_list, one, parameters, whole_number
from airflow_provider_enos.protocol.models.flows import Relation
from airflow_provider_enos.protocol.models.statuses import FlowStatus, Outcome, status_of
from airflow_provider_enos.protocol.text import excerpt

T = TypeVar("T")

_NOT_RUN = (None, FlowStatus.INIT, FlowStatus.WAIT, FlowStatus.READY, FlowStatus.SKIP)


@dataclass(frozen=True, slots=True)
class FlowInstanceNode:
    """A task node in the graph of a flow instance."""

    task_instance_id: str
    task_id: int | None
    task_name: str
    node_id: str
    status: FlowStatus | None

    def __str__(self) -> str:
        return f"{excerpt(self.task_name, 100)} ({excerpt(self.task_instance_id, 60)})"

    @property
    def has_run(self) -> bool:
        """Whether it has run or runs, so that there are times and a log to ask for."""
        return bool(self.task_instance_id) and self.status not in _NOT_RUN

    @classmethod
    def parse(cls, data: object) -> FlowInstanceNode:
        fields = Fields(data, "task of the graph")
        status = fields.any("status")
        return cls(
            task_instance_id=excerpt(fields.text("taskInstId", "")),
            task_id=fields.number("taskId", None),
            task_name=fields.text("taskName", ""),
            node_id=fields.text("nodeId", ""),
            status=None if status in (None, "") else FlowStatus(status),
        )


@dataclass(frozen=True, slots=True)
class FlowInstance:
    """One run of a flow. Times are the texts that EnOS sends: their zone is not documented."""

    flow_instance_id: str
    status: FlowStatus
    flow_id: int | None
    flow_name: str
    trigger_time: str | None
    start_time: str | None
    end_time: str | None
    created_time: str | None
    business_date: str | None
    owner: str
    cycle: str
    parameters: tuple[tuple[str, str], ...]
    is_cancelled: bool
    nodes: tuple[FlowInstanceNode, ...]

    @classmethod
    def parse(cls, data: object) -> FlowInstance:
        fields = Fields(one(data, "flow instance"), "flow instance")
        graph = fields.decoded("graph")
        # Fit for logs, messages and XCom, where it goes from here.
        flow_instance_id = excerpt(fields.text("instanceId"))
        return cls(
            flow_instance_id=flow_instance_id,
            status=status_of(fields, "status"),
            # The id of an instance begins with it.
            flow_id=fields.number("flowId", whole_number(flow_instance_id.partition("-")[0])),
            flow_name=fields.text("flowName", ""),
            trigger_time=fields.text("triggerTime", None),
            start_time=fields.text("startTime", None),
            end_time=fields.text("endTime", None),
            created_time=fields.text("timestamp", None),
            business_date=fields.text("calDt", None),
            owner=fields.text("owner", ""),
            cycle=fields.text("cycle", ""),
            parameters=parameters(fields.decoded("parameters")),
            is_cancelled=fields.flag("isCancelled"),
            nodes=tuple(FlowInstanceNode.parse(task) for task in graph_list(graph, "tasks")),
        )

    def nodes_with(self, outcome: Outcome) -> tuple[FlowInstanceNode, ...]:
        """The nodes whose status has this outcome, in the order of the graph."""
        return tuple(node for node in self.nodes if node.status and node.status.outcome is outcome)

    @property
    def working_nodes(self) -> tuple[FlowInstanceNode, ...]:
        """The nodes that are running at this moment."""
        return tuple(node for node in self.nodes if node.status and node.status.working)


@dataclass(frozen=True, slots=True)
class FlowInstanceReference:
    """Another flow, in the graph of an instance of a flow that depends on it.

    ``status``: None where EnOS says ``NONE``, as it does for one that has no instance yet.
    """

    flow_id: int | None
    flow_name: str
    node_id: str
    flow_instance_id: str
    status: FlowStatus | None

    @classmethod
    def parse(cls, data: object) -> FlowInstanceReference:
        fields = Fields(data, "flow of the graph")
        status = fields.any("status")
        return cls(
            flow_id=fields.number("flowId", None),
            flow_name=fields.text("flowName", ""),
            node_id=fields.text("nodeId", ""),
            flow_instance_id=fields.text("flowInstId", ""),
            status=None if status in (None, "", "NONE") else FlowStatus(status),
        )


@dataclass(frozen=True, slots=True)
class FlowInstanceGraph:
    """The same answer of Get Flow Instance, with how its nodes hang together: what it takes to draw it.

    Who waits has no need of this and does not read it, so nothing that is wrong with it can end a wait. Flows and
    relations of another shape than the documented one are left out.
    """

    instance: FlowInstance
    flows: tuple[FlowInstanceReference, ...]
    relations: tuple[Relation, ...]

    @classmethod
    def parse(cls, data: object) -> FlowInstanceGraph:
        graph = Fields(one(data, "flow instance"), "flow instance").decoded("graph")
        return cls(
            instance=FlowInstance.parse(data),
            flows=tuple(_readable(FlowInstanceReference.parse, graph, "flows")),
            relations=tuple(_readable(Relation.parse, graph, "relations")),
        )


@dataclass(frozen=True, slots=True)
class FlowInstancePage:
    """One page of List Flow Instances. Whether ``count`` is the total is not documented: do not rely on it."""

    instances: tuple[FlowInstance, ...]
    count: int | None

    @classmethod
    def parse(cls, data: object) -> FlowInstancePage:
        fields = Fields({"flowInsts": None} if data in (None, "", []) else data, "page of flow instances")
        return cls(
            instances=tuple(FlowInstance.parse(item) for item in fields.list("flowInsts", empty=True)),
            count=fields.number("count", None),
        )

    @property
    def entries(self) -> tuple[tuple[str, FlowInstance], ...]:
        """What is on the page, each with its id."""
        return tuple((instance.flow_instance_id, instance) for instance in self.instances)


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """One run of one task node."""

    task_instance_id: str
    status: FlowStatus
    task_id: int | None
    task_name: str
    flow_instance_id: str
    trigger_time: str | None
    start_time: str | None
    end_time: str | None
    run_number: int | None
    retry_number: int | None
    retry_limit: int | None
    is_timeout: bool
    command: str

    @classmethod
    def parse(cls, data: object) -> TaskInstance:
        fields = Fields(one(data, "task instance"), "task instance")
        return cls(
            task_instance_id=fields.text("instanceId"),
            status=status_of(fields, "status"),
            task_id=fields.number("taskId", None),
            task_name=fields.text("taskName", ""),
            flow_instance_id=fields.text("flowInstId", ""),
            trigger_time=fields.text("triggerTime", None),
            start_time=fields.text("startTime", None),
            end_time=fields.text("endTime", None),
            run_number=fields.number("runNum", None),
            retry_number=fields.number("recallNum", None),
            retry_limit=fields.number("recallLimit", None),
            is_timeout=fields.flag("isTimeout"),
            command=fields.text("cmd", ""),
        )


def time_of(text: str | None) -> datetime | None:
    """A time as EnOS writes it, to be compared with others: its zone is not documented. None for anything else."""
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f"):
        with suppress(ValueError):
            return datetime.strptime(text or "", form)
    return None


def _readable(parse: Callable[[object], T], graph: object, name: str) -> Iterator[T]:
    try:
        items = graph_list(graph, name)
    except EnosReplyError:
        return
    for item in items:
        try:
            yield parse(item)
        except EnosReplyError:
            continue
