"""Directories, flows and instances in a file, so that they outlive the process. Tokens do not: clients have to
get new ones.

The file is JSON for people to read. Flows are written in the form of ``FlowDescription``; an instance names its flow by
id, unless that has been replaced since: then it brings the flow it was made of.
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

from airflow_provider_enos.simulator.directories import ROOT
from airflow_provider_enos.simulator.flows import LATEST_MS, Flow, flow_from
from airflow_provider_enos.simulator.state import STATUS_CODES, Run, World
from airflow_provider_enos.simulator.wire import parse_object

BY_TASK = ("tasks", "logs", "details", "places")
"""What a flow has by task id."""
FORMAT = "airflow_provider_enos.simulator state 2"
LARGEST_FILE = 64 * 2**20
"""Bytes, of about a hundred thousand instances."""
_ACCEPTED = "give a file that the simulator has written, or a path where there is none yet"


def save(world: World, path: Path) -> None:
    """Writes the file, whole or not at all, and in place of no other thing than a file. Raises OSError."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, f"it is no regular file: {_ACCEPTED}")
    with world.lock:
        flows = {flow.flow_id: flow for flow in world.flows()}
        content = {
            "format": FORMAT,
            "user_locked": world.user_locked,
            "directories": [dataclasses.asdict(one) for one in world.directories() if one.id != ROOT],
            "flows": [_flow_out(flow) for flow in flows.values()],
            "instances": [_run_out(run, flows[run.flow.flow_id]) for run in world.runs()],
        }
    # Under a name that nobody knows beforehand, and for its owner only: the folder may be everybody's.
    handle, written = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(content, ensure_ascii=False, indent=2) + "\n")
        os.replace(written, path)
    except BaseException:
        os.unlink(written)
        raise


def load(world: World, path: Path) -> None:
    """Fills an empty world from the file. Raises OSError, and ValueError where the file is not one of ``save``'s."""
    try:
        content = parse_object(_bytes_of(path))
        if content.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        flows = {flow.flow_id: flow for flow in map(_flow_in, content["flows"])}
        runs = [_run_in(text, flows) for text in content["instances"]]
        if len({run.id for run in runs}) != len(runs):
            raise ValueError("an instance occurs twice")
        for one in content["directories"]:
            world.add_directory(*(_text(one[name], name) for name in ("title", "parent", "id")))
        world.add_flows(flows.values())
        world.user_locked = content["user_locked"] is True
    except KeyError as error:
        raise ValueError(f"{path} holds no state of this simulator: {error.args[0]!r} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no state of this simulator: {error}") from error
    for run in runs:
        world.put(run)


def _bytes_of(path: Path) -> bytes:
    """Return what is in the file. Raises OSError, and ValueError for what is no regular file, or too large."""
    # Opening some of them waits, or does something. That it is still the same thing is looked at below.
    _check_regular(os.stat(path))
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
        _check_regular(os.fstat(file.fileno()))
        # Not by its size alone: there are files that say 0, and never end.
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


def _run_out(run: Run, current: Flow) -> dict[str, Any]:
    return {
        "id": run.id,
        "flow": run.flow.flow_id if run.flow == current else _flow_out(run.flow),
        "trigger_time": run.trigger_time,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "from_task_id": run.from_task_id,
        "parameters": run.parameters,
        "type": run.type,
        "status": run.status,
        "cancelled": run.cancelled,
        "cancel_at": run.cancel_at,
        "nodes": _keys_as_text(run.nodes),
        "set_by_hand": _keys_as_text(run.set_by_hand),
        "polls": run.polls,
        "polls_running": run.polls_running,
    }


def _run_in(content: dict[str, Any], flows: Mapping[int, Flow]) -> Run:
    flow = _flow_in(content["flow"]) if isinstance(content["flow"], dict) else flows[content["flow"]]
    nodes = keys_as_ids(content["nodes"])
    if nodes.keys() != flow.tasks.keys() or {content["status"], *nodes.values()} - STATUS_CODES.keys():
        raise ValueError(f"instance {content['id']!r} does not match its flow, or has a status that there is not")
    return Run(
        id=_text(content["id"], "id"),
        flow=flow,
        trigger_time=_number(content["trigger_time"], "trigger_time"),
        created_at=_number(content["created_at"], "created_at"),
        started_at=_number_or_none(content["started_at"], "started_at"),
        ended_at=_number_or_none(content["ended_at"], "ended_at"),
        from_task_id=_number_or_none(content["from_task_id"], "from_task_id"),
        parameters=dict(content["parameters"]),
        type=_number_or_none(content["type"], "type"),
        status=content["status"],
        cancelled=content["cancelled"] is True,
        cancel_at=_number(content["cancel_at"], "cancel_at"),
        nodes=nodes,
        set_by_hand=keys_as_ids(content["set_by_hand"]),
        polls=_number(content["polls"], "polls"),
        polls_running=_number(content["polls_running"], "polls_running"),
    )


def keys_as_ids(named: Mapping[str, Any]) -> dict[int, Any]:
    """A mapping by task id, as JSON cannot hold it. Raises ValueError."""
    return {int(task): value for task, value in named.items()}


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
