"""The commands and their options. Airflow imports this for each of its own commands, so it imports next to nothing.

One table makes both: the commands that Airflow adds to its own (3.2 and later), and the parser of
``python -m airflow_provider_enos``.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand

    from airflow_provider_enos.protocol.models import FlowStatus

__all__ = ["get_enos_cli_commands"]

T = TypeVar("T")

AIRFLOW_PROGRAM = "airflow enos"
OWN_PROGRAM = "python -m airflow_provider_enos"
DEFAULT_CONN_ID = "enos_default"
_HELP = "Ask EnOS for flows and instances, start and cancel them"


@dataclass(frozen=True, slots=True)
class Option:
    """What ``ArgumentParser.add_argument`` takes. Of two flags the long one comes last: Airflow sorts by it."""

    flags: tuple[str, ...]
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """One command. ``name`` is also that of its function in ``commands``."""

    name: str
    help: str
    options: tuple[Option, ...] = ()
    description: str = field(default="")


def get_enos_cli_commands() -> list[CLICommand]:
    """The commands, for Airflow: the entry ``cli`` of the provider's description names this function."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    make: Any = Arg

    return [
        GroupCommand(
            name="enos",
            help=_HELP,
            subcommands=[
                ActionCommand(
                    name=command.name,
                    help=command.help,
                    description=command.description or command.help,
                    func=_lazy(command.name),
                    args=[make(option.flags, **option.settings) for option in (*command.options, *COMMON)],
                )
                for command in COMMANDS
            ],
        )
    ]


def parser() -> ArgumentParser:
    """The same commands, for ``python -m airflow_provider_enos``."""
    whole = ArgumentParser(prog=OWN_PROGRAM, description=f"{_HELP}.")
    commands = whole.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    for command in COMMANDS:
        one = commands.add_parser(command.name, help=command.help, description=command.description or command.help)
        for option in (*command.options, *COMMON):
            one.add_argument(*option.flags, **option.settings)
        one.set_defaults(func=_lazy(command.name), program=OWN_PROGRAM)
    return whole


def _lazy(name: str) -> Callable[[Namespace], None]:
    def function(arguments: Namespace) -> None:
        from airflow_provider_enos.cli import commands

        getattr(commands, name)(arguments)

    function.__name__ = name
    return function


def _checked(read: Callable[[], T]) -> T:
    """What ``read`` gives; argparse shows the rest of the message after the name of the option."""
    from airflow_provider_enos.errors import EnosConfigError

    try:
        return read()
    except EnosConfigError as error:
        raise ArgumentTypeError(str(error).removeprefix(f"{error.field}: ")) from None


def _number(text: str) -> int:
    from airflow_provider_enos.protocol import arguments

    return _checked(lambda: arguments.number(text, "number"))


def _instance(text: str) -> str:
    from airflow_provider_enos.protocol import arguments

    return _checked(lambda: arguments.instance(text, "id"))


def _text(text: str) -> str:
    from airflow_provider_enos.protocol import arguments

    return _checked(lambda: arguments.text(text, "text"))


def _moment(text: str) -> str:
    """The text itself, if it can be read: what "now" is, is decided when it is used."""
    from airflow_provider_enos.protocol import trigger_time

    _checked(lambda: trigger_time.parse(text, now=0, field="time"))
    return text


def _seconds(text: str) -> float:
    from airflow_provider_enos.protocol import arguments

    try:
        given: object = float(text)
    except ValueError:
        given = text
    return _checked(lambda: arguments.seconds(given, "seconds"))


def _parameter(text: str) -> tuple[str, str]:
    from airflow_provider_enos.protocol import arguments

    name, equals, value = text.partition("=")
    if not equals:
        raise ArgumentTypeError(f"{text!r}: expected NAME=VALUE")
    return next(iter(_checked(lambda: arguments.parameters({name: value}, "parameter")).items()))


def _status(text: str) -> FlowStatus:
    from airflow_provider_enos.protocol import arguments

    return _checked(lambda: arguments.statuses(text, "status"))[0]


def _option(*flags: str, **settings: Any) -> Option:
    return Option(flags, settings)


