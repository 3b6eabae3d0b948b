"""A model of EnOS for the model-based tests of a start, and what a task has done with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from math import inf
from typing import Any

from airflow_provider_enos.errors import (
    EnosApiError,
    EnosError,
    EnosNotFoundError,
    EnosRateLimitError,
    EnosReplyError,
    EnosRequestError,
    EnosServerError,
    EnosTransportError,
)
from airflow_provider_enos.protocol.models import Flow, FlowInstance, FlowInstancePage
from airflow_provider_enos.protocol.start.attempts import Target
from airflow_provider_enos.protocol.trigger_time import minute_of, predicted_flow_instance_id
from airflow_provider_enos.protocol.wire.messages import Call

FLOW = 3377
TARGET = Target(FLOW, 108580)
MORNING, MIDNIGHT = 1594016819108, 1594051139108
"""14:26 and 23:58 in the gateway's zone: after 23:59 the further minutes are those before."""
CLOCK_MINUTE = 5.0
PATIENCE = 3600.0
TOLERANCE = 120.0
"""Seconds by which clocks may differ."""
LONG = 20 * 3600.0
"""Seconds: more than any zone makes of a time."""

KEPT = ("RUNNING", "SUCCESS")
"""A round has one instance of these statuses: one that ended badly may be followed by another."""


def api_error(cls: type[EnosApiError], code: int, *, sent: bool = True) -> EnosError:
    error = cls(code, "no", operation="x", http_status=200)
    error.sent = sent
    return error


def conflict() -> EnosError:
    return api_error(EnosRequestError, 62102)


LOST: dict[str, Callable[[], EnosError]] = {
    "no reply": lambda: EnosTransportError("read timed out", sent=True),
    "503": lambda: api_error(EnosServerError, 503),
    "62109": lambda: api_error(EnosServerError, 62109),
    "garbage": lambda: EnosReplyError("garbage"),
}
"""After these, whether a request was carried out is not known."""
REFUSED: dict[str, Callable[[], EnosError]] = {
    "no connection": lambda: EnosTransportError("connection refused", sent=False),
    "503 before it was sent": lambda: api_error(EnosServerError, 503, sent=False),
    "429": lambda: api_error(EnosRateLimitError, 429),
    "62104": lambda: api_error(EnosRequestError, 62104),
}
"""After these, it surely was not."""
UNSEEN: dict[str, Callable[[], EnosError]] = {
    "error": lambda: api_error(EnosNotFoundError, 62102),
    "null or empty": lambda: api_error(EnosNotFoundError, 0),
    "62109": LOST["62109"],
}
"""How a gateway may answer for an id that it does not know."""


@dataclass
class Clock:
    """Epoch seconds, which only a pause moves on."""

    now: float = 1_600_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Instance:
    """``round``: the round whose request made it; None for somebody else's. ``created``: epoch seconds."""

    id: str
    minute: int
    round: int | None
    created: float
    status: str = "RUNNING"

    def parsed(self, hours: int | None) -> FlowInstance:
        """Return it as EnOS shows it, with times in the zone of ``hours``; None leaves the times out."""
        fields: dict[str, Any] = {"instanceId": self.id, "flowId": FLOW, "status": self.status}
        if hours is not None:
            moment = datetime.fromtimestamp(self.created, timezone(timedelta(hours=hours)))
            fields["timestamp"] = f"{moment:%Y-%m-%d %H:%M:%S}.0"
        return FlowInstance.parse(fields)


@dataclass
class Gateway:
    """The part of EnOS that the protocol sees. It keeps one instance per minute."""

    clock: Clock
    documented_ids: bool = True
    clock_minute: float = 0.0
    unseen: str = "error"
    listed_type: int = 0
    first_page: int = 0
    times_in: int | None = 0
    instances: list[Instance] = field(default_factory=list)
    triggered: float = -inf

    def at(self, minute: int) -> Instance | None:
        return next((one for one in self.instances if one.minute == minute), None)

    def called(self, id: str) -> Instance | None:
        return next((one for one in self.instances if one.id == id), None)

    def trigger(self, time: int, round: int | None) -> str:
        """Start an instance and return its id, or raise a conflict."""
        minute = minute_of(time)
        if self.at(minute) or self.clock.now - self.triggered < self.clock_minute:
            raise conflict()
        self.triggered = self.clock.now
        id = predicted_flow_instance_id(FLOW, time) if self.documented_ids else f"{FLOW}-x{len(self.instances)}"
        self.instances.append(Instance(id, minute, round, self.clock.now))
        return id

    def answer(self, call: Call[Any]) -> Any:
        """Answer a call that is no trigger."""
        if call.operation == "Get Flow":
            return Flow.parse({"flowId": FLOW, "graph": {"tasks": [{"taskId": 108580, "taskName": "first"}]}})
        if call.token_only:
            return None
        if call.operation == "Get Timezone":
            return "GMT+8"
        if call.operation == "Cancel Flow Instance":
            return self._cancel(json.loads(call.body or b"")["flowInstId"])
        if call.operation == "List Flow Instances":
            return self._page(json.loads(call.body or b""))
        assert call.operation == "Get Flow Instance"
        found = self.called(dict(call.query)["flowInstId"])
        if found is None:
            raise UNSEEN[self.unseen]()
        return found.parsed(self.times_in)

    def _cancel(self, id: str) -> None:
        found = self.called(id)
        if found is not None and found.status == "RUNNING":
            found.status = "CANCEL"

    def _page(self, asked: dict[str, Any]) -> FlowInstancePage:
        found = [one for one in self.instances if asked["fromTriggerTime"] <= one.minute < asked["toTriggerTime"]]
        if asked["type"] != self.listed_type or asked["pagination"]["pageNo"] != self.first_page:
            found = []
        return FlowInstancePage(tuple(one.parsed(self.times_in) for one in found), len(found))


@dataclass
class Round:
    """What the tries of one round did.

    ``asked``: when each minute was asked for first. ``unanswered``: the minutes whose requests got no answer.
    """

    asked: dict[int, float] = field(default_factory=dict)
    unanswered: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    reported: set[str] = field(default_factory=set)


@dataclass
class Try:
    """One try of the task: first it starts its instance (``steps``), then it waits for the end of it (``id``)."""

    steps: Generator[Any, Any, str]
    step: Any = None
    id: str | None = None
    ended: str | None = None
    error: EnosError | None = None
    restarting: bool = False
    unanswered: bool = False
    doubtful: bool = False
    looked_at: set[int | None] = field(default_factory=set)

    @property
    def starting(self) -> bool:
        return self.id is None and self.ended is None

    @property
    def waiting(self) -> bool:
        return self.id is not None and self.ended is None

    @property
    def at_trigger(self) -> bool:
        return self.starting and isinstance(self.step, Call) and "Trigger" in self.step.operation

    @property
    def at_look(self) -> bool:
        asks = self.starting and isinstance(self.step, Call) and not self.step.token_only
        return asks and "Trigger" not in self.step.operation

    @property
    def at_token(self) -> bool:
        return self.starting and isinstance(self.step, Call) and self.step.token_only
