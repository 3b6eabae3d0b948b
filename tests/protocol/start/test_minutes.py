"""The minutes of one attempt, by index."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import pytest
from starts import FIRST, TIME, ZONE, ZONE_CALL

from airflow_provider_enos.errors import EnosTriggerConflictError
from airflow_provider_enos.protocol.start.attempts import Attempt
from airflow_provider_enos.protocol.start.minutes import Minutes
from airflow_provider_enos.protocol.trigger_time import MINUTE, MOST_MINUTES


@pytest.fixture
def minutes(log: Any) -> Minutes:
    return Minutes(3377, Attempt(TIME, first_index=2), log)


def test_first_minute_asks_for_nothing(minutes: Minutes, play: Any) -> None:
    assert play(minutes.time(0), []).value == TIME
    assert play(minutes.index_of(FIRST), []).value == 0


def test_zone_is_asked_for_once(minutes: Minutes, play: Any) -> None:
    played = play(minutes.time(1), [ZONE])
    assert (played.value, played.operations) == (FIRST + MINUTE, [ZONE_CALL])
    assert play(minutes.time(2), []).value == FIRST + 2 * MINUTE
    assert play(minutes.zone(), []).value == timezone(timedelta(hours=8))
    assert play(minutes.index_of(FIRST + 5 * MINUTE), []).value == 5


def test_time_of_another_day_counts_as_the_first_minute_of_the_round(minutes: Minutes, play: Any) -> None:
    assert play(minutes.index_of(TIME - 86_400_000), [ZONE]).value == 2


def test_minutes_come_to_an_end(minutes: Minutes, play: Any) -> None:
    """A round has 30 further minutes, after the minutes of the rounds before it."""
    assert play(minutes.time(2 + MOST_MINUTES), [ZONE]).error is None
    error = play(minutes.time(3 + MOST_MINUTES), []).error
    assert isinstance(error, EnosTriggerConflictError)
    assert f"{3 + MOST_MINUTES} were tried" in str(error)


def test_zone_that_cannot_be_read_is_none(minutes: Minutes, play: Any, log: Any) -> None:
    """Then days are days in UTC."""
    assert play(minutes.zone(), ["Mars/Olympus"]).value is None
    assert play(minutes.time(1), []).value == FIRST + MINUTE
    assert log.lines == ["warning: EnOS names its time zone 'Mars/Olympus', which cannot be read: using UTC"]
