"""Make the JSON that the page draws. Texts of EnOS are cleaned here; the page adds them as text, never as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_enos.plugins.view.drawing import drawn
from airflow_provider_enos.plugins.view.layout import NODE_HEIGHT, NODE_WIDTH, arrange
from airflow_provider_enos.protocol.follow.cancelling import has_stopped
from airflow_provider_enos.protocol.models import FlowInstance, FlowInstanceGraph, FlowStatus, Outcome, TaskInstance
from airflow_provider_enos.protocol.models.instances import time_of
from airflow_provider_enos.protocol.start.recovery import Restart, rerun_of
from airflow_provider_enos.protocol.text import excerpt

MOST_NODES, MOST_EDGES = 1000, 3000
"""The most nodes and edges that are drawn."""
REFRESH, REFRESH_SLOW = 5, 10
"""Seconds until the page polls again: while the instance runs; after a problem, or while only the task is active."""

_NAME_LENGTH, _ID_LENGTH, _TIME_LENGTH = 200, 200, 40
_NOT_ENDED = ("running", "waiting", "unknown")
_MOST_FAILED = 3

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Times:
    """Start and end of a node, as EnOS writes them; None where it gives none."""

    start: str | None
    end: str | None

    @classmethod
    def of(cls, run: TaskInstance) -> Times:
        """Return the times of a task instance, cleaned."""
        start, end = (text and excerpt(text, _TIME_LENGTH) for text in (run.start_time, run.end_time))
        return cls(start, end)


@dataclass(frozen=True, slots=True)
class Seen:
    """What EnOS has answered. ``times``: by the id of the node's task instance, as far as they are known."""

    graph: FlowInstanceGraph
    times: Mapping[str, Times]
    link: str | None
    asks_on: bool = False
    """Whether times of more nodes are still to be fetched."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing more will come: a failed instance's other nodes may still be running."""
        return has_stopped(self.graph.instance) and not self.asks_on


@dataclass(frozen=True, slots=True)
class _Node:
    """A node of the picture: a task, or another flow that this one depends on."""

    node_id: str
    name: str
    status: FlowStatus | None
    task_instance_id: str = ""
    flow_instance_id: str = ""
    is_flow: bool = False
    task_id: int | None = None
    has_run: bool = False


def note(message: str, *, refresh: int | None, kind: str = "note", title: str = "") -> Json:
    """Return a message in place of a picture. ``kind`` is ``note`` or ``problem``."""
    return {"kind": kind, "title": title, "message": message, "refresh": refresh}


def of_problem(message: str, seconds: float) -> Json:
    """Return a problem that may pass. The page polls again after about ``seconds``."""
    return note(message, refresh=max(REFRESH_SLOW, int(seconds)), kind="problem")


def of_instance(seen: Seen) -> Json:
    """Return the picture of a flow instance."""
    instance = seen.graph.instance
    every = _nodes(seen.graph)
    nodes = every[:MOST_NODES]
    edges = _edges(nodes, seen.graph)
    # As its author has drawn it, where that makes a readable picture.
    layout = drawn([seen.graph.places.get(node.node_id) for node in nodes], edges) or arrange(
        len(nodes), edges[:MOST_EDGES]
    )
    bars, span = _bars(nodes, seen.times, instance)
    return {
        "kind": "instance",
        "refresh": None if seen.is_complete else REFRESH,
        "id": excerpt(instance.flow_instance_id, _ID_LENGTH),
        "flow_id": instance.flow_id,
        "flow_name": excerpt(instance.flow_name, _NAME_LENGTH),
        "status": str(instance.status),
        "look": look_of(instance.status),
        "trigger_time": excerpt(instance.trigger_time or "", _TIME_LENGTH),
        "facts": _facts(instance),
        **span,
        "link": seen.link,
        "left_out": len(every) - len(nodes) + (instance.nodes_left_out or 0),
        "edges_left_out": max(len(edges) - MOST_EDGES, 0),
        "width": round(layout.width),
        "height": round(layout.height),
        "node_width": NODE_WIDTH,
        "node_height": NODE_HEIGHT,
        "nodes": [
            {
                "id": excerpt(node.task_instance_id or node.flow_instance_id or node.node_id, _ID_LENGTH),
                "name": excerpt(node.name, _NAME_LENGTH) or "(no name)",
                "is_flow": node.is_flow,
                "task_id": node.task_id,
                "has_log": _has_log(node, seen.times.get(node.task_instance_id)),
                "status": str(node.status or "none"),
                "look": look_of(node.status),
                "x": place[0],
                "y": place[1],
                **bars.get(node.task_instance_id, {}),
            }
            for node, place in zip(nodes, layout.places, strict=True)
        ],
        "edges": [{"d": edge.path, "back": edge.back} for edge in layout.edges],
        "brief": brief_of(instance),
    }


