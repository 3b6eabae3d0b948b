"""What all tests share: an Airflow home of their own, a simulator, and a connection to it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest

# Before anything imports Airflow, which reads it once.
_home = tempfile.TemporaryDirectory(prefix="enos-tests-")
os.environ["AIRFLOW_HOME"] = _home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{_home.name}/airflow.db"

from airflow_provider_enos.simulator import EnosSimulator  # noqa: E402


@pytest.fixture
def sim() -> Iterator[EnosSimulator]:
    """A simulator of the gateway, fresh for each test."""
    with EnosSimulator() as simulator:
        yield simulator


@pytest.fixture
def connection(sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> EnosSimulator:
    """The simulator, with ``enos_default`` leading to it."""
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)
    return sim


def pytest_unconfigure() -> None:
    _home.cleanup()
