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
START = 108580
TARGET = Target(FLOW, START)
AFTER = {START: (108581, 108583), 108581: (108582,), 108582: (), 108583: ()}
"""The nodes of the flow, and which nodes follow each of them."""
BUSY = 20.0
"""Seconds for which the nodes beside a failed one run on."""
MORNING, MIDNIGHT = 1594016819108, 1594051139108
"""14:26 and 23:58 in the gateway's zone: after 23:59 the further minutes are those before."""
CLOCK_MINUTE = 5.0
PATIENCE = 3600.0
TOLERANCE = 120.0
"""Seconds by which clocks may differ."""
LONG = 20 * 3600.0
"""Seconds: more than the offset of any time zone."""

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
"""After these errors, the request may have been carried out."""
REFUSED: dict[str, Callable[[], EnosError]] = {
    "no connection": lambda: EnosTransportError("connection refused", sent=False),
    "503 before it was sent": lambda: api_error(EnosServerError, 503, sent=False),
    "429": lambda: api_error(EnosRateLimitError, 429),
    "62104": lambda: api_error(EnosRequestError, 62104),
}
"""After these errors, the request was surely not carried out."""
UNSEEN: dict[str, Callable[[], EnosError]] = {
    "error": lambda: api_error(EnosNotFoundError, 62102),
    "null or empty": lambda: api_error(EnosNotFoundError, 0),
    "62109": LOST["62109"],
}
"""How a gateway may answer for an id that it does not know."""


def downstream(node: int) -> frozenset[int]:
    """Return the node and all that run after it."""
    return frozenset({node}).union(*(downstream(following) for following in AFTER[node]))


ALL = downstream(START)
RELATIONS = [
    {"source": f"t_{node}", "target": f"t_{following}"} for node, after in AFTER.items() for following in after
]


@dataclass
class Clock:
    """Epoch seconds, which only a pause moves on."""

    now: float = 1_600_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Instance:
    """``round``: the round whose request made it; None for somebody else's. ``created``: epoch seconds.

    ``node``: where it starts. ``failed``: the node that ended it badly. ``busy_until``: when the others have ended.
    """

    id: str
    minute: int
    round: int | None
    created: float
    node: int = START
    status: str = "RUNNING"
    failed: int = START
    busy_until: float = -inf
    relations = RELATIONS

    def end(self, status: str, now: float, which: int = 0) -> None:
        """End it; if badly, because of the node of this number."""
        scope = sorted(downstream(self.node))
        self.status, self.failed, self.busy_until = status, scope[which % len(scope)], now + BUSY

    def statuses(self, now: float) -> dict[int, str]:
        """Return what its nodes show: as long as others run, a failed instance shows FAIL already."""
        shown = dict.fromkeys(AFTER, "INIT")
        for node in downstream(self.node):
            if self.status in KEPT or node == self.failed:
                shown[node] = self.status
            elif node not in downstream(self.failed):
                is_busy = now < self.busy_until and self.failed not in downstream(node)
                shown[node] = "RUNNING" if is_busy else "SUCCESS"
        return shown

    def done(self, now: float) -> frozenset[int]:
        return frozenset(node for node, status in self.statuses(now).items() if status == "SUCCESS")

    def fields(self, hours: int | None, now: float) -> dict[str, Any]:
        """Return it as EnOS shows it, with times in the zone of ``hours``; None leaves the times out."""
        fields: dict[str, Any] = {"instanceId": self.id, "flowId": FLOW, "status": self.status}
        tasks = [
            {"taskId": node, "nodeId": f"t_{node}", "taskName": f"{node}", "taskInstId": f"{node}-1", "status": status}
            for node, status in self.statuses(now).items()
        ]
        fields["graph"] = {"tasks": tasks, "relations": self.relations}
        if hours is not None:
            moment = datetime.fromtimestamp(self.created, timezone(timedelta(hours=hours)))
            fields["timestamp"] = f"{moment:%Y-%m-%d %H:%M:%S}.0"
            if self.status != "RUNNING" and now >= self.busy_until:
                fields["endTime"] = fields["timestamp"]
        return fields


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

    def trigger(self, time: int, round: int | None, node: int = START) -> str:
        """Start an instance and return its id, or raise a conflict."""
        minute = minute_of(time)
        if self.at(minute) or self.clock.now - self.triggered < self.clock_minute:
            raise conflict()
        self.triggered = self.clock.now
        id = predicted_flow_instance_id(FLOW, time) if self.documented_ids else f"{FLOW}-x{len(self.instances)}"
        self.instances.append(self._made(id, minute, round, node))
        return id

    def _made(self, id: str, minute: int, round: int | None, node: int) -> Instance:
        return Instance(id, minute, round, self.clock.now, node)

    def _flow(self) -> Flow:
        return Flow.parse({"flowId": FLOW, "graph": {"tasks": [{"taskId": node} for node in AFTER]}})

    def answer(self, call: Call[Any]) -> Any:
        """Answer a call that is no trigger."""
        if call.operation == "Get Flow":
            return self._flow()
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
        return call.parse(found.fields(self.times_in, self.clock.now))

    def _cancel(self, id: str) -> None:
        found = self.called(id)
        if found is not None and found.status == "RUNNING":
            found.end("CANCEL", self.clock.now)

    def _page(self, asked: dict[str, Any]) -> FlowInstancePage:
        found = [one for one in self.instances if asked["fromTriggerTime"] <= one.minute < asked["toTriggerTime"]]
        if asked["type"] != self.listed_type or asked["pagination"]["pageNo"] != self.first_page:
            found = []
        shown = (FlowInstance.parse(one.fields(self.times_in, self.clock.now)) for one in found)
        return FlowInstancePage(tuple(shown), len(found))


@dataclass
class Round:
    """What the tries of one round did.

    ``asked``: when each minute was asked for first. ``unanswered``: the minutes whose requests got no answer.
    ``kept``: for each minute, the nodes that had succeeded before and that its request does not run again. ``nodes``:
    the node that each minute was asked for with, and how often the task had been cleared by then.
    """

    asked: dict[int, float] = field(default_factory=dict)
    unanswered: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    reported: set[str] = field(default_factory=set)
    kept: dict[int, frozenset[int]] = field(default_factory=dict)
    nodes: dict[int, tuple[int, int]] = field(default_factory=dict)


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
