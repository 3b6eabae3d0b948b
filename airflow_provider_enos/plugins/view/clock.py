"""Which moments the times of an instance are, so that the page can show them by another clock."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.follow.time_zone import minute_of_id, zone_of_times
from airflow_provider_enos.protocol.models.instances import time_of
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.protocol.wire import calls

Json = dict[str, Any]

log = logging.getLogger(__name__)

FRESH, FRESH_PROBLEM = 3600.0, 60.0
"""Seconds for which the name of a zone is kept, and for which it is not asked for again after a problem."""
LONGEST_LOOK = 3.0
"""Seconds that it may take, since the instance is shown only then."""
MOST_GATEWAYS = 200
_TRIGGER_TIME = "Trigger time"
_FACTS = ("Start", "End")


@dataclass(slots=True)
class _Zone:
    name: str = ""
    expires: float = 0.0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Zones:
    """The zones of gateways, each asked for once an hour."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, _Zone] = OrderedDict()

    async def name_of(self, client: AsyncClient) -> str:
        """Return the name of the gateway's zone, such as ``GMT+8``; empty if EnOS does not say it now."""
        zone = self._known.setdefault(client.gateway.base_url, _Zone())
        self._known.move_to_end(client.gateway.base_url)
        if len(self._known) > MOST_GATEWAYS:
            self._known.popitem(last=False)
        async with zone.asking:
            if zone.expires <= self._clock():
                zone.expires = self._clock() + FRESH_PROBLEM
                try:
                    async with asyncio.timeout(LONGEST_LOOK):
                        zone.name = excerpt(await client.call(calls.get_time_zone()), 40)
                    zone.expires = self._clock() + FRESH
                except (EnosError, TimeoutError) as error:
                    log.info("no time zone of %s: %r", client.gateway.base_url, error)
        return zone.name


def clock_of(drawn: Json, zone_name: str, now: float) -> Json:
    """Return the zone of the times in this picture of an instance, and which moments they are.

    :param drawn: what ``picture.of_instance`` returns.
    :param zone_name: the zone of the gateway; empty if it is not known.
    :param now: epoch seconds by the gateway's clock.
    :return: ``zone``, empty if it is not known, and ``at``: epoch milliseconds by text.
    """
    times = _times(drawn)
    found = zone_of_times(times.values(), drawn["id"], zone_name, now)
    if found is None:
        return {"zone": "", "at": {}}
    name, zone = found
    at = {text: moment.replace(tzinfo=zone).timestamp() for text, moment in times.items()}
    at |= _trigger_time(drawn, zone)
    return {"zone": name, "at": {text: round(one * 1000) for text, one in at.items()}}


def _times(drawn: Json) -> dict[str, datetime]:
    """Return the times of the instance and of its nodes that can be read, by their texts."""
    texts = {text for name, text, *_ in drawn["facts"] if name in _FACTS}
    texts |= {text for node in drawn["nodes"] for text in (node.get("start"), node.get("end")) if text}
    return {text: moment for text in texts if (moment := time_of(text)) is not None}


def _trigger_time(drawn: Json, zone: tzinfo) -> dict[str, float]:
    """Return the trigger time by its text, unless it is in another zone than the other times: the id tells."""
    minute = minute_of_id(drawn["id"])
    for name, text, *_ in drawn["facts"]:
        moment = time_of(text) if name == _TRIGGER_TIME else None
        if moment is not None:
            at = moment.replace(tzinfo=zone).timestamp()
            return {text: at} if minute is None or minute <= at < minute + 60 else {}
    return {}
