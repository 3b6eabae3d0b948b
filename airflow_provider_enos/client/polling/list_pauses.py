"""When to ask again for a list that answers for many waits, after it failed or was not worth its requests."""

from __future__ import annotations

from airflow_provider_enos.errors import EnosRateLimitError, EnosServerError, EnosTransportError

PASSING = (EnosRateLimitError, EnosServerError, EnosTransportError)
"""Errors that describe the state of the gateway right now, not the request."""


class ListPauses:
    """How long not to ask for a list. Each failure in a row doubles the pause.

    After a list that was not worth its requests, or met a passing error: 5 s, up to a minute. After one that was
    refused, or timed out: a minute, up to 10. Until then the waits that the list would have answered for are looked at
    one by one.
    """

    def __init__(self) -> None:
        self.failures = 0
        """In a row."""

    def worked(self) -> None:
        """Note that the list has come."""
        self.failures = 0

    def failed(self, error: BaseException | None) -> float:
        """Return the seconds until the list is asked for again.

        :param error: what the request met; None where the list came, but was not worth its requests.
        """
        self.failures += 1
        soon = error is None or isinstance(error, PASSING)
        first, longest = (5.0, 60.0) if soon else (60.0, 600.0)
        asked = error.retry_after if isinstance(error, EnosRateLimitError) else None
        return min(max(first * 2.0 ** min(self.failures - 1, 10), asked or 0.0), longest)
