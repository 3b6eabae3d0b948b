"""Trigger times as DAG authors write them, and the minutes that follow from them."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol import trigger_time as times

IDS = json.loads((Path(__file__).parents[1] / "vectors" / "instance-ids.json").read_text("utf-8"))
CHINA = timezone(timedelta(hours=8))
DAY = datetime(2024, 3, 3, tzinfo=UTC)
DAY_MS = 1_709_424_000_000
NOW = 1_600_000_000_123
LAST = 7_289_654_399_999

offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.integers(times._SMALLEST_NUMBER, LAST - 86_400_000)


class Pendulum(datetime):
    """Pendulum's difference is no timedelta and cannot be divided by one."""

    def __sub__(self, other: object) -> Any:
        raise AttributeError("_to_microseconds")


class NoOffset(tzinfo):
    """A zone that knows no offset."""

    def utcoffset(self, moment: datetime | None) -> None:
        return None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (DAY, DAY_MS),
        (DAY.astimezone(CHINA), DAY_MS),
        (Pendulum(2024, 3, 3, 8, tzinfo=CHINA), DAY_MS),
        (DAY + timedelta(microseconds=1999), DAY_MS + 1),
        ("2024-03-03T00:00:00+00:00", DAY_MS),
        ("2024-03-03T00:00:00Z", DAY_MS),
        ("2024-03-03 08:00:00+08:00", DAY_MS),
        ("2024-03-03T00:00:00.123999+00:00", DAY_MS + 123),
        ("2024-03-02T18:30-05:30", DAY_MS),
        ("  2024-03-03T00:00:00+00:00\n", DAY_MS),
        (1594016819108, 1594016819108),
        ("1594016819108", 1594016819108),
        (" 1594016819108 ", 1594016819108),
        ("now", NOW),
        (" now ", NOW),
        (10**11, 10**11),
        ("1970-01-01T00:00:00+00:00", 0),
        ("1970-01-01T08:00:00+08:00", 0),
        (datetime(1970, 1, 1, 0, 0, 0, 999, tzinfo=UTC), 0),
        ("2200-12-31T23:59:59.999999+00:00", LAST),
        (LAST, LAST),
    ],
)
def test_accepted(value: object, expected: int) -> None:
    assert times.parse(value, now=NOW) == expected


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (datetime(2024, 3, 3), "no UTC offset"),
        (datetime(2024, 3, 3, tzinfo=NoOffset()), "no UTC offset"),
        ("2024-03-03T00:00:00", "no UTC offset"),
        ("2024-03-03", "no UTC offset"),
        (1594016819, "are these seconds?"),
        ("1594016819", "are these seconds?"),
        (10**11 - 1, "are these seconds?"),
        (0, "are these seconds?"),
        (True, "a bool is no trigger time"),
        (False, "a bool is no trigger time"),
        (1594016819108.0, "a float is no trigger time"),
        (None, "a NoneType is no trigger time"),
        ([1594016819108], "a list is no trigger time"),
        (b"now", "a bytes is no trigger time"),
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("None", "it is empty"),
        ("NOW", "it cannot be read"),
        ("tomorrow", "it cannot be read"),
        ("{{ data_interval_end }}", "it cannot be read"),
        ("-1594016819108", "it cannot be read"),
        ("1594016819108.5", "it cannot be read"),
        ("١٥٩٤٠١٦٨١٩١٠٨", "it cannot be read"),
        (-1, "outside the years 1970 to 2200"),
        (LAST + 1, "outside the years 1970 to 2200"),
        ("9" * 25, "outside the years 1970 to 2200"),
        ("1969-12-31T23:59:59.999+00:00", "outside the years 1970 to 2200"),
        ("2201-01-01T00:00:00+00:00", "outside the years 1970 to 2200"),
        (datetime.min.replace(tzinfo=CHINA), "outside the years 1970 to 2200"),
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=8))), "outside the years 1970 to 2200"),
    ],
)
def test_refused(value: object, why: str) -> None:
    """The error names the field, the value, the reason and what is accepted."""
    with pytest.raises(EnosConfigError) as raised:
        times.parse(value, now=NOW, field="when")
    message = str(raised.value)
    assert raised.value.field == "when"
    assert message.startswith("when: ")
    assert why in message
    assert "expected an aware datetime" in message


DATES = [
    ("20240303", "2024-03-03T00:00:00+00:00"),
    ("2024030312", "2024-03-03T12:00:00+00:00"),
    ("202403030000", "2024-03-03T00:00:00+00:00"),
    ("197001010000", "1970-01-01T00:00:00+00:00"),
    ("220012312359", "2200-12-31T23:59:00+00:00"),
    ("20240303123456", "2024-03-03T12:34:56+00:00"),
]


