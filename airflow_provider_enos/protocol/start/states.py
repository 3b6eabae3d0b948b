"""The states of a start, and what a request that met an error means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from airflow_provider_enos.errors import (
    EnosApiError,
    EnosError,
    EnosRateLimitError,
    EnosRequestError,
    EnosServerError,
)
from airflow_provider_enos.protocol.start.attempts import Intent
from airflow_provider_enos.protocol.start.pauses import is_passing
from airflow_provider_enos.protocol.wire import replies

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowInstance


class Fate(Enum):
    """What came of a trigger that met an error."""

    NOT_CARRIED_OUT = "surely nothing, and the gateway may take it later"
    REFUSED = "surely nothing, and asking again does not help"
    TAKEN = "nothing: the minute is taken, or the target does not exist"
    UNKNOWN = "perhaps an instance"


def fate_of(error: EnosError) -> Fate:
    """Return what came of the trigger that met this error."""
    if error.sent and isinstance(error, EnosRequestError) and error.code == replies.INVALID:
        return Fate.TAKEN
    if isinstance(error, EnosRateLimitError) or (not error.sent and is_passing(error)):
        return Fate.NOT_CARRIED_OUT
    if error.repeated:
        return Fate.UNKNOWN
    return Fate.REFUSED if not error.sent or is_refusal(error) else Fate.UNKNOWN


def is_refusal(error: EnosError) -> bool:
    """Return whether EnOS or its gateway answered that it will not."""
    return isinstance(error, EnosApiError) and not isinstance(error, EnosServerError)


@dataclass(frozen=True, slots=True)
class Cancel:
    """The lineage before this one may have left its instance running."""

    predecessor: Intent


@dataclass(frozen=True, slots=True)
class LookBack:
    """An earlier try may have started an instance for this minute.

    :param left: how many minutes, with this one, may have an instance of an earlier try.
    """

    index: int
    time: int
    left: int = 1


@dataclass(frozen=True, slots=True)
class Ask:
    """This minute is to be asked for.

    :param is_open: an earlier request of this lineage for this minute may still be carried out, or was.
    """

    index: int
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Find:
    """The request for this minute was sent, and its outcome is not known."""

    index: int
    time: int
    error: EnosError


@dataclass(frozen=True, slots=True)
class Taken:
    """This minute has an instance, or the gateway says so.

    :param error: what the gateway said; None where nothing was asked for.
    :param found: the instance, where it is known that it cannot be ours.
    :param is_open: an earlier request of this lineage may have made the instance.
    """

    index: int
    time: int
    error: EnosError | None = None
    found: FlowInstance | None = None
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """The attempt has its instance. ``taken_over``: another try has asked for it."""

    flow_instance_id: str
    taken_over: bool = False


State = Cancel | LookBack | Ask | Find | Taken | Started