COMMON = (
    _option(
        "--conn-id",
        default=DEFAULT_CONN_ID,
        help=f"The Airflow connection, of type enos (default: {DEFAULT_CONN_ID})",
    ),
    _option("--org-id", help="The EnOS organisation, in place of the connection's"),
    _option("--user-id", help="The EnOS user, in place of the connection's"),
    _option(
        "-o",
        "--output",
        choices=("table", "json"),
        default="table",
        help="Output format. Allowed values: table, json (default: table)",
    ),
    _option("-v", "--verbose", action="store_true", help="Show what Airflow logs, and where an error comes from"),
)
"""What all commands take."""

_FLOW_ID = _option("flow_id", type=_number, help="The flow, such as 3377")
_FLOW_INSTANCE_ID = _option("flow_instance_id", type=_instance, help="The instance, such as 3377-20200706062600")
_TASK_INSTANCE_ID = _option("task_instance_id", type=_instance, help="The node's run, such as 108580-20200706062600")
_TIME = "ISO 8601 with an offset such as 2024-03-03T00:00:00+00:00, epoch milliseconds, or now"
_WAITING = (
    _option("-w", "--wait", action="store_true", help="Follow the instance to its end, and exit as it ends"),
    _option("--poll-interval", type=_seconds, default=5.0, help="With --wait: seconds between two looks (default: 5)"),
    _option(
        "--timeout",
        type=_seconds,
        default=604800.0,
        help="With --wait: seconds after which to give up; the instance runs on (default: 604800, 7 days)",
    ),
)

COMMANDS = (
    Command(
        "check",
        "Test the connection, step by step",
        description="Test the connection: address, TLS, clock, token, user, rights. Exits with 1 at a failure.",
    ),
    Command(
        "flows",
        "List flows and their ids",
        (
            _option("text", type=_text, nargs="?", default="", help="Only those whose id or name is like it"),
            _option("-m", "--mine", action="store_true", help="Only the user's own, and whether it may edit them"),
        ),
    ),
    Command(
        "flow",
        "Show a flow and its task nodes, whose ids are what from_task_id takes",
        (_FLOW_ID,),
    ),
    Command(
        "instances",
        "List the instances of a flow, or all",
        (
            _option("flow_id", type=_number, nargs="?", help="Only those of this flow"),
            _option(
                "--from",
                dest="from_time",
                type=_moment,
                help=f"From this trigger time on: {_TIME} (default: a week ago)",
            ),
            _option(
                "--to", dest="to_time", type=_moment, help="Up to, but not including, this one (default: a day ahead)"
            ),
            _option("--status", type=_status, action="append", help="Only those with this status; may be repeated"),
        ),
    ),
    Command(
        "instance",
        "Show an instance and its nodes, or follow it",
        (_FLOW_INSTANCE_ID, *_WAITING),
        description="Show an instance and its nodes. With --wait, the exit code is 0 if it succeeds, 99 if it is "
        "skipped, else 1.",
    ),
    Command(
        "log",
        "Print the log of a node's run",
        (
            _TASK_INSTANCE_ID,
            _option("-f", "--follow", action="store_true", help="Go on printing until the run has ended"),
            _option("-n", "--lines", type=_number, help="Only so many lines, the last ones"),
            _option("--poll-interval", type=_seconds, default=5.0, help="Seconds between two looks (default: 5)"),
        ),
    ),
    Command(
        "trigger",
        "Start a flow, whole or from a task node, and print the instance's id",
        (
            _FLOW_ID,
            _option("-t", "--from-task", type=_number, help="Start from this node: its id, see the command flow"),
            _option("--trigger-time", type=_moment, default="now", help=f"{_TIME} (default: now)"),
            _option(
                "-p",
                "--parameter",
                type=_parameter,
                action="append",
                help="NAME=VALUE for this one run; may be repeated; not with --from-task",
            ),
            _option(
                "--on-conflict",
                choices=("next_minute", "attach", "fail"),
                default="next_minute",
                help="If an instance of the flow has that minute: take the next free one (default), that instance, "
                "or fail",
            ),
            *_WAITING,
        ),
        description="Start a flow and print the id of its instance. A reply that is lost is looked up, never sent "
        "again. With --wait, the exit code is 0 if the instance succeeds, 99 if it is skipped, else 1.",
    ),
    Command(
        "cancel",
        "Cancel an instance",
        (_FLOW_INSTANCE_ID, *_WAITING),
        description="Ask EnOS to cancel an instance. With --wait, the exit code is 0 once it is cancelled, and 1 if it "
        "had ended by itself.",
    ),
)
"""All commands."""
