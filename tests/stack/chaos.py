"""Kills what runs, at every moment that matters, and counts the instances that come of it.

    python tests/stack/chaos.py --rounds 100 --seed 7

Each round starts tasks in a real Airflow, destroys something, and compares what EnOS has with what Airflow says: the
task has succeeded, with the id of exactly one instance, which has succeeded too, and no other instance lives. The
moments are found by the holds of the simulator. ``--act NAME`` plays one act only, ``--only N`` one round of those that
a seed stands for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import requests

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
from stack import Run, Simulator, Stack, running, until

DAGS = Path(__file__).parent / "chaos_dags"
LOCK_SECONDS = 10.0
SETTINGS = {
    # What a dead scheduler has left is found in seconds.
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "2",
    # So often, in seconds, a supervisor looks whether its task has ended, and no task dies of a locked database.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
}
TRIGGER, GET, CANCEL = "flows/triggerFromTask", "flowInstances/get", "flowInstances/cancel"
FOLLOWED = ("sync", "deferred")
ALL = ("sync", "deferred", "unfollowed")
LATE = ("late_sync", "late_deferred")
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
        self, stack: Stack, simulator: Simulator, chance: random.Random, first_flow: int, lock_seconds: float
    ) -> None:
        self.stack = stack
        self.simulator = simulator
        self.chance = chance
        self.lock_seconds = lock_seconds
        self.kills = 0
        self.died: Counter[str] = Counter()
        self.jobs: list[Job] = []
        self.chosen: list[str] = []
        self._next_flow = first_flow
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

    def process(self, job: Job) -> int:
        """The process that runs the operator now."""
        until(lambda: job.run.task["state"] == "running" and job.run.task["pid"], 30, "the task's process", pause=0.05)
        return int(job.run.task["pid"])

    def kill(self, job: Job) -> None:
        """Kills the process that runs the operator; there will be one more try."""
        os.kill(self.process(job), signal.SIGKILL)
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
        deferred = any("Pausing task as DEFERRED" in line for line in _log(job.run, number))
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
            lines += [f"  log of try {number}:", *(f"    {line}" for line in _log(job.run, number)[-LOG_LINES:])]
        return "\n".join(lines)


def _duplicate(job: Job, instances: list[dict[str, Any]]) -> str | None:
    alive = [one for one in instances if one["status"] != "CANCEL"]
    if len(alive) > 1:
        return f"DUPLICATE: {len(alive)} instances that were not cancelled"
    return f"DUPLICATE: {len(instances)} instances, at most {job.most} expected" if len(instances) > job.most else None


def _lost(job: Job, task: dict[str, Any], instances: list[dict[str, Any]]) -> str | None:
    if task["state"] != "success":
        return f"LOST: the task is {task['state']}"
    if task["try_number"] < job.tries:
        return f"THE ACT MISSED: {task['try_number']} tries, {job.tries} expected"
    named = job.run.xcom()
    statuses = {one["id"]: one["status"] for one in instances}
    if statuses.get(named) != "SUCCESS":
        return f"LOST: the task names {named}, which is {statuses.get(named, 'not there')}"
    return None


def _log(run: Run, number: int) -> list[str]:
    try:
        content = json.loads(run.log(number))["content"]
    except Exception as error:
        return [f"cannot be read: {error}"]
    return [f"{one.get('timestamp', '')} {one['event']}" if isinstance(one, dict) else str(one) for one in content]


# The acts. Each starts its tasks, destroys something, and leaves the rest to ``see_to_the_end``.


def killed_before_the_request(scene: Scene) -> None:
    """The task dies before EnOS has heard of it: with the token not asked for, or the trigger under way."""
    scene.simulator.hold(scene.choose("token/get", TRIGGER), "received")
    job = scene.begin(scene.choose(*ALL))
    (held,) = scene.simulator.wait_held()
    scene.kill(job)
    scene.simulator.release(held, drop=True)


def killed_before_the_reply(scene: Scene) -> None:
    """EnOS has started the instance; the task dies before it knows."""
    scene.simulator.hold(TRIGGER, "accepted")
    job = scene.begin(scene.choose(*ALL))
    (held,) = scene.simulator.wait_held()
    scene.kill(job)
    scene.perhaps_end_now(job)
    scene.simulator.release(held)


def killed_before_it_is_stored(scene: Scene) -> None:
    """The task has its reply and dies before it can do anything with it."""
    scene.simulator.hold(TRIGGER, "accepted")
    scene.simulator.hold(TRIGGER, "replied")
    job = scene.begin(scene.choose(*ALL))
    (held,) = scene.simulator.wait_held()
    os.kill(scene.process(job), signal.SIGSTOP)
    scene.simulator.release(held)
    (held,) = scene.simulator.wait_held()
    scene.kill(job)
    scene.perhaps_end_now(job)
    scene.simulator.release(held)


def killed_and_the_request_comes_late(scene: Scene) -> None:
    """The task dies while its trigger is under way, and that reaches EnOS when the next try is about to trigger."""
    scene.simulator.hold(TRIGGER, "received", times=2)
    job = scene.begin(scene.choose(*ALL))
    scene.simulator.wait_held()
    scene.kill(job)
    first, second = scene.simulator.wait_held(2)
    for held in scene.chance.sample([first, second], 2):
        scene.simulator.release(held)
        until(lambda: scene.instances(job), 10, "the instance", pause=0.02)


def killed_while_waiting(scene: Scene) -> None:
    """The task dies with a look at its instance under way, be it while it runs on or when it has ended."""
    dag = scene.choose(*FOLLOWED)
    job = scene.begin(dag)
    until(lambda: scene.instances(job), 60, "the instance", pause=0.05)
    if dag == "deferred":
        # Held from when its trigger waits: the look of the task that is resumed is the one after the trigger's last.
        job.run.wait_for("deferred")
        scene.wait_until_followed(job)
        scene.simulator.hold(GET, "received", times=1)
        (held,) = scene.simulator.wait_held()
        scene.end_instances(job)
        scene.simulator.hold(GET, "received")
        scene.simulator.release(held)
    else:
        scene.simulator.hold(GET, "received")
    (held,) = scene.simulator.wait_held()
    scene.kill(job)
    scene.perhaps_end_now(job)
    scene.simulator.release(held, drop=scene.choose(True, False))


def killed_while_cancelling(scene: Scene) -> None:
    """The task is late and dies while it cancels: before EnOS has heard of it, or after EnOS has done it."""
    at = scene.choose("received", "accepted")
    scene.simulator.hold(CANCEL, at)
    job = scene.begin(scene.choose(*LATE))
    (held,) = scene.simulator.wait_held()
    # The next try looks first; it finds the instance ended, or starts another one that ends.
    scene.simulator.hold(GET, "received")
    scene.kill(job)
    scene.simulator.release(held, drop=at == "received")
    job.most = 1 if at == "received" else 2
    (held,) = scene.simulator.wait_held()
    scene.end_instances(job)
    scene.simulator.release(held)


def supervisor_killed(scene: Scene) -> None:
    """What runs the task for Airflow dies; the task itself runs on alone, beside the try that takes its place."""
    when = scene.choose("received", "accepted", "waiting")
    if when != "waiting":
        scene.simulator.hold(TRIGGER, when)
    job = scene.begin("sync")
    if when == "waiting":
        scene.wait_until_followed(job)
    else:
        scene.simulator.wait_held()
    task = psutil.Process(scene.process(job))
    supervisor = task.parent()
    assert supervisor is not None
    scene.left_behind.append(task)
    supervisor.kill()
    scene.killed(job)
    scene.simulator.clear_holds()
    until(lambda: job.run.task["try_number"] == 2, 90, "another try")


def suspended_and_superseded(scene: Scene) -> None:
    """The task has yet to send its trigger when the next try has started the instance; then it goes on.

    Its machine has slept, or its supervisor has died while EnOS was slow to give it a token.
    """
    scene.simulator.hold("token/get", "received")
    job = scene.begin("sync")
    (held,) = scene.simulator.wait_held()
    task = psutil.Process(scene.process(job))
    supervisor = task.parent()
    assert supervisor is not None
    scene.left_behind.append(task)
    sleepers = [supervisor, task] if scene.choose(True, False) else []
    for process in sleepers:
        process.suspend()
    if not sleepers:
        supervisor.kill()
    scene.killed(job)
    until(lambda: scene.instances(job), 90, "the instance of another try")
    triggers = scene.simulator.state["counts"][TRIGGER]
    scene.simulator.release(held)
    for process in reversed(sleepers):
        process.resume()
    # It asks for the same instance, and has time to do whatever it does then.
    until(lambda: scene.simulator.state["counts"][TRIGGER] > triggers or not task.is_running(), 30, "the first try")
    with contextlib.suppress(psutil.TimeoutExpired):
        task.wait(5)


def scheduler_killed(scene: Scene) -> None:
    """The scheduler dies, with all that runs under it, or with its workers only, or alone; another one comes.

    Alone, it leaves supervisors that learn that their tasks are no longer wanted, and kill them: that cancels the
    instance, as it should, and the next try starts another one.
    """
    jobs = [scene.begin(scene.choose(*FOLLOWED)) for _ in range(scene.choose(1, 2, 3))]
    if scene.choose("starting", "waiting") == "starting":
        at = scene.choose("received", "accepted")
        scene.simulator.hold(TRIGGER, at, times=len(jobs))
        scene.simulator.wait_held(len(jobs))
    else:
        for job in jobs:
            scene.wait_until_followed(job)
    scheduler = psutil.Process(scene.stack.pid("scheduler"))
    below = scheduler.children(recursive=True)
    group = [process for process in below if os.getpgid(process.pid) == scheduler.pid]
    which = scene.choose("everything", "its group", "itself")
    victims = {"everything": below, "its group": group, "itself": []}[which]
    scene.replace_part("scheduler", [scheduler, *victims], left=below)
    for job in jobs:
        job.polls = sum(one["polls"] for one in scene.instances(job))
    scene.simulator.clear_holds()
    for job in jobs:
        if which == "itself" and job.dag == "sync":
            job.most, job.tries = 2, 2
            until(lambda job=job: job.run.task["try_number"] == 2, 90, "another try")  # type: ignore[misc]


def triggerer_killed(scene: Scene) -> None:
    """The triggerer dies while tasks wait in it; another one comes."""
    jobs = [scene.begin("deferred") for _ in range(scene.choose(1, 2, 3))]
    for job in jobs:
        job.run.wait_for("deferred")
        scene.wait_until_followed(job)
    triggerer = psutil.Process(scene.stack.pid("triggerer"))
    scene.replace_part("triggerer", [triggerer, *triggerer.children(recursive=True)])
    for job in jobs:
        scene.perhaps_end_now(job)


def gateway_restarted(scene: Scene) -> None:
    """EnOS stops with tasks starting or waiting, and comes back knowing its instances, but none of its tokens."""
    jobs = [scene.begin(dag) for dag in scene.choose(("sync",), ("deferred",), FOLLOWED)]
    when = scene.choose("received", "accepted", "waiting")
    if when == "waiting":
        for job in jobs:
            scene.wait_until_followed(job, 2)
    else:
        scene.simulator.hold(TRIGGER, when, times=len(jobs))
        scene.simulator.wait_held(len(jobs))
    scene.simulator.restart(scene.chance.uniform(0, 5))
    scene.kills += 1
    for job in jobs:
        scene.perhaps_end_now(job)


def database_locked(scene: Scene) -> None:
    """Airflow's database is locked while tasks start, or while they wait."""
    jobs = [scene.begin(dag) for dag in scene.choose(("sync",), ("deferred",), FOLLOWED)]
    when = scene.choose("token/get", TRIGGER, "waiting")
    if when == "waiting":
        for job in jobs:
            scene.wait_until_followed(job)
    else:
        scene.simulator.hold(when, "received", times=len(jobs))
        scene.simulator.wait_held(len(jobs))
    with scene.locked_database():
        scene.simulator.clear_holds()
        for job in jobs:
            scene.perhaps_end_now(job)


