"""Decide when each wait of a poller is polled next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count

from airflow_provider_enos.client.polling.wait import Wait

AT_A_TIME = 500
"""After this many waits, other tasks of the event loop get a turn."""


class DueQueue:
    """A priority queue of waits, by when they are due. Lives on one event loop.

    A wait may be in it several times. Only the entry with the time in ``wait.due`` counts.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Wait]] = []
        self._numbers = count()
        self._sooner = asyncio.Event()
        """Set when a wait is due before all others."""

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, wait: Wait, pause: float) -> None:
        """Make a wait due in ``pause`` seconds, but not later than its deadline."""
        wait.due = self._now() + min(pause, max(wait.left, 0.0))
        if not self._entries or wait.due < self._entries[0][0]:
            self._sooner.set()
        heappush(self._entries, (wait.due, next(self._numbers), wait))

    async def first(self) -> Wait:
        """Return the first wait, once it is due."""
        while True:
            left = self._entries[0][0] - self._now() if self._entries else None
            if left is not None and left <= 0:
                return self._entries[0][2]
            self._sooner.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._sooner.wait(), left)

    async def take(self, postpone: Callable[[Wait], float]) -> set[Wait]:
        """Take the waits that are due out of the queue, and mark them as asked for.

        :param postpone: returns for how many seconds to put a wait back that is due; not above 0: take it.
        """
        taken, now, popped = set[Wait](), self._now(), 0
        while self._entries and self._entries[0][0] <= now:
            at, _, wait = heappop(self._entries)
            if at == wait.due and not wait.is_asked and not wait.result.done():
                pause = postpone(wait)
                if pause > 0:
                    self.add(wait, pause)
                else:
                    wait.is_asked = True
                    taken.add(wait)
            popped += 1
            if popped % AT_A_TIME == 0:
                await asyncio.sleep(0)
        return taken

    def drop_stale(self, waits: int) -> None:
        """Drop the entries that do not count, if there are many more than there are ``waits``."""
        if len(self._entries) > 4 * waits + AT_A_TIME:
            self._entries = [entry for entry in self._entries if entry[0] == entry[2].due]
            heapify(self._entries)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
