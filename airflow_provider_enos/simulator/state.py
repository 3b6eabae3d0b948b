"""The flows and directories there are, the instances made of the flows, and how these progress.

An instance is ``INIT`` before its trigger time, ``WAIT`` while another instance of its flow runs, ``READY``
when its turn has come, then ``RUNNING`` until the end its flow is set to have. Nodes run level by level
along the flow's relations. One failed node makes the instance ``FAIL`` at once, though other branches run
on to their end; only then does it have an end time and make room for the next.

Nodes that a run does not include (upstream of the one it starts from) show ``INIT``, as do nodes that a
failure upstream kept from running: it is the one word the documentation shows for a node that has not run.

Nothing here runs by itself: the present is worked out when somebody looks.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from airflow_provider_enos.simulator.config import Config, Progress
from airflow_provider_enos.simulator.directories import ROOT, ROOT_DIRECTORY, Directory
from airflow_provider_enos.simulator.flows import PERIODIC, Flow, known_end

STATUS_CODES: Mapping[str, int] = MappingProxyType(
    {
        "FAIL": -1,
        "INIT": 0,
        "SUCCESS": 1,
        "RUNNING": 2,
        "SUSPEND": 3,
        "INTERNAL_ERROR": 4,
        "WAIT": 5,
        "READY": 6,
        "TIMEOUT": 7,
        "CANCEL": 8,
        "RERUN": 9,
        "SKIP": 10,
    }
)
MINUTE_MS = 60_000

_JUST_STARTED = 1e-9


class Conflict(ValueError):
    """The flow has an instance of that minute."""


class ReliedOn(ValueError):
    """Other flows rely on the flow."""


class StillRunning(ValueError):
    """The flow has an instance that runs."""


class SameName(ValueError):
    """The directory has one of that name."""


@dataclass(frozen=True)
class Node:
    """A node of an instance."""

    task_id: int
    task_instance_id: str
    name: str
    status: str


@dataclass(frozen=True)
class Instance:
    """A flow instance as it was at one moment. Times are epoch milliseconds."""

    id: str
    flow_id: int
    trigger_time: int
    minute: int
    """The trigger time cut down to the minute."""
    status: str
    from_task_id: int | None
    parameters: Mapping[str, str]
    polls: int
    """How many replies have shown it: Get Flow Instance, and List Flow Instances over its time."""
    cancelled: bool
    nodes: tuple[Node, ...]
    type: int | None
    """None: triggered, so that the switch ``listed_type`` decides where the list files it."""
    created_at: int
    started_at: int | None
    ended_at: int | None

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs or will run."""
        return self.ended_at is not None


@dataclass
class Run:
    """An instance as the world keeps it, and as a file can."""

    id: str
    flow: Flow
    trigger_time: int
    created_at: int
    from_task_id: int | None
    parameters: dict[str, str]
    type: int | None
    nodes: dict[int, str]
    set_by_hand: dict[int, str] = field(default_factory=dict)
    status: str = "INIT"
    polls: int = 0
    polls_running: int = 0
    share: float | None = None
    """How much of its work the nodes show as done; None where that has to be worked out again."""
    cancelled: bool = False
    cancel_at: int = 0
    """When the cancel comes true."""
    started_at: int | None = None
    ended_at: int | None = None

    def __post_init__(self) -> None:
        tasks = set(self.flow.tasks) if self.from_task_id is None else self.flow.downstream(self.from_task_id)
        self.levels = self.flow.levels(tasks)
        """The nodes that run, and how many levels run before each."""

    @property
    def stamp(self) -> str:
        return self.id.partition("-")[2]

    def status_at(self, now: int) -> str:
        if self.started_at is None and self.ended_at is None:
            return "INIT" if self.trigger_time > now else "WAIT"
        return self.status

    def picture(self, now: int) -> Instance:
        return Instance(
            id=self.id,
            flow_id=self.flow.flow_id,
            trigger_time=self.trigger_time,
            minute=_minute(self.trigger_time),
            status=self.status_at(now),
            from_task_id=self.from_task_id,
            parameters=dict(self.parameters),
            polls=self.polls,
            cancelled=self.cancelled,
            nodes=tuple(
                Node(task, f"{task}-{self.stamp}", name, self.nodes[task]) for task, name in self.flow.tasks.items()
            ),
            type=self.type,
            created_at=self.created_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
        )


