"""The record of a request, and where a try stands by it and by Airflow's numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.errors import EnosTriggerError
from airflow_provider_enos.protocol.start.attempts import Attempt, Intent, attempt_of, tries_before_clear
from airflow_provider_enos.protocol.trigger_time import MINUTE

TIME = 1594016819108
FIRST = TIME - TIME % MINUTE
NAME = "3377-20200706062600"

# Intent


@pytest.mark.parametrize("intent", [Intent(0, 0, TIME, TIME), Intent(5, 2, TIME, FIRST, NAME)])
def test_intent_through_json(intent: Intent) -> None:
    assert Intent.from_json(json.loads(json.dumps(intent.to_json()))) == intent


@pytest.mark.parametrize(
    "data",
    [
        *(None, 5, "x", [], {}),
        {"max_tries": 0, "first_index": 0, "trigger_time": 1},
        {"max_tries": 0, "first_index": 0, "trigger_time": 1, "sent_time": "2"},
        {"max_tries": 0, "first_index": True, "trigger_time": 1, "sent_time": 2},
        {"max_tries": 0, "first_index": 0.0, "trigger_time": 1, "sent_time": 2},
        {"max_tries": 0, "first_index": 0, "trigger_time": 1, "sent_time": 2, "flow_instance_id": 5},
        {"max_tries": 0, "first_index": 0, "trigger_time": 1, "sent_time": 2, "index": "0"},
        {"max_tries": 0, "first_index": 0, "trigger_time": 1, "sent_time": 2, "refused": 0},
        {"first_index": 0, "trigger_time": 1, "sent_time": 2},
        {"max_tries": None, "first_index": 0, "trigger_time": 1, "sent_time": 2},
        {"max_tries": "0", "first_index": 0, "trigger_time": 1, "sent_time": 2},
    ],
)
def test_junk_is_no_intent(data: object) -> None:
    assert Intent.from_json(data) is None


def test_intent_of_another_version() -> None:
    """Unknown fields are ignored."""
    assert Intent.from_json({**Intent(0, 0, 1, 2).to_json(), "more": 1}) == Intent(0, 0, 1, 2)


def test_what_is_written_of_an_intent() -> None:
    """Records of this package's earlier versions are read by later ones: the names stay."""
    assert Intent(5, 2, 3, 4, "x", 6, True, 7, 8, 9, 10, "y", True, 11, 12, "f", "n", 13).to_json() == {
        "max_tries": 5,
        "first_index": 2,
        "trigger_time": 3,
        "sent_time": 4,
        "flow_instance_id": "x",
        "index": 6,
        "refused": True,
        "try_number": 7,
        "clears": 8,
        "flow_id": 9,
        "first_sent": 10,
        "origin": "y",
        "named": True,
        "first_task_id": 11,
        "from_task_id": 12,
        "flow_name": "f",
        "node_name": "n",
        "node_id": 13,
    }


def test_intent_of_an_earlier_version() -> None:
    """Such a record has neither the index of the minute nor whether the request was refused."""
    data = {"max_tries": 5, "first_index": 2, "trigger_time": 3, "sent_time": 4, "flow_instance_id": None}
    assert Intent.from_json(data) == Intent(5, 2, 3, 4, None, 0, False)


# Rounds


@pytest.mark.parametrize(
    ("try_number", "max_tries", "retries", "first_index"),
    [
        (1, 0, 0, 0),
        (1, 2, 2, 0),
        (3, 2, 2, 0),
        # Cleared after the first, the third, the second and then the fourth try.
        (2, 3, 2, 1),
        (4, 5, 2, 3),
        (5, 6, 2, 4),
        (6, 6, 2, 4),
        (2, 1, 0, 1),
        # As `tasks test` of Airflow 2 counts.
        (0, 2, 2, 0),
        (0, 3, 2, 0),
        # ``retries`` was lowered after the first try: no clear, which could not have come before it.
        (2, 5, 2, 0),
        (3, 5, 2, 0),
        # It was raised.
        (2, 2, 5, 0),
        (2, 3, 5, 0),
    ],
)
def test_tries_before_clear(try_number: int, max_tries: int, retries: int, first_index: int) -> None:
    assert tries_before_clear(try_number=try_number, max_tries=max_tries, retries=retries) == first_index


@given(st.integers(0, 5), st.lists(st.integers(1, 3), max_size=5), st.integers(1, 3))
def test_tries_before_clear_after_any_clears(retries: int, tries: list[int], now: int) -> None:
    """Each clear raises ``max_tries`` to the tries so far and ``retries``; the try after it is the first of its own."""
    done, max_tries = 0, retries
    for number in tries:
        done += min(number, retries + 1)
        max_tries = done + retries
    for try_number in range(done + 1, done + min(now, retries + 1) + 1):
        assert tries_before_clear(try_number=try_number, max_tries=max_tries, retries=retries) == done


