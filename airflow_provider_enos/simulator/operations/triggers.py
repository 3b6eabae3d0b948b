"""The three ways to start an instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_enos.simulator.flows import LATEST_MS, PERIODIC, Flow
from airflow_provider_enos.simulator.instance_store import Conflict
from airflow_provider_enos.simulator.operations.checks import check_privilege, parameters, whole
from airflow_provider_enos.simulator.operations.registry import INVALID_BODY, Call, ServiceRefused, operation

CANNOT_CREATE = (
    "Cannot create workflow instance. Please check if the workflow or task exist, "
    "and do not trigger the same workflow repeatedly in 1 minute."
)
NO_TASK = "This workflow has no task. You cannot trigger it."


@operation("POST", "flows/trigger", "flowId", "triggerTime", writes=True)
def _trigger(call: Call) -> object:
    return _trigger_whole(call, None)


@operation("POST", "flows/updateAndTrigger", "flowId", "triggerTime", "parameters", writes=True)
def _update_and_trigger(call: Call) -> object:
    return _trigger_whole(call, parameters(call.body["parameters"]))


@operation("POST", "flows/triggerFromTask", "flowId", "taskId", "triggerTime", writes=True)
def _trigger_from_task(call: Call) -> object:
    task_id = whole(call.body, "taskId")
    trigger_time = _trigger_time(call.body, "triggerTime")
    flow = _own_flow(call)
    if task_id not in flow.tasks:
        raise ServiceRefused(62102, CANNOT_CREATE)
    return _triggered(call, flow, task_id, trigger_time, None)


def _trigger_whole(call: Call, parameters: Mapping[str, str] | None) -> object:
    trigger_time = _trigger_time(call.body, "triggerTime")
    flow = _own_flow(call)
    if not flow.tasks:
        raise ServiceRefused(62104, NO_TASK)
    return _triggered(call, flow, None, trigger_time, parameters)


def _triggered(
    call: Call, flow: Flow, task_id: int | None, trigger_time: int, parameters: Mapping[str, str] | None
) -> object:
    try:
        instance = call.instances.trigger(flow.flow_id, task_id, trigger_time, parameters=parameters)
    except Conflict as error:
        raise ServiceRefused(62102, CANNOT_CREATE) from error
    return {"flowInstanceId": instance.id}


def _own_flow(call: Call) -> Flow:
    flow = call.catalog.flow(whole(call.body, "flowId"))
    if flow is None or flow.copy_of is not None:
        raise ServiceRefused(62102, CANNOT_CREATE)
    check_privilege(call, flow)
    if call.config.paused_trigger == "refused" and flow.type == PERIODIC and not flow.active:
        raise ServiceRefused(62102, CANNOT_CREATE)
    return flow


def _trigger_time(body: Mapping[str, Any], name: str) -> int:
    value = whole(body, name)
    if not 0 <= value < LATEST_MS:
        raise ServiceRefused(62102, INVALID_BODY)
    return value