@pytest.mark.parametrize(("digits", "meant"), DATES)
def test_digits_that_read_as_a_date_are_refused_as_such(digits: str, meant: str) -> None:
    """As text and as number, for each field; the error says what was probably meant."""
    for value in (digits, f" {digits}\n", int(digits)):
        for read in (lambda value=value: times.parse(value, now=NOW), lambda value=value: times.moment(value, "x")):  # type: ignore[misc]
            with pytest.raises(EnosConfigError, match=rf"its digits read as a date: write {re.escape(meant)}, with"):
                read()


def test_milliseconds_that_read_as_a_date_can_be_written_as_text() -> None:
    """Milliseconds of 12 digits are times from 1973 to 2001."""
    with pytest.raises(EnosConfigError, match="for these epoch milliseconds, write") as caught:
        times.parse(202403030012, now=NOW)
    written = re.search(r"milliseconds, write (\S+);", str(caught.value))
    assert written
    assert times.parse(written[1], now=NOW) == 202403030012
    with pytest.raises(EnosConfigError) as caught:
        times.parse("20240303123456", now=NOW)
    assert "milliseconds, write" not in str(caught.value), "they are of no year that is taken"


@pytest.mark.parametrize("value", [202413030000, 202402300000, 202403032400, 196912312359, 220101010000, 999999999999])
def test_digits_of_no_date_are_milliseconds(value: int) -> None:
    assert times.parse(value, now=NOW) == times.parse(str(value), now=NOW) == value


@pytest.mark.parametrize("value", [1709424000000, 2024030300001])
def test_thirteen_digits_are_milliseconds(value: int) -> None:
    """As all times of today have them."""
    assert times.parse(value, now=NOW) == value


def test_a_proxy_of_a_datetime_will_do() -> None:
    """As Airflow 2 has them in templates that are rendered to objects."""
    proxy = pytest.importorskip("lazy_object_proxy").Proxy
    assert times.parse(proxy(lambda: DAY), now=NOW) == DAY_MS


def test_refusal_shows_what_was_given() -> None:
    with pytest.raises(EnosConfigError, match=r"'2024-03-03T00:00:00': it has no UTC offset"):
        times.parse("2024-03-03T00:00:00", now=NOW)


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 12, 30), timezones=offsets))
def test_any_aware_datetime_to_the_millisecond(moment: datetime) -> None:
    """As datetime and as text, rounded down."""
    parsed = times.parse(moment, now=NOW)
    found = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=parsed)
    assert timedelta(0) <= moment - found < timedelta(milliseconds=1)
    assert times.parse(moment.isoformat(), now=NOW) == times.parse(str(moment), now=NOW) == parsed


@given(st.text() | st.from_regex(r"[0-9TZ:.+\- W]{0,35}", fullmatch=True) | st.integers().map(str))
def test_any_text_is_read_or_refused(text: str) -> None:
    found = NOW
    with suppress(EnosConfigError):
        found = times.parse(text, now=NOW)
    assert 0 <= found <= LAST


@pytest.mark.parametrize("vector", IDS, ids=lambda vector: vector["name"])
def test_predicted_id(vector: dict[str, Any]) -> None:
    predicted = times.predicted_flow_instance_id(vector["flow_id"], vector["trigger_time"])
    assert predicted == vector["flow_instance_id"]
    assert not times.is_scheduled(predicted)


@given(moments)
def test_minute(moment: int) -> None:
    """Two times have the same predicted id exactly when they have the same minute."""
    minute = times.minute_of(moment)
    assert minute % 60_000 == 0
    assert 0 <= moment - minute < 60_000
    predicted = times.predicted_flow_instance_id(1, moment)
    assert predicted == times.predicted_flow_instance_id(1, minute)
    assert predicted != times.predicted_flow_instance_id(1, minute + 60_000)


@pytest.mark.parametrize(
    ("flow_instance_id", "scheduled"),
    [
        ("8435-2021020211", True),
        ("2438-201907261239", True),
        ("3377-20200706062600", False),
        ("3377-2020070606260", False),
        ("3377-20200706", False),
        ("anything", False),
        ("3377-2021020211\n", False),
    ],
)
def test_scheduled(flow_instance_id: str, scheduled: bool) -> None:
    assert times.is_scheduled(flow_instance_id) is scheduled


@pytest.mark.parametrize(
    ("flow_instance_id", "minute"),
    [
        ("3377-20200706062600", 1594016760000),
        ("3377-20200706062601", None),
        ("3377-20209906062600", None),
        ("8435-2021020211", None),
        ("2438-201907261239", None),
        ("anything", None),
        ("", None),
    ],
)
def test_minute_of_id(flow_instance_id: str, minute: int | None) -> None:
    assert times.minute_of_id(flow_instance_id) == minute


