"""What replies look like."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from airflow_provider_enos.simulator.config import Config
from airflow_provider_enos.simulator.flows import Edge, Flow, LinkEdge
from airflow_provider_enos.simulator.instances import STATUS_CODES, Instance, NodeInstance
from airflow_provider_enos.simulator.operations.registry import Call, ServiceRefused

_SHELL = 3
_CAPITAL = re.compile(r"(?<=[a-z])([A-Z])")
_RUN_MODE = json.dumps({"taskMode": 1, "cpu": 0.6, "memory": 1.1, "maxParallel": 0, "keyType": 0})


def listed_data(call: Call, instance: Instance) -> dict[str, object]:
    """Return a FlowInstance as List Flow Instances shows it."""
    data = instance_data(call, instance, listed=True)
    left_out = ("alertMode", "calDt")
    return {name: value for name, value in data.items() if name not in left_out} | {"isCancelled": instance.cancelled}


def instance_data(call: Call, instance: Instance, *, listed: bool = False) -> dict[str, object]:
    """Return a FlowInstance as Get Flow Instance shows it."""
    config, flow = call.config, call.instances.flow_of(instance)
    business_day = datetime.fromtimestamp(instance.trigger_time / 1000, config.zone) - timedelta(days=1)
    return {
        "instanceId": instance.id,
        "flowId": formatted_id(config, flow.flow_id),
        "flowName": flow.name,
        "freq": flow.freq,
        "cycle": flow.cycle,
        "parameters": parameters_text(instance.parameters),
        "doAs": flow.do_as,
        "graph": _formatted_graph(config, _instance_graph(call, flow, instance, with_status=not listed)),
        "status": STATUS_CODES[instance.status],
        "statusDesc": instance.status,
        "triggerTime": time_text(config, instance.trigger_time),
        "startTime": run_time_text(config, instance.started_at),
        "endTime": run_time_text(config, instance.ended_at),
        "timestamp": f"{run_time_text(config, instance.created_at)}.0",
        "virtual": False,
        "owner": owner_name(config, flow),
        "alertMode": flow.alert_mode,
        "calDt": f"{business_day:%Y-%m-%d}",
        "hasEditPri": is_owner(config, flow),
        "hasReadPri": True,
    }


def flow_data(call: Call, flow: Flow) -> dict[str, object]:
    """Return a Flow as Get Flow shows it."""
    config = call.config
    return {
        "flowId": formatted_id(config, flow.flow_id),
        "flowName": flow.name,
        "active": int(flow.active),
        "creator": flow.creator or owner_name(config, flow),
        "updateUser": flow.updated_by or owner_name(config, flow),
        "createTime": f"{time_text(config, flow.created_at)}.0",
        "updateTime": f"{time_text(config, flow.updated_at)}.0",
        "freq": flow.freq,
        "cycle": flow.cycle,
        "parameters": parameters_text(flow.parameters),
        "owner": owners_text(config, flow),
        "visitor": flow.visitors,
        "doAs": flow.do_as,
        "alertMode": flow.alert_mode,
        "entry": flow.entry,
        "type": flow.type,
        "syncType": flow.sync_type,
        "graph": _formatted_graph(config, _flow_graph(call, flow)),
        "desc": flow.desc,
        "startTime": flow.start_time,
        "virtual": False,
        "locked": flow.locked,
        "hasEditPri": is_owner(config, flow),
        "hasReadPri": True,
        "isUserLocked": call.state.user_locked,
    }


def _instance_graph(call: Call, flow: Flow, instance: Instance, *, with_status: bool) -> dict[str, object]:
    tasks = []
    places = flow.drawing()
    for node in instance.nodes:
        task = _graph_task(call.config, flow, node.task_id, places) | {"taskInstId": node.task_instance_id}
        # The documentation's lists show nodes without a status.
        tasks.append(task | {"status": node.status} if with_status else task)
    return _graph_head(call.config, flow) | {
        "id": formatted_id(call.config, flow.flow_id),
        "instId": instance.id,
        "parameters": parameters_text(instance.parameters),
        "tasks": tasks,
        "flows": [shown | {"flowInstId": "", "status": "NONE"} for shown in _graph_flows(call, flow)],
    }


def _flow_graph(call: Call, flow: Flow) -> dict[str, object]:
    places = flow.drawing()
    return _graph_head(call.config, flow) | {
        "parameters": parameters_text(flow.parameters),
        "type": flow.type,
        "visitors": flow.visitors,
        "startTime": flow.start_time,
        "syncType": flow.sync_type,
        "queue": flow.queue,
        "desc": flow.desc,
        "active": int(flow.active),
        "tasks": [_graph_task(call.config, flow, task, places) for task in flow.tasks],
        "flows": _graph_flows(call, flow),
    }


def _graph_head(config: Config, flow: Flow) -> dict[str, object]:
    linked = {link.link_id: link.flow_id for link in flow.links}
    edges: list[tuple[str, Edge | LinkEdge]] = [(f"t_{edge.source}", edge) for edge in flow.relations]
    edges += [(f"f_{linked[edge.link_id]}", edge) for edge in flow.link_edges]
    return {
        "creator": flow.creator or owner_name(config, flow),
        "freq": flow.freq,
        "alertMode": flow.alert_mode,
        "owners": owners_text(config, flow),
        "cycle": flow.cycle,
        "doAs": flow.do_as,
        "name": flow.name,
        "relations": [
            {
                "cycleGap": edge.gap or f"{flow.cycle}0",
                "source": source,
                "target": f"t_{edge.target}",
                "rerun": edge.rerun,
            }
            for source, edge in edges
        ],
    }


def _graph_task(
    config: Config, flow: Flow, task_id: int, places: Mapping[int, tuple[float, float]]
) -> dict[str, object]:
    x, y = places[task_id]
    return {
        "taskName": flow.tasks[task_id],
        "taskId": formatted_id(config, task_id),
        "nodeId": f"t_{task_id}",
        "x": x,
        "y": y,
    }


def _graph_flows(call: Call, flow: Flow) -> list[dict[str, object]]:
    shown: list[dict[str, object]] = []
    for place, flow_id in enumerate(dict.fromkeys(link.flow_id for link in flow.links)):
        other = call.catalog.flow(flow_id)
        shown.append(
            {
                "flowId": formatted_id(call.config, flow_id),
                "flowName": other.name if other else "",
                "nodeId": f"f_{flow_id}",
                "isVirtual": False,
                "x": 120.0 + 160.0 * place,
                "y": 0.0,
            }
        )
    return shown


def task_data(config: Config, flow: Flow, instance: Instance, node: NodeInstance) -> dict[str, object]:
    """Return a TaskInstance as Get Task Instance shows it."""
    details = task_details(config, flow, node.task_id)
    created = datetime.fromtimestamp(instance.created_at / 1000, UTC)
    return {
        "instanceId": node.task_instance_id,
        "taskId": formatted_id(config, node.task_id),
        "taskName": node.name,
        "cycle": flow.cycle,
        "status": STATUS_CODES[node.status],
        "runNum": 0 if node.started_at is None else 1,
        "type": 7,
        "syncType": None,
        "freq": None,
        "ifPre": 0,
        "stsDesc": node.status,
        "recallNum": 0,
        "triggerTime": time_text(config, instance.trigger_time),
        "timeout": details["timeout"],
        "recallLimit": details["retryLimit"],
        "recallInterval": details["retryInterval"],
        "startTime": run_time_text(config, node.started_at),
        "endTime": run_time_text(config, node.ended_at),
        "timeStamp": _java_date(created),
        "isTimeout": node.status == "TIMEOUT",
        "flowInstId": instance.id,
        "doAs": flow.do_as,
        "alert": False,
        "runMode": details["runMode"],
        "cmd": details["cmd"],
        "hasResourceBefore": False,
        "resourceName": "",
        "fileName": "",
        "resourceVersion": "",
    }


def task_details(config: Config, flow: Flow, task_id: int) -> dict[str, Any]:
    """Return a Task as Export Flow shows it."""
    name = flow.tasks[task_id]
    return {
        "name": name,
        "resource": "default",
        "type": "COMMAND" if config.task_types_as == "str" else _SHELL,
        "runMode": _RUN_MODE,
        "syncType": 0,
        "cmd": f"python {name}.py",
        "submitter": flow.do_as,
        "filePackage": "",
        "cron": flow.freq,
        "priorityLevel": 0,
        "timeout": 300,
        "retryLimit": 3,
        "retryInterval": 0,
        "successCode": "0",
        "asLink": False,
        **flow.details.get(task_id, {}),
    }


_ENDS = {
    "FAIL": "ERROR {} failed",
    "INTERNAL_ERROR": "ERROR {} failed: internal error",
    "TIMEOUT": "ERROR {} timed out",
    "CANCEL": "WARN  {} was cancelled",
}
"""How the log of a node ends by its status, where its flow does not say it."""


def task_log(config: Config, flow: Flow, node: NodeInstance, share: float = 1.0) -> str:
    """Return the log of a node that has run, with this share of its lines, from 0 to 1."""
    ruler = "=" * 60
    command = task_details(config, flow, node.task_id)["cmd"]
    started = _java_date(datetime.fromtimestamp((node.started_at or 0) / 1000, UTC))
    head = (
        f"run  num:\t1\ninstance:\t{node.task_instance_id}\ncmdline:\t{command}\n"
        f"submitter:\t{flow.do_as}\ncurrent time:\t{started}"
    )
    end = _ENDS.get(node.status, "INFO  {} done").format(node.name)
    printed = flow.logs.get(node.task_id, f"{{started}} INFO  {node.name} starts\n{{ended}} {end}")
    for name, moment in (("{started}", node.started_at), ("{ended}", node.ended_at)):
        printed = printed.replace(name, run_time_text(config, moment) or "")
    lines = f"{printed}\n".splitlines(keepends=True)
    return f"{ruler}\n{head}\n{ruler}\n{''.join(lines[: int(share * len(lines))])}"


def _java_date(moment: datetime) -> str:
    # Not strftime: its names of days and months depend on the locale.
    weekday, day, month, year, clock, _ = format_datetime(moment).replace(",", "").split()
    return f"{weekday} {month} {day} {clock} UTC {year}"


def time_text(config: Config, moment: int | None) -> str | None:
    """Return a time in the zone of the replies."""
    if moment is None:
        return None
    return f"{datetime.fromtimestamp(moment / 1000, config.zone):%Y-%m-%d %H:%M:%S}"


def run_time_text(config: Config, moment: int | None) -> str | None:
    """Return when an instance or node was created, started or ended. The documented samples differ in the zone."""
    if moment is None or config.run_times_in == "time_zone":
        return time_text(config, moment)
    return f"{datetime.fromtimestamp(moment / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def parameters_text(parameters: Mapping[str, str]) -> str:
    """Return parameters as the JSON text of a list."""
    return json.dumps([{"key": key, "value": value} for key, value in parameters.items()])


def owners_text(config: Config, flow: Flow) -> str:
    """Return the owners of a flow, joined by ``;``."""
    return flow.owner if flow.owner and ";" in flow.owner else f";{flow.owner or config.user_id};"


def is_owner(config: Config, flow: Flow) -> bool:
    """Return whether the user may edit a flow."""
    return config.user_id in flow.owners(config.user_id)


def no_instance(config: Config) -> object:
    """Return the data for an unknown instance, or raise ServiceRefused."""
    if config.unknown_instance == "error":
        raise ServiceRefused(62102, "Instance not found")
    return None if config.unknown_instance == "null" else []


def owner_name(config: Config, flow: Flow) -> str:
    """Return the first owner of a flow."""
    return next(iter(flow.owners(config.user_id)), "")


def formatted_id(config: Config, number: int) -> int | str:
    """Return an id in the form of the switch ``ids_as``."""
    return number if config.ids_as == "int" else str(number)


def formatted_data(config: Config, data: dict[str, object]) -> object:
    """Return an instance in the form of the switch ``data_as``."""
    return data if config.data_as == "object" else [data]


def _formatted_graph(config: Config, graph: dict[str, object]) -> object:
    styled = _snake_case(graph) if config.graph_keys == "snake" else graph
    return json.dumps(styled) if config.graph_as == "text" else styled


def _snake_case(value: object) -> object:
    if isinstance(value, dict):
        return {_CAPITAL.sub(r"_\1", name).lower(): _snake_case(inner) for name, inner in value.items()}
    return [_snake_case(inner) for inner in value] if isinstance(value, list) else value
