"""In what a flow differs from its definition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol.flow_definition import DefinedNode, FlowDefinition, Schedule
from airflow_provider_enos.protocol.text import excerpt, shown

_OF_THE_GRAPH = ("added", "removed", "renamed", "upstream")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which a flow differs from its definition. ``str()`` is a line for people.

    :param kind: ``added``, ``removed``, ``renamed`` and ``upstream`` (what it runs after) are about a node; ``flow``
        (its id or its name), ``schedule`` and ``parameter`` are not.
    :param text: what differs. It never shows the value of a parameter.
    :param node: the node, as the flow has it; a removed one as the definition has it.
    """

    kind: str
    text: str
    node: DefinedNode | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def changes_graph(self) -> bool:
        """Whether it is in the nodes, their names or their relations, so that a task group would show another flow."""
        return self.kind in _OF_THE_GRAPH

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "kind": self.kind,
            "task_id": self.node and self.node.task_id,
            "task_name": self.node and self.node.name,
            "changes_graph": self.changes_graph,
            "text": self.text,
        }


def differences(there: FlowDefinition, now: FlowDefinition, *, by_name: bool = False) -> tuple[Difference, ...]:
    """Return in what a flow differs from its definition: node by node, then schedule and parameters.

    The values of parameters are compared where both have them.

    :param there: the definition.
    :param now: the flow as it is.
    :param by_name: whether nodes are the same node if they have the same name. By default they are if they have the
        same id. By name, the ids and the names of the two flows do not count.
    :raises EnosConfigError: ``by_name``, and several nodes of one of the two have the same name.
    """
    old, new = _Graph(there, by_name), _Graph(now, by_name)
    return (
        *(() if by_name else _of_flows(there, now)),
        *_of_nodes(old, new),
        *_of_schedules(there.schedule, now.schedule),
        *_of_parameters(dict(there.parameters), dict(now.parameters)),
    )


class _Graph:
    """The nodes of a definition by key, which is the id or the name, and what each runs after."""

    def __init__(self, definition: FlowDefinition, by_name: bool) -> None:
        self._by_name = by_name
        self.nodes: dict[int | str, DefinedNode] = {}
        for node in definition.nodes:
            key = self._key(node)
            if key in self.nodes:
                raise EnosConfigError(
                    f"flow {definition.flow_id}",
                    f"several nodes have the name {shown(node.name)}",
                    accepted="nodes with names of their own, to compare by name",
                )
            self.nodes[key] = node
        keys = {node.task_id: self._key(node) for node in definition.nodes}
        self.upstream: dict[int | str, set[int | str]] = {key: set() for key in self.nodes}
        for source, target in definition.relations:
            self.upstream[keys[target]].add(keys[source])

    def _key(self, node: DefinedNode) -> int | str:
        return node.name if self._by_name else node.task_id

    def label(self, key: int | str) -> str:
        node = self.nodes[key]
        # The other side has other ids.
        return excerpt(node.name, 100) if self._by_name else str(node)

    def labels(self, keys: set[int | str]) -> str:
        """Return the nodes in the order of their ids, for a message."""
        return ", ".join(self.label(key) for key in self.nodes if key in keys)


def _of_flows(there: FlowDefinition, now: FlowDefinition) -> Iterator[Difference]:
    if there.flow_id != now.flow_id:
        yield Difference("flow", f"the flow has the id {now.flow_id}, the definition has {there.flow_id}")
    if there.name != now.name:
        yield Difference("flow", f"the flow is named {_named(now.name)}, the definition {_named(there.name)}")


def _of_nodes(old: _Graph, new: _Graph) -> Iterator[Difference]:
    for key, node in old.nodes.items():
        if key not in new.nodes:
            yield Difference("removed", f"node {old.label(key)} is not in the flow any more", node)
    for key, node in new.nodes.items():
        label = f"node {new.label(key)}"
        if key not in old.nodes:
            upstream = new.labels(new.upstream[key])
            yield Difference("added", f"{label} is new" + f", and runs after {upstream}" * bool(upstream), node)
            continue
        if node.name != old.nodes[key].name:
            yield Difference("renamed", f"{label} is named {_named(old.nodes[key].name)} in the definition", node)
        before, after = old.upstream[key], new.upstream[key]
        gone, come = old.labels(before - after), new.labels(after - before)
        changes = [f"no longer runs after {gone}"] * bool(gone) + [f"now runs after {come}"] * bool(come)
        if changes:
            yield Difference("upstream", f"{label} {' and '.join(changes)}", node)


def _of_schedules(there: Schedule | None, now: Schedule | None) -> Iterator[Difference]:
    if there != now:
        yield Difference("schedule", f"the schedule is {now or 'none'}; in the definition {there or 'none'}")


def _of_parameters(there: Mapping[str, str | None], now: Mapping[str, str | None]) -> Iterator[Difference]:
    for name in sorted({*there, *now}):
        what = f"parameter {_named(name)}"
        if name not in now:
            yield Difference("parameter", f"{what} is not in the flow any more")
        elif name not in there:
            yield Difference("parameter", f"{what} is new")
        elif there[name] != now[name] and None not in (there[name], now[name]):
            yield Difference("parameter", f"{what} has another value than in the definition")


def _named(name: str) -> str:
    return shown(name, 100)
