"""The fixture for tests of users' own DAGs, used as the documentation shows it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from airflow_provider_enos.errors import EnosServerError
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.simulator import EnosSimulator

# By name, which is the other way to have it.
from airflow_provider_enos.testing.pytest_plugin import enos_simulator  # noqa: F401

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "docs" / "examples"


def test_the_connection_leads_to_it(enos_simulator: EnosSimulator) -> None:  # noqa: F811
    assert EnosHook().test_connection()[0]
    assert {record.path.split("/")[1] for record in enos_simulator.requests} == {
        "apim-token-service",
        "batch-processing-service",
    }


def test_repetitions_do_not_hold_up_a_test(enos_simulator: EnosSimulator) -> None:  # noqa: F811
    enos_simulator.fault("http_503", on="flows/get", times=None)
    started = time.monotonic()
    with pytest.raises(EnosServerError):
        EnosHook().get_flow(3377)
    assert enos_simulator.count("flows/get") == 4
    assert time.monotonic() - started < 3


def test_the_tests_of_the_documentation_pass(migrated_home: Path, tmp_path: Path) -> None:
    """The DAG looks every 30 s, and one of its instances ends at the sixth look: nobody waits for that."""
    shutil.copytree(EXAMPLES, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(migrated_home / "airflow.db", tmp_path)
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--verbose"],
        cwd=tmp_path / "project",
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CONN_")},
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    written = len(re.findall("^def test_", (EXAMPLES / "test_meter_readings.py").read_text(), re.M))
    assert process.returncode == 0, process.stdout
    assert process.stdout.count(" PASSED") == written + 1
    assert not re.findall(r"airflow_provider_enos.*Warning", process.stdout)
