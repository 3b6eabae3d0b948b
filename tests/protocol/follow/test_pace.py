"""How long to pause between two polls."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.protocol.follow.pace import feed_pause, look_pause


@pytest.mark.parametrize(
    ("age", "poll_interval", "waits", "pause"),
    [
        (0, 30, 1, 2),
        (6, 30, 1, 2),
        (12, 30, 1, 4),
        (90, 30, 1, 30),
        (1000, 30, 1, 30),
        (0, 0.1, 1, 0.1),
        (0, 3, 1, 2),
        (0, 30, 10, 5),
        (0, 30, 1000, 15),
        (60, 30, 1000, 20),
    ],
)
def test_a_third_of_its_age(age: float, poll_interval: float, waits: int, pause: float) -> None:
    assert look_pause(age, poll_interval, waits) == pause


@pytest.mark.parametrize("lasts", [3, 10, 25, 60, 600])
def test_one_wait_is_told_within_a_third_of_how_long_it_took(lasts: float) -> None:
    at, looks = 0.0, 0
    while at < lasts:
        at += look_pause(at, 30, 1)
        looks += at <= 30
    assert at - lasts <= max(2.0, lasts / 3)
    assert looks <= 8


@given(st.lists(st.floats(0, 10_000), min_size=15, max_size=200), st.floats(1, 600))
def test_many_together_get_at_most_twice_the_looks_of_the_interval(ages: list[float], interval: float) -> None:
    pauses = [look_pause(age, interval, len(ages)) for age in ages]
    assert all(0 < pause <= interval for pause in pauses)
    if interval <= len(ages):
        assert sum(1 / pause for pause in pauses) <= 2 * len(ages) / interval + 1e-9


@pytest.mark.parametrize(
    ("requests", "looks", "poll_interval", "pause"),
    [
        (1, 100.0, 10, 2),  # 1,000 waits at 10 s
        (3, 100.0, 10, 2),
        (1, 20 / 30, 30, 30),  # 20 waits at 30 s: not less often than they would be looked at
        (1, 100 / 30, 30, 12),
        (11, 100.0, 10, 4.4),
        (30, 1.0, 10, 150),  # what has become expensive costs a fifth at the most
    ],
)
def test_the_feed_costs_a_fortieth(requests: int, looks: float, poll_interval: float, pause: float) -> None:
    assert feed_pause(requests, looks, poll_interval) == pytest.approx(pause)
