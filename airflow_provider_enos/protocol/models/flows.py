"""Flows: what can be run, when it runs by itself, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from airflow_provider_enos.protocol.models.fields import Fields, graph_list, many, one, parameters
from airflow_provider_enos.protocol.text import excerpt


class FlowType(IntEnum):
    """``type`` of a flow. A number that the documentation does not list makes a member of its own."""

    MANUAL = 0
    PERIODIC = 1
    TEMPORARY = 2

    @classmethod
    def _missing_(cls, value: object) -> FlowType | None:
        if not isinstance(value, int):
            return None
        unknown = int.__new__(cls, value)
        unknown._name_ = str(int(value))
        unknown._value_ = int(value)
        return unknown


class Cycle(StrEnum):
    """``cycle`` of a flow. A text that the documentation does not list makes a member of its own."""

    MONTH = "M"
    WEEK = "W"
    DAY = "D"
    HOUR = "H"
    MINUTE = "mi"

    @classmethod
    def _missing_(cls, value: object) -> Cycle | None:
        if not isinstance(value, str):
            return None
        # Not all of a text that cannot be a cycle, and may be megabytes.
        kept = value[:40]
        unknown = str.__new__(cls, kept)
        unknown._name_ = excerpt(kept, 40)
        unknown._value_ = kept
        return unknown


@dataclass(frozen=True, slots=True)
class FlowNode:
    """A task node in the graph of a flow. ``task_id`` is what ``from_task_id`` takes."""

    task_id: int
    task_name: str
    node_id: str
    x: float | None = None
    y: float | None = None

    def __str__(self) -> str:
        return f"{self.task_id} ({self.task_name})"

    @classmethod
    def parse(cls, data: object) -> FlowNode:
        fields = Fields(data, "task of the graph")
        return cls(
            task_id=fields.number("taskId"),
            task_name=fields.text("taskName", ""),
            node_id=fields.text("nodeId", ""),
            x=fields.decimal("x"),
            y=fields.decimal("y"),
        )

    def document(self) -> dict[str, object]:
        """``TaskSimpleInfo`` as Save Flow takes it."""
        named = {"taskName": self.task_name, "taskId": str(self.task_id), "nodeId": self.node_id}
        return {**named, "x": self.x or 0.0, "y": self.y or 0.0}


@dataclass(frozen=True, slots=True)
class FlowReference:
    """Another flow, in the graph of a flow that depends on it."""

    flow_id: int | None
    flow_name: str
    node_id: str
    virtual: bool
    x: float | None = None
    y: float | None = None

    def __str__(self) -> str:
        return self.flow_name if self.flow_id is None else f"{self.flow_id} ({self.flow_name})"

    @classmethod
    def parse(cls, data: object) -> FlowReference:
        fields = Fields(data, "flow of the graph")
        return cls(
            flow_id=fields.number("flowId", None),
            flow_name=fields.text("flowName", ""),
            node_id=fields.text("nodeId", ""),
            virtual=fields.flag("isVirtual"),
            x=fields.decimal("x"),
            y=fields.decimal("y"),
        )

    def document(self) -> dict[str, object]:
        """``FlowSimpleInfo`` as Save Flow takes it."""
        flow_id = {} if self.flow_id is None else {"flowId": str(self.flow_id)}
        named = {"flowName": self.flow_name, "nodeId": self.node_id, "isVirtual": self.virtual}
        return {**flow_id, **named, "x": self.x or 0.0, "y": self.y or 0.0}


@dataclass(frozen=True, slots=True)
class Relation:
    """An edge of a flow's graph, from one node id to another.

    ``cycle_gap`` is cycle and offset, such as ``D0``; ``rerun``: re-running the source starts the target, too.
    """

    source: str
    target: str
    cycle_gap: str
    rerun: bool

    @classmethod
    def parse(cls, data: object) -> Relation:
        fields = Fields(data, "relation of the graph")
        return cls(
            source=fields.text("source", ""),
            target=fields.text("target", ""),
            cycle_gap=fields.text("cycleGap", ""),
            rerun=fields.flag("rerun"),
        )

    def document(self) -> dict[str, object]:
        """``Relation`` as Save Flow takes it."""
        return {"cycleGap": self.cycle_gap, "source": self.source, "target": self.target, "rerun": self.rerun}


@dataclass(frozen=True, slots=True)
class Flow:
    """A workflow (pages "Get Flow" and "Load Flow For Edit").

    Times and dates are the texts that EnOS sends: their zone is not documented. ``owner`` and ``visitors`` are user
    names with ``;`` between them. To change a flow, load it for edit, ``dataclasses.replace`` what shall be different,
    and save it.
    """

    flow_id: int
    flow_name: str
    type: FlowType | None
    active: bool
    """Whether its schedule is on."""
    locked: bool
    user_locked: bool
    owner: str
    cycle: Cycle
    cron: str
    """``freq``: when it runs by itself, a Quartz expression of 7 fields."""
    description: str
    parameters: tuple[tuple[str, str], ...]
    nodes: tuple[FlowNode, ...]
    flows: tuple[FlowReference, ...]
    """Other flows that it depends on."""
    relations: tuple[Relation, ...]
    has_edit_privilege: bool
    has_read_privilege: bool
    virtual: bool
    creator: str
    updated_by: str
    created_time: str | None
    updated_time: str | None
    start_date: str
    """``startTime``: the day from which its schedule is in effect, ``yyyy-MM-dd``."""
    visitors: str
    do_as: str
    """The big-data account that it runs as."""
    queue: str
    alert_mode: int | None
    """0 none, 1 e-mail, 2 SMS, 3 both."""
    entry: int | None
    """What it was made with: 0 portal, 1 API, 2 eos."""
    sync_type: int | None
    """0 files, 1 data."""

    @property
    def switched_off(self) -> bool:
        """Whether it has a schedule that starts nothing now."""
        return self.type is FlowType.PERIODIC and not self.active

    @classmethod
    def parse(cls, data: object) -> Flow:
        fields = Fields(one(data, "flow"), "flow")
        graph = fields.decoded("graph")
        queue = fields.text("queue", "") or ("" if graph is None else Fields(graph, "graph").text("queue", ""))
        return cls(
            flow_id=fields.number("flowId"),
            flow_name=fields.text("flowName", ""),
            type=flow_type_of(fields, "type"),
            active=fields.flag("active"),
            locked=fields.flag("locked"),
            user_locked=fields.flag("isUserLocked"),
            owner=fields.text("owner", ""),
            cycle=Cycle(fields.text("cycle", "")),
            cron=fields.text("freq", ""),
            description=fields.text("desc", ""),
            parameters=parameters(fields.decoded("parameters")),
            nodes=tuple(FlowNode.parse(task) for task in graph_list(graph, "tasks")),
            flows=tuple(FlowReference.parse(flow) for flow in graph_list(graph, "flows")),
            relations=tuple(Relation.parse(relation) for relation in graph_list(graph, "relations")),
            has_edit_privilege=fields.flag("hasEditPri"),
            has_read_privilege=fields.flag("hasReadPri"),
            virtual=fields.flag("virtual"),
            creator=fields.text("creator", ""),
            updated_by=fields.text("updateUser", ""),
            created_time=fields.text("createTime", None),
            updated_time=fields.text("updateTime", None),
            start_date=fields.text("startTime", ""),
            visitors=fields.text("visitor", ""),
            do_as=fields.text("doAs", ""),
            queue=queue,
            alert_mode=fields.number("alertMode", None),
            entry=fields.number("entry", None),
            sync_type=fields.number("syncType", None),
        )

    def document(self) -> dict[str, object]:
        """The body of Save Flow: every field of its table, since releases differ in which of them they need."""
        return {
            "id": self.flow_id,
            "type": self.type,
            "name": self.flow_name,
            "freq": self.cron,
            "cycle": self.cycle,
            "alertMode": self.alert_mode,
            "doAs": self.do_as,
            "owners": self.owner,
            "visitors": self.visitors,
            "startTime": self.start_date,
            "active": int(self.active),
            "parameters": pairs(self.parameters),
            "desc": self.description,
            "queue": self.queue,
            "tasks": [node.document() for node in self.nodes],
            "flows": [flow.document() for flow in self.flows],
            "relations": [relation.document() for relation in self.relations],
        }


@dataclass(frozen=True, slots=True)
class MyFlow:
    """A flow of the user's (page "Get My Flow")."""

    flow_id: int
    flow_name: str
    editable: bool
    cycle: Cycle

    def __str__(self) -> str:
        return f"{self.flow_id} ({self.flow_name})"

    @classmethod
    def parse(cls, data: object) -> MyFlow:
        fields = Fields(data, "flow of the user")
        return cls(
            flow_id=fields.number("flowId"),
            flow_name=fields.text("flowName", ""),
            editable=fields.flag("editable"),
            cycle=Cycle(fields.text("cycle", "")),
        )


