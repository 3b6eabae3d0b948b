"""Look at many flow instances in brief: those of the tasks of a DAG run, on one page.

A page asks for a few instances at a time, and has the others from a cache that all pages share. What a tab has just
seen of an instance counts, too. Times of nodes and logs are not fetched.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.plugins.view.lookups import Answer, Lookups, Problem, Source, cached, of_another_flow
from airflow_provider_enos.plugins.view.picture import Json, brief_of
from airflow_provider_enos.protocol.wire import calls

FRESH_BRIEF, FRESH_BRIEF_ENDED = 15.0, 120.0
"""Seconds for which a brief look is cached: of an instance that runs, and of one that has ended."""
MOST_LOOKS = 12
"""How many instances are asked for at a time, by all pages of this process together."""
MOST_BRIEFS = 2000
PATIENCE = 4.0
"""Seconds for which a page is kept waiting. What comes later is there when it asks again."""


@dataclass(slots=True)
class _Kept:
    """The request to EnOS, and what the last one brought."""

    answer: Answer[Json] = field(default_factory=Answer)
    last: Json | Problem | None = None


class BriefLooks:
    """Fetch and cache brief looks, on the event loop of the look-ups."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups
        self._kept: OrderedDict[Source, _Kept] = OrderedDict()
        self._pending: set[asyncio.Task[None]] = set()

    async def of(self, sources: Sequence[Source]) -> list[Json | Problem | None]:
        """Return what is known of these instances, after asking for a few of them; None: not asked for yet."""
        kept = {source: cached(self._kept, source, MOST_BRIEFS, _Kept) for source in sources}
        stale = [source for source, one in kept.items() if self._lookups.is_stale(one.answer)]
        # Those that were never asked for come first, then those that were asked for long ago.
        stale.sort(key=lambda source: (kept[source].last is not None, kept[source].answer.expires))
        for source in stale[: max(MOST_LOOKS - len(self._pending), 0)]:
            asked = asyncio.create_task(self._ask(source, kept[source]))
            self._pending.add(asked)
            asked.add_done_callback(self._pending.discard)
        if self._pending:
            await asyncio.wait(set(self._pending), timeout=PATIENCE)
        return [kept[source].last for source in sources]

    async def _ask(self, source: Source, kept: _Kept) -> None:
        async def look(client: AsyncClient, _: Settings) -> Json | Problem:
            if drawn := self._lookups.last_seen(source):
                return dict(drawn["brief"])
            instance = await client.call(calls.get_flow_instance(source.flow_instance_id))
            return brief_of(instance) if source.has(instance) else of_another_flow(source)

        kept.last = await self._lookups.shared(
            kept.answer, source, look, lambda brief: FRESH_BRIEF_ENDED if brief["has_stopped"] else FRESH_BRIEF
        )
