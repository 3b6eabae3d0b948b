"""When to leave a gateway alone that is busy, or that does not answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import copy

from airflow_provider_enos.errors import EnosError, EnosRateLimitError, EnosServerError, EnosTransportError

PASSING = (EnosRateLimitError, EnosServerError, EnosTransportError)
"""Errors that depend on the state of the gateway at the moment, and not on what it was asked for."""
FAILURES = 8
"""The breaker opens after this many requests in a row without an answer."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


class CircuitBreaker:
    """Open while the gateway is left alone: at once when it says that it is busy, else after ``FAILURES`` failures.

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
        """Return why it is open; None while it is closed."""
        return copy(self._error) if self._clock() < self._open_until else None

    @property
    def left(self) -> float:
        """Return the seconds until it closes."""
        return max(self._open_until - self._clock(), 0.0)

    def answered(self) -> None:
        """Note that the gateway has answered; a refusal is an answer, too."""
        self._failures = 0
        self._pause = 0.0

    def failed(self, error: EnosError) -> None:
        """Note an error, and open if it is one of ``PASSING`` and it is bad enough."""
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
