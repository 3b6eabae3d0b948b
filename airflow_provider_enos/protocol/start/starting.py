"""The state machine that starts, or takes over, the one instance of a try.

``Starter.run`` takes the step of the state that it is in, and looks up in ``states.TRANSITIONS`` which state follows
from the outcome. ``states.outcome_of`` decides what an error of a request means, ``lookup.can_be_ours`` whose an
instance is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_enos.errors import (
    EnosError,
    EnosRequestError,
    EnosTriggerConflictError,
    EnosTriggerTargetError,
    EnosTriggerUncertainError,
)
from airflow_provider_enos.protocol.arguments import OnConflict, RetryFrom
from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.start.attempts import Attempt, Intent, Target
from airflow_provider_enos.protocol.start.ledger import Ledger, Record
from airflow_provider_enos.protocol.start.lookup import can_be_ours, flow_of, instances_of_minute, triggered
from airflow_provider_enos.protocol.start.minutes import Minutes
from airflow_provider_enos.protocol.start.pauses import Backoff, ClockMinutes
from airflow_provider_enos.protocol.start.restarts import Restarts
from airflow_provider_enos.protocol.start.states import (
    TRANSITIONS,
    Minute,
    Started,
    State,
    StepOutcome,
    StepResult,
    is_refusal,
    outcome_of,
)
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.protocol.trigger_time import minute_of, predicted_flow_instance_id
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure, Sleep, one_call

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowInstance
    from airflow_provider_enos.protocol.start.group_restart import Siblings

E = TypeVar("E", bound=EnosError)

_LOOKUP_PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each look for an instance whose request was not answered."""


