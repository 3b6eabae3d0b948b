"""Where a try of a task stands: what it is to start, and what the tries before it have put on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from airflow_provider_enos.errors import EnosTriggerError
from airflow_provider_enos.protocol.trigger_time import MOST_MINUTES
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Call

_TYPES = {"flow_instance_id": (str, type(None)), "refused": (bool,), "named": (bool,), "origin": (str,)}
"""The types of a record's fields, for those that are no numbers."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to start. ``from_task_id``: the node to start from, or None for the whole flow."""

    flow_id: int
    from_task_id: int | None = None
    parameters: Mapping[str, str] | None = None

    def call(self, trigger_time: int) -> Call[str]:
        """Return the trigger of this target for that time."""
        if self.from_task_id is not None:
            return calls.trigger_flow_from_task(self.flow_id, self.from_task_id, trigger_time)
        if self.parameters is not None:
            return calls.update_and_trigger_flow(self.flow_id, trigger_time, self.parameters)
        return calls.trigger_flow(self.flow_id, trigger_time)


@dataclass(frozen=True, slots=True)
class Intent:
    """The record: what a try was about to ask for, and what is known of the outcome. It is written before each request.

    :param lineage: Airflow's ``max_tries``, which a clear raises and a retry does not.
    :param base: the index of the lineage's first minute.
    :param trigger_time: what the lineage was asked for, epoch milliseconds.
    :param sent_time: the trigger time of the request.
    :param flow_instance_id: the instance, once it is known.
    :param index: the index of the request's minute.
    :param refused: no request of this lineage for that minute can have been carried out: what is there is not ours.
    :param try_number: the try that sent the request; 0 where only an earlier one is known of.
    :param clears: how often tasks of the DAG run had been cleared.
    :param flow_id: the flow; 0 where it was not written down.
    :param first_sent: when the first request for that minute was about to be sent, epoch milliseconds by the gateway's
        clock; 0 where it is not known.
    :param origin: the gateway and the organisation; empty where they were not written down.
    :param named: whether a reply of EnOS to this lineage has named the instance, so that it is surely ours.
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
    first_sent: int = 0
    origin: str = ""
    named: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the outcome of the request is not known."""
        return self.flow_instance_id is None and not self.refused

    def is_elsewhere(self, flow_id: int, origin: str) -> bool:
        """Return whether the record is about another flow, or about another gateway or organisation."""
        return self.flow_id not in (0, flow_id) or self.origin not in ("", origin)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> Intent | None:
        """Return the record in ``data``; None where it is none. Fields may be missing that have a default."""
        if not isinstance(data, dict):
            return None
        values = {field.name: data.get(field.name, field.default) for field in fields(cls)}
        if not all(type(value) in _TYPES.get(name, (int,)) for name, value in values.items()):
            return None
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Where a try of the task stands.

    :param trigger_time: epoch milliseconds.
    :param lineage: what tells it from those before the last clear.
    :param base: the index of the lineage's first minute.
    :param fresh: whether this is the first try of its lineage.
    :param has_record: whether requests are recorded at all; if so, a retry without a record sent nothing.
    :param intent: the record of this lineage.
    :param try_number: Airflow's number of this try.
    :param tries_before: how many tries of this lineage came before it: without a record, no more minutes can be ours.
    :param clears: how often tasks of the DAG run have been cleared.
    :param predecessor: the record of the lineage before this one.
    :param not_before: no request of this lineage was sent before, epoch milliseconds; 0 where it is not known.
    :param forgotten: whether it is not known which minutes the lineages before this one have used.
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
    predecessor: Intent | None = None
    not_before: int = 0
    forgotten: bool = False


def lineage_base(*, try_number: int, max_tries: int, retries: int) -> int:
    """Return the number of tries before the last clear: a clear raises ``max_tries`` by it, a retry leaves it.

    Where ``retries`` has been changed since, the sum can come out too high. That can be told, and counts as 0.
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
    is_readable: bool = True,
    run_started: int = 0,
) -> Attempt:
    """Return where a try stands, by Airflow's numbers and by what is ``stored`` of the tries before it.

    :param trigger_time: gives the trigger time for what ``"now"`` stands for: the moment at which the lineage's first
        try said it.
    :param is_readable: False where there is a store, and reading it failed.
    :param run_started: when the DAG run was started, epoch milliseconds; 0 where it is not known.
    :raises EnosTriggerError: there is a record to be read, and it cannot be. Nothing was sent.
    """
    if not is_readable and try_number > 1:
        # A guess could adopt somebody else's instance, or start another one beside that of an earlier try.
        raise nothing_sent("what earlier tries of this task have sent cannot be read from Airflow's task state store")
    intent = Intent.from_json(stored)
    tries = lineage_base(try_number=try_number, max_tries=max_tries, retries=retries)
    # Airflow 2's `tasks test` counts from 0.
    fresh = try_number <= tries + 1
    predecessor: Intent | None = None
    # By ``max_tries`` alone, a clear cannot be told from a retry where ``retries`` was lowered by the tries before it.
    if intent is not None and (intent.lineage != max_tries or (fresh and intent.clears < clears)):
        predecessor, intent = intent, None
    if intent is not None:
        time, base = trigger_time(intent.trigger_time), intent.base
    else:
        # Conflicts may have led the lineage before this one further than its tries.
        time, base = trigger_time(now), max(tries, predecessor.index + 1 if predecessor else 0)
    return Attempt(
        trigger_time=time,
        lineage=max_tries,
        base=base,
        fresh=fresh,
        has_record=has_record,
        intent=intent,
        try_number=try_number,
        tries_before=max(try_number - tries - 1, 0),
        clears=clears,
        predecessor=predecessor,
        not_before=run_started,
        forgotten=0 < tries == base and predecessor is None,
    )


def nothing_sent(why: str) -> EnosTriggerError:
    """Return the error of a start that was given up before anything was sent; it may be tried again."""
    error = EnosTriggerError(f"nothing is started: {why}")
    error.sent = False
    return error
