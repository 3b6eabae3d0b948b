"""An Airflow whose pages are looked at: with users of different rights, below a path, and a simulator to play on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from stack import Run, Stack, until

from airflow_provider_enos.simulator import EnosSimulator

PASSWORD = "only for these tests"
USERS = {"admin": "admin", "viewer": "viewer", "stranger": ""}
"""Each with a role; the last one has none, so may see nothing."""


class Pages(Stack):
    """Airflow below ``/some/airflow``, with a token for each of the users."""

    base_path = "/some/airflow"

    def __init__(self, home: Path, dags: Path, connection: str) -> None:
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps(dict.fromkeys(USERS, PASSWORD)))
        settings = {
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        }
        super().__init__(home, dags, connection, settings)
        self.tokens: dict[str, str] = {}

    def log_in(self) -> None:
        until(lambda: self._session.get(f"{self.url}/api/v2/monitor/health", timeout=5).ok, 120, "API server")
        for user in USERS:
            answer = requests.post(f"{self.url}/auth/token", json={"username": user, "password": PASSWORD}, timeout=30)
            answer.raise_for_status()
            self.tokens[user] = answer.json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {self.tokens['admin']}"

    def page_of(self, run: Run, tab: str = "", map_index: int | None = None) -> str:
        """The address of a task instance's page in Airflow, or of a tab on it."""
        mapped = "" if map_index is None else f"/mapped/{map_index}"
        return f"{self.url}/dags/{run.dag_id}/runs/{run.run_id}/tasks/task{mapped}{tab}"


@contextmanager
def pages(home: Path, dags: Path) -> Iterator[tuple[Pages, EnosSimulator]]:
    """The Airflow, and the simulator to which its ``enos_default`` leads."""
    with EnosSimulator() as sim:
        stack = Pages(home, dags, sim.connection_uri)
        try:
            stack.start()
            yield stack, sim
        finally:
            stack.stop()
