"""What the tests of the command line share: instances to ask for, and the error that a command ends with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_enos.simulator import EnosSimulator

Run = Callable[..., Any]
"""Runs a command; see tests/cli/conftest.py."""

PROGRAM = "python -m airflow_provider_enos"
TIME = "2020-07-06T06:26:59.108+00:00"
MINUTE = "20200706062600"
INSTANCE = f"3377-{MINUTE}"
TASK_INSTANCE = f"108580-{MINUTE}"
WAIT = ("--wait", "--poll-interval", "0.01")


def triggered(sim: EnosSimulator, flow_id: int, task_id: int) -> str:
    """The id of a new instance, of the minute of ``TIME``."""
    return sim.trigger(flow_id, task_id, 1594016819108).id


def error_line(ran: Any) -> str:
    """The one line that says what was wrong."""
    assert ran.code == 1
    # The log of a node may hold a traceback of its own, but not at the beginning of a line.
    assert "\nTraceback" not in f"\n{ran.err}"
    (line,) = (line for line in ran.err.splitlines() if line.startswith(PROGRAM))
    return str(line)
