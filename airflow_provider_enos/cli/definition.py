"""The commands and their options. Airflow imports this for each of its own commands, so it imports next to nothing.

One table makes both: the commands that Airflow adds to its own (3.2 and later), and the parser of
``python -m airflow_provider_enos``.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.cli import option_values as values

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand

__all__ = ["get_enos_cli_commands"]

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
    """One command.

    :param name: also the name of its function in ``commands``.
    :param help: one line, without a full stop.
    :param examples: what may follow the name; shown at the end of ``--help``.
    :param description: the first paragraph of ``--help``; ``help`` if it is empty.
    :param has_formats: whether its result can be a table or JSON. If not, it does not take the option for that.
    """

    name: str
    help: str
    options: tuple[Option, ...]
    examples: tuple[str, ...]
    description: str = ""
    has_formats: bool = True

    @property
    def all_options(self) -> tuple[Option, ...]:
        """Its own options, and those that it has in common with the others."""
        return (*self.options, *(one for one in COMMON if self.has_formats or one is not _OUTPUT))

    @property
    def texts(self) -> dict[str, Any]:
        """The texts of ``--help``, as argparse and Airflow take them. Both put the program where ``%(prog)s`` is."""
        lines = [f"  %(prog)s {example}".rstrip() for example in self.examples]
        return {
            "help": self.help,
            "description": self.description or self.help,
            "epilog": "\n".join(["Examples:", *lines]),
        }


def get_enos_cli_commands() -> list[CLICommand]:
    """Return the commands, for Airflow: the entry ``cli`` of the provider's description names this function."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command

    make: Any = Arg

    return [
        GroupCommand(
            name="enos",
            help=_HELP,
            subcommands=[
                ActionCommand(
                    name=command.name,
                    func=lazy_load_command(f"airflow_provider_enos.cli.commands.{command.name}"),
                    args=[make(option.flags, **option.settings) for option in command.all_options],
                    **command.texts,
                )
                for command in COMMANDS
            ],
        )
    ]


def parser() -> ArgumentParser:
    """Return the parser of ``python -m airflow_provider_enos``, which has the same commands."""
    whole = ArgumentParser(prog=OWN_PROGRAM, description=f"{_HELP}.")
    commands = whole.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    for command in COMMANDS:
        one = commands.add_parser(command.name, formatter_class=RawDescriptionHelpFormatter, **command.texts)
        for option in command.all_options:
            one.add_argument(*option.flags, **option.settings)
        one.set_defaults(program=OWN_PROGRAM)
    return whole


def _option(*flags: str, **settings: Any) -> Option:
    return Option(flags, settings)


_OUTPUT = _option(
    "-o",
    "--output",
    choices=("table", "json"),
    default="table",
    help="Output format. Allowed values: table, json (default: table)",
)
COMMON = (
    _option(
        "--conn-id",
        metavar="CONN_ID",
        default=DEFAULT_CONN_ID,
        help=f"The Airflow connection, of type enos (default: {DEFAULT_CONN_ID})",
    ),
    _option("--org-id", metavar="ORG_ID", help="The EnOS organisation, in place of the connection's"),
    _option("--user-id", metavar="USER_ID", help="The EnOS user, in place of the connection's"),
    _OUTPUT,
    _option("-v", "--verbose", action="store_true", help="Show what Airflow logs, and where an error comes from"),
)
"""The options of every command; ``export`` has no use for the output format."""

_FLOW = (
    _option("flow_id", type=values.number, nargs="?", metavar="FLOW_ID", help="The flow, such as 3377"),
    _option("--flow-name", type=values.label, metavar="NAME", help="The exact name of the flow, in place of FLOW_ID"),
)
_FLOW_INSTANCE_ID = _option(
    "flow_instance_id",
    type=values.instance,
    metavar="FLOW_INSTANCE_ID",
    help="The instance, such as 3377-20200706062600",
)
_TASK_INSTANCE_ID = _option(
    "task_instance_id",
    type=values.instance,
    metavar="TASK_INSTANCE_ID",
    help="The node's run, such as 108580-20200706062600",
)
_TIME_FORMATS = "ISO 8601 with an offset such as 2024-03-03T00:00:00+00:00, epoch milliseconds, or now"
_POLL_INTERVAL = {"type": values.seconds, "metavar": "SECONDS", "default": 5.0}
_WAITING = (
    _option("-w", "--wait", action="store_true", help="Follow the instance to its end, and exit as it ends"),
    _option("--poll-interval", **_POLL_INTERVAL, help="With --wait: seconds between two looks (default: 5)"),
    _option(
        "--timeout",
        type=values.seconds,
        metavar="SECONDS",
        default=604800.0,
        help="With --wait: seconds after which to give up; the instance runs on (default: 604800, 7 days)",
    ),
)
_ON_CONFLICT = _option(
    "--on-conflict",
    choices=("next_minute", "attach", "fail"),
    default="next_minute",
    help="If an instance of the flow has that minute: take the next free one (default), that instance, or fail",
)

