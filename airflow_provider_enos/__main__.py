"""``python -m airflow_provider_enos``: the commands of ``airflow enos``, with every version of Airflow."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout

from airflow_provider_enos.cli.definition import parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; ends with ``SystemExit``."""
    options = parser().parse_args(arguments)
    try:
        _load_airflow(quietly=not options.verbose)
        options.func(options)
    except KeyboardInterrupt:
        sys.exit(130)


def _load_airflow(*, quietly: bool) -> None:
    """Airflow says this and that while it is imported, some versions on stdout."""
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):
        if quietly:
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
        try:
            import airflow_provider_enos.cli.commands  # noqa: F401
        finally:
            logging.disable(logging.NOTSET)


if __name__ == "__main__":
    main()
