"""Flows: what can be run, when it runs by itself, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Annotated

from airflow_provider_enos.protocol.models.documents import (
    Document,
    Reply,
    custom,
    decimal,
    flag,
    key_values,
    number,
    reply_only,
    several,
    text,
)
from airflow_provider_enos.protocol.models.fields import Fields, graph_list, many, one
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
        # A text that is no cycle may be megabytes long: keep its beginning.
        kept = value[:40]
        unknown = str.__new__(cls, kept)
        unknown._name_ = excerpt(kept, 40)
        unknown._value_ = kept
        return unknown


def flow_type_of(fields: Fields, name: str) -> FlowType | None:
    """Return the type in the field of this name, whether or not the documentation lists it."""
    number = fields.number(name, None)
    return None if number is None else FlowType(number)


def cycle_of(fields: Fields, name: str) -> Cycle:
    """Return the cycle in the field of this name, whether or not the documentation lists it."""
    return Cycle(fields.text(name, ""))


def pairs(of: tuple[tuple[str, str], ...] | Mapping[str, str]) -> list[dict[str, str]]:
    """Return parameters as EnOS takes them: a list of key and value."""
    items = of.items() if isinstance(of, Mapping) else of
    return [{"key": key, "value": value} for key, value in items]


def _or_zero(place: float | None) -> float:
    return place or 0.0


def _digits(number: int | None) -> str | None:
    return None if number is None else str(number)


@dataclass(frozen=True, slots=True)
class FlowNode(Document):
    """A task node in the graph of a flow. ``task_id`` is what ``from_task_id`` takes."""

    _what = "task of the graph"

    task_id: Annotated[int, number("taskId", write=str)]
    task_name: Annotated[str, text("taskName", "")]
    node_id: Annotated[str, text("nodeId", "")]
    x: Annotated[float | None, decimal("x", write=_or_zero)] = None
    y: Annotated[float | None, decimal("y", write=_or_zero)] = None

    def __str__(self) -> str:
        return f"{self.task_id} ({self.task_name})"


@dataclass(frozen=True, slots=True)
class FlowReference(Document):
    """Another flow, in the graph of a flow that depends on it."""

    _what = "flow of the graph"

    flow_id: Annotated[int | None, number("flowId", None, write=_digits)]
    flow_name: Annotated[str, text("flowName", "")]
    node_id: Annotated[str, text("nodeId", "")]
    virtual: Annotated[bool, flag("isVirtual")]
    x: Annotated[float | None, decimal("x", write=_or_zero)] = None
    y: Annotated[float | None, decimal("y", write=_or_zero)] = None

    def __str__(self) -> str:
        return self.flow_name if self.flow_id is None else f"{self.flow_id} ({self.flow_name})"


@dataclass(frozen=True, slots=True)
class Relation(Document):
    """An edge of a flow's graph, from one node id to another.

    ``cycle_gap`` is cycle and offset, such as ``D0``; ``rerun``: re-running the source starts the target, too.
    """

    _what = "relation of the graph"

    source: Annotated[str, text("source", "")]
    target: Annotated[str, text("target", "")]
    cycle_gap: Annotated[str, text("cycleGap", "")]
    rerun: Annotated[bool, flag("rerun")]

    @property
    def of_another_day(self) -> bool:
        """Whether the target waits for the source of another run, such as yesterday's."""
        return self.cycle_gap.strip().lstrip("MWDHmi+-").strip("0") != ""


