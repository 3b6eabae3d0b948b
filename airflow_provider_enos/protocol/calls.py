"""One function an API operation of the Batch Processing Service v2.1 and of the token service.

Each is named after its page in the documentation. ``safe`` tells the exchange whether it may send it again when it
cannot know what became of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_enos.protocol import models
from airflow_provider_enos.protocol.messages import Call
from airflow_provider_enos.protocol.replies import INTERNAL, INVALID

_SERVICE = "/batch-processing-service/v2.1"
_TOKEN_SERVICE = "/apim-token-service/v2.0/token"

ALL_FLOW_TYPES = (0, 1, 2)
"""``type`` of List Flow Instances: manual, periodic, temporary."""


def trigger_flow(flow_id: int, trigger_time: int) -> Call[str]:
    """Trigger Flow: starts the whole flow; gives the flow instance id."""
    return _post(
        "Trigger Flow",
        "flows",
        "trigger",
        {"flowId": flow_id, "triggerTime": trigger_time},
        models.flow_instance_id_of,
        safe=False,
    )


def trigger_flow_from_task(flow_id: int, from_task_id: int, trigger_time: int) -> Call[str]:
    """Trigger Flow From Task: starts one node and all nodes downstream of it; gives the flow instance id."""
    return _post(
        "Trigger Flow From Task",
        "flows",
        "triggerFromTask",
        {"flowId": flow_id, "taskId": from_task_id, "triggerTime": trigger_time},
        models.flow_instance_id_of,
        safe=False,
    )


def update_and_trigger_flow(flow_id: int, trigger_time: int, parameters: Mapping[str, str]) -> Call[str]:
    """Update And Trigger Flow: starts the whole flow once with other parameters; gives the flow instance id."""
    pairs = [{"key": key, "value": value} for key, value in parameters.items()]
    return _post(
        "Update And Trigger Flow",
        "flows",
        "updateAndTrigger",
        {"flowId": flow_id, "triggerTime": trigger_time, "parameters": pairs},
        models.flow_instance_id_of,
        safe=False,
    )


def get_flow(flow_id: int) -> Call[models.Flow]:
    """Get Flow."""
    return _get("Get Flow", "flows", "get", {"flowId": str(flow_id)}, models.Flow.parse, missing_codes=(INVALID,))


def get_flow_instance(flow_instance_id: str) -> Call[models.FlowInstance]:
    """Get Flow Instance."""
    return _get(
        "Get Flow Instance",
        "flowInstances",
        "get",
        {"flowInstId": flow_instance_id},
        models.FlowInstance.parse,
        missing_codes=(INVALID,),
    )


def list_flow_instances(
    *,
    type: int,
    from_trigger_time: int,
    to_trigger_time: int,
    page_no: int,
    page_size: int,
    status: Iterable[models.FlowStatus] = (),
    owner: str = "",
    expression: str = "",
) -> Call[models.FlowInstancePage]:
    """List Flow Instances: one page of those of one type with a trigger time in ``[from, to)``."""
    body = {
        "type": type,
        "owner": owner,
        "expression": expression,
        "fromTriggerTime": from_trigger_time,
        "toTriggerTime": to_trigger_time,
        "status": ",".join(str(one.value) for one in status),
        "pagination": {
            "pageNo": page_no,
            "pageSize": page_size,
            # Of the documented orders the only one that does not move while instances change.
            "sorters": [{"field": "create_time", "order": "ASC"}],
        },
    }
    return _post("List Flow Instances", "flowInstances", "search", body, models.FlowInstancePage.parse, safe=True)


def cancel_flow_instance(flow_instance_id: str) -> Call[None]:
    """Cancel Flow Instance. It names one instance, so asking twice does no harm."""
    return _post(
        "Cancel Flow Instance",
        "flowInstances",
        "cancel",
        {"flowInstId": flow_instance_id},
        models.nothing,
        safe=True,
    )


def get_task_instance(task_instance_id: str) -> Call[models.TaskInstance]:
    """Get Task Instance."""
    return _get(
        "Get Task Instance",
        "taskInstances",
        "get",
        {"taskInstId": task_instance_id},
        models.TaskInstance.parse,
        missing_codes=(INVALID,),
    )


def get_task_instance_log(task_instance_id: str, max_length: int | None = None) -> Call[str]:
    """Get Task Instance Log. ``max_length``: characters to read at most; EnOS's default is 2^20."""
    query = {"taskInstId": task_instance_id}
    if max_length is not None:
        query["maxLength"] = str(max_length)
    return _get(
        "Get Task Instance Log", "taskInstances", "getLog", query, models.log_of, missing_codes=(INVALID, INTERNAL)
    )


def get_current_time() -> Call[int]:
    """Get Current Time: epoch milliseconds by EnOS's clock."""
    return _get("Get Current Time", "time", "getCurrentTime", {}, models.current_time_of, tenant=False)


def get_time_zone() -> Call[str]:
    """Get Timezone: such as ``GMT+8``."""
    return _get("Get Timezone", "time", "getTimeZone", {}, models.time_zone_of, tenant=False)


def get_token(access_key: str, encryption: str, timestamp: int) -> Call[models.AccessToken]:
    """Get Access Token: the token of this key, a new one if there is none that lives."""
    body = {"appKey": access_key, "encryption": encryption, "timestamp": timestamp}
    return _token_call("Get Access Token", "get", body)


def refresh_token(access_key: str, encryption: str, timestamp: int, access_token: str) -> Call[models.AccessToken]:
    """Refresh Access Token: a token with a full life for one that still lives."""
    body = {
        "appKey": access_key,
        "encryption": encryption,
        "timestamp": timestamp,
        "accessToken": access_token,
    }
    return _token_call("Refresh Access Token", "refresh", body)


def _get(
    operation: str,
    resource: str,
    action: str,
    query: Mapping[str, str],
    parse: Any,
    *,
    tenant: bool = True,
    missing_codes: tuple[int, ...] = (),
) -> Call[Any]:
    return Call(
        operation,
        "GET",
        f"{_SERVICE}/{resource}",
        (("action", action), *query.items()),
        None,
        safe=True,
        parse=parse,
        tenant=tenant,
        missing_codes=missing_codes,
    )


def _post(operation: str, resource: str, action: str, body: object, parse: Any, *, safe: bool) -> Call[Any]:
    return Call(
        operation,
        "POST",
        f"{_SERVICE}/{resource}",
        (("action", action),),
        _json(body),
        safe=safe,
        parse=parse,
    )


def _token_call(operation: str, verb: str, body: object) -> Call[models.AccessToken]:
    return Call(
        operation,
        "POST",
        f"{_TOKEN_SERVICE}/{verb}",
        (),
        _json(body),
        safe=True,
        parse=models.AccessToken.parse,
        tenant=False,
    )


def _json(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