@dataclass(frozen=True, slots=True)
class FlowSummary:
    """A flow that a search found (page "Search Flow")."""

    flow_id: int
    flow_name: str

    def __str__(self) -> str:
        return f"{self.flow_id} ({self.flow_name})"

    @classmethod
    def parse(cls, data: object) -> FlowSummary:
        fields = Fields(data, "flow that was found")
        return cls(flow_id=fields.number("flowId"), flow_name=fields.text("flowName", ""))


@dataclass(frozen=True, slots=True)
class FlowPage:
    """One page of Search Flow, which does not say how many there are in all."""

    flows: tuple[FlowSummary, ...]
    count: None = None

    @classmethod
    def parse(cls, data: object) -> FlowPage:
        return cls(tuple(FlowSummary.parse(item) for item in many(data, "page of flows", 2_000)))

    @property
    def entries(self) -> tuple[tuple[int, FlowSummary], ...]:
        """What is on the page, each with its id."""
        return tuple((flow.flow_id, flow) for flow in self.flows)


def my_flows_of(data: object) -> tuple[MyFlow, ...]:
    """The flows in the answer of Get My Flow."""
    return tuple(MyFlow.parse(item) for item in many(data, "flows of the user"))


def flow_type_of(fields: Fields, name: str) -> FlowType | None:
    """The type in the field of this name, whether or not the documentation lists it."""
    number = fields.number(name, None)
    return None if number is None else FlowType(number)


def pairs(of: tuple[tuple[str, str], ...] | Mapping[str, str]) -> list[dict[str, str]]:
    """Parameters as EnOS takes them: a list of key and value."""
    items = of.items() if isinstance(of, Mapping) else of
    return [{"key": key, "value": value} for key, value in items]
