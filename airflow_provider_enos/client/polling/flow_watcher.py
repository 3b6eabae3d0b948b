"""Looks at flows again and again, for all who watch flows of one gateway and tenant: for the triggerer.

Few flows: the list of each. Many: one list of everything, from which each takes its own, as long as that pays. The
whole window of trigger times is looked at now and then, the last day's every time.

The feed of ends tells of which flow to look at once. As long as it is trusted, the others are looked at less often.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from time import time

from airflow_provider_enos.client import timing
from airflow_provider_enos.client.polling.feed import Feed, Interest
from airflow_provider_enos.client.polling.list_pauses import ListPauses
from airflow_provider_enos.client.polling.poller import Poller
from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.follow.flow_events import Stretch, instances_in, instances_of
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.trigger_time import stamp_of_id
from airflow_provider_enos.protocol.wire import calls

_log = logging.getLogger(__name__)

_FEW = 8
"""Up to so many flows, each is listed for itself."""
_PAGES_A_FLOW = 3
"""A list of everything that takes more pages does not pay: each flow takes one of each type, at least."""
_WHOLE = 600.0
"""Seconds between two looks at the whole window."""
_LOOKS_AFTER_AN_END = 2
"""Regular looks at a flow after the one that an end has led to: what was held back then is told at one of them."""
_HOUR, _DAY = 3_600_000, 86_400_000


@dataclass(eq=False, slots=True)
class Look:
    """What one look has shown: for each flow that it was at, all its instances in the window."""

    window: Stretch
    flows: dict[int, list[FlowInstance]]
    is_complete: bool
    """Whether no flow that is watched had to be left out of it, since it could not be listed."""
    read: Callable[[str], Awaitable[FlowInstance]]
    """Reads one instance."""
    when_told: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What those who were shown it want done once all that they made of it is stored."""


