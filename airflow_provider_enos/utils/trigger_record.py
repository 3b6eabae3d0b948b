"""The record of the triggers that a task has sent. Retries read it, and ``on_kill``."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.start.attempts import (
    Attempt,
    Intent,
    attempt_of,
    nothing_sent,
    tries_of,
    with_tries,
)
from airflow_provider_enos.utils.state_store import State, TaskState

if TYPE_CHECKING:
    from airflow_provider_enos.version_compat import Context

STATE_KEY = "enos_trigger"
_FROZEN = 10.0
"""If more seconds than this pass between record and request, the process was suspended."""


class TriggerRecord:
    """What this try and the tries before it have sent; kept in Airflow's task state store, where there is one (3.3).

    :param origin: names the gateway and the organisation.
    :param state: where it is kept instead.
    """

    def __init__(self, context: Context, origin: str, log: Log, state: State | None = None) -> None:
        self._context: Any = context
        self.origin = origin
        self._state: State = state or TaskState(context, STATE_KEY, log)
        self._saved_at = time()
        self._tries: dict[int, str] = {}
        self.last: Intent | None = None
        """The last intent of this round, also if there is no store."""

    def attempt(self, *, retries: int, trigger_time: Callable[[int], int]) -> Attempt:
        """Return where this try stands. Airflow raises ``max_tries`` at a clear, and not at a retry.

        :raises EnosTriggerError: earlier tries may have sent something, and their record cannot be read.
        """
        ti, run = self._context["ti"], self._context.get("dag_run")
        stored = self._state.load()
        self._tries = tries_of(stored)
        started = getattr(run, "start_date", None)
        return attempt_of(
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

    def take_up(self, intent: Intent | None, flow_id: int) -> None:
        """Go on from the record of an earlier try, unless it is about another flow, gateway or organisation."""
        if intent is not None and not intent.is_elsewhere(flow_id, self.origin):
            self.last = intent

    def save(self, intent: Intent) -> None:
        """Record the intent. Raises ``EnosTriggerError`` if the store cannot record a request.

        Then either Airflow has given up this try, or the next try would not know what this one has sent.
        """
        if intent.flow_instance_id:
            # For people who look at an earlier try.
            self._tries[self._context["ti"].try_number] = intent.flow_instance_id
        if not self._state.save(with_tries(intent, self._tries)) and self._state.kept and intent.is_open:
            raise nothing_sent(f"the request cannot be recorded in {self._state.place}")
        self.last = intent
        self._saved_at = time()

    @property
    def superseded(self) -> bool:
        """Whether another try may have begun since this one."""
        return self._state.superseded

    def check_current(self) -> None:
        """Raise ``EnosTriggerError`` if the process was suspended after the record, and another try has begun since."""
        if time() - self._saved_at > _FROZEN and self.superseded:
            raise nothing_sent("another try of this task has begun since this one")
