"""One function per API operation of the Batch Processing Service v2.1 and of the token service.

Each is named after its page in the documentation. ``safe`` says whether the exchange may send a call again although it
may have been carried out. A call is safe if it only reads, or if it ends or switches one thing that it names; a call
that creates something is not. The HTTP method does not tell: Delete Flow and Load Flow For Edit are GETs and not safe.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from airflow_provider_enos.protocol import models
from airflow_provider_enos.protocol.arguments import FLOW_TYPES
from airflow_provider_enos.protocol.wire.messages import Call
from airflow_provider_enos.protocol.wire.replies import INTERNAL, INVALID

_SERVICE = "/batch-processing-service/v2.1"
_TOKEN_SERVICE = "/apim-token-service/v2.0/token"

GET_TIMEZONE = "Get Timezone"

LOG_LENGTH = 2**20
"""Characters of a log that EnOS returns by default."""

ALL_FLOW_TYPES = FLOW_TYPES
"""``type`` of List Flow Instances: manual, periodic, temporary."""

SORT_FIELDS = ("create_time", "createTime")
"""The field that lists are sorted by, as the releases of EnOS name it. This order does not change while flows run."""
END_FIELDS = ("end_time", "endTime")
"""The field that sorts by the end of an instance, as the releases of EnOS name it."""


def authenticate() -> Call[None]:
    """Fetch a token if there is no valid one, and send nothing else. After this, the gateway's clock is known."""
    return Call("Get Access Token", "POST", "", (), None, safe=True, parse=models.nothing, token_only=True)


def trigger_flow(flow_id: int, trigger_time: int) -> Call[str]:
    """Trigger Flow: start the whole flow; return the flow instance id."""
    return _post(
        "Trigger Flow",
        "flows",
        "trigger",
        {"flowId": flow_id, "triggerTime": trigger_time},
        models.flow_instance_id_of,
        safe=False,
    )


def trigger_flow_from_task(flow_id: int, from_task_id: int, trigger_time: int) -> Call[str]:
    """Trigger Flow From Task: start one node and all nodes downstream of it; return the flow instance id."""
    return _post(
        "Trigger Flow From Task",
        "flows",
        "triggerFromTask",
        {"flowId": flow_id, "taskId": from_task_id, "triggerTime": trigger_time},
        models.flow_instance_id_of,
        safe=False,
    )


def update_and_trigger_flow(flow_id: int, trigger_time: int, parameters: Mapping[str, str]) -> Call[str]:
    """Update And Trigger Flow: start the whole flow once with other parameters; return the flow instance id."""
    return _post(
        "Update And Trigger Flow",
        "flows",
        "updateAndTrigger",
        {"flowId": flow_id, "triggerTime": trigger_time, "parameters": models.pairs(parameters)},
        models.flow_instance_id_of,
        safe=False,
    )


def get_flow(flow_id: int) -> Call[models.Flow]:
    """Get Flow."""
    return _get("Get Flow", "flows", "get", {"flowId": str(flow_id)}, models.Flow.parse, missing_codes=(INVALID,))


def export_flow(flow_id: int) -> Call[models.FlowExport]:
    """Export Flow: return everything that Import Flow needs to create the flow again."""
    return _get("Export Flow", "flows", "export", {"flowId": str(flow_id)}, models.FlowExport.parse)


def import_flow(
    flow_name: str, dir_id: str, flow_json: models.FlowExport, *, flow_id: int | None = None, desc: str = ""
) -> Call[int]:
    """Import Flow: create a flow from an export; return its id, which is ``flow_id`` if that id is free.

    ``desc``: the description; if it is empty, the export's description is used.
    """
    body: dict[str, object] = {
        "flowName": flow_name,
        # Some releases of EnOS require it.
        "desc": desc or flow_json.description,
        "dirId": dir_id,
        "flowJson": flow_json.document(),
    }
    if flow_id is not None:
        body["flowId"] = flow_id
    return _post("Import Flow", "flows", "import", body, models.flow_id_of, safe=False)


def load_flow_for_edit(flow_id: int) -> Call[models.Flow]:
    """Load Flow For Edit: return a temporary copy of the flow, which EnOS makes for this call."""
    return _get(
        "Load Flow For Edit",
        "flows",
        "loadForEdit",
        {"flowId": str(flow_id)},
        models.Flow.parse,
        missing_codes=(INVALID,),
        safe=False,
    )


def save_flow(flow: models.Flow) -> Call[int]:
    """Save Flow: store a changed copy that came from Load Flow For Edit; return the id of the flow."""
    return _post("Save Flow", "flows", "save", flow.document(), models.flow_id_of, safe=False)


def delete_flow(flow_id: int) -> Call[None]:
    """Delete Flow: delete the flow and all its instances. Not safe: by then, an import may have taken its id."""
    return _get("Delete Flow", "flows", "delete", {"flowId": str(flow_id)}, models.nothing, safe=False)


def enable_flow(flow_id: int) -> Call[None]:
    """Enable Flow: switch its schedule on."""
    return _post("Enable Flow", "flows", "enable", {"flowId": flow_id}, models.nothing, safe=True)


