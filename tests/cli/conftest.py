"""Runs a command in this process, as ``python -m airflow_provider_enos`` does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_enos.__main__ import main
from airflow_provider_enos.simulator import EnosSimulator


@dataclass
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """The rows of the table in its output."""
        lines = self.out.splitlines()
        (ruler,) = (number for number, line in enumerate(lines) if line.startswith("==="))
        return [[cell.strip() for cell in line.split("|")] for line in lines[ruler + 1 :]]


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command."""

    def command(*arguments: object) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, captured.out, captured.err)

    return command


@pytest.fixture
def enos(run: Run, connection: EnosSimulator, short_pauses: None) -> Run:
    """Runs a command on the connection ``enos_default``, which leads to the simulator."""
    return run
