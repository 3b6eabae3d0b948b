"""The definition of a flow: what it is made of, as JSON that belongs in a repository.

DAG files that have a task group read a definition, so this imports next to nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.errors import EnosConfigError, EnosReplyError
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.text import excerpt, is_one_line, shown

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import Flow

FORMAT = 1
"""The ``format`` of the JSON."""
MOST_ITEMS = 20_000
"""The most nodes, relations or parameters of a definition: as many as are read of a flow."""

_PERIODIC = 1
_LONGEST_NAME = 1_000
_LONGEST_VALUE = 65_536
_FIELDS = ("format", "flow_id", "name", "nodes", "relations", "schedule", "parameters")


@dataclass(frozen=True, slots=True)
class DefinedNode:
    """A node of a definition. ``task_id`` is EnOS's id of the task; the name may be empty and need not be unique."""

    task_id: int
    name: str

    def __str__(self) -> str:
        return f"{excerpt(self.name, 100)} ({self.task_id})".lstrip()


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a periodic flow runs by itself, as EnOS has it: see ``Flow``."""

    active: bool
    cycle: str
    cron: str
    start_date: str

    def __str__(self) -> str:
        since = f" from {excerpt(self.start_date, 40)}" if self.start_date else ""
        state = "on" if self.active else "off"
        return f"{excerpt(self.cron, 100)} (cycle {excerpt(self.cycle, 40)}){since}, {state}"


@dataclass(frozen=True, slots=True)
class FlowDefinition:
    """What a flow is made of. It is the same in whatever order EnOS sends the nodes, the relations and the parameters.

    :param nodes: ascending by ``task_id``, which is unique.
    :param relations: task ids, ``(upstream, downstream)``, ascending and unique. They form no cycle.
    :param schedule: None if the flow is not periodic.
    :param parameters: name and value, ascending by name. The value is None where it is left out: it may be a secret.
    """

    flow_id: int
    name: str
    nodes: tuple[DefinedNode, ...]
    relations: tuple[tuple[int, int], ...]
    schedule: Schedule | None = None
    parameters: tuple[tuple[str, str | None], ...] = ()

    @property
    def has_parameter_values(self) -> bool:
        """Whether it has the value of a parameter."""
        return any(value is not None for _, value in self.parameters)

    @classmethod
    def of(cls, flow: Flow, *, parameter_values: bool = False) -> FlowDefinition:
        """Return the definition of a flow.

        :param flow: the flow as Get Flow returns it.
        :param parameter_values: whether to take the values of its parameters, too. They may be secrets, and nothing
            tells which of them are. By default a definition has the names alone.
        :raises EnosConfigError: the flow has no definition. The message says why.
        """
        where = f"flow {flow.flow_id}"
        if flow.flows:
            other = excerpt(str(flow.flows[0]), 100)
            raise EnosConfigError(where, f"it depends on flow {other}", accepted="a flow that depends on no other")
        task_ids: dict[str, int] = {}
        for node in flow.nodes:
            if node.node_id in task_ids:
                same = f"several nodes have the nodeId {shown(node.node_id)}"
                raise EnosConfigError(where, same, accepted="nodes with ids of their own")
            task_ids[node.node_id] = node.task_id
        relations = []
        for relation in flow.relations:
            for end in (relation.source, relation.target):
                if end not in task_ids:
                    unknown = f"a relation leads to {shown(end)}, which is no node of it"
                    raise EnosConfigError(where, unknown, accepted="relations between nodes of the flow")
            if relation.of_another_day:
                gap = f"a node depends on the run of another day ({excerpt(relation.cycle_gap, 20)})"
                raise EnosConfigError(where, gap, accepted="relations within one run")
            relations.append((task_ids[relation.source], task_ids[relation.target]))
        return cls(
            flow_id=arguments.number(flow.flow_id, f"{where}: flowId"),
            name=_name(flow.flow_name, f"{where}: flowName"),
            **_graph([(node.task_id, node.task_name) for node in flow.nodes], relations, where),
            schedule=_schedule_of(flow, where),
            parameters=_parameters(
                {name: value if parameter_values else None for name, value in flow.parameters}, f"{where}: parameters"
            ),
        )

    @classmethod
    def from_json(cls, data: object, source: str) -> FlowDefinition:
        """Return the definition in ``data``, which ``to_json`` made and people may have changed.

        :param source: what ``data`` is, such as the path of its file, for the message of an error.
        :raises EnosConfigError: it is no definition. The message names the source, the field and its value.
        """
        where = excerpt(source)
        # Values of parameters, which may be in it, are never shown.
        fields = _object(data, where, _FIELDS, show=False)
        # True is 1, too.
        if type(fields["format"]) is not int or fields["format"] != FORMAT:
            raise EnosConfigError(
                f"{where}: format", shown(fields["format"]), accepted=f"{FORMAT}, as airflow enos export writes it"
            )
        nodes = []
        for number, node in enumerate(_list(fields["nodes"], f"{where}: nodes")):
            node = _object(node, f"{where}: nodes[{number}]", ("task_id", "name"))
            nodes.append((node["task_id"], node["name"]))
        return cls(
            flow_id=arguments.number(fields["flow_id"], f"{where}: flow_id"),
            name=_name(fields["name"], f"{where}: name"),
            **_graph(nodes, _list(fields["relations"], f"{where}: relations"), where),
            schedule=_schedule(fields["schedule"], f"{where}: schedule"),
            parameters=_parameters(fields["parameters"], f"{where}: parameters"),
        )

    @classmethod
    def from_text(cls, text: str | bytes, source: str) -> FlowDefinition:
        """Return the definition in ``text``, as ``text()`` writes it.

        :raises EnosConfigError: as ``from_json``; also where ``text`` is no JSON in UTF-8, or too much of it.
        """
        from airflow_provider_enos.protocol import bounded_json

        if len(text) > bounded_json.LIMITS.size:
            raise EnosConfigError(excerpt(source), f"{len(text):,} bytes", accepted="the definition of a flow")
        try:
            data = bounded_json.loads(text)
        except EnosReplyError as error:
            raise EnosConfigError(excerpt(source), str(error), accepted="the definition of a flow") from None
        except (ValueError, RecursionError) as error:
            problem = f"it cannot be read as JSON: {excerpt(str(error))}"
            accepted = "a file that airflow enos export has written"
            raise EnosConfigError(excerpt(source), problem, accepted=accepted) from None
        return cls.from_json(data, source)

    def to_json(self) -> dict[str, Any]:
        """Return the definition as JSON, always in the same order. ``from_json`` reads it."""
        return {
            "format": FORMAT,
            "flow_id": self.flow_id,
            "name": self.name,
            "nodes": [asdict(node) for node in self.nodes],
            "relations": [list(relation) for relation in self.relations],
            "schedule": self.schedule and asdict(self.schedule),
            "parameters": dict(self.parameters),
        }

    def text(self) -> str:
        """Return the JSON for a file, with one line a node, relation and parameter. Equal definitions: equal texts."""
        return _written(self.to_json())


def _object(data: object, where: str, names: tuple[str, ...], *, show: bool = True) -> Mapping[str, Any]:
    """Return ``data``, an object that has exactly these fields. ``show``: whether an error may show ``data``."""
    accepted = f"an object with {', '.join(names)}"
    if not isinstance(data, Mapping):
        raise EnosConfigError(where, shown(data) if show else _type(data), accepted=accepted)
    missing = [name for name in names if name not in data]
    if missing:
        raise EnosConfigError(where, f"{missing[0]} is missing", accepted=accepted)
    unknown = [name for name in data if name not in names]
    if unknown:
        raise EnosConfigError(where, f"{shown(unknown[0])} is not known", accepted=accepted)
    return data


def _type(data: object) -> str:
    return f"a value of type {type(data).__name__}"


def _list(data: object, where: str) -> list[Any]:
    if not isinstance(data, (list, tuple)):
        raise EnosConfigError(where, shown(data), accepted="a list")
    _check_number(len(data), where)
    return list(data)


def _check_number(number: int, where: str) -> None:
    if number > MOST_ITEMS:
        raise EnosConfigError(where, f"{number:,} entries", accepted=f"at most {MOST_ITEMS:,}")


def _text(value: object, where: str, longest: int) -> str:
    text = arguments.prose(value, where)
    if len(text) > longest:
        raise EnosConfigError(where, f"{len(text):,} characters", accepted=f"at most {longest:,}")
    return text


def _name(value: object, where: str) -> str:
    return _text(value, where, _LONGEST_NAME)


def _schedule_of(flow: Flow, where: str) -> Schedule | None:
    if flow.type != _PERIODIC:
        # EnOS keeps a cron of flows that are not periodic, too. It starts nothing.
        return None
    fields = {"active": flow.active, "cycle": str(flow.cycle), "cron": flow.cron, "start_date": flow.start_date}
    return _schedule(fields, f"{where}: schedule")


def _schedule(data: object, where: str) -> Schedule | None:
    if data is None:
        return None
    fields = _object(data, where, ("active", "cycle", "cron", "start_date"))
    return Schedule(
        arguments.flag(fields["active"], f"{where}.active"),
        *(_name(fields[name], f"{where}.{name}") for name in ("cycle", "cron", "start_date")),
    )


def _parameters(data: object, where: str) -> tuple[tuple[str, str | None], ...]:
    if not isinstance(data, Mapping):
        raise EnosConfigError(where, _type(data), accepted="an object from name to value, or null for the value")
    _check_number(len(data), where)
    found = []
    for name, value in data.items():
        at = f"{where}[{shown(name, 40)}]"
        if value is not None and not isinstance(value, str):
            raise EnosConfigError(at, _type(value), accepted="a text or null")
        found.append((_name(name, at), None if value is None else _value(value, at)))
    return tuple(sorted(found, key=lambda pair: pair[0]))


def _value(value: str, where: str) -> str:
    if len(value) > _LONGEST_VALUE or re.search(r"[\ud800-\udfff]", value):
        raise EnosConfigError(where, f"{len(value):,} characters", accepted=f"at most {_LONGEST_VALUE:,} in UTF-8")
    return value


def _graph(nodes: Iterable[tuple[object, object]], relations: Iterable[object], where: str) -> dict[str, Any]:
    """Return the nodes and the relations of a definition, checked and in order."""
    names: dict[int, str] = {}
    for number, (given, name) in enumerate(nodes):
        at = f"{where}: nodes[{number}]"
        task_id = arguments.number(given, f"{at}.task_id")
        if task_id in names:
            raise EnosConfigError(f"{at}.task_id", f"{task_id} is that of another node", accepted="an id of its own")
        names[task_id] = _name(name, f"{at}.name")
    if not names:
        raise EnosConfigError(f"{where}: nodes", "there is none", accepted="at least one")
    found = sorted({_relation(one, names, f"{where}: relations[{number}]") for number, one in enumerate(relations)})
    defined = {task_id: DefinedNode(task_id, names[task_id]) for task_id in sorted(names)}
    _check_order(defined, found, f"{where}: relations")
    return {"nodes": tuple(defined.values()), "relations": tuple(found)}


def _relation(data: object, known: Container[int], where: str) -> tuple[int, int]:
    if not isinstance(data, (list, tuple)) or len(data) != 2:
        raise EnosConfigError(where, shown(data), accepted="two task ids: [upstream, downstream]")
    upstream, downstream = (arguments.number(end, where) for end in data)
    for end in (upstream, downstream):
        if end not in known:
            raise EnosConfigError(where, f"no node has the task id {end}", accepted="task ids of the nodes")
    return upstream, downstream


def _check_order(nodes: Mapping[int, DefinedNode], relations: Iterable[tuple[int, int]], where: str) -> None:
    """Refuse relations that form a cycle."""
    before: dict[int, set[int]] = {}
    for upstream, downstream in relations:
        before.setdefault(downstream, set()).add(upstream)
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        cycle = [str(nodes[task_id]) for task_id in error.args[1]]
        shortened = [*cycle[:3], "…", *cycle[-2:]] if len(cycle) > 6 else cycle
        raise EnosConfigError(where, f"a cycle: {' > '.join(shortened)}", accepted="an order of the nodes") from None


def _written(data: Mapping[str, Any]) -> str:
    """Return an object as JSON, where each entry of a list or an object in it has a line of its own."""
    fields = []
    for name, value in data.items():
        brackets, entries = "", [_on_one_line(value)]
        if isinstance(value, list):
            brackets, entries = "[]", [_on_one_line(entry) for entry in value]
        elif isinstance(value, dict):
            brackets, entries = "{}", [f"{_on_one_line(key)}: {_on_one_line(entry)}" for key, entry in value.items()]
        if brackets and entries:
            lines = ",\n".join(f"    {entry}" for entry in entries)
            fields.append(f'  "{name}": {brackets[0]}\n{lines}\n  {brackets[1]}')
        else:
            fields.append(f'  "{name}": {brackets or entries[0]}')
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _on_one_line(value: object) -> str:
    # As people read it, unless it has characters that an editor does not show.
    written = json.dumps(value, ensure_ascii=False)
    return written if is_one_line(written) else json.dumps(value)
