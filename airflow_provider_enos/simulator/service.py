"""Batch Processing Service v2.1: one function an operation, request in, ``data`` of the envelope out.

To add an operation, write one function with ``@operation``. What is not here is answered like anything
unknown: HTTP 404 for a resource, code 62102 for an action, HTTP 405 for the wrong method.

Decided where the documentation is silent: a flow or parameter that does not exist is 62102; a locked flow
is 62103 as another user's is; cancelling an ended instance succeeds and changes nothing; parameters that
Update And Trigger leaves out keep their stored value; fields and parameters that are not documented are
refused.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from airflow_provider_enos.simulator.config import Config
from airflow_provider_enos.simulator.state import (
    LATEST_TRIGGER_MS,
    STATUS_CODES,
    Conflict,
    Flow,
    Found,
    Instance,
    Node,
    World,
)
from airflow_provider_enos.simulator.wire import Reply, Request, gateway_reply, json_reply, parse_object

INVALID_BODY = "Invalid request body."
CANNOT_CREATE = (
    "Cannot create workflow instance. Please check if the workflow or task exist, "
    "and do not trigger the same workflow repeatedly in 1 minute."
)
NO_TASK = "This workflow has no task. You cannot trigger it."
NO_LOG_OR_NO_TASK = "Invalid taskInstId or it has no log"
INTERNAL_ERROR = "Internal server exception"
WRONG_SORTERS = "The sorters field parameter is invalid"
SORT_FIELDS: Mapping[str, Callable[[Found], int]] = {
    "createtime": lambda instance: instance.created_at,
    "updatetime": lambda instance: instance.ended_at or instance.started_at or instance.created_at,
    "starttime": lambda instance: instance.started_at or 0,
    "triggertime": lambda instance: instance.trigger_time,
    "endtime": lambda instance: instance.ended_at or 0,
}
_SORT_NAME = re.compile(r"(create|update|start|trigger|end)(Time|_time)")
_CAPITAL = re.compile(r"(?<=[a-z])([A-Z])")
_DEFAULT_LOG_LENGTH = 2**20
_CRON = "0 0 0 * * ? *"
_RUN_MODE = json.dumps({"taskMode": 1, "cpu": 0.6, "memory": 1.1, "maxParallel": 0, "keyType": 0})


class ServiceRefused(Exception):
    """The service answers with this code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Ask:
    """What an operation is asked, checked for its names but not for its values."""

    config: Config
    world: World
    query: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Operation:
    """An operation of the service: how it is called, and the function that does it."""

    method: str
    required: frozenset[str]
    optional: frozenset[str]
    run: Callable[[Ask], object]
    for_tenant: bool
    writes: bool


OPERATIONS: dict[str, Operation] = {}
"""Every operation by name: ``resource/action``."""


def operation(
    method: str,
    name: str,
    *required: str,
    optional: tuple[str, ...] = (),
    for_tenant: bool = True,
    writes: bool = False,
) -> Callable[[Callable[[Ask], object]], Callable[[Ask], object]]:
    """Registers an operation. Names are query parameters for a GET, body fields for a POST."""

    def register(run: Callable[[Ask], object]) -> Callable[[Ask], object]:
        OPERATIONS[name] = Operation(method, frozenset(required), frozenset(optional), run, for_tenant, writes)
        return run

    return register


class Service:
    """The service behind the gateway."""

    def __init__(self, config: Config, world: World) -> None:
        self._config = config
        self._world = world

    def answer(self, request: Request, query: Mapping[str, str]) -> Reply:
        """The envelope for a request that the gateway let through."""
        if request.resource not in {name.partition("/")[0] for name in OPERATIONS}:
            return gateway_reply(404, "no Route matched with those values")
        found = OPERATIONS.get(f"{request.resource}/{query.get('action', '')}")
        if found and request.method != found.method:
            return gateway_reply(405, "Method not allowed", Allow=found.method)
        try:
            if found is None:
                raise ServiceRefused(62102, "Invalid request parameter: action")
            data = found.run(self._ask(found, request, query))
        except ServiceRefused as refused:
            return envelope(self._config, refused.code, refused.message, None)
        return envelope(self._config, 0, "OK", data)

    def _ask(self, found: Operation, request: Request, query: Mapping[str, str]) -> Ask:
        if found.for_tenant:
            self._check_tenant(query)
        mine = {name: value for name, value in query.items() if name not in ("action", "userId", "orgId")}
        if found.method == "GET":
            _check_names(mine, found, "Invalid request parameter.")
            return Ask(self._config, self._world, mine, {})
        _check_names(mine, None, "Invalid request parameter.")
        try:
            body = parse_object(request.body)
        except ValueError as error:
            raise ServiceRefused(62102, INVALID_BODY) from error
        _check_names(body, found, INVALID_BODY)
        return Ask(self._config, self._world, {}, body)

    def _check_tenant(self, query: Mapping[str, str]) -> None:
        if (query.get("userId"), query.get("orgId")) != (self._config.user_id, self._config.org_id):
            raise ServiceRefused(62101, "userId does not exist, or it does not match to orgId.")


