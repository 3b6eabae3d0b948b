"""What a DAG author writes as trigger time -> epoch milliseconds; the minute; the id that EnOS will give.

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
"""How many further minutes are tried where that of the trigger time is taken."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END = int((datetime(2201, 1, 1, tzinfo=UTC) - _EPOCH) / timedelta(milliseconds=1))
_SMALLEST_NUMBER = 10**11
_ACCEPTED = (
    "an aware datetime, ISO 8601 text with an offset such as 2024-03-03T00:00:00+00:00, "
    "epoch milliseconds such as 1594016819108"
)


def parse(value: Any, *, now: int, field: str = "trigger_time") -> int:
    """Epoch milliseconds of a trigger time; ``now`` (epoch milliseconds) is what ``"now"`` stands for.

    Raises ``EnosConfigError``, naming ``field`` and saying why, for naive times, epoch seconds, bools, floats, empty
    text and years outside 1970 to 2200.
    """
    if is_now(value):
        return now
    return _checked(value, field, accepted=f'{_ACCEPTED}, or "now"')


def is_now(value: object) -> bool:
    """Whether it stands for the moment at which it is read."""
    return isinstance(value, str) and value.strip() == NOW


def moment(value: Any, field: str) -> int:
    """The same for a moment that has to stay what it is, so that ``"now"`` is refused, too."""
    return _checked(value, field, accepted=_ACCEPTED)


def to_iso(trigger_time: int) -> str:
    """A trigger time for people: in UTC, to the minute."""
    return _at(trigger_time, UTC).isoformat(timespec="minutes")


def minute_of(trigger_time: int) -> int:
    """The trigger time cut down to its minute."""
    return trigger_time - trigger_time % MINUTE


def predicted_flow_instance_id(flow_id: int, trigger_time: int) -> str:
    """The id that EnOS gives to an instance triggered for this time. The id that it returns counts more."""
    return f"{flow_id}-{_at(trigger_time, UTC):%Y%m%d%H%M}00"


def minute_of_id(flow_instance_id: str) -> int | None:
    """The minute that an instance which was triggered through the API is named after; None for other ids."""
    found = re.fullmatch(r"[0-9]+-([0-9]{12})00", flow_instance_id)
    try:
        moment = datetime.strptime(found[1], "%Y%m%d%H%M").replace(tzinfo=UTC) if found else None
    except ValueError:
        return None
    return (moment - _EPOCH) // timedelta(milliseconds=1) if moment else None


def stamp_of_id(flow_instance_id: str) -> int | None:
    """Return the hour or minute that an instance is named after, in epoch milliseconds; None for ids that name none.

    It is that of the trigger time, give or take an hour and the zone.
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
    """Whether EnOS's own schedule started it: those ids end with the hour or the minute, never with seconds."""
    return re.fullmatch(r"[0-9]+-(?:[0-9]{10}|[0-9]{12})", flow_instance_id) is not None


def further_minutes(trigger_time: int, zone: tzinfo, most: int = MOST_MINUTES) -> Iterator[int]:
    """The minutes to try when that of ``trigger_time`` is taken, in order, ``most`` at the most.

    First the following ones to the end of that day in EnOS's time zone, since EnOS derives the business date from the
    day; then the ones before it, back to the start of that day.
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
    """The zone that Get Timezone names, ``GMT+8`` or the like; None where it cannot be read."""
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
    """Raises ``ValueError``, saying why, for what is no moment."""
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if re.fullmatch(r"[0-9]{1,25}", text) else _parse_iso(text)
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError("it has no UTC offset, so the moment is not known")
        # Not with a minus: what pendulum gives then does not divide by a timedelta.
        value = datetime.__sub__(value, _EPOCH) // timedelta(milliseconds=1)
    elif isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"a {type(value).__name__} is no trigger time")
    elif 0 <= value < _SMALLEST_NUMBER:
        raise ValueError("too small for epoch milliseconds: are these seconds?")
    if not 0 <= value < _END:
        raise ValueError("it is outside the years 1970 to 2200")
    return int(value)


def _parse_iso(text: str) -> datetime:
    if not text or text == "None":
        raise ValueError("it is empty")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("it cannot be read") from None
