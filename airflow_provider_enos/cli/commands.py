"""What each command does. See ``definition`` for its options, and ``running`` for how it ends."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict, astuple, fields
from time import time
from typing import Any

from airflow_provider_enos.cli.following import LOG_LENGTH, TOLERANCE, check_may_run, follow_log
from airflow_provider_enos.cli.running import FAILED, SKIPPED, Failure, UsageError, command, next_command
from airflow_provider_enos.cli.terminal import Terminal
from airflow_provider_enos.errors import (
    EnosApiError,
    EnosFlowTimeoutError,
    EnosNotFoundError,
    EnosPollLostError,
    EnosTriggerUncertainError,
)
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.protocol import trigger_time as times
from airflow_provider_enos.protocol.follow.cancelling import (
    ask_to_cancel,
    await_stop,
    has_stopped,
    not_cancelled,
    was_cancelled,
)
from airflow_provider_enos.protocol.follow.failure_report import NodeRow, node_table
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch, conclude
from airflow_provider_enos.protocol.models import (
    Flow,
    FlowInstance,
    FlowStatus,
    FlowSummary,
    MyFlow,
    Outcome,
    TaskInstance,
    pairs,
)
from airflow_provider_enos.protocol.start.attempts import Attempt, Intent, Target
from airflow_provider_enos.protocol.start.starting import Starter
from airflow_provider_enos.protocol.text import clean_lines

_DAY = 86_400_000
_STYLES = {
    "ok": "green",
    "note": "yellow",
    "failed": "bold red",
    **{
        status.name: {Outcome.SUCCEEDED: "green", Outcome.FAILED: "bold red", Outcome.CANCELLED: "yellow"}.get(
            status.outcome, ""
        )
        for status in FlowStatus
    },
}


@command
def check(hook: EnosHook, arguments: Namespace, terminal: Terminal) -> int:
    """Tests the connection, step by step."""
    steps = []
    for step in hook.check_connection():
        steps.append(step)
        terminal.progress(f"{step.name}: {step.state}")
    works = steps[-1].state != "failed"
    if terminal.as_json:
        terminal.json({"conn_id": hook.enos_conn_id, "works": works, "steps": [asdict(step) for step in steps]})
    else:
        rows = [(step.name, step.state, step.sentence) for step in steps]
        terminal.table(("step", "status", "what"), rows, styles=_STYLES)
    return 0 if works else FAILED


@command
def flows(hook: EnosHook, arguments: Namespace, terminal: Terminal) -> int:
    """Lists flows."""
    found: list[MyFlow | FlowSummary] = []
    for one in hook.get_my_flow(arguments.text) if arguments.mine else hook.search_flows(arguments.text):
        found.append(one)
        terminal.progress(f"{len(found)} flows")
    rows = [asdict(one) for one in found]
    if terminal.as_json:
        terminal.json(rows)
    else:
        columns = [field.name for field in fields(MyFlow if arguments.mine else FlowSummary)]
        terminal.table(columns, [list(row.values()) for row in rows])
    return 0


@command
def flow(hook: EnosHook, arguments: Namespace, terminal: Terminal) -> int:
    """Shows a flow and its nodes."""
    found = hook.get_flow(arguments.flow_id)
    if terminal.as_json:
        terminal.json(_flow_as_json(found))
        return 0
    terminal.details(
        {
            "flow": f"{found.flow_id} {found.flow_name}",
            "description": found.description,
            "owner": ", ".join(name for name in found.owner.split(";") if name),
            "schedule": f"{found.cron} (cycle {found.cycle}), {'on' if found.active else 'off'}" if found.cron else "",
            "locked": "yes: it cannot be triggered" if found.locked else "",
            "user locked": "yes: this user cannot trigger it" if found.user_locked else "",
            "parameters": ", ".join(f"{name}={value}" for name, value in found.parameters),
        }
    )
    terminal.line("")
    rows = [(node.task_id, node.task_name, _before(found, node.node_id)) for node in found.nodes]
    terminal.table(("task_id", "task_name", "runs after"), rows)
    return 0


@command
def instances(hook: EnosHook, arguments: Namespace, terminal: Terminal) -> int:
    """Lists instances."""
    now = int(time() * 1000)
    first = now - 7 * _DAY if arguments.from_time is None else times.parse(arguments.from_time, now=now)
    end = now + _DAY if arguments.to_time is None else times.parse(arguments.to_time, now=now)
    if end <= first:
        raise UsageError("--to must be later than --from")
    found = []
    expression = "" if arguments.flow_id is None else str(arguments.flow_id)
    for one in hook.list_flow_instances(first, end, status=arguments.status or (), expression=expression):
        # The expression is a fuzzy match: it finds 13377, too.
        if arguments.flow_id in (None, one.flow_id):
            found.append(one)
            terminal.progress(f"{len(found)} instances")
    if terminal.as_json:
        terminal.json([_instance_as_json(one) for one in found])
        return 0
    columns = ("flow_instance_id", "flow_name", "status", "trigger_time", "start_time", "end_time")
    rows = [
        (one.flow_instance_id, one.flow_name, one.status, one.trigger_time, one.start_time, one.end_time)
        for one in found
    ]
    terminal.table(columns, rows, styles=_STYLES)
    return 0


@command
def instance(hook: EnosHook, arguments: Namespace, terminal: Terminal) -> int:
    """Shows an instance and its nodes, once it has ended if that is wanted."""
    if arguments.wait:
        _runs_on(arguments, terminal, arguments.flow_instance_id)
        found = _awaited(hook, arguments, terminal, arguments.flow_instance_id, known=False)
    else:
        found = hook.get_flow_instance(arguments.flow_instance_id)
    _show_instance(hook, terminal, found)
    return _ended_as(hook, terminal, found) if arguments.wait else 0


@command
def log(hook: EnosHook, arguments: Namespace, terminal: Terminal) -> int:
    """Prints the log of a node's run."""
    task_instance_id = arguments.task_instance_id
    if arguments.follow:
        terminal.left_behind = f"Task instance {task_instance_id} runs on."
        text = follow_log(hook, task_instance_id, terminal, lines=arguments.lines, pause=arguments.poll_interval)
    else:
        text = _log_so_far(hook, task_instance_id)
    lines = clean_lines(text)[-(arguments.lines or 0) :]
    if terminal.as_json:
        terminal.json({"task_instance_id": task_instance_id, "log": "\n".join(lines)})
    elif not arguments.follow:
        terminal.lines(lines)
    return 0


