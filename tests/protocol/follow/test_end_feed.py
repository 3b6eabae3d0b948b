"""The list of ends: what a read shows, and when it is sound."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from lists import ENDED, Lists, Run, drive

from airflow_provider_enos.protocol.follow.end_feed import EndFeed, Reading, is_newest_first
from airflow_provider_enos.protocol.follow.listing import ListStyle
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.wire import calls

MINUTE = 60_000
WINDOW = Window(0, 10_000 * MINUTE)


class Tenant:
    """Lists, and a feed of them."""

    def __init__(self, **options: Any) -> None:
        self.lists = Lists(**options)
        self.feed = EndFeed(0, ListStyle(*calls.END_FIELDS))

    def start(self, count: int = 1) -> list[Run]:
        runs = self.lists.runs
        return [
            self.lists.add(Run(f"{number}-20260101000000", number * MINUTE, self.lists.now))
            for number in range(len(runs), len(runs) + count)
        ]

    def end(self, *runs: Run, status: str = "SUCCESS", each: float = 1.0) -> None:
        for run in runs:
            self.lists.now += each
            run.status, run.ended = status, self.lists.now

    def read(self, most_pages: int = 20) -> Reading:
        self.lists.now += 2
        reading: Reading = drive(self.feed.read(WINDOW, most_pages), self.lists)
        return reading


def new(reading: Reading) -> set[str]:
    return {one.flow_instance_id for one in reading.new}


def ids(*runs: Run) -> set[str]:
    return {run.id for run in runs}


def test_one_request_shows_all_ends_of_a_tenant() -> None:
    tenant = Tenant()
    others, ours = tenant.start(3000), tenant.start(1000)
    tenant.end(*others)
    tenant.read()
    tenant.end(*ours[:5])
    tenant.read()
    for run in ours[5:30]:
        tenant.end(run)
        reading = tenant.read()
        assert (new(reading), reading.is_sound, reading.requests) == (ids(run), True, 1)
    assert len(reading.shown) <= 50


def test_a_read_goes_on_until_a_page_ends_with_known_ends() -> None:
    tenant = Tenant(first_page=0)
    runs = tenant.start(500)
    tenant.end(*runs[:100])
    tenant.read()
    tenant.end(*runs[100:230])
    reading = tenant.read()
    assert new(reading) >= ids(*runs[100:230])
    assert (reading.is_sound, reading.confirmations, reading.requests) == (True, 130, 7)
    assert tenant.lists.asked[-1]["pagination"]["pageSize"] == 20


def test_the_page_size_follows_what_is_new() -> None:
    tenant = Tenant()
    runs = tenant.start(1000)
    tenant.end(*runs[:400])
    sizes = []
    for first, count in ((400, 2), (402, 40), (442, 40), (482, 2), (484, 2), (486, 2)):
        tenant.read()
        sizes.append(tenant.lists.asked[-1]["pagination"]["pageSize"])
        tenant.end(*runs[first : first + count])
    assert sizes == [50, 20, 20, 100, 100, 20]


def test_a_read_with_a_gap_is_not_sound_and_a_longer_read_closes_the_gap() -> None:
    """More has ended than a read may have pages: what lies behind is told later, and it says so."""
    tenant = Tenant(first_page=0)
    runs = tenant.start(1000)
    tenant.end(*runs[:60])
    tenant.read()
    tenant.end(*runs[60:800])
    reading = tenant.read(2)
    assert (reading.is_sound, reading.confirmations) == (False, 0)
    told = new(reading)
    # The known ends on top of the gap are no sign that nothing is missing below them.
    for _ in range(3):
        tenant.end(*tenant.start(1))
        reading = tenant.read(1)
        told |= new(reading)
        assert not reading.is_sound
    reading = tenant.read(20)
    assert reading.is_sound
    assert told | new(reading) >= ids(*runs[60:800])


@pytest.mark.parametrize("ended", [0, 1, 3, 8, 9, 10, 11, 60])
@pytest.mark.parametrize("count", ["total", "page", "none"])
def test_short_lists(ended: int, count: Any) -> None:
    tenant = Tenant(count=count)
    runs = tenant.start(ended + 5)
    tenant.end(*runs[:ended])
    assert tenant.read().is_sound
    tenant.end(runs[ended])
    reading = tenant.read()
    assert new(reading) >= ids(runs[ended])
    assert (reading.is_sound, reading.confirmations) == (True, 1)


def test_a_list_that_is_not_sorted_is_sound_only_if_it_is_read_to_its_end() -> None:
    tenant = Tenant(sorting="none")
    runs = tenant.start(300)
    tenant.end(*runs[:250])
    assert tenant.read().is_sound
    tenant.end(runs[250], runs[3])
    reading = tenant.read()
    assert new(reading) == ids(runs[250], runs[3])
    assert (reading.is_sound, reading.confirmations) == (True, 2)
    assert not tenant.read(1).is_sound


def test_a_long_list_that_is_not_sorted_is_not_read_to_its_end_each_time() -> None:
    tenant = Tenant(sorting="none")
    tenant.end(*tenant.start(6000), each=0.1)
    requests = [tenant.read(100).requests for _ in range(25)]
    assert requests[0] > 10
    assert sorted(requests)[-3:][0] <= 2, "one page, to see whether there is an order now"
    assert len([one for one in requests if one > 2]) == 2


@pytest.mark.parametrize("nulls", ["first", "last"])
def test_ends_without_a_time(nulls: Any) -> None:
    """They may be listed anywhere: an end that is not listed first is missed, and single polls find it."""
    tenant = Tenant(nulls=nulls)
    runs = tenant.start(600)
    tenant.end(*runs[:500])
    tenant.read()
    runs[500].shows_end = False
    tenant.end(runs[500])
    assert (runs[500].id in new(tenant.read())) == (nulls == "first")
    for run in runs:
        run.shows_end = False
    tenant.end(*runs[501:510])
    assert not tenant.read(1).is_sound


def test_a_filter_that_is_ignored() -> None:
    """What runs is shown, too; ends are told as ever."""
    tenant = Tenant(filters=False)
    runs = tenant.start(120)
    tenant.end(*runs[:50])
    assert tenant.read().is_sound
    tenant.end(runs[60])
    reading = tenant.read()
    assert (new(reading), reading.is_sound, reading.requests) == (ids(runs[60]), True, 1)


def test_a_rerun_that_ends_twice_is_told_twice() -> None:
    tenant = Tenant()
    runs = tenant.start(20)
    tenant.end(*runs[:10])
    tenant.read()
    runs[3].status = "RERUN"
    assert not new(tenant.read())
    tenant.end(runs[3], status="SUCCESS")
    assert new(tenant.read()) == ids(runs[3])
    assert not new(tenant.read())
    assert tenant.feed.mark(runs[3].id) is not None


def test_an_end_of_this_second_that_comes_below_one_that_is_known() -> None:
    tenant = Tenant()
    runs = tenant.start(100)
    tenant.end(*runs[:40])
    tenant.end(*runs[50:53], each=0.0)
    tenant.read()
    tenant.end(*runs[53:56], each=0.0)
    for run in runs[53:56]:
        run.ended = runs[52].ended
    assert new(tenant.read()) == ids(*runs[53:56])


def test_an_end_a_little_out_of_order_on_the_next_page() -> None:
    tenant = Tenant(first_page=0)
    runs = tenant.start(100)
    tenant.end(*runs[:60])
    for _ in range(2):
        tenant.read()
    # Of the same second as those that are known, and listed below the last of them.
    last = runs[59]
    tenant.end(*runs[60:79])
    for run in runs[80:83]:
        run.status, run.ended = "SUCCESS", (last.ended or 0.0) - 0.5
    assert new(tenant.read()) >= ids(*runs[60:79], *runs[80:83])


def test_an_end_that_appears_late() -> None:
    tenant = Tenant()
    runs = tenant.start(60)
    tenant.end(*runs[:30])
    tenant.read()
    runs[30].lags = 30.0
    tenant.end(runs[30])
    assert not new(tenant.read())
    for run in runs[31:35]:
        tenant.end(run)
        tenant.read()
    tenant.lists.now += 30
    assert runs[30].id in new(tenant.read())


def test_the_ends_that_are_remembered_are_bounded() -> None:
    tenant = Tenant(first_page=0)
    for _ in range(60):
        tenant.end(*tenant.start(100), each=0.1)
        tenant.read()
    assert len(tenant.feed._known) <= 4000
    assert len(tenant.feed._connected) <= 4000


@pytest.mark.parametrize(
    ("texts", "in_order"),
    [
        ([], True),
        (["2026-01-01 10:00:00"], True),
        (["2026-01-01 10:00:01", "2026-01-01 10:00:00", "2025-12-31 23:59:59"], True),
        (["2026-01-01 10:00:00", "2026-01-01 10:00:01"], False),
        (["2026-01-01 10:00:00", "2026-01-01 10:00:00.0", "2026-01-01 10:00:00"], True),
        (["2026-01-01T10:00:01+08:00", "2026-01-01T10:00:00+08:00"], True),
        (["2026-01-01 10:00:00", None, "2026-01-01 09:00:00"], True),
        (["2026-01-01 10:00:00", None, None], False),
        (["1594016819108", "1594016819107"], False),
        (["", "soon"], False),
    ],
)
def test_what_counts_as_newest_first(texts: list[str | None], in_order: bool) -> None:
    runs = [FlowInstance.parse({"instanceId": "1-2", "status": 1, "endTime": text}) for text in texts]
    assert is_newest_first(runs) is in_order


PAGING = {
    "first_page": st.sampled_from([0, 1]),
    "page_0": st.sampled_from(["refused", "fault", "empty", "same"]),
    "cap": st.sampled_from([10, 20, 50, 10**6]),
    "largest": st.sampled_from([20, 50, 10**6]),
    "names": st.sampled_from([("end_time",), ("endTime",), ("end_time", "endTime")]),
    "count": st.sampled_from(["total", "page", "none"]),
    "filters": st.booleans(),
    "windows": st.booleans(),
    "shift": st.sampled_from([0.0, 8 * 3600.0]),
}


class Silence(RuleBasedStateMachine):
    """A gateway that sorts by end time. Whatever else it does, what a sound read does not show has not ended."""

    @initialize(options=st.fixed_dictionaries(PAGING))
    def begin(self, options: dict[str, Any]) -> None:
        self.tenant = Tenant(**options)
        # Where what runs comes first, the filter must hold, or nothing is ever reached.
        self.tenant.lists.nulls = "last"
        self.told: set[tuple[str, float | None]] = set()
        self.reading: Reading | None = None

    @rule(count=st.integers(1, 20))
    def start(self, count: int) -> None:
        self.tenant.start(count)

    @rule(count=st.integers(1, 30), status=st.sampled_from(sorted(ENDED)), each=st.sampled_from([0.0, 0.3, 1.0]))
    def end(self, count: int, status: str, each: float) -> None:
        running = [run for run in self.tenant.lists.runs.values() if run.status not in ENDED]
        self.tenant.end(*running[::-1][:count], status=status, each=each)

    @rule(which=st.integers(0, 1000))
    def run_again(self, which: int) -> None:
        ended = [run for run in self.tenant.lists.runs.values() if run.status in ENDED]
        if ended:
            ended[which % len(ended)].status = "RERUN"

    @rule(most_pages=st.sampled_from([1, 2, 3, 25]))
    def read(self, most_pages: int) -> None:
        self.reading = self.tenant.read(most_pages)
        for one in self.reading.shown:
            run = self.tenant.lists.runs[one.flow_instance_id]
            assert one.status.ended == (run.status in ENDED)
            self.told.add((run.id, run.ended))
        assert self.reading.requests <= most_pages + 16

    @invariant()
    def silence_is_right(self) -> None:
        reading, self.reading = getattr(self, "reading", None), None
        if reading is None or not reading.is_sound:
            return
        first = not hasattr(self, "baseline")
        ended = {(run.id, run.ended) for run in self.tenant.lists.runs.values() if run.status in ENDED}
        if first:
            # What had ended before the first sound read is nothing that it says anything about.
            self.baseline = ended
        assert ended <= self.told | self.baseline


TestSilence = Silence.TestCase
TestSilence.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)


@given(
    st.fixed_dictionaries({**PAGING, "sorting": st.sampled_from(["asked", "none", "shuffled"])}),
    st.lists(st.integers(0, 30), max_size=12),
)
def test_each_instance_that_it_shows_as_ended_has_ended(options: dict[str, Any], ends: list[int]) -> None:
    tenant = Tenant(**options)
    for count in ends:
        tenant.start(count)
        running = [run for run in tenant.lists.runs.values() if run.status not in ENDED]
        tenant.end(*running[: count // 2])
        for one in tenant.read(5).shown:
            assert one.status.ended == (tenant.lists.runs[one.flow_instance_id].status in ENDED)
