"""The state machine that starts, or takes over, the one instance of an attempt.

``STEPS`` maps each state to the step that is taken in it, and a step returns the next state:

==========  ===============================================================  ===========================
state       meaning                                                          next
==========  ===============================================================  ===========================
Cancel      the lineage before a clear may have left its instance running    LookBack, Ask
LookBack    an earlier try may have started an instance for this minute      Started, Taken, Ask
Ask         this minute is to be asked for                                   Started, Find, Taken, Ask
Find        the request was sent, and its outcome is not known               Started, Taken
Taken       the minute has an instance, or the gateway says so               Started, Ask
Started     the end
==========  ===============================================================  ===========================

What a request that failed means is decided by ``fate_of`` alone; whose an instance is, by ``lookup.can_be_ours``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.errors import (
    EnosError,
    EnosNotFoundError,
    EnosRequestError,
    EnosTriggerConflictError,
    EnosTriggerTargetError,
    EnosTriggerUncertainError,
)
from airflow_provider_enos.protocol.arguments import OnConflict
from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.protocol.start.attempts import Attempt, Intent, Target
from airflow_provider_enos.protocol.start.ledger import Ledger, Record
from airflow_provider_enos.protocol.start.lookup import can_be_ours, instances_of_minute
from airflow_provider_enos.protocol.start.minutes import Minutes
from airflow_provider_enos.protocol.start.pauses import Backoff, ClockMinutes
from airflow_provider_enos.protocol.start.states import (
    Ask,
    Cancel,
    Fate,
    Find,
    LookBack,
    Started,
    State,
    Taken,
    fate_of,
    is_refusal,
)
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.protocol.trigger_time import is_scheduled, minute_of, predicted_flow_instance_id
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Call, Procedure, Sleep, T

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import Flow, FlowInstance

_LOOKUP_PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each look for an instance whose trigger was not answered."""


