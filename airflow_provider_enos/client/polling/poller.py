"""One poll loop for all waits for a gateway and tenant: for the triggerer.

Few waits: Get Flow Instance for each. Some waits: one list of what runs (``polling.running_list``) replaces many single
polls. Many waits: the feed of ends (``polling.end_feed``) shows what has ended, too.

No wait depends on a list to be right. A wait relies on the feed only once a list has shown it, or for a short while if
the feed was read when the wait began, and only for as many poll intervals as the feed has earned. Then it is polled: by
the list of what runs if there are more such waits, and singly if that list does not show it. Each wait is polled singly
now and then, and all of them while lists fail.

A gateway that says it is busy, or does not answer several times in a row, is left alone for a while. A wait that is due
in that time counts this as a failed poll, so that tolerance and deadline hold.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextvars import Context
from functools import partial

from airflow_provider_enos.client import timing
from airflow_provider_enos.client.polling import metrics
from airflow_provider_enos.client.polling.due_queue import AT_A_TIME, DueQueue
from airflow_provider_enos.client.polling.end_feed import MANY, EndFeedReader, Subscription
from airflow_provider_enos.client.polling.log_reader import LogReader
from airflow_provider_enos.client.polling.requests import Requests
from airflow_provider_enos.client.polling.running_list import RunningList
from airflow_provider_enos.client.polling.wait import Wait
from airflow_provider_enos.client.polling.window_poller import WindowPoller
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.follow import pace
from airflow_provider_enos.protocol.follow.end_feed import Mark, mark_of
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.follow.running_list import WORTH
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.trigger_time import MINUTE, minute_of_id
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Call, Procedure, T

_GATHER, _GATHER_MANY = 0.02, 1.0
"""Seconds to wait for others once a wait is due: if there are few, if there are many."""
_PATIENCE_UNSHOWN = 3.0
"""Poll intervals for which a new wait may rely on the feed though no list has shown it, so that one list shows many."""
_DUE_SOON = 0.5
"""A wait for which this part of its pause is over is polled by the list with those that are due."""
_RETRY_LISTS_CHANCE = 0.1
"""Chance at each single poll that a wait which no list has shown is looked for in lists again."""
_GRACE = 10.0
"""Seconds after the deadline that the last poll may take."""


class Poller:
    """Poll flow instances for all waits. Made by ``SharedPoller``; lives on one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._requests = Requests(settings)
        self._breaker = self._requests.breaker
        self.feed = EndFeedReader(self._requests.runner("ends"), self._look_sooner)
        self.windows = WindowPoller(self.run, self.feed, timing.poll_pause)
        """For waits for windows of trigger times."""
        self._running_list = RunningList(self._requests.runner("running"), self._see)
        self._logs = LogReader(self._requests.runner("log"))
        self._waits: dict[str, list[Wait]] = defaultdict(list)
        self._waiting = 0
        self._queue = DueQueue()
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

        :param poll_interval: seconds between two polls at the most. Younger waits are polled more often.
        :param deadline: epoch seconds.
        :param read_end: whether to read an end singly that a list shows, before it counts. Without that the returned
            instance may have no nodes, and the caller reads it again.
        :param at_once: whether to poll at once, since the caller has not polled.
        :raises EnosFlowTimeoutError: at the ``deadline``.
        :raises EnosError: a refusal of the connection (``final``), at once; another one once the watch tolerates it no
            longer.
        """
        now = self._now()
        wait = Wait(
            watch=watch,
            poll_interval=poll_interval,
            deadline=deadline,
            reads_end=read_end or watch.needs_nodes,
            result=asyncio.get_running_loop().create_future(),
            minute=minute_of_id(watch.flow_instance_id),
            begun=now,
            seen=now,
        )
        subscription = self._join(wait)
        # The last poll may hang.
        end = asyncio.get_running_loop().call_later(min(max(wait.left, 0.0), 1e8) + _GRACE, wait.check_deadline)
        try:
            # The instance may run again after an end that the feed has shown: that end is not waited for.
            wait.contradicted = self.feed.mark(wait.id)
            wait.is_urgent = at_once or wait.contradicted is not None
            self._queue.add(wait, 0.0 if wait.is_urgent else timing.poll_pause(self._pause(wait, now)))
            return await wait.result
        finally:
            end.cancel()
            self._leave(wait, subscription)

    async def run(self, procedure: Procedure[T]) -> T:
        """Return the result of several calls that belong together, within the limits of this gateway.

        No call is repeated. While the gateway is left alone, each call fails with the error that is the reason.
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

    def _join(self, wait: Wait) -> Subscription:
        subscription = Subscription(
            of=wait.id,
            first=wait.minute,
            end=None if wait.minute is None else wait.minute + MINUTE,
            looks=1,
            poll_interval=wait.poll_interval,
            types=None,
            on_end=partial(self._listed, wait),
        )
        self._waits[wait.id].append(wait)
        self._waiting += 1
        metrics.more_waits(1)
        self.feed.add(subscription)
        if self._task is None or self._task.done():
            # Its own log lines belong to no task's log.
            self._task = asyncio.create_task(self._run(), name="enos-poller", context=Context())
        return subscription

    def _leave(self, wait: Wait, subscription: Subscription) -> None:
        self.feed.remove(subscription)
        metrics.more_waits(-1)
        self._waiting -= 1
        self._waits[wait.id].remove(wait)
        if not self._waits[wait.id]:
            del self._waits[wait.id]
        if wait.logs is not None:
            wait.logs.cancel()

    async def _run(self) -> None:
        """Start to poll the waits that are due. Each poll is a task, so that a slow answer holds up no other poll."""
        while True:
            first = await self._queue.first()
            # Those that are due at about the same time are polled together.
            is_soon = first.is_urgent or self._waiting < MANY
            await asyncio.sleep(_GATHER if is_soon else min(_GATHER_MANY, max(_GATHER, first.poll_interval / 10)))
            due = await self._queue.take(self._postpone)
            if self._breaker.error is not None:
                await _for_each(due, self._count_as_failed)
            elif due:
                look = asyncio.create_task(self._look(due))
                self._looks.add(look)
                look.add_done_callback(self._looks.discard)

    def _postpone(self, wait: Wait) -> float:
        """Return for how many seconds a wait that is due can be put off; 0: it cannot.

        A list may have shown it since it was queued, or the feed may be trusted more than then.
        """
        pause, now = timing.poll_pause(self._pause(wait, wait.seen)), self._now()
        if wait.is_urgent or wait.left <= 0 or wait.seen + 0.9 * pause <= now:
            return 0.0
        return wait.seen + pause - now

    def _hurry(self, wait: Wait) -> None:
        wait.is_urgent = True
        self._queue.add(wait, 0.0)

    def _pause(self, wait: Wait, seen: float) -> float:
        """Return the seconds from a poll at the time ``seen`` to the next."""
        patience = self._patience(wait)
        if patience > 1.0:
            return patience * wait.poll_interval
        return pace.look_pause(seen - wait.begun, wait.poll_interval, self._waiting)

    def _patience(self, wait: Wait) -> float:
        """Return for how many poll intervals a wait may rely on the feed; 1: it has to be polled."""
        is_in_feed = wait.seen > self.feed.sound_since and self.feed.covers(wait.minute, None)
        if wait.is_unlisted or not wait.may_be_listed or not is_in_feed:
            return 1.0
        return self.feed.patience if wait.type is not None else min(self.feed.patience, _PATIENCE_UNSHOWN)

    async def _look_sooner(self) -> None:
        """Make all waits due that have relied on the feed; many of them spread over the length of one pause."""
        for number, wait in enumerate([wait for waits in self._waits.values() for wait in waits], 1):
            if not wait.is_asked and not wait.result.done():
                pause, now = self._pause(wait, wait.seen), self._now()
                left = max(wait.seen + pause - now, random.random() * pause if self._waiting >= MANY else 0.0)
                self._queue.add(wait, min(left, max(wait.due - now, 0.0)))
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)
        self._queue.drop_stale(self._waiting)

    async def _look(self, due: set[Wait]) -> None:
        try:
            by_list = self._to_look_at_by_list(due)
            await asyncio.gather(self._look_singly(due - by_list), self._look_by_list(by_list))
        except Exception as error:  # noqa: BLE001 - an error of this package must end the waits, not let them hang
            for wait in due:
                wait.fail(error)

    def _to_look_at_by_list(self, due: set[Wait]) -> set[Wait]:
        if self._waiting <= WORTH or not self._running_list.is_ready:
            return set()
        return {wait for wait in due if wait.may_be_listed and not wait.is_unlisted and not wait.is_urgent}

    async def _look_singly(self, waits: set[Wait]) -> None:
        # The one that was left out last time comes first. One look answers all waits for nodes of its instance.
        ordered, asked = sorted(waits, key=lambda wait: wait.seen), dict[str, Wait]()
        first = [one for one in ordered if not one.watch.needs_nodes or asked.setdefault(one.id, one) is one]
        await asyncio.gather(*map(self._get, first))
        for wait in waits.difference(first):
            self._looked(wait)

    async def _look_by_list(self, waits: set[Wait]) -> None:
        """Poll these waits by the list of what runs, and singly those that it does not show."""
        if not waits:
            return
        answered, to_ask = await self._ask_list(waits)
        for wait in answered:
            self._looked(wait)
        await self._look_singly(to_ask)

    async def _ask_list(self, waits: set[Wait]) -> tuple[set[Wait], set[Wait]]:
        """Return the waits that the list of what runs has shown, and those to ask for singly."""
        async with self._listing:
            # The read before this one, for which it waited, may have shown some of them.
            to_ask = {wait for wait in waits if self._is_due_soon(wait)}
            answered = waits - to_ask
            if not to_ask or not self._running_list.is_ready:
                return answered, to_ask
            every = [wait for waits_for_one in self._waits.values() for wait in waits_for_one]
            listed, to_check = await self._running_list.choose(every, to_ask, self._is_due_with_others)
            if len(listed) < WORTH:
                return answered, {wait for wait in to_ask if not self._put_off(wait)}
            to_ask -= await self._running_list.show(listed)
            to_ask |= {wait for wait in to_check if wait in waits or not wait.is_asked}
        return waits - to_ask, to_ask

    def _is_due_soon(self, wait: Wait) -> bool:
        return wait.seen + _DUE_SOON * self._pause(wait, wait.seen) <= self._now()

    def _is_due_with_others(self, wait: Wait) -> bool:
        return self._is_due_soon(wait) or (self._waiting < MANY and self._running_list.is_short)

    def _put_off(self, wait: Wait) -> bool:
        """Put off a wait that is due, until a list answers for others, too; return False if it cannot be put off."""
        left = wait.seen + wait.poll_interval - self._now()
        is_told = self._waiting >= MANY and self.feed.covers(wait.minute, None)
        if wait.is_urgent or not is_told or left < 0.1 * wait.poll_interval:
            return False
        wait.is_asked = False
        self._queue.add(wait, left)
        return True

    def _see(self, type: int, instance: FlowInstance) -> None:
        """Note what the list of what runs shows, also for waits that were not due."""
        for wait in self._waits.get(instance.flow_instance_id, ()):
            wait.type, wait.is_unlisted = type, False
            self.feed.shown_under(type)
            self._listed(wait, instance)

    def _listed(self, wait: Wait, instance: FlowInstance) -> None:
        """Note how a list shows the instance of a wait."""
        mark = mark_of(instance)
        if wait.watch.needs_nodes and not instance.status.ended:
            return
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
                await self._note_denied_end(wait, claimed or known, was_claimed=claimed is not None)
            for one in self._answered_with(wait):
                one.saw(instance, self._now())
                await self._logs.show(one, instance)
        except EnosError as error:
            for one in self._answered_with(wait):
                one.missed(error)
        except Exception as error:  # noqa: BLE001 - an error of this package ends this wait alone
            wait.fail(error)
        finally:
            self._looked(wait)

    def _answered_with(self, wait: Wait) -> list[Wait]:
        """Return the waits that a look for this wait answers: itself, and waits for nodes of the instance."""
        others = [one for one in self._waits.get(wait.id, ()) if one is not wait and one.watch.needs_nodes]
        for one in others:
            one.is_urgent = False
        return [wait, *others]

    def _found(self, wait: Wait) -> None:
        """Note an end that a single poll has found: the lists have to show it, too."""
        if wait.claimed is not None:
            return
        self._running_list.found(wait.id)
        # Otherwise it may have ended before the feed was read.
        if wait.seen > wait.begun and wait.seen >= self.feed.sound_since:
            self.feed.found(wait.id)

    async def _note_denied_end(self, wait: Wait, mark: Mark | None, *, was_claimed: bool) -> None:
        """Note that the instance runs, though a list had shown this end before the poll."""
        wait.contradicted = mark
        if was_claimed and wait.claimed == mark:
            wait.claimed = None
            await self.feed.was_wrong()

    def _looked(self, wait: Wait) -> None:
        """Queue a wait for its next poll."""
        wait.is_asked = False
        if wait.result.done():
            return
        # Now and then it is looked for in lists again.
        wait.is_unlisted = wait.is_unlisted and random.random() >= _RETRY_LISTS_CHANCE
        pause = timing.poll_pause(self._pause(wait, self._now()))
        if left := self._breaker.left:
            left *= random.uniform(1.0, 1.2)
            self._queue.add(wait, left if wait.is_urgent else min(left, pause))
        else:
            self._queue.add(wait, 0.0 if wait.is_urgent else pause)

    def _count_as_failed(self, wait: Wait) -> None:
        """Count a poll as failed without asking, since the gateway is left alone."""
        error = self._breaker.error
        if error is not None:
            wait.missed(error)
        self._looked(wait)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _for_each(waits: Iterable[Wait], do: Callable[[Wait], None]) -> None:
    """Call ``do`` for each wait, and give the event loop to others now and then."""
    for number, wait in enumerate(waits, 1):
        do(wait)
        if number % AT_A_TIME == 0:
            await asyncio.sleep(0)
