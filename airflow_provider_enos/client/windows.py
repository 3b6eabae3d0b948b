"""Waiting for windows of trigger times: for the triggerer.

Few waiting: each lists its own window. Many: one list over the union of all windows tells each of them whether anything
has changed since it listed its own, and only where something has does it list its own again.

Being right never depends on that list: which instances lie in a window, and what follows, comes of the wait's own look
alone, which it also has first, after an error, now and then, and always while the list fails, takes more pages than
pay, or does not reach as far as its window.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass, field
from time import time
from typing import Protocol

from airflow_provider_enos.client.failures import LIST_AGAIN, list_pause
from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.messages import Procedure, T
from airflow_provider_enos.protocol.models import FlowInstance, FlowStatus
from airflow_provider_enos.protocol.windows import FlowWatch, Verdict, Wanted, Window, look, overview

_log = logging.getLogger(__name__)

_MANY = 10
"""From how many waits on they look at one list."""
_FRESH = 0.1
"""As a part of the poll interval: how old that list may be. A change is seen so much later at the most."""
_GATHER = 0.02
"""Seconds to wait for others once somebody asks for the list."""
_OWN_LOOK, _OWN_LOOK_UNSHOWN = 80, 10
"""After so many looks at the common list a wait looks at its own; if that has not shown the flow yet."""
_WAITS_A_PAGE, _FEWEST_PAGES = 8, 4
"""A list of more pages than this does not pay: so many waits could have listed their own in that time."""

Statuses = dict[str, FlowStatus]


class Run(Protocol):
    """Carries out a procedure within the limits of all who wait for a gateway."""

    def __call__(self, procedure: Procedure[T]) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True)
class _Overview:
    """What the common list showed, and what it was asked for. ``at``: when, by the event loop's clock."""

    at: float
    window: Window
    types: frozenset[int]
    flow_ids: frozenset[int]
    instances: dict[tuple[int, int], list[FlowInstance]]
    """By type and flow."""

    def reaches(self, wanted: Wanted) -> bool:
        """Whether all that is wanted would be in it."""
        return (
            wanted.flow_id in self.flow_ids
            and self.types.issuperset(wanted.rules.types)
            and self.window.first <= wanted.window.first
            and wanted.window.end <= self.window.end
        )

    def statuses(self, wanted: Wanted) -> Statuses:
        """Of the instances that count, in the window that is wanted or outside of it."""
        return {
            one.flow_instance_id: one.status
            for type in wanted.rules.types
            for one in self.instances.get((type, wanted.flow_id), ())
            if wanted.counts(one)
        }


@dataclass(eq=False, slots=True)
class _Wait:
    """Somebody who waits for a window."""

    watch: FlowWatch
    poll_interval: float
    outside: set[str] = field(default_factory=set)
    """Instances of the flow that the common list shows and that are not in the window."""
    is_shown: bool = False
    """Whether the common list has shown the flow."""
    looks: int = field(default_factory=lambda: random.randrange(_OWN_LOOK))

    @property
    def wanted(self) -> Wanted:
        return self.watch.wanted

    def may_share(self) -> bool:
        """Whether the common list could tell this time that nothing has changed."""
        self.looks += 1
        own_look = _OWN_LOOK if self.is_shown else _OWN_LOOK_UNSHOWN
        return self.watch.listed is not None and self.looks % own_look != 0

    def has_news(self, statuses: Statuses) -> bool:
        """Whether the common list shows anything else than the last own look, in or perhaps in the window."""
        self.is_shown |= bool(statuses)
        return self._inside(statuses) != self.watch.listed

    def looked(self, statuses: Statuses) -> None:
        """It has listed its own after the common list had shown these: what it did not show lies outside."""
        if self.watch.listed is not None:
            self.outside = (self.outside | statuses.keys()) - self.watch.listed.keys()

    def _inside(self, statuses: Statuses) -> Statuses:
        return {one: status for one, status in statuses.items() if one not in self.outside}


class WindowPoller:
    """Looks at windows for all who wait for them. Part of a ``Poller``; lives on its event loop.

    :param spread: makes of a poll interval the seconds to the next look.
    """

    def __init__(self, run: Run, spread: Callable[[float], float]) -> None:
        self._run = run
        self._spread = spread
        self._waits: set[_Wait] = set()
        self._overview: _Overview | None = None
        self._listing: asyncio.Task[None] | None = None
        self._list_from = 0.0

    async def wait(self, watch: FlowWatch, *, poll_interval: float, deadline: float) -> Verdict:
        """Return the verdict, once there is one. Raise ``EnosFlowTimeoutError`` at the ``deadline``, an epoch time.

        A refusal is raised without asking the watch: the caller reads the connection again.
        """
        wait = _Wait(watch, poll_interval)
        self._waits.add(wait)
        try:
            while True:
                verdict = await self._look(wait, deadline)
                if verdict is not None and verdict.over:
                    return verdict
                left = deadline - time()
                if left <= 0:
                    raise watch.out_of_time()
                await asyncio.sleep(min(self._spread(poll_interval), left))
        finally:
            self._waits.discard(wait)

    async def close(self) -> None:
        """Ends the list that is under way."""
        if self._listing is not None:
            self._listing.cancel()
            await asyncio.gather(self._listing, return_exceptions=True)

    async def _look(self, wait: _Wait, deadline: float) -> Verdict | None:
        """The verdict; None where there is nothing new, or an error that is waited through."""
        statuses = await self._statuses_for(wait)
        if statuses is not None and not wait.has_news(statuses):
            return None
        verdict = await self._run(look(wait.watch, clock=time, deadline=deadline, raises_refusals=True))
        if statuses is not None:
            wait.looked(statuses)
        return verdict

    async def _statuses_for(self, wait: _Wait) -> Statuses | None:
        """What the common list shows of the flow; None where it cannot tell whether the window has changed."""
        if not wait.may_share() or len(self._waits) < _MANY:
            return None
        if not self._is_fresh_for(wait):
            if self._now() < self._list_from:
                return None
            if self._listing is None or self._listing.done():
                # What it says itself belongs to no task's log.
                self._listing = asyncio.create_task(self._list(), name="enos-windows", context=Context())
            # It goes on for the others when this one is cancelled.
            await asyncio.shield(self._listing)
        overview = self._overview
        return overview.statuses(wait.wanted) if overview is not None and overview.reaches(wait.wanted) else None

    def _is_fresh_for(self, wait: _Wait) -> bool:
        return self._overview is not None and self._overview.at >= self._now() - _FRESH * wait.poll_interval

    async def _list(self) -> None:
        self._overview = None
        await asyncio.sleep(_GATHER)
        wanted = [wait.wanted for wait in self._waits]
        if not wanted:
            return
        at = self._now()
        window = Window(min(one.window.first for one in wanted), max(one.window.end for one in wanted))
        types = frozenset(type for one in wanted for type in one.rules.types)
        flow_ids = frozenset(one.flow_id for one in wanted)
        most_pages = max(_FEWEST_PAGES, len(wanted) // _WAITS_A_PAGE)
        try:
            found = await self._run(overview(window, types, flow_ids, most_pages=most_pages))
        except EnosError as error:
            _log.warning("Cannot list flow instances for all, each looks for itself: %s", error)
            self._list_from = self._now() + list_pause(error)
            return
        if found is None:
            self._list_from = self._now() + LIST_AGAIN
            return
        instances: dict[tuple[int, int], list[FlowInstance]] = defaultdict(list)
        for type, flow_id, instance in found:
            instances[type, flow_id].append(instance)
        self._overview = _Overview(at, window, types, flow_ids, instances)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
