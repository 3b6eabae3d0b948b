"""When to leave a gateway alone that is busy, or that does not answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import copy

from airflow_provider_enos.client.polling.list_pauses import PASSING
from airflow_provider_enos.errors import EnosError, EnosRateLimitError, EnosServerError

FAILURES = 8
"""So many requests in a row that were not answered open it."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


class CircuitBreaker:
    """Open while the gateway is left alone: at once where it says that it is busy, else after a number of failures.

    :param clock: seconds, of a clock that does not jump.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._pause = 0.0
        self._open_until = 0.0
        self._error: EnosError | None = None

    @property
    def error(self) -> EnosError | None:
        """Why it is open; None while it is closed."""
        return copy(self._error) if self._clock() < self._open_until else None

    @property
    def left(self) -> float:
        """Seconds until it closes."""
        return max(self._open_until - self._clock(), 0.0)

    def answered(self) -> None:
        """Note that the gateway has answered, be it with a refusal."""
        self._failures = 0
        self._pause = 0.0

    def failed(self, error: EnosError) -> None:
        """Note an error; open where it tells how the gateway is at the moment, and that is bad."""
        if not isinstance(error, PASSING):
            return
        busy = isinstance(error, EnosRateLimitError) or (isinstance(error, EnosServerError) and error.code == 503)
        self._failures += 1
        if self.left or not (busy or self._failures >= FAILURES):
            return
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        asked = error.retry_after if isinstance(error, EnosRateLimitError) else None
        self._open_until = self._clock() + min(asked or self._pause, LONGEST_PAUSE) * random.uniform(1.0, 1.2)
        self._error = error
