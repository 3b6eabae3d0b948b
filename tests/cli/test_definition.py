"""The table of commands, as Airflow and as this package's own parser take it."""

from __future__ import annotations

import argparse
import shlex

import pytest

from airflow_provider_enos.cli import commands
from airflow_provider_enos.cli.definition import COMMANDS, COMMON, Command, get_enos_cli_commands, parser
from airflow_provider_enos.provider_info import get_provider_info


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_its_function(command: Command) -> None:
    assert callable(getattr(commands, command.name))


def test_airflow_is_told_of_them() -> None:
    assert get_provider_info()["cli"] == [f"{get_enos_cli_commands.__module__}.{get_enos_cli_commands.__name__}"]


def test_airflow_takes_the_same_options_as_the_module() -> None:
    (group,) = get_enos_cli_commands()
    assert group.name == "enos"
    for command in group.subcommands:
        airflows = argparse.ArgumentParser()
        for argument in command.args:
            argument.add_to_parser(airflows)
        subparsers = next(one for one in parser()._actions if isinstance(one, argparse._SubParsersAction))
        own = subparsers.choices[command.name]
        assert options_of(airflows) == options_of(own)
        assert (command.description, command.epilog) == (own.description, own.epilog)
        assert command.func.__name__ == command.name


def options_of(one: argparse.ArgumentParser) -> list[tuple[object, ...]]:
    # Of two flags Airflow wants the short one first: it sorts by the other.
    assert all(len(action.option_strings) <= 2 for action in one._actions)
    return [
        (action.dest, action.option_strings, action.default, action.type, action.help, action.metavar)
        for action in one._actions
    ]


@pytest.mark.parametrize(
    ("command", "example"), [(command, example) for command in COMMANDS for example in command.examples]
)
def test_every_example_of_the_help_can_be_given(command: Command, example: str) -> None:
    line = f"{command.name} {example}".strip()
    assert parser().parse_args(shlex.split(line)).subcommand == command.name


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_help_ends_with_examples(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args([command.name, "--help"])
    shown = capsys.readouterr().out
    lines = [f"  python -m airflow_provider_enos {command.name} {example}".rstrip() for example in command.examples]
    assert shown.endswith("\n".join(["", "Examples:", *lines, ""]))


def test_a_metavar_says_what_an_option_takes() -> None:
    taking = [
        option for command in COMMANDS for option in (*command.options, *COMMON) if "action" not in option.settings
    ]
    assert len(taking) > 20
    for option in taking:
        metavar = option.settings.get("metavar", "")
        assert "choices" in option.settings or metavar.isupper(), option.flags
