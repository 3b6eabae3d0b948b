"""The states of a start, the outcomes of its steps, and the table that says what follows from which outcome.

Each state but the two ends has one step (``starting.STEPS``). A step does its requests and returns a ``StepResult``.
``TRANSITIONS`` maps the state and the outcome to the next state. Nothing else decides what comes next, except that a
step raises an error where EnOS cannot be reached for too long, or where another try of the task has begun.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_enos.errors import (
    EnosApiError,
    EnosError,
    EnosRateLimitError,
    EnosRequestError,
    EnosServerError,
)
from airflow_provider_enos.protocol.start.pauses import is_passing
from airflow_provider_enos.protocol.wire import replies

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowInstance


class State(Enum):
    """Where a start is. The value says what its step does."""

    CANCEL_PREDECESSOR = "cancel the instance that the round before a clear has left running"
    LOOK_BACK = "look for the instance that an earlier try may have started in this minute"
    SEND = "ask EnOS to start an instance in this minute"
    FIND = "look for the instance of a request that got no clear answer"
    SETTLE = "find out who has the minute that EnOS refused"
    RECOVER = "wait until nothing of a failed instance runs any more, and choose from which node to start after it"
    STARTED = "the end: the try has its instance"
    FAILED = "the end: the try raises an error"


class StepOutcome(Enum):
    """What a step came to."""

    NONE_RUNS = "no instance of an earlier round is running, as far as is known"
    NO_EARLIER_TRY = "no earlier try can have started an instance in this minute"
    FREE = "no instance has the minute"
    OURS = "an instance has the minute that a request of this round has started, or may have"
    ENDED_BADLY = "an instance of this round has the minute, and it failed or was cancelled"
    PASSED_OVER = "the minute was taken before this task asked for it, so an earlier try went on to the next one"
    OTHERS = "an instance has the minute that no request of this round can have started"
    NAMED = "EnOS has started an instance and named it"
    TAKEN = "EnOS refused: the minute is taken, or the flow or node does not exist (62102)"
    BUSY = "EnOS did surely not carry out the request, and may do so later (429, no connection)"
    REFUSED = "EnOS did surely not carry out the request, and will not do so later"
    NO_ANSWER = "EnOS may have carried out the request (no reply, a fault of the server)"
    NOT_SEEN = "no instance of the request can be seen"
    NO_TARGET = "the flow or the node does not exist"
    LEFT_ALONE = 'an instance of somebody else has the minute (on_conflict="next_minute")'
    ATTACHED = 'an instance of somebody else has the minute (on_conflict="attach")'
    CONFLICT = 'an instance of somebody else has the minute (on_conflict="fail")'
    FROM_START = "the retry starts what the first try started"
    FROM_NODE = 'the retry starts at the node that has to run again (retry_from="failure")'
    RUNS_AGAIN = "somebody has rerun the failed instance in EnOS, so it has not ended badly"
    NODE_GONE = "the node that has to run again does not exist any more"


class Next(NamedTuple):
    """What follows: a state, for the same minute or for the next one of the day."""

    state: State
    next_minute: bool = False


TRANSITIONS: Mapping[tuple[State, StepOutcome], Next] = MappingProxyType(
    {
        (State.CANCEL_PREDECESSOR, StepOutcome.NONE_RUNS): Next(State.LOOK_BACK),
        #
        (State.LOOK_BACK, StepOutcome.NO_EARLIER_TRY): Next(State.SEND),
        (State.LOOK_BACK, StepOutcome.FREE): Next(State.SEND),
        (State.LOOK_BACK, StepOutcome.OURS): Next(State.STARTED),
        (State.LOOK_BACK, StepOutcome.ENDED_BADLY): Next(State.RECOVER),
        (State.LOOK_BACK, StepOutcome.PASSED_OVER): Next(State.LOOK_BACK, next_minute=True),
        (State.LOOK_BACK, StepOutcome.OTHERS): Next(State.SETTLE),
        #
        (State.SEND, StepOutcome.NAMED): Next(State.STARTED),
        (State.SEND, StepOutcome.TAKEN): Next(State.SETTLE),
        (State.SEND, StepOutcome.NO_ANSWER): Next(State.FIND),
        (State.SEND, StepOutcome.BUSY): Next(State.SEND),
        (State.SEND, StepOutcome.REFUSED): Next(State.FAILED),
        #
        (State.FIND, StepOutcome.OURS): Next(State.STARTED),
        (State.FIND, StepOutcome.OTHERS): Next(State.SETTLE),
        (State.FIND, StepOutcome.NOT_SEEN): Next(State.FAILED),
        #
        (State.SETTLE, StepOutcome.OURS): Next(State.STARTED),
        (State.SETTLE, StepOutcome.ENDED_BADLY): Next(State.RECOVER),
        (State.SETTLE, StepOutcome.FREE): Next(State.SEND),
        (State.SETTLE, StepOutcome.LEFT_ALONE): Next(State.SEND, next_minute=True),
        (State.SETTLE, StepOutcome.ATTACHED): Next(State.STARTED),
        (State.SETTLE, StepOutcome.CONFLICT): Next(State.FAILED),
        (State.SETTLE, StepOutcome.NODE_GONE): Next(State.SEND),
        (State.SETTLE, StepOutcome.NO_TARGET): Next(State.FAILED),
        #
        (State.RECOVER, StepOutcome.FROM_START): Next(State.LOOK_BACK, next_minute=True),
        (State.RECOVER, StepOutcome.FROM_NODE): Next(State.LOOK_BACK, next_minute=True),
        (State.RECOVER, StepOutcome.RUNS_AGAIN): Next(State.LOOK_BACK),
    }
)
"""The next state by state and outcome. A start begins in ``CANCEL_PREDECESSOR``."""


@dataclass(frozen=True, slots=True)
class Minute:
    """The minute that a start is at, and what it knows of this minute.

    :param index: 0 for the trigger time's own minute, then the order of ``further_minutes``.
    :param time: the trigger time in this minute, epoch milliseconds; 0 where it is not worked out yet.
    :param tries_before: how many earlier tries may have an instance in this minute or in a later one.
    :param is_open: whether EnOS may have carried out an earlier request of this round for this minute.
    :param error: how EnOS answered the request; None where nothing was sent.
    :param found: the instance that has the minute, where it is known that it is not ours, or that it ended badly.
    """

    index: int
    time: int = 0
    tries_before: int = 0
    is_open: bool = False
    error: EnosError | None = None
    found: FlowInstance | None = None

    def next(self) -> Minute:
        """Return the next minute, of which nothing is known yet."""
        return Minute(self.index + 1, tries_before=self.tries_before)


@dataclass(frozen=True, slots=True)
class Started:
    """The try has its instance.

    :param taken_over: whether another try has sent the request for it.
    :param restarted_from: the node that a retry has restarted it from; None where it was started as the first time.
    """

    flow_instance_id: str
    taken_over: bool = False
    restarted_from: int | None = None


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step came to. ``end``: what the start returns or raises if it ends with this step."""

    outcome: StepOutcome
    minute: Minute
    end: Started | EnosError | None = None


def outcome_of(error: EnosError) -> StepOutcome:
    """Return what a request to start an instance came to that met this error."""
    if error.sent and isinstance(error, EnosRequestError) and error.code == replies.INVALID:
        return StepOutcome.TAKEN
    if isinstance(error, EnosRateLimitError) or (not error.sent and is_passing(error)):
        return StepOutcome.BUSY
    if error.repeated:
        return StepOutcome.NO_ANSWER
    return StepOutcome.REFUSED if not error.sent or is_refusal(error) else StepOutcome.NO_ANSWER


def is_refusal(error: EnosError) -> bool:
    """Return whether EnOS or its gateway has answered, and declined the request."""
    return isinstance(error, EnosApiError) and not isinstance(error, EnosServerError)
