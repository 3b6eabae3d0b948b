"""Load Flow For Edit and Save Flow."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from airflow_provider_enos.simulator.flows import TEMPORARY, Edge, Flow, Link, LinkEdge, names_in
from airflow_provider_enos.simulator.operations.checks import (
    check_names,
    check_privilege,
    existing,
    flow_in_query,
    one_of_these,
    parameters,
    text,
    whole,
)
from airflow_provider_enos.simulator.operations.registry import Call, ServiceRefused, operation
from airflow_provider_enos.simulator.operations.shapes import flow_data, formatted_id, owner_name

INCORRECT = "Incorrect parameter"
CYCLES = ("M", "W", "D", "H", "mi")
_CRON = re.compile(r"\S+( \S+){6}")
_CYCLE_GAP = re.compile(rf"({'|'.join(CYCLES)})(-?[0-9]+)")
_MUST = ("id", "type", "name", "freq", "cycle", "alertMode", "doAs", "owners", "visitors", "startTime", "active")
_NUMBER = re.compile(r"[0-9]{1,18}")


@operation("GET", "flows/loadForEdit", "flowId", writes=True)
def _load_flow_for_edit(call: Call) -> object:
    flow = flow_in_query(call)
    original = flow.flow_id if flow.copy_of is None else flow.copy_of
    copy = call.catalog.new_flow(lambda flow_id, _: replace(flow, flow_id=flow_id, type=TEMPORARY, copy_of=original))
    data = flow_data(call, copy) | {"queue": copy.queue}
    if call.config.edit_copy == "same":
        data["flowId"] = formatted_id(call.config, flow.flow_id)
    return data


@operation(
    "POST",
    "flows/save",
    # The editions of the documentation differ in which of these are optional; all of them take all.
    *(*_MUST, "tasks", "flows", "relations"),
    optional=("parameters", "desc", "queue"),
    writes=True,
    malformed=INCORRECT,
    user_locked=(62105, "Your account has been locked"),
)
def _save_flow(call: Call) -> object:
    asked = existing(call, _id(call.body["id"]), INCORRECT)
    flow = asked if asked.copy_of is None else existing(call, asked.copy_of, INCORRECT)
    check_privilege(call, flow)
    changes = _head(call, flow) | _graph(call, asked, flow)
    try:
        call.catalog.change_flow(flow.flow_id, **changes)
    except ValueError as error:
        raise ServiceRefused(62102, INCORRECT) from error
    if asked is not flow:
        call.state.delete_flow(asked.flow_id)
    return {"flowId": formatted_id(call.config, flow.flow_id)}


def is_cron(value: str) -> bool:
    """Return whether a text is a Quartz expression of seven fields."""
    return bool(_CRON.fullmatch(value))


def is_day(value: str) -> bool:
    """Return whether a text is a day such as 2020-07-06."""
    try:
        return f"{datetime.strptime(value, '%Y-%m-%d'):%Y-%m-%d}" == value
    except ValueError:
        return False


def _head(call: Call, flow: Flow) -> dict[str, Any]:
    """Return the changes of a flow, apart from its graph."""
    body = call.body
    texts = {name: text(body, name, INCORRECT) for name in ("name", "freq", "doAs", "owners", "visitors", "startTime")}
    kind = one_of_these(body, "type", (0, 1, 2), INCORRECT)
    if not is_cron(texts["freq"]) or not is_day(texts["startTime"]) or not names_in(texts["owners"]):
        raise ServiceRefused(62102, INCORRECT)
    if not texts["name"].strip() or call.catalog.name_is_taken(texts["name"], except_by=flow.flow_id):
        raise ServiceRefused(62102, INCORRECT)
    changes = {
        "type": flow.type if kind == TEMPORARY else kind,
        "name": texts["name"],
        "freq": texts["freq"],
        "cycle": one_of_these(body, "cycle", CYCLES, INCORRECT),
        "alert_mode": one_of_these(body, "alertMode", (0, 1, 2, 3), INCORRECT),
        "do_as": texts["doAs"],
        "owner": texts["owners"],
        "visitors": texts["visitors"],
        "start_time": texts["startTime"],
        "active": bool(one_of_these(body, "active", (0, 1), INCORRECT)),
        "creator": flow.creator or owner_name(call.config, flow),
        "updated_by": call.config.user_id,
        "updated_at": call.config.now_ms(),
    }
    changes |= {name: text(body, name, INCORRECT) for name in ("desc", "queue") if name in body}
    return changes | ({"parameters": _parameters(body["parameters"])} if "parameters" in body else {})


@dataclass(frozen=True)
class _GraphNode:
    """A node of the graph to save."""

    id: int
    name: str
    place: tuple[float, float]


def _graph(call: Call, asked: Flow, flow: Flow) -> dict[str, Any]:
    """Return the changes of a flow's graph."""
    tasks = _nodes(call.body["tasks"], "t_", ("taskId", "taskName"))
    flows = _nodes(call.body["flows"], "f_", ("flowId", "flowName", "isVirtual"))
    strangers = tasks.keys() - flow.tasks.keys() - asked.tasks.keys()
    dropped = flow.tasks.keys() - tasks.keys()
    is_taken = strangers & call.catalog.task_ids() or dropped & call.catalog.linked_tasks(flow.flow_id)
    if is_taken or flow.flow_id in flows:
        raise ServiceRefused(62102, INCORRECT)
    links = {other: _link_to(other, asked) for other in flows}
    edges, link_edges = _edges(call.body["relations"], tasks, links)
    return {
        "tasks": {task: node.name for task, node in tasks.items()},
        "places": {task: node.place for task, node in tasks.items()},
        "relations": edges,
        "links": tuple(links.values()),
        "link_edges": link_edges,
        "logs": {task: log for task, log in flow.logs.items() if task in tasks},
        "seconds": {task: lasts for task, lasts in flow.seconds.items() if task in tasks},
        "details": {task: known for task, known in flow.details.items() if task in tasks},
        "failing_task": flow.failing_task if flow.failing_task in tasks else None,
    }


