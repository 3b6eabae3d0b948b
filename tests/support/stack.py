"""A real Airflow 3 on this machine: API server, scheduler, DAG processor, triggerer, LocalExecutor, SQLite."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import psutil
import requests

PARTS = ("api-server", "scheduler", "dag-processor", "triggerer")
PATIENCE = float(os.environ.get("ENOS_TESTS_PATIENCE", "5"))
"""How many times as long as a quiet machine takes at most: others may be slow, or busy."""


class Simulator:
    """The gateway in a process of its own, driven over its control path."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "airflow_provider_enos.simulator", "--quiet", "--no-schedules", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self.connection = line.split("=", 1)[1].strip().strip("'")
        parts = json.loads(self.connection)
        self.url = f"http://{parts['host']}:{parts['port']}"

    def restart(self, down: float = 0.0) -> None:
        """Stop it, and start it on the same port after ``down`` seconds. It keeps what its options say."""
        self.stop()
        time.sleep(down)
        self._options = (*self._options, "--port", self.url.rpartition(":")[2])
        self._start()

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> None:
        requests.post(f"{self.url}/_simulator/{path}", json=body or {}, timeout=10).raise_for_status()

    def clear_faults(self) -> None:
        requests.delete(f"{self.url}/_simulator/faults", timeout=10).raise_for_status()

    def hold(self, on: str, at: str, times: int = 1) -> None:
        self.post("holds", {"on": on, "at": at, "times": times})

    @property
    def held(self) -> list[int]:
        """The ids of the requests that are held, to release them by."""
        return [one["id"] for one in requests.get(f"{self.url}/_simulator/holds", timeout=10).json()["held"]]

    def wait_held(self, number: int = 1, seconds: float = 60) -> list[int]:
        """Wait until this many requests are held. Return their ids."""
        until(lambda: len(self.held) >= number, seconds, f"{number} requests to be held", pause=0.02)
        return self.held

    def release(self, held_id: int | None = None, *, drop: bool = False) -> None:
        self.post("holds/release", {"id": held_id, "drop": drop})

    def clear_holds(self) -> None:
        requests.delete(f"{self.url}/_simulator/holds", timeout=10).raise_for_status()

    @property
    def state(self) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/_simulator/state", timeout=10)
        answer.raise_for_status()
        return dict(answer.json())

    def instances(self, flow_id: int) -> list[dict[str, Any]]:
        return [one for one in self.state["instances"] if one["flow_id"] == flow_id]

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=10)


