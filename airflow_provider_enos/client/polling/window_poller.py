"""Wait for the instances in windows of trigger times: for the triggerer.

Each wait lists its own window, and its verdict comes from that list alone. Between two polls it relies on the feed of
ends: an end of its flow leads to a poll at once, and without one it skips as many polls as the feed has earned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import time

from airflow_provider_enos.client.polling import metrics
from airflow_provider_enos.client.polling.end_feed import EndFeedReader, Run, Subscription
from airflow_provider_enos.errors import EnosError, EnosPollLostError
from airflow_provider_enos.protocol.follow import pace
from airflow_provider_enos.protocol.follow.poll_tolerance import is_refusal
from airflow_provider_enos.protocol.follow.window_rules import Verdict
from airflow_provider_enos.protocol.follow.window_wait import WindowWatch
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.trigger_time import stamp_of_id

_GRACE = 10.0
"""Seconds after the deadline that the last poll may take."""
_DAY = 86_400_000
"""Milliseconds: more than the offset of any time zone."""


@dataclass(eq=False, slots=True)
class _Wait:
    """A wait for one window. Times are the event loop's."""

    watch: WindowWatch
    poll_interval: float
    begun: float
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def may_rely_on_feed(self) -> bool:
        """Return whether only an end can change the verdict."""
        rules = self.watch.wanted.rules
        return all(status.ended for status in (*rules.allowed, *rules.failed, *rules.skipped))

    def note_end(self, instance: FlowInstance) -> None:
        """End the pause, since the feed shows an end of the flow that may lie in the window."""
        window, stamp = self.watch.wanted.window, stamp_of_id(instance.flow_instance_id)
        if stamp is None or window.first - _DAY <= stamp < window.end + _DAY:
            self.woken.set()


class WindowPoller:
    """Poll windows for all waits. Part of a ``Poller``; lives on its event loop.

    :param run: carries out what is asked of the gateway.
    :param spread: returns the seconds to the next poll for a pause.
    """

    def __init__(self, run: Run, feed: EndFeedReader, spread: Callable[[float], float]) -> None:
        self._run = run
        self._feed = feed
        self._spread = spread
        self._waiting = 0

    async def wait(self, watch: WindowWatch, *, poll_interval: float, deadline: float) -> Verdict:
        """Wait until there is a verdict, and return it.

        :param poll_interval: seconds between two polls at the most. Younger waits are polled more often.
        :param deadline: epoch seconds.
        :raises EnosFlowTimeoutError: at the ``deadline``.
        :raises EnosError: a refusal of the connection (``final``), at once; another one once the watch tolerates it no
            longer.
        """
        wait = _Wait(watch, poll_interval, self._now())
        left = min(max(deadline - time(), 0.0), 1e8)
        try:
            async with asyncio.timeout(left + _GRACE):
                verdict = await self._named(wait, deadline)
                if verdict is not None:
                    return verdict
                with self._joined(wait):
                    return await self._verdict(wait, deadline)
        except TimeoutError:
            raise watch.out_of_time() from None

    async def _named(self, wait: _Wait, deadline: float) -> Verdict | None:
        """Look until it is known which flow has the name that is waited for. Return the verdict if there is one."""
        while wait.watch.wanted.flow_id is None:
            verdict = await self._look(wait, deadline)
            if verdict is not None and verdict.over:
                return verdict
            if time() >= deadline:
                raise wait.watch.out_of_time()
            if wait.watch.wanted.flow_id is None:
                pause = self._spread(pace.look_pause(self._now() - wait.begun, wait.poll_interval, self._waiting + 1))
                await asyncio.sleep(max(min(pause, deadline - time()), 0.0))
        return None

    async def _verdict(self, wait: _Wait, deadline: float) -> Verdict:
        while True:
            wait.woken.clear()
            verdict = await self._look(wait, deadline)
            if verdict is not None and verdict.over:
                return verdict
            if time() >= deadline:
                raise wait.watch.out_of_time()
            await self._rest(wait, deadline)

    @contextmanager
    def _joined(self, wait: _Wait) -> Iterator[None]:
        wanted = wait.watch.wanted
        if wanted.flow_id is None:
            raise AssertionError("a flow is watched by its id")
        subscription = Subscription(
            of=wanted.flow_id,
            first=wanted.window.first,
            end=wanted.window.end,
            looks=len(wanted.rules.types),
            poll_interval=wait.poll_interval,
            types=wanted.rules.types,
            on_end=wait.note_end,
        )
        self._waiting += 1
        metrics.more_waits(1)
        self._feed.add(subscription)
        try:
            yield
        finally:
            self._feed.remove(subscription)
            metrics.more_waits(-1)
            self._waiting -= 1

    async def _look(self, wait: _Wait, deadline: float) -> Verdict | None:
        """Return the verdict; None if the poll met an error that is tolerated."""
        watch = wait.watch
        before = watch.listed
        try:
            verdict = await self._run(watch.look(clock=time, deadline=deadline, raises_refusals=True))
        except EnosPollLostError:
            metrics.count("lost_polls")
            raise
        except EnosError as error:
            if is_refusal(error):
                metrics.count("refusals")
            raise
        if before is not None and watch.listed is not None:
            for id, status in watch.listed.items():
                if status.ended and not (id in before and before[id].ended):
                    self._feed.found(id)
        return verdict

    async def _rest(self, wait: _Wait, deadline: float) -> None:
        """Pause until the next poll is due, or the feed shows an end of the flow."""
        looked = self._now()
        while not wait.woken.is_set():
            # In steps, since the feed may be trusted less by then.
            left = min(looked + self._spread(self._pause(wait, looked)) - self._now(), deadline - time())
            if left <= 0:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(wait.woken.wait(), min(left, wait.poll_interval))

    def _pause(self, wait: _Wait, looked: float) -> float:
        window = wait.watch.wanted.window
        relies = (
            wait.may_rely_on_feed() and looked > self._feed.sound_since and self._feed.covers(window.first, window.end)
        )
        if relies and self._feed.patience > 1.0:
            return self._feed.patience * wait.poll_interval
        return pace.look_pause(looked - wait.begun, wait.poll_interval, self._waiting)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
