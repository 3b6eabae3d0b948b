"""The feed of ends: one list that shows for all waits of a gateway and tenant what has ended since the last read.

Each wait for an instance, for a window of trigger times, or for the ends of a flow adds a ``Subscription``. No wait
depends on the feed to be right. ``patience`` says for how many poll intervals a wait may skip its own polls while the
feed shows nothing of it. It grows each time that the feed proves right. It is lost if the feed fails, is read only in
part, or has missed an end that a single poll found.
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
from airflow_provider_enos.client.polling.list_backoff import ListBackoff
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
"""The feed is read if the subscriptions replace at least this many polls a poll interval."""
_LINGERS = 20.0
"""Seconds for which the feed is still read after that, so that it does not stop and start with each wait."""
LATE = 5.0
"""Seconds after which the feed should show an end that a single poll has found."""
_MOST_PATIENCE = 10
"""Poll intervals."""
_LONGEST_READ = 30.0
_FEWEST_PAGES, _MOST_PAGES = 3, 25
_MOST_SLOWNESS = 16
_AT_A_TIME = 50
"""After this many calls of subscribers, other tasks of the event loop get a turn."""
_MARGIN = 86_400_000
"""Milliseconds by which the window is larger than the subscriptions need, so that new ones fit in."""
_WINDOW_LIFETIME = 60.0
"""Seconds after which the window is computed anew, without the subscriptions that are gone."""


@dataclass(eq=False, slots=True)
class Subscription:
    """Which ends a wait wants to hear of.

    :param of: the id of an instance, or of a flow.
    :param first, end: the trigger times in question, epoch milliseconds; None where they are not known.
    :param looks: requests of one poll without the feed.
    :param poll_interval: seconds between two such polls.
    :param types: the types of instances; None where the type is not known.
    :param on_end: is called with each instance that the feed shows.
    """

    of: str | int
    first: int | None
    end: int | None
    looks: int
    poll_interval: float
    types: tuple[int, ...] | None
    on_end: Callable[[FlowInstance], None]


class Run(Protocol):
    """Carry out a procedure."""

    def __call__(self, procedure: Procedure[T]) -> Awaitable[T]: ...


class EndFeedReader:
    """Read the feed while there are many subscriptions. Lives on one event loop.

    :param run: carries out what is asked of the gateway.
    :param on_loss: is called when ``patience`` is lost: waits have to be polled singly again.
    """

    def __init__(self, run: Run, on_loss: Callable[[], Awaitable[None]]) -> None:
        self._run = run
        self._on_loss = on_loss
        self._subscriptions: dict[str | int | None, list[Subscription]] = {}
        """By the id of an instance or of a flow."""
        self._looks = 0
        """Of all subscriptions together, each poll interval."""
        self._looks_a_second = 0.0
        self._wanted_types: Counter[int | None] = Counter()
        """How many subscriptions name each type; None: name none."""
        self._span: tuple[int, int] | None = None
        """The first and the last trigger time of all subscriptions."""
        self._spanned_at = 0.0
        self._style = ListStyle(*calls.END_FIELDS)
        self._feeds: dict[int, EndFeed] = {}
        self._types: set[int] = set()
        """The types under which a list has shown an instance that has a subscription."""
        self._trust = Trust(_MOST_PATIENCE)
        self._backoff = ListBackoff("the ends of flow instances", self._now)
        self._slowness = 1.0
        self._requests = len(calls.ALL_FLOW_TYPES)
        """Of the last read."""
        self._found: dict[str, float] = {}
        """Ends that single polls have found, and when: the feed has to show them, too."""
        self._window: Window | None = None
        """The window that was read; None while ends may be missing from the feed."""
        self._sound_since = 0.0
        self._read_at = 0.0
        self._was_many_at = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def patience(self) -> float:
        """Return for how many poll intervals a wait may rely on the feed; 1: each wait has to be polled."""
        return self._trust.level if self._window is not None else 1.0

    @property
    def sound_since(self) -> float:
        """Return since when the feed shows all ends, by the event loop's clock."""
        return self._sound_since

    def covers(self, first: int | None, end: int | None) -> bool:
        """Return whether the feed shows ends with a trigger time from ``first`` up to, but not including, ``end``.

        None for ``end``: with the trigger time ``first``.
        """
        window = self._window
        if window is None or first is None:
            return False
        return window.first <= first and (first + 1 if end is None else end) <= window.end

    def mark(self, flow_instance_id: str) -> Mark | None:
        """Return the last end that the feed has shown of this instance."""
        marks = (feed.mark(flow_instance_id) for feed in self._feeds.values())
        return next((mark for mark in marks if mark is not None), None)

    def add(self, subscription: Subscription) -> None:
        """Add a subscription. Begin to read the feed if there are enough of them now."""
        self._subscriptions.setdefault(subscription.of, []).append(subscription)
        self._count(subscription, 1)
        self._span = _span(self._span, (subscription,))
        if self._looks >= MANY and (self._task is None or self._task.done()):
            # Its own log lines belong to no task's log.
            self._task = asyncio.create_task(self._read_on(), name="enos-feed", context=Context())

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscription."""
        others = self._subscriptions[subscription.of]
        others.remove(subscription)
        if not others:
            del self._subscriptions[subscription.of]
        self._count(subscription, -1)

    def _count(self, subscription: Subscription, sign: int) -> None:
        if subscription.first is not None:
            self._looks += sign * subscription.looks
            self._looks_a_second += sign * subscription.looks / subscription.poll_interval
            self._wanted_types.update(dict.fromkeys(subscription.types or (None,), sign))

    def shown_under(self, type: int) -> None:
        """Note that a list of this type has shown an instance that has a subscription."""
        self._types.add(type)

    def found(self, flow_instance_id: str) -> None:
        """Note that a single poll has found that this instance has ended."""
        if self._window is not None:
            self._found[flow_instance_id] = self._now()

    async def was_wrong(self, times: int = 1) -> None:
        """Note that the feed has missed an end, or has shown an end that a single poll denies."""
        metrics.count("missed_ends", times)
        self._trust.fail()
        await self._on_loss()

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read_on(self) -> None:
        while self._looks >= MANY:
            await self._read_while_many()
            self._window = None
            self._feeds.clear()
            self._found.clear()
            await self._on_loss()

    async def _read_while_many(self) -> None:
        while self._is_worth_reading():
            begun = self._now()
            try:
                pause = await self._read()
            except Exception:  # noqa: BLE001
                # After an error of this package no wait may rely on the feed.
                _log.exception("Cannot read the list of ends")
                pause = await self._failed(None)
            # At random, so that it does not keep step with other periodic work.
            await asyncio.sleep(begun + pause * random.uniform(1.0, 1.1) - self._now())

    def _is_worth_reading(self) -> bool:
        if self._looks >= MANY:
            self._was_many_at = self._now()
        return self._looks > 0 and self._now() < self._was_many_at + _LINGERS

    async def _read(self) -> float:
        """Read the feed once; return the seconds from the beginning of this read to the next one."""
        begun, window = self._now(), self._whole_window()
        try:
            async with asyncio.timeout(_LONGEST_READ):
                is_sound = await self._read_all(window)
        except (EnosError, TimeoutError) as error:
            return await self._failed(error)
        self._backoff.worked()
        self._slowness = max(self._slowness * 0.9, 1.0)
        await self._note(window if is_sound else None, begun)
        return self._pause()

    async def _read_all(self, window: Window) -> bool:
        """Read the ends of each type; return whether all lists were read as far as they have something new."""
        is_sound, requests, confirmations = True, 0, 0
        for type in self._read_types():
            feed = self._feeds.setdefault(type, EndFeed(type, self._style))
            reading = await self._run(feed.read(window, self._most_pages()))
            requests += reading.requests
            confirmations += reading.confirmations
            is_sound = is_sound and reading.is_sound
            await self._notify(type, reading)
        self._requests = requests
        self._trust.confirm(confirmations)
        return is_sound

    async def _notify(self, type: int, reading: Reading) -> None:
        """Call the subscribers of each instance that is shown, and the subscribers of each flow that has a new end."""
        called = 0
        new = {one.flow_instance_id for one in reading.new}
        for one in reading.shown:
            of_flow = self._subscriptions.get(one.flow_id, ()) if one.flow_instance_id in new else ()
            of_instance = self._subscriptions.get(one.flow_instance_id, ())
            if of_instance:
                self.shown_under(type)
            for subscription in (*of_instance, *of_flow):
                if subscription.types is None or type in subscription.types:
                    subscription.on_end(one)
                    called += 1
                    if called % _AT_A_TIME == 0:
                        await asyncio.sleep(0)

    async def _note(self, window: Window | None, begun: float) -> None:
        """Note the window for which the read that began at ``begun`` was complete; None: it was not complete."""
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
        await self._check_found_ends(begun)

    async def _check_found_ends(self, begun: float) -> None:
        """Compare the feed with ends that single polls had found some time before this read began."""
        due = [id for id, at in self._found.items() if at + LATE <= begun]
        missed = [id for id in due if self.mark(id) is None]
        for id in due:
            del self._found[id]
        if missed:
            _log.info("The list of ends does not show %s, which has ended: looking more closely", missed[0])
            await self.was_wrong(len(missed))

    async def _failed(self, error: EnosError | TimeoutError | None) -> float:
        pause = self._backoff.failed(error)
        if isinstance(error, EnosRateLimitError):
            self._slowness = min(self._slowness * 2, _MOST_SLOWNESS)
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
        # Until a list has shown an instance of a subscription without a type, it may be of any type.
        unknown = wanted[None] > 0 and not self._types
        return [type for type in calls.ALL_FLOW_TYPES if unknown or wanted[type] > 0 or type in self._types]

    def _whole_window(self) -> Window:
        """Return the trigger times of all subscriptions, and some more for the next ones."""
        if self._span is None or self._now() > self._spanned_at + _WINDOW_LIFETIME:
            self._span = _span(None, (one for ones in self._subscriptions.values() for one in ones))
            self._spanned_at = self._now()
        first, end = self._span or (0, 0)
        return Window(max(first - first % _MARGIN - _MARGIN, 0), end - end % _MARGIN + 2 * _MARGIN)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _span(span: tuple[int, int] | None, subscriptions: Iterable[Subscription]) -> tuple[int, int] | None:
    """Return ``span``, extended by the trigger times of these subscriptions."""
    for one in subscriptions:
        if one.first is not None:
            first, end = span or (one.first, one.first)
            span = min(first, one.first), max(end, one.end or one.first)
    return span
