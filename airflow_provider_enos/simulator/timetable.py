"""What the nodes of an instance show when a share of its work is done. Pure: no clock, nothing is changed.

Nodes run level by level along the relations of the flow. Nodes that the instance does not include, and nodes that a
failure before them keeps from running, show ``INIT``: the documentation has no other word for them.
"""

from __future__ import annotations

from airflow_provider_enos.simulator.config import Progress
from airflow_provider_enos.simulator.instances import StoredInstance

JUST_STARTED = 1e-9
"""The share of an instance whose first nodes run, and of which nothing is done yet."""


def share_done(instance: StoredInstance, progress: Progress, now: int) -> float:
    """Return how much of its work a started instance has done: from 0, and 1 at its end."""
    if progress.kind == "manual":
        return JUST_STARTED
    if progress.kind == "at_once" or not progress.amount:
        return 1.0
    if progress.kind == "seconds":
        return max((now - (instance.started_at or now)) / 1000 / progress.amount, JUST_STARTED)
    return max(instance.polls_running - 1, 0) / progress.amount


def failing_node(instance: StoredInstance, status: str) -> int | None:
    """Return the node that makes an instance end with this status; None for an end that is not bad."""
    if status in ("SUCCESS", "SKIP"):
        return None
    if instance.flow.failing_task is not None:
        return instance.flow.failing_task
    return max(instance.levels, key=lambda task: instance.levels[task], default=None)


def node_statuses(instance: StoredInstance, share: float, ends_as: str, failing: int | None) -> dict[int, str]:
    """Return the status of each node when ``share`` of the work is done."""
    depth = max(instance.levels.values(), default=0) + 1
    failing = failing if failing in instance.levels else None
    blocked = set() if failing is None else instance.flow.downstream(failing) - {failing}
    shown = dict.fromkeys(instance.nodes, "INIT")
    for task in instance.levels.keys() - blocked:
        levels_passed = share * depth - instance.levels[task]
        shown[task] = _node_status(levels_passed, ended=share >= 1, started=share > 0)
    if ends_as == "SKIP" and share >= 1:
        shown.update(dict.fromkeys(instance.levels, "SKIP"))
    if failing is not None and shown[failing] == "SUCCESS":
        # Only a failure shows before the end: a cancelled or timed-out node runs until its instance ends.
        shown[failing] = ends_as if ends_as == "FAIL" or share >= 1 else "RUNNING"
    return shown


def node_share(instance: StoredInstance, task_id: int) -> float:
    """Return how much of its work a node has done, from 0 to 1: 1 unless it runs."""
    if instance.nodes[task_id] != "RUNNING":
        return 1.0
    depth = max(instance.levels.values(), default=0) + 1
    return min(max((instance.share or 0.0) * depth - instance.levels.get(task_id, 0), 0.0), 1.0)


def _node_status(levels_passed: float, *, ended: bool, started: bool) -> str:
    if ended or levels_passed >= 1:
        return "SUCCESS"
    return "RUNNING" if started and levels_passed >= 0 else "INIT"
