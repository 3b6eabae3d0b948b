"""Runs a DAG through Airflow, in a process and a home of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from airflow_provider_enos.simulator import EnosSimulator

HERE = Path(__file__).resolve().parent


def environment(home: Path, dags: Path) -> dict[str, str]:
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    }


def new_home(migrated_home: Path, home: Path) -> None:
    """Put an empty database into ``home``."""
    shutil.copy(migrated_home / "airflow.db", home)


def run_dag(
    file: Path, dag_id: str, home: Path, sim: EnosSimulator, runner: str = "run_dag", **configured: str
) -> dict[str, Any]:
    """What the runner says of the DAG's run, and all that was printed: no warning of ours, and no secret."""
    process = subprocess.run(
        [sys.executable, str(HERE / f"{runner}.py"), str(file), dag_id],
        env={**environment(home, file.parent), **configured, "AIRFLOW_CONN_ENOS_DEFAULT": sim.connection_json},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    printed = process.stdout + process.stderr
    assert process.returncode == 0, printed
    # Airflow 3.4.0b2 logs an error behind the result, when it closes its database.
    (line,) = (line for line in process.stdout.splitlines() if line.startswith('{"'))
    result: dict[str, Any] = json.loads(line)
    assert not [line for line in printed.splitlines() if "Warning" in line and "airflow_provider_enos" in line]
    assert sim.secret_key not in printed
    return {**result, "printed": printed}
