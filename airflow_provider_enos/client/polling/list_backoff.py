"""When to ask again for a list that answers for many waits, after it failed or did not pay."""

from __future__ import annotations

import logging
from collections.abc import Callable

from airflow_provider_enos.client.polling.circuit_breaker import PASSING
from airflow_provider_enos.errors import EnosError, EnosRateLimitError

_log = logging.getLogger(__name__)


class ListBackoff:
    """Do without a list for a while: longer after each failure in a row. Single polls replace it until then.

    A list that did not pay, or met an error that passes, is asked for again after 5 s, up to a minute. A list that was
    refused, or did not come in time, is asked for again after a minute, up to ten minutes.

    :param list_name: what is listed, for the log.
    :param clock: seconds, of a clock that does not jump.
    """

    def __init__(self, list_name: str, clock: Callable[[], float]) -> None:
        self._list_name = list_name
        self._clock = clock
        self._failures = 0
        """In a row."""
        self._until = 0.0

    @property
    def is_over(self) -> bool:
        """Return whether the list may be asked for."""
        return self._clock() >= self._until

    def worked(self) -> None:
        """Note that the list has come, and has paid."""
        self._failures = 0

    def failed(self, error: EnosError | TimeoutError | None) -> float:
        """Note that the list met this error, or did not pay (None); return the seconds until it may be asked for.

        The first error in a row is logged.
        """
        self._failures += 1
        if error is not None and self._failures == 1:
            why = str(error) or "it takes too long"
            _log.warning("Cannot list %s, looking at each singly: %s", self._list_name, why)
        pause = self._pause(error)
        self._until = self._clock() + pause
        return pause

    def _pause(self, error: EnosError | TimeoutError | None) -> float:
        soon = error is None or isinstance(error, PASSING)
        first, longest = (5.0, 60.0) if soon else (60.0, 600.0)
        asked = error.retry_after if isinstance(error, EnosRateLimitError) else None
        return min(max(first * 2.0 ** min(self._failures - 1, 10), asked or 0.0), longest)