COMMANDS = (
    Command(
        "check",
        "Test the connection, step by step",
        (),
        ("", "--conn-id enos_emea", "--output json"),
        description="Test the connection: address, TLS, clock, token, user, rights. Exits with 1 at a failure.",
    ),
    Command(
        "flows",
        "List flows and their ids",
        (
            _option(
                "text",
                type=values.text,
                nargs="?",
                default="",
                metavar="TEXT",
                help="Only those whose id or name is like it",
            ),
            _option("-m", "--mine", action="store_true", help="Only those that the user owns or may view"),
        ),
        ("", "meter", "--mine"),
    ),
    Command(
        "flow",
        "Show a flow and its task nodes, whose ids are what from_task_id takes",
        _FLOW,
        ("3377", "3377 --output json", "--flow-name meter_readings_daily"),
    ),
    Command(
        "export",
        "Write a flow as JSON that belongs in a repository",
        (
            *_FLOW,
            _option("-o", "--file", type=Path, metavar="FILE", help="Write this file, whole or not at all, not stdout"),
            _option("--parameter-values", action="store_true", help="Also the values of parameters: may be secrets"),
        ),
        ("3377", "3377 -o flows/meter_readings_daily.json", "--flow-name meter_readings_daily -o flows/daily.json"),
        description="Write what a flow is made of: its nodes, their relations, its schedule, and the names of its "
        "parameters. No owner and no secret. The same flow gives the same bytes.",
        has_formats=False,
    ),
    Command(
        "diff",
        "Compare a file that export has written with the flow as it is",
        (
            _option("file", type=Path, metavar="FILE", help="The file"),
            _option("flow_id", type=values.number, nargs="?", metavar="FLOW_ID", help="This flow; nodes by name"),
            _option(
                "--flow-name", type=values.label, metavar="NAME", help="The flow of this exact name; nodes by name"
            ),
            _option("--by-name", action="store_true", help="The flow of the name in the file; nodes by name"),
        ),
        ("flows/daily.json", "flows/daily.json --by-name --conn-id enos_emea", "flows/daily.json 4711 --output json"),
        description="Say in what a flow differs from its file. By default it is the flow with the id in the file, and "
        "nodes are the same if their ids are. For another environment, where ids differ, name the flow or give "
        "--by-name: then nodes are the same if their names are. The exit code is 0 if they are the same, 1 if they "
        "differ, 2 if they cannot be compared.",
    ),
    Command(
        "instances",
        "List the instances of a flow, or all",
        (
            _option("flow_id", type=values.number, nargs="?", metavar="FLOW_ID", help="Only those of this flow"),
            _FLOW[1],
            _option(
                "--from",
                dest="from_time",
                type=values.time,
                metavar="TIME",
                help=f"From this trigger time on: {_TIME_FORMATS} (default: a week ago)",
            ),
            _option(
                "--to",
                dest="to_time",
                type=values.time,
                metavar="TIME",
                help="Up to, but not including, this trigger time (default: a day ahead)",
            ),
            _option(
                "--status",
                type=values.status,
                action="append",
                metavar="STATUS",
                help="Only those with this status, such as FAIL; may be repeated",
            ),
        ),
        (
            "",
            "3377",
            "--status FAIL --status TIMEOUT",
            "3377 --from 2024-03-01T00:00:00+00:00 --to 2024-03-04T00:00:00+00:00",
        ),
    ),
    Command(
        "instance",
        "Show an instance and its nodes, or follow it",
        (_FLOW_INSTANCE_ID, *_WAITING),
        ("3377-20200706062600", "3377-20200706062600 --wait"),
        description="Show an instance and its nodes. With --wait, the exit code is 0 if it succeeds, 99 if it is "
        "skipped, else 1.",
    ),
    Command(
        "log",
        "Print the log of a node's run",
        (
            _TASK_INSTANCE_ID,
            _option("-f", "--follow", action="store_true", help="Go on printing until the run has ended"),
            _option("-n", "--lines", type=values.number, metavar="NUMBER", help="Only this many lines, the last ones"),
            _option("--poll-interval", **_POLL_INTERVAL, help="With --follow: seconds between two looks (default: 5)"),
        ),
        ("108580-20200706062600", "108580-20200706062600 --follow", "108580-20200706062600 --lines 20"),
        description="Print the log of a node's run. The command instance shows the ids of an instance's runs.",
    ),
    Command(
        "trigger",
        "Start a flow, whole or from a task node, and print the instance's id",
        (
            *_FLOW,
            _option(
                "-t",
                "--from-task",
                type=values.number,
                metavar="TASK_ID",
                help="Start from this node: its id, see the command flow",
            ),
            _option(
                "--from-task-name",
                type=values.label,
                metavar="NAME",
                help="Start from this node, in place of --from-task",
            ),
            _option(
                "--trigger-time",
                type=values.time,
                metavar="TIME",
                default="now",
                help=f"{_TIME_FORMATS} (default: now)",
            ),
            _option(
                "-p",
                "--parameter",
                type=values.parameter,
                action="append",
                metavar="NAME=VALUE",
                help="A parameter of this one run; may be repeated; not when starting from a node",
            ),
            _ON_CONFLICT,
            *_WAITING,
        ),
        (
            "3377",
            "3377 --from-task 108580 --wait",
            "--flow-name meter_readings_daily --from-task-name clean --wait",
            "3377 --trigger-time 2024-03-03T00:00:00+00:00 --parameter day=2024-03-02",
        ),
        description="Start a flow and print the id of its instance. A reply that is lost is looked up, never sent "
        "again. With --wait, the exit code is 0 if the instance succeeds, 99 if it is skipped, else 1.",
    ),
    Command(
        "rerun",
        "Run a failed instance again from the node that has to run again",
        (
            _FLOW_INSTANCE_ID,
            _option(
                "-d",
                "--dry-run",
                action="store_true",
                help="Start nothing. Say from which node it would start, why, what runs again and what is kept",
            ),
            _option(
                "--trigger-time",
                type=values.time,
                metavar="TIME",
                help=f"{_TIME_FORMATS} (default: the minute after that of the instance)",
            ),
            _ON_CONFLICT,
            *_WAITING,
        ),
        ("3377-20200706062600 --dry-run", "3377-20200706062600", "3377-20200706062600 --wait"),
        description="Start the flow from one node, in the next free minute of the same day, and print the id of the "
        "new instance. The node is the one that leads to everything that did not finish, and repeats the least of "
        "what succeeded. If a part of the failed instance still runs, this waits for its end first. With --wait, the "
        "exit code is 0 if the new instance succeeds, 99 if it is skipped, else 1.",
    ),
    Command(
        "cancel",
        "Cancel an instance",
        (_FLOW_INSTANCE_ID, *_WAITING),
        ("3377-20200706062600", "3377-20200706062600 --wait --timeout 600"),
        description="Ask EnOS to cancel an instance, unless it has ended. With --wait, the exit code is 0 once it is "
        "cancelled. In either way it is 1 if the instance had ended by itself.",
    ),
    Command(
        "survey",
        "Find out what the EnOS documentation leaves open about your gateway",
        (
            _option(
                "--write",
                type=Path,
                metavar="FILE",
                help="Write a file from which a simulator takes its switches: see its --switches",
            ),
            _option(
                "--trigger",
                type=values.number,
                metavar="FLOW_ID",
                help="Start this flow once, for the questions that take a run. Without it nothing is started",
            ),
            _option(
                "-t", "--from-task", type=values.number, metavar="TASK_ID", help="With --trigger: start from this node"
            ),
            _option(
                "--no-refresh",
                action="store_true",
                help="Do not refresh the access token: other programs with the same access key may hold it",
            ),
            _option("--poll-interval", **_POLL_INTERVAL, help="With --trigger: seconds between two looks (default: 5)"),
            _option(
                "--timeout",
                type=values.seconds,
                metavar="SECONDS",
                default=3600.0,
                help="With --trigger: seconds after which to go on without the run's end (default: 3600)",
            ),
        ),
        ("", "--write gateway.json", "--trigger 3377 --from-task 108580"),
        description="Ask your gateway the questions that the EnOS documentation leaves open, and show how this package "
        "copes with each answer. Only reads, unless --trigger is given.",
    ),
)
"""All commands."""
