"""Flow instances: as the simulator keeps them, and as they look at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

from airflow_provider_enos.simulator.flows import Flow

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


@dataclass(frozen=True)
class NodeInstance:
    """A node of a flow instance as it was at one moment."""

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
    set_by_hand: dict[int, str] = field(default_factory=dict)
    status: str = "INIT"
    polls: int = 0
    polls_running: int = 0
    share: float | None = None
    """The share of the work that the nodes show as done; None: not computed yet."""
    cancelled: bool = False
    cancel_at: int = 0
    """When a cancel takes effect."""
    started_at: int | None = None
    ended_at: int | None = None

    def __post_init__(self) -> None:
        tasks = set(self.flow.tasks) if self.from_task_id is None else self.flow.downstream(self.from_task_id)
        self.levels = self.flow.levels(tasks)
        """The nodes that this instance runs, and how many levels of nodes run before each."""

    @property
    def id_stamp(self) -> str:
        """The part of the id after the flow's, which the ids of its task instances share."""
        return self.id.partition("-")[2]

    def task_instance_id(self, task_id: int) -> str:
        """Return the id of the task instance of a node."""
        return f"{task_id}-{self.id_stamp}"

    def status_at(self, now: int) -> str:
        """Return the status to show."""
        if self.started_at is None and self.ended_at is None:
            return "INIT" if self.trigger_time > now else "WAIT"
        return self.status

    def snapshot(self, now: int) -> Instance:
        """Return the instance as it is, unchanged by what happens later."""
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
                NodeInstance(task, self.task_instance_id(task), name, self.nodes[task])
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
    """Return the stamp in the id of an instance: shorter where a schedule of this cycle started it."""
    moment = datetime.fromtimestamp(minute_of(trigger_time) / 1000, UTC)
    if cycle is None:
        return f"{moment:%Y%m%d%H%M%S}"
    return f"{moment:%Y%m%d%H%M}" if cycle == "mi" else f"{moment:%Y%m%d%H}"
