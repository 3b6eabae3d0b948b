"""The feed of ends: one list that tells all who wait for a gateway and tenant what has ended since the last read.

Whoever waits for an instance, for a window of trigger times or for the ends of a flow adds an ``Interest``. Being right
never depends on the feed: ``patience`` says for how many poll intervals its silence is enough, which is learned from
what it tells, and is none while it fails, is read in part, or has missed an end that somebody else found.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from dataclasses import dataclass
from typing import Protocol

from airflow_provider_enos.client.polling import metrics
from airflow_provider_enos.client.polling.list_pauses import ListPauses
from airflow_provider_enos.errors import EnosError, EnosRateLimitError
from airflow_provider_enos.protocol.follow import pace
from airflow_provider_enos.protocol.follow.end_feed import EndFeed, Mark, Reading
from airflow_provider_enos.protocol.follow.listing import ListStyle
from airflow_provider_enos.protocol.follow.trust import Trust
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure, T

_log = logging.getLogger(__name__)

MANY = 20
"""From how many looks an interval on a feed is read."""
LATE = 5.0
"""Seconds after which an end that was found otherwise counts as missed."""
_MOST_PATIENCE = 10
"""Poll intervals for which the silence of a feed is enough at the most."""
_LONGEST_READ = 30.0
_FEWEST_PAGES, _MOST_PAGES = 3, 25
_SLOWEST = 16
_AT_A_TIME = 50
"""After so many who are told, others have the event loop."""
_MARGIN = 86_400_000
"""Milliseconds by which the window reaches further than those who wait: for whoever comes next."""
_SHRINK = 60.0
"""Seconds after which the window is made anew, for whoever has left."""


@dataclass(eq=False, slots=True)
class Interest:
    """What somebody wants to hear of.

    :param of: the id of an instance, or of a flow.
    :param first, end: the trigger times in question, epoch milliseconds; None where they are not known.
    :param looks: requests of a look without the feed.
    :param poll_interval: seconds from one such look to the next.
    :param types: those under which the list has it; None where that is to be found out.
    :param told: is given what the feed has shown.
    """

    of: str | int
    first: int | None
    end: int | None
    looks: int
    poll_interval: float
    types: tuple[int, ...] | None
    told: Callable[[FlowInstance], None]


class Run(Protocol):
    """Carries out a procedure."""

    def __call__(self, procedure: Procedure[T]) -> Awaitable[T]: ...


class Feed:
    """Reads the feed for all who are interested, as long as they are many. Lives on one event loop.

    :param run: carries out what is asked of the gateway.
    :param on_loss: is called when its silence is not enough any more.
    """

    def __init__(self, run: Run, on_loss: Callable[[], Awaitable[None]]) -> None:
        self._run = run
        self._on_loss = on_loss
        self._interests: dict[str | int | None, list[Interest]] = {}
        """By the id of an instance or of a flow."""
        self._looks = 0
        """Of all interests together, each interval."""
        self._looks_a_second = 0.0
        self._wanted_types: Counter[int | None] = Counter()
        """How many have named each type; None: have named none."""
        self._span: tuple[int, int] | None = None
        """Trigger times that somebody waits for, or has waited for a while ago."""
        self._spanned_at = 0.0
        self._style = ListStyle(*calls.END_FIELDS)
        self._feeds: dict[int, EndFeed] = {}
        self._types: set[int] = set()
        """Those under which instances were shown that somebody waits for."""
        self._trust = Trust(_MOST_PATIENCE)
        self._pauses = ListPauses()
        self._slowness = 1.0
        self._requests = len(calls.ALL_FLOW_TYPES)
        """Of the last read."""
        self._found: dict[str, float] = {}
        """Ends that were found otherwise, and when: the feed is to tell them, too."""
        self._window: Window | None = None
        """What it has been read for; None while its silence says nothing."""
        self._sound_since = 0.0
        self._read_at = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def patience(self) -> float:
        """Return for how many poll intervals its silence is enough; 1 where each wait has to look itself."""
        return self._trust.level if self._window is not None else 1.0

    @property
    def sound_since(self) -> float:
        """Return from when on it would have shown an end, by the event loop's clock."""
        return self._sound_since

    def covers(self, first: int | None, end: int | None) -> bool:
        """Return whether it would show ends with a trigger time from ``first`` up to ``end``."""
        window = self._window
        return window is not None and first is not None and window.first <= first and (end or first) <= window.end

    def mark(self, flow_instance_id: str) -> Mark | None:
        """Return the last end that it has shown of this instance."""
        marks = (feed.mark(flow_instance_id) for feed in self._feeds.values())
        return next((mark for mark in marks if mark is not None), None)

    def add(self, interest: Interest) -> None:
        """Tell this one, too. Read the feed if there are enough now."""
        self._interests.setdefault(interest.of, []).append(interest)
        self._count(interest, 1)
        self._span = _span(self._span, (interest,))
        if self._looks >= MANY and (self._task is None or self._task.done()):
            # What it says itself belongs to no task's log.
            self._task = asyncio.create_task(self._read_on(), name="enos-feed", context=Context())

    def remove(self, interest: Interest) -> None:
        """Tell this one no more."""
        others = self._interests[interest.of]
        others.remove(interest)
        if not others:
            del self._interests[interest.of]
        self._count(interest, -1)

    def _count(self, interest: Interest, sign: int) -> None:
        if interest.first is not None:
            self._looks += sign * interest.looks
            self._looks_a_second += sign * interest.looks / interest.poll_interval
            self._wanted_types.update(dict.fromkeys(interest.types or (None,), sign))

    def shown_under(self, type: int) -> None:
        """Note that a list of this type has shown an instance that somebody waits for."""
        self._types.add(type)

    def found(self, flow_instance_id: str) -> None:
        """Note that this has ended, by the word of a single look."""
        if self._window is not None:
            self._found[flow_instance_id] = self._now()

    async def was_wrong(self, times: int = 1) -> None:
        """Note that the feed has not shown an end in time, or has shown one that a single look denies."""
        metrics.count("missed_ends", times)
        self._trust.fail()
        await self._on_loss()

    async def close(self) -> None:
        """End the reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read_on(self) -> None:
        while self._looks >= MANY:
            begun = self._now()
            try:
                pause = await self._read()
            except Exception:  # noqa: BLE001
                # A fault of ours must not leave anybody waiting for what is not read.
                _log.exception("Cannot read the list of ends")
                pause = await self._failed(None)
            # Not in step with whatever else comes round evenly.
            await asyncio.sleep(begun + pause * random.uniform(1.0, 1.1) - self._now())
        self._window = None
        self._feeds.clear()
        self._found.clear()

    async def _read(self) -> float:
        """Read it once; return the seconds from the beginning of this read to the next."""
        begun, window = self._now(), self._whole_window()
        try:
            async with asyncio.timeout(_LONGEST_READ):
                is_sound = await self._read_all(window)
        except (EnosError, TimeoutError) as error:
            return await self._failed(error)
        self._pauses.worked()
        self._slowness = max(self._slowness * 0.9, 1.0)
        await self._note(window if is_sound else None, begun)
        return self._pause()

    async def _read_all(self, window: Window) -> bool:
        """Read the ends of each type; return whether the silence of all of them means something."""
        is_sound, requests, confirmations = True, 0, 0
        for type in self._read_types():
            feed = self._feeds.setdefault(type, EndFeed(type, self._style))
            reading = await self._run(feed.read(window, self._most_pages()))
            requests += reading.requests
            confirmations += reading.confirmations
            is_sound = is_sound and reading.is_sound
            await self._tell(type, reading)
        self._requests = requests
        self._trust.confirm(confirmations)
        return is_sound

    async def _tell(self, type: int, reading: Reading) -> None:
        """Tell those who wait for an instance what is shown of it, and those who wait for a flow what is new."""
        told = 0
        new = {one.flow_instance_id for one in reading.new}
        for one in reading.shown:
            of_flow = self._interests.get(one.flow_id, ()) if one.flow_instance_id in new else ()
            of_instance = self._interests.get(one.flow_instance_id, ())
            if of_instance:
                self.shown_under(type)
            for interest in (*of_instance, *of_flow):
                if interest.types is None or type in interest.types:
                    interest.told(one)
                    told += 1
                    if told % _AT_A_TIME == 0:
                        await asyncio.sleep(0)

    async def _note(self, window: Window | None, begun: float) -> None:
        """Note for which window a read that began then was sound; None for no window."""
        had = self._window
        self._window = window
        if window is None:
            if had is not None:
                await self._on_loss()
            return
        self._read_at = begun
        if had is None:
            self._sound_since = begun
        metrics.gauge("feed_age", self._now() - begun)
        await self._judge(begun)

    async def _judge(self, begun: float) -> None:
        """Compare the ends that single looks have found, some time before this read began, with what it has shown."""
        due = [id for id, at in self._found.items() if at + LATE <= begun]
        missed = [id for id in due if self.mark(id) is None]
        for id in due:
            del self._found[id]
        if missed:
            _log.info("The list of ends does not show %s, which has ended: looking more closely", missed[0])
            await self.was_wrong(len(missed))

    async def _failed(self, error: EnosError | TimeoutError | None) -> float:
        pause = self._pauses.failed(error)
        if error is not None and self._pauses.failures == 1:
            why = str(error) or f"it takes longer than {_LONGEST_READ:.0f} s"
            _log.warning("Cannot list the ends of flow instances, looking at each singly: %s", why)
        if isinstance(error, EnosRateLimitError):
            self._slowness = min(self._slowness * 2, _SLOWEST)
        metrics.gauge("feed_age", self._now() - self._read_at)
        if self._window is not None:
            self._window = None
            await self._on_loss()
        return max(pause, self._pause())

    def _pause(self) -> float:
        looks = max(self._looks_a_second, 0.01)
        interval = self._looks / looks
        return self._slowness * pace.feed_pause(self._requests, looks, interval)

    def _most_pages(self) -> int:
        return min(max(_FEWEST_PAGES, self._looks // MANY), _MOST_PAGES)

    def _read_types(self) -> list[int]:
        wanted = self._wanted_types
        # Where nothing has been shown yet that somebody waits for, it may be of any type.
        unknown = wanted[None] > 0 and not self._types
        return [type for type in calls.ALL_FLOW_TYPES if unknown or wanted[type] > 0 or type in self._types]

    def _whole_window(self) -> Window:
        """Return all trigger times that somebody waits for, and some more for whoever comes next."""
        if self._span is None or self._now() > self._spanned_at + _SHRINK:
            self._span = _span(None, (one for ones in self._interests.values() for one in ones))
            self._spanned_at = self._now()
        first, end = self._span or (0, 0)
        return Window(max(first - first % _MARGIN - _MARGIN, 0), end - end % _MARGIN + 2 * _MARGIN)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _span(span: tuple[int, int] | None, interests: Iterable[Interest]) -> tuple[int, int] | None:
    """Return the first and the last of all trigger times that are known."""
    for one in interests:
        if one.first is not None:
            first, end = span or (one.first, one.first)
            span = min(first, one.first), max(end, one.end or one.first)
    return span
