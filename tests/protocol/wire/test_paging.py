"""All pages are fetched, whether the gateway numbers them from 0 or from 1."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosApiError,
    EnosError,
    EnosRateLimitError,
    EnosReplyError,
    EnosRequestError,
    EnosServerError,
    EnosTransportError,
)
from airflow_provider_enos.protocol.models import FlowInstance, FlowInstancePage, FlowPage
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Call, Procedure
from airflow_provider_enos.protocol.wire.paging import PAGE_SIZE, Pager, all_entries


def call_for(page_no: int, page_size: int = PAGE_SIZE) -> Call[FlowInstancePage]:
    call = calls.list_flow_instances(
        type=0, from_trigger_time=0, to_trigger_time=1, page_no=page_no, page_size=page_size
    )
    # The number where the tests can read it.
    return Call(f"page {page_no}", call.method, call.path, call.query, call.body, safe=True, parse=call.parse)


def page(*names: object, count: int | None = None) -> FlowInstancePage:
    return FlowInstancePage(tuple(FlowInstance.parse({"instanceId": str(name), "status": 1}) for name in names), count)


def names(found: list[FlowInstance]) -> list[str]:
    return [instance.flow_instance_id for instance in found]


def api_error(cls: Any, code: int) -> EnosError:
    return cls(code, "no", operation="List Flow Instances", http_status=200)


REFUSED = api_error(EnosRequestError, 62102)


@pytest.fixture
def run(play: Any) -> Callable[..., Any]:
    """Play it with pages of two."""
    return lambda answers: play(all_entries(call_for, 2), answers)


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([page("a")], ["a"]),
        ([page("a", "b"), page("c")], ["a", "b", "c"]),
        ([page("a", "b"), page("c", "d"), page()], ["a", "b", "c", "d"]),
        ([page("a", "b"), page()], ["a", "b"]),
    ],
)
def test_pages_from_0(run: Any, answers: list[Any], found: list[str]) -> None:
    played = run(answers)
    assert names(played.value) == found
    assert played.operations == [f"page {number}" for number in range(len(answers))]


@pytest.mark.parametrize("first", [page(), REFUSED, api_error(EnosServerError, 62109), api_error(EnosServerError, 500)])
@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([page()], []),
        ([page("a")], ["a"]),
        ([page("a", "b"), page()], ["a", "b"]),
        ([page("a", "b"), page("c")], ["a", "b", "c"]),
    ],
)
def test_pages_from_1(run: Any, first: Any, answers: list[Any], found: list[str]) -> None:
    """Page 0 is empty or refused."""
    assert names(run([first, *answers]).value) == found


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([page("a")], ["a"]),
        ([page("a", "b"), page("a", "b"), page()], ["a", "b"]),
        ([page("a", "b"), page("a", "b"), page("c", "d"), page("e")], ["a", "b", "c", "d", "e"]),
    ],
)
def test_page_0_is_page_1(run: Any, answers: list[Any], found: list[str]) -> None:
    assert names(run(answers).value) == found


@pytest.mark.parametrize("first", [[page("a", "b")], [page()], [REFUSED]])
def test_same_page_for_ever(run: Any, first: list[Any]) -> None:
    """It is not asked forever."""
    left = iter(first)
    played = run(lambda call: next(left, page("a", "b")))
    assert names(played.value) == ["a", "b"]
    assert len(played.sent) <= 3


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        # Asked for two, given one at a time.
        ([page("a", count=3), page("b", count=3), page("c", count=3)], "abc"),
        ([page(), page("a", count=2), page("b", count=2)], "ab"),
        ([page("a", count=3), page("a", count=3), page("b", count=3), page("c", count=3)], "abc"),
        # One has gone meanwhile, or the count counts something else.
        ([page("a", count=9), page("b", count=9), page(count=9)], "ab"),
        ([page("a", count=9), page("a", count=9), page("a", count=9)], "a"),
        # The count is that of the page: there is no telling.
        ([page("a", count=1)], "a"),
        ([page("a")], "a"),
        ([page("a", "b", count=2), page(count=2)], "ab"),
    ],
)
def test_pages_smaller_than_asked_for(run: Any, answers: list[Any], found: str) -> None:
    """A gateway may return smaller pages. Its count says that there are more entries."""
    played = run(answers)
    assert names(played.value) == list(found)
    assert len(played.sent) == len(answers)


def test_instances_added_meanwhile(run: Any) -> None:
    """Sorted by creation, so new entries come last."""
    assert names(run([page("a", "b"), page("b", "c"), page("d")]).value) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "error",
    [
        api_error(EnosAccessError, 62101),
        api_error(EnosRateLimitError, 429),
        api_error(EnosServerError, 503),
        api_error(EnosServerError, 1005),
        EnosTransportError("lost", sent=True),
    ],
)
def test_failing_page_0(run: Any, error: EnosError) -> None:
    """A passing fault says nothing about page 0: to go on with page 1 might miss the instances of page 0."""
    assert type(run([error]).error) is type(error)


def test_failing_later_page(run: Any) -> None:
    """A part of the instances must not count as all of them."""
    assert isinstance(run([page("a", "b"), REFUSED]).error, EnosRequestError)
    assert isinstance(run([REFUSED, REFUSED]).error, EnosRequestError)


# Another way to ask


def otherwise(page_no: int) -> Call[FlowInstancePage]:
    call = call_for(page_no)
    return replace(call, operation=f"otherwise {call.operation}")


@pytest.fixture
def run_either(play: Any) -> Callable[..., Any]:
    """The same, where there is another way to ask."""

    def procedure() -> Procedure[list[FlowInstance]]:
        pager = Pager(call_for, 2, or_else=otherwise)
        found: list[FlowInstance] = []
        while not pager.done:
            try:
                found += pager.take((yield pager.call))
            except EnosApiError as error:
                pager.refused(error)
        return found

    return lambda answers: play(procedure(), answers)


@pytest.mark.parametrize(
    ("answers", "found", "asked"),
    [
        ([page("a")], "a", ["page 0"]),
        ([REFUSED, page("a")], "a", ["page 0", "page 1"]),
        ([REFUSED, REFUSED, page("a")], "a", ["page 0", "page 1", "otherwise page 0"]),
        (
            [REFUSED, REFUSED, REFUSED, page("a", "b"), page("c")],
            "abc",
            ["page 0", "page 1", "otherwise page 0", "otherwise page 1", "otherwise page 2"],
        ),
    ],
)
def test_another_way_to_ask(run_either: Any, answers: list[Any], found: str, asked: list[str]) -> None:
    played = run_either(answers)
    assert names(played.value) == list(found)
    assert played.operations == asked


@pytest.mark.parametrize(
    "answers",
    [
        [REFUSED] * 4,
        # It understood the first way.
        [page("a", "b"), REFUSED],
        [page(), REFUSED],
        [REFUSED, page("a", "b"), REFUSED],
        [REFUSED, api_error(EnosRequestError, 413)],
        [REFUSED, api_error(EnosServerError, 62109)],
    ],
)
def test_refusals_that_stand_in_either_way(run_either: Any, answers: list[Any]) -> None:
    played = run_either(answers)
    assert str(played.error) == str(answers[-1])


def test_pages_of_flows(play: Any) -> None:
    """A page of Search Flow: ids are numbers, and there is no count."""
    answers = [FlowPage.parse([{"flowId": number}, {"flowId": str(number + 1)}]) for number in (1, 2, 4)]
    found = play(
        all_entries(lambda page_no: calls.search_flows(page_no=page_no, page_size=2), 2), [*answers, FlowPage(())]
    )
    assert [flow.flow_id for flow in found.value] == [1, 2, 3, 4, 5]


@given(
    n=st.integers(0, 25),
    size=st.integers(1, 6),
    first=st.sampled_from([0, 1]),
    page_0=st.sampled_from([REFUSED, api_error(EnosServerError, 62109), "empty", "same as 1"]),
    cap=st.none() | st.integers(1, 6),
)
def test_each_instance_once(play: Any, n: int, size: int, first: int, page_0: Any, cap: int | None) -> None:
    """``cap``: the most entries that the gateway puts on a page; its count is the number of all entries."""
    asked: list[int] = []
    given_size = min(size, cap or size)
    count = None if cap is None else n

    def answer(call: Call[FlowInstancePage]) -> Any:
        number = int(call.operation.removeprefix("page "))
        asked.append(number)
        if first == 1 and number == 0:
            if page_0 == "empty":
                return page()
            if page_0 != "same as 1":
                return page_0
            number = 1
        start = (number - first) * given_size
        return page(*range(n)[start : start + given_size], count=count)

    found = play(all_entries(partial(call_for, page_size=size), size), answer).value
    assert names(found) == [str(number) for number in range(n)]
    assert len(asked) <= n // given_size + 3
    assert len(set(asked)) == len(asked)


def test_a_list_without_end(play: Any) -> None:
    """A gateway that always has something new is not asked for ever."""

    def answer(call: Call[Any]) -> FlowInstancePage:
        number = json.loads(call.body or b"")["pagination"]["pageNo"]
        return page(*(f"{number}-{row}" for row in range(3)), count=10**6)

    played = play(all_entries(call_for, 3), answer, most=5_000)
    assert isinstance(played.error, EnosReplyError)
    assert str(played.error) == "the list has more than 2,000 pages"