def brief_of(instance: FlowInstance) -> Json:
    """Return what a line says of a flow instance."""
    looks = [look_of(node.status) for node in instance.nodes]
    failed = [node.task_name for node, look in zip(instance.nodes, looks, strict=True) if look == "failed"]
    start, end = time_of(instance.start_time), time_of(instance.end_time)
    return {
        "id": excerpt(instance.flow_instance_id, _ID_LENGTH),
        "flow_name": excerpt(instance.flow_name, _NAME_LENGTH),
        "status": str(instance.status),
        "look": look_of(instance.status),
        "nodes": None if instance.nodes_left_out is None else len(looks) + instance.nodes_left_out,
        "ended": sum(look not in _NOT_ENDED for look in looks),
        "failed": [excerpt(name, _NAME_LENGTH) or "(no name)" for name in failed[:_MOST_FAILED]],
        "seconds": None if start is None or end is None else max((end - start).total_seconds(), 0.0),
        "has_stopped": has_stopped(instance),
    }


def look_of(status: FlowStatus | None) -> str:
    """Return how a status is shown: its outcome if it has ended, else running, waiting or unknown."""
    if status is None:
        return "waiting"
    if status.outcome is not Outcome.RUNNING:
        return str(status.outcome.value)
    if not status.known:
        return "unknown"
    return "running" if status.working else "waiting"


def _nodes(graph: FlowInstanceGraph) -> list[_Node]:
    flows = [
        _Node(flow.node_id, flow.flow_name, flow.status, flow_instance_id=flow.flow_instance_id, is_flow=True)
        for flow in graph.flows
    ]
    tasks = [
        _Node(
            task.node_id,
            task.task_name,
            task.status,
            task.task_instance_id,
            task_id=task.task_id,
            has_run=task.has_run,
        )
        for task in graph.instance.nodes
    ]
    return flows + tasks


def _has_log(node: _Node, times: Times | None) -> bool:
    """Return whether the node has a log, or may have one. A node that was cancelled has none if it never began."""
    never_began = node.status is FlowStatus.CANCEL and times is not None and not times.start
    return node.has_run and not never_began


def _edges(nodes: Sequence[_Node], graph: FlowInstanceGraph) -> list[tuple[int, int]]:
    # Of several nodes with one id, edges lead to the first. No edge leads to a node without an id.
    numbers = {node.node_id: number for number, node in reversed(list(enumerate(nodes))) if node.node_id}
    edges = (
        (numbers[edge.source], numbers[edge.target])
        for edge in graph.relations
        if edge.source in numbers and edge.target in numbers
    )
    return list(dict.fromkeys(edges))


def _facts(instance: FlowInstance) -> list[tuple[str, str]]:
    named = (
        ("Trigger time", instance.trigger_time),
        ("Start", instance.start_time),
        ("End", instance.end_time),
        ("Business date", instance.business_date),
        ("Owner", instance.owner),
        ("Nodes", "not shown: their graph is too large" if instance.nodes_left_out is None else ""),
        ("A rerun would start from", _rerun_of(instance)),
    )
    return [(name, excerpt(text, 60)) for name, text in named if text]


def _rerun_of(instance: FlowInstance) -> str:
    """Return the node from which a rerun of a failed instance would start; empty where none is known."""
    if not instance.status.ended_badly or len(instance.nodes) > MOST_NODES:
        return ""
    choice = rerun_of(instance)
    if not isinstance(choice, Restart):
        return ""
    node = f"{excerpt(choice.task_name, 20)} ({choice.task_id})"
    return f"{node}, if what runs succeeds" if choice.provisional else node


def _bars(nodes: Sequence[_Node], times: Mapping[str, Times], instance: FlowInstance) -> tuple[dict[str, Json], Json]:
    """Return, for each node with a known start, its times, and where its bar begins and ends, from 0 to 1.

    Return also of how many seconds that is the ``span``, and how long ``before`` the first bar the instance started.

    The zone of the times is not documented, so they are only compared with each other. The bar of a node that has not
    ended reaches to 1.
    """
    found = {node.task_instance_id: times[node.task_instance_id] for node in nodes if node.task_instance_id in times}
    starts = {name: time_of(one.start) for name, one in found.items()}
    ends = {name: time_of(one.end) for name, one in found.items()}
    known = [moment for moment in (*starts.values(), *ends.values()) if moment is not None]
    if not known:
        return {}, {}
    first, last = min(known), max(known)
    whole = max((last - first).total_seconds(), 1.0)
    bars: dict[str, Json] = {}
    for name, one in found.items():
        start, end = starts[name], ends[name]
        if start is None:
            continue
        reach = 1.0 if end is None else (max(end, start) - first).total_seconds() / whole
        bars[name] = {
            "start": one.start or "",
            "end": one.end or "",
            "seconds": None if end is None else max((end - start).total_seconds(), 0.0),
            "from": round((start - first).total_seconds() / whole, 4),
            "to": round(reach, 4),
            "open": end is None,
        }
    started = time_of(instance.start_time)
    before = 0.0 if started is None else max((first - started).total_seconds(), 0.0)
    return bars, {"span": whole, "before": before}
