"""One poll loop for all who wait for a gateway and tenant: for the triggerer.

Few waiting: Get Flow Instance for each. Many: the feed of ends (``polling.feed``) tells what has ended, and one list of
what runs (``polling.coverage``) answers in place of many single looks.

Being right never depends on a list. A wait rests on the silence of the feed only once a list has shown it, or for a
short while where the feed was being read when it came, and only for as many poll intervals as the feed has earned.
Then it is looked at: by the list of what runs if there are more like it, and singly where that does not show it. So is
every wait now and then, and all of them while lists fail.

A gateway that says it is busy, or does not answer a number of times in a row, is left alone for a while. Whoever is due
meanwhile counts that as a look that failed, so that tolerance and deadline hold.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import Context
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count

from airflow_provider_enos.client import timing
from airflow_provider_enos.client.polling import metrics
from airflow_provider_enos.client.polling.coverage import Coverage
from airflow_provider_enos.client.polling.feed import MANY, Feed, Interest
from airflow_provider_enos.client.polling.logs import LogReader
from airflow_provider_enos.client.polling.requests import Requests
from airflow_provider_enos.client.polling.wait import Wait
from airflow_provider_enos.client.polling.window_poller import WindowPoller
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.follow import pace
from airflow_provider_enos.protocol.follow.end_feed import Mark, mark_of
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.trigger_time import MINUTE, minute_of_id
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Call, Procedure, T

_GATHER, _GATHER_MANY = 0.02, 1.0
"""Seconds to wait for others once somebody is due: few, many."""
_AT_A_TIME = 500
_UNSHOWN = 3.0
"""Poll intervals for which the feed is enough for a newcomer that no list has shown yet: so that one shows many."""
_SOON = 0.75
"""Who has come so far in its pause is looked at with those that are due, where one list answers for all."""
_TRY_AGAIN = 0.1
_GRACE = 10.0
"""Seconds after the deadline that the last look may take."""


class Poller:
    """Looks at instances for all who wait for them. Made by ``shared_poller``; lives on one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._requests = Requests(settings)
        self._breaker = self._requests.breaker
        self.feed = Feed(self._requests.runner("ends"), self._look_sooner)
        """What has ended."""
        self.windows = WindowPoller(self.run, self.feed, timing.poll_pause)
        """Those who wait for windows of trigger times rather than for an instance."""
        self._coverage = Coverage(self._requests.runner("running"), self._see)
        self._logs = LogReader(self._requests.runner("log"))
        self._waits: dict[str, list[Wait]] = defaultdict(list)
        self._waiting = 0
        self._queue: list[tuple[float, int, Wait]] = []
        """When each is due. Of an entry whose time is not that of its wait, nothing holds any more."""
        self._numbers = count()
        self._sooner = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._looks: set[asyncio.Task[None]] = set()
        self._listing = asyncio.Lock()

    async def wait(
        self,
        watch: InstanceWatch,
        *,
        poll_interval: float,
        deadline: float,
        read_end: bool = True,
        at_once: bool = False,
    ) -> FlowInstance:
        """Wait until the instance has ended, and return it.

        :param poll_interval: seconds between two looks at the most. Younger waits are looked at more often.
        :param deadline: epoch seconds.
        :param read_end: whether an end that a list shows is read singly before it counts. Without it the instance that
            is returned may have no nodes, and whoever acts on it reads it first.
        :param at_once: whether to look at once, since nobody has looked so far.
        :raises EnosFlowTimeoutError: at the ``deadline``.
        :raises EnosError: a refusal of the connection (``final``), at once; another one once the watch tolerates it no
            longer.
        """
        now = self._now()
        wait = Wait(
            watch=watch,
            poll_interval=poll_interval,
            deadline=deadline,
            reads_end=read_end,
            result=asyncio.get_running_loop().create_future(),
            minute=minute_of_id(watch.flow_instance_id),
            begun=now,
            seen=now,
        )
        with self._joined(wait):
            # What the feed has shown as ended may have been run again since: nobody waits for that end.
            wait.contradicted = self.feed.mark(wait.id)
            wait.is_urgent = at_once or wait.contradicted is not None
            self._make_due(wait, 0.0 if wait.is_urgent else timing.poll_pause(self._pause(wait, now)))
            try:
                async with asyncio.timeout(min(max(wait.left, 0.0), 1e8) + _GRACE):
                    return await wait.result
            except TimeoutError:
                raise wait.out_of_time() from None

    async def run(self, procedure: Procedure[T]) -> T:
        """Return the result of several calls that belong together, within the limits of all who wait for this gateway.

        No call is repeated. While the gateway is left alone, each fails with the error that is the reason.
        """
        return await self._requests.run("window", procedure)

    async def call(self, call: Call[T]) -> T:
        """Return the result of one call, as ``run`` does."""
        async with self._requests.limit:
            return await self._requests.call("window", call)

    async def close(self) -> None:
        """End the loop and the session."""
        tasks = [*self._looks, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.feed.close()
        await self._requests.close()

    @contextmanager
    def _joined(self, wait: Wait) -> Iterator[None]:
        interest = Interest(
            of=wait.id,
            first=wait.minute,
            end=None if wait.minute is None else wait.minute + MINUTE,
            looks=1,
            poll_interval=wait.poll_interval,
            types=None,
            told=partial(self._heard, wait),
        )
        self._waits[wait.id].append(wait)
        self._waiting += 1
        metrics.more_waits(1)
        self.feed.add(interest)
        if self._task is None or self._task.done():
            # What it says itself belongs to no task's log.
            self._task = asyncio.create_task(self._run(), name="enos-poller", context=Context())
        try:
            yield
        finally:
            self.feed.remove(interest)
            metrics.more_waits(-1)
            self._waiting -= 1
            self._waits[wait.id].remove(wait)
            if not self._waits[wait.id]:
                del self._waits[wait.id]
            if wait.logs is not None:
                wait.logs.cancel()

    async def _run(self) -> None:
        """Start a look at whoever is due. Looks are tasks of their own, so that a slow answer holds up nobody else."""
        while True:
            first = await self._first_due()
            # Those who are due at about the same time are looked at together.
            is_soon = first.is_urgent or self._waiting < MANY
            await asyncio.sleep(_GATHER if is_soon else min(_GATHER_MANY, max(_GATHER, first.poll_interval / 10)))
            due = await self._take_due()
            if self._breaker.error is not None:
                await _for_each(due, self._turn_away)
            elif due:
                look = asyncio.create_task(self._look(due))
                self._looks.add(look)
                look.add_done_callback(self._looks.discard)

    async def _first_due(self) -> Wait:
        while True:
            left = self._queue[0][0] - self._now() if self._queue else None
            if left is not None and left <= 0:
                return self._queue[0][2]
            self._sooner.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._sooner.wait(), left)

    async def _take_due(self) -> set[Wait]:
        due, now, taken = set[Wait](), self._now(), 0
        while self._queue and self._queue[0][0] <= now:
            at, _, wait = heappop(self._queue)
            if at == wait.due and not wait.is_asked and not wait.result.done():
                self._take(wait, due, now)
            taken += 1
            if taken % _AT_A_TIME == 0:
                await asyncio.sleep(0)
        return due

    def _take(self, wait: Wait, due: set[Wait], now: float) -> None:
        """Take it as due, unless a list has shown it since, or more can be left to the feed than when it was queued."""
        pause = timing.poll_pause(self._pause(wait, wait.seen))
        if wait.is_urgent or wait.left <= 0 or wait.seen + 0.9 * pause <= now:
            wait.is_asked = True
            due.add(wait)
        else:
            self._make_due(wait, wait.seen + pause - now)

    def _make_due(self, wait: Wait, pause: float) -> None:
        """Queue it for then, or for its deadline."""
        wait.due = self._now() + min(pause, max(wait.left, 0.0))
        if not self._queue or wait.due < self._queue[0][0]:
            self._sooner.set()
        heappush(self._queue, (wait.due, next(self._numbers), wait))

    def _hurry(self, wait: Wait) -> None:
        wait.is_urgent = True
        self._make_due(wait, 0.0)

    def _pause(self, wait: Wait, seen: float) -> float:
        """Return the seconds from a look at that moment to the next."""
        patience = self._patience(wait)
        if patience > 1.0:
            return patience * wait.poll_interval
        return pace.look_pause(seen - wait.begun, wait.poll_interval, self._waiting)

    def _patience(self, wait: Wait) -> float:
        """Return for how many poll intervals the silence of the feed is enough for it."""
        if wait.is_unlisted or not wait.may_be_listed or wait.seen <= self.feed.sound_since:
            return 1.0
        if wait.minute is None or not self.feed.covers(wait.minute, wait.minute + MINUTE):
            return 1.0
        return self.feed.patience if wait.type is not None else min(self.feed.patience, _UNSHOWN)

    async def _look_sooner(self) -> None:
        """Make all due that rested on the feed, a little apart from each other."""
        for number, wait in enumerate([wait for waits in self._waits.values() for wait in waits], 1):
            if not wait.is_asked and not wait.result.done():
                pause, now = self._pause(wait, wait.seen), self._now()
                left = max(wait.seen + pause - now, random.random() * pause)
                self._make_due(wait, min(left, max(wait.due - now, 0.0)))
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)
        if len(self._queue) > 4 * self._waiting + _AT_A_TIME:
            self._queue = [entry for entry in self._queue if entry[0] == entry[2].due]
            heapify(self._queue)

    async def _look(self, due: set[Wait]) -> None:
        try:
            listable = {wait for wait in due if wait.may_be_listed and not wait.is_unlisted and not wait.is_urgent}
            if self._waiting < MANY or not self._coverage.is_ready:
                listable = set()
            await asyncio.gather(self._look_singly(due - listable), self._look_by_list(listable))
        except Exception as error:  # noqa: BLE001 - a fault of ours must end the waits, not let them hang
            for wait in due:
                wait.fail(error)

    async def _look_singly(self, waits: set[Wait]) -> None:
        # Whoever was left out the last time comes first.
        await asyncio.gather(*(self._get(wait) for wait in sorted(waits, key=lambda wait: wait.seen)))

    async def _look_by_list(self, waits: set[Wait]) -> None:
        """Look at these by one list of what runs, and singly at those that it does not show."""
        if not waits:
            return
        async with self._listing:
            # The list that was read before has shown some of them.
            shown = waits - self._due_soon(waits)
            if waits - shown and self._coverage.is_ready:
                shown |= await self._coverage.show(self._due_soon())
        for wait in waits & shown:
            self._looked(wait)
        await self._look_singly(waits - shown)

    def _due_soon(self, among: Iterable[Wait] | None = None) -> set[Wait]:
        """Return those that are due, or will be a little later: one list answers for all of them."""
        if among is None:
            among = (wait for waits in self._waits.values() for wait in waits)
        now = self._now()
        return {wait for wait in among if wait.seen + _SOON * self._pause(wait, wait.seen) <= now}

    def _see(self, type: int, instance: FlowInstance) -> None:
        """Note what the list of what runs shows, also of waits that were not due."""
        for wait in self._waits.get(instance.flow_instance_id, ()):
            wait.type, wait.is_unlisted = type, False
            self.feed.shown_under(type)
            self._heard(wait, instance)

    def _heard(self, wait: Wait, instance: FlowInstance) -> None:
        """Note what a list shows of it."""
        mark = mark_of(instance)
        if not instance.status.ended or not (wait.reads_end or mark == wait.contradicted):
            wait.saw(instance, self._now())
        elif mark not in (wait.contradicted, wait.claimed):
            wait.claimed = mark
            self._hurry(wait)

    async def _get(self, wait: Wait) -> None:
        try:
            async with self._requests.limit:
                if wait.result.done():
                    return
                wait.is_urgent = False
                claimed, known = wait.claimed, self.feed.mark(wait.id)
                instance = await self._requests.call("instance", calls.get_flow_instance(wait.id))
            if instance.status.ended:
                self._found(wait)
            elif claimed is not None or known is not None:
                await self._deny(wait, claimed or known, was_claimed=claimed is not None)
            wait.saw(instance, self._now())
            await self._logs.show(wait, instance)
        except EnosError as error:
            wait.missed(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours is this wait's alone
            wait.fail(error)
        finally:
            self._looked(wait)

    def _found(self, wait: Wait) -> None:
        """Note an end that a single look has found: the lists are to show it, too."""
        if wait.claimed is not None:
            return
        self._coverage.found(wait.id)
        # Else it may have ended before the feed was read, which says nothing of the feed.
        if wait.seen > wait.begun and wait.seen >= self.feed.sound_since:
            self.feed.found(wait.id)

    async def _deny(self, wait: Wait, mark: Mark | None, *, was_claimed: bool) -> None:
        """Note that it runs, though lists had shown this end before it was looked at."""
        wait.contradicted = mark
        if was_claimed and wait.claimed == mark:
            wait.claimed = None
            await self.feed.was_wrong()

    def _looked(self, wait: Wait) -> None:
        """Queue it for its next look."""
        wait.is_asked = False
        if wait.result.done():
            return
        # Now and then it is looked for again in the lists that have not shown it.
        wait.is_unlisted = wait.is_unlisted and random.random() >= _TRY_AGAIN
        pause = timing.poll_pause(self._pause(wait, self._now()))
        if left := self._breaker.left:
            left *= random.uniform(1.0, 1.2)
            self._make_due(wait, left if wait.is_urgent else min(left, pause))
        else:
            self._make_due(wait, 0.0 if wait.is_urgent else pause)

    def _turn_away(self, wait: Wait) -> None:
        """Have a look fail without asking: the gateway is left alone."""
        error = self._breaker.error
        if error is not None:
            wait.missed(error)
        self._looked(wait)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _for_each(waits: Iterable[Wait], do: Callable[[Wait], None]) -> None:
    """Do it for each, and let others have the event loop now and then."""
    for number, wait in enumerate(waits, 1):
        do(wait)
        if number % _AT_A_TIME == 0:
            await asyncio.sleep(0)


_pollers: dict[tuple[asyncio.AbstractEventLoop, Settings], tuple[Poller, int]] = {}


@asynccontextmanager
async def shared_poller(settings: Settings) -> AsyncIterator[Poller]:
    """Give the poller of this event loop for these settings: made when the first comes, gone when the last has left."""
    key = (asyncio.get_running_loop(), settings)
    poller, users = _pollers.get(key) or (Poller(settings), 0)
    _pollers[key] = (poller, users + 1)
    try:
        yield poller
    finally:
        _, users = _pollers[key]
        if users > 1:
            _pollers[key] = (poller, users - 1)
        else:
            del _pollers[key]
            await poller.close()
