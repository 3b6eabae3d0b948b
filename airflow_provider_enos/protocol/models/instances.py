"""Flow and task instances: the runs of flows and of their nodes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, TypeVar

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol.bounded_json import TooMuchJson
from airflow_provider_enos.protocol.models.documents import Reply, custom, flag, number, text
from airflow_provider_enos.protocol.models.fields import MOST_ITEMS, Fields, graph_list, one, parameters
from airflow_provider_enos.protocol.models.flows import Relation
from airflow_provider_enos.protocol.models.statuses import FlowStatus, Outcome, flow_status, status_of
from airflow_provider_enos.protocol.text import excerpt, whole_number

T = TypeVar("T")

MOST_NODES = 10_000
"""The most nodes of an instance that are read."""
_MOST_ON_A_PAGE = 2_000
_NAME = 1_000
"""Characters that are kept of a name and the like. Instances stay in memory as long as a task waits for them."""
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
        """Whether the node has run or is running, so that it has times and a log."""
        return bool(self.task_instance_id) and self.status not in _NOT_RUN

    @classmethod
    def parse(cls, data: object) -> FlowInstanceNode:
        fields = Fields(data, "task of the graph")
        status = fields.any("status")
        return cls(
            task_instance_id=excerpt(fields.text("taskInstId", "")),
            task_id=fields.number("taskId", None),
            task_name=fields.text("taskName", "")[:_NAME],
            node_id=fields.text("nodeId", "")[:_NAME],
            status=None if status is None or status == "" else flow_status(status),
        )


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
            flow_name=fields.text("flowName", "")[:_NAME],
            node_id=fields.text("nodeId", "")[:_NAME],
            flow_instance_id=fields.text("flowInstId", "")[:_NAME],
            status=None if status is None or status in ("", "NONE") else flow_status(status),
        )


@dataclass(frozen=True, slots=True)
class FlowInstanceEdges:
    """The rest of an instance's graph: the order of its nodes, and the flows that it depends on.

    Flows and relations that have not the documented shape are left out, and counted in ``left_out``.
    """

    flows: tuple[FlowInstanceReference, ...] = ()
    relations: tuple[Relation, ...] = ()
    left_out: int = 0

    @classmethod
    def of(cls, graph: object) -> FlowInstanceEdges:
        """Return the edges of a graph. Never raise: a mistake in them must not end a wait."""
        flows = [_readable(FlowInstanceReference.parse, item) for item in _items(graph, "flows")]
        relations = [_readable(Relation.parse, item) for item in _items(graph, "relations")]
        return cls(
            flows=tuple(flow for flow in flows if flow is not None),
            relations=tuple(relation for relation in relations if relation is not None),
            left_out=flows.count(None) + relations.count(None),
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
    nodes_left_out: int | None = 0
    """How many more nodes the instance has; None where its graph was not read."""
    edges: FlowInstanceEdges | None = field(default=None, repr=False)
    """Read only of an instance that ended badly: nothing but a rerun needs them."""

    @classmethod
    def parse(cls, data: object, *, nodes: bool = True) -> FlowInstance:
        """Return the instance. ``nodes=False`` leaves out nodes and parameters, and is far faster.

        If the graph is too large, some or all nodes are left out: what a wait needs is the status.
        """
        fields = Fields(one(data, "flow instance"), "flow instance")
        graph = _graph_of(fields) if nodes else _UNREAD
        return cls._of(fields, graph, parameters(fields.decoded("parameters")) if nodes else ())

    @classmethod
    def _of(cls, fields: Fields, graph: object, parameters: tuple[tuple[str, str], ...]) -> FlowInstance:
        is_read = graph is not _UNREAD
        tasks = graph_list(graph, "tasks", _ANY_NUMBER) if is_read else []
        # Cleaned here, since it goes into logs, messages and XCom.
        flow_instance_id = excerpt(fields.text("instanceId"))
        status = status_of(fields, "status")
        return cls(
            flow_instance_id=flow_instance_id,
            status=status,
            # The id of an instance begins with it.
            flow_id=fields.number("flowId", whole_number(flow_instance_id.partition("-")[0])),
            flow_name=fields.text("flowName", "")[:_NAME],
            trigger_time=_time(fields, "triggerTime"),
            start_time=_time(fields, "startTime"),
            end_time=_time(fields, "endTime"),
            created_time=_time(fields, "timestamp"),
            business_date=_time(fields, "calDt"),
            owner=fields.text("owner", "")[:_NAME],
            cycle=fields.text("cycle", "")[:_NAME],
            parameters=parameters,
            is_cancelled=fields.flag("isCancelled"),
            nodes=tuple(map(FlowInstanceNode.parse, tasks[:MOST_NODES])),
            nodes_left_out=max(len(tasks) - MOST_NODES, 0) if is_read else None,
            edges=FlowInstanceEdges.of(graph) if is_read and status.ended_badly else None,
        )

    def nodes_with(self, outcome: Outcome) -> tuple[FlowInstanceNode, ...]:
        """Return the nodes whose status has this outcome, in the order of the graph."""
        return tuple(node for node in self.nodes if node.status and node.status.outcome is outcome)

    @property
    def working_nodes(self) -> tuple[FlowInstanceNode, ...]:
        """The nodes that are running at this moment."""
        return tuple(node for node in self.nodes if node.status and node.status.working)


@dataclass(frozen=True, slots=True)
class FlowInstanceGraph:
    """A reply of Get Flow Instance with the edges between the nodes: what a picture or a recovery needs.

    Flows and relations without the documented shape are left out, and counted in ``left_out``.

    ``places``: where the author of the flow has drawn each node (x to the right, y downwards), by its node id. Nodes
    without a place that can be read are missing.
    """

    instance: FlowInstance
    flows: tuple[FlowInstanceReference, ...]
    relations: tuple[Relation, ...]
    left_out: int = 0
    places: Mapping[str, tuple[float, float]] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, data: object) -> FlowInstanceGraph:
        fields = Fields(one(data, "flow instance"), "flow instance")
        graph = _graph_of(fields)
        instance = FlowInstance._of(fields, graph, parameters(fields.decoded("parameters")))
        return replace(cls._with(instance, instance.edges or _edges_of(graph)), places=_places_of(graph))

    @classmethod
    def of(cls, instance: FlowInstance) -> FlowInstanceGraph:
        """Return the graph of an instance that ended badly, without a request: its edges were read with it."""
        return cls._with(instance, instance.edges or FlowInstanceEdges())

    @classmethod
    def _with(cls, instance: FlowInstance, edges: FlowInstanceEdges) -> FlowInstanceGraph:
        return cls(instance, edges.flows, edges.relations, edges.left_out)


@dataclass(frozen=True, slots=True)
class FlowInstancePage:
    """One page of List Flow Instances. Whether ``count`` is the total is not documented: do not rely on it."""

    instances: tuple[FlowInstance, ...]
    count: int | None

    @classmethod
    def parse(cls, data: object, *, nodes: bool = True) -> FlowInstancePage:
        """Return the page. ``nodes=False`` leaves out nodes and parameters, and is far faster."""
        fields = Fields({"flowInsts": None} if data in (None, "", []) else data, "page of flow instances")
        listed = fields.list("flowInsts", empty=True, most=_MOST_ON_A_PAGE)
        return cls(
            instances=tuple(FlowInstance.parse(item, nodes=nodes) for item in listed),
            count=fields.number("count", None),
        )

    @classmethod
    def parse_without_nodes(cls, data: object) -> FlowInstancePage:
        """Return the page, without nodes and parameters."""
        return cls.parse(data, nodes=False)

    @property
    def entries(self) -> tuple[tuple[str, FlowInstance], ...]:
        """The instances of the page, each with its id."""
        return tuple((instance.flow_instance_id, instance) for instance in self.instances)


@dataclass(frozen=True, slots=True)
class TaskInstance(Reply):
    """One run of one task node."""

    _what = "task instance"

    task_instance_id: Annotated[str, text("instanceId")]
    status: Annotated[FlowStatus, custom("status", status_of)]
    task_id: Annotated[int | None, number("taskId", None)]
    task_name: Annotated[str, text("taskName", "")]
    flow_instance_id: Annotated[str, text("flowInstId", "")]
    trigger_time: Annotated[str | None, text("triggerTime", None)]
    start_time: Annotated[str | None, text("startTime", None)]
    end_time: Annotated[str | None, text("endTime", None)]
    run_number: Annotated[int | None, number("runNum", None)]
    retry_number: Annotated[int | None, number("recallNum", None)]
    retry_limit: Annotated[int | None, number("recallLimit", None)]
    is_timeout: Annotated[bool, flag("isTimeout")]
    command: Annotated[str, text("cmd", "")]

    @classmethod
    def parse(cls, data: object) -> TaskInstance:
        """Return the task instance in ``data``, which may also be a list of one. Raises ``EnosReplyError``."""
        return cls._read(Fields(one(data, cls._what), cls._what))


def time_of(text: str | None) -> datetime | None:
    """Return a time as EnOS writes it, without a zone, since that is not documented; None for any other text."""
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f"):
        with suppress(ValueError):
            return datetime.strptime(text or "", form)
    return None


_UNREAD = object()
_ANY_NUMBER = sys.maxsize


def _graph_of(fields: Fields) -> object:
    """Return the graph; ``_UNREAD`` if it is too large."""
    try:
        return fields.decoded("graph")
    except TooMuchJson:
        return _UNREAD


def _edges_of(graph: object) -> FlowInstanceEdges:
    return FlowInstanceEdges() if graph is _UNREAD else FlowInstanceEdges.of(graph)


def _places_of(graph: object) -> dict[str, tuple[float, float]]:
    """Return the places of nodes and flows. Never raise: without them a picture is laid out by itself."""
    items = [] if graph is _UNREAD else [*_items(graph, "flows"), *_items(graph, "tasks")]
    found = [_readable(_place_of, item) for item in items]
    # Of several nodes with one id, the first one counts, as for the edges.
    return dict(place for place in reversed(found) if place is not None)


def _place_of(item: object) -> tuple[str, tuple[float, float]] | None:
    fields = Fields(item, "node of the graph")
    name, x, y = fields.text("nodeId", ""), fields.decimal("x"), fields.decimal("y")
    return None if not name or x is None or y is None else (name[:_NAME], (x, y))


def _time(fields: Fields, name: str) -> str | None:
    text = fields.text(name, None)
    return None if text is None else text[:_NAME]


def _items(graph: object, name: str) -> list[object]:
    """Return a list of the graph; one item that cannot be read in place of a field that is no list."""
    try:
        items = graph_list(graph, name, _ANY_NUMBER)
    except EnosReplyError:
        return [None]
    return items[:MOST_ITEMS] + [None] * (len(items) > MOST_ITEMS)


def _readable(parse: Callable[[object], T], item: object) -> T | None:
    try:
        return parse(item)
    except EnosReplyError:
        return None
