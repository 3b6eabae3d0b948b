"""When the poller stops asking a gateway."""

from __future__ import annotations

import pytest
from fake_tenant import api_error

from airflow_provider_enos.client.polling.circuit_breaker import FAILURES, CircuitBreaker
from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosRateLimitError,
    EnosReplyError,
    EnosServerError,
    EnosTransportError,
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock)


def test_a_busy_gateway_opens_it_at_once_for_longer_each_time(breaker: CircuitBreaker, clock: Clock) -> None:
    for at_least in (1.0, 2.0, 4.0, 8.0):
        breaker.failed(api_error(EnosRateLimitError, 429))
        assert at_least <= breaker.left <= 1.2 * at_least
        assert isinstance(breaker.error, EnosRateLimitError)
        clock.now += breaker.left
        assert breaker.error is None


def test_retry_after_says_for_how_long(breaker: CircuitBreaker) -> None:
    error = api_error(EnosRateLimitError, 429)
    assert isinstance(error, EnosRateLimitError)
    error.retry_after = 30.0
    breaker.failed(error)
    assert 30 <= breaker.left <= 36


def test_no_longer_than_a_minute(breaker: CircuitBreaker) -> None:
    error = api_error(EnosRateLimitError, 429)
    assert isinstance(error, EnosRateLimitError)
    error.retry_after = 86_400.0
    breaker.failed(error)
    assert breaker.left <= 72


def test_other_errors_open_it_after_eight_in_a_row(breaker: CircuitBreaker) -> None:
    for number in range(FAILURES - 1):
        breaker.failed(EnosTransportError("no reply", sent=True) if number % 2 else api_error(EnosServerError))
        assert breaker.error is None
    breaker.answered()
    for _ in range(FAILURES):
        assert breaker.error is None
        breaker.failed(api_error(EnosServerError))
    assert breaker.error is not None


def test_errors_that_say_nothing_of_the_gateway_do_not_count(breaker: CircuitBreaker) -> None:
    for _ in range(20):
        breaker.failed(api_error(EnosAccessError, 62103))
        breaker.failed(EnosReplyError("what?"))
    assert breaker.error is None


def test_each_caller_gets_a_copy_of_the_error(breaker: CircuitBreaker) -> None:
    """So that their tracebacks do not pile up in one."""
    breaker.failed(api_error(EnosServerError, 503))
    assert breaker.error is not breaker.error
