"""Trigger times: read what a DAG author writes, find the minute, and predict the id that EnOS will give.

EnOS names an instance that was triggered through the API after the flow and the UTC minute of its trigger time:
flow 3377 at 1594016819108 (2020-07-06T06:26:59.108Z) is ``3377-20200706062600`` (page "Trigger Flow From Task").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol.text import shown

MINUTE = 60_000
"""Milliseconds in a minute."""
NOW = "now"
MOST_MINUTES = 30
"""How many further minutes are tried if the minute of the trigger time is taken."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END = int((datetime(2201, 1, 1, tzinfo=UTC) - _EPOCH) / timedelta(milliseconds=1))
_SMALLEST_NUMBER = 10**11
_DATE_FORMS = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""The form of a date by its number of digits. Epoch milliseconds of the years 2001 to 2286 have 13 digits."""
_ACCEPTED = (
    "an aware datetime, ISO 8601 text with an offset such as 2024-03-03T00:00:00+00:00, "
    "epoch milliseconds such as 1594016819108"
)


def parse(value: Any, *, now: int, field: str = "trigger_time") -> int:
    """Return a trigger time in epoch milliseconds. ``now``: what ``"now"`` means, epoch milliseconds.

    Raises ``EnosConfigError``, naming ``field`` and saying why, for naive times, epoch seconds, digits that read as a
    date such as 202403030000, bools, floats, empty text and years outside 1970 to 2200.
    """
    if is_now(value):
        return now
    return _checked(value, field, accepted=f'{_ACCEPTED}, or "now"')


def check(value: Any, field: str) -> None:
    """Raise the ``EnosConfigError`` that ``parse`` would raise."""
    parse(value, now=0, field=field)


def is_now(value: object) -> bool:
    """Return whether ``value`` is ``"now"``, the moment at which it is read."""
    return isinstance(value, str) and value.strip() == NOW


def moment(value: Any, field: str) -> int:
    """Return a moment in epoch milliseconds, as ``parse``, but refuse ``"now"``: the moment must not move."""
    return _checked(value, field, accepted=_ACCEPTED)


def to_iso(trigger_time: int) -> str:
    """Return a trigger time for people: in UTC, to the minute."""
    return _at(trigger_time, UTC).isoformat(timespec="minutes")


def minute_of(trigger_time: int) -> int:
    """Return the trigger time, cut down to its minute."""
    return trigger_time - trigger_time % MINUTE


def predicted_flow_instance_id(flow_id: int, trigger_time: int) -> str:
    """Return the id that EnOS should give to an instance with this trigger time. The id in its reply wins."""
    return f"{flow_id}-{_at(trigger_time, UTC):%Y%m%d%H%M}00"


def minute_of_id(flow_instance_id: str) -> int | None:
    """Return the minute in the id of an instance that was triggered through the API; None for other ids."""
    found = re.fullmatch(r"[0-9]+-([0-9]{12})00", flow_instance_id)
    try:
        moment = datetime.strptime(found[1], "%Y%m%d%H%M").replace(tzinfo=UTC) if found else None
    except ValueError:
        return None
    return (moment - _EPOCH) // timedelta(milliseconds=1) if moment else None


def utc_of_id(flow_instance_id: str) -> str | None:
    """Return the minute that an instance is named after, in UTC, as ISO 8601 text that ``parse`` accepts.

    None for ids that name no minute: EnOS's schedule names instances of hourly and daily flows after the hour (10
    digits). The 12 digits of its other instances are read as UTC, as the samples of the documentation have them.
    """
    found = re.fullmatch(r"[0-9]+-([0-9]{12})(?:00)?", flow_instance_id)
    try:
        moment = datetime.strptime(found[1], "%Y%m%d%H%M").replace(tzinfo=UTC) if found else None
    except ValueError:
        return None
    in_range = moment is not None and 0 <= (moment - _EPOCH) // timedelta(milliseconds=1) < _END
    return moment.isoformat() if moment is not None and in_range else None


def business_date(trigger_time: int, zone: tzinfo) -> date:
    """Return the day that EnOS computes for this trigger time: the day before it, in the gateway's time zone."""
    return _at(trigger_time, zone).date() - timedelta(days=1)