@dataclass
class Starter:
    """The steps of one try.

    :param target: what to start.
    :param attempt: what is known of this try and of the tries before it.
    :param record: where requests are written down before they are sent.
    :param on_conflict: what to do where an instance of somebody else has the minute.
    :param origin: names the gateway and the organisation in the record.
    :param tolerance: seconds for which EnOS may be out of reach, or refuse what it surely did not carry out.
    :param deadline: the end of all pauses, by ``clock``.
    :param clock: epoch seconds.
    :param gateway_clock: epoch seconds as the gateway counts them.
    :param cancels_predecessor: whether to cancel an instance that the round before a clear has left running.
    :param retry_from: what a retry starts after an instance that ended badly.
    :param siblings: the other tasks of a task group, which may have started the instance that has a minute.
    """

    target: Target
    attempt: Attempt
    record: Record
    log: Log
    on_conflict: OnConflict
    tolerance: float
    deadline: float
    clock: Callable[[], float]
    gateway_clock: Callable[[], float]
    origin: str = ""
    cancels_predecessor: bool = False
    retry_from: RetryFrom = "start"
    siblings: Siblings | None = None
    ledger: Ledger = field(init=False)
    minutes: Minutes = field(init=False)
    backoff: Backoff = field(init=False)
    clock_minutes: ClockMinutes = field(init=False)
    restarts: Restarts = field(init=False)
    is_switched_off: bool = field(default=False, init=False)
    """Whether the schedule of the flow is off."""

    def __post_init__(self) -> None:
        self.attempt = self._without_records_from_elsewhere(self.attempt)
        self.ledger = Ledger(
            self.target.flow_id,
            self.target.from_task_id,
            self.attempt,
            self.record,
            self.origin,
            self.clock,
            self.gateway_clock,
            names=self.target.names,
        )
        self.minutes = Minutes(self.target.flow_id, self.attempt, self.log)
        self.backoff = Backoff(self.tolerance, self.deadline, self.clock, self.log)
        self.clock_minutes = ClockMinutes(self.target.flow_id, self.deadline, self.clock, self.log)
        self.restarts = Restarts(self.target, self.attempt, self.retry_from, self.backoff, self.log)

    def run(self) -> Procedure[Started]:
        """Take step after step until the try has its instance. Raises an ``EnosError`` where it gets none."""
        state, minute = State.CANCEL_PREDECESSOR, Minute(self.attempt.first_index)
        while True:
            result = yield from STEPS[state](self, minute)
            state, is_next = TRANSITIONS[state, result.outcome]
            if state is State.STARTED and isinstance(result.end, Started):
                return result.end
            if state is State.FAILED and isinstance(result.end, EnosError):
                raise result.end
            minute = result.minute.next() if is_next else result.minute

    # The steps.

    def cancel_predecessor(self, minute: Minute) -> Procedure[StepResult]:
        """Cancel what the round before a clear has left running, as the kill before the clear should have done."""
        before = self.attempt.predecessor
        if before is not None and self.cancels_predecessor and not before.refused:
            found = yield from self._instances_of(before.sent_time, before.flow_instance_id)
            own = yield from self._own_of(found, before.sent_time, before.first_sent, before.flow_instance_id)
            if own is not None and not own.status.ended:
                yield from self.backoff.repeat(lambda: one_call(calls.cancel_flow_instance(own.flow_instance_id)))
                self.log.warning(
                    "The task was cleared while flow instance %s (%s) was running, and nothing has cancelled it: "
                    "asked EnOS to cancel it",
                    own.flow_instance_id,
                    str(own.status),
                )
        return StepResult(StepOutcome.NONE_RUNS, (yield from self._first_minute(minute)))

    def look_back(self, minute: Minute) -> Procedure[StepResult]:
        """Take over what an earlier try of this round has started in this minute, unless that ended badly."""
        if minute.tries_before < 1:
            return StepResult(StepOutcome.NO_EARLIER_TRY, minute)
        if not minute.time:
            minute = replace(minute, time=(yield from self.backoff.repeat(lambda: self.minutes.time(minute.index))))
        intent = self.attempt.intent
        known_id = intent.flow_instance_id if intent else None
        found = triggered((yield from self._instances_of(minute.time, known_id)))
        if not found:
            # The trigger time may have been changed since. Then nobody has asked for its minute yet.
            time = yield from self.backoff.repeat(lambda: self.minutes.time(minute.index))
            is_open = minute_of(time) == minute_of(minute.time)
            return StepResult(StepOutcome.FREE, replace(minute, is_open=is_open))
        # A task of a group may have taken an instance for its own that another task knows better.
        sure_id = known_id if self.siblings is None or (intent and intent.named) else None
        own = yield from self._own_of(found, minute.time, self.ledger.first_sent(minute.time), sure_id)
        if own is not None:
            return (yield from self._take_over_from_earlier(minute, own))
        if intent is None and self.on_conflict == "next_minute":
            return StepResult(StepOutcome.PASSED_OVER, minute)
        return StepResult(StepOutcome.OTHERS, replace(minute, found=found[0]))

    def send(self, minute: Minute) -> Procedure[StepResult]:
        """Ask EnOS for an instance."""
        time = yield from self.backoff.repeat(lambda: self.minutes.time(minute.index))
        minute = replace(minute, time=time, error=None, found=None)
        # This comes first: it tells the gateway's clock, and nothing is recorded that cannot be sent.
        yield from self.backoff.repeat(lambda: one_call(calls.authenticate()))
        self.restarts.announce()
        self.ledger.note_request(minute.index, time, self.restarts.next.from_task_id)
        try:
            flow_instance_id: str = yield self.restarts.next.call(time)
        except EnosError as error:
            return (yield from self._not_started(minute, error))
        predicted = predicted_flow_instance_id(self.target.flow_id, time)
        if flow_instance_id != predicted:
            self.log.warning("EnOS named the instance %s, not %s", flow_instance_id, predicted)
        self.ledger.note_instance(minute.index, time, flow_instance_id, named=True)
        self.log.info("Started flow instance %s", flow_instance_id)
        return StepResult(StepOutcome.NAMED, minute, Started(flow_instance_id, restarted_from=self.restarts.node))

    def find(self, minute: Minute) -> Procedure[StepResult]:
        """Look for the instance of a request that was not answered. The request is never sent again blindly."""
        error = minute.error
        if error is None:
            raise AssertionError("only a request without an answer leads here")
        predicted = predicted_flow_instance_id(self.target.flow_id, minute.time)
        self.log.warning("The trigger was not answered (%s): looking for %s", error, predicted)
        for pause in _LOOKUP_PAUSES:
            yield Sleep(pause)
            try:
                found = triggered((yield from self._instances_of(minute.time)))
            except EnosError as failure:
                self.log.warning("Could not look for it: %s", failure)
                continue
            own = yield from self._own_of(found, minute.time, self.ledger.first_sent(minute.time))
            if own is not None:
                return self._take_over(minute, own, "which has the minute of the trigger that was not answered")
            if found:
                return StepResult(StepOutcome.OTHERS, replace(minute, found=found[0]))
        if is_refusal(error):
            return StepResult(StepOutcome.NOT_SEEN, minute, error)
        uncertain = EnosTriggerUncertainError(
            f"flow {self.target.flow_id}: the trigger was sent, but not answered ({error}), and no instance can "
            f"be seen. If one appears, its id is {predicted}; a retry of this task looks for it first",
            flow_instance_id=predicted,
        )
        return StepResult(StepOutcome.NOT_SEEN, minute, _because_of(uncertain, error))

    def settle(self, minute: Minute) -> Procedure[StepResult]:
        """Find out who has the minute, and do what ``on_conflict`` says where it is somebody else."""
        if minute.found is not None:
            return (yield from self._settle_with(minute, minute.found))
        try:
            flow = yield from flow_of(self.target.flow_id, self.restarts.next.from_task_id, self.log)
        except EnosTriggerTargetError as missing:
            if self.restarts.give_up_node(missing):
                return StepResult(StepOutcome.NODE_GONE, minute)
            return StepResult(StepOutcome.NO_TARGET, minute, missing)
        if flow is not None:
            self.is_switched_off = flow.switched_off
        there = yield from self._instances_of(minute.time)
        if not there:
            yield from self._wait_for_clock_minute(minute)
            return StepResult(StepOutcome.FREE, minute)
        if minute.is_open:
            own = yield from self._own_of(triggered(there), minute.time, self.ledger.first_sent(minute.time))
            if own is not None:
                return (yield from self._take_over_open(minute, own))
        return (yield from self._settle_with(minute, there[0]))

    def recover(self, minute: Minute) -> Procedure[StepResult]:
        """Choose what is started after an instance that ended badly, once nothing of it runs any more."""
        if minute.found is None:
            raise AssertionError("only an instance that ended badly leads here")
        outcome = yield from self.restarts.recover(minute.found)
        fewer = outcome is not StepOutcome.RUNS_AGAIN
        return StepResult(outcome, replace(minute, found=None, tries_before=minute.tries_before - fewer))

    # Parts of the steps.

    def _first_minute(self, minute: Minute) -> Procedure[Minute]:
        """Return where this round begins: at the request on record, else at the first minute of the round."""
        intent, tries_before = self.attempt.intent, self.attempt.tries_to_look_for
        if intent is None:
            return replace(minute, tries_before=tries_before)
        index = yield from self.backoff.repeat(lambda: self.minutes.index_of(intent.sent_time))
        return Minute(index, intent.sent_time, tries_before)

    def _not_started(self, minute: Minute, error: EnosError) -> Procedure[StepResult]:
        """Return what a request has come to that met an error; wait where EnOS is busy."""
        outcome = outcome_of(error)
        if outcome is StepOutcome.NO_ANSWER:
            return StepResult(outcome, replace(minute, error=error))
        minute = replace(minute, error=error, is_open=minute.is_open or error.repeated)
        self.ledger.check_not_superseded(error)
        if not minute.is_open:
            self.ledger.note_refused(minute.index, minute.time)
        if outcome is StepOutcome.TAKEN:
            self.backoff.answered()
        if outcome is StepOutcome.BUSY:
            yield from self.backoff.wait(error)
            self.ledger.check_not_superseded(error)
        return StepResult(outcome, minute, error)

    def _wait_for_clock_minute(self, minute: Minute) -> Procedure[None]:
        if not isinstance(minute.error, EnosRequestError):
            raise AssertionError("only a refusal leads here")
        yield from self.clock_minutes.wait(minute.time, minute.error, is_switched_off=self.is_switched_off)
        self.ledger.check_not_superseded(minute.error)

    def _settle_with(self, minute: Minute, found: FlowInstance) -> Procedure[StepResult]:
        if self.siblings is not None and (yield from self.siblings.have_started(found, minute.time)):
            return self._take_over(minute, found, "which another task of this group has started", sender=0)
        return self._yield_to(minute, found)

    def _yield_to(self, minute: Minute, found: FlowInstance) -> StepResult:
        """Do what ``on_conflict`` says, since the instance in this minute is somebody else's."""
        flow_instance_id, status = found.flow_instance_id, str(found.status)
        if self.attempt.minutes_unknown and found.status.ended:
            self.log.info("The minute of %s is taken, perhaps by this task before it was cleared", flow_instance_id)
        elif self.on_conflict == "attach":
            why = 'which somebody else started in this minute (on_conflict="attach")'
            return self._take_over(minute, found, why, StepOutcome.ATTACHED)
        elif self.on_conflict == "fail":
            self._note_stranger(minute)
            conflict = EnosTriggerConflictError(
                f"flow {self.target.flow_id} has an instance for this minute already: "
                f'{flow_instance_id} ({status}), and on_conflict is "fail"'
            )
            return StepResult(StepOutcome.CONFLICT, minute, _because_of(conflict, minute.error))
        else:
            self.log.warning(
                'The minute of %s is taken (%s): trying the next one (on_conflict="next_minute")',
                flow_instance_id,
                status,
            )
        self._note_stranger(minute)
        return StepResult(StepOutcome.LEFT_ALONE, minute)

    def _note_stranger(self, minute: Minute) -> None:
        """Write down that the instance in this minute is somebody else's, where the record does not say so yet."""
        if minute.is_open or minute.found is not None:
            self.ledger.check_not_superseded(minute.error)
            self.ledger.note_refused(minute.index, minute.time)

    def _take_over_from_earlier(self, minute: Minute, found: FlowInstance) -> Procedure[StepResult]:
        """Take over what an earlier try has started. If that ended badly, only a group does: it recovers it."""
        if self.siblings is None and (found.status.ended_badly or (yield from self.restarts.ran_incompletely(found))):
            return StepResult(StepOutcome.ENDED_BADLY, replace(minute, found=found))
        intent = self.attempt.intent
        if intent is None:
            why = "which has the minute of this task, and counts as started by an earlier try"
            return self._take_over(minute, found, why, sender=0)
        who = f"try {intent.try_number}" if intent.try_number else "an earlier try"
        named = intent.named and intent.flow_instance_id == found.flow_instance_id
        why = f"which {who} of this task started" if named else f"which has the minute that {who} asked for"
        return self._take_over(minute, found, why, sender=intent.try_number, named=named)

    def _take_over_open(self, minute: Minute, found: FlowInstance) -> Procedure[StepResult]:
        """Take over what a request of this round may have started that EnOS then refused."""
        if minute.error is not None and minute.error.repeated:
            why = (
                "which has the minute of this request: EnOS has refused a copy of it, and may have carried out another"
            )
            return self._take_over(minute, found, why)
        # No earlier try has gone further than this minute, which was free.
        return (yield from self._take_over_from_earlier(replace(minute, tries_before=1), found))

    def _take_over(
        self,
        minute: Minute,
        found: FlowInstance,
        why: str,
        outcome: StepOutcome = StepOutcome.OURS,
        *,
        sender: int | None = None,
        named: bool = False,
    ) -> StepResult:
        """Adopt the instance. ``sender``: the number of the try that asked for it; None for this try."""
        self.ledger.note_instance(minute.index, minute.time, found.flow_instance_id, sender=sender, named=named)
        self.log.info("Took over flow instance %s (%s), %s", found.flow_instance_id, str(found.status), why)
        taken_over = sender not in (None, self.attempt.try_number)
        node = self.restarts.node if sender is None else self.restarts.node_before
        return StepResult(outcome, minute, Started(found.flow_instance_id, taken_over, node))

    def _instances_of(self, time: int, flow_instance_id: str | None = None) -> Procedure[tuple[FlowInstance, ...]]:
        found = yield from self.backoff.repeat(lambda: instances_of_minute(self.target.flow_id, time, flow_instance_id))
        self.backoff.answered()
        return found

    def _own_of(
        self, found: Iterable[FlowInstance], time: int, first_sent: int, known_id: str | None = None
    ) -> Procedure[FlowInstance | None]:
        """Return the instance that is ours: it has the known id, or a request since ``first_sent`` can have made it."""
        for instance in found:
            if instance.flow_instance_id == known_id:
                return instance
            if (yield from can_be_ours(instance, first_sent, self.ledger.now, self._zone)):
                is_others = self.siblings and (yield from self.siblings.have_started_otherwise(instance, time))
                return None if is_others else instance
        return None

    def _zone(self) -> Procedure[tzinfo | None]:
        return self.backoff.repeat(self.minutes.zone)

    def _without_records_from_elsewhere(self, attempt: Attempt) -> Attempt:
        """Leave alone what was asked for of another flow, gateway or organisation, whatever its id is."""
        return replace(attempt, intent=self._if_here(attempt.intent), predecessor=self._if_here(attempt.predecessor))

    def _if_here(self, intent: Intent | None) -> Intent | None:
        if intent is None or not intent.is_elsewhere(self.target.flow_id, self.origin):
            return intent
        where = f" at {excerpt(intent.origin)}" if intent.origin not in ("", self.origin) else ""
        said = "An earlier try of this task asked for flow %d%s: it is left alone"
        self.log.warning(said, intent.flow_id or self.target.flow_id, where)
        return None


Step = Callable[[Starter, Minute], Procedure[StepResult]]
STEPS: Mapping[State, Step] = MappingProxyType(
    {
        State.CANCEL_PREDECESSOR: Starter.cancel_predecessor,
        State.LOOK_BACK: Starter.look_back,
        State.SEND: Starter.send,
        State.FIND: Starter.find,
        State.SETTLE: Starter.settle,
        State.RECOVER: Starter.recover,
    }
)
"""The step of each state."""


def _because_of(error: E, cause: EnosError | None) -> E:
    error.__cause__ = cause
    return error