def envelope(config: Config, code: int, message: str, data: object) -> Reply:
    """The documented ``{"code", "msg", "data"}``."""
    content: dict[str, object] = {"code": code, "msg": message, "data": data}
    if config.request_id:
        content["requestId"] = secrets.token_hex(16)
    return json_reply(content, status=config.envelope_http_status if code else 200, code=code)


@operation("GET", "time/getCurrentTime", for_tenant=False)
def _get_current_time(ask: Ask) -> object:
    return ask.config.now_ms()


@operation("GET", "time/getTimeZone", for_tenant=False)
def _get_time_zone(ask: Ask) -> object:
    return {"timezone": ask.config.time_zone}


@operation("POST", "flows/trigger", "flowId", "triggerTime", writes=True)
def _trigger(ask: Ask) -> object:
    return _trigger_whole(ask, {})


@operation("POST", "flows/updateAndTrigger", "flowId", "triggerTime", "parameters", writes=True)
def _update_and_trigger(ask: Ask) -> object:
    return _trigger_whole(ask, _parameters(ask.body["parameters"]))


@operation("POST", "flows/triggerFromTask", "flowId", "taskId", "triggerTime", writes=True)
def _trigger_from_task(ask: Ask) -> object:
    task_id = _whole(ask.body, "taskId")
    trigger_time = _trigger_time(ask.body, "triggerTime")
    flow = _own_flow(ask)
    if task_id not in flow.tasks:
        raise ServiceRefused(62102, CANNOT_CREATE)
    return _triggered(ask, flow, task_id, trigger_time, {})


@operation("GET", "flows/get", "flowId")
def _get_flow(ask: Ask) -> object:
    text = ask.query["flowId"]
    flow = ask.world.flow(int(text)) if re.fullmatch(r"[0-9]{1,18}", text) else None
    if flow is None:
        raise ServiceRefused(62102, "Workflow not found")
    return _flow_data(ask.config, flow)


@operation("GET", "flowInstances/get", "flowInstId")
def _get_flow_instance(ask: Ask) -> object:
    instance = ask.world.poll(ask.query["flowInstId"])
    if instance is None:
        return _no_instance(ask.config)
    return _one(ask.config, _instance_data(ask.config, ask.world.flow_of(instance), instance))


@operation("POST", "flowInstances/cancel", "flowInstId", writes=True)
def _cancel_flow_instance(ask: Ask) -> object:
    instance_id = _text(ask.body, "flowInstId")
    instance = ask.world.instance(instance_id)
    if instance is None:
        raise ServiceRefused(62102, "Instance not found")
    _check_privilege(ask.config, ask.world.flow_of(instance))
    ask.world.cancel(instance_id)
    return ""


@operation(
    "POST",
    "flowInstances/search",
    *("type", "owner", "fromTriggerTime", "toTriggerTime", "status", "pagination"),
    optional=("expression",),
)
def _list_flow_instances(ask: Ask) -> object:
    page = _page(ask)
    shown, found = ask.world.search(
        _in_question(ask),
        _statuses(ask.body["status"]),
        [(SORT_FIELDS[name], descending) for name, descending in page.sorters],
        slice(page.start, page.start + page.size),
    )
    return {
        "flowInsts": [_listed_data(ask, instance) for instance in shown],
        "count": found if ask.config.count_means == "total" else len(shown),
    }


@operation("GET", "taskInstances/get", "taskInstId")
def _get_task_instance(ask: Ask) -> object:
    found = ask.world.task(ask.query["taskInstId"])
    if found is None:
        return _no_instance(ask.config)
    return _one(ask.config, _task_data(ask.config, ask.world.flow_of(found[0]), *found))


