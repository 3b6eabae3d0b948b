"""The acts of chaos.py on a task group: each destroys something while the group starts, waits, or starts again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import psutil
from group_scene import GroupScene, wait_until_followed
from stack import until

TRIGGERS = "flows/triggerFromTask", "flows/trigger"
FLOW_GET = "flows/get"


def group_killed_while_starting(scene: GroupScene) -> None:
    """``start`` dies: before EnOS has heard of its request, or before ``start`` knows the instance."""
    at = _hold_triggers(scene)
    scene.begin_group()
    _while_held(scene, at, lambda: scene.kill_node("start"))


def group_killed_while_restarting(scene: GroupScene) -> None:
    """One node has failed, or two side by side; the retries that start the flow again die."""
    scene.begin_group()
    nodes = scene.choose("b", "c", "bc", "f")
    at = _hold_restart(scene, nodes)
    _while_held(scene, at, lambda: scene.kill_running(nodes))


def group_restart_comes_late(scene: GroupScene) -> None:
    """The retry dies while its request is under way, and that reaches EnOS when the next try asks, too."""
    scene.begin_group()
    node = scene.choose("b", "c")
    scene.simulator.hold(TRIGGERS[0], "received", times=2)
    scene.fail(node)
    scene.simulator.wait_held()
    scene.kill_node(node)
    first, second = scene.simulator.wait_held(2)
    for held in scene.chance.sample([first, second], 2):
        scene.simulator.release(held)
        until(lambda: len(scene.group.instances) > 1, 10, "the second instance", pause=0.02)


def group_restart_is_overtaken(scene: GroupScene) -> None:
    """The machine of the retry sleeps while it reads the flow; the next try starts it, and then the first goes on."""
    scene.begin_group()
    node = scene.choose("b", "c")
    scene.group.instance(1)  # by now ``start`` has read the flow
    scene.simulator.hold(FLOW_GET, "received")
    scene.fail(node)
    (held,) = scene.simulator.wait_held()
    run = scene.group.of(node)
    task, supervisor = scene.processes(run)
    for process in (supervisor, task):
        process.suspend()
    scene.note_killed(node, run.task["try_number"])
    until(lambda: len(scene.group.instances) > 1, 90, "the instance of another try")
    scene.simulator.release(held)
    # It has time to do whatever it does now.
    for process in (task, supervisor):
        process.resume()
    with contextlib.suppress(psutil.TimeoutExpired):
        task.wait(10)


def group_killed_while_repeating(scene: GroupScene) -> None:
    """All has succeeded, a node is cleared with what is downstream, and the task that starts it again dies."""
    scene.begin_group()
    scene.succeed()
    at = _hold_triggers(scene)
    node = scene.choose("b", "c", "e", "f")
    scene.repeat(node)
    _while_held(scene, at, lambda: scene.kill_node(node))


def group_cleared_while_restarting(scene: GroupScene) -> None:
    """The user clears the nodes while the retry starts them. Its instance is cancelled, and another one started."""
    scene.begin_group()
    nodes = scene.choose("c", "bc")
    at = _hold_restart(scene, nodes)
    scene.simulator.wait_held()
    tries = {node: scene.group.tasks[node]["try_number"] for node in nodes}
    _while_held(scene, at, lambda: scene.group.clear(*scene.again))
    scene.simulator.clear_holds()

    def have_begun_again() -> bool:
        tasks = scene.group.tasks
        return all(tasks[node]["try_number"] > number for node, number in tries.items())

    # Nothing ends before: what had succeeded before a clear is started again.
    until(have_begun_again, 90, "the next tries")
    # Each of the tasks may have had a request of its own.
    scene.most = 2 + len(nodes)


def group_triggerer_killed(scene: GroupScene) -> None:
    """The triggerer dies while nodes wait in it; another one comes. Then a node fails, or all succeed."""
    scene.begin_group()
    scene.group.instance(1)
    wait_until_followed(scene)
    triggerer = psutil.Process(scene.stack.pid("triggerer"))
    scene.replace_part("triggerer", [triggerer, *triggerer.children(recursive=True)])
    if scene.choose("fails", "succeeds") == "fails":
        scene.fail("c")


def group_scheduler_killed(scene: GroupScene) -> None:
    """The scheduler dies while nodes wait, or while a retry starts the flow again; with all below it, or alone."""
    scene.begin_group()
    scene.group.instance(1)
    is_restarting = scene.choose("waiting", "restarting") == "restarting"
    if is_restarting:
        _hold_restart(scene, "c")
        scene.simulator.wait_held()
    else:
        wait_until_followed(scene)
    scheduler = psutil.Process(scene.stack.pid("scheduler"))
    below = scheduler.children(recursive=True)
    victims = below if scene.choose("everything", "itself") == "everything" else []
    scene.replace_part("scheduler", [scheduler, *victims], left=below)
    if is_restarting and not victims:
        # Its tasks are no longer wanted, and are killed in good order: an open request of theirs is cancelled.
        scene.most += 1
    scene.simulator.clear_holds()


def group_gateway_restarted(scene: GroupScene) -> None:
    """EnOS stops while a retry starts the flow again, and comes back knowing its instances, but none of its tokens."""
    scene.begin_group()
    _hold_restart(scene, scene.choose("c", "bc"))
    scene.simulator.wait_held()
    scene.simulator.restart(scene.chance.uniform(0, 5))
    scene.kills += 1


def group_database_locked(scene: GroupScene) -> None:
    """Airflow's database is locked while a retry starts the flow again."""
    scene.begin_group()
    _hold_restart(scene, scene.choose("c", "bc"))
    scene.simulator.wait_held()
    with scene.locked_database():
        scene.simulator.clear_holds()


def _hold_triggers(scene: GroupScene) -> str:
    """Hold the next request that starts an instance, before or after EnOS has done it. Return which of the two."""
    at: str = scene.choose("received", "accepted")
    for operation in TRIGGERS:
        scene.simulator.hold(operation, at)
    return at


def _while_held(scene: GroupScene, at: str, destroy: Callable[[], None]) -> None:
    """Destroy something once the request is held, and let it go: one that EnOS has not seen yet is lost."""
    (held,) = scene.simulator.wait_held()
    destroy()
    scene.simulator.release(held, drop=at == "received")


def _hold_restart(scene: GroupScene, nodes: str) -> str:
    """Let nodes fail, and hold the request that starts them again."""
    scene.group.instance(1)
    at = _hold_triggers(scene)
    scene.fail(nodes)
    return at


GROUP_ACTS: dict[str, Callable[[GroupScene], None]] = {
    act.__name__: act
    for act in (
        group_killed_while_starting,
        group_killed_while_restarting,
        group_restart_comes_late,
        group_restart_is_overtaken,
        group_killed_while_repeating,
        group_cleared_while_restarting,
        group_triggerer_killed,
        group_scheduler_killed,
        group_gateway_restarted,
        group_database_locked,
    )
}
