"""Starting exactly one flow instance, whatever is lost, retried or cleared.

EnOS names an instance after the flow and the UTC minute of its trigger time and keeps one instance a minute and flow.
So the minute is an idempotency key: the instance that a lost request would have made can be looked up.

**A fresh attempt starts one instance of its own; a retry takes over what its predecessor started, unless that ended
badly.** Tries between two clears are one lineage, and each lineage has a first minute of its own, so that nothing that
an earlier one started is ever mistaken for ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Literal, cast

from airflow_provider_enos.errors import (
    EnosApiError,
    EnosError,
    EnosNotFoundError,
    EnosRequestError,
    EnosServerError,
    EnosTriggerConflictError,
    EnosTriggerTargetError,
    EnosTriggerUncertainError,
)
from airflow_provider_enos.protocol import calls, replies
from airflow_provider_enos.protocol.messages import Call, Procedure, Sleep
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.protocol.trigger_time import (
    MINUTE,
    MOST_MINUTES,
    further_minutes,
    is_scheduled,
    minute_of,
    predicted_flow_instance_id,
    zone_of,
)
from airflow_provider_enos.protocol.waiting import Log

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowInstance

OnConflict = Literal["next_minute", "attach", "fail"]
"""What to do when somebody else's instance has the minute: take the next free one, take that one over, or fail."""

_LOOKUP_PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each look for an instance whose trigger was not answered."""
_CLOCK_MINUTE_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds before each further try where the gateway counts minutes by its own clock; the last one repeats."""
_CLOCK_MINUTE_LIMIT, _SWITCHED_OFF_LIMIT = 3600.0, 180.0
"""Seconds after which a refusal is taken for final for which no reason can be seen, or only a schedule that is off.
The first is long, since many may wait for such a minute."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to start. ``from_task_id``: the node to start from, or None for the whole flow."""

    flow_id: int
    from_task_id: int | None = None
    parameters: Mapping[str, str] | None = None

    def call(self, trigger_time: int) -> Call[str]:
        """The trigger of this target for that time."""
        if self.from_task_id is not None:
            return calls.trigger_flow_from_task(self.flow_id, self.from_task_id, trigger_time)
        if self.parameters is not None:
            return calls.update_and_trigger_flow(self.flow_id, trigger_time, self.parameters)
        return calls.trigger_flow(self.flow_id, trigger_time)


@dataclass(frozen=True, slots=True)
class Intent:
    """What is written down before each request: which lineage, for which time, and what came of it.

    :param lineage: Airflow's ``max_tries``, which a clear raises and a retry does not.
    :param base: the index of the lineage's first minute.
    :param trigger_time: what the lineage was asked for, epoch milliseconds.
    :param sent_time: the trigger time of the request.
    :param flow_instance_id: the instance that came of it, once it is known.
    :param index: that of the minute that was asked for.
    :param refused: no request of this lineage for that minute can have been carried out: what is there is not ours.
    :param try_number: the try that sent the request; 0 where all that is known is that it was an earlier one.
    :param clears: how often tasks of the DAG run had been cleared.
    :param flow_id: the flow; 0 where that was not written down.
    """

    lineage: int
    base: int
    trigger_time: int
    sent_time: int
    flow_instance_id: str | None = None
    index: int = 0
    refused: bool = False
    try_number: int = 0
    clears: int = 0
    flow_id: int = 0

    @property
    def is_before_request(self) -> bool:
        """Whether what becomes of the request is not known yet."""
        return self.flow_instance_id is None and not self.refused

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> Intent | None:
        """The intent in ``data``; None where it is none. Fields that earlier versions did not write may be missing."""
        if not isinstance(data, dict):
            return None
        values = {field.name: data.get(field.name, field.default) for field in fields(cls)}
        flow_instance_id, refused = values.pop("flow_instance_id"), values.pop("refused")
        if not all(isinstance(number, int) and not isinstance(number, bool) for number in values.values()):
            return None
        if not isinstance(flow_instance_id, str | None) or not isinstance(refused, bool):
            return None
        return cls(flow_instance_id=flow_instance_id, refused=refused, **cast("dict[str, int]", values))


