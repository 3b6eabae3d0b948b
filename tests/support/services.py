"""PostgreSQL and Redis for a test, from what the machine has of them: processes, ports and folders of their own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stack import free_port, until

POSTGRES_FOLDERS = "/usr/lib/postgresql"
"""Where Debian has it, a folder for each version; its programs are not on the path."""


class _Service:
    """A process that is started and stopped; it writes to ``log``."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def _serve(self, command: Sequence[object], user: Mapping[str, Any], input_text: str = "") -> None:
        with self._log.open("ab") as output:
            options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": output, "stderr": output, **user}
            self._process = subprocess.Popen([str(word) for word in command], start_new_session=True, **options)
        assert self._process.stdin is not None
        self._process.stdin.write(input_text.encode())
        self._process.stdin.close()

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # means to both: stop at once, even with clients connected
            self._process.wait(30)


class Postgres(_Service):
    """A server with an empty database; its files are gone once it is stopped."""

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self._port, self._password = free_port(), secrets.token_hex(16)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.address = f"airflow:{self._password}@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        programs = postgres_programs()
        self._folder = tempfile.TemporaryDirectory(prefix="enos-postgres-")
        folder = Path(self._folder.name)
        data, password_file = folder / "data", folder / "password"
        password_file.write_text(self._password)
        user = _user_for(folder, password_file)
        make = [programs / "initdb", "--no-sync", "--username=airflow", "--encoding=UTF8", "--locale=C"]
        make += ["--auth=scram-sha-256", f"--pwfile={password_file}", f"--pgdata={data}"]
        with self._log.open("wb") as output:
            subprocess.run(make, check=True, stdout=output, stderr=output, **user)
        serve: list[object] = [programs / "postgres", "-D", data, "-k", folder, "-p", self._port]
        # What a test leaves in the database need not outlive the machine.
        for setting in ("listen_addresses=127.0.0.1", "max_connections=300", "fsync=off"):
            serve += ["-c", setting]
        self._serve(serve, user)
        ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        until(lambda: subprocess.run(ready, check=False).returncode == 0, 30, f"PostgreSQL, see {self._log}")

    def stop(self) -> None:
        super().stop()
        if self._folder is not None:
            self._folder.cleanup()


class Redis(_Service):
    """A server that keeps nothing on disk."""

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self._port, self._password = free_port(), secrets.token_hex(16)
        self.url = f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def start(self) -> None:
        lines = ("bind 127.0.0.1", f"port {self._port}", f"requirepass {self._password}", 'save ""', "appendonly no")
        self._serve([redis_program(), "-"], {"cwd": self._log.parent}, "\n".join([*lines, ""]))
        until(lambda: "Ready to accept connections" in self._log.read_text(), 30, f"Redis, see {self._log}")


def _user_for(folder: Path, *files: Path) -> dict[str, Any]:
    """Return the user for a process in ``folder``. PostgreSQL refuses to run as root, and installs a user for that."""
    if os.geteuid():
        return {"cwd": folder}
    for file in (folder, *files):
        shutil.chown(file, "postgres", "postgres")
    return {"cwd": folder, "user": "postgres", "group": "postgres", "extra_groups": []}


def postgres_programs(folders: str = POSTGRES_FOLDERS) -> Path:
    """The folder of PostgreSQL's programs, of the newest version that is installed; ends with a message without one."""
    found = shutil.which("initdb")
    versions = [folder for folder in Path(folders).glob("*/bin") if (folder / "initdb").exists()]
    if not found and not versions:
        sys.exit("PostgreSQL is not installed: apt-get install postgresql")
    if versions:
        return max(versions, key=lambda folder: float(folder.parent.name))
    return Path(str(found)).resolve().parent


def redis_program() -> str:
    """Where redis-server is; ends with a message if it is not installed."""
    return shutil.which("redis-server") or sys.exit("Redis is not installed: apt-get install redis-server")
