"""Run a failed instance again from the node that has to run again: what the command ``rerun`` decides and shows."""

from __future__ import annotations

from time import time

from airflow_provider_enos.cli.instance_actions import start_target, wait_until_stopped
from airflow_provider_enos.cli.runner import Failure, Invocation, UsageError
from airflow_provider_enos.protocol import trigger_time as times
from airflow_provider_enos.protocol.follow.cancelling import has_stopped
from airflow_provider_enos.protocol.models import Flow, FlowInstance, FlowInstanceGraph, FlowInstanceNode
from airflow_provider_enos.protocol.start.attempts import Attempt, Target
from airflow_provider_enos.protocol.start.recovery import NoRestart, Restart, restart_of


def failed_instance(call: Invocation) -> FlowInstance:
    """Return the instance once nothing of it runs. Raise ``Failure`` if it did not fail.

    EnOS shows FAIL once a node has failed, while other nodes may run on.
    """
    flow_instance_id = call.options.flow_instance_id
    found = call.hook.get_flow_instance(flow_instance_id)
    _check_failed(call, found)
    if has_stopped(found):
        return found
    runs_on = f"Node {found.working_nodes[0]} of {flow_instance_id} is still running"
    if call.options.dry_run:
        raise Failure(
            f"{runs_on}, so the node to start from is not known yet. Without --dry-run, this command waits for the "
            f"end of what runs. To stop it: {call.next_command('cancel', '--wait', flow_instance_id)}"
        )
    call.terminal.note(f"{runs_on}: waiting until nothing of it runs")
    call.terminal.when_interrupted = "Nothing was started."
    found = wait_until_stopped(call, flow_instance_id)
    _check_failed(call, found)
    return found


def _check_failed(call: Invocation, found: FlowInstance) -> None:
    name, status = found.flow_instance_id, found.status
    if not status.ended:
        follow, stop = call.next_command("instance", "--wait", name), call.next_command("cancel", "--wait", name)
        raise Failure(
            f"Flow instance {name} has not ended, its status is {status}. To wait for its end: {follow}. "
            f"To stop it: {stop}"
        )
    if not status.ended_badly:
        raise Failure(f"Flow instance {name} did not fail, its status is {status}: there is nothing to run again")


def trigger_time_of(call: Invocation) -> int:
    """Return the trigger time to count the minutes from, epoch milliseconds: that of the instance, by its id."""
    given = call.options.trigger_time or times.utc_of_id(call.options.flow_instance_id)
    if given is None:
        raise UsageError(
            f"--trigger-time is needed, since the id {call.options.flow_instance_id} names no minute: a time of the "
            "same business day"
        )
    return times.parse(given, now=int(time() * 1000))


def choose(call: Invocation, failed: FlowInstance) -> tuple[Flow, Restart]:
    """Return the flow as it is now and the node to start from. Raise ``Failure``, which says why, if there is none."""
    if failed.flow_id is None:
        raise Failure(f"EnOS does not say of which flow {failed.flow_instance_id} is an instance")
    with call.explains_absence(f"Flow {failed.flow_id}", "flows"):
        flow = call.hook.get_flow(failed.flow_id)
    choice = restart_of(FlowInstanceGraph.of(failed), flow)
    if isinstance(choice, NoRestart):
        raise Failure(
            f"Flow instance {failed.flow_instance_id} cannot be run again from a node: {choice.why}. To run the whole "
            f"flow again: {_command_for_all(call, failed, flow)}"
        )
    return flow, choice


def _command_for_all(call: Invocation, failed: FlowInstance, flow: Flow) -> str:
    minute = call.options.trigger_time or times.utc_of_id(failed.flow_instance_id)
    at = ["--trigger-time", minute] if minute else []
    own = failed.parameters if set(failed.parameters) != set(flow.parameters) else ()
    with_parameters = [word for name, value in own for word in ("--parameter", f"{name}={value}")]
    return call.next_command("trigger", str(flow.flow_id), *at, *with_parameters)


def restart(call: Invocation, flow: Flow, choice: Restart, trigger_time: int) -> str:
    """Start the flow from the node, in the next free minute of the same day; return the id of the new instance."""
    own_minute = times.utc_of_id(call.options.flow_instance_id)
    is_own = own_minute is not None and times.minute_of(times.parse(own_minute, now=0)) == times.minute_of(trigger_time)
    call.terminal.note(f"Restarting flow {flow.flow_id} from {choice}")
    attempt = Attempt(trigger_time, first_index=1 if is_own else 0)
    return start_target(call, Target(flow.flow_id, choice.task_id), attempt)


def show_plan(call: Invocation, failed: FlowInstance, flow: Flow, choice: Restart, trigger_time: int) -> None:
    """Print from where the flow would start, why, and what that does to each node."""
    if call.terminal.as_json:
        call.terminal.json(
            {
                "flow_instance_id": failed.flow_instance_id,
                "flow_id": flow.flow_id,
                "from_task_id": choice.task_id,
                "from_task_name": choice.task_name,
                "reason": choice.summary,
                "runs_again": [_node_as_json(node) for node in choice.runs_again],
                "kept": [_node_as_json(node) for node in choice.stays],
            }
        )
        return
    call.terminal.details(
        {
            "flow instance": f"{failed.flow_instance_id} ({failed.status})",
            "flow": f"{flow.flow_id} {flow.flow_name}".strip(),
            "starts from": choice.node,
            "because": choice.summary,
            "trigger time": f"the next free minute of the day of {times.to_iso(trigger_time)}",
        }
    )
    call.terminal.line("")
    effects = dict.fromkeys(choice.runs_again, "runs again") | dict.fromkeys(choice.stays, "kept")
    rows = [(node.task_id, node.task_name, node.status, effects.get(node, "")) for node in failed.nodes]
    call.terminal.table(("task_id", "task_name", "status", "rerun"), rows)
    given = ["--trigger-time", call.options.trigger_time] if call.options.trigger_time else []
    to_start = call.next_command("rerun", *given, failed.flow_instance_id)
    call.terminal.note(f"Nothing was started. To start it: {to_start}")


def _node_as_json(node: FlowInstanceNode) -> dict[str, object]:
    return {
        "task_id": node.task_id,
        "task_name": node.task_name,
        "task_instance_id": node.task_instance_id,
        "status": node.status and node.status.name,
    }
