"""Listing the instances of a window, of one flow and of many."""

from __future__ import annotations

from typing import Any

from windows import body, instance, page, several, wanted

from airflow_provider_enos.protocol.follow.window_list import overview
from airflow_provider_enos.protocol.models import FlowInstancePage


def test_the_overview_has_all_flows_with_their_types(play: Any) -> None:
    mine, others = instance("3377-2024030300"), instance("4001-2024030300", flowId=4001)
    stranger = instance("1-2024030300", flowId=1)
    played = play(overview(wanted().window, (1, 0), (3377, 4001), most_pages=4), [page(mine, stranger), page(others)])
    assert played.value == [(1, 3377, mine), (0, 4001, others)]
    assert [body(call)["expression"] for call in played.sent] == ["", ""]


def test_the_overview_of_one_flow_asks_for_that(play: Any) -> None:
    (call,) = play(overview(wanted().window, (1,), (3377,), most_pages=4), [page(*several("SUCCESS"))]).sent
    assert body(call)["expression"] == "3377"


def test_an_overview_stops_after_the_most_pages(play: Any) -> None:
    def full(call: Any) -> FlowInstancePage:
        number = body(call)["pagination"]["pageNo"]
        return page(*(instance(f"3377-{number}x{index}") for index in range(50)))

    played = play(overview(wanted().window, (1,), (3377,), most_pages=5), full)
    assert played.value is None
    assert len(played.sent) == 5
