"""``make demo``: runs an example DAG through Airflow against the embedded simulator, and shows both sides of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from airflow_provider_enos.simulator import EnosSimulator

PROJECT = Path(__file__).resolve().parent.parent
HOME = PROJECT / ".demo"
DAG_ID = os.environ.get("DAG") or "enos_trigger_and_wait"
LOGICAL_DATE = "2020-07-06T06:26:59.108+00:00"
"""The trigger time of the sample in the EnOS documentation, 1594016819108."""
DOCUMENTED = "3377-20200706062600"

# A line of Airflow's log: time, level, message, and the logger, which is ours for lines of operators and sensors.
OUR_LINE = re.compile(r"\S+T(?P<time>[\d:]{8})\S* \[\w+ *\] (?P<text>.*?) +\[\S*\.airflow_provider_enos\.\S*\]")
ERROR_LINE = re.compile(r"airflow_provider_enos\.errors\.(?P<text>Enos\w+: .*)")
TASK_LINE = re.compile(r"\[DAG TEST\] (?P<what>starting|end task) task_id=(?P<task>\S+)")


def main() -> int:
    HOME.mkdir(exist_ok=True)
    log = HOME / "airflow.log"
    started = time.monotonic()
    with EnosSimulator(progress=("seconds", 8)) as sim, log.open("w") as log_file:
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(HOME),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "example_dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_ENOS_DEFAULT": sim.connection_json,
            "NO_COLOR": "1",
        }
        print(f"EnOS    a simulated gateway at {sim.url}; it holds the documentation's flow 3377")
        print(f"Airflow a home of its own in {HOME.relative_to(PROJECT)}/, log in {log.relative_to(PROJECT)}")
        (HOME / "airflow.db").unlink(missing_ok=True)
        subprocess.run(airflow("db", "migrate"), env=environment, stdout=log_file, stderr=log_file, check=True)
        print(f"\n$ airflow dags test {DAG_ID} {LOGICAL_DATE}")
        passed = run_dag(environment, log_file)
        show_instances(sim)
        print(f"\n{time.monotonic() - started:.0f} s, {len(sim.requests)} requests to the gateway.")
    if passed:
        return 0
    print(f"The DAG run did not succeed: see {log}", file=sys.stderr)
    return 1


def airflow(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "airflow", *arguments]


def run_dag(environment: dict[str, str], log_file: object) -> bool:
    """Runs it, shows the lines of our operators and sensors, keeps all of them in the log."""
    passed = False
    with subprocess.Popen(
        airflow("dags", "test", DAG_ID, LOGICAL_DATE),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout or ():
            log_file.write(line)  # type: ignore[attr-defined]
            passed = passed or ("DagRun Finished" in line and "state=success" in line)
            if found := OUR_LINE.match(line):
                print(f"  {found['time']} {found['text']}", flush=True)
            elif found := ERROR_LINE.match(line):
                print(f"  {found['text']}", flush=True)
            elif found := TASK_LINE.search(line):
                print(f"  --- {'task' if found['what'] == 'starting' else 'end of'} {found['task']}", flush=True)
    return passed and process.returncode == 0


def show_instances(sim: EnosSimulator) -> None:
    print("\nWhat EnOS has:")
    for instance in sim.instances:
        note = "  (as in the EnOS documentation)" if instance.id == DOCUMENTED else ""
        print(f"  flow instance {instance.id}  {instance.status}{note}")
        for node in instance.nodes:
            started_from = "  <- from_task_id" if node.task_id == instance.from_task_id else ""
            print(f"    {node.status:8} {node.name:10} {node.task_instance_id}{started_from}")


if __name__ == "__main__":
    sys.exit(main())