@command
def trigger(hook: EnosHook, arguments: Namespace, terminal: Terminal) -> int:
    """Starts a flow, and follows the instance if that is wanted."""
    if arguments.parameter and arguments.from_task is not None:
        raise UsageError("--parameter does not go with --from-task: EnOS takes parameters for a whole flow only")
    flow_instance_id = _started(hook, arguments, terminal)
    if not terminal.as_json:
        terminal.line(flow_instance_id)
    elif not arguments.wait:
        terminal.json({"flow_instance_id": flow_instance_id})
    if not arguments.wait:
        return 0
    found = _awaited(hook, arguments, terminal, flow_instance_id, known=True)
    if terminal.as_json:
        terminal.json(_instance_as_json(found))
    return _ended_as(hook, terminal, found)


@command
def cancel(hook: EnosHook, arguments: Namespace, terminal: Terminal) -> int:
    """Cancels an instance, and waits until it is if that is wanted."""
    flow_instance_id = arguments.flow_instance_id
    if not arguments.wait:
        hook.cancel_flow_instance(flow_instance_id)
        terminal.note(f"Asked EnOS to cancel {flow_instance_id}.")
        if terminal.as_json:
            terminal.json({"flow_instance_id": flow_instance_id})
        return 0
    found = _cancelled(hook, arguments, terminal)
    if terminal.as_json:
        terminal.json(_instance_as_json(found))
    else:
        terminal.line(f"{flow_instance_id} {found.status}")
    if not was_cancelled(found):
        raise not_cancelled(found)
    return 0


def _cancelled(hook: EnosHook, arguments: Namespace, terminal: Terminal) -> FlowInstance:
    """The instance once it has stopped."""
    flow_instance_id = arguments.flow_instance_id
    link = hook.settings.link(flow_instance_id)
    watch = InstanceWatch(flow_instance_id, tolerance=TOLERANCE, log=terminal, link=link, strict=True)
    pace = {"poll_interval": arguments.poll_interval, "deadline": time() + arguments.timeout, "clock": time}
    found = hook.client.run(ask_to_cancel(watch, log=terminal, tolerance=0.0, **pace))
    if has_stopped(found):
        return found
    terminal.left_behind = f"EnOS was asked to cancel {flow_instance_id}."
    return hook.client.run(await_stop(watch, **pace))


def _before(flow: Flow, node_id: str) -> str:
    """What a node waits for, by name where it has one: task nodes, and other flows."""
    names = {node.node_id: str(node) for node in flow.nodes} | {other.node_id: str(other) for other in flow.flows}
    return ", ".join(names.get(edge.source, edge.source) for edge in flow.relations if edge.target == node_id)


class _Record:
    """Has the terminal say what may be left behind where the command is interrupted."""

    superseded = False

    def __init__(self, target: Target, arguments: Namespace, terminal: Terminal) -> None:
        self._target, self._arguments, self._terminal = target, arguments, terminal

    def save(self, intent: Intent) -> None:
        if intent.flow_instance_id is not None:
            _runs_on(self._arguments, self._terminal, intent.flow_instance_id)
        elif not intent.refused:
            predicted = times.predicted_flow_instance_id(self._target.flow_id, intent.sent_time)
            self._terminal.left_behind = f"The flow may have been started. {_look(self._arguments, predicted)}"


