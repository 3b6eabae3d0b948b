"""What each command does. See ``definition`` for its options, and ``runner`` for how it ends."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, fields
from functools import partial
from time import time

from airflow_provider_enos.cli import diff as diffs, display, export as exports, survey as surveys
from airflow_provider_enos.cli.instance_actions import (
    cancel_and_wait,
    end_as,
    flow_of,
    say_how_to_follow,
    start,
    wait_for_end,
)
from airflow_provider_enos.cli.log_follower import LOG_LENGTH, LogFollower, check_may_run
from airflow_provider_enos.cli.rerun import choose, failed_instance, restart, show_plan, trigger_time_of
from airflow_provider_enos.cli.runner import FAILED, MISUSED, Failure, Invocation, UsageError, command
from airflow_provider_enos.errors import EnosError, EnosNotFoundError
from airflow_provider_enos.protocol import trigger_time as times
from airflow_provider_enos.protocol.follow.cancelling import has_stopped, not_cancelled, was_cancelled
from airflow_provider_enos.protocol.models import FlowInstance, FlowSummary, MyFlow
from airflow_provider_enos.protocol.text import clean_lines

_DAY = 86_400_000


@command
def check(call: Invocation) -> int:
    """Test the connection, step by step."""
    steps = []
    for step in call.hook.check_connection():
        steps.append(step)
        call.terminal.progress(f"{step.name}: {step.state}")
    works = steps[-1].state != "failed"
    if call.terminal.as_json:
        shown = [asdict(step) for step in steps]
        call.terminal.json({"conn_id": call.hook.enos_conn_id, "works": works, "steps": shown})
    else:
        rows = [(step.name, step.state, step.sentence) for step in steps]
        call.terminal.table(("step", "status", "what"), rows)
    return 0 if works else FAILED


@command
def flows(call: Invocation) -> int:
    """List flows."""
    text, mine = call.options.text, call.options.mine
    found: list[MyFlow | FlowSummary] = []
    for one in call.hook.get_my_flow(text) if mine else call.hook.search_flows(text):
        found.append(one)
        call.terminal.progress(f"{len(found)} flows")
    rows = [asdict(one) for one in found]
    if call.terminal.as_json:
        call.terminal.json(rows)
        return 0
    of_whom = f"User {call.hook.settings.user_id}" if mine else f"Organisation {call.hook.settings.org_id}"
    like = f" whose id or name is like {text!r}" if text else ""
    all_of_them = ["flows", *(["--mine"] if mine else [])]
    to_see_all = f" To list all: {call.next_command(*all_of_them)}" if text else ""
    columns = [field.name for field in fields(MyFlow if mine else FlowSummary)]
    call.terminal.table(
        columns, [list(row.values()) for row in rows], empty=f"{of_whom} has no flow{like}.{to_see_all}"
    )
    return 0


@command
def flow(call: Invocation) -> int:
    """Show a flow and its nodes."""
    flow_id = flow_of(call)
    with call.explains_absence(f"Flow {flow_id}", "flows"):
        found = call.hook.get_flow(flow_id)
    display.show_flow(call, found)
    return 0


@command
def export(call: Invocation) -> int:
    """Write a flow as a file for a repository."""
    exports.export(call)
    return 0


@partial(command, failed=MISUSED)
def diff(call: Invocation) -> int:
    """Compare a file of ``export`` with the flow as it is."""
    comparison = diffs.compare(call)
    diffs.show(call, comparison)
    return FAILED if comparison.found else 0


@command
def instances(call: Invocation) -> int:
    """List instances."""
    is_of_one = call.options.flow_id is not None or call.options.flow_name is not None
    flow_id, statuses = flow_of(call) if is_of_one else None, call.options.status or ()
    now = int(time() * 1000)
    first = now - 7 * _DAY if call.options.from_time is None else times.parse(call.options.from_time, now=now)
    end = now + _DAY if call.options.to_time is None else times.parse(call.options.to_time, now=now)
    if end <= first:
        raise UsageError("--to must be later than --from")
    found = []
    expression = "" if flow_id is None else str(flow_id)
    for one in call.hook.list_flow_instances(first, end, status=statuses, expression=expression):
        # The expression is a fuzzy match: it finds 13377, too.
        if flow_id in (None, one.flow_id):
            found.append(one)
            call.terminal.progress(f"{len(found)} instances")
    if call.terminal.as_json:
        call.terminal.json([display.instance_as_json(one) for one in found])
        return 0
    of_flow = "" if flow_id is None else f" of flow {flow_id}"
    with_status = f" with status {' or '.join(map(str, statuses))}" if statuses else ""
    window = f"{times.to_iso(first)} up to {times.to_iso(end)}"
    columns = ("flow_instance_id", "flow_name", "status", "trigger_time", "start_time", "end_time")
    rows = [[getattr(one, column) for column in columns] for one in found]
    empty = f"There is no instance{of_flow}{with_status} with a trigger time from {window}: see --from and --to."
    call.terminal.table(columns, rows, empty=empty)
    return 0


@command
def instance(call: Invocation) -> int:
    """Show an instance and its nodes; with ``--wait``, once it has ended."""
    flow_instance_id = call.options.flow_instance_id
    with _explains_absent_instance(call):
        if not call.options.wait:
            display.show_instance(call, call.hook.get_flow_instance(flow_instance_id))
            return 0
        say_how_to_follow(call, flow_instance_id)
        found = wait_for_end(call, flow_instance_id, known=False)
    display.show_instance(call, found)
    return end_as(call, found)


@command
def log(call: Invocation) -> int:
    """Print the log of a node's run."""
    task_instance_id, lines = call.options.task_instance_id, call.options.lines
    with call.explains_absence(f"Task instance {task_instance_id}", "instance", "FLOW_INSTANCE_ID"):
        if call.options.follow:
            call.terminal.when_interrupted = f"Task instance {task_instance_id} runs on."
            follower = LogFollower(task_instance_id, call.terminal, lines, call.options.poll_interval)
            text = call.hook.client.run(follower.steps())
        else:
            text = _log_so_far(call, task_instance_id)
    shown = clean_lines(text)[-(lines or 0) :]
    if call.terminal.as_json:
        call.terminal.json({"task_instance_id": task_instance_id, "log": "\n".join(shown)})
    elif not call.options.follow:
        call.terminal.lines(shown)
        if not shown:
            call.terminal.note(f"The log of {task_instance_id} is empty.")
    return 0


