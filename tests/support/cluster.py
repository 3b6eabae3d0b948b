"""A distributed Airflow on this machine: PostgreSQL, CeleryExecutor over Redis, and two of each part that Airflow
allows to run twice."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
from services import Postgres, Redis
from stack import Stack, free_port, kind_of, tree, until

WORKERS = ("worker-1", "worker-2")
SCHEDULERS = ("scheduler-1", "scheduler-2")
TRIGGERERS = ("triggerer-1", "triggerer-2")


class Cluster(Stack):
    """Airflow's processes on a database and a broker of their own."""

    parts = ("api-server", *SCHEDULERS, "dag-processor", *TRIGGERERS, *WORKERS)
    seconds_to_start = 240

    def __init__(
        self, home: Path, dags: Path, connection: str, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._postgres = Postgres(home / "postgres.log")
        self._redis = Redis(home / "redis.log")
        servers = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{self._postgres.address}",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CELERY__BROKER_URL": self._redis.url,
        }
        super().__init__(home, dags, connection, {**servers, **settings})

    def start(self) -> None:
        self._postgres.start()
        self._redis.start()
        super().start()
        for part in WORKERS:
            until(lambda part=part: " ready." in self.log(part), self.seconds_to_start, part)  # type: ignore[misc]

    def stop(self) -> None:
        super().stop()
        self._redis.stop()
        self._postgres.stop()

    def command(self, part: str) -> list[str]:
        if part not in WORKERS:
            return super().command(part)
        return ["celery", "worker", "--celery-hostname", part, "--pid", str(self._home / f"{part}.pid")]

    def environment(self, part: str) -> dict[str, str]:
        """Return the environment of a part. It has its own ports for logs: two equal parts cannot share one."""
        ports = {
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        }
        return {**super().environment(part), **ports} if kind_of(part) in ("worker", "triggerer") else self._environment

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Return what the database answers."""
        import psycopg2

        database = psycopg2.connect(f"postgresql://{self._postgres.address}")
        with contextlib.closing(database), database.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())


class Meter:
    """Count the CPU seconds of parts, also of processes that are killed later. Call ``look`` often."""

    def __init__(self, stack: Stack, parts: tuple[str, ...]) -> None:
        self._stack = stack
        self._parts = parts
        self._seconds: dict[tuple[int, float], float] = {}
        self._before = 0.0

    def begin(self) -> None:
        self.look()
        self._before = sum(self._seconds.values())

    def look(self) -> None:
        for part in self._parts:
            for process in tree(self._stack.pid(part)) if self._stack.has_part(part) else []:
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    self._seconds[process.pid, process.create_time()] = times.user + times.system

    @property
    def seconds(self) -> float:
        return sum(self._seconds.values()) - self._before
