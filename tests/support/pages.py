"""An Airflow whose pages the tests look at: with users of different rights, below a path, and with a simulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from stack import Run, Stack, until

from airflow_provider_enos.simulator import EnosSimulator

PASSWORD = "only for these tests"
USERS = {"admin": "admin", "viewer": "viewer", "stranger": ""}
"""Each with a role; the last one has none, so may see nothing."""


CONSOLE = "https://console.example/flows/{flow_id}?id={flow_instance_id}"


def with_console(connection: str) -> str:
    """The same connection, with a link to the console."""
    fields = json.loads(connection)
    return json.dumps(fields | {"extra": fields["extra"] | {"console_url": CONSOLE}})


class Pages(Stack):
    """Airflow below ``/some/airflow``, with a token for each of the users."""

    base_path = "/some/airflow"

    def __init__(self, home: Path, dags: Path, connection: str) -> None:
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps(dict.fromkeys(USERS, PASSWORD)))
        settings = {
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        }
        settings["AIRFLOW_CONN_ENOS_CONSOLE"] = with_console(connection)
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
        return f"{self.url}/dags/{run.dag_id}/runs/{run.run_id}/tasks/{run.task_id}{mapped}{tab}"


@dataclass
class Site:
    """An Airflow, the simulator to which its ``enos_default`` leads, and a run of each DAG once it is asked for."""

    stack: Pages
    sim: EnosSimulator
    runs: dict[str, Run] = field(default_factory=dict)
    watched: str = ""
    """The flow instance that the sensors wait for."""

    def run(self, dag_id: str, conf: dict[str, Any] | None = None) -> Run:
        """The run of this DAG, started at the first call."""
        if dag_id not in self.runs:
            self.runs[dag_id] = self.stack.run(dag_id, conf)
        return self.runs[dag_id]

    def ask(self, path: str, run: Run, user: str | None = "viewer", **more: str) -> requests.Response:
        """What the view answers about the task of the run. ``user``: None is somebody who is not signed in."""
        headers = {"Authorization": f"Bearer {self.stack.tokens[user]}"} if user else {}
        named = {"dag_id": run.dag_id, "run_id": run.run_id, "task_id": "task", "map_index": "{MAP_INDEX}"}
        return requests.get(f"{self.stack.url}/enos/{path}", named | more, headers=headers, timeout=30)


@contextmanager
def site(home: Path, dags: Path) -> Iterator[Site]:
    """An Airflow with the DAGs of this folder."""
    with EnosSimulator(log_grows=True) as sim:
        stack = Pages(home, dags, sim.connection_json)
        try:
            stack.start()
            yield Site(stack, sim)
        finally:
            stack.stop()
