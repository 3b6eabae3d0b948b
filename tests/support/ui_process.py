"""``make ui`` in a process of its own, as a terminal runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import requests
from stack import of_sessions, tree, until

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "ui.py"
IS_READY = "Ctrl-C ends all of it."


class UiProcess:
    """The script, with a folder for what is temporary. It prints into a file there."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir(parents=True)
        self._output = folder / "printed"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(SCRIPT), *options],
                # The shell of somebody who has tried other things before.
                env={**os.environ, "TMPDIR": str(self.temporary), "AIRFLOW_CONN_ENOS_DEFAULT": "enos://elsewhere"},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._session = requests.Session()
        self._seen: set[int] = set()

    @property
    def printed(self) -> str:
        return self._output.read_text()

    def wait_for(self, text: str, seconds: float) -> None:
        """Wait until it has printed this."""
        until(lambda: text in self.printed or self.code is not None, seconds, text, lambda: self.printed)
        assert text in self.printed, self.printed

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    @property
    def url(self) -> str:
        return self.pages[0]

    @property
    def pages(self) -> list[str]:
        """The addresses that it tells to look at: Airflow itself, and pages of it."""
        return re.findall(r"^ +(http://127\.0\.0\.1:\d+\S*)$", self.printed, re.M)

    @property
    def processes(self) -> list[psutil.Process]:
        """The script itself, and all that it has started."""
        self._note_processes()
        return tree(self._process.pid)

    def _note_processes(self) -> None:
        """Keep their ids: once it has ended nobody knows what it had started."""
        self._seen.update(process.pid for process in tree(self._process.pid))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process group, as a terminal does for Ctrl-C."""
        self._note_processes()
        os.killpg(self._process.pid, number)

    def wait_for_its_end(self, seconds: float) -> list[psutil.Process]:
        """Wait until it has ended. Return what is left of the processes that it had started, and of theirs."""
        until(lambda: self.code is not None, seconds, "its end", lambda: self.printed)
        return of_sessions(self._seen)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call Airflow's REST API."""
        if "Authorization" not in self._session.headers:
            token = self._session.get(f"{self.url}/auth/token", timeout=30).json()["access_token"]
            self._session.headers["Authorization"] = f"Bearer {token}"
        answer = self._session.request(method, f"{self.url}/api/v2/{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def kill(self) -> None:
        """End it, whatever state it is in."""
        self._note_processes()
        for process in of_sessions(self._seen):
            process.kill()
        self._process.wait(10)
        self._session.close()
