"""Where the tests depend on the version of Airflow."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
"""Major and minor: ``(3, 3)``."""


def dag_bag(path: Path) -> Any:
    """Return the DAGs of a file or folder."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow before 3.2
        from airflow.models import DagBag
    return DagBag(path)
