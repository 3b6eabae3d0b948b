"""Write the record of the requests of one try."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from airflow_provider_enos.errors import EnosError, EnosTriggerConflictError
from airflow_provider_enos.protocol.start.attempts import NO_NAMES, Attempt, Intent, Names
from airflow_provider_enos.protocol.trigger_time import minute_of


class Record(Protocol):
    """Where the record is kept from one try to the next."""

    def save(self, intent: Intent) -> None:
        """Keep the record. Raises ``EnosTriggerError`` if the request that it is about must not be sent."""

    @property
    def superseded(self) -> bool:
        """Whether another try may have begun since this one."""


@dataclass
class Ledger:
    """Write the records of one try; remember when each minute was asked for first.

    :param first_task_id: the node that the task is to start from; None for the whole flow.
    :param origin: names the gateway and the organisation.
    :param clock: epoch seconds.
    :param gateway_clock: epoch seconds as the gateway counts them.
    :param names: the names that were looked up.
    """

    flow_id: int
    first_task_id: int | None
    attempt: Attempt
    record: Record
    origin: str
    clock: Callable[[], float]
    gateway_clock: Callable[[], float]
    names: Names = NO_NAMES
    _first_sent: dict[int, int] = field(default_factory=dict, init=False)
    _nodes: tuple[int | None, int | None] = field(init=False)
    """Of the last request: the node that the task was to start from, and the node that was asked for."""

    def __post_init__(self) -> None:
        intent = self.attempt.intent
        self._nodes = (self.first_task_id, self.first_task_id)
        if intent is not None:
            self._first_sent[minute_of(intent.sent_time)] = intent.first_sent
            self._nodes = (intent.first_task_id, intent.from_task_id)

    @property
    def now(self) -> int:
        """Epoch milliseconds by the gateway's clock."""
        return int(self.gateway_clock() * 1000)

    def first_sent(self, time: int) -> int:
        """Return when this round can have asked for this minute first, epoch milliseconds by the gateway's clock.

        0 where it is not known.
        """
        known = self._first_sent.get(minute_of(time))
        if known is not None or not self.attempt.not_before:
            return known or 0
        return self.attempt.not_before + int((self.gateway_clock() - self.clock()) * 1000)

    def note_request(self, index: int, time: int, from_task_id: int | None) -> None:
        """Write down that a request for this minute and this node is about to be sent."""
        self._first_sent.setdefault(minute_of(time), self.now)
        self._nodes = (self.first_task_id, from_task_id)
        self._save(index, time)

    def note_refused(self, index: int, time: int) -> None:
        """Write down that no request of this round has started the instance in this minute."""
        self._save(index, time, refused=True)

    def note_instance(
        self, index: int, time: int, flow_instance_id: str, *, sender: int | None = None, named: bool = False
    ) -> None:
        """Write down the instance. ``sender``: the number of the try that asked for it; None for this try."""
        self._save(index, time, flow_instance_id, sender=sender, named=named)

    def check_not_superseded(self, error: EnosError | None) -> None:
        """Raise an error if the next try has begun: this one must not start anything, nor overwrite the record."""
        if not self.record.superseded:
            return
        if error is not None and error.final:
            raise error
        raise EnosTriggerConflictError(
            f"flow {self.flow_id}: another try of this task has begun since this one, as far as can be told, "
            "so this one starts nothing"
        ) from error

    def _save(
        self,
        index: int,
        time: int,
        flow_instance_id: str | None = None,
        *,
        refused: bool = False,
        sender: int | None = None,
        named: bool = False,
    ) -> None:
        attempt = self.attempt
        self.record.save(
            Intent(
                max_tries=attempt.max_tries,
                first_index=attempt.first_index,
                trigger_time=attempt.trigger_time,
                sent_time=time,
                flow_instance_id=flow_instance_id,
                index=index,
                refused=refused,
                try_number=attempt.try_number if sender is None else sender,
                clears=attempt.clears,
                flow_id=self.flow_id,
                first_sent=self._first_sent.get(minute_of(time), 0),
                origin=self.origin,
                named=named,
                first_task_id=self._nodes[0],
                from_task_id=self._nodes[1],
                flow_name=self.names.flow_name,
                node_name=self.names.node_name,
                node_id=self.names.node_id,
            )
        )
