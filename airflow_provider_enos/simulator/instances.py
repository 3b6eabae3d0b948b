"""Flow instances: as the simulator keeps them, and as they look at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

from airflow_provider_enos.simulator.config import Progress
from airflow_provider_enos.simulator.flows import Flow
from airflow_provider_enos.simulator.timetable import Timetable, timetable

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
NOT_STARTED = frozenset({"INIT", "WAIT", "READY", "SKIP"})
"""The statuses of a node that has not run."""
RUNNING = frozenset({"RUNNING", "SUSPEND", "RERUN"})
"""The statuses of a node that has started and not ended."""


@dataclass(frozen=True)
class NodeInstance:
    """A node of a flow instance as it was at one moment."""

    task_id: int
    task_instance_id: str
    name: str
    status: str
    started_at: int | None = None
    """Epoch milliseconds; None: it has not run."""
    ended_at: int | None = None


@dataclass(frozen=True)
class Instance:
    """A flow instance as it was at one moment. Times are epoch milliseconds."""

    id: str
    flow_id: int
    trigger_time: int
    minute: int
    """The trigger time, cut down to the minute."""
    status: str
    from_task_id: int | None
    parameters: Mapping[str, str]
    polls: int
    """How many replies have shown it: of Get Flow Instance and of List Flow Instances."""
    cancelled: bool
    nodes: tuple[NodeInstance, ...]
    type: int | None
    """None: it was triggered, so the switch ``listed_type`` decides under which type it is listed."""
    created_at: int
    started_at: int | None
    ended_at: int | None

    @property
    def ended(self) -> bool:
        """Whether no node of it runs or will run."""
        return self.ended_at is not None


@dataclass(eq=False)
class StoredInstance:
    """A flow instance as the simulator keeps it, in memory and in the state file."""

    id: str
    flow: Flow
    """The flow as it was when the instance was created."""
    trigger_time: int
    created_at: int
    from_task_id: int | None
    parameters: dict[str, str]
    type: int | None
    nodes: dict[int, str]
    """The status of each node."""
    follows: str = "all"
    """The switch ``from_task_follows`` when the instance was created."""
    set_by_hand: dict[int, str] = field(default_factory=dict)
    status: str = "INIT"
    polls: int = 0
    polls_running: int = 0
    share: float = 0.0
    """The share of its work that was done at the last update: 0 at the start, 1 or more at the end."""
    seen_at: int | None = None
    """When it was last updated while it ran."""
    started: dict[int, int] = field(default_factory=dict)
    """When nodes started."""
    ended: dict[int, int] = field(default_factory=dict)
    """When nodes ended."""
    cancelled: bool = False
    cancel_at: int = 0
    """When a cancel takes effect."""
    started_at: int | None = None
    ended_at: int | None = None
    _plans: dict[bool, Timetable] = field(default_factory=dict, init=False, repr=False)

    @property
    def id_stamp(self) -> str:
        """The part of the id after the flow id. The ids of its task instances have the same part."""
        return self.id.partition("-")[2]

    def task_instance_id(self, task_id: int) -> str:
        """Return the id of the task instance of a node."""
        return f"{task_id}-{self.id_stamp}"

    def plan(self, progress: Progress) -> Timetable:
        """Return when the nodes of this instance run, and how it ends."""
        by_polls = progress.kind == "polls"
        if by_polls not in self._plans:
            self._plans[by_polls] = self.plan_to(self.flow.ends_as, None, progress)
        return self._plans[by_polls]

    def plan_to(self, ends_as: str, failing: int | None, progress: Progress) -> Timetable:
        """Return the plan with which it ends with this status, if that is bad because of this node."""
        return timetable(self.flow, self.from_task_id, progress, ends_as, failing, self.follows)

    def show(self, plan: Timetable, share: float, now: int) -> None:
        """Set the nodes to the state at which this share of the work is done. Note when they started and ended.
        Between two updates the work is assumed to progress evenly.
        """
        before = self.share
        since = self.seen_at if self.seen_at is not None else now if self.started_at is None else self.started_at

        def moment(at: float) -> int:
            gone = (at - before) / (share - before) if share > before else 1.0
            return round(since + min(max(gone, 0.0), 1.0) * (now - since))

        self.nodes = plan.statuses(self.nodes, share) | self.set_by_hand
        for task in self.nodes.keys() - self.set_by_hand.keys():
            span = plan.spans.get(task)
            at = (1.0, 1.0) if span is None or not plan.length else (span.start / plan.length, span.end / plan.length)
            self._note_times(task, moment(at[0]), moment(at[1]))
        self.share, self.seen_at = share, now
        if share >= 1:
            self.status, self.ended_at = plan.ends_as, moment(1.0)
        else:
            self.show_status()

    def show_status(self) -> None:
        """Set the status of an instance that runs to what its nodes show."""
        self.status = "FAIL" if "FAIL" in self.nodes.values() else "RUNNING" if self.share else "READY"

    def set_by_hand_at(self, task_id: int, status: str, now: int) -> None:
        """Fix the status of a node."""
        self.set_by_hand[task_id] = self.nodes[task_id] = status
        self.ended.pop(task_id, None)
        self._note_times(task_id, now, now)

    def end_cancelled(self, at: int) -> None:
        """End a cancelled instance, with all of its nodes."""
        start = self.from_task_id
        in_scope = self.nodes.keys() if start is None else self.flow.downstream(start, self.follows)
        for task in in_scope:
            if self.nodes[task] in ("INIT", "RUNNING"):
                self.nodes[task] = "CANCEL"
                if task in self.started:
                    self.ended[task] = at
        self.status, self.ended_at = "CANCEL", at

    def _note_times(self, task_id: int, started: int, ended: int) -> None:
        status = self.nodes[task_id]
        if status in NOT_STARTED:
            self.started.pop(task_id, None)
            self.ended.pop(task_id, None)
            return
        self.started.setdefault(task_id, started)
        if status not in RUNNING:
            self.ended.setdefault(task_id, ended)

    def status_at(self, now: int) -> str:
        """Return the status to show."""
        if self.started_at is None and self.ended_at is None:
            return "INIT" if self.trigger_time > now else "WAIT"
        return self.status

    def snapshot(self, now: int) -> Instance:
        """Return the instance as it is, unchanged by what happens later."""
        if self.started_at is not None and self.ended_at is None:
            self.seen_at = now
        return Instance(
            id=self.id,
            flow_id=self.flow.flow_id,
            trigger_time=self.trigger_time,
            minute=minute_of(self.trigger_time),
            status=self.status_at(now),
            from_task_id=self.from_task_id,
            parameters=dict(self.parameters),
            polls=self.polls,
            cancelled=self.cancelled,
            nodes=tuple(
                NodeInstance(
                    task,
                    self.task_instance_id(task),
                    name,
                    self.nodes[task],
                    self.started.get(task),
                    self.ended.get(task),
                )
                for task, name in self.flow.tasks.items()
            ),
            type=self.type,
            created_at=self.created_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
        )


def minute_of(moment: int) -> int:
    """Return a time in milliseconds, cut down to the minute."""
    return moment // MINUTE_MS * MINUTE_MS


def id_stamp(trigger_time: int, cycle: str | None) -> str:
    """Return the time in the id of an instance. It has fewer digits if a schedule of this ``cycle`` started it."""
    moment = datetime.fromtimestamp(minute_of(trigger_time) / 1000, UTC)
    if cycle is None:
        return f"{moment:%Y%m%d%H%M%S}"
    return f"{moment:%Y%m%d%H%M}" if cycle == "mi" else f"{moment:%Y%m%d%H}"