def _log_so_far(call: Invocation, task_instance_id: str) -> str:
    try:
        return call.hook.get_task_instance_log(task_instance_id, LOG_LENGTH)
    except EnosNotFoundError:
        # Either there is no such run, or it has no log yet: this tells which.
        run = call.hook.get_task_instance(task_instance_id)
        if run.status.ended:
            raise
        call.hook.client.run(check_may_run(run))
        to_wait = call.next_command("log", "--follow", task_instance_id)
        raise Failure(f"{task_instance_id} has no log yet, it is {run.status}. To wait for one: {to_wait}") from None


@command
def trigger(call: Invocation) -> int:
    """Start a flow; with ``--wait``, follow the instance to its end."""
    node = [call.options.from_task, call.options.from_task_name]
    if call.options.parameter and node != [None, None]:
        raise UsageError(
            "--parameter does not go with --from-task or --from-task-name: EnOS takes parameters for a whole flow only"
        )
    if None not in node:
        raise UsageError("--from-task and --from-task-name do not go together")
    return _follow(call, start(call))


@command
def rerun(call: Invocation) -> int:
    """Run a failed instance again from the node that has to run again; with ``--wait``, follow the new instance."""
    trigger_time = trigger_time_of(call)
    with _explains_absent_instance(call):
        failed = failed_instance(call)
    flow, choice = choose(call, failed)
    if call.options.dry_run:
        show_plan(call, failed, flow, choice, trigger_time)
        return 0
    return _follow(call, restart(call, flow, choice, trigger_time))


def _follow(call: Invocation, flow_instance_id: str) -> int:
    """Print the id of a new instance; with ``--wait``, follow the instance to its end. Return the exit code."""
    if not call.terminal.as_json:
        call.terminal.line(flow_instance_id)
    elif not call.options.wait:
        call.terminal.json({"flow_instance_id": flow_instance_id})
    if not call.options.wait:
        return 0
    found = wait_for_end(call, flow_instance_id, known=True)
    if call.terminal.as_json:
        call.terminal.json(display.instance_as_json(found))
    return end_as(call, found)


@command
def cancel(call: Invocation) -> int:
    """Cancel an instance, unless it has ended; with ``--wait``, wait until it has stopped."""
    with _explains_absent_instance(call):
        if not call.options.wait:
            return _ask_to_cancel(call)
        found = cancel_and_wait(call)
    if call.terminal.as_json:
        call.terminal.json(display.instance_as_json(found))
    else:
        call.terminal.status_line(found.flow_instance_id, found.status)
    if not was_cancelled(found):
        raise not_cancelled(found)
    return 0


def _ask_to_cancel(call: Invocation) -> int:
    flow_instance_id = call.options.flow_instance_id
    stopped = _if_stopped(call, flow_instance_id)
    if stopped is None:
        call.hook.cancel_flow_instance(flow_instance_id)
        call.terminal.note(f"Asked EnOS to cancel {flow_instance_id}.")
    elif not was_cancelled(stopped):
        raise not_cancelled(stopped)
    else:
        call.terminal.note(f"{flow_instance_id} was cancelled before: it has status {stopped.status}.")
    if call.terminal.as_json:
        call.terminal.json({"flow_instance_id": flow_instance_id})
    return 0


def _if_stopped(call: Invocation, flow_instance_id: str) -> FlowInstance | None:
    try:
        found = call.hook.get_flow_instance(flow_instance_id)
    except EnosNotFoundError:
        raise
    except EnosError as error:
        # Whether it runs is not known, and a cancel does no harm.
        call.terminal.warning("Cannot tell whether %s has ended: %s", flow_instance_id, error)
        return None
    return found if has_stopped(found) else None


def _explains_absent_instance(call: Invocation) -> AbstractContextManager[None]:
    flow_instance_id = call.options.flow_instance_id
    # The id of an instance begins with that of its flow.
    flow_id = flow_instance_id.partition("-")[0]
    of_flow = [flow_id] if flow_id.isdecimal() else []
    return call.explains_absence(f"Flow instance {flow_instance_id}", "instances", *of_flow)


@command
def survey(call: Invocation) -> int:
    """Ask the gateway what the documentation leaves open."""
    findings = surveys.survey(call)
    surveys.show(call, findings)
    unknown = sum(not one.told for one in findings)
    call.terminal.note(f"{len(findings) - unknown} of {len(findings)} questions are answered.")
    if call.options.write is not None:
        written = surveys.write(findings, call.options.write)
        start = f"python -m airflow_provider_enos.simulator --switches {call.options.write}"
        call.terminal.note(f"Wrote {written} switches. To run a simulator that behaves alike: {start}")
    return 0
