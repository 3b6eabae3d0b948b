"""``make ui``: Airflow with its pages, the example DAGs, and a simulated EnOS gateway, to look at and to try.

It prints an address and what to click. Ctrl-C ends all of it. It listens on 127.0.0.1 only, and keeps everything in a
temporary folder, which it removes at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import requests

PROJECT = Path(__file__).resolve().parent.parent
sys.path.append(str(PROJECT / "tests" / "support"))
from airflows import AIRFLOW  # noqa: E402
from stack import PARTS, Stack  # noqa: E402

from airflow_provider_enos.simulator import EnosSimulator, Node  # noqa: E402

TOUR = ("tour_1_fails", "tour_2_slow", "tour_3_waits")
BY_TIME = r"[\d*@]"
"""How the summary of a cron schedule begins."""
NEEDS = {"enos_outlet_by_day": (3, 3)}
"""Example DAGs that need a newer Airflow than 3.0."""
SECONDS_TO_START = 300
TAIL = 20
"""How many lines of the log are printed of a part that has ended by itself."""
WHY_LOAD_FAILED = """\
{started} INFO  load: 96 tariffs read from stage.tariffs
{ended} ERROR load: cannot write to dw.tariffs
Traceback (most recent call last):
  File "load.py", line 41, in main
    table.write(rows)
  File "load.py", line 17, in write
    raise ColumnMissing(column)
ColumnMissing: dw.tariffs has no column 'valid_until'"""

TOO_OLD = """\
make ui needs Airflow 3, and this is Airflow {airflow}.
On Airflow 2.11, make demo runs an example DAG against the same simulated gateway."""
WHAT_TO_LOOK_AT = """
Airflow is ready after {seconds:.0f} s, for this machine only, without a password:

  {url}

What to look at:

  A flow that fails: which node, and why?
    {url}/dags/tour_1_fails/runs/tour/tasks/load_tariffs{tab}

  A flow of five minutes, while its nodes run:
    {url}/dags/tour_2_slow/runs/tour/tasks/settle_month{tab}

  Many tasks that wait, each for a flow of its own, and use no worker:
    {url}/dags/tour_3_waits/runs/tour/tasks/read_site/mapped

  A flow that you start yourself: click Trigger. Its end starts the DAG enos_run_on_flow_end.
    {url}/dags/enos_trigger_and_wait

  The connection: its form, and its test.
    {url}/connections

Ctrl-C ends all of it."""


class Stopped(Exception):
    """Somebody wants it to end."""


class Stop:
    """Whether somebody wants it to end. Not an Event: a signal would find its lock taken by whom it interrupts."""

    wanted = False

    def listen(self) -> None:
        """Listen for Ctrl-C, SIGTERM, and the end of the terminal, unless that is ignored, as nohup does."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._want)

    def _want(self, *_: object) -> None:
        self.wanted = True


class Broken(Exception):
    """A part has ended by itself, or does not start. The text says which, and shows the end of its log."""