@operation("GET", "taskInstances/getLog", "taskInstId", optional=("maxLength",))
def _get_task_instance_log(ask: Ask) -> object:
    length = _log_length(ask.query.get("maxLength", ""))
    found = ask.world.task(ask.query["taskInstId"])
    newer_texts = ask.config.log_missing_code == 62102
    if found is None:
        raise ServiceRefused(62102, "Invalid taskInstId or it has no log" if newer_texts else "Instance not found")
    instance, node = found
    if node.status in ("INIT", "WAIT", "READY", "SKIP") or instance.started_at is None:
        if newer_texts:
            raise ServiceRefused(62102, NO_LOG_OR_NO_TASK)
        raise ServiceRefused(62109, "No log found")
    share = ask.world.share_of(node.task_instance_id) if ask.config.log_grows else 1.0
    text = _log(ask.world.flow_of(instance), node, instance.started_at, share)
    return {"log": text[:length] if ask.config.log_keeps == "head" else text[max(len(text) - length, 0) :]}


def _trigger_whole(ask: Ask, parameters: Mapping[str, str]) -> object:
    trigger_time = _trigger_time(ask.body, "triggerTime")
    flow = _own_flow(ask)
    if not flow.tasks:
        raise ServiceRefused(62104, NO_TASK)
    return _triggered(ask, flow, None, trigger_time, parameters)


def _triggered(ask: Ask, flow: Flow, task_id: int | None, trigger_time: int, parameters: Mapping[str, str]) -> object:
    try:
        instance = ask.world.trigger(flow.flow_id, task_id, trigger_time, parameters=parameters)
    except Conflict as error:
        raise ServiceRefused(62102, CANNOT_CREATE) from error
    return {"flowInstanceId": instance.id}


def _own_flow(ask: Ask) -> Flow:
    flow = ask.world.flow(_whole(ask.body, "flowId"))
    if flow is None:
        raise ServiceRefused(62102, CANNOT_CREATE)
    _check_privilege(ask.config, flow)
    return flow


def _check_privilege(config: Config, flow: Flow) -> None:
    if flow.locked or flow.owner not in (None, config.user_id):
        raise ServiceRefused(62103, "User has no privilege.")


def _no_instance(config: Config) -> object:
    if config.unknown_instance == "error":
        raise ServiceRefused(62102, "Instance not found")
    return None if config.unknown_instance == "null" else []


def _check_names(given: Mapping[str, object], found: Operation | None, message: str) -> None:
    required = found.required if found else frozenset()
    optional = found.optional if found else frozenset()
    if not required <= given.keys() or given.keys() - required - optional:
        raise ServiceRefused(62102, message)


