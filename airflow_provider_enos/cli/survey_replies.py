"""How to ask about replies: their shapes, and the times, logs and ids of instances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_enos.cli.survey_answers import (
    ENDED_LONG_AGO,
    NO_FLOW,
    NO_INSTANCE,
    NO_RUN,
    Answer,
    Asked,
    agreed,
    form,
    unknown,
)
from airflow_provider_enos.cli.survey_scene import (
    Scene,
    log_of_waiting_node,
    log_while_running,
    readings,
)
from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol import trigger_time as times
from airflow_provider_enos.protocol.models.fields import Fields, many, one
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.probes import Seen

_NEAR = 600_000
"""Milliseconds by which a time may be off and still be meant."""


def _objects(scene: Scene) -> list[Mapping[str, Any]]:
    """Return all flows and instances as they came."""
    found = []
    for _, seen in (*scene.flows, *scene.instances):
        try:
            data = one(seen.data, "reply")
        except EnosReplyError:
            continue
        if isinstance(data, Mapping):
            found.append(data)
    return found


def graph_as(scene: Scene) -> Asked:
    """Tell the form of the graphs of flows and instances."""
    yield from ()
    forms = {"str": "text", "dict": "object"}
    return agreed((form(data.get("graph"), forms) for data in _objects(scene)), NO_FLOW)


def graph_keys(scene: Scene) -> Asked:
    """Tell the style of the keys of the nodes in graphs."""
    yield from ()
    return agreed((_style_of(data) for data in _objects(scene)), NO_FLOW)


def _style_of(data: Mapping[str, Any]) -> str | None:
    try:
        graph = Fields(data, "reply").decoded("graph")
        nodes = Fields(graph, "graph").items("tasks")
    except EnosReplyError:
        return None
    names = {name for node in nodes if isinstance(node, Mapping) for name in node}
    styles = {"camel"} if any(name != name.lower() for name in names) else set()
    styles |= {"snake"} if any("_" in name for name in names) else set()
    return styles.pop() if len(styles) == 1 else "mixed" if styles else None


def ids_as(scene: Scene) -> Asked:
    """Tell the form of the ids of flows."""
    yield from ()
    forms = {"int": "int", "str": "str"}
    return agreed((form(Fields(data, "reply").any("flowId"), forms) for data in _objects(scene)), NO_FLOW)


def data_as(scene: Scene) -> Asked:
    """Tell the form of Get Flow Instance's data."""
    yield from ()
    forms = {"dict": "object", "list": "list"}
    return agreed((form(seen.data, forms) for _, seen in scene.instances), NO_INSTANCE)


def unknown_instance(scene: Scene) -> Asked:
    """Ask for an instance that does not exist."""
    seen = yield from scene.ask(calls.get_flow_instance(f"{scene.flow_id}-{ENDED_LONG_AGO}"))
    if seen.code not in (None, 0):
        return Answer("error") if seen.refused else unknown(seen.problem)
    if seen.code == 0 and "data" in seen.envelope:
        if seen.data is None:
            return Answer("null")
        if seen.data == []:
            return Answer("empty_list")
    return unknown(seen.problem or "the reply is neither an error nor empty")


def directory_type(scene: Scene) -> Asked:
    """Ask for the directories, and tell the form of their types."""
    seen = yield from scene.ask(calls.list_workflow_directories())
    forms = {"int": "int", "str": "str"}
    try:
        found = [Fields(item, "directory").any("type") for item in many(seen.data, "directories")]
    except EnosReplyError as error:
        return unknown(str(error))
    return agreed((form(value, forms) for value in found), seen.problem or "there is no directory with a type")


def task_types(scene: Scene) -> Asked:
    """Export flows, and tell the form of the types of their tasks."""
    forms = {"int": "int", "str": "str"}
    problem, found = NO_FLOW, []
    for flow, _ in scene.flows:
        seen = yield from scene.ask(calls.export_flow(flow.flow_id))
        problem = seen.problem or problem
        try:
            tasks = Fields(one(seen.data, "export"), "export").items("tasks")
            found += [form(Fields(task, "task").any("type"), forms) for task in tasks]
        except EnosReplyError:
            continue
    return agreed(found, problem)