@dataclass
class _Line:
    """What one flow has made: the minutes taken, and the instances that have not ended, in order of
    arrival.
    """

    flow: Flow
    minutes: set[int] = field(default_factory=set)
    unended: list[Run] = field(default_factory=list)
    last_triggered: int | None = None
    free_since: int = 0

    def running(self) -> Run | None:
        return next((run for run in self.unended if run.started_at is not None), None)


class World:
    """All flows and instances. Every method may be called from any thread."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.lock = threading.RLock()
        """Held during a call, and by who needs several calls to be one."""
        self._lines: dict[int, _Line] = {}
        self._runs: dict[str, Run] = {}
        self._tasks: dict[str, tuple[Run, int]] = {}
        self._directories = {ROOT: ROOT_DIRECTORY}
        self._highest_flow = self._highest_task = 0
        self.user_locked = False

    def add_flows(self, flows: Collection[Flow]) -> None:
        """Adds flows, or puts them in the place of those with their ids; instances that exist keep the old
        ones. All or none: raises ValueError where one lies in or relies on what there is not.
        """
        with self.lock:
            there = self._lines.keys() | {flow.flow_id for flow in flows}
            for flow in flows:
                self._check_surroundings(flow, there)
            for flow in flows:
                self._put_flow(flow)

    def flow(self, flow_id: int) -> Flow | None:
        """The flow, or None."""
        with self.lock:
            line = self._lines.get(flow_id)
            return line.flow if line else None

    def flows(self) -> list[Flow]:
        """All flows, and the copies of them that are being edited."""
        with self.lock:
            return [line.flow for line in self._lines.values()]

    def change_flow(self, flow_id: int, **changes: Any) -> None:
        """Changes what is stored of a flow. Raises KeyError for no such flow, ValueError for a change that makes no
        sense.
        """
        with self.lock:
            changed = replace(self._lines[flow_id].flow, **changes)
            self._check_surroundings(changed, self._lines.keys())
            self._put_flow(changed)

    def new_flow(self, make: Callable[[int, int], Flow], wanted: int | None = None) -> Flow:
        """Adds the flow that ``make`` gives, of a flow id and the first of the task ids that are free.

        The flow id is the wanted one, if it is free.
        """
        with self.lock:
            taken = self._lines.keys()
            flow_id = self._highest_flow + 1 if wanted is None or wanted in taken else wanted
            flow = make(flow_id, self._highest_task + 1)
            self.add_flows([flow])
            return flow

    def delete_flow(self, flow_id: int) -> None:
        """Removes a flow, its instances and its copies. Raises ReliedOn, StillRunning, and KeyError for no such
        flow.
        """
        with self.lock:
            line = self._lines[flow_id]
            if any(link.flow_id == flow_id for other in self._others(flow_id) for link in other.links):
                raise ReliedOn(flow_id)
            self._settle(line)
            if any(run.started_at is not None for run in line.unended):
                raise StillRunning(flow_id)
            gone = {flow_id} | {flow.flow_id for flow in self.flows() if flow.copy_of == flow_id}
            self._lines = {kept: one for kept, one in self._lines.items() if kept not in gone}
            self._runs = {kept: run for kept, run in self._runs.items() if run.flow.flow_id not in gone}
            self._tasks = {kept: (run, task) for kept, (run, task) in self._tasks.items() if run.id in self._runs}

    def name_is_taken(self, name: str, but_by: int | None = None) -> bool:
        """Whether another flow has that name."""
        return any(flow.name == name and flow.copy_of is None and flow.flow_id != but_by for flow in self.flows())

    def task_ids(self) -> set[int]:
        """The tasks of all flows."""
        return {task for flow in self.flows() for task in flow.tasks}

    def linked_tasks(self, flow_id: int) -> set[int]:
        """The tasks of a flow that other flows rely on."""
        links = [link for other in self._others(flow_id) for link in other.links]
        return {link.task_id for link in links if link.flow_id == flow_id and link.task_id is not None}

    def directories(self) -> list[Directory]:
        """All directories, in the order in which they were made; the first is the root."""
        with self.lock:
            return list(self._directories.values())

    def add_directory(self, title: str, parent: str = ROOT, id: str | None = None) -> Directory:
        """Makes a directory. Raises KeyError for no such parent, SameName."""
        with self.lock:
            self._directories[parent]
            if any(one.parent == parent and one.title == title for one in self._directories.values()):
                raise SameName(f"there is a directory {title!r} in that place")
            made = Directory(id or secrets.token_hex(16), title, parent)
            self._directories[made.id] = made
            return made

    def run_schedule(self, flow_id: int, trigger_time: int) -> Instance | None:
        """What the schedule of a flow does at a time. None where it starts nothing: it is off, or does not hold yet, or
        the flow has none. Raises Conflict, and KeyError for no such flow.
        """
        with self.lock:
            flow = self._lines[flow_id].flow
            day = datetime.fromtimestamp(trigger_time / 1000, self._config.zone)
            if flow.type != PERIODIC or not flow.active or f"{day:%Y-%m-%d}" < flow.start_time:
                return None
            return self.trigger(flow_id, None, trigger_time, type=PERIODIC)

    def trigger(
        self,
        flow_id: int,
        from_task_id: int | None,
        trigger_time: int,
        *,
        parameters: Mapping[str, str] | None = None,
        type: int | None = None,
    ) -> Instance:
        """Makes an instance. Raises Conflict where the minute rule forbids it, KeyError for no such flow or
        task.

        ``parameters``: those that this one run is given; None: the stored ones.
        """
        with self.lock:
            line = self._lines[flow_id]
            flow = line.flow
            if from_task_id is not None and from_task_id not in flow.tasks:
                raise KeyError(from_task_id)
            now = self._config.now_ms()
            instance_id = self._new_id(line, trigger_time, now, periodic=type == PERIODIC)
            keeps_stored = parameters is None or self._config.omitted_parameters == "kept"
            run = Run(
                id=instance_id,
                flow=flow,
                trigger_time=trigger_time,
                created_at=now,
                from_task_id=from_task_id,
                parameters={**(flow.parameters if keeps_stored else {}), **(parameters or {})},
                type=type,
                nodes=dict.fromkeys(flow.tasks, "INIT"),
            )
            self.put(run)
            self._bring_up(run)
            return run.picture(now)

    def put(self, run: Run) -> None:
        """Takes in an instance that was made before, of this flow or one that had its id."""
        with self.lock:
            line = self._lines[run.flow.flow_id]
            line.minutes.add(_minute(run.trigger_time))
            line.last_triggered = max(run.created_at, line.last_triggered or 0)
            if run.ended_at is None:
                line.unended.append(run)
            else:
                line.free_since = max(line.free_since, run.ended_at)
            self._runs[run.id] = run
            self._tasks.update({f"{task}-{run.stamp}": (run, task) for task in run.flow.tasks})

    def runs(self) -> list[Run]:
        """All instances as they are kept, in order of arrival, brought up to the present."""
        with self.lock:
            for run in self._runs.values():
                self._bring_up(run)
            return [
                replace(run, nodes=dict(run.nodes), set_by_hand=dict(run.set_by_hand)) for run in self._runs.values()
            ]

    def instance(self, instance_id: str) -> Instance | None:
        """The instance as it is, without counting as a poll; None where there is none."""
        with self.lock:
            run = self._runs.get(instance_id)
            return self._picture(run) if run else None

    def instances(self, flow_id: int | None = None) -> list[Instance]:
        """All instances (of a flow), in order of arrival, without counting as a poll."""
        with self.lock:
            runs = [run for run in self._runs.values() if flow_id in (None, run.flow.flow_id)]
            return [self._picture(run) for run in runs]

    def poll(self, instance_id: str) -> Instance | None:
        """The instance as a poller sees it, which may move it on; None where there is none.

        Polling one that waits for its turn moves on the one that runs: else a flow that somebody else
        triggered would never make room.
        """
        with self.lock:
            run = self._runs.get(instance_id)
            if run is None:
                return None
            self._poll(run)
            return run.picture(self._config.now_ms())

    def search(
        self,
        asked_for: Callable[[Run], bool],
        statuses: Collection[str],
        sorters: Iterable[tuple[Callable[[Run], int], bool]],
        page: slice,
    ) -> tuple[list[Instance], int]:
        """The page of the instances asked for that have one of these statuses (none: any), and how many do.

        Being asked for is a poll like any other, else a client that follows many instances by lists would
        wait for ever. ``sorters`` are keys, and whether each descends.
        """
        with self.lock:
            found: list[Run] = []
            for run in filter(asked_for, list(self._runs.values())):
                self._poll(run)
                if not statuses or run.status_at(self._config.now_ms()) in statuses:
                    found.append(run)
            for key, descending in reversed(list(sorters)):
                found.sort(key=key, reverse=descending)
            return [self._picture(run) for run in found[page]], len(found)

    def flow_of(self, instance: Instance) -> Flow:
        """The flow as it was when the instance was made."""
        with self.lock:
            return self._runs[instance.id].flow

    def task(self, task_instance_id: str) -> tuple[Instance, Node] | None:
        """The node of that task instance id, with its instance; None where there is none."""
        with self.lock:
            if task_instance_id not in self._tasks:
                return None
            run, task_id = self._tasks[task_instance_id]
            instance = self._picture(run)
        return instance, next(node for node in instance.nodes if node.task_id == task_id)

    def share_of(self, task_instance_id: str) -> float:
        """How much of its work the node of that task instance id has behind it, from 0 to 1 (it has ended)."""
        with self.lock:
            run, task_id = self._tasks[task_instance_id]
            if run.nodes[task_id] != "RUNNING":
                return 1.0
            depth = max(run.levels.values(), default=0) + 1
            return min(max((run.share or 0.0) * depth - run.levels.get(task_id, 0), 0.0), 1.0)

    def cancel(self, instance_id: str) -> bool:
        """Stops an instance, at once or after a while (``cancel_takes``); one that has ended stays as it is.

        False where there is none.
        """
        with self.lock:
            run = self._runs.get(instance_id)
            if run is None:
                return False
            self._bring_up(run)
            if run.ended_at is None and not run.cancelled:
                run.cancelled = True
                run.cancel_at = self._config.now_ms() + int(self._config.cancel_takes * 1000)
                self._stop_if_due(run, self._config.now_ms())
            return True

    def finish(self, instance_id: str, status: str, failed_task: int | None = None) -> None:
        """Ends an instance by hand. Raises ValueError for a status that is no end, KeyError for no such
        thing.
        """
        known_end(status)
        with self.lock:
            run = self._runs[instance_id]
            if failed_task is not None and failed_task not in run.nodes:
                raise KeyError(failed_task)
            culprit = _culprit(run, status) if failed_task is None else failed_task
            run.nodes.update(_nodes_at(run, 1.0, status, culprit) | run.set_by_hand)
            self._end(run, status, self._config.now_ms())

    def set_node_status(self, instance_id: str, task_id: int, status: str) -> None:
        """Fixes what one node shows, whatever the progress. Raises ValueError, KeyError."""
        if status not in STATUS_CODES:
            raise ValueError(f"a status is one of {', '.join(STATUS_CODES)}, not {status!r}")
        with self.lock:
            run = self._runs[instance_id]
            if task_id not in run.nodes:
                raise KeyError(task_id)
            run.set_by_hand[task_id] = run.nodes[task_id] = status
            run.share = None

    def _put_flow(self, flow: Flow) -> None:
        self._lines.setdefault(flow.flow_id, _Line(flow)).flow = flow
        # Not what is free: an id that a deleted flow had is not given to another one.
        self._highest_flow = max(self._highest_flow, flow.flow_id)
        self._highest_task = max(self._highest_task, *flow.tasks, 0)

    def _check_surroundings(self, flow: Flow, flow_ids: Collection[int]) -> None:
        missing = {link.flow_id for link in flow.links} - set(flow_ids)
        # A copy does not keep what it relied on from being deleted.
        if missing and flow.copy_of is None:
            raise ValueError(f"there is no flow {missing.pop()} for flow {flow.flow_id} to rely on")
        if flow.directory not in self._directories:
            raise ValueError(f"there is no directory {flow.directory!r} for flow {flow.flow_id}")

    def _others(self, flow_id: int) -> list[Flow]:
        return [flow for flow in self.flows() if flow.copy_of is None and flow.flow_id != flow_id]

    def _new_id(self, line: _Line, trigger_time: int, now: int, *, periodic: bool) -> str:
        flow_id = line.flow.flow_id
        documented = f"{flow_id}-{_stamp(trigger_time, line.flow.cycle if periodic else None)}"
        by_clock = self._config.minute_rule == "clock"
        recent = line.last_triggered is not None and now - line.last_triggered < self._config.clock_minute * 1000
        same_minute = _minute(trigger_time) in line.minutes
        # An id names one instance, so a documented one that exists is refused by either rule.
        if documented in self._runs or (recent if by_clock else same_minute):
            raise Conflict(f"flow {flow_id} was triggered for or in that minute")
        return documented if self._config.id_style == "documented" else f"{flow_id}-{secrets.token_hex(6)}"

    def _poll(self, run: Run) -> None:
        self._bring_up(run)
        run.polls += 1
        moved = run if run.started_at is not None else self._lines[run.flow.flow_id].running()
        if moved is not None and run.trigger_time <= self._config.now_ms():
            moved.polls_running += 1
            self._bring_up(run)

    def _picture(self, run: Run) -> Instance:
        self._bring_up(run)
        return run.picture(self._config.now_ms())

    def _bring_up(self, run: Run) -> None:
        """Brings an instance up to the present."""
        if self._config.one_at_a_time:
            self._settle(self._lines[run.flow.flow_id])
        elif run.ended_at is None:
            # Nobody waits for anybody: the others need not be looked at for this one.
            self._settle_alone(run, self._config.now_ms())
        self._stop_if_due(run, self._config.now_ms())

    def _stop_if_due(self, run: Run, now: int) -> bool:
        """Carries out the cancel of an instance, when it is time for it. True where that is its end."""
        if run.ended_at is not None or not run.cancelled or now < run.cancel_at:
            return False
        open_nodes = [task for task in run.levels if run.nodes[task] in ("INIT", "RUNNING")]
        run.nodes.update(dict.fromkeys(open_nodes, "CANCEL"))
        self._end(run, "CANCEL", run.cancel_at)
        return True

    def _settle(self, line: _Line) -> None:
        """Brings a flow up to the present: ends what is done, starts what may start."""
        now = self._config.now_ms()
        if self._config.one_at_a_time:
            while (run := line.running() or self._start_next(line, now)) and self._advance(run, now):
                continue
            return
        for run in list(line.unended):
            self._settle_alone(run, now)

    def _settle_alone(self, run: Run, now: int) -> None:
        if run.started_at is None and run.trigger_time <= now:
            run.started_at = max(run.created_at, run.trigger_time)
        if run.started_at is not None:
            self._advance(run, now)

    def _start_next(self, line: _Line, now: int) -> Run | None:
        run = next((run for run in line.unended if run.trigger_time <= now), None)
        if run:
            run.started_at = max(run.created_at, run.trigger_time, line.free_since)
        return run

    def _advance(self, run: Run, now: int) -> bool:
        """Sets what a started run shows at present. True where that is its end."""
        if self._stop_if_due(run, now):
            return True
        progress = run.flow.progress or self._config.progress
        share = _share(run, progress, now)
        if share == run.share:
            return False
        run.share = share
        culprit = _culprit(run, run.flow.ends_as)
        ends_as = "SUCCESS" if culprit is not None and culprit not in run.levels else run.flow.ends_as
        run.nodes = _nodes_at(run, share, ends_as, culprit) | run.set_by_hand
        if share >= 1:
            lasted = int(progress.amount * 1000) if progress.kind == "seconds" else None
            self._end(run, ends_as, now if lasted is None else (run.started_at or 0) + lasted)
            return True
        run.status = "FAIL" if "FAIL" in run.nodes.values() else "RUNNING" if share else "READY"
        return False

    def _end(self, run: Run, status: str, at: int) -> None:
        line = self._lines[run.flow.flow_id]
        run.status = status
        run.ended_at = at
        if run in line.unended:
            line.unended.remove(run)
        line.free_since = max(line.free_since, at)


def _minute(trigger_time: int) -> int:
    return trigger_time // MINUTE_MS * MINUTE_MS


def _stamp(trigger_time: int, cycle: str | None) -> str:
    moment = datetime.fromtimestamp(_minute(trigger_time) / 1000, UTC)
    if cycle is None:
        return f"{moment:%Y%m%d%H%M%S}"
    return f"{moment:%Y%m%d%H%M}" if cycle == "mi" else f"{moment:%Y%m%d%H}"


def _share(run: Run, progress: Progress, now: int) -> float:
    """How much of its work a started run has behind it, from 0 to 1."""
    if progress.kind == "manual":
        return _JUST_STARTED
    if progress.kind == "at_once" or not progress.amount:
        return 1.0
    if progress.kind == "seconds":
        return max((now - (run.started_at or now)) / 1000 / progress.amount, _JUST_STARTED)
    return max(run.polls_running - 1, 0) / progress.amount


def _culprit(run: Run, status: str) -> int | None:
    """The node to blame for a bad end."""
    if status in ("SUCCESS", "SKIP"):
        return None
    if run.flow.failing_task is not None:
        return run.flow.failing_task
    return max(run.levels, key=lambda task: run.levels[task], default=None)


def _nodes_at(run: Run, share: float, ends_as: str, culprit: int | None) -> dict[int, str]:
    """What each node shows when ``share`` of the work is done."""
    depth = max(run.levels.values(), default=0) + 1
    blocked = run.flow.downstream(culprit) - {culprit} if culprit in run.levels and culprit is not None else set()
    shown = dict.fromkeys(run.nodes, "INIT")
    for task in run.levels.keys() - blocked:
        shown[task] = _node_at(share * depth - run.levels[task], ended=share >= 1, started=share > 0)
    if ends_as == "SKIP" and share >= 1:
        shown.update(dict.fromkeys(run.levels, "SKIP"))
    if culprit in run.levels and culprit is not None and shown[culprit] == "SUCCESS":
        # Only a failure shows before the end: a cancelled or timed-out node runs until its instance stops.
        shown[culprit] = ends_as if ends_as == "FAIL" or share >= 1 else "RUNNING"
    return shown


def _node_at(levels_passed: float, *, ended: bool, started: bool) -> str:
    if ended or levels_passed >= 1:
        return "SUCCESS"
    return "RUNNING" if started and levels_passed >= 0 else "INIT"
