"""Write a flow as a file for a repository: what the command ``export`` does."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from airflow_provider_enos.cli.instance_actions import flow_of
from airflow_provider_enos.cli.runner import Failure, Invocation
from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol.flow_definition import FlowDefinition


def export(call: Invocation) -> None:
    """Write the definition of the flow that the options name, to a file or to stdout."""
    path, flow_id = call.options.file, flow_of(call)
    definition = definition_of(call, flow_id, parameter_values=call.options.parameter_values)
    if path is None:
        call.terminal.document(definition.text())
    else:
        write(definition.text(), path)
        size = f"{len(definition.nodes)} nodes, {len(definition.relations)} relations"
        call.terminal.note(f"Wrote flow {flow_id} to {path}: {size}")
    if definition.has_parameter_values:
        call.terminal.note("It has the values of parameters. See that none is a secret before you commit it.")


def definition_of(call: Invocation, flow_id: int, *, parameter_values: bool) -> FlowDefinition:
    """Return the definition of a flow as it is. Raise ``Failure``, which says why, if it has none."""
    with call.explains_absence(f"Flow {flow_id}", "flows"):
        flow = call.hook.get_flow(flow_id)
    try:
        return FlowDefinition.of(flow, parameter_values=parameter_values)
    except EnosConfigError as error:
        raise Failure(str(error)) from error


def write(text: str, path: Path) -> None:
    """Write the file, whole or not at all. It keeps its permissions. Raise ``Failure``."""
    # Of a link, the file that it leads to.
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            raise Failure(f"cannot write {path}: it is no regular file")
        handle, written = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
        try:
            with open(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                os.fchmod(file.fileno(), _mode(target))
            os.replace(written, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(written)
            raise
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror or error}") from error


def _mode(path: Path) -> int:
    with suppress(FileNotFoundError):
        return stat.S_IMODE(path.stat().st_mode)
    # There is no other way to read it. The command has no threads.
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
