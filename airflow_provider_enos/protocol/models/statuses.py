"""The statuses of flow and task instances, and what each one means."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from airflow_provider_enos.protocol.text import excerpt, shown, whole_number

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models.fields import Fields

_KEPT = 40
"""Characters that are kept of a status that the documentation does not list."""


class Outcome(Enum):
    """What a status means for a wait."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class FlowStatus(Enum):
    """``FlowInstanceStatus`` of the documentation (page "List Flow Instances"), for flow and task instances.

    ``FlowStatus(x)`` takes the number, its digits, or the name. For a value that the documentation does not list it
    returns a member of that name, with ``known`` false and ``outcome`` running.
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
        # The value may be megabytes long and is kept as long as the instance: keep its beginning.
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
        """Whether the documentation lists the status."""
        return self.name in FlowStatus.__members__

    @property
    def outcome(self) -> Outcome:
        """What the status means. Every status that is not a documented end counts as running."""
        return _OUTCOMES.get(self, Outcome.RUNNING)

    @property
    def working(self) -> bool:
        """Whether the instance is being carried out at this moment, for the first time or again."""
        return self in (FlowStatus.RUNNING, FlowStatus.RERUN)

    @property
    def ended(self) -> bool:
        """Whether the instance has ended."""
        return self.outcome is not Outcome.RUNNING

    @property
    def ended_badly(self) -> bool:
        """Whether the instance has failed or was cancelled."""
        return self.outcome in (Outcome.FAILED, Outcome.CANCELLED)


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
    """Return ``FlowStatus(value)``, faster than the enum does: a graph has thousands of statuses."""
    known = _KNOWN.get(value) if isinstance(value, (str, int)) else None
    return FlowStatus(value) if known is None else known


def status_of(fields: Fields, name: str) -> FlowStatus:
    """Return the status in the field of this name, whether or not the documentation lists it."""
    value = fields.any(name)
    if value is None or value == "" or isinstance(value, (bool, list, dict)):
        raise fields.wrong(name, "a status", value)
    return flow_status(value)
