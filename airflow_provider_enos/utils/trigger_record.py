"""The record of what a task has asked EnOS for: from one try to the next, and from ``execute`` to ``on_kill``."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.start.attempts import Attempt, Intent, attempt_of, nothing_sent
from airflow_provider_enos.utils.state_store import TaskState

if TYPE_CHECKING:
    from airflow_provider_enos.version_compat import Context

STATE_KEY = "enos_trigger"
_FROZEN = 10.0
"""Seconds from the record of a request to the request itself that are more than it takes."""


class TriggerRecord:
    """What this try and those before it have asked for; in Airflow's task state store, where there is one (3.3).

    :param flow_id: the flow.
    :param origin: names the gateway and the organisation.
    """

    def __init__(self, context: Context, flow_id: int, origin: str, log: Log) -> None:
        self._context: Any = context
        self._flow_id = flow_id
        self.origin = origin
        self._state = TaskState(context, STATE_KEY, log)
        self._saved_at = time()
        self.last: Intent | None = None
        """What was written down last of this round, also where there is no store."""

    def attempt(self, *, retries: int, trigger_time: Callable[[int], int]) -> Attempt:
        """Return where this try stands: a clear raises ``max_tries``, a retry does not.

        :raises EnosTriggerError: earlier tries may have sent something, and their record cannot be read.
        """
        ti, run = self._context["ti"], self._context.get("dag_run")
        stored = self._state.load()
        started = getattr(run, "start_date", None)
        attempt = attempt_of(
            stored,
            try_number=ti.try_number,
            max_tries=ti.max_tries or 0,
            retries=retries,
            has_record=self._state.kept,
            is_readable=not self._state.fails,
            now=int(time() * 1000),
            clears=getattr(run, "clear_number", None) or 0,
            run_started=int(started.timestamp() * 1000) if started else 0,
            trigger_time=trigger_time,
        )
        if attempt.intent is not None and not attempt.intent.is_elsewhere(self._flow_id, self.origin):
            self.last = attempt.intent
        return attempt

    def save(self, intent: Intent) -> None:
        """Write the intent down. Raises ``EnosTriggerError`` where a request cannot be put on record.

        Then Airflow has given this try up, or the next try would not know what this one has sent.
        """
        if not self._state.save(intent.to_json()) and self._state.kept and intent.is_open:
            raise nothing_sent("what would be asked for cannot be kept in Airflow's task state store")
        self.last = intent
        self._saved_at = time()

    @property
    def superseded(self) -> bool:
        """Whether another try may have begun since this one."""
        return self._state.superseded

    def check_current(self) -> None:
        """Raise ``EnosTriggerError`` if this process was frozen since the record, and another try has begun since."""
        if time() - self._saved_at > _FROZEN and self.superseded:
            raise nothing_sent("another try of this task has begun since this one")
