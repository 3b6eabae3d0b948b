"""Reading pages, in the way that the gateway understands."""

from __future__ import annotations

from typing import Any

import pytest
from lists import Lists, Run, drive, fault

from airflow_provider_enos.errors import EnosAccessError, EnosApiError, EnosError
from airflow_provider_enos.protocol.follow.listing import ListStyle, PageReader, size_for
from airflow_provider_enos.protocol.wire import calls

FIELDS = calls.END_FIELDS


def filled(entries: int, **options: Any) -> Lists:
    lists = Lists(now=1e6, **options)
    for number in range(entries):
        lists.add(Run(f"{number}-20260101000000", 0, number, status="SUCCESS", ended=float(number)))
    return lists


def reader(style: ListStyle, size: int) -> PageReader:
    def ask(page_no: int, page_size: int, sort_by: str | None) -> Any:
        return calls.list_flow_instances(
            type=0,
            from_trigger_time=0,
            to_trigger_time=1,
            page_no=page_no,
            page_size=page_size,
            sort_by=sort_by,
            newest_first=True,
        )

    return PageReader(style, ask, size)


def read(lists: Lists, style: ListStyle, size: int = 200, most: int = 100) -> PageReader:
    pages = reader(style, size)
    for _ in range(most):
        drive(pages.next(), lists)
        if pages.at_end:
            break
    return pages


WAYS = [
    {"first_page": 0},
    {"first_page": 1, "page_0": "refused"},
    {"first_page": 1, "page_0": "fault"},
    {"first_page": 1, "page_0": "empty"},
    {"first_page": 1, "page_0": "same"},
    {"largest": 50},
    {"largest": 50, "first_page": 0},
    {"names": ("endTime",)},
    {"names": ("endTime",), "largest": 50},
    {"names": ()},
    {"names": (), "largest": 50, "first_page": 0},
    {"cap": 50},
    {"cap": 50, "offset": "asked"},
    {"cap": 10, "offset": "asked", "first_page": 0},
    {"count": "page"},
    {"count": "none"},
    {"count": "page", "cap": 50},
    {"count": "none", "cap": 20, "page_0": "same"},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("entries", [0, 1, 9, 10, 11, 19, 50, 130, 450])
def test_each_way_shows_all_entries_once(way: dict[str, Any], entries: int) -> None:
    lists, style = filled(entries, **way), ListStyle(*FIELDS)
    for _ in range(5):
        pages = read(lists, style)
        assert pages.at_end
        assert set(pages.entries) == set(lists.runs)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_is_learned_is_kept(way: dict[str, Any]) -> None:
    lists, style = filled(100, **way), ListStyle(*FIELDS)
    for _ in range(4):
        read(lists, style, 20, most=1)
    lists.asked.clear()
    pages = read(lists, style, 20, most=1)
    assert (pages.requests, len(lists.asked)) == (1, 1)
    newest = max(lists.runs, key=lambda id: lists.runs[id].ended or 0.0)
    assert newest in pages.entries or not lists.names


def test_an_error_that_passes_never_hides_the_newest_entries() -> None:
    """A service that stumbles over page 0 once has pages from 0 on all the same."""
    lists, style = filled(100, first_page=0), ListStyle(*FIELDS)
    pages = reader(style, 20)
    step = pages.next()
    next(step)
    step.throw(fault())
    with pytest.raises(StopIteration):
        step.send(lists.answer(reader(style, 20)._ask(1, 20, "end_time")))
    assert "99-20260101000000" not in pages.entries
    assert "99-20260101000000" in read(lists, style, 20, most=1).entries


def test_page_1_equal_to_page_0_once_proves_nothing() -> None:
    """As many have ended between the two requests as a page has entries."""
    lists, style = filled(100, first_page=0), ListStyle(*FIELDS)
    pages = reader(style, 20)
    drive(pages.next(), lists)
    for number in range(100, 120):
        lists.add(Run(f"{number}-20260101000000", 0, number, status="SUCCESS", ended=float(number)))
    drive(pages.next(), lists)
    assert not pages.at_end
    assert "119-20260101000000" in read(lists, style, 20, most=1).entries


@pytest.mark.parametrize("most", [20, 50, 60])
def test_a_size_that_is_too_large_costs_one_request(most: int) -> None:
    lists, style = filled(300, largest=most), ListStyle(*FIELDS)
    assert read(lists, style, 20, most=1).entries
    lists.asked.clear()
    assert len(read(lists, style, 200, most=1).entries) == 20
    assert len(lists.asked) == 2


def test_a_list_that_is_refused_in_every_way_raises_and_starts_over() -> None:
    lists, style = filled(3, largest=0), ListStyle(*FIELDS)
    for _ in range(2):
        with pytest.raises(EnosApiError):
            read(lists, style)
    lists.largest = 1000
    assert len(read(lists, style).entries) == 3


def test_a_way_to_ask_that_stops_working_is_learned_anew() -> None:
    lists, style = filled(30), ListStyle(*FIELDS)
    read(lists, style)
    lists.names = ("endTime",)
    with pytest.raises(EnosApiError):
        read(lists, style)
    assert len(read(lists, style).entries) == 30


def test_another_error_is_raised_at_once() -> None:
    error: EnosError = EnosAccessError(62103, "no", operation="List Flow Instances", http_status=200)
    step = reader(ListStyle(*FIELDS), 20).next()
    next(step)
    with pytest.raises(EnosAccessError):
        step.throw(error)


def test_reading_ends_where_every_page_is_the_same() -> None:
    lists = filled(30)
    answer = lists.answer
    lists.answer = lambda call: answer(reader(ListStyle(), 20)._ask(1, 20, None))  # type: ignore[method-assign]
    assert read(lists, ListStyle(*FIELDS), 20).requests < 5


def test_sizes() -> None:
    assert [size_for(entries) for entries in (0, 20, 21, 50, 150, 10_000)] == [20, 20, 50, 50, 200, 200]
