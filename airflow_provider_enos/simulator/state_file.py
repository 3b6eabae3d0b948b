"""Store directories, flows and instances in a file, so that they outlive the process.

Tokens are not stored: clients get new ones.

The file is JSON, for people to read. Flows have the form of ``FlowDescription``. An instance names its flow by id. If
that flow has been replaced since, the instance contains the flow that it was created from.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_enos.simulator.config import number
from airflow_provider_enos.simulator.directories import ROOT
from airflow_provider_enos.simulator.flows import LATEST_MS, Flow, flow_from
from airflow_provider_enos.simulator.instances import STATUS_CODES, StoredInstance
from airflow_provider_enos.simulator.state import State
from airflow_provider_enos.simulator.wire import parse_object

BY_TASK = ("tasks", "logs", "seconds", "details", "places")
"""The fields of a flow that are mappings by task id."""
FORMAT = "airflow_provider_enos.simulator state 3"
LARGEST_FILE = 64 * 2**20
"""Bytes: about a hundred thousand instances."""
_ACCEPTED = "give a file that the simulator has written, or a path where there is none yet"


def save(state: State, path: Path) -> None:
    """Write the file, whole or not at all. Raise OSError, also where the path is something other than a file."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, f"it is no regular file: {_ACCEPTED}")
    with state.lock:
        flows = {flow.flow_id: flow for flow in state.catalog.flows()}
        content = {
            "format": FORMAT,
            "user_locked": state.user_locked,
            "directories": [dataclasses.asdict(one) for one in state.catalog.directories() if one.id != ROOT],
            "flows": [_flow_out(flow) for flow in flows.values()],
            "instances": [_instance_out(one, flows[one.flow.flow_id]) for one in state.instances.stored()],
        }
    # In a folder that others may write to: under a name that nobody can guess, readable for the owner only.
    handle, written = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(content, ensure_ascii=False, indent=2) + "\n")
        os.replace(written, path)
    except BaseException:
        os.unlink(written)
        raise


def load(state: State, path: Path) -> None:
    """Fill an empty state from the file. Raise OSError, or ValueError if ``save`` did not write the file."""
    try:
        content = parse_object(_bytes_of(path))
        if content.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        flows = {flow.flow_id: flow for flow in map(_flow_in, content["flows"])}
        instances = [_instance_in(one, flows) for one in content["instances"]]
        if len({one.id for one in instances}) != len(instances):
            raise ValueError("an instance occurs twice")
        for one in content["directories"]:
            state.catalog.add_directory(*(_text(one[name], name) for name in ("title", "parent", "id")))
        state.catalog.add_flows(flows.values())
        state.user_locked = content["user_locked"] is True
    except KeyError as error:
        raise ValueError(f"{path} holds no state of this simulator: {error.args[0]!r} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no state of this simulator: {error}") from error
    for instance in instances:
        state.instances.put(instance)


def _bytes_of(path: Path) -> bytes:
    """Return the content. Raise OSError, and ValueError for something that is no regular file, or too large."""
    # Opening a pipe or a device may block or have effects. Another thing may take its place, so there is a check below.
    _check_regular(os.stat(path))
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
        _check_regular(os.fstat(file.fileno()))
        # The size says nothing of some files, which are endless and have the size 0.
        content = file.read(LARGEST_FILE + 1) or b""
    if len(content) > LARGEST_FILE:
        raise ValueError(f"it is larger than {LARGEST_FILE // 2**20} MiB; {_ACCEPTED}")
    return content


def _check_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"it is no regular file; {_ACCEPTED}")


def _flow_out(flow: Flow) -> dict[str, Any]:
    plain = {field.name: getattr(flow, field.name) for field in dataclasses.fields(flow)}
    by_task = {name: _keys_as_text(plain[name]) for name in BY_TASK}
    return plain | by_task | {"progress": None if flow.progress is None else str(flow.progress)}


def _flow_in(content: dict[str, Any]) -> Flow:
    description: dict[str, Any] = {**content, **{name: keys_as_ids(content[name]) for name in BY_TASK}}
    return flow_from(_number(description.pop("flow_id"), "flow_id"), **description)


def _instance_out(instance: StoredInstance, current: Flow) -> dict[str, Any]:
    return {
        "id": instance.id,
        "flow": instance.flow.flow_id if instance.flow == current else _flow_out(instance.flow),
        "trigger_time": instance.trigger_time,
        "created_at": instance.created_at,
        "started_at": instance.started_at,
        "ended_at": instance.ended_at,
        "from_task_id": instance.from_task_id,
        "follows": instance.follows,
        "parameters": instance.parameters,
        "type": instance.type,
        "status": instance.status,
        "cancelled": instance.cancelled,
        "cancel_at": instance.cancel_at,
        "nodes": _keys_as_text(instance.nodes),
        "set_by_hand": _keys_as_text(instance.set_by_hand),
        "polls": instance.polls,
        "polls_running": instance.polls_running,
        "share": instance.share,
        "seen_at": instance.seen_at,
        "started": _keys_as_text(instance.started),
        "ended": _keys_as_text(instance.ended),
    }


def _instance_in(content: dict[str, Any], flows: Mapping[int, Flow]) -> StoredInstance:
    flow = _flow_in(content["flow"]) if isinstance(content["flow"], dict) else flows[content["flow"]]
    nodes = keys_as_ids(content["nodes"])
    if nodes.keys() != flow.tasks.keys() or {content["status"], *nodes.values()} - STATUS_CODES.keys():
        raise ValueError(f"instance {content['id']!r} does not match its flow, or has a status that there is not")
    return StoredInstance(
        id=_text(content["id"], "id"),
        flow=flow,
        trigger_time=_number(content["trigger_time"], "trigger_time"),
        created_at=_number(content["created_at"], "created_at"),
        started_at=_number_or_none(content["started_at"], "started_at"),
        ended_at=_number_or_none(content["ended_at"], "ended_at"),
        from_task_id=_number_or_none(content["from_task_id"], "from_task_id"),
        follows=_text(content["follows"], "follows"),
        parameters=dict(content["parameters"]),
        type=_number_or_none(content["type"], "type"),
        status=content["status"],
        cancelled=content["cancelled"] is True,
        cancel_at=_number(content["cancel_at"], "cancel_at"),
        nodes=nodes,
        set_by_hand=keys_as_ids(content["set_by_hand"]),
        polls=_number(content["polls"], "polls"),
        polls_running=_number(content["polls_running"], "polls_running"),
        share=number(content["share"]),
        seen_at=_number_or_none(content["seen_at"], "seen_at"),
        started=_moments(content["started"], flow),
        ended=_moments(content["ended"], flow),
    )


def keys_as_ids(named: Mapping[str, Any]) -> dict[int, Any]:
    """Return a mapping by task id, from one with text keys, as JSON has it. Raise ValueError."""
    return {int(task): value for task, value in named.items()}


def _moments(named: Mapping[str, Any], flow: Flow) -> dict[int, int]:
    return {task: _number(moment, "time") for task, moment in keys_as_ids(named).items() if task in flow.tasks}


def _keys_as_text(named: Mapping[int, Any]) -> dict[str, Any]:
    return {str(task): value for task, value in named.items()}


def _number(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LATEST_MS:
        raise ValueError(f"{name} is a whole number, not {value!r}")
    return value


def _number_or_none(value: Any, name: str) -> int | None:
    return None if value is None else _number(value, name)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is text, not {value!r}")
    return value
