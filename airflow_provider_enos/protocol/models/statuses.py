"""What the status of a flow or task instance means."""

from __future__ import annotations

from enum import Enum

from airflow_provider_enos.protocol.models.fields import Fields, whole_number
from airflow_provider_enos.protocol.text import excerpt, shown

_KEPT = 40
"""Characters that are kept of a status that the documentation does not list."""


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
        text = excerpt(value, _KEPT) if isinstance(value, str) else shown(value, _KEPT)
        if text in cls.__members__:
            return cls[text]
        number = whole_number(text)
        if number is not None and number != value:
            return cls(number)
        unknown = object.__new__(cls)
        unknown._name_ = text
        # Not all of what came, which may be megabytes: this is kept as long as the instance is.
        unknown._value_ = value if number is not None else text  # type: ignore[assignment]
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
    def working(self) -> bool:
        """Whether it is being carried out at this moment, for the first time or once more."""
        return self in (FlowStatus.RUNNING, FlowStatus.RERUN)

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


_KNOWN: dict[object, FlowStatus] = {
    spelling: status for status in FlowStatus for spelling in (status.value, str(status.value), status.name)
}


def flow_status(value: object) -> FlowStatus:
    """Return ``FlowStatus(value)``, without the detours of an enum: a graph has thousands of them."""
    known = _KNOWN.get(value) if isinstance(value, (str, int)) else None
    return FlowStatus(value) if known is None else known


def status_of(fields: Fields, name: str) -> FlowStatus:
    """The status in the field of this name, whether or not the documentation lists it."""
    value = fields.any(name)
    if value is None or value == "" or isinstance(value, (bool, list, dict)):
        raise fields.wrong(name, "a status", value)
    return flow_status(value)