def stamp_of_id(flow_instance_id: str) -> int | None:
    """Return the hour or minute in the id of an instance, in epoch milliseconds; None for ids that have none.

    It may differ from the trigger time by up to an hour, and by the time zone.
    """
    found = re.fullmatch(r"[0-9]+-([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})?(?:[0-9]{2})?", flow_instance_id)
    if not found:
        return None
    year, month, day, hour, minute = (int(part or 0) for part in found.groups())
    try:
        return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        return None


def is_scheduled(flow_instance_id: str) -> bool:
    """Return whether EnOS's own schedule started the instance: such an id ends with the hour or the minute."""
    return re.fullmatch(r"[0-9]+-(?:[0-9]{10}|[0-9]{12})", flow_instance_id) is not None


def further_minutes(trigger_time: int, zone: tzinfo, most: int = MOST_MINUTES) -> Iterator[int]:
    """Yield at most ``most`` minutes to try if the minute of ``trigger_time`` is taken.

    First the minutes after it, to the end of its day in EnOS's time zone, since EnOS derives the business date from
    that day; then the minutes before it, back to the start of the day.
    """
    minute = minute_of(trigger_time)
    day = _at(minute, zone).date()
    return islice(_minutes_of_day(minute, day, zone), most)


def _minutes_of_day(minute: int, day: date, zone: tzinfo) -> Iterator[int]:
    for step in (MINUTE, -MINUTE):
        candidate = minute + step
        while 0 <= candidate < _END and _at(candidate, zone).date() == day:
            yield candidate
            candidate += step


def zone_of(text: str) -> tzinfo | None:
    """Return the time zone that Get Timezone names, such as ``GMT+8``; None if the name cannot be read."""
    found = re.fullmatch(r"(?:GMT|UTC)\s*(?:([+-])(\d{1,2})(?::?([0-5]\d))?)?", text.strip())
    if not found:
        return _named_zone(text.strip())
    if found[1] is None:
        return UTC
    if int(found[2]) > 18:
        return None
    offset = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
    return timezone(offset if found[1] == "+" else -offset)


def _named_zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return None


def _at(milliseconds: int, zone: tzinfo) -> datetime:
    return (_EPOCH + timedelta(milliseconds=milliseconds)).astimezone(zone)


def _checked(value: Any, field: str, *, accepted: str) -> int:
    try:
        return _milliseconds(value)
    except ValueError as error:
        raise EnosConfigError(field, f"{shown(value)}: {error}", accepted=accepted) from None


def _milliseconds(value: Any) -> int:
    """Return a moment in epoch milliseconds. Raises ``ValueError``, saying why, if ``value`` is none."""
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if re.fullmatch(r"[0-9]{1,25}", text) else _parse_iso(text)
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError("it has no UTC offset, so the moment is not known")
        # Through text: pendulum's differences cannot be divided by a timedelta, and Airflow 2 passes proxies.
        value = (datetime.fromisoformat(value.isoformat()) - _EPOCH) // timedelta(milliseconds=1)
    elif isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"a {type(value).__name__} is no trigger time")
    else:
        _check_number(value)
    if not 0 <= value < _END:
        raise ValueError("it is outside the years 1970 to 2200")
    return int(value)


def _check_number(value: int) -> None:
    """Raise a ``ValueError`` that says what was perhaps meant, if the number is not epoch milliseconds."""
    date = _read_as_date(value)
    if date is not None:
        meant = f"its digits read as a date: write {date.isoformat()}, with the UTC offset that is meant"
        if value >= _SMALLEST_NUMBER and value < _END:
            # As milliseconds it is before the year 2002, which is hardly ever meant.
            meant += f"; for these epoch milliseconds, write {_at(value, UTC).isoformat(timespec='milliseconds')}"
        raise ValueError(meant)
    if 0 <= value < _SMALLEST_NUMBER:
        raise ValueError("too small for epoch milliseconds: are these seconds?")


def _read_as_date(value: int) -> datetime | None:
    """Return the time that ``value`` spells as YYYYMMDD, also with HH, HHMM or HHMMSS behind; else None."""
    form = _DATE_FORMS.get(len(str(value))) if 0 <= value < 10**15 else None
    try:
        found = datetime.strptime(str(value), form).replace(tzinfo=UTC) if form else None
    except ValueError:
        return None
    return found if found and 1970 <= found.year <= 2200 else None


def _parse_iso(text: str) -> datetime:
    if not text or text == "None":
        raise ValueError("it is empty")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("it cannot be read") from None