class Watched:
    """The flows that are watched through one stream."""

    def __init__(self) -> None:
        self._flows: Counter[int] = Counter()
        self._more = asyncio.Event()
        self.new: set[int] = set()
        """Those that somebody watches who has not been shown the whole window yet."""
        self.holding: set[Hashable] = set()
        """Those who hold back what they have seen, and want a look to tell it at, even if EnOS does not answer."""

    @property
    def flows(self) -> set[int]:
        """Those watched now."""
        return set(self._flows)

    def add(self, flow_id: int) -> None:
        """One more watches this flow."""
        self._flows[flow_id] += 1
        self.new.add(flow_id)
        self._more.set()

    def remove(self, flow_id: int) -> None:
        """One fewer does."""
        self._flows[flow_id] -= 1
        self._flows += Counter()
        self.new &= self.flows

    def take_new(self) -> set[int]:
        """Return those who have come, so that ``more`` waits for others."""
        self._more.clear()
        return set(self.new)

    def show_all_again(self, flow_id: int) -> None:
        """Show the whole window of this flow at the next look: somebody could make nothing of the last one."""
        if flow_id in self._flows:
            self.new.add(flow_id)

    def wake(self) -> None:
        """End ``more``: there is something to look at."""
        self._more.set()

    async def more(self, seconds: float | None = None) -> None:
        """Wait for somebody to come, or for ``wake``, or for so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._more.wait(), seconds)


_streams: dict[tuple[asyncio.AbstractEventLoop, Hashable], tuple[Watched, int]] = {}


@contextmanager
def stream(key: Hashable) -> Iterator[Watched]:
    """The flows that are watched through the stream of this key on this event loop."""
    place = (asyncio.get_running_loop(), key)
    watched, users = _streams.get(place) or (Watched(), 0)
    _streams[place] = (watched, users + 1)
    try:
        yield watched
    finally:
        _, users = _streams.pop(place)
        if users > 1:
            _streams[place] = (watched, users - 1)


class Watcher:
    """Looks at what is watched.

    :param poll_interval: seconds between two looks.
    :param lookback: seconds that the window reaches back.
    """

    def __init__(self, watched: Watched, *, poll_interval: float, lookback: float) -> None:
        self._watched = watched
        self._poll_interval = poll_interval
        self._lookback = lookback
        self._whole_at = 0.0
        self._pauses = {True: ListPauses(), False: ListPauses()}
        self._apart_until = {True: 0.0, False: 0.0}
        """Until when there is no list of everything for the whole window, and for the last day."""
        self._interests: dict[int, Interest] = {}
        self._woken: dict[int, bool] = {}
        """The flows of which the feed has shown an end, and whether one of more than a day ago."""
        self._again: dict[int, int] = {}
        """At how many more regular looks a flow is looked at in any case."""
        self._regular_at = 0.0
        self._all_at = 0.0
        """When the next regular look is due, and when all flows were looked at the last time."""

    async def looks(self, poller: Poller) -> AsyncGenerator[Look, None]:
        """One look after the other, for ever. Raises what goes wrong, after what has not; it can be called again."""
        try:
            while True:
                while not self._watched.flows:
                    self._watched.take_new()
                    await self._watched.more()
                self._follow(poller.feed)
                if self._watched.holding:
                    # Before EnOS is asked, which may take its time.
                    yield Look(Stretch.at(time(), self._lookback, whole=False), {}, False, partial(_read, poller))
                new, error = self._watched.take_new(), None
                if new:
                    # Those who have just come do not have to wait for the others.
                    look, error = await self._look(poller, new, is_first=True)
                    if look is not None:
                        yield look
                # Nor the others for those who come, or for one that cannot be listed.
                others = self._watched.flows - new
                due = others if error is not None else others & (self._woken.keys() | self._regular(poller.feed))
                if due:
                    look, failure = await self._look(poller, due)
                    if look is not None:
                        look.is_complete = look.is_complete and error is None
                        yield look
                    error = error or failure
                if new | due >= self._watched.flows:
                    self._regular_at = self._now() + timing.poll_pause(self._poll_interval)
                if error is not None:
                    raise error
                if not self._woken:
                    await self._watched.more(max(self._regular_at - self._now(), 0))
        finally:
            self._follow(poller.feed, set())

    def _follow(self, feed: Feed, flows: set[int] | None = None) -> None:
        """Have the feed tell of all flows that are watched, or of these, and of no others."""
        flows = self._watched.flows if flows is None else flows
        for flow_id in self._interests.keys() - flows:
            feed.remove(self._interests.pop(flow_id))
        now = int(time() * 1000)
        for flow_id in flows - self._interests.keys():
            self._interests[flow_id] = Interest(
                of=flow_id,
                first=now - int(self._lookback * 1000),
                end=now + _DAY,
                looks=len(calls.ALL_FLOW_TYPES),
                poll_interval=self._poll_interval,
                types=calls.ALL_FLOW_TYPES,
                told=partial(self._told, flow_id),
            )
            feed.add(self._interests[flow_id])

    def _told(self, flow_id: int, instance: FlowInstance) -> None:
        stamp = stamp_of_id(instance.flow_instance_id)
        is_old = stamp is None or stamp < time() * 1000 - _DAY + _HOUR
        self._woken[flow_id] = is_old or self._woken.get(flow_id, False)
        self._again[flow_id] = _LOOKS_AFTER_AN_END
        self._watched.wake()

    def _regular(self, feed: Feed) -> set[int]:
        """Return the flows to look at if a regular look is due: all, or those that the feed told of a while ago."""
        now = self._now()
        if now < self._regular_at:
            return set()
        self._regular_at = now + timing.poll_pause(self._poll_interval)
        rests = self._all_at > feed.sound_since and all(
            feed.covers(one.first, one.end) for one in self._interests.values()
        )
        pause = self._poll_interval * (feed.patience if rests else 1.0)
        if time() >= self._whole_at or now >= self._all_at + 0.9 * pause:
            self._all_at = now
            return self._watched.flows
        again = self._again.keys() & self._watched.flows
        self._again = {flow_id: looks - 1 for flow_id, looks in self._again.items() if looks > 1}
        return again

    async def _look(
        self, poller: Poller, flows: set[int], *, is_first: bool = False
    ) -> tuple[Look | None, EnosError | None]:
        """What there is to be seen of these; and an error, where some are missing."""
        whole = is_first or time() >= self._whole_at or any(self._woken.get(flow_id) for flow_id in flows)
        window = Stretch.at(time(), self._lookback, whole=whole)
        found, error = await self._list(poller, flows, window)
        if whole:
            # Who was to be shown the whole window and was not is as one who has just come.
            self._watched.new = ((self._watched.new | flows) - found.keys()) & self._watched.flows
        for flow_id in found:
            self._woken.pop(flow_id, None)
        if whole and self._watched.flows <= flows | self._watched.new:
            self._whole_at = time() + _WHOLE
        look = Look(window, found, error is None, partial(_read, poller)) if found else None
        return look, error

    async def _list(
        self, poller: Poller, flows: set[int], window: Stretch
    ) -> tuple[dict[int, list[FlowInstance]], EnosError | None]:
        """The instances of each flow; and an error, where some are missing."""
        together = await self._list_together(poller, flows, window)
        if together is not None:
            return together, None
        found: dict[int, list[FlowInstance]] = {}
        error: EnosError | None = None
        for flow_id in sorted(flows):
            try:
                found[flow_id] = await poller.run(instances_in(window, flow_id))
            except EnosError as failure:
                error = error or failure
        return found, error

    async def _list_together(
        self, poller: Poller, flows: set[int], window: Stretch
    ) -> dict[int, list[FlowInstance]] | None:
        """The same from one list of everything; None where there is none: it fails, or does not pay."""
        if len(flows) <= _FEW or time() < self._apart_until[window.whole]:
            return None
        pauses, failure = self._pauses[window.whole], None
        try:
            found = await poller.run(instances_of(window, flows, most_pages=_PAGES_A_FLOW * len(flows)))
        except EnosError as error:
            _log.warning("Cannot list flow instances for all who watch, listing each flow: %s", error)
            found, failure = None, error
        if found is None:
            self._apart_until[window.whole] = time() + pauses.failed(failure)
        else:
            pauses.worked()
        return found

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _read(poller: Poller, flow_instance_id: str) -> FlowInstance:
    return await poller.call(calls.get_flow_instance(flow_instance_id))
