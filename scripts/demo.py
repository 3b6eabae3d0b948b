"""``make demo``: run an example DAG through Airflow against the embedded simulator, and show both sides of it.

``DAG`` in the environment names another example DAG, ``DEMO_TIMEOUT`` how many seconds it may take (300).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.simulator.instances import NodeInstance

PROJECT = Path(__file__).resolve().parent.parent
HOME = PROJECT / ".demo"
DAG_ID = os.environ.get("DAG") or "enos_trigger_and_wait"
DOCUMENTED_TIME = "2020-07-06T06:26:59.108+00:00"
"""The trigger time of the sample in the EnOS documentation, 1594016819108."""
WAITS_FOR_SCHEDULES = {"enos_wait_for_schedule"}
"""DAGs that wait for instances of the last day, which the schedules of the simulator's flows have started."""
TIMEOUT = float(os.environ.get("DEMO_TIMEOUT") or 300)
DOCUMENTED = "3377-20200706062600"

# A line of Airflow's log: time, level, message, and the logger, which is ours for lines of operators and sensors.
OUR_LINE = re.compile(r"\S+T(?P<time>[\d:]{8})\S* \[\w+ *\] (?P<text>.*?) +\[\S*\.airflow_provider_enos\.\S*\]")
ERROR_LINE = re.compile(r"airflow_provider_enos\.errors\.(?P<text>Enos\w+: .*)")
TASK_LINE = re.compile(r"\[DAG TEST\] (?P<what>starting|end task) task_id=(?P<task>\S+)")


def main() -> int:
    known = sorted(path.stem for path in (PROJECT / "example_dags").glob("*.py"))
    if DAG_ID not in known:
        print(f"There is no example DAG {DAG_ID!r}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    logical_date = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S+00:00}" if DAG_ID in WAITS_FOR_SCHEDULES else DOCUMENTED_TIME
    HOME.mkdir(exist_ok=True)
    log = HOME / "airflow.log"
    started = time.monotonic()
    with (
        EnosSimulator(progress=("seconds", 8), schedules=DAG_ID in WAITS_FOR_SCHEDULES) as sim,
        log.open("w") as log_file,
    ):
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(HOME),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "example_dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_ENOS_DEFAULT": sim.connection_json,
            "NO_COLOR": "1",
        }
        print(f"EnOS    a simulated gateway at {sim.url}; it has the flow 3377 of the documentation")
        print(f"Airflow a home of its own in {HOME.relative_to(PROJECT)}/, log in {log.relative_to(PROJECT)}")
        (HOME / "airflow.db").unlink(missing_ok=True)
        subprocess.run(airflow("db", "migrate"), env=environment, stdout=log_file, stderr=log_file, check=True)
        print(f"\n$ airflow dags test {DAG_ID} {logical_date}")
        passed = run_dag(environment, logical_date, log_file)
        show_instances(sim)
        print(f"\n{time.monotonic() - started:.0f} s, {len(sim.requests)} requests to the gateway.")
    if passed is None:
        print(
            f"The DAG run has not ended after {TIMEOUT:g} s, and was stopped. The lines above say what it waited for.\n"
            "A sensor waits for ever if nothing starts an instance of its flow. For the flows of the simulator, and\n"
            "which of them run by a schedule, see: python -m airflow_provider_enos.simulator --help\n"
            f"If the DAG is only slow, give it more time: DEMO_TIMEOUT={2 * TIMEOUT:g} make demo DAG={DAG_ID}\n"
            f"The whole log is in {log}",
            file=sys.stderr,
        )
        return 1
    if passed:
        return 0
    print(f"The DAG run did not succeed: see {log}", file=sys.stderr)
    return 1


def airflow(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "airflow", *arguments]


def run_dag(environment: dict[str, str], logical_date: str, log_file: TextIO) -> bool | None:
    """Run the DAG, print the lines of our operators and sensors, and keep all lines in the log.

    Return whether the run succeeded; None where it did not end in time.
    """
    passed = False
    timed_out = threading.Event()
    with subprocess.Popen(
        airflow("dags", "test", DAG_ID, logical_date),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:

        def stop() -> None:
            timed_out.set()
            os.killpg(process.pid, signal.SIGKILL)

        watchdog = threading.Timer(TIMEOUT, stop)
        watchdog.start()
        try:
            for line in process.stdout or ():
                log_file.write(line)
                passed = passed or ("DagRun Finished" in line and "state=success" in line)
                if shown := worth_showing(line):
                    print(f"  {shown}", flush=True)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            watchdog.cancel()
    return None if timed_out.is_set() else passed and process.returncode == 0


def worth_showing(line: str) -> str | None:
    """Return what to print of a line of Airflow's log, or None."""
    if found := OUR_LINE.match(line):
        return f"{found['time']} {found['text']}"
    if found := ERROR_LINE.match(line):
        return found["text"]
    if found := TASK_LINE.search(line):
        return f"--- {'task' if found['what'] == 'starting' else 'end of'} {found['task']}"
    return None


def show_instances(sim: EnosSimulator) -> None:
    instances = [instance for instance in sim.instances if instance.type is None]
    print("\nWhat EnOS has:")
    if by_schedule := len(sim.instances) - len(instances):
        print(f"  {by_schedule} flow instances that schedules have started")
    for instance in instances:
        note = "  (as in the EnOS documentation)" if instance.id == DOCUMENTED else ""
        print(f"  flow instance {instance.id}  {instance.status}{note}")
        for node in instance.nodes:
            started_from = "  <- from_task_id" if node.task_id == instance.from_task_id else ""
            print(f"    {node.status:8} {node.name:10} {node.task_instance_id}  {times(node)}{started_from}".rstrip())


def times(node: NodeInstance) -> str:
    """Return when a node started and ended."""
    texts = [
        "" if moment is None else f"{datetime.fromtimestamp(moment / 1000):%H:%M:%S}"
        for moment in (node.started_at, node.ended_at)
    ]
    return " to ".join(texts) if any(texts) else " " * 20


if __name__ == "__main__":
    sys.exit(main())
