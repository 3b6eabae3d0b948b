"""Exactly one instance, whatever an adversary does: the protocol against a model of EnOS and of Airflow.

`make test` runs each machine with 300 examples, always the same ones; `make nightly` with 5,000 random ones, or as
many as ENOS_MODEL_EXAMPLES says.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from math import inf
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from worker import Log

from airflow_provider_enos.errors import (
    EnosApiError,
    EnosError,
    EnosNotFoundError,
    EnosRateLimitError,
    EnosReplyError,
    EnosRequestError,
    EnosServerError,
    EnosTransportError,
    EnosTriggerConflictError,
    EnosTriggerUncertainError,
)
from airflow_provider_enos.protocol.models import Flow, FlowInstance, FlowInstancePage
from airflow_provider_enos.protocol.start import attempts, killed, starting
from airflow_provider_enos.protocol.start.attempts import Attempt, Intent, Target
from airflow_provider_enos.protocol.start.killed import cancel_unanswered
from airflow_provider_enos.protocol.start.ledger import Ledger
from airflow_provider_enos.protocol.start.pauses import ClockMinutes
from airflow_provider_enos.protocol.start.starting import STEPS, Starter
from airflow_provider_enos.protocol.start.states import Ask, Cancel, Find, LookBack, Started, State, Taken
from airflow_provider_enos.protocol.trigger_time import (
    MINUTE,
    further_minutes,
    minute_of,
    minute_of_id,
    predicted_flow_instance_id,
)
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Call, Sleep

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
"""Of these a lineage has one: what has ended badly may be followed by another."""


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
    """``lineage``: whose request made it; None for somebody else's. ``created``: epoch seconds."""

    id: str
    minute: int
    lineage: int | None
    created: float
    status: str = "RUNNING"

    def parsed(self, hours: int | None) -> FlowInstance:
        """As EnOS shows it, with times in the zone of so many hours, or with none."""
        fields: dict[str, Any] = {"instanceId": self.id, "flowId": FLOW, "status": self.status}
        if hours is not None:
            moment = datetime.fromtimestamp(self.created, timezone(timedelta(hours=hours)))
            fields["timestamp"] = f"{moment:%Y-%m-%d %H:%M:%S}.0"
        return FlowInstance.parse(fields)