class Ui(Stack):
    """Airflow's processes, which are watched while they start and run."""

    grace = 3

    def __init__(self, home: Path, sim: EnosSimulator, waits: int, stop: Stop) -> None:
        settings = {
            # Those with a schedule, which would all start at once.
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "ENOS_UI_WAITS": str(waits),
        }
        self._dags = link_dags(home / "dags")
        super().__init__(home, self._dags, sim.connection_json, settings)
        # It is in the database instead, so that one can look at it, test it and change it in Airflow's pages.
        del self._environment["AIRFLOW_CONN_ENOS_DEFAULT"]
        self._sim = sim
        self._stop = stop

    def command(self, part: str) -> list[str]:
        if part == "migration":
            return ["db", "migrate"]
        # Logs are served on all addresses of the machine. The API server reads their files itself.
        return [part, "--skip-serve-logs"] if part in ("scheduler", "triggerer") else [part]

    def start(self) -> None:
        """Start all of it, and the runs of the tour. Raise Stopped or Broken if it comes to nothing."""
        self.start_part("migration")
        self.wait("the database", lambda: self.has_ended("migration"))
        self.forget_part("migration")
        for part in ("api-server", "dag-processor"):
            self.start_part(part)
        self.wait("the API server", self.answers)
        self.log_in()
        # Before anything runs that needs it.
        connection = json.loads(self._sim.connection_json)
        extra = json.dumps(connection.pop("extra"))
        self.call("POST", "connections", {"connection_id": "enos_default", **connection, "extra": extra})
        for part in PARTS:
            if not self.has_part(part):
                self.start_part(part)
        self.wait("all DAGs", self.has_dags)
        for dag in self.dags:
            if not re.match(BY_TIME, dag["timetable_summary"] or ""):
                self.call("PATCH", f"dags/{dag['dag_id']}", {"is_paused": False})
        for dag_id in TOUR:
            self.call("POST", f"dags/{dag_id}/dagRuns", {**self.new_run, "dag_run_id": "tour"})

    def wait(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait for something that is starting."""
        end = time.monotonic() + SECONDS_TO_START
        while not condition():
            self.look_after(0.2)
            if time.monotonic() > end:
                logs = "\n".join(self.end_of_log(part) for part in self._parts)
                raise Broken(f"After {SECONDS_TO_START} s there is not yet {what}.\n{logs}")

    def look_after(self, seconds: float) -> None:
        """Pass some time. Raise Stopped once it is to end, Broken once a part has ended by itself."""
        time.sleep(seconds)
        if self._stop.wanted:
            raise Stopped
        for part, process in self._parts.items():
            code = process.poll()
            if code is not None and (part, code) != ("migration", 0):
                raise Broken(f"Airflow's {part} has ended by itself, with exit code {code}.\n{self.end_of_log(part)}")

    def has_ended(self, part: str) -> bool:
        return self._parts[part].poll() == 0

    def answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return self._session.get(f"{self.url}/{self.api}/monitor/health", timeout=5).ok
        return False

    def has_dags(self) -> bool:
        """Return whether each file has been read, for better or worse."""
        broken = [one["filename"] for one in self.call("GET", "importErrors")["import_errors"]]
        read = {Path(name).name for name in (*broken, *(dag["fileloc"] for dag in self.dags))}
        return read >= {path.name for path in self._dags.iterdir()}

    @property
    def dags(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "dags?limit=100")["dags"])

    def end_of_log(self, part: str) -> str:
        lines = self.log(part).splitlines()[-TAIL:]
        return "\n".join([f"The end of the log of {part}:", *(f"  {line}" for line in lines)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP. Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waits", type=int, default=50, help="how many tasks wait in the DAG tour_3_waits (50)")
    waits: int = parser.parse_args(arguments).waits
    if AIRFLOW < (3, 0):
        say(TOO_OLD.format(airflow=version("apache-airflow")), sys.stderr)
        return 2
    stop = Stop()
    stop.listen()
    forget_settings()
    with (
        tempfile.TemporaryDirectory(prefix="enos-ui-") as home,
        EnosSimulator(progress=("seconds", 20), schedules=True) as sim,
    ):
        add_flows(sim, waits)
        ui = Ui(Path(home), sim, waits, stop)
        try:
            return show(ui)
        finally:
            ui.stop()


def show(ui: Ui) -> int:
    """Start all of it, print what to look at, and wait until it is to end. Return the exit code."""
    started = time.monotonic()
    try:
        say(f"Starting Airflow {version('apache-airflow')} and a simulated EnOS gateway, in about half a minute ...")
        ui.start()
        tab = "/plugin/enos" if AIRFLOW >= (3, 1) else ""
        say(WHAT_TO_LOOK_AT.format(seconds=time.monotonic() - started, url=ui.url, tab=tab))
        while True:
            ui.look_after(0.5)
    except Stopped:
        say("\nEnding all of it ...")
        return 0
    except Broken as error:
        say(f"\n{error}", sys.stderr)
    except (requests.RequestException, AssertionError) as error:
        say(f"\nAirflow's API does not do what it is asked: {error}\n{ui.end_of_log('api-server')}", sys.stderr)
    return 1


def say(text: str, where: object = None) -> None:
    print(text, file=where, flush=True)  # type: ignore[call-overload]


def forget_settings() -> None:
    """Forget what the shell says about another Airflow, and use no proxy for this machine."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1")))


def link_dags(folder: Path) -> Path:
    """Make a folder of DAGs that has the example DAGs which this Airflow can run, and those of the tour."""
    folder.mkdir()
    for path in [*PROJECT.glob("example_dags/*.py"), *PROJECT.glob("scripts/ui_dags/*.py")]:
        if NEEDS.get(path.stem, ()) <= AIRFLOW:
            (folder / path.name).symlink_to(path)
    return folder


def add_flows(sim: EnosSimulator, waits: int) -> None:
    """Add the flows of the tour: 5101 fails, 5102 takes five minutes, 5201 and more are what many tasks wait for."""
    sim.add_flow(
        5101,
        name="tariffs_daily",
        tasks={
            51011: Node("extract", seconds=5),
            51012: Node("check", seconds=9),
            51013: Node("convert", seconds=6),
            51014: Node("load", seconds=7),
            51015: Node("report", seconds=5),
            51016: Node("archive", seconds=14),
        },
        relations=[
            (51011, 51012),
            (51011, 51013),
            (51012, 51014),
            (51013, 51014),
            (51014, 51015),
            (51011, 51016),
        ],
        ends_as="FAIL",
        failing_task=51014,
        logs={51014: WHY_LOAD_FAILED},
    )
    sim.add_flow(
        5102,
        name="settlement_monthly",
        tasks={
            51021: Node("read_meters", seconds=40),
            51022: Node("read_tariffs", seconds=25),
            51023: Node("validate", seconds=50),
            51024: Node("aggregate", seconds=110),
            51025: Node("settle", seconds=90),
            51026: Node("invoice", seconds=60),
            51027: Node("archive", seconds=30),
        },
        relations=[
            (51021, 51023),
            (51021, 51024),
            (51022, 51025),
            (51023, 51025),
            (51024, 51025),
            (51025, 51026),
            (51025, 51027),
        ],
    )
    for number in range(1, waits + 1):
        flow_id = 5200 + number
        nodes = {
            flow_id * 10 + 1: Node("read", seconds=300 + 8 * number),
            flow_id * 10 + 2: Node("write", seconds=20 + number % 7),
        }
        sim.add_flow(flow_id, name=f"site_{number:02}", tasks=nodes)


if __name__ == "__main__":
    sys.exit(main())
