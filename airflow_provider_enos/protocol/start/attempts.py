"""What a try of a task is to start, and what the tries before it have put on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from airflow_provider_enos.errors import EnosTriggerError
from airflow_provider_enos.protocol.trigger_time import MOST_MINUTES
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Call

_TYPES = {
    "flow_instance_id": (str, type(None)),
    **dict.fromkeys(("refused", "named"), (bool,)),
    **dict.fromkeys(("origin", "flow_name", "node_name"), (str,)),
    **dict.fromkeys(("first_task_id", "from_task_id"), (int, type(None))),
}
"""The types of the fields of a record that are not numbers."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names that a task gives in place of ids, empty where it gives an id; and the id of the node so found."""

    flow_name: str = ""
    node_name: str = ""
    node_id: int = 0


NO_NAMES = Names()


@dataclass(frozen=True, slots=True)
class Target:
    """What to start. ``from_task_id``: the node to start from; None starts the whole flow."""

    flow_id: int
    from_task_id: int | None = None
    parameters: Mapping[str, str] | None = None
    names: Names = NO_NAMES

    def call(self, trigger_time: int) -> Call[str]:
        """Return the call that starts it. ``trigger_time``: epoch milliseconds."""
        if self.from_task_id is not None:
            return calls.trigger_flow_from_task(self.flow_id, self.from_task_id, trigger_time)
        if self.parameters is not None:
            return calls.update_and_trigger_flow(self.flow_id, trigger_time, self.parameters)
        return calls.trigger_flow(self.flow_id, trigger_time)


@dataclass(frozen=True, slots=True)
class Intent:
    """The record of a request to start an instance, written before the request and again when its outcome is known.

    :param max_tries: Airflow's ``max_tries``. It tells the rounds apart: a clear raises it, a retry does not.
    :param first_index: the index of the first minute of the round.
    :param trigger_time: the trigger time of the round, epoch milliseconds.
    :param sent_time: the trigger time of the request, epoch milliseconds.
    :param flow_instance_id: the instance; None until it is known.
    :param index: the index of the minute of the request.
    :param refused: whether EnOS surely carried out no request of this round for that minute. Then an instance in that
        minute is not ours.
    :param try_number: the try that sent the request; 0 for an earlier try whose number is not known.
    :param clears: how often tasks of the DAG run had been cleared.
    :param flow_id: the flow; 0 where it was not written down.
    :param first_sent: when the first request for that minute was about to be sent, epoch milliseconds by the gateway's
        clock; 0 where it is not known.
    :param origin: the gateway and the organisation; empty where they were not written down.
    :param named: whether EnOS has named the instance in a reply to this round, so that it is surely ours.
    :param first_task_id: the node that the task was to start from; None for the whole flow.
    :param from_task_id: the node that the request asks for. It differs from ``first_task_id`` where a retry restarts
        from the node that has to run again.
    :param flow_name: the name by which the flow was looked up; empty where the task gives its id.
    :param node_name: the same for the node to start from.
    :param node_id: the id of the node that was found by ``node_name``.
    """

    max_tries: int
    first_index: int
    trigger_time: int
    sent_time: int
    flow_instance_id: str | None = None
    index: int = 0
    refused: bool = False
    try_number: int = 0
    clears: int = 0
    flow_id: int = 0
    first_sent: int = 0
    origin: str = ""
    named: bool = False
    first_task_id: int | None = None
    from_task_id: int | None = None
    flow_name: str = ""
    node_name: str = ""
    node_id: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the outcome of the request is not known."""
        return self.flow_instance_id is None and not self.refused

    @property
    def is_restart(self) -> bool:
        """Whether the request was for the node that had to run again after an instance that ended badly."""
        return self.from_task_id != self.first_task_id

    def is_elsewhere(self, flow_id: int, origin: str) -> bool:
        """Return whether the record is about another flow, or about another gateway or organisation."""
        return self.flow_id not in (0, flow_id) or self.origin not in ("", origin)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> Intent | None:
        """Return the record in ``data``; None if it is no record. A field that has a default may be missing."""
        if not isinstance(data, dict):
            return None
        values = {field.name: data.get(field.name, field.default) for field in fields(cls)}
        if not all(type(value) in _TYPES.get(name, (int,)) for name, value in values.items()):
            return None
        return cls(**values)


MOST_TRIES = 100
"""Of how many tries the instances are kept."""


def tries_of(stored: object) -> dict[int, str]:
    """Return the instance of each try, the first one first, as far as a record says it. Nothing depends on it.

    A record holds ``tries``, from the number of a try to its instance, unless it would only say of the try that sent
    the request what the rest of the record says.
    """
    intent = Intent.from_json(stored)
    kept = stored.get("tries") if isinstance(stored, dict) else None
    tries: dict[int, str] = {}
    if intent is not None and intent.try_number and intent.flow_instance_id:
        tries[intent.try_number] = intent.flow_instance_id
    for number, instance in kept.items() if isinstance(kept, dict) else ():
        if isinstance(number, str) and number.isascii() and number.isdigit() and isinstance(instance, str):
            tries[int(number[:9])] = instance
    return dict(sorted(tries.items())[-MOST_TRIES:])


def with_tries(intent: Intent, tries: Mapping[int, str]) -> dict[str, Any]:
    """Return the record with the instance of each try, as ``tries_of`` reads it."""
    record = intent.to_json()
    kept = {str(number): instance for number, instance in sorted(tries.items())[-MOST_TRIES:]}
    if kept in ({}, {str(intent.try_number): intent.flow_instance_id}):
        return record
    return record | {"tries": kept}


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known, before a try sends anything, of this try and of the tries before it.

    :param trigger_time: epoch milliseconds.
    :param max_tries: Airflow's ``max_tries``, which tells this round from the rounds before the last clear.
    :param first_index: the index of the first minute of the round.
    :param fresh: whether this is the first try of the round.
    :param has_record: whether requests are recorded. If so, and there is no record, no earlier try has sent anything.
    :param intent: the record of this round.
    :param try_number: Airflow's number of this try.
    :param tries_before: how many tries of this round came before. Without a record, each may have used a minute.
    :param clears: how often tasks of the DAG run have been cleared.
    :param predecessor: the record of the round before this one.
    :param not_before: the earliest moment at which this round can have sent a request, epoch milliseconds; 0 where it
        is not known.
    :param minutes_unknown: whether it is not known which minutes the rounds before this one have used.
    """

    trigger_time: int
    max_tries: int = 0
    first_index: int = 0
    fresh: bool = True
    has_record: bool = False
    intent: Intent | None = None
    try_number: int = 0
    tries_before: int = MOST_MINUTES
    clears: int = 0
    predecessor: Intent | None = None
    not_before: int = 0
    minutes_unknown: bool = False

    @property
    def tries_to_look_for(self) -> int:
        """How many earlier tries of this round may have started an instance that this try has to look for.

        The record has the last request only. A request that EnOS refused has started nothing.
        """
        if self.intent is not None:
            return 0 if self.intent.refused else 1
        return 0 if self.fresh or self.has_record else self.tries_before


