"""Poll flows again and again, for all event triggers of one gateway and tenant.

Few flows: read the list of each. Many flows: read one list of everything, as long as that pays. Each poll reads the
last day; now and then a poll reads the whole window of trigger times.

The feed of ends shows which flow has to be polled now. While the feed is trusted, the others are polled less often.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from time import time

from airflow_provider_enos.client import timing
from airflow_provider_enos.client.polling.end_feed import EndFeedReader, Subscription
from airflow_provider_enos.client.polling.list_backoff import ListBackoff
from airflow_provider_enos.client.polling.poller import Poller
from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.follow.flow_events import LookWindow, instances_in, instances_of
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.trigger_time import stamp_of_id
from airflow_provider_enos.protocol.wire import calls

_FEW = 8
"""Up to this many flows, the list of each is read."""
_PAGES_A_FLOW = 3
"""One list of everything does not pay if it takes more pages: single lists take one of each type, at least."""
_WHOLE = 600.0
"""Seconds between two polls of the whole window."""
_LOOKS_AFTER_AN_END = 2
"""Regular polls of a flow after a poll because of an end: an end that was held back is reported then."""
_HOUR, _DAY = 3_600_000, 86_400_000


@dataclass(eq=False, slots=True)
class Look:
    """The result of one poll: for each flow that it has read, all its instances in the window."""

    window: LookWindow
    flows: dict[int, list[FlowInstance]]
    is_complete: bool
    """Whether all flows could be listed."""
    read: Callable[[str], Awaitable[FlowInstance]]
    """Reads one instance."""
    when_told: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What to do once Airflow has stored all events of this poll."""


