"""Compare a file of the command ``export`` with the flow as it is: what the command ``diff`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from airflow_provider_enos.cli.export import definition_of
from airflow_provider_enos.cli.instance_actions import find_flow, flow_of
from airflow_provider_enos.cli.runner import Failure, Invocation
from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol.bounded_json import LIMITS
from airflow_provider_enos.protocol.flow_definition import FlowDefinition
from airflow_provider_enos.protocol.flow_differences import Difference, differences
from airflow_provider_enos.protocol.wire.names import Choice


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared, and what differs.

    :param there: what the file defines.
    :param now: the flow as it is.
    :param by_name: whether nodes of the same name are the same node.
    """

    there: FlowDefinition
    now: FlowDefinition
    by_name: bool
    found: tuple[Difference, ...]


def compare(call: Invocation) -> Comparison:
    """Compare the file with the flow that the options name. Raise ``Failure``, which says why, if that cannot be."""
    there = read(call.options.file)
    is_named = call.options.flow_id is not None or call.options.flow_name is not None
    by_name = is_named or call.options.by_name
    flow_id = flow_of(call) if is_named else find_flow(call, _own_flow(there, by_name))
    now = definition_of(call, flow_id, parameter_values=there.has_parameter_values)
    try:
        return Comparison(there, now, by_name, differences(there, now, by_name=by_name))
    except EnosConfigError as error:
        raise Failure(str(error)) from error


def _own_flow(there: FlowDefinition, by_name: bool) -> Choice:
    if not by_name:
        return Choice(id=there.flow_id)
    if not there.name.strip():
        raise Failure(f"the file names no flow, its name is {there.name!r}. Give FLOW_ID in place of --by-name")
    return Choice(name=there.name)


def read(path: Path) -> FlowDefinition:
    """Return what the file defines. Raise ``Failure``."""
    try:
        with path.open("rb") as file:
            content = file.read(LIMITS.size + 1)
        return FlowDefinition.from_text(content, str(path))
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror or error}") from error
    except EnosConfigError as error:
        raise Failure(str(error)) from error


def show(call: Invocation, comparison: Comparison) -> None:
    """Print what differs, one line each, and what to do about it."""
    now, found = comparison.now, comparison.found
    of_graph = sum(one.changes_graph for one in found)
    if call.terminal.as_json:
        call.terminal.json(
            {
                "file": str(call.options.file),
                "flow_id": now.flow_id,
                "flow_name": now.name,
                "by_name": comparison.by_name,
                "same": not found,
                "changes_graph": of_graph > 0,
                "differences": [one.to_json() for one in found],
            }
        )
        return
    call.terminal.lines([str(one) for one in found])
    if not found:
        call.terminal.note(f"Flow {now.flow_id} is as {call.options.file} defines it.")
        return
    differ = f"{len(found)} difference{'s' * (len(found) > 1)}, {of_graph} in nodes, their names or their relations"
    call.terminal.note(f"Flow {now.flow_id} differs from {call.options.file}: {differ}.")
    if of_graph and not comparison.by_name:
        call.terminal.note("An EnosFlowTaskGroup of this file does not start: its task 'start' fails and says this.")
    if not comparison.by_name:
        values = ["--parameter-values"] if comparison.there.has_parameter_values else []
        again = call.next_command("export", str(now.flow_id), *values, "-o", str(call.options.file))
        call.terminal.note(f"To write the file again: {again}")