@dataclass
class Gateway:
    """As much of EnOS as the protocol sees. It keeps one instance a minute, by whatever rule it refuses others."""

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

    def trigger(self, time: int, lineage: int | None) -> str:
        """A new instance, or a conflict."""
        minute = minute_of(time)
        if self.at(minute) or self.clock.now - self.triggered < self.clock_minute:
            raise conflict()
        self.triggered = self.clock.now
        id = predicted_flow_instance_id(FLOW, time) if self.documented_ids else f"{FLOW}-x{len(self.instances)}"
        self.instances.append(Instance(id, minute, lineage, self.clock.now))
        return id

    def answer(self, call: Call[Any]) -> Any:
        """What it says to anything but a trigger."""
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
class Lineage:
    """What the tries between two clears did. ``unanswered``: the minutes asked for without getting to know the end.

    ``asked``: when each minute was asked for first.
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


class Adversary(RuleBasedStateMachine):
    """A task, an EnOS, and everything that can come between them."""

    has_store: bool
    sound = False
    """Whether nothing has been found so far, and there is something to look at."""

    @initialize(
        on_conflict=st.sampled_from(["next_minute", "next_minute", "attach", "fail"]),
        retries=st.sampled_from([0, 2, 3]),
        trigger_time=st.sampled_from([MORNING, MIDNIGHT]),
        documented_ids=st.booleans(),
        clock_minute=st.sampled_from([0.0, 0.0, CLOCK_MINUTE]),
        unseen=st.sampled_from(sorted(UNSEEN)),
        listed_type=st.sampled_from([0, 1, 2]),
        first_page=st.sampled_from([0, 1]),
        late=st.sampled_from(["before", "after", "never"]),
        times_in=st.sampled_from([0, 8, 8, None]),
        tolerance=st.sampled_from([0.0, 600.0]),
        taken=st.sampled_from([0, 0, 0, 1, 2]),
        clears=st.sampled_from([0, 0, 0, 1, 2]),
    )
    def begin(
        self,
        on_conflict: Any,
        retries: int,
        trigger_time: int,
        late: str,
        taken: int,
        clears: int,
        tolerance: float,
        **gateway: Any,
    ) -> None:
        """Before the adversary begins, others had the first ``taken`` minutes, and all went well up to some clears.

        ``late``: when what is under way arrives, once the adversary has stopped.
        """
        zone = timezone(timedelta(hours=8))
        self.minutes = [minute_of(trigger_time), *further_minutes(trigger_time, zone)]
        self.on_conflict, self.retries, self.trigger_time, self.late = on_conflict, retries, trigger_time, late
        self.tolerance = tolerance
        self.clock = Clock()
        self.gateway = Gateway(self.clock, **gateway)
        self.under_way: list[tuple[int, int]] = []
        self.record: Any = None
        self.last: Intent | None = None
        self.left_running: set[str] = set()
        self.lineages: dict[int, Lineage] = defaultdict(Lineage)
        self.lineage, self.try_number, self.max_tries = 0, 1, retries
        self.sound = True
        for minute in self.minutes[: taken if self.has_store else 0]:
            self._arrive(minute, None)
            self.clock.now += CLOCK_MINUTE
        self.clock.now += LONG
        self._try()
        for _ in range(clears):
            self._settle()
            self.clear()

    # What the task does.

    def _try(self, *, is_readable: bool = True) -> None:
        self.last = None
        reported = self.lineages[self.lineage].reported
        self.ended_badly = {one.id for one in self.gateway.instances if one.id in reported and one.status not in KEPT}
        try:
            attempt = self._attempt(is_readable)
        except EnosError as error:
            self.now = Try(iter(()), ended="failed", error=error)  # type: ignore[arg-type]
            self._check(self._check_error, error)
            return
        starter = Starter(
            TARGET,
            attempt,
            self,
            Log(),
            on_conflict=self.on_conflict,
            tolerance=self.tolerance,
            deadline=self.clock.now + PATIENCE,
            clock=self.clock,
            gateway_clock=self.clock,
            cancels_predecessor=True,
        )
        self.now = Try(starter.run())
        self._go_on(lambda: next(self.now.steps))

    def _attempt(self, is_readable: bool) -> Attempt:
        return attempts.attempt_of(
            self.record if is_readable else None,
            try_number=self.try_number,
            max_tries=self.max_tries,
            retries=self.retries,
            has_record=self.has_store and is_readable,
            is_readable=is_readable,
            now=int(self.clock.now * 1000),
            trigger_time=lambda now: self.trigger_time,
        )

    # The record of the try.

    superseded = False

    def save(self, intent: Intent) -> None:
        self.last = intent
        if self.has_store:
            self.record = json.loads(json.dumps(intent.to_json()))

    def _go_on(self, on: Callable[[], Any]) -> None:
        """Takes the generator to its next step, or to its end."""
        now = self.now
        try:
            now.step = on()
        except StopIteration as done:
            now.id = done.value.flow_instance_id
            self._check(self._check_id, now.id)
        except EnosError as error:
            now.ended, now.error = "failed", error
            self._check(self._check_error, error)
        else:
            self._note_look()
            if now.at_trigger:
                self.lineages[self.lineage].asked.setdefault(minute_of(self._time()), self.clock.now)
                self._check(self._check_sends, minute_of(self._time()))

    def _time(self) -> int:
        return int(json.loads(self.now.step.body)["triggerTime"])

    def _note_look(self) -> None:
        step = self.now.step
        if isinstance(step, Call) and step.operation == "Get Flow Instance":
            self.now.looked_at.add(minute_of_id(dict(step.query)["flowInstId"]))

    def _throw(self, error: EnosError) -> None:
        self._go_on(lambda: self.now.steps.throw(error))

    def _answer(self) -> None:
        """An honest answer to what is asked."""
        step = self.now.step
        if isinstance(step, Sleep):
            self.clock.now += step.seconds
            return self._go_on(lambda: self.now.steps.send(None))
        try:
            given = (
                self.gateway.trigger(self._time(), self.lineage) if self.now.at_trigger else self.gateway.answer(step)
            )
        except EnosError as error:
            if self.now.at_trigger:
                self.lineages[self.lineage].refused.add(minute_of(self._time()))
            return self._throw(error)
        return self._go_on(lambda: self.now.steps.send(given))

    @precondition(lambda self: self.now.starting)
    @rule(most=st.sampled_from([1, 5, 60, 60]))
    def goes_well(self, most: int) -> None:
        """Up to the next trigger, so that the adversary gets hold of each."""
        for _ in range(most):
            self._answer()
            if not self.now.starting or self.now.at_trigger:
                break

    # What the adversary does.

    def _unanswered(self) -> None:
        self.now.unanswered = True
        self.lineages[self.lineage].unanswered.add(minute_of(self._time()))

    def _arrive(self, time: int, lineage: int | None) -> None:
        """Nobody is there for the answer."""
        with suppress(EnosError):
            self.gateway.trigger(time, lineage)

    @precondition(lambda self: self.now.at_trigger)
    @rule(why=st.sampled_from(sorted(REFUSED)))
    def trigger_is_refused(self, why: str) -> None:
        self._throw(REFUSED[why]())

    @precondition(lambda self: self.now.at_trigger)
    @rule(why=st.sampled_from(sorted(LOST)), request=st.sampled_from(["arrives", "late", "never arrives"]))
    def trigger_is_not_answered(self, why: str, request: str) -> None:
        self._unanswered()
        self._send_off(request)
        self._throw(LOST[why]())

    def _send_off(self, request: str) -> None:
        if request == "arrives":
            self._arrive(self._time(), self.lineage)
        elif request == "late":
            self.under_way.append((self._time(), self.lineage))

    @precondition(lambda self: self.now.at_trigger)
    @rule(first=st.sampled_from(["is carried out", "is not"]), stranger=st.booleans())
    def trigger_is_delivered_twice(self, first: str, stranger: bool) -> None:
        """Something on the way has sent it twice, and the second copy was refused: so it is sent once more."""
        time = self._time()
        if stranger and self.has_store:
            self._arrive(time, None)
        if first == "is carried out":
            self._arrive(time, self.lineage)
        self.lineages[self.lineage].unanswered.add(minute_of(time))
        try:
            id = self.gateway.trigger(time, self.lineage)
        except EnosError as error:
            self.now.doubtful = True
            error.repeated = True
            return self._throw(error)
        return self._go_on(lambda: self.now.steps.send(id))

    @precondition(lambda self: self.now.at_token)
    @rule(why=st.sampled_from(["no connection", "503 before it was sent"]))
    def token_cannot_be_had(self, why: str) -> None:
        self._throw(REFUSED[why]())

    @precondition(lambda self: self.now.at_look)
    @rule(why=st.sampled_from(sorted({**LOST, **REFUSED})))
    def look_fails(self, why: str) -> None:
        self._throw({**LOST, **REFUSED}[why]())

    @precondition(lambda self: self.now.starting)
    @rule(request=st.sampled_from(["arrives", "late", "never arrives"]), then=st.sampled_from(["", "restart", "rerun"]))
    def worker_is_lost_while_it_starts(self, request: str, then: str) -> None:
        """Or the task is cleared, which restarts it with ``max_tries`` as it was; or the same try is run once more."""
        if self.now.at_trigger:
            self._unanswered()
            self._send_off(request)
        self.now.steps.close()
        self.now.ended, self.now.restarting = "failed", then == "restart"
        if then == "rerun" and self.has_store:
            self._try()

    @precondition(lambda self: self.now.at_trigger)
    @rule(request=st.sampled_from(["arrives", "late", "never arrives"]), restarting=st.booleans())
    def task_is_killed_before_the_reply(self, request: str, restarting: bool) -> None:
        """Unlike a worker that is lost, it may still cancel what it has asked for."""
        self._unanswered()
        self._send_off(request)
        self.now.steps.close()
        self.now.ended, self.now.restarting = "failed", restarting
        self._check(self._check_kill, self._kill())

    def _kill(self) -> str | None:
        """What the handler of the signal does, as far as it gets."""
        if self.last is None or not self.last.is_open:
            return None
        until = self.clock.now + 4
        steps = cancel_unanswered(self.last, until=until, clock=self.clock, gateway_clock=self.clock)
        answer: Callable[[], Any] = lambda: next(steps)  # noqa: E731
        while True:
            try:
                step = answer()
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            if isinstance(step, Sleep):
                self.clock.now += step.seconds
                answer = partial(steps.send, None)
                continue
            try:
                answer = partial(steps.send, self.gateway.answer(step))
            except EnosError as error:
                answer = partial(steps.throw, error)

    @precondition(lambda self: self.now.waiting)
    @rule(cancelled=st.booleans(), restarting=st.booleans())
    def worker_is_lost_while_it_waits(self, cancelled: bool, restarting: bool) -> None:
        """Or the task is cleared or marked failed, and the instance is cancelled, unless the cancel is lost."""
        self._lose_wait(cancelled)
        self.now.restarting = restarting

    def _lose_wait(self, cancelled: bool) -> None:
        found = self.gateway.called(self.now.id or "")
        if cancelled and found is not None and found.status == "RUNNING":
            found.status = "CANCEL"
        self.now.ended = "failed"

    @precondition(lambda self: self.now.waiting)
    @rule(cancelled=st.booleans())
    def clear_while_deferred(self, cancelled: bool) -> None:
        """Unlike a clear while it runs this raises ``max_tries``."""
        self._lose_wait(cancelled)
        self.clear()

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 9))
    def late_request_arrives(self, which: int) -> None:
        self._arrive(*self.under_way.pop(which % len(self.under_way)))

    # Without a record, what others start in the minute of a task is out of scope: see the README.
    @precondition(lambda self: self.has_store)
    @rule(which=st.integers(0, 4))
    def somebody_else_triggers(self, which: int) -> None:
        self._arrive(self.minutes[which], None)

    @precondition(lambda self: any(one.status == "RUNNING" for one in self.gateway.instances))
    @rule(which=st.integers(0, 9), status=st.sampled_from(["SUCCESS", "FAIL", "CANCEL"]))
    def instance_ends(self, which: int, status: str) -> None:
        running = [one for one in self.gateway.instances if one.status == "RUNNING"]
        running[which % len(running)].status = status

    # What Airflow does.

    def _has_ended(self) -> bool:
        found = self.gateway.called(self.now.id or "")
        return self.now.waiting and found is not None and found.status != "RUNNING"

    @precondition(_has_ended)
    @rule()
    def task_ends_as_its_instance(self) -> None:
        found = self.gateway.called(self.now.id or "")
        self.now.ended = "success" if found and found.status == "SUCCESS" else "failed"

    def _may_retry(self) -> bool:
        """A task that was cleared while it ran is always tried again."""
        return self.now.ended == "failed" and (self.now.restarting or self.try_number <= self.max_tries)

    @precondition(lambda self: self.now.ended is not None)
    @rule(cleared=st.sampled_from([False, False, False, True]), store=st.sampled_from(["works", "works", "fails"]))
    def next_try(self, cleared: bool, store: str) -> None:
        """A retry where there may be one, else a user clears the task. The store may fail when it is read."""
        is_readable = store == "works" or not self.has_store
        if cleared or not self._may_retry():
            self.clear(is_readable=is_readable)
        else:
            self.retry(is_readable=is_readable)

    @precondition(lambda self: self.now.ended is not None)
    @rule()
    def time_passes(self) -> None:
        self.clock.now += LONG

    def retry(self, *, is_readable: bool = True) -> None:
        self.try_number += 1
        self._try(is_readable=is_readable)

    def clear(self, *, is_readable: bool = True) -> None:
        self.max_tries = self.try_number + self.retries
        self.lineage += 1
        left = self.gateway.called((self.record or {}).get("flow_instance_id") or "")
        if left is not None and left.status == "RUNNING":
            self.left_running.add(left.id)
        self.retry(is_readable=is_readable)

    # What must hold.

    def _check(self, check: Callable[[Any], None], what: Any) -> None:
        self.sound = False
        check(what)
        self.sound = True

    def _check_id(self, id: str) -> None:
        found = self.gateway.called(id)
        assert found is not None, f"I2: {id} does not exist"
        mine = self.lineages[self.lineage]
        earlier = {one for number in range(self.lineage) for one in self.lineages[number].reported}
        assert found.lineage in (None, self.lineage), f"I3: {id} was started before a clear"
        assert id not in earlier, f"I3: {id} was another's before a clear"
        assert id not in self.ended_badly, f"I8: {id} had ended badly before this try"
        if found.lineage is None:
            # What somebody else started in the very minute of a request of ours that was not answered, and since then,
            # cannot be told from ours. Nothing else may be taken for ours.
            ambiguous = found.minute in mine.unanswered and self._may_be_taken_for(found, mine)
            attached = self.on_conflict == "attach" and found.minute in mine.asked
            assert ambiguous or attached, f"{id} is somebody else's"
        mine.reported.add(id)
        running = [one.id for one in self.gateway.instances if one.id in self.left_running and one.status == "RUNNING"]
        assert not running, f"I6: {running} was left running by a lineage before a clear"

    def _may_be_taken_for(self, found: Instance, mine: Lineage) -> bool:
        """Whether the time of the instance does not tell it from one of ours."""
        return self.gateway.times_in is None or found.created >= mine.asked[found.minute] - TOLERANCE - 1

    def _check_kill(self, cancelled: str | None) -> None:
        """Who is killed between request and reply cancels what came of it, and nobody else's."""
        mine, minute = self.lineages[self.lineage], minute_of(self.last.sent_time) if self.last else 0
        own = [one for one in self.gateway.instances if one.lineage == self.lineage and one.minute == minute]
        assert all(one.status in ("CANCEL", "SUCCESS", "FAIL") for one in own), "I7: it runs on, though it was killed"
        found = self.gateway.called(cancelled or "")
        if found is not None and found.lineage != self.lineage:
            assert self._may_be_taken_for(found, mine), f"I7: {cancelled} is somebody else's"

    def _check_error(self, error: EnosError) -> None:
        assert not error.final, f"I4: {error!r} is final"
        if isinstance(error, EnosTriggerConflictError):
            assert self._lost_to_somebody_else(), f"I4: {error!r}, though the minute is nobody else's"
        elif self.now.unanswered:
            assert isinstance(error, EnosTriggerUncertainError), f"I4: {error!r} hides that it is not known"
        elif self.now.doubtful and self.record and self.record["refused"]:
            refused = minute_of(self.record["sent_time"])
            own = [one for one in self.gateway.instances if one.lineage == self.lineage and one.minute == refused]
            assert not own, f"I4: {error!r}, and the next try will not look for {own}"

    def _lost_to_somebody_else(self) -> bool:
        others = {one.minute for one in self.gateway.instances if one.lineage is None}
        return self.on_conflict == "fail" and bool(others & self.lineages[self.lineage].asked.keys())

    def _check_sends(self, minute: int) -> None:
        """A request that may have been carried out is never repeated without a look."""
        mine, there = self.lineages[self.lineage], self.gateway.at(minute)
        is_strangers = there is not None and there.lineage is None and not self._may_be_taken_for(there, mine)
        if minute in mine.unanswered and not is_strangers:
            assert minute in self.now.looked_at, "I4: sent again blindly"

    @invariant()
    def one_instance_a_lineage(self) -> None:
        owners = [one.lineage for one in self.gateway.instances if one.lineage is not None and one.status in KEPT]
        assert len(owners) == len(set(owners)), f"I1: {self.gateway.instances}"

    def teardown(self) -> None:
        """The adversary has stopped: the task gets its one instance, or says whose the minute is."""
        if not self.sound:
            return
        self.one_instance_a_lineage()
        if self.late == "before":
            self._let_arrive()
        for _ in range(10):
            self._settle()
            if self.now.ended != "failed" or isinstance(self.now.error, EnosTriggerConflictError):
                break
            self.retry() if self._may_retry() else self.clear()
        else:
            pytest.fail(f"I5: {self.now.error!r}")
        if self.late == "after":
            self._let_arrive()
        kept = [one.id for one in self.gateway.instances if one.lineage == self.lineage and one.status in KEPT]
        if self.now.id is None:
            assert kept == [], "I5: given up, though there is one"
        else:
            found = self.gateway.called(self.now.id)
            assert found is not None
            assert found.status in KEPT, "I5: there is none"
            assert kept in ([], [self.now.id]), "I5: there is more than one"
            assert kept or found.lineage is None, "I5"

    def _settle(self) -> None:
        """Without the adversary."""
        while self.now.starting:
            self._answer()
        if self._has_ended():
            self.task_ends_as_its_instance()

    def _let_arrive(self) -> None:
        while self.under_way:
            self._arrive(*self.under_way.pop())
        self.one_instance_a_lineage()


