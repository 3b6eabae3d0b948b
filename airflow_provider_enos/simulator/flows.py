"""What a flow is: its nodes and their relations, what it relies on, and how its instances end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple, TypedDict, TypeVar, Unpack

from airflow_provider_enos.simulator.config import Progress, ProgressLike, number, positive
from airflow_provider_enos.simulator.directories import ROOT

END_STATUSES = ("SUCCESS", "FAIL", "INTERNAL_ERROR", "TIMEOUT", "CANCEL", "SKIP")
MANUAL, PERIODIC, TEMPORARY = 0, 1, 2

_FIRST_OF_JULY_2020_MS = 1_593_561_600_000
LATEST_MS = 32_503_680_000_000
"""The year 3000: later times are surely not milliseconds."""


N = TypeVar("N", bound=NamedTuple)


class Edge(NamedTuple):
    """A relation: the target runs after the source."""

    source: int
    target: int
    rerun: bool = False
    gap: str = ""
    """``cycleGap``; empty: the same cycle, which is shown as ``D0`` and the like."""


class Link(NamedTuple):
    """A reference to another flow, or to a task of it, on which a flow relies."""

    link_id: str
    flow_id: int
    task_id: int | None = None


class LinkEdge(NamedTuple):
    """A relation: the target runs after the flow or task that a link refers to."""

    link_id: str
    target: int
    rerun: bool = False
    gap: str = ""


@dataclass(frozen=True)
class Node:
    """A node in the ``tasks`` of ``EnosSimulator.add_flow``.

    :param seconds: how long it runs; None: from 5 to 30 seconds, by its id.
    """

    name: str
    seconds: float | None = None


@dataclass(frozen=True)
class Flow:
    """A workflow."""

    flow_id: int
    name: str
    tasks: Mapping[int, str]
    relations: tuple[Edge, ...] = ()
    owner: str | None = None
    """One user name, or several joined by ``;``. None: the simulator's user."""
    locked: bool = False
    progress: Progress | None = None
    """None: the simulator's."""
    ends_as: str = "SUCCESS"
    failing_task: int | None = None
    """The node that makes the instance end as ``ends_as``, if that is bad; None: the last one to run."""
    logs: Mapping[int, str] = field(default_factory=dict)
    """What nodes print. ``{started}`` and ``{ended}`` stand for the times of the node."""
    seconds: Mapping[int, float] = field(default_factory=dict)
    """How long nodes run; the others from 5 to 30 seconds, by their ids."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    cycle: str = "D"
    type: int = MANUAL
    active: bool = True
    """Whether its schedule is on."""
    freq: str = "0 0 0 * * ? *"
    desc: str = ""
    start_time: str = "2020-07-01"
    """The first day of its schedule."""
    visitors: str = ""
    do_as: str = "data_simulator"
    alert_mode: int = 0
    sync_type: int = 0
    entry: int = 0
    queue: str = ""
    creator: str | None = None
    """None: the owner."""
    updated_by: str | None = None
    """None: the owner."""
    created_at: int = _FIRST_OF_JULY_2020_MS
    updated_at: int = _FIRST_OF_JULY_2020_MS
    directory: str = ROOT
    links: tuple[Link, ...] = ()
    link_edges: tuple[LinkEdge, ...] = ()
    details: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """The imported details of a node, by their names in Export Flow."""
    places: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """The position of a node in the drawing."""
    copy_of: int | None = None
    """For a temporary copy (Load Flow For Edit): the flow that it is a copy of."""

    def __post_init__(self) -> None:
        check_end_status(self.ends_as)
        strangers = {task for edge in self.relations for task in edge[:2]}
        strangers |= {edge.target for edge in self.link_edges} | {
            *self.logs,
            *self.seconds,
            *self.details,
            *self.places,
        }
        if self.failing_task is not None:
            strangers.add(self.failing_task)
        strangers -= set(self.tasks)
        if strangers:
            raise ValueError(f"flow {self.flow_id} has no task {', '.join(map(str, sorted(strangers)))}")
        unlinked = {edge.link_id for edge in self.link_edges} - {link.link_id for link in self.links}
        if unlinked:
            raise ValueError(f"flow {self.flow_id} has no link {', '.join(sorted(unlinked))}")
        self.levels(set(self.tasks))

    def downstream(self, task_id: int, follows: str = "all") -> set[int]:
        """Return the task and all tasks that run after it.

        :param follows: the relations to follow: ``"all"``, or ``"rerun"`` for those whose ``rerun`` flag is on.
        """
        relations = [edge for edge in self.relations if follows == "all" or edge.rerun]
        found = {task_id}
        fresh = {task_id}
        while fresh:
            fresh = {edge.target for edge in relations if edge.source in fresh} - found
            found |= fresh
        return found

    def levels(self, tasks: set[int]) -> dict[int, int]:
        """Return the length of the longest path to each of these tasks, in tasks. Raise ValueError for a cycle."""
        before: dict[int, set[int]] = {task: set() for task in self.tasks if task in tasks}
        for edge in self.relations:
            if edge.source in tasks and edge.target in tasks:
                before[edge.target].add(edge.source)
        levels: dict[int, int] = {}
        try:
            for task in TopologicalSorter(before).static_order():
                levels[task] = max((levels[other] + 1 for other in before[task]), default=0)
        except CycleError as error:
            raise ValueError(f"the relations of flow {self.flow_id} form a cycle") from error
        return levels

    def drawing(self) -> dict[int, tuple[float, float]]:
        """Return the place of each node: as it was saved or imported, else in columns from left to right."""
        columns: dict[int, int] = {}
        places: dict[int, tuple[float, float]] = {}
        for task, level in self.levels(set(self.tasks)).items():
            columns[level] = columns.get(level, -1) + 1
            places[task] = (120.0 + 160.0 * level, 80.0 + 80.0 * columns[level])
        return {**places, **self.places}

    def owners(self, user_id: str) -> list[str]:
        """Return the names of its owners. ``user_id`` is the simulator's user."""
        return names_in(self.owner or user_id)


