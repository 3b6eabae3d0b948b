"""Kills what runs, at every moment that matters, and counts the instances that come of it.

    python tests/stack/chaos.py --rounds 100 --seed 7

Each round starts tasks in a real Airflow, destroys something, and compares what EnOS has with what Airflow says: the
task has succeeded, with the id of exactly one instance, which has succeeded too, and no other instance lives. The
moments are found by the holds of the simulator. ``--act NAME`` plays one act only, ``--groups`` those of group_acts.py,
``--only N`` one round of those that a seed stands for.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
from chaos_scene import Findings, Scene
from group_acts import GROUP_ACTS
from group_scene import GroupScene, add_group_flow
from stack import Simulator, Stack, running, until

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
RECOVERING = ("recovering_sync", "recovering_deferred")


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
    os.kill(scene.process(job.run), signal.SIGSTOP)
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


def killed_while_recovering(scene: Scene) -> None:
    """The flow has failed; the retry that restarts it from the failed node dies, and the next try does the same."""
    at = scene.choose("received", "accepted")
    job = scene.begin(scene.choose(*RECOVERING))
    until(lambda: scene.instances(job), 60, "the instance", pause=0.05)
    scene.wait_until_followed(job)
    scene.simulator.hold(TRIGGER, at)
    scene.fail_instance(job)
    (held,) = scene.simulator.wait_held()
    scene.kill(job)
    scene.simulator.release(held, drop=at == "received")
    job.most, job.tries = 2, 3
    job.nodes = [job.flow_id * 10, job.flow_id * 10 + 1]
    job.polls = sum(one["polls"] for one in scene.instances(job))


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
    _, supervisor = scene.processes(job.run)
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
    task, supervisor = scene.processes(job.run)
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


TASK_ACTS: dict[str, Callable[[Scene], None]] = {
    act.__name__: act
    for act in (
        killed_before_the_request,
        killed_before_the_reply,
        killed_before_it_is_stored,
        killed_and_the_request_comes_late,
        killed_while_waiting,
        killed_while_cancelling,
        killed_while_recovering,
        supervisor_killed,
        suspended_and_superseded,
        scheduler_killed,
        triggerer_killed,
        gateway_restarted,
        database_locked,
    )
}
ACTS = (*TASK_ACTS, *GROUP_ACTS)


def play(stack: Stack, simulator: Simulator, act: str, seed: object, number: int, lock_seconds: float) -> Findings:
    """One round: the same act, seed and number choose the same again. Prints a line, and what was found."""
    setting = (stack, simulator, random.Random(f"{seed} {number}"), number, lock_seconds)
    scene = GroupScene(*setting) if act in GROUP_ACTS else Scene(*setting)
    began = time.monotonic()
    try:
        if isinstance(scene, GroupScene):
            GROUP_ACTS[act](scene)
        else:
            TASK_ACTS[act](scene)
        scene.see_to_the_end()
        findings = scene.judge()
    except Exception:
        findings = Findings(1, scene.kills, lost=1, died=scene.died, details=[traceback.format_exc()])
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


def deal(seed: object, rounds: int, acts: Sequence[str]) -> list[str]:
    """The acts of this many rounds: in an order of chance, each as often as any other."""
    chance, dealt = random.Random(f"{seed}"), list[str]()
    while len(dealt) < rounds:
        dealt += chance.sample(acts, len(acts))
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
        add_group_flow(simulator)
        yield stack, simulator


def main() -> int:
    """Plays the rounds, prints what they came to, and gives 1 where anything was duplicated or lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=len(ACTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--act", choices=ACTS, action="append", help="this act only; may be repeated")
    parser.add_argument("--groups", dest="act", action="store_const", const=list(GROUP_ACTS), help="only task groups")
    parser.add_argument("--lock", type=float, default=LOCK_SECONDS, metavar="SECONDS", help="of the database")
    parser.add_argument("--only", type=int, metavar="N", help="this round only")
    options = parser.parse_args()
    # What is running is stopped, whoever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    acts = deal(options.seed, options.rounds, options.act or ACTS)
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