class WithStore(Adversary):
    """As on Airflow 3.3 and later."""

    has_store = True


class WithoutStore(Adversary):
    """As before."""

    has_store = False


NORMAL = settings(
    max_examples=300,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)
NIGHTLY = settings(
    NORMAL,
    derandomize=False,
    max_examples=int(os.environ.get("ENOS_MODEL_EXAMPLES", "5000")),
    stateful_step_count=50,
)


@pytest.mark.parametrize("machine", [WithStore, WithoutStore])
def test_exactly_one_instance(machine: type[Adversary]) -> None:
    run_state_machine_as_test(machine, settings=NIGHTLY if "ENOS_MODEL_EXAMPLES" in os.environ else NORMAL)


# That the machine finds what is wrong: protocols that are, each in one place.

Patch = pytest.MonkeyPatch
Broken = Callable[[Patch], None]


def step(kind: type[State], replacement: Callable[[Starter, Any], Generator[Any, Any, State]]) -> Broken:
    """A protocol with another step in this state."""
    return lambda patch: patch.setattr(starting, "STEPS", {**STEPS, kind: replacement})


def then(state: Callable[[Any], State]) -> Callable[[Starter, Any], Generator[Any, Any, State]]:
    """A step that asks for nothing."""

    def replacement(starter: Starter, now: Any) -> Generator[Any, Any, State]:
        yield Sleep(0)
        return state(now)

    return replacement