@dataclass(frozen=True, slots=True)
class Flow(Document):
    """A workflow (pages "Get Flow" and "Load Flow For Edit").

    Times and dates are the texts that EnOS sends: their zone is not documented. ``owner`` and ``visitors`` are user
    names with ``;`` between them. To change a flow, load it for edit, ``dataclasses.replace`` what shall be different,
    and save it. ``document()`` returns the body of Save Flow, with every field of its table, since releases differ in
    which of them they need.
    """

    _what = "flow"
    _writes_none = True

    flow_id: Annotated[int, number("flowId", written_as="id")]
    flow_name: Annotated[str, text("flowName", "", written_as="name")]
    type: Annotated[FlowType | None, custom("type", flow_type_of)]
    active: Annotated[bool, flag("active", write=int)]
    """Whether its schedule is on."""
    locked: Annotated[bool, reply_only(flag("locked"))]
    user_locked: Annotated[bool, reply_only(flag("isUserLocked"))]
    owner: Annotated[str, text("owner", "", written_as="owners")]
    cycle: Annotated[Cycle, custom("cycle", cycle_of)]
    cron: Annotated[str, text("freq", "")]
    """``freq``: when it runs by itself, a Quartz expression of 7 fields."""
    description: Annotated[str, text("desc", "")]
    parameters: Annotated[tuple[tuple[str, str], ...], key_values("parameters", write=pairs)]
    nodes: Annotated[tuple[FlowNode, ...], several("tasks", FlowNode)]
    flows: Annotated[tuple[FlowReference, ...], several("flows", FlowReference)]
    """Other flows that it depends on."""
    relations: Annotated[tuple[Relation, ...], several("relations", Relation)]
    has_edit_privilege: Annotated[bool, reply_only(flag("hasEditPri"))]
    has_read_privilege: Annotated[bool, reply_only(flag("hasReadPri"))]
    virtual: Annotated[bool, reply_only(flag("virtual"))]
    creator: Annotated[str, reply_only(text("creator", ""))]
    updated_by: Annotated[str, reply_only(text("updateUser", ""))]
    created_time: Annotated[str | None, reply_only(text("createTime", None))]
    updated_time: Annotated[str | None, reply_only(text("updateTime", None))]
    start_date: Annotated[str, text("startTime", "")]
    """``startTime``: the day from which its schedule is in effect, ``yyyy-MM-dd``."""
    visitors: Annotated[str, text("visitor", "", written_as="visitors")]
    do_as: Annotated[str, text("doAs", "")]
    """The big-data account that it runs as."""
    queue: Annotated[str, text("queue", "")]
    alert_mode: Annotated[int | None, number("alertMode", None)]
    """0 none, 1 e-mail, 2 SMS, 3 both."""
    entry: Annotated[int | None, reply_only(number("entry", None))]
    """What it was made with: 0 portal, 1 API, 2 eos."""
    sync_type: Annotated[int | None, reply_only(number("syncType", None))]
    """0 files, 1 data."""

    @property
    def switched_off(self) -> bool:
        """Whether it has a schedule that starts nothing now."""
        return self.type is FlowType.PERIODIC and not self.active

    @classmethod
    def parse(cls, data: object) -> Flow:
        """Return the flow in ``data``, which may also be a list of one. Raises ``EnosReplyError``."""
        fields = Fields(one(data, cls._what), cls._what)
        graph = fields.decoded("graph")
        queue = fields.text("queue", "") or ("" if graph is None else Fields(graph, "graph").text("queue", ""))
        return cls._read(
            fields,
            nodes=tuple(map(FlowNode.parse, graph_list(graph, "tasks"))),
            flows=tuple(map(FlowReference.parse, graph_list(graph, "flows"))),
            relations=tuple(map(Relation.parse, graph_list(graph, "relations"))),
            queue=queue,
        )


@dataclass(frozen=True, slots=True)
class MyFlow(Reply):
    """A flow of the user's (page "Get My Flow")."""

    _what = "flow of the user"

    flow_id: Annotated[int, number("flowId")]
    flow_name: Annotated[str, text("flowName", "")]
    editable: Annotated[bool, flag("editable")]
    cycle: Annotated[Cycle, custom("cycle", cycle_of)]

    def __str__(self) -> str:
        return f"{self.flow_id} ({self.flow_name})"


@dataclass(frozen=True, slots=True)
class FlowSummary(Reply):
    """A flow that a search found (page "Search Flow")."""

    _what = "flow that was found"

    flow_id: Annotated[int, number("flowId")]
    flow_name: Annotated[str, text("flowName", "")]

    def __str__(self) -> str:
        return f"{self.flow_id} ({self.flow_name})"


@dataclass(frozen=True, slots=True)
class FlowPage:
    """One page of Search Flow. EnOS does not say how many flows there are in all."""

    flows: tuple[FlowSummary, ...]
    count: None = None

    @classmethod
    def parse(cls, data: object) -> FlowPage:
        return cls(tuple(map(FlowSummary.parse, many(data, "page of flows", 2_000))))

    @property
    def entries(self) -> tuple[tuple[int, FlowSummary], ...]:
        """The flows of the page, each with its id."""
        return tuple((flow.flow_id, flow) for flow in self.flows)


def my_flows_of(data: object) -> tuple[MyFlow, ...]:
    """Return the flows in the answer of Get My Flow."""
    return tuple(map(MyFlow.parse, many(data, "flows of the user")))
