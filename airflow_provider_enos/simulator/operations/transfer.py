"""Export Flow and Import Flow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_enos.simulator.flows import Edge, Flow, Link, LinkEdge, names_in
from airflow_provider_enos.simulator.operations.checks import flow_in_query, parameters
from airflow_provider_enos.simulator.operations.editing import CYCLES, INCORRECT, is_cron, is_day
from airflow_provider_enos.simulator.operations.registry import Call, ServiceRefused, operation
from airflow_provider_enos.simulator.operations.shapes import (
    formatted_id,
    owners_text,
    parameters_text,
    task_details,
)

UNFIT = "Workflow validation failed"
_FROM_API = 1

Shape = Mapping[str, type | tuple[type, ...]]
_FLOW: Shape = {
    **dict.fromkeys(("cycle", "cron", "parameters", "submitter", "owners", "visitors", "desc", "startTime"), str),
    **dict.fromkeys(("alertMode", "type", "syncType"), int),
    **dict.fromkeys(("tasks", "flowLinks", "taskLinks", "relations", "linkRelations"), list),
}
_TASK_OPTIONAL: Shape = {
    **dict.fromkeys(("resource", "runMode", "cmd", "submitter", "filePackage", "cron", "successCode", "waitCode"), str),
    **dict.fromkeys(("syncType", "priorityLevel", "timeout", "retryLimit", "retryInterval"), int),
    "type": (int, str),
    "asLink": bool,
}
_FLOW_LINK: Shape = {"linkId": str, "sourceFlowName": str}
_TASK_LINK: Shape = {**_FLOW_LINK, "sourceTaskName": str}
_RELATION: Shape = {"sourceTaskName": str, "targetTaskName": str, "rerun": bool}
_LINK_RELATION: Shape = {"linkId": str, "targetTaskName": str, "rerun": bool}


@operation("GET", "flows/export", "flowId", malformed="Flow validation exception")
def _export_flow(call: Call) -> object:
    flow = flow_in_query(call, "Flow validation exception")
    return {
        "name": flow.name,
        "cycle": flow.cycle,
        "cron": flow.freq,
        "parameters": parameters_text(flow.parameters),
        "alertMode": flow.alert_mode,
        "type": flow.type,
        "syncType": flow.sync_type,
        "submitter": flow.do_as,
        "owners": owners_text(call.config, flow),
        "visitors": flow.visitors,
        "desc": flow.desc,
        "startTime": flow.start_time,
        "tasks": [task_details(call.config, flow, task) | {"name": name} for task, name in flow.tasks.items()],
        "flowLinks": [_link(call, link) for link in flow.links if link.task_id is None],
        "taskLinks": [_link(call, link) for link in flow.links if link.task_id is not None],
        "relations": [
            {
                "sourceTaskName": flow.tasks[edge.source],
                "targetTaskName": flow.tasks[edge.target],
                "rerun": edge.rerun,
            }
            for edge in flow.relations
        ],
        "linkRelations": [
            {"linkId": edge.link_id, "targetTaskName": flow.tasks[edge.target], "rerun": edge.rerun}
            for edge in flow.link_edges
        ],
    }


def _link(call: Call, link: Link) -> dict[str, str]:
    source = call.catalog.flow(link.flow_id)
    shown = {"linkId": link.link_id, "sourceFlowName": source.name if source else ""}
    if link.task_id is not None:
        shown["sourceTaskName"] = source.tasks.get(link.task_id, "") if source else ""
    return shown


@operation(
    "POST",
    "flows/import",
    *("dirId", "flowJson"),
    optional=("flowName", "flowId", "desc"),
    writes=True,
    malformed=INCORRECT,
)
def _import_flow(call: Call) -> object:
    name, desc, wanted = _flow_name(call), _desc(call), call.body.get("flowId")
    directory, content = call.body["dirId"], call.body["flowJson"]
    if not isinstance(directory, str) or isinstance(wanted, bool) or not isinstance(wanted, int | None):
        raise ServiceRefused(62102, INCORRECT)
    if wanted is not None and wanted < 1:
        raise ServiceRefused(62102, INCORRECT)
    if directory not in {one.id for one in call.catalog.directories()}:
        raise ServiceRefused(62102, "Directory does not exist")
    _check_shapes(content)
    _check_values(call, name, content)
    flow = _import(
        call, content, wanted, name=name, directory=directory, desc=content["desc"] if desc is None else desc
    )
    return {"flowId": formatted_id(call.config, flow.flow_id)}


def _flow_name(call: Call) -> str:
    name = call.body.get("flowName")
    if not isinstance(name, str) or not name.strip():
        raise ServiceRefused(62102, "Invalid parameter: flowName")
    return name


def _desc(call: Call) -> str | None:
    """Return the description that replaces the one in the struct, or None."""
    desc = call.body.get("desc")
    demanded = call.config.import_needs_desc or "desc" in call.body
    if demanded and not isinstance(desc, str):
        raise ServiceRefused(62102, INCORRECT)
    return desc


def _check_shapes(content: object) -> None:
    _check_shape(content, _FLOW, {"name": str})
    assert isinstance(content, dict)
    for task in content["tasks"]:
        _check_shape(task, {"name": str}, _TASK_OPTIONAL)
    for name, shape in (
        ("flowLinks", _FLOW_LINK),
        ("taskLinks", _TASK_LINK),
        ("relations", _RELATION),
        ("linkRelations", _LINK_RELATION),
    ):
        for one in content[name]:
            _check_shape(one, shape, {})


def _check_shape(value: object, required: Shape, optional: Shape) -> None:
    if not isinstance(value, dict) or not required.keys() <= value.keys() <= required.keys() | optional.keys():
        raise ServiceRefused(62102, INCORRECT)
    for name, inner in value.items():
        kinds = required.get(name) or optional[name]
        if not isinstance(inner, kinds) or (isinstance(inner, bool) and kinds is not bool):
            raise ServiceRefused(62102, INCORRECT)


def _check_values(call: Call, name: str, content: Mapping[str, Any]) -> None:
    owners = names_in(content["owners"])
    if owners and call.config.user_id not in owners:
        raise ServiceRefused(62103, "User has no privilege.")
    names = [task["name"] for task in content["tasks"]]
    links = [link["linkId"] for link in (*content["flowLinks"], *content["taskLinks"])]
    fits = (
        content["cycle"] in CYCLES
        and is_cron(content["cron"])
        and is_day(content["startTime"])
        and content["type"] in (0, 1, 2)
        and content["alertMode"] in (0, 1, 2, 3)
        and content["syncType"] in (0, 1)
        and all(names)
        and len(set(names)) == len(names)
        and len(set(links)) == len(links)
        and not call.catalog.name_is_taken(name)
    )
    if not fits:
        raise ServiceRefused(62102, UNFIT)


def _import(
    call: Call, content: Mapping[str, Any], wanted: int | None, *, name: str, directory: str, desc: str
) -> Flow:
    """Add the flow of a struct, and return it."""

    def make(flow_id: int, first_task: int) -> Flow:
        ids = {task["name"]: first_task + place for place, task in enumerate(content["tasks"])}
        return Flow(
            flow_id=flow_id,
            name=name,
            tasks={task: task_name for task_name, task in ids.items()},
            relations=tuple(
                Edge(ids[one["sourceTaskName"]], ids[one["targetTaskName"]], one["rerun"])
                for one in content["relations"]
            ),
            owner=content["owners"] if names_in(content["owners"]) else None,
            parameters=parameters(json.loads(content["parameters"])),
            cycle=content["cycle"],
            type=content["type"],
            active=False,
            freq=content["cron"],
            desc=desc,
            start_time=content["startTime"],
            visitors=content["visitors"],
            do_as=content["submitter"],
            alert_mode=content["alertMode"],
            sync_type=content["syncType"],
            entry=_FROM_API,
            creator=call.config.user_id,
            updated_by=call.config.user_id,
            created_at=call.config.now_ms(),
            updated_at=call.config.now_ms(),
            directory=directory,
            links=tuple(_links(call, content)),
            link_edges=tuple(
                LinkEdge(one["linkId"], ids[one["targetTaskName"]], one["rerun"]) for one in content["linkRelations"]
            ),
            details={ids[task["name"]]: _details(task) for task in content["tasks"]},
        )

    try:
        return call.catalog.new_flow(make, wanted)
    except (KeyError, ValueError, ServiceRefused) as error:
        raise ServiceRefused(62102, UNFIT) from error


def _details(task: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in task.items() if name != "name"}


def _links(call: Call, content: Mapping[str, Any]) -> list[Link]:
    """Return the links of a struct, by id instead of by name. Raise KeyError for an unknown flow or task."""
    flows = {flow.name: flow for flow in call.catalog.flows() if flow.copy_of is None}
    links = [Link(one["linkId"], flows[one["sourceFlowName"]].flow_id) for one in content["flowLinks"]]
    for one in content["taskLinks"]:
        source = flows[one["sourceFlowName"]]
        tasks = {name: task for task, name in source.tasks.items()}
        links.append(Link(one["linkId"], source.flow_id, tasks[one["sourceTaskName"]]))
    return links