def give_up(now: Any) -> State:
    raise EnosTransportError("no connection", sent=False)


def take_over_anything(starter: Starter, now: Taken) -> Any:
    """Whatever has the minute of a fresh attempt."""
    found = yield calls.get_flow_instance(predicted_flow_instance_id(FLOW, now.time))
    starter.ledger.note_instance(now.index, now.time, found.flow_instance_id)
    return Started(found.flow_instance_id)


def take_over_a_bad_end(starter: Starter, now: LookBack) -> Any:
    """And so never start another."""
    try:
        found = yield calls.get_flow_instance(predicted_flow_instance_id(FLOW, now.time))
    except EnosError:
        return (yield from starter.look_back(now))
    return Started(found.flow_instance_id)


def by_id_only(flow_id: int, time: int, flow_instance_id: str | None = None) -> Any:
    try:
        found = yield calls.get_flow_instance(flow_instance_id or predicted_flow_instance_id(flow_id, time))
    except EnosError:
        return ()
    return (found,)


def in_one_list(flow_id: int, time: int, flow_instance_id: str | None = None) -> Any:
    """Among the manual instances only, with pages from 0 on."""
    found = yield from by_id_only(flow_id, time, flow_instance_id)
    if found:
        return found
    minute = minute_of(time)
    page = yield calls.list_flow_instances(
        type=0, from_trigger_time=minute, to_trigger_time=minute + MINUTE, page_no=0, page_size=50
    )
    return page.instances


