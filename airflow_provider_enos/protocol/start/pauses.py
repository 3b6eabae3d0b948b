"""How long a start waits for a gateway that is busy or unreachable, or that counts minutes by its own clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, repeat

from airflow_provider_enos.errors import (
    EnosError,
    EnosRateLimitError,
    EnosReplyError,
    EnosRequestError,
    EnosServerError,
    EnosSetupError,
    EnosTransportError,
    EnosTriggerConflictError,
)
from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.wire.messages import Procedure, Sleep, T

_BACKOFF_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before each further request to a gateway that is busy or unreachable; the last one repeats."""
_CLOCK_MINUTE_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds before each further request to a gateway that counts minutes by its own clock; the last one repeats."""
_CLOCK_MINUTE_LIMIT, _SWITCHED_OFF_LIMIT = 3600.0, 180.0
"""Seconds after which a refusal without a visible reason ends the start; the second if the flow's schedule is off.
The first is long, since many tasks may queue up for such a minute."""


def is_passing(error: EnosError) -> bool:
    """Return whether the error may pass by itself: it is about the gateway's state, not about the request."""
    if isinstance(error, EnosTransportError):
        # A wrong setup of this machine needs a person, or another worker.
        return not error.tls and not isinstance(error, EnosSetupError)
    return isinstance(error, (EnosRateLimitError, EnosServerError, EnosReplyError))


@dataclass
class Backoff:
    """Wait while the gateway is busy or unreachable, for ``tolerance`` seconds and not beyond ``deadline``."""

    tolerance: float
    deadline: float
    clock: Callable[[], float]
    log: Log
    _failing_since: float | None = None
    _pauses: int = 0

    def wait(self, error: EnosError) -> Procedure[None]:
        """Sleep before the next request. Raises ``error`` if waiting cannot help, or if the time is up."""
        if not is_passing(error):
            raise error
        now = self.clock()
        if self._failing_since is None:
            self._failing_since = now
            said = "EnOS is out of reach, trying again for up to %.0f s: %s"
            self.log.warning(said, self.tolerance, error)
        asked = error.retry_after if isinstance(error, EnosRateLimitError) else None
        pause = _BACKOFF_PAUSES[min(self._pauses, len(_BACKOFF_PAUSES) - 1)] if asked is None else max(asked, 1.0)
        if now + pause > min(self._failing_since + self.tolerance, self.deadline):
            raise error
        self._pauses += 1
        yield Sleep(pause)

    def patiently(self, make: Callable[[], Procedure[T]]) -> Procedure[T]:
        """Do what only reads or may be repeated; repeat it while EnOS is out of reach."""
        while True:
            try:
                return (yield from make())
            except EnosError as error:
                yield from self.wait(error)

    def answered(self) -> None:
        """Note that EnOS has answered."""
        self._failing_since, self._pauses = None, 0


@dataclass
class ClockMinutes:
    """Wait for a gateway that refuses a trigger although no instance has its minute."""

    flow_id: int
    deadline: float
    clock: Callable[[], float]
    log: Log
    _since: dict[int, float] = field(default_factory=dict)
    # One sequence for the whole try: if many tasks wait, not every further minute begins with short pauses again.
    _pauses: chain[float] = field(default_factory=lambda: chain(_CLOCK_MINUTE_PAUSES, repeat(_CLOCK_MINUTE_PAUSES[-1])))

    def wait(self, time: int, error: EnosRequestError, *, is_switched_off: bool) -> Procedure[None]:
        """Sleep before the next request. Raises ``EnosTriggerConflictError`` after an hour, or at the deadline.

        :param is_switched_off: whether the schedule of the flow is off. That may be the reason, so the limit is three
            minutes then.
        """
        pause, since = next(self._pauses), self._since.setdefault(time, self.clock())
        limit = _SWITCHED_OFF_LIMIT if is_switched_off else _CLOCK_MINUTE_LIMIT
        perhaps = ", perhaps since its schedule is switched off" if is_switched_off else ""
        if self.clock() + pause > min(self.deadline, since + limit):
            raise EnosTriggerConflictError(
                f"flow {self.flow_id}: the gateway went on refusing the trigger, though no instance has this "
                f"minute{perhaps}: {error}"
            ) from error
        self.log.info(
            "EnOS refuses the trigger, though no instance has this minute; it may count minutes by its own clock%s. "
            "Trying again in %.0f s: %s",
            perhaps,
            pause,
            error,
        )
        yield Sleep(pause)
