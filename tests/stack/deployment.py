"""Runs tasks by the thousand in a distributed Airflow, kills one of each part, and counts the instances.

    python tests/stack/deployment.py --runs 1000 --seed 1

PostgreSQL, CeleryExecutor with two workers over Redis, two schedulers, two triggerers, the simulator in a process of
its own. A DAG that catches up on as many hours as there are to be runs starts an instance for each, and waits deferred
for its end. In moments that the seed chooses one worker, one scheduler and one triggerer are killed with all that runs
under them, and started again. In the end EnOS must have one instance of each hour, which Airflow's run of that hour
names, and every run must have succeeded.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
from cluster import SCHEDULERS, TRIGGERERS, WORKERS, Cluster, Meter
from services import postgres_programs, redis_program
from stack import Simulator, kind_of, running

DAGS = Path(__file__).parent / "cluster_dags"
FLOW = 8401
WORKER_PROCESSES = 4
LOOK_EVERY, TELL_EVERY = 1.0, 30.0
"""Seconds between two looks at how far it has got, and between two lines that say so."""
SETTLE = 20.0
"""Seconds within which a triggerer has removed the triggers that nobody waits for any more."""
EARLIEST, LATEST = 0.1, 0.8
"""Between these shares of the work something is to be killed."""
AT_WORK = {"worker": "running", "scheduler": "queued", "triggerer": "deferred"}
"""The state of the tasks that a part has in hand: it is killed while there are some."""


def settings(runs: int) -> dict[str, str]:
    """What Airflow is set to; docs/scale.md says why."""
    return {
        "ENOS_CLUSTER_RUNS": str(runs),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        # How many start at once: as many as the workers have processes, and as many again on their way to them.
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(WORKER_PROCESSES),
        "AIRFLOW__CORE__PARALLELISM": str(WORKER_PROCESSES * len(WORKERS)),
        # How many may be under way.
        "AIRFLOW__TRIGGERER__CAPACITY": str(max(runs, 1000)),
        "AIRFLOW__SCHEDULER__MAX_DAGRUNS_TO_CREATE_PER_LOOP": "100",
        "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "100",
        # How soon what has died is found, in seconds; Airflow's own are minutes.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "120",
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
        # What other tests have shorter, as Airflow has it.
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "30",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "5",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
    }


@dataclass(frozen=True)
class Task:
    """What Airflow says of the task of one run."""

    end: datetime
    """Of the data interval, for which it triggers."""
    run_state: str
    state: str | None
    tries: int
    instance: str | None
    """The flow instance id that it returned."""


@dataclass
class Findings:
    """What is not as it should be, a sentence each."""

    duplicates: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)

    @property
    def bad(self) -> list[str]:
        return [*self.duplicates, *self.lost, *self.left_behind]


def judge(runs: int, tasks: Sequence[Task], instances: Sequence[dict[str, Any]], triggers: int) -> Findings:
    """Compares what Airflow says of ``runs`` runs with the instances that EnOS has, and with the triggers that wait."""
    findings = Findings()
    asked_for = {f"{FLOW}-{task.end:%Y%m%d%H%M%S}": task for task in tasks}
    statuses = {one["id"]: one["status"] for one in instances}
    if len(asked_for) != runs:
        findings.lost.append(f"LOST: {len(asked_for)} runs of different hours, {runs} expected")
    for id, number in Counter(one["id"] for one in instances).items():
        if id not in asked_for:
            findings.duplicates.append(f"DUPLICATE: {id} {statuses[id]}, of no run's hour")
        if number > 1:
            findings.duplicates.append(f"DUPLICATE: {id}, {number} times")
    for id, task in asked_for.items():
        if statuses.get(id) != "SUCCESS":
            findings.lost.append(f"LOST: {id} is {statuses.get(id, 'not there')}")
        elif task.state == "success" and task.instance != id:
            findings.lost.append(f"LOST: {id} is named {task.instance} by its task")
        if (task.run_state, task.state) != ("success", "success"):
            findings.left_behind.append(f"LEFT BEHIND: run {task.run_state}, task {task.state} of {id}")
    if triggers:
        findings.left_behind.append(f"LEFT BEHIND: {triggers} triggers")
    return findings


@dataclass
class Kill:
    """What is to be killed once this much is done, and for how many seconds it is away."""

    part: str
    done: float
    away: float
    back_at: float | None = None
    """On the monotonic clock, once it is killed."""

    def is_due(self, done: float, states: Mapping[str, int]) -> bool:
        """Whether so much is done, and the part has something in hand: of what waits, a tenth of what there is."""
        state = AT_WORK[kind_of(self.part)]
        enough = sum(states.values()) / 10 if state == "deferred" else 1
        return self.back_at is None and done >= self.done and states.get(state, 0) >= enough


def plan(seed: object) -> list[Kill]:
    """One worker, one scheduler, one triggerer: which, when and for how long is a matter of chance."""
    chance = random.Random(f"{seed}")
    return [
        Kill(chance.choice(parts), chance.uniform(EARLIEST, LATEST), chance.uniform(1, 10))
        for parts in (WORKERS, SCHEDULERS, TRIGGERERS)
    ]


class Deployment:
    """A cluster at work, and what is seen of it."""

    def __init__(self, cluster: Cluster, runs: int, kills: list[Kill]) -> None:
        self._cluster = cluster
        self._runs = runs
        self._kills = kills
        self.triggerers = Meter(cluster, TRIGGERERS)
        self.died: Counter[str] = Counter()
        self.most_deferred = 0

    def see_to_the_end(self, seconds: float) -> None:
        """Until all runs have ended, or this many seconds are over; kills what is to be killed meanwhile."""
        began = told = time.monotonic()
        while not self._is_done() and time.monotonic() < began + seconds:
            self.triggerers.look()
            self.died.update(self._cluster.revive())
            states = self.states()
            self.most_deferred = max(self.most_deferred, states["deferred"])
            done = (states["deferred"] + 2 * states["success"]) / (2 * self._runs)
            for kill in self._kills:
                self._see_to(kill, done, states)
            if time.monotonic() >= told + TELL_EVERY:
                told = time.monotonic()
                print(f"{done:4.0%} done after {told - began:.0f} s: {listed(states.items())}", flush=True)
            time.sleep(LOOK_EVERY)
        ended = time.monotonic()
        while self.triggers() and time.monotonic() < ended + SETTLE:
            time.sleep(LOOK_EVERY)
        self.triggerers.look()

    def _see_to(self, kill: Kill, done: float, states: Mapping[str, int]) -> None:
        if kill.is_due(done, states):
            processes = self._cluster.kill_part(kill.part)
            kill.back_at = time.monotonic() + kill.away
            print(f"{done:4.0%} done: killed {kill.part}, {processes} processes, for {kill.away:.0f} s", flush=True)
        elif kill.back_at and time.monotonic() >= kill.back_at and not self._cluster.has_part(kill.part):
            self._cluster.start_part(kill.part)

    def _is_done(self) -> bool:
        ended = "SELECT count(*) FROM dag_run WHERE dag_id = 'hourly' AND state IN ('success', 'failed')"
        return self._cluster.query(ended) == [(self._runs,)]

    def missed(self) -> list[str]:
        """What should have been killed, and was not."""
        return [f"MISSED: {kill.part} was not killed" for kill in self._kills if kill.back_at is None]

    def states(self) -> Counter[str]:
        """How many tasks there are in each state."""
        rows = self._cluster.query("SELECT state, count(*) FROM task_instance WHERE dag_id = 'hourly' GROUP BY state")
        return Counter({str(state): number for state, number in rows})

    def tasks(self) -> list[Task]:
        rows = self._cluster.query(
            "SELECT run.data_interval_end, run.state, task.state, task.try_number, xcom.value #>> '{}'"
            " FROM dag_run run LEFT JOIN task_instance task USING (dag_id, run_id) LEFT JOIN xcom"
            " ON xcom.dag_id = run.dag_id AND xcom.run_id = run.run_id AND xcom.key = 'return_value'"
            " WHERE run.dag_id = 'hourly' ORDER BY 1"
        )
        return [Task(*row) for row in rows]

    def triggers(self) -> int:
        return int(self._cluster.query("SELECT count(*) FROM trigger")[0][0])


def play(cluster: Cluster, simulator: Simulator, runs: int, seed: object, lasts: float, patience: float) -> bool:
    """Lets the DAG catch up, kills, and prints what it came to; gives whether it is as it should be."""
    simulator.post("flows", {"flow_id": FLOW, "tasks": {str(FLOW * 10): "extract"}, "progress": f"seconds:{lasts}"})
    cluster.call("POST", "pools", {"name": "enos", "slots": runs, "include_deferred": True})
    cluster.wait_for_dag("hourly")
    deployment = Deployment(cluster, runs, plan(seed))
    began = time.monotonic()
    cluster.call("PATCH", "dags/hourly", {"is_paused": False})
    deployment.triggerers.begin()
    deployment.see_to_the_end(patience)
    seconds = time.monotonic() - began
    state, tasks = simulator.state, deployment.tasks()
    findings = judge(runs, tasks, simulator.instances(FLOW), deployment.triggers())
    again = sum(task.tries > 1 for task in tasks)
    bad = [*findings.bad, *deployment.missed()]
    for sentence in bad:
        print(sentence)
    print(
        f"{runs} runs in {seconds:.0f} s, seed {seed}: {len(simulator.instances(FLOW))} instances, "
        f"{len(findings.duplicates)} duplicates, {len(findings.lost)} lost, {len(findings.left_behind)} left behind"
    )
    print(f"waiting at once, at most: {deployment.most_deferred}; tasks that were tried again: {again}")
    print(f"requests to the gateway: {sum(state['counts'].values())} ({listed(state['counts'].items())})")
    cpu = deployment.triggerers.seconds
    print(f"CPU of the two triggerers: {cpu:.1f} s, {cpu / seconds:.1%} of a core")
    print(f"parts of Airflow that ended by themselves: {listed(deployment.died.items()) or 'none'}")
    return not bad


def listed(items: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(items, key=lambda item: -item[1]))


def main() -> int:
    """Gives 1 where anything was duplicated, lost or left behind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lasts", type=float, default=300, metavar="SECONDS", help="how long each instance runs")
    parser.add_argument("--patience", type=float, default=3600, metavar="SECONDS", help="after which all must be done")
    options = parser.parse_args()
    postgres_programs(), redis_program()  # end with a message, rather than half-way
    # What is running is stopped, whoever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    home, began = Path(tempfile.mkdtemp(prefix="enos-cluster-")), time.monotonic()
    # Else the instances of a flow would wait for each other, and none would wait for many.
    switches = ("--switch", "one_at_a_time=false")
    with running(home, DAGS, *switches, settings=settings(options.runs), kind=Cluster) as (cluster, simulator):
        print(f"Airflow is up after {time.monotonic() - began:.0f} s; its logs are in {home}", flush=True)
        good = play(cluster, simulator, options.runs, options.seed, options.lasts, options.patience)
    if good:
        shutil.rmtree(home, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
