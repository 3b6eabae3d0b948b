"""What EnOS's answers mean. Parsed once, here; the rest of the package never sees the wire format.

The wire is loose: ids come as numbers or text, structures as objects or as JSON text, keys of a graph in camelCase
or snake_case, one object sometimes as a list of one. All of these are read. What is missing or of another shape is
an ``EnosReplyError`` that names the field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar, overload

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol.text import excerpt, is_instance_id

D = TypeVar("D")
T = TypeVar("T")


class Outcome(Enum):
    """What a status means to somebody who waits."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class FlowStatus(Enum):
    """``FlowInstanceStatus`` of the documentation (page "List Flow Instances"), for flow and task instances.

    ``FlowStatus(x)`` takes the number, its digits, or the name. A value that the documentation does not list makes
    a member of that name, for which ``known`` is false and ``outcome`` is still running.
    """

    FAIL = -1
    INIT = 0
    SUCCESS = 1
    RUNNING = 2
    SUSPEND = 3
    INTERNAL_ERROR = 4
    WAIT = 5
    READY = 6
    TIMEOUT = 7
    CANCEL = 8
    RERUN = 9
    SKIP = 10

    @classmethod
    def _missing_(cls, value: object) -> FlowStatus:
        text = excerpt(str(value), 40)
        if text in cls.__members__:
            return cls[text]
        number = _whole_number(text)
        if number is not None and number != value:
            return cls(number)
        unknown = object.__new__(cls)
        unknown._name_ = text
        unknown._value_ = value  # type: ignore[assignment]
        return unknown

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FlowStatus) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    @property
    def known(self) -> bool:
        """Whether the documentation lists it."""
        return self.name in FlowStatus.__members__

    @property
    def outcome(self) -> Outcome:
        """The one reading of a status: everything but the listed ends is still running."""
        return _OUTCOMES.get(self, Outcome.RUNNING)

    @property
    def ended(self) -> bool:
        """Whether this status is an end."""
        return self.outcome is not Outcome.RUNNING


_OUTCOMES = {
    FlowStatus.SUCCESS: Outcome.SUCCEEDED,
    FlowStatus.FAIL: Outcome.FAILED,
    FlowStatus.INTERNAL_ERROR: Outcome.FAILED,
    FlowStatus.TIMEOUT: Outcome.FAILED,
    FlowStatus.CANCEL: Outcome.CANCELLED,
    FlowStatus.SKIP: Outcome.SKIPPED,
}


@dataclass(frozen=True, slots=True)
class FlowInstanceNode:
    """A task node in the graph of a flow instance."""

    task_instance_id: str
    task_id: int | None
    task_name: str
    node_id: str
    status: FlowStatus | None

    def __str__(self) -> str:
        return f"{self.task_name} ({self.task_instance_id})"

    @classmethod
    def parse(cls, data: object) -> FlowInstanceNode:
        fields = Fields(data, "task of the graph")
        status = fields.any("status")
        return cls(
            task_instance_id=fields.text("taskInstId", ""),
            task_id=fields.number("taskId", None),
            task_name=fields.text("taskName", ""),
            node_id=fields.text("nodeId", ""),
            status=None if status in (None, "") else FlowStatus(status),
        )


