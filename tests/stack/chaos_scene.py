"""One round of chaos.py: the tasks that an act starts, what it can do to them, and whether they ended well."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import psutil
import requests
from stack import Run, Simulator, Stack, until

PATIENCE = 120.0
"""Seconds that a task may take after the act."""
LOG_LINES = 25


@dataclass
class Job:
    """One task with a flow of its own, and what is expected of it."""

    dag: str
    flow_id: int
    run: Run
    most: int = 1
    """Instances there may be, those that were cancelled included."""
    tries: int = 1
    """Tries there must have been, so that an act which missed shows."""
    polls: int = 0
    """How often the instance had been looked at when the act was over: it ends once it is looked at again."""
    nodes: list[int] = field(default_factory=list)
    """The nodes from which its instances have to be started; empty: any."""


@dataclass
class Findings:
    """What a round, or many, have come to."""

    runs: int = 0
    kills: int = 0
    instances: int = 0
    duplicates: int = 0
    lost: int = 0
    failed_by_airflow: int = 0
    """Tasks that Airflow has failed in the moment in which they were resumed: see ``Scene.is_failed_by_airflow``."""
    died: Counter[str] = field(default_factory=Counter)
    """Parts of Airflow that have ended by themselves, and were started again."""
    details: list[str] = field(default_factory=list)

    def add(self, other: Findings) -> None:
        self.runs += other.runs
        self.kills += other.kills
        self.instances += other.instances
        self.duplicates += other.duplicates
        self.lost += other.lost
        self.failed_by_airflow += other.failed_by_airflow
        self.died += other.died
        self.details += other.details

    @property
    def bad(self) -> int:
        return self.duplicates + self.lost + self.failed_by_airflow


class Scene:
    """One round: what an act has at hand."""

    def __init__(
        self, stack: Stack, simulator: Simulator, chance: random.Random, number: int, lock_seconds: float
    ) -> None:
        self.stack = stack
        self.number = number
        self.simulator = simulator
        self.chance = chance
        self.lock_seconds = lock_seconds
        self.kills = 0
        self.died: Counter[str] = Counter()
        self.jobs: list[Job] = []
        self.chosen: list[str] = []
        self._next_flow = 10_000 + number * 10
        self.left_behind: list[psutil.Process] = []
        """Processes that run on, to be killed when the round is over."""

    def choose(self, *options: Any) -> Any:
        """One of these by chance; it is told in the report."""
        chosen = self.chance.choice(options)
        self.chosen.append(str(chosen))
        return chosen

    def begin(self, dag: str) -> Job:
        """Starts a task, whose instances do not end by themselves."""
        flow_id, self._next_flow = self._next_flow, self._next_flow + 1
        tasks = {str(flow_id * 10): "extract", str(flow_id * 10 + 1): "load"}
        self.simulator.post("flows", {"flow_id": flow_id, "tasks": tasks, "progress": "manual"})
        job = Job(dag, flow_id, self.stack.run(dag, {"flow_id": flow_id}))
        self.jobs.append(job)
        return job

    def process(self, run: Run) -> int:
        """The process that runs the task now."""
        until(lambda: run.task["state"] == "running" and run.task["pid"], 30, "the task's process", pause=0.05)
        return int(run.task["pid"])

    def processes(self, run: Run) -> tuple[psutil.Process, psutil.Process]:
        """The process that runs the task now, which is killed after the round, and that of its supervisor."""
        task = psutil.Process(self.process(run))
        supervisor = task.parent()
        assert supervisor is not None
        self.left_behind.append(task)
        return task, supervisor

    def kill(self, job: Job) -> None:
        """Kills the process that runs the operator; there will be one more try."""
        os.kill(self.process(job.run), signal.SIGKILL)
        self.killed(job)

    def killed(self, job: Job) -> None:
        self.kills += 1
        job.tries += 1

    def instances(self, job: Job) -> list[dict[str, Any]]:
        return self.simulator.instances(job.flow_id)

    def wait_until_followed(self, job: Job, looks: int = 1) -> None:
        """Until the task has looked at its instance so often from here on."""
        polls = sum(one["polls"] for one in self.instances(job)) + looks
        until(
            lambda: sum(one["polls"] for one in self.instances(job)) >= polls,
            60,
            f"{job.dag} to look at its instance",
            lambda: (job.run.task["state"], self.instances(job)),
        )

    def perhaps_end_now(self, job: Job) -> None:
        """What was started may end while nobody looks, or once somebody looks again."""
        if self.choose("ends at once", "ends later") == "ends at once":
            self.end_instances(job)
        job.polls = sum(one["polls"] for one in self.instances(job))

    def end_instances(self, job: Job) -> None:
        for instance in self.instances(job):
            if instance["ended_at"] is None:
                self.simulator.post(f"instances/{instance['id']}/finish", {"status": "SUCCESS"})

    def fail_instance(self, job: Job) -> None:
        """The second node of what runs fails, once the first one has succeeded."""
        (instance,) = self.instances(job)
        failure = {"status": "FAIL", "failed_task": job.flow_id * 10 + 1}
        self.simulator.post(f"instances/{instance['id']}/finish", failure)

    def replace_part(self, part: str, victims: Sequence[psutil.Process], left: Sequence[psutil.Process] = ()) -> None:
        """Kills these processes of a part, and starts the part again."""
        self.left_behind += left
        for process in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                self.kills += 1
        self.stack.forget_part(part)
        self.stack.start_part(part)

    @contextlib.contextmanager
    def locked_database(self) -> Iterator[None]:
        """Nobody else can use Airflow's database, for ``lock_seconds``."""
        taken = threading.Event()

        def lock() -> None:
            connection = sqlite3.connect(self.stack.database, timeout=30, isolation_level=None)
            connection.execute("BEGIN EXCLUSIVE")
            taken.set()
            time.sleep(self.lock_seconds)
            connection.execute("ROLLBACK")
            connection.close()

        thread = threading.Thread(target=lock)
        thread.start()
        assert taken.wait(40), "the database could not be locked"
        yield
        thread.join()

    def see_to_the_end(self) -> None:
        """Ends instances once their tasks look at them again, until all tasks are done."""
        end = time.monotonic() + PATIENCE
        waiting = list(self.jobs)
        while waiting and time.monotonic() < end:
            self.keep_alive()
            waiting = [job for job in waiting if not self._is_done(job)]
            time.sleep(0.2)

    def keep_alive(self) -> None:
        """Starts a part again that has ended by itself, as what runs Airflow in earnest does."""
        self.died.update(self.stack.revive())

    def clean_up(self) -> None:
        self.simulator.clear_holds()
        for process in self.left_behind:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.keep_alive()

    def _is_done(self, job: Job) -> bool:
        try:
            state = job.run.task["state"]
        except (requests.RequestException, AssertionError):
            return False
        done = state in ("success", "failed", "skipped", "upstream_failed")
        looked_at = sum(one["polls"] for one in self.instances(job)) > job.polls
        if (done and job.dag == "unfollowed") or (state in ("running", "deferred") and looked_at):
            self.end_instances(job)
        return done

    def judge(self) -> Findings:
        """What became of the tasks and of the instances."""
        findings = Findings(kills=self.kills, died=self.died)
        for job in self.jobs:
            findings.runs += 1
            instances = self.instances(job)
            findings.instances += len(instances)
            task = job.run.task
            duplicate, lost = _duplicate(job, instances), _lost(job, task, instances)
            findings.duplicates += bool(duplicate)
            if lost and self.is_failed_by_airflow(job, task, instances):
                lost = "FAILED BY AIRFLOW, apache/airflow issue 72716"
                findings.failed_by_airflow += 1
            else:
                findings.lost += bool(lost)
            if duplicate or lost:
                findings.details.append(self._report(job, task, instances, duplicate, lost))
        return findings

    def is_failed_by_airflow(self, job: Job, task: dict[str, Any], instances: list[dict[str, Any]]) -> bool:
        """Whether a try that nobody killed was failed for having been resumed too soon.

        A process that defers its task reports its end to the executor up to five seconds late. If the trigger has fired
        by then and the task runs again, Airflow 3.3 takes that report for the end of the process that runs now, and
        fails the try with an event "state mismatch" (issue 72716 of apache/airflow). The instance must have succeeded.
        """
        number = task["try_number"]
        query = f"eventLogs?dag_id={job.dag}&run_id={quote(job.run.run_id)}&event=state%20mismatch"
        mismatches = [one for one in self.stack.call("GET", query)["event_logs"] if one["try_number"] == number]
        deferred = any("Pausing task as DEFERRED" in line for line in log_lines(job.run, number))
        untouched = number > job.tries - 1 and [one["status"] for one in instances].count("SUCCESS") == 1
        return task["state"] == "failed" and bool(mismatches) and deferred and untouched

    def _report(self, job: Job, task: dict[str, Any], instances: list[dict[str, Any]], *why: str | None) -> str:
        shown = [f"{one['id']} {one['status']}" for one in instances]
        lines = [
            f"{job.dag}, flow {job.flow_id}: {'; '.join(filter(None, why))}",
            f"  instances: {', '.join(shown) or 'none'}",
            f"  task: {task['state']}, try {task['try_number']} of {task['max_tries'] + 1}",
        ]
        for number in range(1, task["try_number"] + 1):
            lines += [f"  log of try {number}:", *(f"    {line}" for line in log_lines(job.run, number)[-LOG_LINES:])]
        return "\n".join(lines)


