"""How long a flow usually takes: the median of the instances that one page of a list shows.

One list serves all viewers of a flow for minutes, since it costs EnOS more than a single instance does. Whatever goes
wrong shows nothing, and is not tried again before the minutes are over.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median

from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.errors import EnosApiError, EnosError
from airflow_provider_enos.plugins.view.lookups import Answer, Lookups, Problem, Source, cached
from airflow_provider_enos.plugins.view.picture import REFRESH, Json
from airflow_provider_enos.protocol.arguments import FLOW_TYPES
from airflow_provider_enos.protocol.models import FlowInstance, FlowInstancePage, FlowStatus
from airflow_provider_enos.protocol.models.instances import time_of
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Call
from airflow_provider_enos.protocol.wire.paging import PAGE_SIZE, Pager

log = logging.getLogger(__name__)

FRESH_USUAL = 600.0
"""Seconds for which the list of a flow is cached, or the lack of one."""
FEWEST = 3
"""With fewer instances that succeeded, nothing is said."""
DAYS_BACK = 92
"""Instances count that were triggered in the month of the one that is shown, or in so many days before it."""
MOST_REQUESTS = 6
"""The most requests for a flow: one, unless EnOS numbers pages from 1 or lists the instances under another type."""
LIST_TIMEOUT, PATIENCE = 10.0, 1.0
"""Seconds for the list, and how long a page is kept waiting for it."""
MOST_FLOWS = 200

Durations = Mapping[str, float]
"""Seconds that instances took, by their ids."""


@dataclass(frozen=True, slots=True)
class _Flow:
    """A flow, as one connection sees it, and the first day of a month."""

    conn_id: str
    team: str | None
    org_id: str | None
    user_id: str | None
    flow_id: int
    month: datetime


class UsualTimes:
    """Fetch and cache how long flows usually take, on the event loop of the look-ups."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups
        self._answers: OrderedDict[_Flow, Answer[Durations]] = OrderedDict()
        self._pending: set[asyncio.Task[Durations | Problem]] = set()

    async def added_to(self, drawn: Json, source: Source) -> Json:
        """Return the picture of an instance, with how long its flow usually takes, if that is known.

        If the list has not come yet, the page is told to ask again.
        """
        if drawn["flow_id"] is None:
            return drawn
        month = _month_of(drawn["trigger_time"])
        flow = _Flow(source.conn_id, source.team, source.org_id, source.user_id, drawn["flow_id"], month)
        answer = cached(self._answers, flow, MOST_FLOWS, Answer[Durations])
        asked = asyncio.create_task(self._ask(answer, source, flow))
        # The set keeps it alive when this page does not wait for it any more.
        self._pending.add(asked)
        asked.add_done_callback(self._pending.discard)
        done, _ = await asyncio.wait({asked}, timeout=PATIENCE)
        if not done:
            return drawn | {"refresh": drawn["refresh"] or REFRESH}
        seconds = usual_of(asked.result(), drawn["id"])
        if seconds is None:
            return drawn
        facts = [*drawn["facts"], ("Time taken", f"usually {words(seconds)}")]
        return drawn | {"usual": seconds, "usual_words": words(seconds), "facts": facts}

    async def _ask(self, answer: Answer[Durations], source: Source, flow: _Flow) -> Durations | Problem:
        return await self._lookups.shared(answer, source, partial(_durations, flow), lambda _: FRESH_USUAL)


def usual_of(durations: Durations | Problem, but: str) -> float | None:
    """Return the median of the other instances; None if there are too few."""
    if isinstance(durations, Problem):
        return None
    others = [seconds for name, seconds in durations.items() if name != but]
    return median(others) if len(others) >= FEWEST else None


def words(seconds: float) -> str:
    """Return a duration as people say it: ``42 min``, ``1 h 5 min``."""
    if seconds < 99.5:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _month_of(trigger_time: str | None) -> datetime:
    moment = time_of(trigger_time)
    if moment is None or not 1971 <= moment.year <= 2999:
        moment = datetime.now(UTC)
    return datetime(moment.year, moment.month, 1, tzinfo=UTC)


async def _durations(flow: _Flow, client: AsyncClient, settings: Settings) -> Durations:
    """Return how long instances of the flow took that succeeded; empty if EnOS does not list them."""
    try:
        async with asyncio.timeout(LIST_TIMEOUT):
            return await _listed(flow, client)
    except (EnosError, TimeoutError) as error:
        log.info("how long flow %s usually takes is not known: %s", flow.flow_id, error or "the list takes too long")
        return {}


async def _listed(flow: _Flow, client: AsyncClient) -> Durations:
    left = MOST_REQUESTS
    durations: dict[str, float] = {}
    # It is not documented under which type EnOS lists what is triggered through its API.
    for type in FLOW_TYPES:
        pager = Pager(partial(_page, flow, type), or_else=partial(_page, flow, type, sort_by=None))
        listed: list[FlowInstance] = []
        while not listed and not pager.done and left > 0:
            left -= 1
            try:
                listed = pager.take(await client.call(pager.call))
            except EnosApiError as error:
                pager.refused(error)
        # The list also matches ids and names that only contain the id of the flow.
        taken = {one.flow_instance_id: _seconds_of(one) for one in listed if one.flow_id == flow.flow_id}
        durations |= {name: seconds for name, seconds in taken.items() if seconds is not None}
        if len(durations) > FEWEST:
            break
    return durations


def _page(flow: _Flow, type: int, page_no: int, sort_by: str | None = calls.SORT_FIELDS[0]) -> Call[FlowInstancePage]:
    next_month = (flow.month + timedelta(days=32)).replace(day=1)
    return calls.list_flow_instances(
        type=type,
        # A day more at the end: the zone of the trigger time is not known.
        from_trigger_time=_milliseconds(flow.month - timedelta(days=DAYS_BACK)),
        to_trigger_time=_milliseconds(next_month + timedelta(days=1)),
        page_no=page_no,
        page_size=PAGE_SIZE,
        status=(FlowStatus.SUCCESS,),
        expression=str(flow.flow_id),
        nodes=False,
        sort_by=sort_by,
        newest_first=True,
    )


def _milliseconds(moment: datetime) -> int:
    return max(int(moment.timestamp() * 1000), 0)


def _seconds_of(instance: FlowInstance) -> float | None:
    """Return how long it took; None if it did not succeed, or its times cannot be read."""
    start, end = time_of(instance.start_time), time_of(instance.end_time)
    if instance.status is not FlowStatus.SUCCESS or start is None or end is None or end < start:
        return None
    return (end - start).total_seconds()
