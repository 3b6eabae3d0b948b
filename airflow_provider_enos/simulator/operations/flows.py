"""Flows: read and find them, switch their schedule on and off, delete them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from airflow_provider_enos.simulator.flows import Flow, names_in
from airflow_provider_enos.simulator.operations.checks import check_privilege, existing, flow_in_query, page, whole
from airflow_provider_enos.simulator.operations.registry import INVALID_BODY, Call, ServiceRefused, operation
from airflow_provider_enos.simulator.operations.shapes import flow_data, formatted_id, is_owner
from airflow_provider_enos.simulator.state import ReliedOn, StillRunning

RELIED_ON = "This workflow is relied on by other workflows and cannot be deleted."
STILL_RUNNING = "This workflow has a running instance and cannot be deleted. Stop the instance first."
_SORT_NAMES: Mapping[str, str] = {
    "snake": r"(create|update|start)_time",
    "camel": r"(create|update|start)Time",
    "either": r"(create|update|start)(_time|Time)",
}
_SORT_FIELDS: Mapping[str, Callable[[Flow], int | str]] = {
    "createtime": lambda flow: flow.created_at,
    "updatetime": lambda flow: flow.updated_at,
    "starttime": lambda flow: flow.start_time,
}


@operation("GET", "flows/get", "flowId")
def _get_flow(call: Call) -> object:
    return flow_data(call, flow_in_query(call))


@operation("GET", "flows/getMyFlow", optional=("expression",))
def _get_my_flow(call: Call) -> object:
    user = call.config.user_id
    return [
        {
            "flowId": str(flow.flow_id),
            "editable": is_owner(call.config, flow),
            "flowName": flow.name,
            "cycle": flow.cycle,
        }
        for flow in _found(call, call.query.get("expression", ""))
        if user in {*flow.owners(user), *names_in(flow.visitors)}
    ]


@operation("POST", "flows/search", "pagination", optional=("expression",))
def _search_flow(call: Call) -> object:
    expression = call.body.get("expression", "")
    if not isinstance(expression, str):
        raise ServiceRefused(62102, INVALID_BODY)
    names = call.config.search_sorters
    listed = "createTime, updateTime, startTime" if names == "camel" else "create_time, update_time, start_time"
    wrong = f"Illegal field, should be one of [{listed}]."
    asked = page(call.body["pagination"], call.config.search_first_page, re.compile(_SORT_NAMES[names]), wrong)
    found = _found(call, expression)
    for name, descending in reversed(asked.sorters):
        found.sort(key=_SORT_FIELDS[name], reverse=descending)
    shown = found[asked.start : asked.start + asked.size]
    return [{"flowId": formatted_id(call.config, flow.flow_id), "flowName": flow.name} for flow in shown]


@operation("POST", "flows/enable", "flowId", writes=True)
def _enable_flow(call: Call) -> object:
    return _switched(call, active=True)


@operation("POST", "flows/disable", "flowId", writes=True)
def _disable_flow(call: Call) -> object:
    return _switched(call, active=False)


@operation("GET", "flows/delete", "flowId", writes=True)
def _delete_flow(call: Call) -> object:
    flow = flow_in_query(call)
    check_privilege(call, flow)
    try:
        call.state.delete_flow(flow.flow_id)
    except ReliedOn as error:
        raise ServiceRefused(62104, RELIED_ON) from error
    except StillRunning as error:
        raise ServiceRefused(62104, STILL_RUNNING) from error
    return ""


def _found(call: Call, expression: str) -> list[Flow]:
    return [
        flow
        for flow in call.catalog.flows()
        if flow.copy_of is None and (expression in str(flow.flow_id) or expression in flow.name)
    ]


def _switched(call: Call, *, active: bool) -> object:
    flow = existing(call, whole(call.body, "flowId"))
    check_privilege(call, flow)
    call.catalog.change_flow(flow.flow_id, active=active)
    return ""
