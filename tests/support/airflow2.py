"""A real Airflow 2.11 on this machine, driven over its REST API as a real Airflow 3 is."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from stack import Stack, until

EVERYBODY_IS_ADMIN = 'AUTH_ROLE_PUBLIC = "Admin"\nWTF_CSRF_ENABLED = False\n'


class Airflow2(Stack):
    """Run Airflow 2 with the only executor that it has on SQLite: the scheduler itself runs one task at a time.

    While a task runs the scheduler does nothing else; it parses the DAG files itself.
    """

    parts = ("webserver", "scheduler")
    api = "api/v1"
    new_run = {}
    for_good = {"dry_run": False}

    def __init__(
        self, home: Path, dags: Path, connection: str, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        super().__init__(home, dags, connection)
        (home / "webserver_config.py").write_text(EVERYBODY_IS_ADMIN)
        self._environment |= {
            # It starts its tasks with the command `airflow`.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor",
            "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.default",
            "AIRFLOW__WEBSERVER__BASE_URL": self.url,
            "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(urlsplit(self.url).port),
            "AIRFLOW__WEBSERVER__WORKERS": "1",
            "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__SCHEDULER__LOCAL_TASK_JOB_HEARTBEAT_SEC": "1",
            # How soon it sees that the process of a task has been killed.
            "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "1",
            **settings,
        }

    def log_in(self) -> None:
        until(lambda: self._session.get(f"{self.url}/api/v1/health", timeout=5).ok, 120, "webserver")
        self._session.headers["Accept"] = "application/json"
