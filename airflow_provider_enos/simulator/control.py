"""``/_simulator/...``: the methods of ``EnosSimulator``, for other processes. Requests need no signature.

GET    /_simulator/state
POST   /_simulator/faults                   {"kind": ..., "on": ..., "times": ..., options}
DELETE /_simulator/faults
GET    /_simulator/holds                    the armed holds, and the requests that are held now
POST   /_simulator/holds                    {"on": ..., "at": "received", "times": ...}
POST   /_simulator/holds/release            {"id": ..., "drop": false}; without an id: all held requests
DELETE /_simulator/holds                    forgets the armed holds, and lets all held requests go on
POST   /_simulator/switches                 {name: value, ...}
POST   /_simulator/flows                    {"flow_id": ..., "tasks": {...}, ...}
POST   /_simulator/flows/{id}/schedule      {"trigger_time": ...}; replies with the id of the new instance, or null
POST   /_simulator/directories              {"title": ..., "parent": ...}
POST   /_simulator/user                     {"locked": true}
POST   /_simulator/instances/{id}/finish    {"status": ..., "failed_task": ...}
POST   /_simulator/instances/{id}/node      {"task_id": ..., "status": ...}
POST   /_simulator/expire-tokens
POST   /_simulator/reset
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_enos.simulator.flows import LATEST_MS, Flow
from airflow_provider_enos.simulator.simulation import Simulation
from airflow_provider_enos.simulator.state_file import BY_TASK, keys_as_ids
from airflow_provider_enos.simulator.wire import Reply, Request, json_reply, parse_object

CONTROL_PATH = "/_simulator/"
_WITH_ID = re.compile(r"(instances|flows)/([^/]+)/([a-z]+)")


def control(sim: Simulation, request: Request) -> Reply:
    """Return the reply to a request to the control path; for bad input HTTP 400 with a sentence."""
    route = request.path.removeprefix(CONTROL_PATH)
    with_id = _WITH_ID.fullmatch(route)
    action = _ROUTES.get((request.method, f"{with_id[1]}/{{id}}/{with_id[3]}" if with_id else route))
    if action is None:
        return _error(404, f"There is no {request.method} {request.path}.")
    try:
        body = parse_object(request.body) if request.body else {}
        if with_id:
            body["id"] = with_id[2]
        return json_reply(action(sim, body) or {"ok": True})
    except (ValueError, TypeError, AttributeError) as error:
        return _error(400, f"Bad request: {error}.")
    except KeyError as error:
        return _error(400, f"Bad request: there is no {error.args[0]!r}, or it is missing.")


def _state(sim: Simulation, body: dict[str, Any]) -> Mapping[str, object]:
    return {
        "url": sim.url,
        "directories": [dataclasses.asdict(directory) for directory in sim.directories],
        "flows": [_flow(flow) for flow in sim.flows],
        "user_locked": sim.user_locked,
        "instances": [dataclasses.asdict(instance) for instance in sim.instances],
        "counts": Counter(record.operation for record in sim.requests),
        "switches": sim.switch_values,
        "faults": sim.armed_faults,
    }


def _flow(flow: Flow) -> dict[str, object]:
    names = ("flow_id", "name", "type", "active", "locked", "owner", "directory", "copy_of")
    return {name: getattr(flow, name) for name in names}


def _fault(sim: Simulation, body: dict[str, Any]) -> None:
    kind, on, times = body.pop("kind"), body.pop("on", None), body.pop("times", 1)
    sim.fault(kind, on=on, times=times, **body)


def _holds(sim: Simulation, body: dict[str, Any]) -> Mapping[str, object]:
    now = time.monotonic()
    held = [{"id": one.id, "on": one.on, "at": one.at, "seconds": round(now - one.since, 3)} for one in sim.held]
    return {"armed": sim.armed_holds, "held": held}


def _hold(sim: Simulation, body: dict[str, Any]) -> None:
    sim.hold(**body)


def _release(sim: Simulation, body: dict[str, Any]) -> None:
    held_id, drop = body.pop("id", None), body.pop("drop", False)
    if body or not isinstance(drop, bool):
        raise ValueError('a release has an "id", and a "drop" that is true or false')
    sim.release(held_id, drop=drop)


def _switches(sim: Simulation, body: dict[str, Any]) -> Mapping[str, object]:
    sim.switch(body)
    return sim.switch_values


def _add_flow(sim: Simulation, body: dict[str, Any]) -> None:
    flow_id = body.pop("flow_id")
    if isinstance(flow_id, bool) or not isinstance(flow_id, int):
        raise ValueError("flow_id is a whole number")
    # In JSON all keys are text.
    for name in BY_TASK:
        if isinstance(body.get(name), dict):
            body[name] = keys_as_ids(body[name])
    sim.add_flow(flow_id, **body)


def _schedule(sim: Simulation, body: dict[str, Any]) -> Mapping[str, object]:
    trigger_time = body.get("trigger_time")
    if trigger_time is not None and (type(trigger_time) is not int or not 0 <= trigger_time < LATEST_MS):
        raise ValueError("trigger_time is a whole number of milliseconds before the year 3000")
    instance = sim.run_schedule(int(body["id"]), trigger_time)
    return {"flow_instance_id": instance and instance.id}


def _add_directory(sim: Simulation, body: dict[str, Any]) -> Mapping[str, object]:
    if not all(isinstance(text, str) for text in body.values()):
        raise ValueError("title and parent are texts")
    return {"id": sim.add_directory(**body)}


def _user(sim: Simulation, body: dict[str, Any]) -> None:
    sim.user_locked = body["locked"]


def _finish(sim: Simulation, body: dict[str, Any]) -> None:
    sim.finish(body["id"], body["status"], body.get("failed_task"))


def _set_node_status(sim: Simulation, body: dict[str, Any]) -> None:
    sim.set_node_status(body["id"], body["task_id"], body["status"])


_ROUTES: Mapping[tuple[str, str], Callable[[Simulation, dict[str, Any]], Mapping[str, object] | None]] = {
    ("GET", "state"): _state,
    ("POST", "faults"): _fault,
    ("DELETE", "faults"): lambda sim, _: sim.clear_faults(),
    ("GET", "holds"): _holds,
    ("POST", "holds"): _hold,
    ("POST", "holds/release"): _release,
    ("DELETE", "holds"): lambda sim, _: sim.clear_holds(),
    ("POST", "switches"): _switches,
    ("POST", "flows"): _add_flow,
    ("POST", "flows/{id}/schedule"): _schedule,
    ("POST", "directories"): _add_directory,
    ("POST", "user"): _user,
    ("POST", "instances/{id}/finish"): _finish,
    ("POST", "instances/{id}/node"): _set_node_status,
    ("POST", "expire-tokens"): lambda sim, _: sim.expire_tokens(),
    ("POST", "reset"): lambda sim, _: sim.reset(),
}


def _error(status: int, sentence: str) -> Reply:
    return json_reply({"error": sentence}, status=status)