ACTS: dict[str, Callable[[Scene], None]] = {
    act.__name__: act
    for act in (
        killed_before_the_request,
        killed_before_the_reply,
        killed_before_it_is_stored,
        killed_and_the_request_comes_late,
        killed_while_waiting,
        killed_while_cancelling,
        supervisor_killed,
        suspended_and_superseded,
        scheduler_killed,
        triggerer_killed,
        gateway_restarted,
        database_locked,
    )
}


def play(stack: Stack, simulator: Simulator, act: str, seed: object, number: int, lock_seconds: float) -> Findings:
    """One round: the same act, seed and number choose the same again. Prints a line, and what was found."""
    scene = Scene(stack, simulator, random.Random(f"{seed} {number}"), 10_000 + number * 10, lock_seconds)
    began = time.monotonic()
    try:
        ACTS[act](scene)
        scene.see_to_the_end()
        findings = scene.judge()
    except Exception:
        findings = Findings(len(scene.jobs), scene.kills, lost=1, died=scene.died, details=[traceback.format_exc()])
        with contextlib.suppress(Exception):
            findings.details += scene.judge().details
    finally:
        scene.clean_up()
    seconds = time.monotonic() - began
    chosen = ", ".join(scene.chosen)
    print(f"round {number:3}: {seconds:5.1f} s  {'BAD' if findings.bad else 'ok '}  {act} ({chosen})", flush=True)
    for part, times in findings.died.items():
        print(f"           the {part} ended by itself {times} times, and was started again")
    for detail in findings.details:
        print(f"seed {seed}, round {number}, {act}\n{detail}", flush=True)
    return findings