def tries_before_clear(*, try_number: int, max_tries: int, retries: int) -> int:
    """Return how many tries came before the last clear: a clear sets ``max_tries`` to their number plus ``retries``.

    Return 0 where the difference is too high to be true, since ``retries`` was lowered in the meantime.
    """
    tries = max_tries - retries
    return tries if 0 < tries < try_number else 0


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
    is_readable: bool = True,
    run_started: int = 0,
) -> Attempt:
    """Return what is known of a try, by Airflow's numbers and by the record that is ``stored``.

    :param now: epoch milliseconds.
    :param trigger_time: returns the trigger time, given what ``"now"`` means: the moment at which the first try of the
        round read it.
    :param is_readable: False where there is a store, and reading it failed.
    :param run_started: when the DAG run was started, epoch milliseconds; 0 where it is not known.
    :raises EnosTriggerError: earlier tries may have left a record, and it cannot be read. Nothing was sent.
    """
    if not is_readable and try_number > 1:
        # A guess could adopt somebody else's instance, or start a second one beside the instance of an earlier try.
        raise nothing_sent("what earlier tries of this task have sent cannot be read from Airflow's task state store")
    intent = Intent.from_json(stored)
    tries = tries_before_clear(try_number=try_number, max_tries=max_tries, retries=retries)
    # Airflow 2's `tasks test` counts from 0.
    fresh = try_number <= tries + 1
    predecessor: Intent | None = None
    # If ``retries`` was lowered by the number of the tries before, a clear leaves ``max_tries`` as it was.
    if intent is not None and (intent.max_tries != max_tries or (fresh and intent.clears < clears)):
        predecessor, intent = intent, None
    if intent is not None:
        time, first_index = trigger_time(intent.trigger_time), intent.first_index
    else:
        # Conflicts may have led the round before to more minutes than it had tries.
        time, first_index = trigger_time(now), max(tries, predecessor.index + 1 if predecessor else 0)
    return Attempt(
        trigger_time=time,
        max_tries=max_tries,
        first_index=first_index,
        fresh=fresh,
        has_record=has_record,
        intent=intent,
        try_number=try_number,
        tries_before=max(try_number - tries - 1, 0),
        clears=clears,
        predecessor=predecessor,
        not_before=run_started,
        minutes_unknown=0 < tries == first_index and predecessor is None,
    )


def nothing_sent(why: str) -> EnosTriggerError:
    """Return the error of a start that ends before it has sent anything. The task may be retried."""
    error = EnosTriggerError(f"nothing is started: {why}")
    error.sent = False
    return error
