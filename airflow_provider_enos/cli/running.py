"""How every command runs: what it may print, and with which exit code it ends.

| exit code | when                                                                       |
| --------- | -------------------------------------------------------------------------- |
| 0         | it did what it was asked for                                               |
| 1         | it did not; one line on stderr says why                                    |
| 2         | it was called in a way that cannot work                                    |
| 99        | ``--wait``: the instance was skipped, as Airflow's own operators mean this |
| 130       | interrupted; what runs on is said                                          |
| 141       | nobody reads its output any more                                           |
"""

from __future__ import annotations

import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import wraps
from typing import TypeAlias

from airflow_provider_enos.cli.definition import AIRFLOW_PROGRAM, DEFAULT_CONN_ID
from airflow_provider_enos.cli.terminal import Terminal
from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.protocol.text import excerpt

FAILED, MISUSED, SKIPPED, INTERRUPTED, UNREAD = 1, 2, 99, 130, 141

Body: TypeAlias = Callable[[EnosHook, Namespace, Terminal], int]
"""What a command does; gives its exit code."""

_CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"


class UsageError(Exception):
    """Options that do not go together."""


class Failure(Exception):
    """The command cannot do what it was asked for; the message says why."""


def program(arguments: Namespace) -> str:
    """What the user has typed to get here, for hints on what to type next."""
    return str(getattr(arguments, "program", AIRFLOW_PROGRAM))


def next_command(arguments: Namespace, *words: str) -> str:
    """A command to type next, with the connection, organisation and user of this one."""
    given = {"--conn-id": arguments.conn_id, "--org-id": arguments.org_id, "--user-id": arguments.user_id}
    options = [word for pair in given.items() if pair[1] not in (None, DEFAULT_CONN_ID) for word in pair]
    return f"{program(arguments)} {shlex.join([*words, *options])}"


def command(body: Body) -> Callable[[Namespace], None]:
    """Makes a command of its body: it ends with ``SystemExit``, and never with a traceback."""

    @wraps(body)
    def run(arguments: Namespace) -> None:
        sys.exit(_run(body, arguments))

    return run


def _run(body: Body, arguments: Namespace) -> int:
    terminal = Terminal(sys.stdout, sys.stderr, as_json=arguments.output == "json")
    try:
        # Whatever else is printed meanwhile, by Airflow's logging too, is none of the result.
        with redirect_stdout(sys.stderr), _as_a_command_of_airflow():
            return _quietly(body, arguments, terminal)
    except KeyboardInterrupt:
        terminal.note(f"Interrupted. {terminal.left_behind}".rstrip())
        return INTERRUPTED
    except BrokenPipeError:
        terminal.hang_up()
        return UNREAD
    except UsageError as error:
        terminal.note(f"{program(arguments)} {arguments.subcommand}: {error}")
        return MISUSED
    except Exception as error:
        if arguments.verbose:
            raise
        terminal.note(f"{program(arguments)} {arguments.subcommand}: {_said(error)}")
        return FAILED


def _said(error: Exception) -> str:
    from airflow_provider_enos.version_compat import AirflowException

    text = excerpt(str(error), 2000)
    if isinstance(error, (EnosError, AirflowException, Failure)):
        return text
    return f"{type(error).__name__}: {text} (--verbose shows where)"


def _quietly(body: Body, arguments: Namespace, terminal: Terminal) -> int:
    """Without a word from Airflow's loggers, unless ``--verbose`` asks for them."""
    from airflow.utils.cli import suppress_logs_and_warning

    codes: list[int] = []

    def run(arguments: Namespace) -> None:
        hook = EnosHook(arguments.conn_id, org_id=arguments.org_id, user_id=arguments.user_id)
        try:
            codes.append(body(hook, arguments, terminal))
        finally:
            if "client" in vars(hook):
                hook.client.close()

    suppress_logs_and_warning(run)(arguments)
    return codes[0]


@contextmanager
def _as_a_command_of_airflow() -> Iterator[None]:
    """Has Airflow 3 look for connections where its own commands do: in its metadata database, too."""
    before = os.environ.get(_CONTEXT)
    os.environ[_CONTEXT] = "server"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CONTEXT]
        else:
            os.environ[_CONTEXT] = before