@given(moments, st.integers(1, 10**9))
def test_minute_of_predicted_id(moment: int, flow_id: int) -> None:
    predicted = times.predicted_flow_instance_id(flow_id, moment)
    assert times.minute_of_id(predicted) == times.minute_of(moment)


def shown(minutes: list[int], zone: timezone = UTC) -> list[str]:
    return [f"{datetime.fromtimestamp(minute / 1000, zone):%d %H:%M}" for minute in minutes]


def test_further_minutes_follow() -> None:
    found = shown(list(times.further_minutes(DAY_MS + 12_345, UTC)))
    assert found == [f"03 00:{minute:02}" for minute in range(1, 31)]


def test_further_minutes_then_go_back() -> None:
    """First the minutes to the end of the day, then the minutes before."""
    evening = times.parse("2024-03-03T23:57:59+00:00", now=NOW)
    assert shown(list(times.further_minutes(evening, UTC, 5))) == [
        "03 23:58",
        "03 23:59",
        "03 23:56",
        "03 23:55",
        "03 23:54",
    ]


def test_further_minutes_in_the_zone_of_the_gateway() -> None:
    """23:59 in China is 15:59 UTC: the next minute would be another business day."""
    evening = times.parse("2024-03-03T23:58:00+08:00", now=NOW)
    assert shown(list(times.further_minutes(evening, CHINA, 3)), CHINA) == ["03 23:59", "03 23:57", "03 23:56"]
    assert shown(list(times.further_minutes(evening, UTC, 3)), CHINA) == ["03 23:59", "04 00:00", "04 00:01"]


def test_further_minutes_stay_within_the_years() -> None:
    assert list(times.further_minutes(0, CHINA, 2)) == [60_000, 120_000]
    assert max(times.further_minutes(LAST, UTC, 2)) < LAST


@given(moments, offsets, st.integers(0, 1500))
def test_further_minutes_are_of_the_day_and_differ(moment: int, zone: timezone, most: int) -> None:
    found = list(times.further_minutes(moment, zone, most))
    minute = times.minute_of(moment)
    assert len(found) == min(most, 1439)
    assert minute not in found
    assert len(set(found)) == len(found)
    assert all(one % 60_000 == 0 for one in found)
    assert len({datetime.fromtimestamp(one / 1000, zone).date() for one in (minute, *found)}) == 1
    later = [one for one in found if one > minute]
    earlier = [one for one in found if one < minute]
    assert found == later + earlier
    assert all(b - a == 60_000 for a, b in pairwise([minute, *later]))
    assert all(a - b == 60_000 for a, b in pairwise([minute, *earlier]))


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("GMT+8", 8),
        (" GMT+08 ", 8),
        ("GMT+08:00", 8),
        ("GMT+0530", 5.5),
        ("GMT+5:30", 5.5),
        ("UTC-3", -3),
        ("GMT-03:30", -3.5),
        ("GMT", 0),
        ("UTC", 0),
        ("GMT+0", 0),
        ("GMT+18:59", 18 + 59 / 60),
        ("Asia/Shanghai", 8),
        (" Asia/Kolkata\n", 5.5),
        ("America/St_Johns", -3.5),
        ("Etc/GMT-8", 8),
        ("EST", -5),
    ],
)
def test_zone(text: str, hours: float) -> None:
    zone = times.zone_of(text)
    assert zone is not None
    assert DAY.astimezone(zone).utcoffset() == timedelta(hours=hours)


def test_zone_with_summer_time() -> None:
    zone = times.zone_of("Europe/Berlin")
    offsets = [datetime(2024, month, 1, tzinfo=UTC).astimezone(zone).utcoffset() for month in (1, 7)]
    assert offsets == [timedelta(hours=1), timedelta(hours=2)]


@pytest.mark.parametrize(
    "text",
    [
        *("GMT+19", "GMT+5:60", "GMT+", "", " ", "+8", "8", "Mars/Olympus", "Asia", "None", "x" * 5000),
        *("../../etc/passwd", "/etc/localtime", "Asia/../Asia/Shanghai", "a\x00b", "\udc80", "亚洲/上海"),
    ],
)
def test_zone_that_cannot_be_read(text: str) -> None:
    assert times.zone_of(text) is None


@given(st.text() | st.from_regex(r"(GMT|UTC)[+-]?[0-9:]*", fullmatch=True) | st.from_regex(r"[A-Z][a-z]+/[./A-Z]*"))
def test_zone_of_any_text(text: str) -> None:
    zone = times.zone_of(text)
    assert zone is None or DAY.astimezone(zone) == DAY
