"""Look at many flow instances in brief: those of the tasks of a DAG run, on one page.

A page asks for a few instances at a time, and has the others from a cache that all pages share. What a tab has just
seen of an instance counts, too. Times of nodes and logs are not fetched.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.plugins.view.lookups import Answer, Lookups, Problem, Source, cached, of_another_flow
from airflow_provider_enos.plugins.view.picture import Json, brief_of
from airflow_provider_enos.protocol.wire import calls

FRESH_BRIEF, FRESH_BRIEF_ENDED, FRESH_BRIEF_PROBLEM = 15.0, 120.0, 60.0
"""Seconds for which a brief look is cached: of an instance that runs, of one that has ended, and a problem."""
MOST_LOOKS = 12
"""How many instances are asked for at a time through a connection, by all pages of this process together."""
MOST_BRIEFS = 2000
PATIENCE = 4.0
"""Seconds for which a page is kept waiting. What comes later is there when it asks again."""


@dataclass(slots=True)
class _Kept:
    """What the last look brought, and when the next one is due."""

    last: Json | Problem | None = None
    due: float = 0.0


class BriefLooks:
    """Fetch and cache brief looks, on the event loop of the look-ups."""

    def __init__(self, lookups: Lookups, clock: Callable[[], float] = time.monotonic) -> None:
        self._lookups = lookups
        self._clock = clock
        self._kept: OrderedDict[Source, _Kept] = OrderedDict()
        self._pending: dict[Source, asyncio.Task[None]] = {}

    async def of(self, sources: Sequence[Source]) -> list[Json | Problem | None]:
        """Return what is known of these instances, after asking for a few of them; None: not asked for yet."""
        kept = {source: cached(self._kept, source, MOST_BRIEFS, _Kept) for source in sources}
        now = self._clock()
        stale = [source for source, one in kept.items() if one.due <= now and source not in self._pending]
        # Those that were never asked for come first, then those that were asked for long ago.
        stale.sort(key=lambda source: (kept[source].last is not None, kept[source].due))
        asked = Counter((source.conn_id, source.team) for source in self._pending)
        for source in stale:
            connection = (source.conn_id, source.team)
            if asked[connection] < MOST_LOOKS:
                asked[connection] += 1
                self._pending[source] = asyncio.create_task(self._ask(source, kept[source]))
        # Not for what another page is waiting for.
        if own := {self._pending[source] for source in kept if source in self._pending}:
            await asyncio.wait(own, timeout=PATIENCE)
        return [kept[source].last for source in sources]

    async def _ask(self, source: Source, kept: _Kept) -> None:
        async def look(client: AsyncClient, _: Settings) -> Json | Problem:
            if drawn := self._lookups.last_seen(source):
                return dict(drawn["brief"])
            instance = await client.call(calls.get_flow_instance(source.flow_instance_id))
            return brief_of(instance) if source.has(instance) else of_another_flow(source)

        try:
            kept.last = await self._lookups.shared(Answer[Json](), source, look, lambda _: FRESH_BRIEF)
            kept.due = self._clock() + _fresh(kept.last)
        finally:
            del self._pending[source]


def _fresh(seen: Json | Problem) -> float:
    if isinstance(seen, Problem):
        return FRESH_BRIEF_PROBLEM
    return FRESH_BRIEF_ENDED if seen["has_stopped"] else FRESH_BRIEF
