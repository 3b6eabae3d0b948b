"""For how long a list is not read after it failed."""

from __future__ import annotations

import logging

import pytest
from fake_tenant import api_error

from airflow_provider_enos.client.polling.list_backoff import ListBackoff
from airflow_provider_enos.errors import EnosAccessError, EnosError, EnosRateLimitError, EnosServerError

PASSING = api_error(EnosServerError)
REFUSED = api_error(EnosAccessError, 62103)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backoff(clock: Clock) -> ListBackoff:
    return ListBackoff("flows", clock)


@pytest.mark.parametrize(
    ("error", "pauses"),
    [
        (None, [5, 10, 20, 40, 60, 60]),
        (PASSING, [5, 10, 20, 40, 60, 60]),
        (REFUSED, [60, 120, 240, 480, 600, 600]),
        (TimeoutError(), [60, 120, 240, 480, 600, 600]),
    ],
)
def test_a_list_that_fails_is_asked_for_later_each_time(
    backoff: ListBackoff, clock: Clock, error: EnosError | TimeoutError | None, pauses: list[float]
) -> None:
    assert backoff.is_over
    for pause in pauses:
        assert backoff.failed(error) == pause
        clock.now += pause - 0.1
        assert not backoff.is_over
        clock.now += 0.1
        assert backoff.is_over
    backoff.worked()
    assert backoff.failed(error) == pauses[0]


@pytest.mark.parametrize(("asked", "pause"), [(30.0, 30), (3600.0, 60)])
def test_a_quota_says_for_how_long(backoff: ListBackoff, asked: float, pause: float) -> None:
    busy = api_error(EnosRateLimitError, 429)
    assert isinstance(busy, EnosRateLimitError)
    busy.retry_after = asked
    assert backoff.failed(busy) == pause


def test_the_first_error_in_a_row_is_logged(backoff: ListBackoff, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for error in (None, PASSING, TimeoutError()):
            backoff.worked()
            backoff.failed(error)
            backoff.failed(PASSING)
    assert [record.getMessage() for record in caplog.records] == [
        f"Cannot list flows, looking at each singly: {PASSING}",
        "Cannot list flows, looking at each singly: it takes too long",
    ]
