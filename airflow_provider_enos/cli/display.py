"""How a flow and an instance are shown, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, astuple, fields
from typing import Any

from airflow_provider_enos.cli.runner import Invocation
from airflow_provider_enos.errors import EnosApiError, EnosError, EnosNotFoundError
from airflow_provider_enos.protocol.follow.failure_report import (
    EMPTY_LOG,
    LOG_LENGTH,
    NodeRow,
    failed_first,
    last_meaningful_line,
    no_log,
    node_table,
)
from airflow_provider_enos.protocol.models import Flow, FlowInstance, FlowInstanceNode, Outcome, TaskInstance, pairs
from airflow_provider_enos.protocol.start.recovery import NoRestart, Restart, rerun_line, rerun_of


def show_flow(call: Invocation, flow: Flow) -> None:
    """Print a flow and its nodes."""
    if call.terminal.as_json:
        call.terminal.json({**asdict(flow), "parameters": pairs(flow.parameters)})
        return
    call.terminal.details(
        {
            "flow": f"{flow.flow_id} {flow.flow_name}",
            "description": flow.description,
            "owner": _names(flow.owner),
            "schedule": f"{flow.cron} (cycle {flow.cycle}), {'on' if flow.active else 'off'}" if flow.cron else "",
            "locked": "yes: it cannot be triggered" if flow.locked else "",
            "user locked": "yes: this user cannot trigger it" if flow.user_locked else "",
            "parameters": _parameters(flow.parameters),
        }
    )
    call.terminal.line("")
    rows = [(node.task_id, node.task_name, _upstream(flow, node.node_id)) for node in flow.nodes]
    call.terminal.table(("task_id", "task_name", "runs after"), rows, empty="The flow has no task nodes.")


def show_instance(call: Invocation, instance: FlowInstance) -> None:
    """Print an instance and its nodes. If it failed, print why, and which command to type next."""
    runs = _runs(call, instance)
    failed = failed_nodes(instance, runs)
    reason = _reason(call, failed[0]) if failed else ""
    choice = rerun_of(instance) if instance.status.ended_badly else None
    if call.terminal.as_json:
        data = instance_as_json(instance, runs)
        data["failed_task_instance_id"] = failed[0].task_instance_id if failed else None
        data["rerun_from_task_id"] = choice.task_id if isinstance(choice, Restart) else None
        call.terminal.json({**data, "reason": reason or None})
        return
    call.terminal.details(
        {
            "flow instance": instance.flow_instance_id,
            "flow": f"{'' if instance.flow_id is None else instance.flow_id} {instance.flow_name}".strip(),
            "status": instance.status,
            "trigger time": instance.trigger_time,
            "business date": instance.business_date,
            "start": instance.start_time,
            "end": instance.end_time,
            "owner": _names(instance.owner),
            "parameters": _parameters(instance.parameters),
            "link": call.hook.settings.link(instance.flow_instance_id),
        }
    )
    call.terminal.line("")
    columns = [field.name for field in fields(NodeRow)]
    rows = [astuple(row) for row in node_table(instance, runs)]
    call.terminal.table(columns, rows, empty="The instance has no task nodes.")
    if failed or choice is not None:
        call.terminal.line("")
        call.terminal.details(
            {
                "failed": f"node {failed[0]}: {reason}" if failed else "",
                "also failed": ", ".join(map(str, failed[1:])),
                "rerun": rerun_line(choice) if choice else "",
                "next": next_after_failure(call, instance, runs),
                "or": rerun_command(call, instance),
            }
        )


def failed_nodes(instance: FlowInstance, runs: Mapping[str, TaskInstance]) -> tuple[FlowInstanceNode, ...]:
    """Return the nodes that failed and have a log: first the one that failed first, where EnOS tells when."""
    first = failed_first(instance, runs)
    others = [node for node in instance.nodes_with(Outcome.FAILED) if node not in first]
    return tuple(node for node in (*first, *others) if node.task_instance_id)


def next_after_failure(call: Invocation, instance: FlowInstance, runs: Mapping[str, TaskInstance]) -> str:
    """Return the command that shows the log of the node that failed first; empty if there is none."""
    failed = failed_nodes(instance, runs)
    return call.next_command("log", failed[0].task_instance_id) if failed else ""


def rerun_command(call: Invocation, instance: FlowInstance) -> str:
    """Return the command that runs again what did not finish; empty if there is no node to start from."""
    if not instance.status.ended_badly:
        return ""
    choice = rerun_of(instance)
    if isinstance(choice, NoRestart) and not choice.for_now:
        return ""
    return call.next_command("rerun", instance.flow_instance_id)


def instance_as_json(instance: FlowInstance, runs: Mapping[str, TaskInstance] | None = None) -> dict[str, Any]:
    """Return an instance for programs; with ``runs``, by task instance id, also the times of its nodes."""
    data = {**asdict(instance), "status": instance.status.name, "outcome": instance.status.outcome.value}
    del data["edges"]
    data["parameters"] = pairs(instance.parameters)
    data["nodes"] = []
    for node in instance.nodes:
        shown = {**asdict(node), "status": node.status and node.status.name}
        if runs is not None:
            run = runs.get(node.task_instance_id)
            shown |= {"start_time": run and run.start_time, "end_time": run and run.end_time}
        data["nodes"].append(shown)
    return data


def _runs(call: Invocation, instance: FlowInstance) -> dict[str, TaskInstance]:
    """Ask for the runs of the nodes, which know when they began. Where EnOS cannot tell, say so, and return none."""
    runs: dict[str, TaskInstance] = {}
    started = [node for node in instance.nodes if node.has_run]
    for number, node in enumerate(started, 1):
        call.terminal.progress(f"node {number} of {len(started)}")
        try:
            runs[node.task_instance_id] = call.hook.get_task_instance(node.task_instance_id)
        except EnosNotFoundError:
            continue
        except EnosApiError as error:
            call.terminal.note(f"EnOS does not tell when the nodes began and ended: {error}")
            break
    return runs


def _reason(call: Invocation, node: FlowInstanceNode) -> str:
    try:
        text = call.hook.get_task_instance_log(node.task_instance_id, LOG_LENGTH)
    except EnosError as error:
        return no_log(error)
    return last_meaningful_line(text) or EMPTY_LOG


def _upstream(flow: Flow, node_id: str) -> str:
    """Return what a node waits for, by name where it has one: task nodes, and other flows."""
    names = {node.node_id: str(node) for node in flow.nodes} | {other.node_id: str(other) for other in flow.flows}
    return ", ".join(names.get(edge.source, edge.source) for edge in flow.relations if edge.target == node_id)


def _names(text: str) -> str:
    """Return user names, which EnOS joins by semicolons, as people write them."""
    return ", ".join(name for name in text.split(";") if name)


def _parameters(parameters: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{name}={value}" for name, value in parameters)