def _duplicate(job: Job, instances: list[dict[str, Any]]) -> str | None:
    alive = [one for one in instances if one["status"] not in ("CANCEL", "FAIL")]
    if len(alive) > 1:
        return f"DUPLICATE: {len(alive)} instances that neither failed nor were cancelled"
    return f"DUPLICATE: {len(instances)} instances, at most {job.most} expected" if len(instances) > job.most else None


def _lost(job: Job, task: dict[str, Any], instances: list[dict[str, Any]]) -> str | None:
    if task["state"] != "success":
        return f"LOST: the task is {task['state']}"
    if task["try_number"] < job.tries:
        return f"THE ACT MISSED: {task['try_number']} tries, {job.tries} expected"
    nodes = [one["from_task_id"] for one in instances]
    if job.nodes and nodes != job.nodes:
        return f"LOST: started from the nodes {nodes}, not {job.nodes}"
    named = job.run.xcom()
    statuses = {one["id"]: one["status"] for one in instances}
    if statuses.get(named) != "SUCCESS":
        return f"LOST: the task names {named}, which is {statuses.get(named, 'not there')}"
    return None


def log_lines(run: Run, number: int) -> list[str]:
    try:
        content = json.loads(run.log(number))["content"]
    except Exception as error:
        return [f"cannot be read: {error}"]
    return [f"{one.get('timestamp', '')} {one['event']}" if isinstance(one, dict) else str(one) for one in content]