def run_times(scene: Scene) -> Asked:
    """Read the times of instances in both zones: of the run, one reading is near; of others, one may be impossible."""
    yield from ()
    if scene.zone is None:
        return unknown("the zone of Get Timezone cannot be read")
    fits: list[str | None] = []
    for instance, _ in scene.instances:
        if scene.run and instance.flow_instance_id == scene.run.flow_instance_id:
            fits.append(_nearest(readings(instance.created_time, scene.zone), scene.run.sent_at))
        for text in (instance.created_time, instance.start_time, instance.end_time):
            fits.append(_possible(readings(text, scene.zone), scene.now))
    return agreed(fits, "the times of the instances fit both zones" if scene.instances else NO_INSTANCE)


def _nearest(moments: tuple[int, int] | None, moment: int) -> str | None:
    """Return which reading is near the moment, if only one is."""
    return None if moments is None else _the_one([abs(one - moment) <= _NEAR for one in moments])


def _possible(moments: tuple[int, int] | None, now: int) -> str | None:
    """Return which reading is possible, if the other one lies in the future."""
    return None if moments is None else _the_one([one <= now + _NEAR for one in moments])


def _the_one(fits: list[bool]) -> str | None:
    as_utc, in_zone = fits
    return None if as_utc is in_zone else "utc" if as_utc else "time_zone"


def log_missing(scene: Scene) -> Asked:
    """Ask for the log of a node that has not begun."""
    seen = scene.run.missing_log if scene.run else None
    for instance, _ in scene.instances:
        if seen is None:
            seen = yield from log_of_waiting_node(scene, instance)
    if seen is None:
        return unknown("no node was seen that has not begun")
    return Answer(seen.code, "") if seen.code in (62109, 62102) else unknown(seen.problem)


def log_grows(scene: Scene) -> Asked:
    """Ask for the log of a node that runs."""
    if scene.run and scene.run.log_while_running is not None:
        return Answer(scene.run.log_while_running)
    looks = []
    for instance, _ in scene.instances:
        looks.append((yield from log_while_running(scene, instance)))
    if True in looks:
        return Answer(True)
    # One look is too few: the log may come a while after the node has begun.
    return unknown("a node runs that has no log yet" if False in looks else "no node was seen running")


def log_keeps(scene: Scene) -> Asked:
    """Ask for a whole log, and for half of it."""
    nodes = [node for instance, _ in scene.instances if instance.status.ended for node in instance.nodes]
    for node in [node for node in nodes if node.has_run and node.status and node.status.ended][:5]:
        whole = _text_of((yield from scene.ask(calls.get_task_instance_log(node.task_instance_id))))
        half = len(whole) // 2
        if not half or whole[:half] == whole[-half:]:
            continue
        part = _text_of((yield from scene.ask(calls.get_task_instance_log(node.task_instance_id, half))))
        if part in (whole[:half], whole[-half:]):
            return Answer("head" if part == whole[:half] else "tail")
    return unknown("no log was found that tells")


def _text_of(seen: Seen) -> str:
    data = seen.data if seen.accepted else None
    text = data.get("log") if isinstance(data, Mapping) else data
    return text if isinstance(text, str) else ""


def id_style(scene: Scene) -> Asked:
    """Compare the id of the run with the one that the documentation predicts."""
    yield from ()
    if scene.run is None:
        return unknown(NO_RUN)
    predicted = times.predicted_flow_instance_id(scene.run.flow_id, scene.run.sent_at)
    return Answer("documented" if scene.run.flow_instance_id == predicted else "other")


def one_at_a_time(scene: Scene) -> Asked:
    """Look for two instances of one flow that run."""
    yield from ()
    running = [one.flow_id for one, _ in scene.instances if one.status.working and one.flow_id is not None]
    # That only one runs now does not say that another one would have to wait.
    return Answer(False) if len(set(running)) < len(running) else unknown("no flow was seen to run twice at a time")


def paused_trigger(scene: Scene) -> Asked:
    """Tell whether the run was accepted although the schedule of its flow is off."""
    yield from ()
    if scene.run is None:
        return unknown(f"{NO_RUN}, with a flow whose schedule is off")
    return Answer("accepted") if scene.run.switched_off else unknown("the schedule of the flow is not off")