@dataclass(frozen=True, slots=True)
class Attempt:
    """Where this attempt of the task stands.

    :param trigger_time: epoch milliseconds.
    :param lineage: what tells it from those before the last clear.
    :param base: the index of the lineage's first minute.
    :param fresh: whether this is the first try of its lineage.
    :param has_record: whether intents are recorded at all; if so, a retry without one sent nothing.
    :param intent: what was recorded for this lineage.
    :param try_number: Airflow's number of this try.
    :param tries_before: how many tries of this lineage came before it: without a record, no more minutes can be ours.
    :param clears: how often tasks of the DAG run have been cleared.
    """

    trigger_time: int
    lineage: int = 0
    base: int = 0
    fresh: bool = True
    has_record: bool = False
    intent: Intent | None = None
    try_number: int = 0
    tries_before: int = MOST_MINUTES
    clears: int = 0


def lineage_base(*, try_number: int, max_tries: int, retries: int) -> int:
    """The number of tries before the last clear: a clear raises ``max_tries`` by it, a retry leaves it.

    Where ``retries`` has been changed since, the sum can come out too high, and is told from that: it counts as 0.
    """
    base = max_tries - retries
    return base if 0 < base < try_number else 0


def attempt_of(
    stored: object,
    *,
    try_number: int,
    max_tries: int,
    retries: int,
    has_record: bool,
    now: int,
    trigger_time: Callable[[int], int],
    clears: int = 0,
) -> Attempt:
    """Where a try stands, by Airflow's numbers and by what is ``stored`` of those before it.

    ``trigger_time`` gives the trigger time for what ``"now"`` stands for: the moment at which the lineage's first try
    said it.
    """
    intent = Intent.from_json(stored)
    tries = lineage_base(try_number=try_number, max_tries=max_tries, retries=retries)
    # Airflow 2's `tasks test` counts from 0.
    fresh = try_number <= tries + 1
    # By ``max_tries`` alone, a clear cannot be told from a retry where ``retries`` was lowered by the tries before it.
    cleared = intent is not None and (intent.lineage != max_tries or (fresh and intent.clears < clears))
    if intent is None or cleared:
        # Conflicts may have led the lineage before this one further than its tries.
        base = tries if intent is None else max(tries, intent.index + 1)
        time, intent = trigger_time(now), None
    else:
        time, base = trigger_time(intent.trigger_time), intent.base
    before = max(try_number - tries - 1, 0)
    return Attempt(time, max_tries, base, fresh, has_record, intent, try_number, before, clears)


def start(
    target: Target,
    attempt: Attempt,
    *,
    on_conflict: OnConflict,
    record: Callable[[Intent], None],
    log: Log,
    deadline: float,
    clock: Callable[[], float],
    superseded: Callable[[], bool] = lambda: False,
) -> Procedure[str]:
    """Starts, or takes over, the one flow instance of this attempt; gives its id.

    ``record`` is called before each request and after it. ``deadline`` (by ``clock``, epoch seconds) bounds the wait
    for a gateway that counts minutes by its own clock. ``superseded`` says whether another try has begun since: asked
    when a request was refused, since then the minute may be that try's. Raises ``EnosTriggerError`` and what the calls
    raise.
    """
    if attempt.intent is not None and attempt.intent.flow_id not in (0, target.flow_id):
        log.warning("The try before this one asked for flow %d: what came of it is left alone", attempt.intent.flow_id)
        attempt = replace(attempt, intent=None)
    starter = _Starter(target, attempt, on_conflict, record, log, deadline, clock, superseded)
    if attempt.intent is None and (attempt.fresh or attempt.has_record):
        return (yield from starter.start(attempt.base))
    if attempt.intent is not None and attempt.intent.refused:
        return (yield from starter.start_again(attempt.intent))
    return (yield from starter.take_over_or_start())