class Stack:
    """Airflow's processes, and its REST API.

    Where there are several of a part they are numbered: ``scheduler-1`` and ``scheduler-2``.
    """

    parts: tuple[str, ...] = PARTS
    api = "api/v2"
    base_path = ""
    new_run: Mapping[str, Any] = {"logical_date": None}
    for_good: Mapping[str, Any] = {}
    seconds_to_start: float = 180
    grace: float = 1
    """How many seconds the parts have to end by themselves."""

    def __init__(
        self, home: Path, dags: Path, connection: str, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}{self.base_path}"
        self._home = home
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=30",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            # Of its own, so that two stacks can stand side by side.
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
            "AIRFLOW_CONN_ENOS_DEFAULT": connection,
            **settings,
        }
        self._session = requests.Session()

    def start(self) -> None:
        with (self._home / "migrate.log").open("wb") as log:
            command = [sys.executable, "-m", "airflow", "db", "migrate"]
            subprocess.run(command, env=self._environment, stdout=log, stderr=log, check=True)
        for part in self.parts:
            self.start_part(part)
        self.log_in()

    def log_in(self) -> None:
        """Wait until the API answers, and get the token that it wants with each request."""
        until(
            lambda: self._session.get(f"{self.url}/api/v2/monitor/health", timeout=5).ok,
            self.seconds_to_start,
            "API server",
        )
        token = self._session.get(f"{self.url}/auth/token", timeout=10).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def start_part(self, part: str) -> None:
        with (self._home / f"{part}.log").open("ab") as log:
            self._parts[part] = subprocess.Popen(
                [sys.executable, "-m", "airflow", *self.command(part)],
                env=self.environment(part),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def command(self, part: str) -> list[str]:
        """Return what starts a part, after ``airflow``."""
        return [kind_of(part)]

    def environment(self, part: str) -> dict[str, str]:
        """Return the environment of a part's process."""
        return self._environment

    def stop_part(self, part: str, number: signal.Signals = signal.SIGTERM) -> None:
        process = self._parts.pop(part)
        os.killpg(process.pid, number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def has_part(self, part: str) -> bool:
        """Return whether it has been started, and not stopped since."""
        return part in self._parts

    def pid(self, part: str) -> int:
        return self._parts[part].pid

    def kill_part(self, part: str) -> int:
        """Kill a part and its child processes, as a crash of the machine does. Return the number of processes."""
        victims = tree(self.pid(part))
        for process in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.forget_part(part)
        return len(victims)

    def revive(self) -> list[str]:
        """Start the parts again that have ended by themselves, as a supervisor does. Return which."""
        ended = [part for part, process in self._parts.items() if process.poll() is not None]
        for part in ended:
            self.forget_part(part)
            self.start_part(part)
        return ended

    def forget_part(self, part: str) -> None:
        """Make sure that a killed part is gone, so that it can be started again."""
        process = self._parts.pop(part)
        process.kill()
        process.wait(10)

    @property
    def database(self) -> Path:
        return self._home / "airflow.db"

    def stop(self) -> None:
        """End the parts and all that they have started. Airflow's own end would wait for running tasks."""
        sessions = {process.pid for process in self._parts.values()}
        for pid in sessions:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter for a zombie, on macOS
                os.killpg(pid, signal.SIGTERM)
        end = time.monotonic() + self.grace
        while of_sessions(sessions) and time.monotonic() < end:
            time.sleep(0.1)
        while left := of_sessions(sessions):
            for one in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            psutil.wait_procs(left, 10)
        for process in self._parts.values():
            process.wait(10)
        self._session.close()

    def log(self, part: str) -> str:
        return (self._home / f"{part}.log").read_text(errors="replace")

    @property
    def alerts(self) -> str:
        """What callbacks of deadlines have logged: in the triggerer's log, and from Airflow 3.4 on in their own."""
        own = (self._home / "logs" / "triggerer_callbacks").rglob("*.log")
        return self.log("triggerer") + "".join(path.read_text(errors="replace") for path in own)

    def command_line(self, *arguments: str) -> None:
        """Run a command of Airflow on this machine."""
        command = [sys.executable, "-m", "airflow", *arguments]
        subprocess.run(command, env=self._environment, check=True, capture_output=True)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        # SQLite refuses a write while another one is under way: then nothing was done.
        for _ in range(10):
            answer = self._session.request(method, f"{self.url}/{self.api}/{path}", json=body, timeout=60)
            if answer.status_code != 500 or "Database error" not in answer.text:
                break
            time.sleep(0.5)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def wait_for_dag(self, dag_id: str) -> None:
        until(lambda: self._session.get(f"{self.url}/{self.api}/dags/{dag_id}", timeout=10).ok, 60, f"DAG {dag_id}")

    def run(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> Run:
        self.wait_for_dag(dag_id)
        run = self.call("POST", f"dags/{dag_id}/dagRuns", {**self.new_run, "conf": conf or {}})
        return Run(self, dag_id, run["dag_run_id"])


class Run:
    """One run of a DAG, and a task of it; most have only one, ``task``."""

    def __init__(self, stack: Stack, dag_id: str, run_id: str, task_id: str = "task") -> None:
        self._stack = stack
        self.dag_id = dag_id
        self.run_id = run_id
        self.task_id = task_id

    def of_task(self, task_id: str) -> Run:
        """Return the same run, with another task of it."""
        return Run(self._stack, self.dag_id, self.run_id, task_id)

    @property
    def _path(self) -> str:
        return f"dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/{self.task_id}"

    @property
    def task(self) -> dict[str, Any]:
        return dict(self._stack.call("GET", self._path))

    def wait_for(self, *states: str, seconds: float = 60) -> dict[str, Any]:
        until(lambda: self.task["state"] in states, seconds, f"{self.dag_id}: {states}", lambda: self.task["state"])
        return self.task

    def wait_for_run(self, state: str, seconds: float = 60) -> None:
        """Wait for the run itself: Airflow ends it a moment after its last task."""
        path = f"dags/{self.dag_id}/dagRuns/{self.run_id}"
        until(lambda: self._stack.call("GET", path)["state"] == state, seconds, f"run of {self.dag_id}: {state}")

    def kill(self, *, supervisor: bool = False) -> None:
        """Kill the running task's process and its supervisor, as a crash of the machine does."""
        pid = self.task["pid"]
        if supervisor:
            parent = subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=True)
            os.kill(int(parent.stdout), signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)

    def mark_failed(self) -> None:
        self._stack.call("PATCH", self._path, {"new_state": "failed", **self._stack.for_good})

    def clear(self, **options: Any) -> None:
        """Clear the task. ``options``: more of Airflow's clear, such as ``keep_task_state`` of 3.4."""
        body = {"dry_run": False, "task_ids": [self.task_id], "dag_run_id": self.run_id, "only_failed": False}
        body["reset_dag_runs"] = True  # Airflow 2 leaves the run as it is
        self._stack.call("POST", f"dags/{self.dag_id}/clearTaskInstances", {**body, **options})

    def clear_run(self) -> None:
        """Clear the whole run."""
        self._stack.call("POST", f"dags/{self.dag_id}/dagRuns/{self.run_id}/clear", {"dry_run": False})

    def clear_by_command(self) -> None:
        """Clear all tasks of all runs of the DAG."""
        self._stack.command_line("tasks", "clear", "--yes", self.dag_id)

    @property
    def state_keys(self) -> list[str]:
        """The names of what the task state store of Airflow 3.3 has for the task."""
        return [one["key"] for one in self._stack.call("GET", f"{self._path}/state-store")["task_state_store"]]

    def xcom(self, key: str = "return_value") -> Any:
        return self._stack.call("GET", f"{self._path}/xcomEntries/{key}")["value"]

    def log(self, try_number: int = 1) -> str:
        return json.dumps(self._stack.call("GET", f"{self._path}/logs/{try_number}"))


def until(
    condition: Callable[[], Any], seconds: float, what: str, seen: Callable[[], Any] = lambda: None, pause: float = 0.2
) -> None:
    """Wait for ``condition``. Fail with ``what`` was waited for, and what was seen instead.

    ``seconds``: on a quiet machine; others get more, see ``PATIENCE``.
    """
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(requests.ConnectionError, requests.Timeout):
            if condition():
                return
        time.sleep(pause)
    raise AssertionError(f"waited {seconds} s for: {what}; there is {seen()}")


def kind_of(part: str) -> str:
    """Return what a part is, without its number."""
    return re.sub(r"-\d+$", "", part)


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and its child processes; nothing if it is gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def of_sessions(sessions: Collection[int]) -> list[psutil.Process]:
    """Return the live processes of these sessions. A task has a process group of its own, but not a session."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) in sessions and (one := psutil.Process(pid)).status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found


def free_port() -> int:
    """Return a free port outside the range from which the system chooses, so that nobody takes it before it is used."""
    while True:
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


AnyStack = TypeVar("AnyStack", bound=Stack)


@contextlib.contextmanager
def running(
    home: Path,
    dags: Path,
    *options: str,
    settings: Mapping[str, str] = MappingProxyType({}),
    kind: type[AnyStack] = Stack,  # type: ignore[assignment]
) -> Iterator[tuple[AnyStack, Simulator]]:
    """A simulator with these options, and an Airflow with these settings whose ``enos_default`` leads to it."""
    simulator = Simulator(*options)
    stack = kind(home, dags, simulator.connection, settings)
    try:
        stack.start()
        yield stack, simulator
    finally:
        stack.stop()
        simulator.stop()