@dataclass(frozen=True, slots=True)
class FlowInstance:
    """One run of a flow. Times are the texts that EnOS sends: their zone is not documented."""

    flow_instance_id: str
    status: FlowStatus
    flow_id: int | None
    flow_name: str
    trigger_time: str | None
    start_time: str | None
    end_time: str | None
    created_time: str | None
    business_date: str | None
    owner: str
    cycle: str
    parameters: tuple[tuple[str, str], ...]
    is_cancelled: bool
    nodes: tuple[FlowInstanceNode, ...]

    @classmethod
    def parse(cls, data: object) -> FlowInstance:
        fields = Fields(one(data, "flow instance"), "flow instance")
        graph = fields.decoded("graph")
        return cls(
            flow_instance_id=fields.text("instanceId"),
            status=fields.status("status"),
            flow_id=fields.number("flowId", None),
            flow_name=fields.text("flowName", ""),
            trigger_time=fields.text("triggerTime", None),
            start_time=fields.text("startTime", None),
            end_time=fields.text("endTime", None),
            created_time=fields.text("timestamp", None),
            business_date=fields.text("calDt", None),
            owner=fields.text("owner", ""),
            cycle=fields.text("cycle", ""),
            parameters=_parameters(fields.decoded("parameters")),
            is_cancelled=fields.flag("isCancelled"),
            nodes=_nodes(graph, FlowInstanceNode.parse),
        )

    def nodes_with(self, outcome: Outcome) -> tuple[FlowInstanceNode, ...]:
        """The nodes whose status has this outcome, in the order of the graph."""
        return tuple(node for node in self.nodes if node.status and node.status.outcome is outcome)

    @property
    def working_nodes(self) -> tuple[FlowInstanceNode, ...]:
        """The nodes that are running at this moment."""
        return tuple(node for node in self.nodes if node.status is FlowStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class FlowInstancePage:
    """One page of List Flow Instances. Whether ``count`` is the total is not documented: do not rely on it."""

    instances: tuple[FlowInstance, ...]
    count: int | None

    @classmethod
    def parse(cls, data: object) -> FlowInstancePage:
        fields = Fields({"flowInsts": None} if data in (None, "", []) else data, "page of flow instances")
        return cls(
            instances=tuple(FlowInstance.parse(item) for item in fields.list("flowInsts", empty=True)),
            count=fields.number("count", None),
        )


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """One run of one task node."""

    task_instance_id: str
    status: FlowStatus
    task_id: int | None
    task_name: str
    flow_instance_id: str
    trigger_time: str | None
    start_time: str | None
    end_time: str | None
    run_number: int | None
    retry_number: int | None
    retry_limit: int | None
    is_timeout: bool
    command: str

    @classmethod
    def parse(cls, data: object) -> TaskInstance:
        fields = Fields(one(data, "task instance"), "task instance")
        return cls(
            task_instance_id=fields.text("instanceId"),
            status=fields.status("status"),
            task_id=fields.number("taskId", None),
            task_name=fields.text("taskName", ""),
            flow_instance_id=fields.text("flowInstId", ""),
            trigger_time=fields.text("triggerTime", None),
            start_time=fields.text("startTime", None),
            end_time=fields.text("endTime", None),
            run_number=fields.number("runNum", None),
            retry_number=fields.number("recallNum", None),
            retry_limit=fields.number("recallLimit", None),
            is_timeout=fields.flag("isTimeout"),
            command=fields.text("cmd", ""),
        )


@dataclass(frozen=True, slots=True)
class FlowNode:
    """A task node in the graph of a flow. ``task_id`` is what ``from_task_id`` takes."""

    task_id: int
    task_name: str
    node_id: str

    def __str__(self) -> str:
        return f"{self.task_id} ({self.task_name})"

    @classmethod
    def parse(cls, data: object) -> FlowNode:
        fields = Fields(data, "task of the graph")
        return cls(
            task_id=fields.number("taskId"),
            task_name=fields.text("taskName", ""),
            node_id=fields.text("nodeId", ""),
        )


@dataclass(frozen=True, slots=True)
class Flow:
    """A workflow."""

    flow_id: int
    flow_name: str
    type: int | None
    active: bool
    locked: bool
    user_locked: bool
    owner: str
    cycle: str
    cron: str
    description: str
    parameters: tuple[tuple[str, str], ...]
    nodes: tuple[FlowNode, ...]

    @classmethod
    def parse(cls, data: object) -> Flow:
        fields = Fields(one(data, "flow"), "flow")
        return cls(
            flow_id=fields.number("flowId"),
            flow_name=fields.text("flowName", ""),
            type=fields.number("type", None),
            active=fields.flag("active"),
            locked=fields.flag("locked"),
            user_locked=fields.flag("isUserLocked"),
            owner=fields.text("owner", ""),
            cycle=fields.text("cycle", ""),
            cron=fields.text("freq", ""),
            description=fields.text("desc", ""),
            parameters=_parameters(fields.decoded("parameters")),
            nodes=_nodes(fields.decoded("graph"), FlowNode.parse),
        )


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What the token service gives. ``expire`` is the seconds it still lives."""

    value: str
    expire: float

    def __repr__(self) -> str:
        return f"AccessToken(expire={self.expire})"

    @classmethod
    def parse(cls, data: object) -> AccessToken:
        fields = Fields(data, "access token", show_values=False)
        value = fields.text("accessToken")
        if not value.isascii() or not value.isprintable() or not value.strip():
            raise EnosReplyError("access token: accessToken is not a printable text")
        return cls(value=value, expire=float(fields.number("expire")))


def flow_instance_id_of(data: object) -> str:
    """The id in the answer to a trigger."""
    flow_instance_id = Fields(data, "answer to the trigger").text("flowInstanceId")
    if not is_instance_id(flow_instance_id):
        raise EnosReplyError(f"answer to the trigger: flowInstanceId: {_shown(flow_instance_id)} is no instance id")
    return flow_instance_id


def log_of(data: object) -> str:
    """The text in the answer of Get Task Instance Log."""
    return Fields(data, "task instance log").text("log", "")


def current_time_of(data: object) -> int:
    """Epoch milliseconds in the answer of Get Current Time."""
    number = _whole_number(data)
    if number is None:
        raise EnosReplyError(f"current time: expected epoch milliseconds, got {_shown(data)}")
    return number


def time_zone_of(data: object) -> str:
    """The zone in the answer of Get Timezone, such as ``GMT+8``."""
    return Fields(data, "time zone").text("timezone")


def nothing(data: object) -> None:
    """For operations that answer nothing of interest."""


def one(data: object, what: str) -> object:
    """The object itself, also where EnOS sends it as a list of one."""
    if isinstance(data, list):
        if len(data) != 1:
            raise EnosReplyError(f"{what}: expected one, got a list of {len(data)}")
        return data[0]
    return data


_REQUIRED: Any = object()


class Fields:
    """Reads the fields of one JSON object, in camelCase as documented or in snake_case as some samples have it."""

    def __init__(self, data: object, what: str, *, show_values: bool = True) -> None:
        self._what = what
        self._show_values = show_values
        if not isinstance(data, Mapping):
            raise EnosReplyError(f"{what}: expected an object, got {self._shown(data)}")
        self._data = data

    def any(self, name: str) -> Any:
        """The value as it came; None where there is none."""
        value = self._data.get(name)
        return self._data.get(_snake_case(name)) if value is None else value

    @overload
    def text(self, name: str) -> str: ...

    @overload
    def text(self, name: str, default: D) -> str | D: ...

    def text(self, name: str, default: Any = _REQUIRED) -> Any:
        """A text; numbers count as text, since ids come as both."""
        value = self.any(name)
        if value is None:
            return self._default(name, default)
        if isinstance(value, str):
            return _whole(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        raise self._wrong(name, "a text", value)

    @overload
    def number(self, name: str) -> int: ...

    @overload
    def number(self, name: str, default: D) -> int | D: ...

    def number(self, name: str, default: Any = _REQUIRED) -> Any:
        """A whole number, also as digits."""
        value = self.any(name)
        if value is None or value == "":
            return self._default(name, default)
        number = _whole_number(value)
        if number is None:
            raise self._wrong(name, "a whole number", value)
        return number

    def flag(self, name: str) -> bool:
        """A boolean, which some fields carry as 0 and 1; missing is false."""
        value = self.any(name)
        if value in (None, "", False, 0, "0", "false"):
            return False
        if value in (True, 1, "1", "true"):
            return True
        raise self._wrong(name, "true or false", value)

    def status(self, name: str) -> FlowStatus:
        """A status, whether or not the documentation lists it."""
        value = self.any(name)
        if value is None or value == "" or isinstance(value, (bool, list, dict)):
            raise self._wrong(name, "a status", value)
        return FlowStatus(value)

    def list(self, name: str, *, empty: bool = False) -> list[Any]:
        """A list. ``empty``: null stands for an empty one; that the field is missing still does not."""
        value = self.any(name)
        if empty and value in (None, "") and self._data.keys() & {name, _snake_case(name)}:
            return []
        if not isinstance(value, list):
            raise self._wrong(name, "a list", value)
        return value

    def decoded(self, name: str) -> Any:
        """A structure, which EnOS sends as JSON text; None where it is missing or empty."""
        value = self.any(name)
        if not isinstance(value, str):
            return value
        if not value.strip():
            return None
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise self._wrong(name, "JSON", value) from None

    def _default(self, name: str, default: Any) -> Any:
        if default is _REQUIRED:
            raise EnosReplyError(f"{self._what}: {name} is missing")
        return default

    def _wrong(self, name: str, expected: str, value: object) -> EnosReplyError:
        return EnosReplyError(f"{self._what}: {name}: expected {expected}, got {self._shown(value)}")

    def _shown(self, value: object) -> str:
        return _shown(value) if self._show_values else f"a value of type {type(value).__name__}"


def _nodes(graph: object, parse: Callable[[object], T]) -> tuple[T, ...]:
    if graph is None:
        return ()
    fields = Fields(graph, "graph")
    return tuple(parse(task) for task in fields.list("tasks")) if fields.any("tasks") else ()


def _parameters(value: object) -> tuple[tuple[str, str], ...]:
    """Parameters, documented both as a map and as a list of key and value."""
    if not value:
        return ()
    if isinstance(value, Mapping):
        return tuple((_whole(str(name)), _whole(str(text))) for name, text in value.items())
    if isinstance(value, list):
        pairs = (Fields(item, "parameter") for item in value)
        return tuple((pair.text("key"), pair.text("value", "")) for pair in pairs)
    raise EnosReplyError(f"parameters: expected a list of key and value, got {_shown(value)}")


def _whole_number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        # Some JSON libraries write 3377 as 3377.0.
        value = int(value)
    if isinstance(value, int):
        return value if abs(value) < 10**19 else None
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) <= 19:
        return int(value)
    return None


def _whole(text: str) -> str:
    """``text`` without halves of characters, which JSON can hold and no encoding takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _snake_case(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _shown(value: object) -> str:
    return "nothing" if value is None else excerpt(repr(value), 60)
