"""What the list shows as running."""

from __future__ import annotations

from typing import Any

import pytest
from lists import Lists, Run, drive

from airflow_provider_enos.protocol import calls
from airflow_provider_enos.protocol.coverage import Covered, running
from airflow_provider_enos.protocol.listing import ListStyle
from airflow_provider_enos.protocol.windows import Window

MINUTE = 60_000


def tenant(count: int, **options: Any) -> Lists:
    lists = Lists(now=1e6, **options)
    for number in range(count):
        status, ended = ("SUCCESS", float(number)) if number % 3 == 0 else ("RUNNING", None)
        lists.add(Run(f"{number}-20260101000000", number * MINUTE, number, status=status, ended=ended))
    return lists


def shown(lists: Lists, wanted: set[str], most_pages: int = 100) -> Covered:
    window = Window(0, 10_000 * MINUTE)
    found: Covered = drive(running(0, ListStyle(*calls.SORT_FIELDS), window, wanted, most_pages), lists)
    return found


def ids(*numbers: int) -> set[str]:
    return {f"{number}-20260101000000" for number in numbers}


def test_newcomers_are_on_the_first_page() -> None:
    lists = tenant(2000, first_page=0)
    covered = shown(lists, ids(*range(1990, 2000)))
    assert covered.requests == 1
    assert {one.flow_instance_id for one in covered.shown} >= ids(*(n for n in range(1990, 2000) if n % 3))


def test_it_is_read_to_the_end_for_as_many_as_a_page_is_worth() -> None:
    lists = tenant(900, first_page=0)
    assert shown(lists, ids(*range(0, 30))).is_whole
    assert not shown(lists, ids(0, 1, 2, 3)).is_whole


def test_the_pages_are_bounded() -> None:
    covered = shown(tenant(3000, cap=10, first_page=0), ids(*range(100)), 3)
    assert (covered.requests, covered.is_whole) == (3, False)


@pytest.mark.parametrize("options", [{"filters": False}, {"sorting": "none"}, {"names": ()}])
def test_what_it_shows_is_so_whatever_the_gateway_ignores(options: dict[str, Any]) -> None:
    lists = tenant(150, **options)
    covered = shown(lists, set(lists.runs))
    assert len(covered.shown) >= 95
    for one in covered.shown:
        assert one.status.name == lists.runs[one.flow_instance_id].status
