"""One round of chaos.py with a task group: the run of a DAG whose tasks are the nodes of a flow."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from chaos_scene import PATIENCE, Findings, Scene, log_lines
from group_runs import EDGES, NODES, GroupRun, add_flow, task_id
from stack import Simulator, until

FLOW = 9700
FIRST_DAY = datetime(2020, 1, 1, tzinfo=UTC)
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


def add_group_flow(simulator: Simulator) -> None:
    """Add the flow of chaos_dags/group.json, which all rounds share. Each has a day of its own."""
    add_flow(simulator, FLOW, "chaos")


def downstream(nodes: str) -> str:
    """Return these nodes and all that run after them."""
    found = set(nodes)
    for before, after in EDGES:  # in the order in which they run
        found |= {after} if before in found else set()
    return "".join(sorted(found))


class GroupScene(Scene):
    """One round: what an act on a group has at hand."""

    group: GroupRun
    again: str = ""
    """The nodes whose tasks follow the last instance rather than the first one."""
    most = 1
    """Instances there may be, those that were cancelled included."""
    starts: Sequence[str] = ()
    """The nodes from which there have to be instances, in this order; ``""``: the whole flow. Empty: any."""
    killed: dict[str, int]
    """The tries that were killed, by the node: there has to be a later one, so that an act which missed shows."""

    def begin_group(self) -> None:
        """Start a run, whose nodes do not end by themselves."""
        day = FIRST_DAY + timedelta(days=self.number)
        self.group = GroupRun(self.stack, self.simulator, self.choose("group_deferred", "group_sync"), FLOW, day)
        self.starts, self.killed = [""], {}

    def fail(self, nodes: str) -> None:
        """These nodes fail once the nodes before them have succeeded. What does not need them succeeds."""
        self.again = downstream(nodes)
        first = self.group.instance(1)
        self._wait_for_tasks_of(nodes)
        never = "".join(set(self.again) - set(nodes))
        self.group.nodes_are(first, SUCCESS="".join(set(NODES) - set(self.again)), FAIL=nodes, INIT=never)
        self.group.finish(first, "FAIL")
        # The fork is the flow's first node.
        self.most, self.starts = 2, ["", nodes if len(nodes) == 1 else ""]

    def succeed(self) -> None:
        """All nodes succeed, and Airflow has noticed it."""
        self.group.finish(self.group.instance(1), "SUCCESS")
        self.group.run.wait_for_run("success")

    def repeat(self, node: str) -> None:
        """Clear a node that has succeeded, and what is downstream of it."""
        self.again = downstream(node)
        self.group.clear(*self.again)
        self.most, self.starts = 2, ["", node]

    def kill_node(self, node: str) -> None:
        """Kill the process that runs the task of a node, or of ``start``."""
        run = self.group.of(node)
        os.kill(self.process(run), signal.SIGKILL)
        self.note_killed(node, run.task["try_number"])

    def note_killed(self, node: str, try_number: int) -> None:
        """Note that this try of a node's task cannot go on."""
        self.killed[node] = try_number
        self.kills += 1

    def kill_running(self, nodes: str) -> None:
        """Kill the processes that run tasks of these nodes now; there is at least one."""
        tasks = self.group.tasks
        running = [node for node in nodes if tasks[node]["state"] == "running" and tasks[node]["pid"]]
        assert running, tasks
        for node in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(tasks[node]["pid"]), signal.SIGKILL)
                self.note_killed(node, tasks[node]["try_number"])

    def _wait_for_tasks_of(self, nodes: str) -> None:
        """Wait until Airflow has begun the tasks of nodes. EnOS may be far ahead."""
        first, before = self.group.instance(1), set(NODES) - set(downstream(nodes))
        self.group.nodes_are(first, SUCCESS="".join(before), RUNNING=nodes)
        for node in nodes:
            self.group.wait(lambda _, node=node: self.group.waits_for_node(node), f"{node} to wait")  # type: ignore[misc]

    def see_to_the_end(self) -> None:
        """End instances once tasks look at them again, until all tasks are done."""
        polls, end = self._polls(), time.monotonic() + PATIENCE
        while not self._is_done() and time.monotonic() < end:
            self.keep_alive()
            if self._polls() > polls:
                for instance in self.group.instances:
                    if instance["ended_at"] is None and instance["polls"] and not instance["cancelled"]:
                        self.group.finish(instance, "SUCCESS")
            time.sleep(0.5)

    def _polls(self) -> int:
        return sum(one["polls"] for one in self.group.instances)

    def _is_done(self) -> bool:
        try:
            return all(state in ENDED for state in self.group.states().values())
        except (requests.RequestException, AssertionError):
            return False

    def judge(self) -> Findings:
        """Compare what EnOS has with what the tasks say."""
        instances = self.group.instances
        findings = Findings(1, self.kills, len(instances), died=self.died)
        why = self._duplicate(instances)
        findings.duplicates = bool(why)
        if not why and (why := self._lost(instances)):
            findings.lost = 1
        if why:
            findings.details.append(self._report_group(why, instances))
        return findings

    def _duplicate(self, instances: list[dict[str, Any]]) -> str:
        if len(instances) > self.most:
            return f"DUPLICATE: {len(instances)} instances, at most {self.most} expected"
        restarts = [one["id"] for one in instances[1:] if one["status"] not in ("FAIL", "CANCEL")]
        if len(restarts) > 1:
            return f"DUPLICATE: {restarts} neither failed nor were cancelled"
        alive = [one["id"] for one in instances if one["ended_at"] is None]
        return f"DUPLICATE: {alive} run on" if alive else ""

    def _lost(self, instances: list[dict[str, Any]]) -> str:
        states = self.group.states()
        if set(states.values()) != {"success"}:
            return f"LOST: the tasks are {states}"
        tries = {node: task["try_number"] for node, task in self.group.tasks.items()}
        if missed := [node for node, number in self.killed.items() if tries[node] <= number]:
            return f"THE ACT MISSED: no further try of {missed}"
        froms = [one["from_task_id"] for one in instances]
        expected = [task_id(node, FLOW) if node else None for node in self.starts]
        # What was cancelled in between has been started from the same node.
        if froms[: len(expected)] != expected or set(froms[len(expected) :]) - {expected[-1]}:
            return f"LOST: started from the nodes {froms}, not {expected}"
        for node in NODES:
            follows, newest = self.group.instance_of(node), instances[-1 if node in self.again else 0]
            if follows != newest["id"]:
                return f"LOST: {node} follows {follows}, not {newest['id']}"
            if (status := _statuses(newest)[node]) != "SUCCESS":
                return f"LOST: {node} has succeeded, and is {status} in {follows}"
        return ""

    def _report_group(self, why: str, instances: list[dict[str, Any]]) -> str:
        lines = [f"{self.group.run.dag_id}, {self.group.run.run_id}: {why}"]
        for one in instances:
            lines.append(f"  instance {one['id']} from {one['from_task_id']}: {one['status']} {_statuses(one)}")
        for name, task in self.group.tasks.items():
            lines.append(f"  task {name}: {task['state']}, try {task['try_number']}")
            if task["try_number"] > 1 or task["state"] != "success":
                for number in range(1, task["try_number"] + 1):
                    lines += [f"  log of try {number}:"]
                    lines += [f"    {line}" for line in log_lines(self.group.of(name), number)]
        return "\n".join(lines)


def _statuses(instance: dict[str, Any]) -> dict[str, str]:
    return {node["name"]: node["status"] for node in instance["nodes"]}


def wait_until_followed(scene: GroupScene) -> None:
    """Wait until somebody looks at the group's newest instance from here on."""
    instance = scene.group.instances[-1]["id"]

    def looks() -> int:
        return int(next(one["polls"] for one in scene.group.instances if one["id"] == instance))

    before = looks()
    until(lambda: looks() > before, 60, "a task to look at the instance", scene.group.states)