class Watched:
    """The flows that are watched through one stream."""

    def __init__(self) -> None:
        self._flows: Counter[int] = Counter()
        self._more = asyncio.Event()
        self.new: set[int] = set()
        """The flows with a trigger that has not been shown the whole window yet."""
        self.holding: set[Hashable] = set()
        """The triggers that hold back events. They need a next poll to fire these, even if EnOS does not answer."""

    @property
    def flows(self) -> set[int]:
        """Return the flows that are watched now."""
        return set(self._flows)

    def add(self, flow_id: int) -> None:
        """Note that one more trigger watches this flow."""
        self._flows[flow_id] += 1
        self.new.add(flow_id)
        self._more.set()

    def remove(self, flow_id: int) -> None:
        """Note that one trigger less watches this flow."""
        self._flows[flow_id] -= 1
        self._flows += Counter()
        self.new &= self.flows

    def take_new(self) -> set[int]:
        """Return the new flows, and make ``more`` wait again."""
        self._more.clear()
        return set(self.new)

    def show_all_again(self, flow_id: int) -> None:
        """Have the next poll show the whole window of this flow: a trigger could not use the last poll."""
        if flow_id in self._flows:
            self.new.add(flow_id)

    def wake(self) -> None:
        """End ``more``, since there is something to poll."""
        self._more.set()

    async def more(self, seconds: float | None = None) -> None:
        """Wait for a new flow or for ``wake``, for ``seconds`` at most."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._more.wait(), seconds)


_streams: dict[tuple[asyncio.AbstractEventLoop, Hashable], tuple[Watched, int]] = {}


@contextmanager
def stream(key: Hashable) -> Iterator[Watched]:
    """Yield the flows that are watched through the stream with this key, on this event loop."""
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
    """Poll the flows that are watched.

    :param poll_interval: seconds between two polls.
    :param lookback: seconds that the whole window reaches back.
    """

    def __init__(self, watched: Watched, *, poll_interval: float, lookback: float) -> None:
        self._watched = watched
        self._poll_interval = poll_interval
        self._lookback = lookback
        self._whole_at = 0.0
        """When the next poll of the whole window is due, in epoch seconds."""
        self._backoff = {
            whole: ListBackoff(f"flow instances of {when} for all flows together", self._now)
            for whole, when in ((True, "the whole window"), (False, "the last day"))
        }
        self._subscriptions: dict[int, Subscription] = {}
        self._ended: dict[int, bool] = {}
        """The flows of which the feed has shown an end since they were last polled, each with whether the whole
        window has to be read to see it."""
        self._again: dict[int, int] = {}
        """For each flow, at how many more regular polls it is polled in any case."""
        self._regular_at = 0.0
        """When the next regular poll is due."""
        self._all_at = 0.0
        """When all flows were polled last."""

    async def looks(self, poller: Poller) -> AsyncGenerator[Look, None]:
        """Yield the result of one poll after the other, for ever.

        If some flows cannot be listed, the error is raised after the results for the others. Then call this again.
        """
        try:
            while True:
                while not self._watched.flows:
                    self._watched.take_new()
                    await self._watched.more()
                self._subscribe(poller.feed)
                if self._watched.holding:
                    # Before EnOS is asked, which may take its time.
                    yield Look(LookWindow.at(time(), self._lookback, whole=False), {}, False, partial(_read, poller))
                async with aclosing(self._round(poller)) as looks:
                    async for look in looks:
                        yield look
                if not self._ended:
                    await self._watched.more(max(self._regular_at - self._now(), 0))
        finally:
            self._unsubscribe(poller.feed, self._subscriptions.keys())

    async def _round(self, poller: Poller) -> AsyncGenerator[Look, None]:
        """Poll the new flows, then the others that are due; then raise the first error."""
        new, error = self._watched.take_new(), None
        if new:
            # They do not have to wait for the others.
            look, error = await self._look(poller, new, is_first=True)
            if look is not None:
                yield look
        # Nor do the others have to wait for them, or for a flow that cannot be listed.
        others = self._watched.flows - new
        due = others if error is not None else others & (self._ended.keys() | self._regular(poller.feed))
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

    def _subscribe(self, feed: EndFeedReader) -> None:
        """Subscribe to ends of the watched flows, for trigger times from the start of the whole window to tomorrow."""
        flows = self._watched.flows
        self._unsubscribe(feed, self._subscriptions.keys() - flows)
        self._ended = {flow_id: is_old for flow_id, is_old in self._ended.items() if flow_id in flows}
        window = LookWindow.at(time(), self._lookback, whole=True)
        for flow_id in flows - self._subscriptions.keys():
            self._subscriptions[flow_id] = Subscription(
                of=flow_id,
                first=window.first,
                end=window.end,
                looks=len(calls.ALL_FLOW_TYPES),
                poll_interval=self._poll_interval,
                types=calls.ALL_FLOW_TYPES,
                on_end=partial(self._note_end, flow_id),
            )
            feed.add(self._subscriptions[flow_id])
        for subscription in self._subscriptions.values():
            # The window moves on with time.
            subscription.first, subscription.end = window.first, window.end

    def _unsubscribe(self, feed: EndFeedReader, flows: Iterable[int]) -> None:
        for flow_id in list(flows):
            feed.remove(self._subscriptions.pop(flow_id))

    def _note_end(self, flow_id: int, instance: FlowInstance) -> None:
        """Note that the feed has shown an end of this flow."""
        stamp = stamp_of_id(instance.flow_instance_id)
        is_old = stamp is None or stamp < time() * 1000 - _DAY + _HOUR
        self._ended[flow_id] = is_old or self._ended.get(flow_id, False)
        self._again[flow_id] = _LOOKS_AFTER_AN_END
        self._watched.wake()

    def _regular(self, feed: EndFeedReader) -> set[int]:
        """Return the flows of a regular poll if it is due: all, or those with an end in the feed recently."""
        now = self._now()
        if now < self._regular_at:
            return set()
        self._regular_at = now + timing.poll_pause(self._poll_interval)
        relies_on_feed = self._all_at > feed.sound_since and all(
            feed.covers(one.first, one.end) for one in self._subscriptions.values()
        )
        pause = self._poll_interval * (feed.patience if relies_on_feed else 1.0)
        if time() >= self._whole_at or now >= self._all_at + 0.9 * pause:
            self._all_at = now
            return self._watched.flows
        again = self._again.keys() & self._watched.flows
        self._again = {flow_id: looks - 1 for flow_id, looks in self._again.items() if looks > 1}
        return again

    async def _look(
        self, poller: Poller, flows: set[int], *, is_first: bool = False
    ) -> tuple[Look | None, EnosError | None]:
        """Poll these flows. Return the result, or None if none could be listed; and an error if one could not."""
        # Before the list is read: an end that the feed shows meanwhile may be missing in it.
        ended = {flow_id: self._ended.pop(flow_id) for flow_id in flows & self._ended.keys()}
        whole = is_first or time() >= self._whole_at or any(ended.values())
        window = LookWindow.at(time(), self._lookback, whole=whole)
        found: dict[int, list[FlowInstance]] = {}
        try:
            found, error = await self._list(poller, flows, window)
        finally:
            for flow_id in ended.keys() - found.keys():
                self._ended[flow_id] = ended[flow_id] or self._ended.get(flow_id, False)
        if whole:
            # A flow whose whole window could not be listed is treated as a new one.
            self._watched.new = ((self._watched.new | flows) - found.keys()) & self._watched.flows
        if whole and self._watched.flows <= flows | self._watched.new:
            self._whole_at = time() + _WHOLE
        look = Look(window, found, error is None, partial(_read, poller)) if found else None
        return look, error

    async def _list(
        self, poller: Poller, flows: set[int], window: LookWindow
    ) -> tuple[dict[int, list[FlowInstance]], EnosError | None]:
        """Return the instances of each flow that can be listed; and the first error."""
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
        self, poller: Poller, flows: set[int], window: LookWindow
    ) -> dict[int, list[FlowInstance]] | None:
        """Return the instances of each flow, from one list of everything; None if that fails or does not pay."""
        backoff = self._backoff[window.whole]
        if len(flows) <= _FEW or not backoff.is_over:
            return None
        try:
            found = await poller.run(instances_of(window, flows, most_pages=_PAGES_A_FLOW * len(flows)))
        except EnosError as error:
            backoff.failed(error)
            return None
        if found is None:
            backoff.failed(None)
        else:
            backoff.worked()
        return found

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _read(poller: Poller, flow_instance_id: str) -> FlowInstance:
    return await poller.call(calls.get_flow_instance(flow_instance_id))