def check_end_status(status: str) -> None:
    """Raise ValueError for a status with which no instance ends."""
    if status not in END_STATUSES:
        raise ValueError(f"an instance ends as one of {', '.join(END_STATUSES)}, not {status!r}")


def names_in(text: str) -> list[str]:
    """Split user names that are joined by ``;``."""
    return [name for name in text.split(";") if name]


class FlowDescription(TypedDict, total=False):
    """The keywords of ``EnosSimulator.add_flow``; see ``Flow``."""

    name: str
    tasks: Mapping[int, str | Node] | Sequence[int]
    relations: Iterable[Sequence[Any]]
    owner: str | None
    locked: bool
    progress: ProgressLike | Progress | None
    ends_as: str
    failing_task: int | None
    logs: Mapping[int, str]
    seconds: Mapping[int, float]
    parameters: Mapping[str, str]
    cycle: str
    type: int
    active: bool
    freq: str
    desc: str
    start_time: str
    visitors: str
    do_as: str
    alert_mode: int
    sync_type: int
    entry: int
    queue: str
    creator: str | None
    updated_by: str | None
    created_at: int
    updated_at: int
    directory: str
    links: Iterable[Sequence[Any]]
    link_edges: Iterable[Sequence[Any]]
    details: Mapping[int, Mapping[str, Any]]
    places: Mapping[int, Sequence[float]]
    copy_of: int | None


_PLAIN_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("cycle", "freq", "desc", "start_time", "visitors", "do_as", "queue", "directory", "ends_as"), str),
    **dict.fromkeys(("type", "alert_mode", "sync_type", "entry", "created_at", "updated_at"), int),
    **dict.fromkeys(("locked", "active"), bool),
    **dict.fromkeys(("owner", "creator", "updated_by"), (str, type(None))),
    **dict.fromkeys(("failing_task", "copy_of"), (int, type(None))),
}


def flow_from(flow_id: int, **description: Unpack[FlowDescription]) -> Flow:
    """Return a flow. Raise ValueError for one that makes no sense.

    ``tasks`` may be a list of ids. Their values are names, or ``Node``. Without ``relations`` they run one
    after another.
    """
    unknown = description.keys() - FlowDescription.__annotations__.keys()
    if unknown:
        names = ", ".join(FlowDescription.__annotations__)
        raise ValueError(f"a flow has no {', '.join(sorted(unknown))}; it has {names}")
    tasks = description.get("tasks", ())
    nodes = _nodes(dict(tasks) if isinstance(tasks, Mapping) else {task: f"task-{task}" for task in tasks})
    named = {task: node.name for task, node in nodes.items()}
    seconds = {task: node.seconds for task, node in nodes.items() if node.seconds is not None}
    progress = description.get("progress")
    _check_mapping("logs", description.get("logs", {}), int, str)
    _check_mapping("parameters", description.get("parameters", {}), str, str)
    return Flow(
        flow_id=flow_id,
        name=_checked("name", description.get("name", f"flow-{flow_id}")),
        tasks=MappingProxyType(named),
        relations=tuple(_checked_tuple(Edge(*edge)) for edge in description.get("relations", pairwise(named))),
        progress=None if progress is None else Progress.parse(progress),
        logs=dict(description.get("logs", {})),
        seconds={task: positive(lasts) for task, lasts in {**seconds, **description.get("seconds", {})}.items()},
        parameters=dict(description.get("parameters", {})),
        links=tuple(_checked_tuple(Link(*link)) for link in description.get("links", ())),
        link_edges=tuple(_checked_tuple(LinkEdge(*edge)) for edge in description.get("link_edges", ())),
        details={task: dict(known) for task, known in description.get("details", {}).items()},
        places={task: (number(x), number(y)) for task, (x, y) in description.get("places", {}).items()},
        **{name: _checked(name, value) for name, value in description.items() if name in _PLAIN_FIELDS},
    )


def _nodes(tasks: Mapping[int, str | Node]) -> dict[int, Node]:
    nodes = {task: node if isinstance(node, Node) else Node(node) for task, node in tasks.items()}
    _check_mapping("tasks", {task: node.name for task, node in nodes.items()}, int, str)
    return nodes


def _check_mapping(what: str, given: object, name: type, value: type) -> None:
    if not isinstance(given, Mapping) or not all(type(key) is name for key in given):
        raise ValueError(f"{what} of a flow cannot be {given!r}")
    if not all(isinstance(one, value) for one in given.values()):
        raise ValueError(f"{what} of a flow cannot be {given!r}")


_TUPLE_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("source", "target", "flow_id"), int),
    **dict.fromkeys(("gap", "link_id"), str),
    "rerun": bool,
    "task_id": (int, type(None)),
}


def _checked_tuple(given: N) -> N:
    for name, value in given._asdict().items():
        if not isinstance(value, _TUPLE_FIELDS[name]):
            raise ValueError(f"{name} in {given!r} is of the wrong type")
    return given


def _checked(name: str, value: Any) -> Any:
    kinds = str if name == "name" else _PLAIN_FIELDS[name]
    absurd = isinstance(value, int) and abs(value) > LATEST_MS
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool) or absurd:
        raise ValueError(f"{name} of a flow cannot be {value!r}")
    return value
