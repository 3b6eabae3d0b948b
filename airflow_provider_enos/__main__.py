"""``python -m airflow_provider_enos``: the commands of ``airflow enos``, with every version of Airflow."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from types import ModuleType

from airflow_provider_enos.cli.definition import parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; end with ``SystemExit``."""
    options = parser().parse_args(arguments)
    try:
        commands = _load_commands(quietly=not options.verbose)
        getattr(commands, options.subcommand)(options)
    except KeyboardInterrupt:
        sys.exit(130)


def _load_commands(*, quietly: bool) -> ModuleType:
    """Import the commands. This imports Airflow, which prints warnings, some versions of it on stdout."""
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):
        if quietly:
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
        try:
            from airflow_provider_enos.cli import commands
        finally:
            logging.disable(logging.NOTSET)
    return commands


if __name__ == "__main__":
    main()
