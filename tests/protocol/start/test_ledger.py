"""The record of the requests of a try, and the time of the first request for a minute."""

from __future__ import annotations

from typing import Any

import pytest
from starts import CONFLICT, FIRST, HERE, NOW_MS, TIME, Kept, refusal, written

from airflow_provider_enos.errors import EnosAccessError, EnosTriggerConflictError
from airflow_provider_enos.protocol.start.attempts import Attempt
from airflow_provider_enos.protocol.start.ledger import Ledger
from airflow_provider_enos.protocol.trigger_time import MINUTE

AHEAD = 3600.0
"""Seconds that the gateway's clock is ahead."""


@pytest.fixture
def ledger(clock: Any) -> Any:
    def make(superseded: bool = False, **attempt: Any) -> Ledger:
        ahead = lambda: clock.now + AHEAD  # noqa: E731
        return Ledger(3377, 108580, Attempt(TIME, **attempt), Kept([], superseded), HERE, clock, ahead)

    return make


def test_first_request_for_a_minute_counts_by_the_clock_of_the_gateway(ledger: Any, clock: Any) -> None:
    one = ledger()
    one.note_request(0, TIME, 108580)
    clock.now += 60
    one.note_request(0, TIME, 108580)
    one.note_request(1, FIRST + MINUTE, 108580)
    first = NOW_MS + int(AHEAD) * 1000
    assert [intent.first_sent for intent in one.record.intents] == [first, first, first + 60_000]
    assert (one.first_sent(FIRST), one.first_sent(FIRST + MINUTE)) == (first, first + 60_000)


def test_what_an_earlier_try_asked_for_first_is_kept(ledger: Any) -> None:
    one = ledger(intent=written(0, 0, TIME, TIME, first_sent=5))
    one.note_request(0, TIME, 108580)
    assert (one.record.intents[0].first_sent, one.first_sent(TIME)) == (5, 5)


def test_a_record_without_a_time_stays_without_one(ledger: Any) -> None:
    """The first request may have been sent at any time."""
    assert ledger(intent=written(0, 0, TIME, TIME, first_sent=0), not_before=7).first_sent(TIME) == 0


def test_start_of_the_dag_run_stands_in_for_a_record(ledger: Any) -> None:
    """By the gateway's clock."""
    assert ledger(not_before=NOW_MS).first_sent(TIME) == NOW_MS + int(AHEAD) * 1000
    assert ledger().first_sent(TIME) == 0


def test_superseded_try_writes_nothing_over_the_next_ones_record(ledger: Any) -> None:
    ledger().check_not_superseded(CONFLICT)
    with pytest.raises(EnosTriggerConflictError, match="another try of this task has begun") as caught:
        ledger(superseded=True).check_not_superseded(CONFLICT)
    assert caught.value.__cause__ is CONFLICT
    final = refusal(EnosAccessError, 62103)
    with pytest.raises(EnosAccessError):
        ledger(superseded=True).check_not_superseded(final)