def _whole(body: Mapping[str, Any], name: str) -> int:
    value = body[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ServiceRefused(62102, INVALID_BODY)
    return value


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body[name]
    if not isinstance(value, str):
        raise ServiceRefused(62102, INVALID_BODY)
    return value


def _trigger_time(body: Mapping[str, Any], name: str) -> int:
    value = _whole(body, name)
    if not 0 <= value < LATEST_TRIGGER_MS:
        raise ServiceRefused(62102, INVALID_BODY)
    return value


def _parameters(value: object) -> dict[str, str]:
    if not isinstance(value, list):
        raise ServiceRefused(62102, INVALID_BODY)
    found: dict[str, str] = {}
    for pair in value:
        match pair:
            case {"key": str(key), "value": str(text)} if len(pair) == 2:
                found[key] = text
            case _:
                raise ServiceRefused(62102, INVALID_BODY)
    return found


def _statuses(value: object) -> set[str]:
    texts = str(value).split(",") if value != "" else []
    known = {str(code): status for status, code in STATUS_CODES.items()}
    if not isinstance(value, str | int) or isinstance(value, bool) or not set(texts) <= known.keys():
        raise ServiceRefused(62102, INVALID_BODY)
    return {known[text] for text in texts}


def _log_length(text: str) -> int:
    if not re.fullmatch(r"[0-9]{0,9}", text):
        raise ServiceRefused(62102, "Invalid request parameter.")
    return int(text) if text else _DEFAULT_LOG_LENGTH


@dataclass(frozen=True)
class _Page:
    start: int
    size: int
    sorters: tuple[tuple[str, bool], ...]


def _page(ask: Ask) -> _Page:
    pagination = ask.body["pagination"]
    if not isinstance(pagination, dict) or not {"pageNo", "pageSize"} <= pagination.keys():
        raise ServiceRefused(62102, INVALID_BODY)
    if pagination.keys() - {"pageNo", "pageSize", "sorters"}:
        raise ServiceRefused(62102, INVALID_BODY)
    number = _whole(pagination, "pageNo") - ask.config.first_page
    size = _whole(pagination, "pageSize")
    if number < 0 or size < 1:
        raise ServiceRefused(62102, INVALID_BODY)
    sorters = pagination.get("sorters", [])
    if not isinstance(sorters, list):
        raise ServiceRefused(62102, WRONG_SORTERS)
    return _Page(number * size, size, tuple(_sorter(sorter) for sorter in sorters))


def _sorter(value: object) -> tuple[str, bool]:
    if not isinstance(value, dict) or value.keys() - {"field", "order"}:
        raise ServiceRefused(62102, WRONG_SORTERS)
    name, order = value.get("field"), value.get("order", "ASC")
    if not isinstance(name, str) or not _SORT_NAME.fullmatch(name) or order not in ("ASC", "DESC"):
        raise ServiceRefused(62102, WRONG_SORTERS)
    return name.replace("_", "").lower(), order == "DESC"


def _in_question(ask: Ask) -> Callable[[Found], bool]:
    """Whether a list is about an instance, whatever its status."""
    kind, owner, expression = (
        _whole(ask.body, "type"),
        _text(ask.body, "owner"),
        ask.body.get("expression", ""),
    )
    since, until = _whole(ask.body, "fromTriggerTime"), _whole(ask.body, "toTriggerTime")
    if kind not in (0, 1, 2) or not isinstance(expression, str):
        raise ServiceRefused(62102, INVALID_BODY)

    def asked_for(instance: Found) -> bool:
        listed_type = ask.config.listed_type if instance.type is None else instance.type
        return (
            since <= instance.trigger_time < until
            and listed_type == kind
            and owner in ("", _owner(ask.config, instance.flow))
            and (expression in instance.id or expression in instance.flow.name)
        )

    return asked_for


def _listed_data(ask: Ask, instance: Instance) -> dict[str, object]:
    data = _instance_data(ask.config, ask.world.flow_of(instance), instance, listed=True)
    left_out = ("alertMode", "calDt")
    return {name: value for name, value in data.items() if name not in left_out} | {"isCancelled": instance.cancelled}


def _instance_data(config: Config, flow: Flow, instance: Instance, *, listed: bool = False) -> dict[str, object]:
    zone = config.zone
    business_day = datetime.fromtimestamp(instance.trigger_time / 1000, zone) - timedelta(days=1)
    return {
        "instanceId": instance.id,
        "flowId": _id(config, flow.flow_id),
        "flowName": flow.name,
        "freq": _CRON,
        "cycle": flow.cycle,
        "parameters": _parameters_text(instance.parameters),
        "doAs": "data_simulator",
        "graph": _graph(config, _instance_graph(config, flow, instance, with_status=not listed)),
        "status": STATUS_CODES[instance.status],
        "statusDesc": instance.status,
        "triggerTime": _time_text(config, instance.trigger_time),
        "startTime": _time_text(config, instance.started_at),
        "endTime": _time_text(config, instance.ended_at),
        "timestamp": f"{_time_text(config, instance.created_at)}.0",
        "virtual": False,
        "owner": _owner(config, flow),
        "alertMode": 0,
        "calDt": f"{business_day:%Y-%m-%d}",
        "hasEditPri": flow.owner in (None, config.user_id),
        "hasReadPri": True,
    }


def _instance_graph(config: Config, flow: Flow, instance: Instance, *, with_status: bool) -> dict[str, object]:
    tasks = []
    for place, node in enumerate(instance.nodes):
        task = _graph_task(config, node.task_id, node.name, place) | {"taskInstId": node.task_instance_id}
        # The documentation's lists show nodes without a status.
        tasks.append(task | {"status": node.status} if with_status else task)
    return _graph_head(config, flow) | {
        "id": _id(config, flow.flow_id),
        "instId": instance.id,
        "parameters": _parameters_text(instance.parameters),
        "tasks": tasks,
    }


def _graph_head(config: Config, flow: Flow) -> dict[str, object]:
    return {
        "creator": _owner(config, flow),
        "freq": _CRON,
        "alertMode": 0,
        "owners": f";{_owner(config, flow)};",
        "cycle": flow.cycle,
        "doAs": "data_simulator",
        "name": flow.name,
        "flows": [],
        "relations": [
            {"cycleGap": f"{flow.cycle}0", "source": f"t_{source}", "target": f"t_{target}", "rerun": False}
            for source, target in flow.relations
        ],
    }


def _graph_task(config: Config, task_id: int, name: str, place: int) -> dict[str, object]:
    return {
        "taskName": name,
        "taskId": _id(config, task_id),
        "nodeId": f"t_{task_id}",
        "x": 120.0 + 160.0 * place,
        "y": 80.0,
    }


def _flow_data(config: Config, flow: Flow) -> dict[str, object]:
    graph = _graph_head(config, flow) | {
        "parameters": _parameters_text(flow.parameters),
        "type": flow.type,
        "tasks": [_graph_task(config, task, name, i) for i, (task, name) in enumerate(flow.tasks.items())],
    }
    mine = flow.owner in (None, config.user_id)
    return {
        "flowId": _id(config, flow.flow_id),
        "flowName": flow.name,
        "active": 1,
        "creator": _owner(config, flow),
        "updateUser": _owner(config, flow),
        "createTime": "2020-07-01 08:00:00.0",
        "updateTime": "2020-07-01 08:00:00.0",
        "freq": _CRON,
        "cycle": flow.cycle,
        "parameters": _parameters_text(flow.parameters),
        "owner": f";{_owner(config, flow)};",
        "visitor": "",
        "doAs": "data_simulator",
        "alertMode": 0,
        "entry": 0,
        "type": flow.type,
        "syncType": 0,
        "graph": _graph(config, graph),
        "desc": "",
        "startTime": "2020-07-01",
        "virtual": False,
        "locked": flow.locked,
        "hasEditPri": mine,
        "hasReadPri": True,
        "isUserLocked": False,
    }


def _task_data(config: Config, flow: Flow, instance: Instance, node: Node) -> dict[str, object]:
    has_run = node.status not in ("INIT", "WAIT", "READY", "SKIP")
    over = has_run and node.status != "RUNNING"
    created = datetime.fromtimestamp(instance.created_at / 1000, UTC)
    return {
        "instanceId": node.task_instance_id,
        "taskId": _id(config, node.task_id),
        "taskName": node.name,
        "cycle": flow.cycle,
        "status": STATUS_CODES[node.status],
        "runNum": 1 if has_run else 0,
        "type": 7,
        "syncType": None,
        "freq": None,
        "ifPre": 0,
        "stsDesc": node.status,
        "recallNum": 0,
        "triggerTime": _time_text(config, instance.trigger_time),
        "timeout": 300,
        "recallLimit": 3,
        "recallInterval": 0,
        "startTime": _time_text(config, instance.started_at if has_run else None),
        "endTime": _time_text(config, instance.ended_at or instance.started_at if over else None),
        "timeStamp": _java_date(created),
        "isTimeout": node.status == "TIMEOUT",
        "flowInstId": instance.id,
        "doAs": "data_simulator",
        "alert": False,
        "runMode": _RUN_MODE,
        "cmd": _command(node),
        "hasResourceBefore": False,
        "resourceName": "",
        "fileName": "",
        "resourceVersion": "",
    }


def _log(flow: Flow, node: Node, started_at: int, share: float) -> str:
    ruler = "=" * 60
    started = _java_date(datetime.fromtimestamp(started_at / 1000, UTC))
    head = (
        f"run  num:\t1\ninstance:\t{node.task_instance_id}\ncmdline:\t{_command(node)}\n"
        f"submitter:\tdata_simulator\ncurrent time:\t{started}"
    )
    lines = f"{flow.logs.get(node.task_id, node.name + ' done')}\n".splitlines(keepends=True)
    return f"{ruler}\n{head}\n{ruler}\n{''.join(lines[: int(share * len(lines))])}"


def _command(node: Node) -> str:
    return f"python {node.name}.py"


def _java_date(moment: datetime) -> str:
    # Not strftime: its names of days and months depend on the locale.
    weekday, day, month, year, clock, _ = format_datetime(moment).replace(",", "").split()
    return f"{weekday} {month} {day} {clock} UTC {year}"


def _time_text(config: Config, moment: int | None) -> str | None:
    if moment is None:
        return None
    return f"{datetime.fromtimestamp(moment / 1000, config.zone):%Y-%m-%d %H:%M:%S}"


def _parameters_text(parameters: Mapping[str, str]) -> str:
    return json.dumps([{"key": key, "value": value} for key, value in parameters.items()])


def _owner(config: Config, flow: Flow) -> str:
    return flow.owner or config.user_id


def _id(config: Config, number: int) -> int | str:
    return number if config.ids_as == "int" else str(number)


def _one(config: Config, data: dict[str, object]) -> object:
    return data if config.data_as == "object" else [data]


def _graph(config: Config, graph: dict[str, object]) -> object:
    styled = _snake_case(graph) if config.graph_keys == "snake" else graph
    return json.dumps(styled) if config.graph_as == "text" else styled


def _snake_case(value: object) -> object:
    if isinstance(value, dict):
        return {_CAPITAL.sub(r"_\1", name).lower(): _snake_case(inner) for name, inner in value.items()}
    return [_snake_case(inner) for inner in value] if isinstance(value, list) else value
