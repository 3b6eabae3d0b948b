"""Which day an instance computes: what EnOS says, else the day before its trigger time, else nothing."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from airflow_provider_enos.errors import EnosServerError
from airflow_provider_enos.protocol.follow.business_date import find_business_date
from airflow_provider_enos.protocol.models import FlowInstance

ID = "3377-20200706182600"
GET, ZONE = "Get Flow Instance", "Get Timezone"
DOWN = EnosServerError(62109, "no", operation="any", http_status=200)


def instance(business_date: str | None) -> FlowInstance:
    said = {} if business_date is None else {"calDt": business_date}
    return FlowInstance.parse({"instanceId": ID, "flowId": 3377, "status": 4, **said})


@pytest.mark.parametrize("said", ["2020-07-05", "2020-07-05 00:00:00", "2020-07-05T00:00:00+08:00"])
def test_enos_says_it(play: Any, log: Any, said: str) -> None:
    played = play(find_business_date(ID, instance(said), log), [])
    assert played.value == date(2020, 7, 5)
    assert log.lines == []


def test_an_instance_that_was_not_read_is_asked_for(play: Any, log: Any) -> None:
    played = play(find_business_date(ID, None, log), [instance("2020-07-01")])
    assert (played.value, played.operations) == (date(2020, 7, 1), [GET])


@pytest.mark.parametrize(
    ("zone", "day"), [("GMT+8", 6), ("UTC", 5), ("GMT-5", 5), ("GMT-18", 5), ("Asia/Shanghai", 6)], ids=str
)
def test_else_it_is_the_day_before_the_trigger_time_where_the_gateway_is(
    play: Any, log: Any, zone: str, day: int
) -> None:
    """At 18:26 UTC it is the next day already in China."""
    played = play(find_business_date(ID, instance(None), log), [zone])
    assert (played.value, played.operations) == (date(2020, 7, day), [ZONE])
    assert log.lines == []


@pytest.mark.parametrize("said", ["yesterday", "20200705", "2020-13-05", ""])
def test_what_is_no_date_is_said_and_not_believed(play: Any, log: Any, said: str) -> None:
    played = play(find_business_date(ID, instance(said), log), ["GMT+8"])
    assert played.value == date(2020, 7, 6)
    assert [line.partition(":")[0] for line in log.lines] == ["warning"]
    assert "not a date" in log.lines[0]


def test_an_instance_that_cannot_be_read_still_has_its_trigger_time(play: Any, log: Any) -> None:
    played = play(find_business_date(ID, None, log), [DOWN, "GMT+8"])
    assert (played.value, played.operations) == (date(2020, 7, 6), [GET, ZONE])
    assert ID in log.lines[0]


@pytest.mark.parametrize("id", ["3377-2020070618", "3377-20209906182600", "x"])
def test_an_id_that_names_no_minute_gives_no_day(play: Any, log: Any, id: str) -> None:
    played = play(find_business_date(id, instance(None), log), [])
    assert played.value is None
    assert "names no minute" in log.lines[0]


@pytest.mark.parametrize("answer", [DOWN, "Middle-earth"], ids=["unreachable", "unreadable"])
def test_no_day_is_guessed_without_the_zone(play: Any, log: Any, answer: object) -> None:
    """A wrong day would start what comes after for that day."""
    played = play(find_business_date(ID, instance(None), log), [answer])
    assert played.value is None
    assert f"The business date of {ID} is not known" in log.lines[0]
