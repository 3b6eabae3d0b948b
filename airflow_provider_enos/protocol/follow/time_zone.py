"""In which time zone the times of an instance are.

EnOS writes times without a zone, and does not document it. Get Timezone names the zone of the gateway; the times are
read in that zone, unless they would lie before the instance's own trigger time or in the future. Then they are read as
UTC. If that is impossible, too, their zone is not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, tzinfo

from airflow_provider_enos.protocol.trigger_time import utc_of_id, zone_of

_TOLERANCE = 120.0
"""Seconds by which clocks may be apart."""


def zone_of_times(
    times: Iterable[datetime], flow_instance_id: str, zone_name: str, now: float
) -> tuple[str, tzinfo] | None:
    """Return the zone of these times, with its name; None where it is not known.

    :param times: when the instance and its nodes began and ended, without a zone.
    :param zone_name: the zone that Get Timezone names; empty if that is not known.
    :param now: epoch seconds.
    """
    known = list(times)
    earliest = (minute_of_id(flow_instance_id) or 0.0) - _TOLERANCE
    for name in (zone_name, "UTC") if zone_name else ():
        zone = zone_of(name)
        if zone and all(earliest <= one.replace(tzinfo=zone).timestamp() <= now + _TOLERANCE for one in known):
            return name, zone
    return None


def minute_of_id(flow_instance_id: str) -> float | None:
    """Return the minute that an instance is named after, in epoch seconds; None for ids that name no minute."""
    minute = utc_of_id(flow_instance_id)
    return None if minute is None else datetime.fromisoformat(minute).timestamp()