def attempt(intent: Intent | None = None, **changes: Any) -> Attempt:
    """Return the second try of a task with two retries, with ``intent`` in its record."""
    arguments = {"try_number": 2, "max_tries": 2, "retries": 2, "has_record": True, "now": TIME, **changes}
    return attempt_of(intent and intent.to_json(), trigger_time=lambda now: now, **arguments)


def test_attempt_of_a_retry() -> None:
    """ "now" is what it was at the first try."""
    intent = Intent(2, 0, TIME - 5, FIRST, None, 0)
    assert attempt(intent) == Attempt(TIME - 5, 2, 0, False, True, intent, 2, 1)
    assert attempt(has_record=False) == Attempt(TIME, 2, 0, False, False, None, 2, 1)


def test_attempt_after_a_clear() -> None:
    """The record of the round before is not its own. Without a record, the minutes used by then are unknown."""
    before = Intent(2, 0, TIME - 5, FIRST)
    expected = Attempt(TIME, 3, 1, True, True, None, 2, 0, predecessor=before)
    assert attempt(before, max_tries=3) == expected
    expected = Attempt(TIME, 3, 1, True, False, None, 2, 0, minutes_unknown=True)
    assert attempt(max_tries=3, has_record=False) == expected


@pytest.mark.parametrize(("clears", "cleared"), [(0, False), (1, True)])
def test_attempt_after_retries_were_lowered_by_the_tries_before_it(clears: int, cleared: bool) -> None:
    """A clear leaves ``max_tries`` as it was. A clear of another task of the run then looks like one of this task."""
    found = attempt(Intent(2, 0, TIME - 5, FIRST), retries=1, clears=clears)
    assert (found.intent is None, found.first_index, found.trigger_time) == (
        cleared,
        int(cleared),
        TIME - 5 * (not cleared),
    )


def test_a_clear_of_another_task_of_the_run_is_none_of_this_one() -> None:
    assert attempt(Intent(2, 0, TIME, FIRST), clears=3).intent is not None


@pytest.mark.parametrize(("index", "first_index"), [(0, 1), (1, 2), (5, 6)])
def test_attempt_after_a_round_that_conflicts_led_further(index: int, first_index: int) -> None:
    """The new round begins behind the minutes of the round before, so it never adopts an instance of that round."""
    assert attempt(Intent(2, 0, TIME, FIRST, None, index), max_tries=3).first_index == first_index


def test_attempt_counted_from_0_is_fresh() -> None:
    assert attempt(try_number=0).fresh


# A store that cannot be read


def test_retry_whose_record_cannot_be_read_is_not_guessed() -> None:
    """A guess could adopt somebody else's instance or start a second one. The error may be retried."""
    with pytest.raises(EnosTriggerError, match=r"nothing is started: .* cannot be read") as caught:
        attempt(has_record=False, is_readable=False)
    assert not caught.value.final
    assert not caught.value.sent


def test_first_try_after_a_clear_needs_the_record_too() -> None:
    """It holds the minutes that the round before has used, and the instance that it left running."""
    with pytest.raises(EnosTriggerError):
        attempt(has_record=False, is_readable=False, max_tries=3)


@pytest.mark.parametrize("try_number", [0, 1])
def test_very_first_try_has_nothing_to_read(try_number: int) -> None:
    assert attempt(has_record=False, is_readable=False, try_number=try_number).fresh


@pytest.mark.parametrize(("stored", "minutes_unknown"), [(None, True), (Intent(2, 0, TIME, FIRST), False)])
def test_minutes_of_a_round_without_a_record_are_unknown(stored: Intent | None, minutes_unknown: bool) -> None:
    assert attempt(stored, max_tries=3).minutes_unknown is minutes_unknown
    assert not attempt(max_tries=2).minutes_unknown


@pytest.mark.parametrize(
    ("written", "is_elsewhere"),
    [
        ({}, False),
        ({"flow_id": 3377, "origin": "https://a o1"}, False),
        ({"flow_id": 4001, "origin": "https://a o1"}, True),
        ({"flow_id": 3377, "origin": "https://a o2"}, True),
        ({"flow_id": 3377, "origin": "https://b o1"}, True),
    ],
)
def test_record_of_another_place(written: dict[str, Any], is_elsewhere: bool) -> None:
    assert Intent(0, 0, TIME, TIME, **written).is_elsewhere(3377, "https://a o1") is is_elsewhere
