"""What the list shows as running."""

from __future__ import annotations

from typing import Any

import pytest
from lists import Lists, Run, drive

from airflow_provider_enos.protocol.follow.listing import ListStyle, PageReader
from airflow_provider_enos.protocol.follow.running_list import running
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.wire import calls

MINUTE = 60_000


def tenant(count: int, **options: Any) -> Lists:
    lists = Lists(now=1e6, **options)
    for number in range(count):
        status, ended = ("SUCCESS", float(number)) if number % 3 == 0 else ("RUNNING", None)
        lists.add(Run(f"{number}-20260101000000", number * MINUTE, number, status=status, ended=ended))
    return lists


def read(lists: Lists, pages: int) -> PageReader:
    reader = running(0, ListStyle(*calls.SORT_FIELDS), Window(0, 10_000 * MINUTE))
    for _ in range(pages):
        if not reader.at_end:
            drive(reader.next(), lists)
    return reader


def ids(*numbers: int) -> set[str]:
    return {f"{number}-20260101000000" for number in numbers}


def test_newcomers_are_on_the_first_page() -> None:
    lists = tenant(2000, first_page=0)
    pages = read(lists, 1)
    assert set(pages.entries) >= ids(*(number for number in range(1990, 2000) if number % 3))
    assert all(not one.status.ended for one in pages.entries.values())


def test_all_of_them() -> None:
    pages = read(tenant(900, first_page=0), 100)
    assert pages.at_end
    assert set(pages.entries) == ids(*(number for number in range(900) if number % 3))


@pytest.mark.parametrize("options", [{"filters": False}, {"sorting": "none"}, {"names": ()}])
def test_an_instance_that_it_shows_as_running_runs_whatever_the_gateway_ignores(options: dict[str, Any]) -> None:
    lists = tenant(150, **options)
    pages = read(lists, 100)
    assert len(pages.entries) >= 95
    for one in pages.entries.values():
        assert one.status.name == lists.runs[one.flow_instance_id].status