def _started(hook: EnosHook, arguments: Namespace, terminal: Terminal) -> str:
    """Start the flow; return the id of the instance."""
    target = Target(arguments.flow_id, arguments.from_task, dict(arguments.parameter) if arguments.parameter else None)
    starter = Starter(
        target,
        Attempt(times.parse(arguments.trigger_time, now=int(time() * 1000))),
        _Record(target, arguments, terminal),
        terminal,
        on_conflict=arguments.on_conflict,
        tolerance=0.0,
        deadline=time() + arguments.timeout,
        clock=time,
        gateway_clock=lambda: hook.client.gateway.now(),
    )
    try:
        return hook.client.run(starter.run()).flow_instance_id
    except EnosTriggerUncertainError as error:
        terminal.note(_look(arguments, error.flow_instance_id))
        raise


def _look(arguments: Namespace, flow_instance_id: str) -> str:
    return f"Before you start it again, look: {next_command(arguments, 'instance', flow_instance_id)}"


def _runs_on(arguments: Namespace, terminal: Terminal, flow_instance_id: str) -> None:
    terminal.left_behind = (
        f"Flow instance {flow_instance_id} runs on: {next_command(arguments, 'instance', '--wait', flow_instance_id)} "
        f"follows it again, {next_command(arguments, 'cancel', flow_instance_id)} ends it."
    )


def _awaited(
    hook: EnosHook, arguments: Namespace, terminal: Terminal, flow_instance_id: str, *, known: bool
) -> FlowInstance:
    """The instance once it has ended; what happens meanwhile is noted."""
    link = hook.settings.link(flow_instance_id)
    watch = InstanceWatch(flow_instance_id, tolerance=TOLERANCE, log=terminal, link=link, known=known, strict=True)
    deadline = time() + arguments.timeout
    try:
        return hook.client.run(watch.wait(poll_interval=arguments.poll_interval, deadline=deadline, clock=time))
    except (EnosFlowTimeoutError, EnosPollLostError):
        terminal.note(terminal.left_behind)
        raise


def _ended_as(hook: EnosHook, terminal: Terminal, found: FlowInstance) -> int:
    """The exit code for how it has ended; raises what says why it has not ended well."""
    link = hook.settings.link(found.flow_instance_id)
    outcome = hook.client.run(conclude(found, task_logs="failed", link=link, log=terminal))
    return SKIPPED if outcome is Outcome.SKIPPED else 0


def _log_so_far(hook: EnosHook, task_instance_id: str) -> str:
    try:
        return hook.get_task_instance_log(task_instance_id, LOG_LENGTH)
    except EnosNotFoundError:
        # Either there is no such run, or it has no log yet: this tells which.
        run = hook.get_task_instance(task_instance_id)
        if run.status.ended:
            raise
        hook.client.run(check_may_run(run))
        raise Failure(f"{task_instance_id} has no log yet, it is {run.status}; --follow waits for one") from None


def _show_instance(hook: EnosHook, terminal: Terminal, found: FlowInstance) -> None:
    runs = _runs_of(hook, terminal, found)
    if terminal.as_json:
        terminal.json(_instance_as_json(found, runs))
        return
    terminal.details(
        {
            "flow instance": found.flow_instance_id,
            "flow": f"{'' if found.flow_id is None else found.flow_id} {found.flow_name}".strip(),
            "status": found.status,
            "trigger time": found.trigger_time,
            "business date": found.business_date,
            "start": found.start_time,
            "end": found.end_time,
            "owner": found.owner,
            "parameters": ", ".join(f"{name}={value}" for name, value in found.parameters),
            "link": hook.settings.link(found.flow_instance_id),
        }
    )
    terminal.line("")
    columns = [field.name for field in fields(NodeRow)]
    terminal.table(columns, [astuple(row) for row in node_table(found, runs)], styles=_STYLES)


def _runs_of(hook: EnosHook, terminal: Terminal, found: FlowInstance) -> dict[str, TaskInstance]:
    """The runs of its nodes, which know when they began. Older EnOS cannot tell: then there are none."""
    runs: dict[str, TaskInstance] = {}
    started = [node for node in found.nodes if node.has_run]
    for number, node in enumerate(started, 1):
        terminal.progress(f"node {number} of {len(started)}")
        try:
            runs[node.task_instance_id] = hook.get_task_instance(node.task_instance_id)
        except EnosNotFoundError:
            continue
        except EnosApiError as error:
            terminal.note(f"The nodes' times cannot be told: {error}")
            break
    return runs


def _flow_as_json(found: Flow) -> dict[str, Any]:
    return {**asdict(found), "parameters": pairs(found.parameters)}


def _instance_as_json(found: FlowInstance, runs: dict[str, TaskInstance] | None = None) -> dict[str, Any]:
    data = {**asdict(found), "status": found.status.name, "outcome": found.status.outcome.value}
    data["parameters"] = pairs(found.parameters)
    data["nodes"] = []
    for node in found.nodes:
        shown = {**asdict(node), "status": node.status and node.status.name}
        if runs is not None:
            run = runs.get(node.task_instance_id)
            shown |= {"start_time": run and run.start_time, "end_time": run and run.end_time}
        data["nodes"].append(shown)
    return data
