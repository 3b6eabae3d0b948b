"""Poll many waits by one list of what runs, in place of a single poll for each.

A wait that the list shows as running does run, whatever else is wrong with the list. A wait that it does not show is
polled singly. So only one thing has to be trusted: that the list is up to date. Some single polls check that.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from airflow_provider_enos.client.polling.end_feed import LATE, Run
from airflow_provider_enos.client.polling.list_backoff import ListBackoff
from airflow_provider_enos.client.polling.wait import Wait
from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.follow.listing import ListStyle
from airflow_provider_enos.protocol.follow.running_list import WORTH, running
from airflow_provider_enos.protocol.follow.trust import Trust
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.trigger_time import MINUTE
from airflow_provider_enos.protocol.wire import calls

_log = logging.getLogger(__name__)

_LOOKS_BY_LIST = 20
"""After the list was wrong, up to this many polls for one single poll. Then it is trusted again."""
_CHECKED_AFTER = 300
"""Poll intervals after which, on average, a wait that the list shows is polled singly, however often it is listed."""
_LONGEST_READ = 8.0
"""Seconds that a read may take, since waits wait for it. What it has shown by then counts."""
_AT_A_TIME = 100
"""After this many entries, other tasks of the event loop get a turn."""
_MOST_PAGES = 60
_ENDS_REMEMBERED = 100
"""Ends that single polls have found, kept to see whether the list still shows them as running."""


@dataclass(slots=True)
class _Read:
    """The instances that one read of the lists looks for, and those that it has found.

    :param missing: the ids that were not listed so far, each with its type if that is known.
    """

    missing: dict[str, int | None]
    most_pages: int
    requests: int = 0
    running: set[str] = field(default_factory=set)
    is_whole: bool = True
    """Whether each list was read to its end, as far as something was looked for in it."""

    def wants(self, type: int) -> bool:
        """Return whether another page of this type may pay."""
        return sum(known in (None, type) for known in self.missing.values()) >= WORTH


class RunningList:
    """Show which of the waits run. Lives on one event loop.

    :param run: carries out what is asked of the gateway.
    :param see: is called with the type of a list, and with each instance that it shows.
    """

    def __init__(self, run: Run, see: Callable[[int, FlowInstance], None]) -> None:
        self._run = run
        self._see = see
        self._style = ListStyle(*calls.SORT_FIELDS)
        self._types = Counter[int]()
        """How many waits the list of each type has shown."""
        self._freshness = Trust(_LOOKS_BY_LIST, start=_LOOKS_BY_LIST)
        self._found: dict[str, float] = {}
        """Ends that single polls have found, and when."""
        self._backoff = ListBackoff("the flow instances that run", self._now)
        self.is_short = True
        """Whether one request answers for most waits, so that the list costs no more than a single poll."""

    @property
    def is_ready(self) -> bool:
        """Return whether the list may be read now."""
        return self._backoff.is_over

    @property
    def is_trusted(self) -> bool:
        """Return whether the list has not been wrong, or was right often enough since then."""
        return self._freshness.level >= _LOOKS_BY_LIST

    def found(self, flow_instance_id: str) -> None:
        """Note that a single poll has found that this instance has ended."""
        self._found[flow_instance_id] = self._now()
        if len(self._found) > _ENDS_REMEMBERED:
            del self._found[next(iter(self._found))]

    async def choose(
        self, waits: Iterable[Wait], due: set[Wait], is_soon: Callable[[Wait], bool]
    ) -> tuple[set[Wait], set[Wait]]:
        """Return the waits for which the list should answer, and those of them to poll singly, too, to check the list.

        :param due: those for which it is read; ``is_soon``: returns whether another one will be due soon.
        """
        listed, to_check, now = set[Wait](), set[Wait](), self._now()
        for number, wait in enumerate(waits, 1):
            if wait in due or self._may_answer_for(wait, is_soon, now):
                listed.add(wait)
                if self.is_trusted and random.random() * _CHECKED_AFTER * wait.poll_interval < now - wait.seen:
                    to_check.add(wait)
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)
        return listed, to_check

    @staticmethod
    def _may_answer_for(wait: Wait, is_soon: Callable[[Wait], bool], now: float) -> bool:
        # One that no list has shown is always looked for, but in its first seconds a list may not know it.
        is_wanted = wait.begun + LATE <= now if wait.type is None else is_soon(wait)
        return is_wanted and wait.may_be_listed and not wait.is_unlisted

    async def show(self, candidates: Collection[Wait]) -> set[Wait]:
        """Read the list if that may pay, and call ``see`` for each entry; return the waits that it has shown."""
        waits = [
            wait
            for wait in candidates
            if wait.may_be_listed and not wait.is_unlisted and not self._is_single_look_due()
        ]
        if len(waits) < WORTH:
            return set()
        read = _Read({wait.id: wait.type for wait in waits}, most_pages=min(len(waits) // WORTH, _MOST_PAGES))
        begun, knows_type = self._now(), bool(self._types)
        error: EnosError | TimeoutError | None = None
        try:
            async with asyncio.timeout(_LONGEST_READ):
                await self._read(self._window(waits), read)
        except (EnosError, TimeoutError) as failure:
            error, read.is_whole = failure, False
        self._check_freshness(begun, read)
        for wait in waits if read.is_whole else ():
            wait.is_unlisted = wait.id in read.missing
        shown = {wait for wait in waits if wait.id not in read.missing}
        # Other types are asked for only until one is known.
        has_most = 2 * len(shown) >= len(waits)
        self.is_short = has_most and (read.requests == 1 or not knows_type)
        if len(shown) >= WORTH * read.requests:
            self._backoff.worked()
        elif error is not None or not has_most:
            self._backoff.failed(error)
        return shown

    def _is_single_look_due(self) -> bool:
        return not self.is_trusted and random.random() * self._freshness.level < 1.0

    async def _read(self, window: Window, read: _Read) -> None:
        """Read the list of each type as long as another page may pay."""
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
            if one.flow_instance_id in read.missing:
                del read.missing[one.flow_instance_id]
                self._types[type] += 1
            self._see(type, one)
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)

    def _check_freshness(self, begun: float, read: _Read) -> None:
        """Compare the list with ends that single polls had found some time before this read began."""
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
