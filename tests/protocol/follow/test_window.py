"""Which trigger times are in a window."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st
from windows import END, START

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.trigger_time import MINUTE

FIRST = 1709337600000


@pytest.mark.parametrize(
    ("start", "end", "shift", "shown"),
    [
        (START, END, 0, "from 2024-03-02T00:01+00:00 to 2024-03-03T00:00+00:00"),
        (START, END, 3600, "from 2024-03-01T23:01+00:00 to 2024-03-02T23:00+00:00"),
        (START, END, -3600, "from 2024-03-02T01:01+00:00 to 2024-03-03T01:00+00:00"),
        (END, END, 0, "at 2024-03-03T00:00+00:00"),
        (END, END, 86400, "at 2024-03-02T00:00+00:00"),
        ("2024-03-03T00:00:05Z", "2024-03-03T00:00:59.9Z", 0, "at 2024-03-03T00:00+00:00"),
        ("2024-03-02T23:59:59Z", END, 0, "at 2024-03-03T00:00+00:00"),
        (FIRST, FIRST + 2 * MINUTE, 0, "from 2024-03-02T00:01+00:00 to 2024-03-02T00:02+00:00"),
        (datetime(2024, 3, 2, tzinfo=UTC), "2024-03-02T08:01:00+08:00", 0, "at 2024-03-02T00:01+00:00"),
    ],
)
def test_the_window_begins_after_its_start_and_ends_with_its_end(
    start: Any, end: Any, shift: float, shown: str
) -> None:
    assert str(Window.between(start, end, shift=shift)) == shown


def test_what_a_daily_run_waits_for() -> None:
    """The worked example: midnight at the end is in it, midnight at the start is not."""
    window = Window.between(START, END)
    assert window == Window(FIRST + MINUTE, FIRST + 24 * 60 * MINUTE + MINUTE)


times = st.integers(0, 400_000).map(lambda number: FIRST + number * 7000)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=6, unique=True), st.integers(-5, 1005), st.integers(-9, 9))
def test_consecutive_windows_have_each_trigger_time_once(bounds: list[int], at: int, shift: int) -> None:
    """By the minute, and with the seconds that there may be."""
    bounds.sort()
    moments = [FIRST + minute * MINUTE + minute % 60_000 for minute in bounds]
    windows = [Window.between(start, end, shift=shift * 60) for start, end in pairwise(moments)]
    trigger_time = FIRST + (at - shift) * MINUTE + 59_999
    holding = [window for window in windows if window.first <= trigger_time < window.end]
    assert len(holding) == (bounds[0] < at <= bounds[-1])


@given(times, times, st.integers(-100_000, 100_000))
def test_a_window_is_whole_minutes_and_its_bounds_make_the_same_window(start: int, length: int, shift: int) -> None:
    window = Window.between(start, start + length - FIRST, shift=shift)
    assert window.first % MINUTE == window.end % MINUTE == 0
    assert window.first < window.end
    assert Window.between(*window.bounds) == window
    assert window.first <= (start + length - FIRST - shift * 1000) < window.end, "the end is in it"


@pytest.mark.parametrize(
    ("start", "end", "shift", "message"),
    [
        ("None", END, 0, r"^window_start: it is empty, as the default is for a DAG run without a data interval; "),
        (START, "", 0, r"^window_end: it is empty"),
        (START, None, 0, r"^window_end: it is empty"),
        ("now", END, 0, r"^window_start: 'now': it cannot be read; expected an aware datetime, .*1594016819108$"),
        ("2024-03-02T00:00:00", END, 0, r"^window_start: .*no UTC offset"),
        (START, 1709337600, 0, r"^window_end: 1709337600: too small for epoch milliseconds"),
        (END, START, 0, r"^window_start: 2024-03-03T00:00\+00:00 is after the window's end, 2024-03-02"),
        (START, END, 10**10, r"^window_shift: 1e\+10 s; expected one that does not lead before 1970"),
    ],
)
def test_bounds_that_cannot_work_are_refused(start: Any, end: Any, shift: float, message: str) -> None:
    with pytest.raises(EnosConfigError, match=message):
        Window.between(start, end, shift=shift)
