"""The table of commands, as Airflow and as this package's own parser take it."""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys

import pytest

from airflow_provider_enos.cli import commands
from airflow_provider_enos.cli.definition import COMMANDS, get_enos_cli_commands, parser
from airflow_provider_enos.provider_info import get_provider_info


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_its_function(command: object) -> None:
    assert callable(getattr(commands, command.name))  # type: ignore[attr-defined]


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
        assert command.func.__name__ == command.name


def options_of(one: argparse.ArgumentParser) -> list[tuple[object, ...]]:
    # Of two flags Airflow wants the short one first: it sorts by the other.
    assert all(len(action.option_strings) <= 2 for action in one._actions)
    return [(action.dest, action.option_strings, action.default, action.type, action.help) for action in one._actions]


def test_airflow_imports_next_to_nothing_for_its_help() -> None:
    """Every command of Airflow's loads this, also ``airflow version``."""
    code = (
        "import sys, airflow.cli.cli_config\n"
        "before = set(sys.modules)\n"
        "from airflow_provider_enos.cli import definition\n"
        "definition.get_enos_cli_commands(); definition.parser()\n"
        "fresh = set(sys.modules) - before\n"
        "print(sorted(name for name in fresh if name.split('.')[0] not in sys.stdlib_module_names))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    own = {"airflow_provider_enos", "airflow_provider_enos.cli", "airflow_provider_enos.cli.definition"}
    loaded = set(ast.literal_eval(printed.strip().splitlines()[-1]))
    assert "airflow_provider_enos.cli.definition" in loaded
    assert loaded <= own