def always_ours(*_: Any) -> Any:
    yield from ()
    return True


def wait_for_nothing(*_: Any, **__: Any) -> Any:
    yield Sleep(0)
    raise EnosTriggerConflictError("no")


def cancel_nothing(*_: Any, **__: Any) -> Any:
    yield from ()


def settle(**changes: bool) -> Broken:
    """A protocol that misjudges who may have the minute."""
    return step(Taken, lambda starter, now: starter.settle(replace(now, **changes)))


def guess(patch: Patch) -> None:
    """Take a record that cannot be read for one that does not exist."""
    judge = attempts.attempt_of
    patch.setattr(attempts, "attempt_of", lambda *data, **more: judge(*data, **{**more, "is_readable": True}))


BROKEN_WITH_A_STORE: dict[str, Broken] = {
    "sends again blindly": step(Find, then(lambda now: Ask(now.index))),
    "takes the next minute after a lost reply": step(Find, then(lambda now: Ask(now.index + 1))),
    "takes over anything": step(Taken, take_over_anything),
    "gives up and says that nothing was sent": step(Find, then(give_up)),
    "makes up an id": step(Find, then(lambda now: Started(predicted_flow_instance_id(FLOW, now.time)))),
    "looks by id only": lambda patch: patch.setattr(starting, "instances_of_minute", by_id_only),
    "looks in one list": lambda patch: patch.setattr(starting, "instances_of_minute", in_one_list),
    "never records a refusal": lambda patch: patch.setattr(Ledger, "note_refused", lambda *_: None),
    "records too late": lambda patch: patch.setattr(Ledger, "note_request", lambda *_: None),
    "starts another in the minute of a bad end": step(LookBack, then(lambda now: Ask(now.index))),
    "takes over a bad end": step(LookBack, take_over_a_bad_end),
    "waits for nothing": lambda patch: patch.setattr(ClockMinutes, "wait", wait_for_nothing),
    "adopts old instances": lambda patch: patch.setattr(starting, "can_be_ours", always_ours),
    "believes every refusal": settle(is_open=False),
    "takes every conflict for its own": settle(is_open=True),
    "guesses what it cannot read": guess,
    "leaves the predecessor running": step(Cancel, lambda starter, now: starter._first_of_lineage()),
    "looks for nothing when killed": lambda patch: patch.setitem(globals(), "cancel_unanswered", cancel_nothing),
    "cancels anything when killed": lambda patch: patch.setattr(killed, "can_be_ours", always_ours),
}
NEEDS_A_STORE = (
    "takes over anything",
    "never records a refusal",
    "records too late",
    "adopts old instances",
    "takes every conflict for its own",
    "guesses what it cannot read",
    "leaves the predecessor running",
    "cancels anything when killed",
)
BROKEN = [
    *((WithStore, name) for name in BROKEN_WITH_A_STORE),
    *((WithoutStore, name) for name in BROKEN_WITH_A_STORE if name not in NEEDS_A_STORE),
]