class _Starter:
    """The steps of one attempt. ``index`` counts the minutes of a lineage: 0 is the trigger time's own."""

    def __init__(
        self,
        target: Target,
        attempt: Attempt,
        on_conflict: OnConflict,
        record: Callable[[Intent], None],
        log: Log,
        deadline: float,
        clock: Callable[[], float],
        superseded: Callable[[], bool],
    ) -> None:
        self._target = target
        self._attempt = attempt
        self._on_conflict = on_conflict
        self._record = record
        self._log = log
        self._deadline = deadline
        self._clock = clock
        self._superseded = superseded
        self._further_times: list[int] | None = None
        self._index = attempt.base
        self._is_switched_off = False
        # Of the whole attempt: where many wait, each further minute would begin with the short ones again.
        self._clock_minute_pauses = chain(_CLOCK_MINUTE_PAUSES, repeat(_CLOCK_MINUTE_PAUSES[-1]))

    def start_again(self, refused: Intent) -> Procedure[str]:
        """A retry that has nothing to take over: what is in the minute of ``refused`` is somebody else's."""
        return (yield from self.start((yield from self._index_of(refused.sent_time))))

    def take_over_or_start(self) -> Procedure[str]:
        """A retry: what the try before it started is ours, unless it ended badly."""
        intent = self._attempt.intent
        index = (yield from self._index_of(intent.sent_time)) if intent else self._attempt.base
        time = intent.sent_time if intent else (yield from self._time(index))
        while True:
            self._index = index
            found = yield from self._look_up(time, intent.flow_instance_id if intent else None)
            if found is None:
                return (yield from self.start(index, empty_minute=minute_of(time)))
            if found.status.outcome not in (Outcome.FAILED, Outcome.CANCELLED):
                return self._take_over_from_earlier(time, found, "started")
            self._log.info("%s ended with status %s: starting another", found.flow_instance_id, str(found.status))
            index += 1
            if intent or self._attempt.base + self._attempt.tries_before <= index:
                return (yield from self.start(index))
            # An even earlier retry may have started one for the next minute.
            time = yield from self._time(index)

    def start(self, index: int, *, empty_minute: int | None = None) -> Procedure[str]:
        """Starts an instance for this minute, or for a later one where that is taken and ``on_conflict`` says so.

        ``empty_minute``: the minute for which a look a moment ago found no instance.
        """
        while True:
            time = yield from self._time(index)
            self._index = index
            flow_instance_id = yield from self._send(time, minute_of(time) == empty_minute)
            if flow_instance_id is not None:
                return flow_instance_id
            index += 1

    def _send(self, time: int, was_empty: bool) -> Procedure[str | None]:
        """Asks for an instance for this time: its id, or None where the minute is somebody else's.

        ``was_empty``: an earlier try may have asked for this minute, whose request may still be under way.
        """
        since = self._clock()
        while True:
            self._note(time)
            try:
                flow_instance_id: str = yield self._target.call(time)
            except EnosRequestError as error:
                self._note_refused(time, was_empty, error)
                if error.code != replies.INVALID:
                    raise
                yield from self._check_target()
                found = yield from self._look_up(time, scheduled=True)
                if found is not None:
                    return self._settle_conflict(time, found, was_empty, error)
                yield from self._wait_out_clock_minute(next(self._clock_minute_pauses), since, error)
                self._check_not_superseded(error)
            except EnosError as error:
                answered = isinstance(error, EnosApiError) and not isinstance(error, EnosServerError)
                if answered or not error.sent:
                    self._note_refused(time, was_empty, error)
                    raise
                return (yield from self._find_unanswered(time, error))
            else:
                return self._started(time, flow_instance_id)

    def _started(self, time: int, flow_instance_id: str) -> str:
        predicted = predicted_flow_instance_id(self._target.flow_id, time)
        if flow_instance_id != predicted:
            self._log.warning("EnOS named the instance %s, not %s", flow_instance_id, predicted)
        self._note(time, flow_instance_id)
        self._log.info("Started flow instance %s", flow_instance_id)
        return flow_instance_id

    def _take_over_from_earlier(self, time: int, found: FlowInstance, did: str) -> str:
        intent = self._attempt.intent
        if intent is None:
            # That it has the minute is all that is known.
            return self._take_over(time, found, "taking it for that of an earlier try of this task", 0)
        who = f"try {intent.try_number}" if intent.try_number else "an earlier try"
        return self._take_over(time, found, f"which {who} of this task {did}", intent.try_number)

    def _take_over(self, time: int, found: FlowInstance, why: str, sender: int | None = None) -> str:
        self._note(time, found.flow_instance_id, sender=sender)
        self._log.info("Took over flow instance %s (%s), %s", found.flow_instance_id, str(found.status), why)
        return found.flow_instance_id

    def _settle_conflict(self, time: int, found: FlowInstance, was_empty: bool, error: EnosRequestError) -> str | None:
        if was_empty and not is_scheduled(found.flow_instance_id):
            # The minute was empty a moment ago: it is the request of an earlier try that has come late.
            return self._take_over_from_earlier(time, found, "asked for, and which came late")
        if self._on_conflict == "attach":
            return self._take_over(time, found, 'which somebody else started in this minute (on_conflict="attach")')
        if self._on_conflict == "fail":
            raise EnosTriggerConflictError(
                f"flow {self._target.flow_id} has an instance for this minute already: "
                f'{found.flow_instance_id} ({found.status}), and on_conflict is "fail"'
            ) from error
        self._log.warning(
            'The minute of %s is taken (%s): trying the next one (on_conflict="next_minute")',
            found.flow_instance_id,
            str(found.status),
        )
        return None

    def _find_unanswered(self, time: int, error: EnosError) -> Procedure[str]:
        """The request was sent, and what came of it is not known: looks, and never sends again blindly."""
        predicted = predicted_flow_instance_id(self._target.flow_id, time)
        self._log.warning("The trigger was not answered (%s): looking for %s", error, predicted)
        for pause in _LOOKUP_PAUSES:
            yield Sleep(pause)
            try:
                found = yield from self._look_up(time)
            except EnosError as failure:
                self._log.warning("Could not look for it: %s", failure)
                continue
            if found is not None:
                return self._take_over(time, found, "which has the minute of the trigger that was not answered")
        raise EnosTriggerUncertainError(
            f"flow {self._target.flow_id}: the trigger was sent, but not answered ({error}), and no instance can "
            f"be seen. If there comes to be one, its id is {predicted}; a retry of this task looks for it first",
            flow_instance_id=predicted,
        ) from error

    def _check_target(self) -> Procedure[None]:
        """The code of a conflict also stands for a wrong flow or node: tells them apart."""
        flow_id, from_task_id = self._target.flow_id, self._target.from_task_id
        try:
            flow = yield calls.get_flow(flow_id)
        except EnosNotFoundError as error:
            raise EnosTriggerTargetError(f"flow_id: EnOS has no flow {flow_id} ({error})") from error
        except EnosError as error:
            if error.final:
                raise
            self._log.warning("Cannot check flow %s, taking it that it exists: %s", flow_id, error)
            return
        self._is_switched_off = flow.switched_off
        nodes = {node.task_id for node in flow.nodes}
        if from_task_id is not None and nodes and from_task_id not in nodes:
            raise EnosTriggerTargetError(
                f"from_task_id: flow {flow_id} has no task node {from_task_id}; it has "
                + ", ".join(excerpt(str(node), 80) for node in flow.nodes)
            )

    def _wait_out_clock_minute(self, pause: float, since: float, error: EnosRequestError) -> Procedure[None]:
        limit = _SWITCHED_OFF_LIMIT if self._is_switched_off else _CLOCK_MINUTE_LIMIT
        perhaps = ", perhaps since its schedule is switched off" if self._is_switched_off else ""
        if self._clock() + pause > min(self._deadline, since + limit):
            raise EnosTriggerConflictError(
                f"flow {self._target.flow_id}: the gateway went on refusing the trigger, though no instance has "
                f"this minute{perhaps}: {error}"
            ) from error
        self._log.info(
            "EnOS refuses the trigger, though no instance has this minute; it may count minutes by its own clock%s. "
            "Trying again in %.0f s: %s",
            perhaps,
            pause,
            error,
        )
        yield Sleep(pause)

    def _look_up(
        self, time: int, flow_instance_id: str | None = None, *, scheduled: bool = False
    ) -> Procedure[FlowInstance | None]:
        """The instance of this minute: by the id that is known, by the predicted one, by the list.

        ``scheduled``: if there is no other, the one that EnOS's own schedule has started, which is nobody's try.
        """
        predicted = predicted_flow_instance_id(self._target.flow_id, time)
        for candidate in dict.fromkeys(filter(None, (flow_instance_id, predicted))):
            try:
                instance: FlowInstance = yield calls.get_flow_instance(candidate)
                return instance
            except EnosNotFoundError:
                continue
            except EnosServerError as error:
                # With which code EnOS answers for an unknown id is not documented: the list decides.
                if error.code != replies.INTERNAL:
                    raise
        return (yield from self._look_up_in_list(minute_of(time), scheduled))

    def _look_up_in_list(self, minute: int, scheduled: bool) -> Procedure[FlowInstance | None]:
        # A DAG file that is parsed has no need of it.
        from airflow_provider_enos.protocol.windows import Window, instances_in

        of_schedule: FlowInstance | None = None
        for type in calls.ALL_FLOW_TYPES:
            listed = yield from instances_in(Window(minute, minute + MINUTE), (type,), self._target.flow_id)
            for instance in listed:
                if not is_scheduled(instance.flow_instance_id):
                    return instance
                of_schedule = instance
        return of_schedule if scheduled else None

    def _time(self, index: int) -> Procedure[int]:
        """The trigger time for the minute of this index. The gateway's zone is asked for only for a further one."""
        if index == 0:
            return self._attempt.trigger_time
        if self._further_times is None:
            name = yield calls.get_time_zone()
            zone = zone_of(name)
            if zone is None:
                self._log.warning("EnOS names its time zone %r, which cannot be read: taking UTC", excerpt(name, 40))
                zone = UTC
            most = self._attempt.base + MOST_MINUTES
            self._further_times = list(further_minutes(self._attempt.trigger_time, zone, most))
        if index > len(self._further_times):
            raise EnosTriggerConflictError(
                f"flow {self._target.flow_id}: no minute of the day is free for this trigger time; "
                f"{len(self._further_times) + 1} were tried"
            )
        return self._further_times[index - 1]

    def _index_of(self, time: int) -> Procedure[int]:
        """The index of the minute of ``time``; the lineage's first where the trigger time has been changed since."""
        if minute_of(time) == minute_of(self._attempt.trigger_time):
            return 0
        yield from self._time(1)
        further = self._further_times or []
        return further.index(minute_of(time)) + 1 if minute_of(time) in further else self._attempt.base

    def _check_not_superseded(self, error: EnosError) -> None:
        """What the next try has written down must not be written over, nor anything be started beside it."""
        if not self._superseded():
            return
        if error.final:
            raise error
        raise EnosTriggerConflictError(
            f"flow {self._target.flow_id}: another try of this task has begun since this one, as far as can be told, "
            "so this one starts nothing"
        ) from error

    def _note_refused(self, time: int, was_empty: bool, error: EnosError) -> None:
        """Nothing came of this request; of an earlier one for this minute, something still may."""
        self._check_not_superseded(error)
        if not was_empty:
            self._note(time, refused=True)

    def _note(
        self, time: int, flow_instance_id: str | None = None, *, refused: bool = False, sender: int | None = None
    ) -> None:
        attempt = self._attempt
        intent = Intent(
            lineage=attempt.lineage,
            base=attempt.base,
            trigger_time=attempt.trigger_time,
            sent_time=time,
            flow_instance_id=flow_instance_id,
            index=self._index,
            refused=refused,
            try_number=attempt.try_number if sender is None else sender,
            clears=attempt.clears,
            flow_id=self._target.flow_id,
        )
        self._record(intent)
