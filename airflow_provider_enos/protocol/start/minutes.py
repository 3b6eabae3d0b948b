"""The minutes that a round may ask for: index 0 is the trigger time's own minute, then the others of its day."""

from __future__ import annotations

from datetime import UTC, tzinfo

from airflow_provider_enos.errors import EnosTriggerConflictError
from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.start.attempts import Attempt
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.protocol.trigger_time import MOST_MINUTES, further_minutes, minute_of, zone_of
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure


class Minutes:
    """The trigger times of one try by index. The gateway's time zone is asked for once, when it is needed."""

    def __init__(self, flow_id: int, attempt: Attempt, log: Log) -> None:
        self._flow_id = flow_id
        self._attempt = attempt
        self._log = log
        self._zone_name: str | None = None
        self._further: list[int] = []

    def zone(self) -> Procedure[tzinfo | None]:
        """Return the time zone of the gateway; None where its name cannot be read."""
        if self._zone_name is None:
            self._zone_name = yield calls.get_time_zone()
        return zone_of(self._zone_name)

    def time(self, index: int) -> Procedure[int]:
        """Return the trigger time for this index. Raises ``EnosTriggerConflictError`` after the last minute."""
        if index == 0:
            return self._attempt.trigger_time
        further = yield from self._further_times()
        if index > len(further):
            raise EnosTriggerConflictError(
                f"flow {self._flow_id}: no minute of the day is free for this trigger time; {len(further) + 1} were "
                "tried"
            )
        return further[index - 1]

    def index_of(self, time: int) -> Procedure[int]:
        """Return the index of the minute of ``time``; the round's first one if the trigger time was changed since."""
        minute = minute_of(time)
        if minute == minute_of(self._attempt.trigger_time):
            return 0
        further = yield from self._further_times()
        return further.index(minute) + 1 if minute in further else self._attempt.first_index

    def _further_times(self) -> Procedure[list[int]]:
        if not self._further:
            zone = yield from self.zone()
            if zone is None:
                name = excerpt(self._zone_name or "", 40)
                self._log.warning("EnOS names its time zone %r, which cannot be read: taking UTC", name)
            most = self._attempt.first_index + MOST_MINUTES
            self._further = list(further_minutes(self._attempt.trigger_time, zone or UTC, most))
        return self._further