RARE = 5
"""Times the examples of an ordinary run, for what takes two lineages and a conflict to come to light."""


def finds_a_violation(machine: type[Adversary], times: int = 1) -> bool:
    """Within the examples of an ordinary run, or ``times`` as many. What it finds is not made smaller."""
    enough = settings(NORMAL, phases=[Phase.generate], max_examples=NORMAL.max_examples * times)
    try:
        run_state_machine_as_test(machine, settings=enough)
    except (AssertionError, pytest.fail.Exception):
        return True
    return False


@pytest.mark.parametrize(("machine", "name"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_broken_protocol_is_found_out(machine: type[Adversary], name: str, monkeypatch: Patch) -> None:
    BROKEN_WITH_A_STORE[name](monkeypatch)
    assert finds_a_violation(machine, RARE)


NO_BASE = {"base": 0}
NEITHER = {"base": 0, "intent": None}
ALWAYS_FRESH = {"fresh": True, "has_record": False, "intent": None}
NEVER_FRESH = {"fresh": False, "has_record": False}


@pytest.mark.parametrize(
    ("machine", "changes"),
    [
        (WithStore, NO_BASE),
        (WithStore, NEITHER),
        (WithStore, ALWAYS_FRESH),
        (WithoutStore, NO_BASE),
        (WithoutStore, ALWAYS_FRESH),
    ],
    ids=str,
)
def test_attempt_that_is_misjudged_is_found_out(
    machine: type[Adversary], changes: dict[str, Any], monkeypatch: Patch
) -> None:
    judge = attempts.attempt_of
    monkeypatch.setattr(attempts, "attempt_of", lambda *data, **more: replace(judge(*data, **more), **changes))
    assert finds_a_violation(machine, RARE)


def test_lineage_that_forgets_where_the_one_before_it_was_is_found_out(monkeypatch: Patch) -> None:
    """Conflicts may have led that further than its tries."""
    judge = attempts.attempt_of

    def forgetful(stored: Any, **more: Any) -> Attempt:
        return judge(stored and {**stored, "index": 0}, **more)

    monkeypatch.setattr(attempts, "attempt_of", forgetful)
    assert finds_a_violation(WithStore, RARE)