def disable_flow(flow_id: int) -> Call[None]:
    """Disable Flow: switch its schedule off."""
    return _post("Disable Flow", "flows", "disable", {"flowId": flow_id}, models.nothing, safe=True)


def get_my_flow(expression: str = "") -> Call[tuple[models.MyFlow, ...]]:
    """Get My Flow: return the user's flows whose id or name is like ``expression``; all of them if it is empty."""
    query = {"expression": expression} if expression else {}
    return _get("Get My Flow", "flows", "getMyFlow", query, models.my_flows_of)


def search_flows(
    *, page_no: int, page_size: int, expression: str = "", sort_by: str = SORT_FIELDS[0]
) -> Call[models.FlowPage]:
    """Search Flow: return one page of the organisation's flows whose id or name is like ``expression``."""
    body = {"expression": expression, "pagination": _pagination(page_no, page_size, sort_by)}
    return _post("Search Flow", "flows", "search", body, models.FlowPage.parse, safe=True)


def list_workflow_directories() -> Call[tuple[models.Directory, ...]]:
    """List Workflow Directories: return the tree of directories and of the flows in them."""
    return _get("List Workflow Directories", "directories", "listWorkFlowDirs", {}, models.directories_of)


def create_directory(parent_id: str, dir_name: str) -> Call[str]:
    """Create Directory; return its id."""
    body = {"parentId": parent_id, "dirName": dir_name}
    return _post("Create Directory", "directories", "create", body, models.directory_id_of, safe=False)


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


def get_flow_instance_graph(flow_instance_id: str) -> Call[models.FlowInstanceGraph]:
    """Get Flow Instance, with the edges between the nodes."""
    call: Call[Any] = get_flow_instance(flow_instance_id)
    return replace(call, parse=models.FlowInstanceGraph.parse)


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
    nodes: bool = True,
    sort_by: str | None = SORT_FIELDS[0],
    newest_first: bool = False,
) -> Call[models.FlowInstancePage]:
    """List Flow Instances: return one page of the instances of one type with a trigger time in ``[from, to)``.

    ``nodes=False``: leave out nodes and parameters, which take most of the time to read. ``sort_by``: None leaves the
    order to EnOS.
    """
    body = {
        "type": type,
        "owner": owner,
        "expression": expression,
        "fromTriggerTime": from_trigger_time,
        "toTriggerTime": to_trigger_time,
        "status": ",".join(str(one.value) for one in status),
        "pagination": _pagination(page_no, page_size, sort_by, "DESC" if newest_first else "ASC"),
    }
    page = models.FlowInstancePage
    parse = page.parse if nodes else page.parse_without_nodes
    return _post("List Flow Instances", "flowInstances", "search", body, parse, safe=True)


def cancel_flow_instance(flow_instance_id: str) -> Call[None]:
    """Cancel Flow Instance. The call names one instance, so sending it twice does no harm."""
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
    """Get Task Instance Log. ``max_length``: the most characters to read; EnOS's default is 2^20."""
    query = {"taskInstId": task_instance_id}
    if max_length is not None:
        query["maxLength"] = str(max_length)
    parse = partial(models.log_of, most=LOG_LENGTH if max_length is None else max_length)
    return _get("Get Task Instance Log", "taskInstances", "getLog", query, parse, missing_codes=(INVALID, INTERNAL))


def get_current_time() -> Call[int]:
    """Get Current Time: return epoch milliseconds by EnOS's clock."""
    return _get("Get Current Time", "time", "getCurrentTime", {}, models.current_time_of, tenant=False)


def get_time_zone() -> Call[str]:
    """Get Timezone: return the time zone, such as ``GMT+8``."""
    return _get(GET_TIMEZONE, "time", "getTimeZone", {}, models.time_zone_of, tenant=False)


def get_token(access_key: str, encryption: str, timestamp: int) -> Call[models.AccessToken]:
    """Get Access Token: return the valid token of this key, or a new one."""
    body = {"appKey": access_key, "encryption": encryption, "timestamp": timestamp}
    return _token_call("Get Access Token", "get", body)


def refresh_token(access_key: str, encryption: str, timestamp: int, access_token: str) -> Call[models.AccessToken]:
    """Refresh Access Token: return a token with a full life, given one that is still valid."""
    body = {
        "appKey": access_key,
        "encryption": encryption,
        "timestamp": timestamp,
        "accessToken": access_token,
    }
    return _token_call("Refresh Access Token", "refresh", body)


def _pagination(page_no: int, page_size: int, sort_by: str | None, order: str = "ASC") -> dict[str, object]:
    sorters = {} if sort_by is None else {"sorters": [{"field": sort_by, "order": order}]}
    return {"pageNo": page_no, "pageSize": page_size, **sorters}


def _get(
    operation: str,
    resource: str,
    action: str,
    query: Mapping[str, str],
    parse: Any,
    *,
    tenant: bool = True,
    missing_codes: tuple[int, ...] = (),
    safe: bool = True,
) -> Call[Any]:
    return Call(
        operation,
        "GET",
        f"{_SERVICE}/{resource}",
        (("action", action), *query.items()),
        None,
        safe=safe,
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
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