def _nodes(value: object, prefix: str, names: tuple[str, ...]) -> dict[int, _GraphNode]:
    found: dict[int, _GraphNode] = {}
    for given in _objects(value, (*names, "nodeId", "x", "y")):
        place = (_place(given["x"]), _place(given["y"]))
        node = _GraphNode(_id(given[names[0]]), text(given, names[1], INCORRECT), place)
        if not node.name or node.id in found or given["nodeId"] != f"{prefix}{node.id}":
            raise ServiceRefused(62102, INCORRECT)
        if not isinstance(given.get("isVirtual", False), bool):
            raise ServiceRefused(62102, INCORRECT)
        found[node.id] = node
    return found


def _edges(
    value: object, tasks: Mapping[int, _GraphNode], links: Mapping[int, Link]
) -> tuple[tuple[Edge, ...], tuple[LinkEdge, ...]]:
    edges: list[Edge] = []
    link_edges: list[LinkEdge] = []
    sources: dict[str, int | str] = {f"t_{task}": task for task in tasks}
    sources |= {f"f_{other}": link.link_id for other, link in links.items()}
    targets = {f"t_{task}": task for task in tasks}
    for relation in _objects(value, ("cycleGap", "source", "target", "rerun")):
        gap = text(relation, "cycleGap", INCORRECT)
        source, target = text(relation, "source", INCORRECT), text(relation, "target", INCORRECT)
        if source not in sources or target not in targets or not _CYCLE_GAP.fullmatch(gap):
            raise ServiceRefused(62102, INCORRECT)
        rerun = _flag(relation, "rerun")
        match sources[source]:
            case int() as task:
                edges.append(Edge(task, targets[target], rerun, gap))
            case str() as link_id:
                link_edges.append(LinkEdge(link_id, targets[target], rerun, gap))
    return tuple(edges), tuple(link_edges)


def _flag(body: Mapping[str, Any], name: str) -> bool:
    if not isinstance(body[name], bool):
        raise ServiceRefused(62102, INCORRECT)
    return bool(body[name])


def _link_to(flow_id: int, asked: Flow) -> Link:
    known = (link for link in asked.links if link.flow_id == flow_id)
    return next(known, None) or Link(secrets.token_hex(8), flow_id)


def _objects(value: object, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a list of objects with exactly these names."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ServiceRefused(62102, INCORRECT)
    for one in value:
        check_names(one, frozenset(names), frozenset(), INCORRECT)
    return value


def _parameters(value: object) -> dict[str, str]:
    """Parse parameters: the documentation calls them a list, and its samples send the JSON text of one."""
    try:
        return parameters(json.loads(value) if isinstance(value, str) else value, INCORRECT)
    except ValueError as error:
        raise ServiceRefused(62102, INCORRECT) from error


def _id(value: object) -> int:
    """Return an id, which is a number or its digits."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    return whole({"id": value}, "id", INCORRECT)


def _place(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ServiceRefused(62102, INCORRECT)
    return float(value)
