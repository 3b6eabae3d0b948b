"""Which ends become events together, and which wait for the next poll."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from airflow_provider_enos.protocol.follow.event_pacer import EventPacer
from airflow_provider_enos.protocol.models import FlowInstance


def instance(id: str, status: str = "SUCCESS", end_time: str | None = "2020-09-13 20:00:00") -> FlowInstance:
    return FlowInstance.parse({"instanceId": id, "flowId": 1, "status": status, "endTime": end_time})


def ends_of(*ids: str) -> list[FlowInstance]:
    return [instance(id) for id in ids]


def ids_of(instances: list[FlowInstance]) -> list[str]:
    return [one.flow_instance_id for one in instances]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 50])
def test_the_last_of_several_ends_is_told_one_look_later(count: int) -> None:
    pacer = EventPacer(5)
    together = [f"1-{number:03}" for number in range(count)]
    told = ids_of(pacer.due(ends_of(*together), 100))
    assert told == (together[:-1] or together)
    assert pacer.is_holding is (count > 1)
    if count > 1:
        held = pacer.seen([])
        assert ids_of(held) == together[-1:]
        assert ids_of(pacer.due(held, 110)) == together[-1:]
        assert not pacer.is_holding


def test_a_held_end_is_told_before_later_ones() -> None:
    """Otherwise one end of a busy flow could wait for ever."""
    pacer = EventPacer(5)
    pacer.due(ends_of("1-a", "1-z"), 100)
    for look in range(1, 6):
        told = ids_of(pacer.due([*ends_of(f"1-{look}"), *pacer.seen([])], 100 + 10 * look))
        assert told == (["1-z"] if look == 1 else [f"1-{look - 1}"])


def test_an_end_right_after_an_event_waits() -> None:
    pacer = EventPacer(5)
    assert ids_of(pacer.due(ends_of("1-a"), 100)) == ["1-a"]
    assert pacer.due(ends_of("1-b", "1-c"), 104) == []
    assert ids_of(pacer.due(pacer.seen([]), 105)) == ["1-b"]
    assert ids_of(pacer.due(pacer.seen([]), 110)) == ["1-c"]


def test_a_held_instance_stays_as_it_was_when_it_ended() -> None:
    """Also if it runs again meanwhile, or is not listed any more."""
    pacer = EventPacer(5)
    pacer.due(ends_of("1-a", "1-b"), 100)
    again = instance("1-b", "RERUN", None)
    assert pacer.seen([again, instance("1-c")]) == ends_of("1-b", "1-c")
    assert pacer.seen([]) == ends_of("1-b")


def test_a_held_end_that_another_triggerer_has_told_is_dropped() -> None:
    pacer = EventPacer(5)
    pacer.due(ends_of("1-a", "1-b"), 100)
    assert pacer.due([], 110) == []
    assert not pacer.is_holding
    pacer.hold(ends_of("1-d"))
    assert pacer.is_holding


@settings(max_examples=200)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=12),
    st.floats(5.6, 600),
    st.lists(st.floats(0.05, 4.9), min_size=30, max_size=30),
)
def test_each_end_is_in_a_run_of_airflow_within_two_looks(
    bursts: list[int], poll_interval: float, lags: list[float]
) -> None:
    """Airflow makes a run some time after the first event that it has none for, out of the events up to that one."""
    pacer, looks = EventPacer(5), len(bursts) + 3
    seen: dict[str, int] = {}
    events: list[tuple[float, str]] = []
    for look in range(looks):
        new = [f"1-{look}-{number}" for number in range(bursts[look] if look < len(bursts) else 0)]
        seen |= dict.fromkeys(new, look)
        now = look * poll_interval * 0.9
        for place, one in enumerate(pacer.due([*pacer.seen([]), *ends_of(*new)], now)):
            events.append((now + place / 1000, one.flow_instance_id))
            assert look - seen[one.flow_instance_id] <= 1
    assert sorted(id for _, id in events) == sorted(seen)
    in_runs: set[str] = set()
    run_is_made = -1.0
    for (moment, _), lag in zip(events, lags * len(events), strict=False):
        if moment > run_is_made:
            run_is_made = moment + lag
            in_runs |= {id for at, id in events if at <= moment}
    assert in_runs == set(seen)