def deal(seed: object, rounds: int) -> list[str]:
    """The acts of this many rounds: in an order of chance, each as often as any other."""
    chance, dealt = random.Random(f"{seed}"), list[str]()
    while len(dealt) < rounds:
        dealt += chance.sample(list(ACTS), len(ACTS))
    return dealt[:rounds]


@contextlib.contextmanager
def stage(home: Path, lock_seconds: float) -> Iterator[tuple[Stack, Simulator]]:
    """The stack that all rounds share."""
    # Who only waits for the database is not taken for dead.
    patience = {
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": f"{lock_seconds + 2:.0f}",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": f"{lock_seconds + 10:.0f}",
    }
    with running(home, DAGS, "--state", str(home / "enos.json"), settings=SETTINGS | patience) as (stack, simulator):
        yield stack, simulator


def main() -> int:
    """Plays the rounds, prints what they came to, and gives 1 where anything was duplicated or lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=len(ACTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--act", choices=ACTS, help="this act only")
    parser.add_argument("--lock", type=float, default=LOCK_SECONDS, metavar="SECONDS", help="of the database")
    parser.add_argument("--only", type=int, metavar="N", help="this round only")
    options = parser.parse_args()
    # What is running is stopped, whoever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    acts = [options.act] * options.rounds if options.act else deal(options.seed, options.rounds)
    home = Path(tempfile.mkdtemp(prefix="enos-chaos-"))
    total, began, played = Findings(), time.monotonic(), 0
    with stage(home, options.lock) as (stack, simulator):
        print(f"Airflow is up after {time.monotonic() - began:.0f} s; its logs are in {home}", flush=True)
        began = time.monotonic()
        for number, act in enumerate(acts, 1):
            if options.only in (None, number):
                total.add(play(stack, simulator, act, options.seed, number, options.lock))
                played += 1
    print(
        f"{played} rounds in {time.monotonic() - began:.0f} s, seed {options.seed}: {total.runs} runs, "
        f"{total.kills} kills, {total.instances} instances, {total.duplicates} duplicates, {total.lost} lost; "
        f"{total.failed_by_airflow} failed by Airflow itself; "
        f"parts of Airflow that ended by themselves: {dict(total.died) or 'none'}"
    )
    if not total.bad:
        shutil.rmtree(home, ignore_errors=True)
    return 1 if total.bad else 0


if __name__ == "__main__":
    sys.exit(main())
