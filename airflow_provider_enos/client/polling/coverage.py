"""Looking at many waits by one list of what runs, in place of a single look at each.

What the list shows as running does run, whatever else is wrong with it; what it does not show is looked at singly. So
this needs no trust, but for one thing: that the list is not out of date. Single looks now and then find that out.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from airflow_provider_enos.client.polling.feed import LATE, Run
from airflow_provider_enos.client.polling.list_pauses import ListPauses
from airflow_provider_enos.client.polling.wait import Wait
from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.follow.coverage import WORTH, running
from airflow_provider_enos.protocol.follow.listing import ListStyle
from airflow_provider_enos.protocol.follow.trust import Trust
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.trigger_time import MINUTE
from airflow_provider_enos.protocol.wire import calls

_log = logging.getLogger(__name__)

_LOOKS_BY_LIST = 20
"""After about so many looks by list a wait is looked at singly."""
_LONGEST_READ = 8.0
"""Seconds. Those whom it would answer for wait for it; what it has shown by then counts."""
_AT_A_TIME = 100
"""After so many that are shown, others have the event loop."""
_MOST_PAGES = 60
_FOUND = 100
"""Ends that are remembered, to see whether the list goes on showing them as running."""


@dataclass(slots=True)
class _Read:
    """What one read of the lists looks for, and has found.

    :param missing: the ids that have not come yet, each with its type, if that is known.
    """

    missing: dict[str, int | None]
    most_pages: int
    requests: int = 0
    running: set[str] = field(default_factory=set)
    is_whole: bool = True
    """Whether each list was read to its end, as far as something was looked for in it."""

    def wants(self, type: int) -> bool:
        """Return whether another page of this type may be worth it."""
        return sum(known in (None, type) for known in self.missing.values()) >= WORTH


class Coverage:
    """Shows which of the waits run. Lives on one event loop.

    :param run: carries out what is asked of the gateway.
    :param see: is given the type of a list, and an instance that it shows.
    """

    def __init__(self, run: Run, see: Callable[[int, FlowInstance], None]) -> None:
        self._run = run
        self._see = see
        self._style = ListStyle(*calls.SORT_FIELDS)
        self._types = Counter[int]()
        """How many each has shown that somebody waited for."""
        self._freshness = Trust(_LOOKS_BY_LIST, start=_LOOKS_BY_LIST)
        self._found: dict[str, float] = {}
        """What has ended, by the word of a single look, and when that was."""
        self._pauses = ListPauses()
        self._from = 0.0

    @property
    def is_ready(self) -> bool:
        """Return whether a list is to be read at all now."""
        return self._now() >= self._from

    def _is_single_look_due(self) -> bool:
        return random.random() * self._freshness.level < 1.0

    def found(self, flow_instance_id: str) -> None:
        """Note that this has ended, by the word of a single look."""
        self._found[flow_instance_id] = self._now()
        if len(self._found) > _FOUND:
            del self._found[next(iter(self._found))]

    async def show(self, candidates: Collection[Wait]) -> set[Wait]:
        """Have ``see`` shown what the list has, if that pays; return those of the waits that it shows."""
        waits = [
            wait
            for wait in candidates
            if wait.may_be_listed and not wait.is_unlisted and not self._is_single_look_due()
        ]
        if len(waits) < WORTH:
            return set()
        read = _Read({wait.id: wait.type for wait in waits}, most_pages=min(len(waits) // WORTH, _MOST_PAGES))
        begun = self._now()
        error: EnosError | TimeoutError | None = None
        try:
            async with asyncio.timeout(_LONGEST_READ):
                await self._read(self._window(waits), read)
        except (EnosError, TimeoutError) as failure:
            error, read.is_whole = failure, False
        self._judge(begun, read)
        for wait in waits if read.is_whole else ():
            wait.is_unlisted = wait.id in read.missing
        shown = len(waits) - len(read.missing)
        self._pause(shown >= WORTH * read.requests, error)
        return {wait for wait in waits if wait.id not in read.missing}

    def _pause(self, has_paid: bool, error: EnosError | TimeoutError | None) -> None:
        """Do without the list for a while that has not paid. Nobody loses by it: each is looked at singly instead."""
        if has_paid:
            self._pauses.worked()
            return
        self._from = self._now() + self._pauses.failed(error)
        if error is not None and self._pauses.failures == 1:
            why = str(error) or f"it takes longer than {_LONGEST_READ:.0f} s"
            _log.warning("Cannot list the flow instances that run, looking at each singly: %s", why)

    async def _read(self, window: Window, read: _Read) -> None:
        """Read the list of each type as long as another page may be worth it."""
        for type in sorted(calls.ALL_FLOW_TYPES, key=lambda type: -self._types[type]):
            pages = running(type, self._style, window)
            while read.wants(type) and not pages.at_end and read.requests < read.most_pages:
                read.requests += 1
                await self._show(type, await self._run(pages.next()), read)
            read.is_whole = read.is_whole and (pages.at_end or not read.missing)

    async def _show(self, type: int, page: Iterable[FlowInstance], read: _Read) -> None:
        for number, one in enumerate(page, 1):
            if not one.status.ended:
                read.running.add(one.flow_instance_id)
            if read.missing.pop(one.flow_instance_id, self) is not self:
                self._types[type] += 1
            self._see(type, one)
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)

    def _judge(self, begun: float, read: _Read) -> None:
        """Compare what single looks have found ended, some time before this read began, with what it shows."""
        found = {id for id, at in self._found.items() if at + LATE <= begun}
        wrong = found & read.running
        for id in found if read.is_whole else wrong:
            del self._found[id]
        if wrong:
            _log.info("The list shows %s as running, which has ended: looking more closely", min(wrong))
            self._freshness.fail()
        elif read.is_whole:
            self._freshness.confirm(len(found))

    @staticmethod
    def _window(waits: Collection[Wait]) -> Window:
        minutes = [wait.minute for wait in waits if wait.minute is not None]
        return Window(min(minutes), max(minutes) + MINUTE)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