@dataclass
class Starter:
    """The steps of one attempt.

    :param origin: names the gateway and the organisation in the record.
    :param tolerance: seconds for which EnOS may be out of reach, or refuse what it surely did not carry out.
    :param deadline: bounds all pauses, by ``clock``.
    :param clock: epoch seconds.
    :param gateway_clock: epoch seconds as the gateway counts them.
    :param cancels_predecessor: whether to cancel an instance that the lineage before this one has left running.
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
    ledger: Ledger = field(init=False)
    minutes: Minutes = field(init=False)
    backoff: Backoff = field(init=False)
    clock_minutes: ClockMinutes = field(init=False)
    is_switched_off: bool = field(default=False, init=False)
    """Whether the schedule of the flow is off."""

    def __post_init__(self) -> None:
        self.attempt = self._without_records_from_elsewhere(self.attempt)
        self.ledger = Ledger(
            self.target.flow_id, self.attempt, self.record, self.origin, self.clock, self.gateway_clock
        )
        self.minutes = Minutes(self.target.flow_id, self.attempt, self.log)
        self.backoff = Backoff(self.tolerance, self.deadline, self.clock, self.log)
        self.clock_minutes = ClockMinutes(self.target.flow_id, self.deadline, self.clock, self.log)

    def run(self) -> Procedure[Started]:
        """Take step after step until the attempt has its instance."""
        predecessor = self.attempt.predecessor
        state: State
        if predecessor is not None and self.cancels_predecessor and not predecessor.refused:
            state = Cancel(predecessor)
        else:
            state = yield from self._first_of_lineage()
        while not isinstance(state, Started):
            state = yield from STEPS[type(state)](self, state)
        return state

    # The steps.

    def cancel(self, state: Cancel) -> Procedure[State]:
        """Cancel what the lineage before this one has left running, as the kill before the clear should have done."""
        predecessor = state.predecessor
        found = yield from self._instances_of(predecessor.sent_time, predecessor.flow_instance_id)
        own = yield from self._own_of(found, predecessor.first_sent, predecessor.flow_instance_id)
        if own is not None and not own.status.ended:
            yield from self._patiently(lambda: _call(calls.cancel_flow_instance(own.flow_instance_id)))
            self.log.warning(
                "The task was cleared while flow instance %s (%s) was running, and nothing has cancelled it: asked "
                "EnOS to cancel it",
                own.flow_instance_id,
                str(own.status),
            )
        return (yield from self._first_of_lineage())

    def look_back(self, state: LookBack) -> Procedure[State]:
        """Take over what an earlier try of this lineage started for this minute, unless that ended badly."""
        intent = self.attempt.intent
        known_id = intent.flow_instance_id if intent else None
        found = _triggered((yield from self._instances_of(state.time, known_id)))
        if not found:
            # A trigger time that was changed since leads to another minute, which nobody has asked for.
            time = yield from self._patiently(lambda: self.minutes.time(state.index))
            return Ask(state.index, is_open=minute_of(time) == minute_of(state.time))
        own = yield from self._own_of(found, self.ledger.first_sent(state.time), known_id)
        if own is None and intent is None and self.on_conflict == "next_minute":
            # It was there before this task asked, so the request of the earlier try met it, too, and went on.
            return (yield from self._look_back_further(state, left=state.left))
        if own is None:
            return Taken(state.index, state.time, found=found[0])
        taken_over = self._take_over_from_earlier(state.index, state.time, own)
        return taken_over or (yield from self._look_back_further(state, left=state.left - 1))

    def ask(self, state: Ask) -> Procedure[State]:
        """Ask EnOS for an instance."""
        time = yield from self._patiently(lambda: self.minutes.time(state.index))
        # So the gateway's clock is known, and nothing is recorded that cannot be sent.
        yield from self._patiently(lambda: _call(calls.authenticate()))
        self.ledger.note_request(state.index, time)
        try:
            flow_instance_id: str = yield self.target.call(time)
        except EnosError as error:
            return (yield from self._after_error(state, time, error))
        predicted = predicted_flow_instance_id(self.target.flow_id, time)
        if flow_instance_id != predicted:
            self.log.warning("EnOS named the instance %s, not %s", flow_instance_id, predicted)
        self.ledger.note_instance(state.index, time, flow_instance_id, named=True)
        self.log.info("Started flow instance %s", flow_instance_id)
        return Started(flow_instance_id)

    def find(self, state: Find) -> Procedure[State]:
        """Look for what came of a request whose outcome is not known, and never send it again blindly."""
        predicted = predicted_flow_instance_id(self.target.flow_id, state.time)
        self.log.warning("The trigger was not answered (%s): looking for %s", state.error, predicted)
        for pause in _LOOKUP_PAUSES:
            yield Sleep(pause)
            try:
                found = _triggered((yield from self._instances_of(state.time)))
            except EnosError as failure:
                self.log.warning("Could not look for it: %s", failure)
                continue
            own = yield from self._own_of(found, self.ledger.first_sent(state.time))
            if own is not None:
                why = "which has the minute of the trigger that was not answered"
                return self._take_over(state.index, state.time, own, why)
            if found:
                return Taken(state.index, state.time, state.error, found[0])
        if is_refusal(state.error):
            raise state.error
        raise EnosTriggerUncertainError(
            f"flow {self.target.flow_id}: the trigger was sent, but not answered ({state.error}), and no instance can "
            f"be seen. If there comes to be one, its id is {predicted}; a retry of this task looks for it first",
            flow_instance_id=predicted,
        ) from state.error

    def settle(self, state: Taken) -> Procedure[State]:
        """Find out who has the minute, and do what ``on_conflict`` says where it is somebody else."""
        found = state.found
        if found is None:
            yield from self._check_target()
            there = yield from self._instances_of(state.time)
            if not there:
                return (yield from self._wait_for_clock_minute(state))
            if state.is_open:
                own = yield from self._own_of(_triggered(there), self.ledger.first_sent(state.time))
                if own is not None:
                    return self._take_over_open(state, own) or Ask(state.index + 1)
            found = there[0]
        if self.attempt.forgotten and found.status.ended:
            self.log.info(
                "The minute of %s is taken, perhaps by this task before it was cleared", found.flow_instance_id
            )
            return self._next_minute(state)
        if self.on_conflict == "attach":
            why = 'which somebody else started in this minute (on_conflict="attach")'
            return self._take_over(state.index, state.time, found, why)
        if self.on_conflict == "fail":
            self._note_stranger(state)
            raise EnosTriggerConflictError(
                f"flow {self.target.flow_id} has an instance for this minute already: "
                f'{found.flow_instance_id} ({found.status}), and on_conflict is "fail"'
            ) from state.error
        self.log.warning(
            'The minute of %s is taken (%s): trying the next one (on_conflict="next_minute")',
            found.flow_instance_id,
            str(found.status),
        )
        return self._next_minute(state)

    # What they are made of.

    def _first_of_lineage(self) -> Procedure[State]:
        attempt, intent = self.attempt, self.attempt.intent
        if intent is not None:
            index = yield from self._patiently(lambda: self.minutes.index_of(intent.sent_time))
            # After a refusal, what is there is not ours.
            return Ask(index) if intent.refused else LookBack(index, intent.sent_time)
        if attempt.fresh or attempt.has_record:
            return Ask(attempt.base)
        time = yield from self._patiently(lambda: self.minutes.time(attempt.base))
        return LookBack(attempt.base, time, left=attempt.tries_before)

    def _look_back_further(self, state: LookBack, *, left: int) -> Procedure[State]:
        """Without a record, an even earlier try may have started one for the next minute."""
        index = state.index + 1
        if self.attempt.intent is not None or left < 1:
            return Ask(index)
        time = yield from self._patiently(lambda: self.minutes.time(index))
        return LookBack(index, time, left)

    def _after_error(self, state: Ask, time: int, error: EnosError) -> Procedure[State]:
        """Return what follows from a request that met an error."""
        fate = fate_of(error)
        if fate is Fate.UNKNOWN:
            return Find(state.index, time, error)
        is_open = state.is_open or error.repeated
        self.ledger.check_not_superseded(error)
        if not is_open:
            self.ledger.note_refused(state.index, time)
        if fate is Fate.TAKEN:
            self.backoff.answered()
            return Taken(state.index, time, error, is_open=is_open)
        if fate is Fate.REFUSED:
            raise error
        yield from self.backoff.wait(error)
        self.ledger.check_not_superseded(error)
        return replace(state, is_open=is_open)

    def _wait_for_clock_minute(self, state: Taken) -> Procedure[State]:
        if not isinstance(state.error, EnosRequestError):
            raise AssertionError("only a refusal leads here")
        yield from self.clock_minutes.wait(state.time, state.error, is_switched_off=self.is_switched_off)
        self.ledger.check_not_superseded(state.error)
        return Ask(state.index, state.is_open)

    def _next_minute(self, state: Taken) -> Ask:
        self._note_stranger(state)
        return Ask(state.index + 1)

    def _note_stranger(self, state: Taken) -> None:
        """What has the minute is somebody else's. Where that was not known before, the record has to say so."""
        if state.is_open or state.found is not None:
            self.ledger.check_not_superseded(state.error)
            self.ledger.note_refused(state.index, state.time)

    def _take_over_from_earlier(self, index: int, time: int, found: FlowInstance) -> Started | None:
        """Take over what an earlier try has started; None where that ended badly."""
        if found.status.outcome in (Outcome.FAILED, Outcome.CANCELLED):
            self.log.info("%s ended with status %s: starting another", found.flow_instance_id, str(found.status))
            return None
        intent = self.attempt.intent
        if intent is None:
            why = "which has the minute of this task, and counts as that of an earlier try"
            return self._take_over(index, time, found, why, sender=0)
        who = f"try {intent.try_number}" if intent.try_number else "an earlier try"
        named = intent.named and intent.flow_instance_id == found.flow_instance_id
        why = f"which {who} of this task started" if named else f"which has the minute that {who} asked for"
        return self._take_over(index, time, found, why, sender=intent.try_number, named=named)

    def _take_over_open(self, state: Taken, found: FlowInstance) -> Started | None:
        if state.error is not None and state.error.repeated:
            why = (
                "which has the minute of this request: EnOS has refused a copy of it, and may have carried out another"
            )
            return self._take_over(state.index, state.time, found, why)
        return self._take_over_from_earlier(state.index, state.time, found)

    def _take_over(
        self, index: int, time: int, found: FlowInstance, why: str, *, sender: int | None = None, named: bool = False
    ) -> Started:
        self.ledger.note_instance(index, time, found.flow_instance_id, sender=sender, named=named)
        self.log.info("Took over flow instance %s (%s), %s", found.flow_instance_id, str(found.status), why)
        return Started(found.flow_instance_id, taken_over=sender not in (None, self.attempt.try_number))

    def _check_target(self) -> Procedure[None]:
        """The code of a conflict also stands for a wrong flow or node: tell them apart."""
        flow_id, from_task_id = self.target.flow_id, self.target.from_task_id
        try:
            flow: Flow = yield calls.get_flow(flow_id)
        except EnosNotFoundError as error:
            raise EnosTriggerTargetError(f"flow_id: EnOS has no flow {flow_id} ({error})") from error
        except EnosError as error:
            if error.final:
                raise
            self.log.warning("Cannot check flow %s, taking it that it exists: %s", flow_id, error)
            return
        self.is_switched_off = flow.switched_off
        nodes = {node.task_id for node in flow.nodes}
        if from_task_id is not None and nodes and from_task_id not in nodes:
            raise EnosTriggerTargetError(
                f"from_task_id: flow {flow_id} has no task node {from_task_id}; it has "
                + ", ".join(excerpt(str(node), 80) for node in flow.nodes)
            )

    def _instances_of(self, time: int, flow_instance_id: str | None = None) -> Procedure[tuple[FlowInstance, ...]]:
        found = yield from self._patiently(lambda: instances_of_minute(self.target.flow_id, time, flow_instance_id))
        self.backoff.answered()
        return found

    def _own_of(
        self, found: Iterable[FlowInstance], first_sent: int, known_id: str | None = None
    ) -> Procedure[FlowInstance | None]:
        """Return the instance that is ours: that of the known id, or one that a request since then can have made."""
        for instance in found:
            if instance.flow_instance_id == known_id:
                return instance
            if (yield from can_be_ours(instance, first_sent, self.ledger.now, self._zone)):
                return instance
        return None

    def _zone(self) -> Procedure[tzinfo | None]:
        return self._patiently(self.minutes.zone)

    def _patiently(self, make: Callable[[], Procedure[T]]) -> Procedure[T]:
        """Carry out what only reads or may be repeated, again and again while EnOS is out of reach."""
        while True:
            try:
                return (yield from make())
            except EnosError as error:
                yield from self.backoff.wait(error)

    def _without_records_from_elsewhere(self, attempt: Attempt) -> Attempt:
        """What was asked for of another flow, gateway or organisation is left alone, whatever its id is."""
        return replace(attempt, intent=self._if_here(attempt.intent), predecessor=self._if_here(attempt.predecessor))

    def _if_here(self, intent: Intent | None) -> Intent | None:
        if intent is None or not intent.is_elsewhere(self.target.flow_id, self.origin):
            return intent
        where = f" at {excerpt(intent.origin)}" if intent.origin not in ("", self.origin) else ""
        flow = intent.flow_id or self.target.flow_id
        self.log.warning("An earlier try of this task asked for flow %d%s: it is left alone", flow, where)
        return None


Step = Callable[[Starter, Any], Procedure[State]]
STEPS: Mapping[type[State], Step] = MappingProxyType(
    {
        Cancel: Starter.cancel,
        LookBack: Starter.look_back,
        Ask: Starter.ask,
        Find: Starter.find,
        Taken: Starter.settle,
    }
)
"""The step that is taken in each state."""


def _call(call: Call[T]) -> Procedure[T]:
    result: T = yield call
    return result


def _triggered(found: Iterable[FlowInstance]) -> tuple[FlowInstance, ...]:
    """Return those that EnOS's own schedule has not started: a try's are among them only."""
    return tuple(one for one in found if not is_scheduled(one.flow_instance_id))
