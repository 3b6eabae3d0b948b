"""The schedules of periodic flows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.simulator.flows import flow_from
from airflow_provider_enos.simulator.schedules import schedule_times

NOW = datetime(2024, 3, 5, 10, 30, tzinfo=UTC)
"""A Tuesday; 18:30 in GMT+8."""


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


class Clock:
    def __init__(self) -> None:
        self.now = ms(NOW)

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scheduled(clock: Clock) -> EnosSimulator:
    sim = EnosSimulator(schedules=True, progress="nodes")
    sim.now_ms = clock  # type: ignore[method-assign]
    return sim


@pytest.mark.parametrize(
    ("cycle", "expected"),
    [
        ("mi", ["2024-03-05 18:29", "2024-03-05 18:30"]),
        ("H", ["2024-03-05 17:00", "2024-03-05 18:00"]),
        ("D", ["2024-03-04 00:00", "2024-03-05 00:00"]),
        ("W", ["2024-02-26 00:00", "2024-03-04 00:00"]),
        ("M", ["2024-02-01 00:00", "2024-03-01 00:00"]),
    ],
)
def test_when_a_cycle_begins(cycle: str, expected: list[str]) -> None:
    """In the zone of EnOS; the first moment is excluded, the last one included."""
    zone = timezone(timedelta(hours=8))
    since = NOW - (timedelta(minutes=5) if cycle == "mi" else timedelta(days=70))
    times = list(schedule_times(flow_from(9, cycle=cycle), ms(since), ms(NOW), zone))
    assert [f"{datetime.fromtimestamp(moment / 1000, zone):%Y-%m-%d %H:%M}" for moment in times[-2:]] == expected
    assert list(schedule_times(flow_from(9, cycle=cycle), times[-2], times[-1], zone)) == times[-1:]


def test_it_begins_with_the_first_day_of_the_schedule() -> None:
    flow = flow_from(9, start_time="2024-03-05")
    assert list(schedule_times(flow, 0, ms(NOW), UTC)) == [ms(datetime(2024, 3, 5, tzinfo=UTC))]


def test_a_flow_without_a_first_day_has_no_schedule() -> None:
    assert list(schedule_times(flow_from(9, start_time="soon"), 0, ms(NOW), UTC)) == []


def test_a_clock_that_jumps_starts_no_more_than_two_days(scheduled: EnosSimulator, clock: Clock) -> None:
    before = len(scheduled.instances)
    clock.now += 30 * 365 * 86_400_000
    assert len(scheduled.instances) == before + 48 + 2


def test_the_past_two_days_have_run(scheduled: EnosSimulator) -> None:
    daily, hourly = scheduled.instances_of(4010), scheduled.instances_of(3388)
    assert [one.id for one in daily] == ["4010-2024030316", "4010-2024030416"]
    assert len(hourly) == 48
    for one in (*daily, *hourly):
        assert (one.status, one.type, one.created_at, one.started_at) == (
            "SUCCESS",
            1,
            one.trigger_time,
            one.trigger_time,
        )
        assert one.ended_at == one.nodes[-1].ended_at
        assert one.ended_at
        assert one.ended_at <= scheduled.now_ms()


def test_it_goes_on(scheduled: EnosSimulator, clock: Clock) -> None:
    """However late somebody looks, an instance has the times that it would have had."""
    before = len(scheduled.instances_of(3388))
    clock.now += 40 * 60_000
    newest = scheduled.instances_of(3388)[before:]
    assert [(one.id, one.status) for one in newest] == [("3388-2024030511", "SUCCESS")]
    assert newest[0].created_at == newest[0].started_at == newest[0].trigger_time
    assert scheduled.instances_of(3388)[before:] == newest


def test_a_disabled_flow_does_not_run(scheduled: EnosSimulator, clock: Clock) -> None:
    before = len(scheduled.instances)
    scheduled._state.catalog.change_flow(3388, active=False)
    clock.now += 4 * 3_600_000
    assert len(scheduled.instances) == before
    scheduled._state.catalog.change_flow(3388, active=True)
    assert len(scheduled.instances) == before, "what was left out is not caught up"
    clock.now += 3_600_000
    assert len(scheduled.instances) == before + 1


def test_it_is_off_by_default(clock: Clock) -> None:
    assert EnosSimulator().instances == []


def test_what_is_in_the_state_file_does_not_run_again(scheduled: EnosSimulator, clock: Clock, tmp_path: Path) -> None:
    found = scheduled.instances
    scheduled.save(tmp_path / "state.json")
    again = EnosSimulator(schedules=True, progress="nodes")
    again.now_ms = clock  # type: ignore[method-assign]
    again.load(tmp_path / "state.json")
    assert again.instances == found


def test_a_list_has_them(sim: EnosSimulator, client: Any) -> None:
    sim.schedules = True
    assert client.search(type=1, pagination={"pageNo": 1, "pageSize": 100}).json["data"]["count"] >= 48
