"""How every command runs: what it may print, and with which exit code it ends.

| exit code | when                                                                       |
| --------- | -------------------------------------------------------------------------- |
| 0         | it did what it was asked for; ``diff``: there is no difference             |
| 1         | it did not; one line on stderr says why. ``diff``: there are differences   |
| 2         | it was called in a way that cannot work; ``diff``: or cannot compare       |
| 99        | ``--wait``: the instance was skipped, as Airflow's own operators mean this |
| 130       | interrupted; stderr says what runs on                                      |
| 141       | nobody reads its output any more                                           |
"""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import wraps
from typing import TypeAlias

from airflow_provider_enos.cli.definition import AIRFLOW_PROGRAM, DEFAULT_CONN_ID
from airflow_provider_enos.cli.terminal import Terminal
from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosAuthError,
    EnosConfigError,
    EnosError,
    EnosNotFoundError,
    EnosReplyError,
    EnosTransportError,
)
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.version_compat import AirflowException, AirflowNotFoundException

FAILED, MISUSED, SKIPPED, INTERRUPTED, UNREAD = 1, 2, 99, 130, 141

_CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"

_SEEN_BY_CHECK = (
    AirflowNotFoundException,
    EnosAccessError,
    EnosAuthError,
    EnosConfigError,
    EnosReplyError,
    EnosTransportError,
)
"""Errors of a connection, about which the command ``check`` says more."""


class UsageError(Exception):
    """Options that do not go together."""


class Failure(Exception):
    """The command cannot do what it was asked for. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a command: its options, the hook of its connection, and the terminal."""

    options: Namespace
    hook: EnosHook
    terminal: Terminal

    def next_command(self, *words: str) -> str:
        """Return a command line to type next, with the connection, organisation and user of this one."""
        return _next_command(self.options, *words)

    @contextmanager
    def explains_absence(self, what: str, *remedy: str) -> Iterator[None]:
        """Turn an ``EnosNotFoundError`` into a ``Failure`` that names what is missing and the command ``remedy``."""
        try:
            yield
        except EnosNotFoundError as error:
            raise Failure(
                f"{what} does not exist, or this user may not see it. To find an id: {self.next_command(*remedy)}. "
                f"EnOS said: {error}"
            ) from error


Body: TypeAlias = Callable[[Invocation], int]
"""What a command does; returns its exit code."""


def command(body: Body, *, failed: int = FAILED) -> Callable[[Namespace], None]:
    """Turn a function into a command that ends with ``SystemExit``.

    :param failed: the exit code where the function raises an error.
    """

    @wraps(body)
    def run(options: Namespace) -> None:
        sys.exit(_run(body, options, failed))

    return run


def _program(options: Namespace) -> str:
    """Return how the user has called this program, for messages that say what to type next."""
    return str(getattr(options, "program", AIRFLOW_PROGRAM))


def _next_command(options: Namespace, *words: str) -> str:
    given = {"--conn-id": options.conn_id, "--org-id": options.org_id, "--user-id": options.user_id}
    repeated = [word for pair in given.items() if pair[1] not in (None, DEFAULT_CONN_ID) for word in pair]
    return f"{_program(options)} {shlex.join([*words, *repeated])}"


def _run(body: Body, options: Namespace, failed: int) -> int:
    # A command whose result is always the same kind of text has no option for it.
    terminal = Terminal(sys.stdout, sys.stderr, as_json=getattr(options, "output", None) == "json")
    try:
        # stdout is for the result alone: whatever else is printed, by Airflow's logging too, goes to stderr.
        with redirect_stdout(sys.stderr), _as_a_command_of_airflow():
            return _quietly(body, options, terminal)
    except KeyboardInterrupt:
        terminal.note(f"Interrupted. {terminal.when_interrupted}".rstrip())
        return INTERRUPTED
    except BrokenPipeError:
        terminal.hang_up()
        return UNREAD
    except UsageError as error:
        terminal.note(f"{_program(options)} {options.subcommand}: {error}")
        return MISUSED
    except Exception as error:
        if options.verbose and failed == FAILED:
            # After a traceback Python exits with 1, too.
            raise
        if options.verbose:
            traceback.print_exc()
        terminal.note(f"{_program(options)} {options.subcommand}: {_message(error)}{_remedy(error, options)}")
        return failed


def _message(error: Exception) -> str:
    text = excerpt(str(error), 2000)
    if isinstance(error, (EnosError, AirflowException, Failure)):
        return text
    return f"{type(error).__name__}: {text} (--verbose shows where)"


def _remedy(error: Exception, options: Namespace) -> str:
    if not isinstance(error, _SEEN_BY_CHECK):
        return ""
    return f". To test the connection: {_next_command(options, 'check')}"


def _quietly(body: Body, options: Namespace, terminal: Terminal) -> int:
    """Run the body without output of Airflow's loggers, unless ``--verbose`` asks for it."""
    from airflow.utils.cli import suppress_logs_and_warning

    codes: list[int] = []

    # Airflow's decorator passes on the options, and returns nothing.
    def run(options: Namespace) -> None:
        hook = EnosHook(options.conn_id, org_id=options.org_id, user_id=options.user_id)
        try:
            codes.append(body(Invocation(options, hook, terminal)))
        finally:
            if "client" in vars(hook):
                hook.client.close()

    suppress_logs_and_warning(run)(options)
    return codes[0]


@contextmanager
def _as_a_command_of_airflow() -> Iterator[None]:
    """Make Airflow 3 look for connections where its own commands do: in its metadata database, too."""
    before = os.environ.get(_CONTEXT)
    os.environ[_CONTEXT] = "server"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CONTEXT]
        else:
            os.environ[_CONTEXT] = before
