"""One poll loop for all waiting instances of a gateway and tenant: for the triggerer.

Few waiting: Get Flow Instance for each. Many: List Flow Instances over the window of their trigger times, filtered to
ended statuses, which answers for all of them at once; an instance that ended is then read once by Get. A list that
takes more pages than pay is left alone for a while.

Being right never depends on the list: an instance counts as covered by it only once the unfiltered list has shown it,
one that it does not show is asked for singly, and so is every covered one now and then, and all of them while the list
fails.

A gateway that says it is busy, or does not answer a number of times in a row, is left alone for a while, too. Whoever
is due meanwhile counts that as a look that failed, so that tolerance and deadline hold.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from time import time
from typing import Any

from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.client.failures import LIST_AGAIN, PASSING, list_pause
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.client.windows import WindowPoller
from airflow_provider_enos.errors import (
    EnosApiError,
    EnosError,
    EnosRateLimitError,
    EnosRequestError,
    EnosServerError,
)
from airflow_provider_enos.protocol import calls
from airflow_provider_enos.protocol.exchange import Retry
from airflow_provider_enos.protocol.messages import Call, Procedure, T
from airflow_provider_enos.protocol.models import FlowInstance, FlowStatus
from airflow_provider_enos.protocol.paging import PAGE_FAULTS, PAGE_SIZE, Pager
from airflow_provider_enos.protocol.patience import is_refusal
from airflow_provider_enos.protocol.trigger_time import MINUTE, minute_of_id
from airflow_provider_enos.protocol.waiting import Watch, out_of_time

_log = logging.getLogger(__name__)

_GATHER = 0.02
"""Seconds to wait for others once somebody has come."""
_MANY = 20
"""From how many waits on a list is thought of."""
_MORE = 5
"""From how many newcomers on, once there is one, it is asked whether it shows them, too."""
_CONCURRENT = 8
_CONCURRENT_LOGS = 3
"""How many read logs at a time: fewer than there are connections, so that looks find one."""
_LONGEST_LOGS = 30.0
"""Seconds that reading the logs of one instance may take at a look; what it has not come to is left for the next."""
_AT_A_TIME = 500
_FEWEST_PAGES = 4
_LOOKS_BY_LIST = 80
"""After so many looks by list an instance is asked for singly."""
_LIST_AGAIN = LIST_AGAIN
"""Seconds until a list is tried again that was too long, or without an instance."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_LOG_PAUSE = 30.0
"""Seconds for which no logs are read once one could not be."""
_ENDED = tuple(status for status in FlowStatus if status.ended)


def spread(poll_interval: float) -> float:
    """Seconds from one look to the next: a little less than the interval, so that looks spread.

    Tests put something shorter here.
    """
    return poll_interval * random.uniform(0.9, 1.0)


@dataclass(eq=False, slots=True)
class _Wait:
    """One instance that somebody waits for. Times are the event loop's, but the deadline, which is epoch seconds."""

    watch: Watch
    poll_interval: float
    deadline: float
    result: asyncio.Future[FlowInstance]
    minute: int | None
    context: Context = field(default_factory=copy_context)
    """That of whoever waits: Airflow tells by it to which task's log a line belongs."""
    timer: asyncio.TimerHandle | None = None
    """Makes it due."""
    type: int | None = None
    """The type under which the list has shown it; None as long as it has not."""
    asking: bool = False
    """Whether a look at it is under way."""
    asked: float = 0.0
    """When it was last asked for singly."""
    unlisted_until: float = 0.0
    logs: asyncio.Task[EnosError | None] | None = None
    """Shows what has come in its logs."""
    looks_by_list: int = field(default_factory=lambda: random.randrange(_LOOKS_BY_LIST))

    @property
    def id(self) -> str:
        return self.watch.flow_instance_id

    @property
    def is_late(self) -> bool:
        return time() >= self.deadline

    @property
    def pause(self) -> float:
        """Seconds to the next look: the interval, or what is left until the deadline."""
        return min(spread(self.poll_interval), max(self.deadline - time(), 0.0))

    def saw(self, instance: FlowInstance) -> None:
        """A look at it brought this."""
        if not self._told(self.watch.saw, instance):
            return
        if instance.status.ended:
            self.result.set_result(instance)
        else:
            self._check_deadline(str(instance.status))

    def missed(self, error: EnosError) -> None:
        """A look at it failed."""
        if is_refusal(error):
            # The caller reads the connection again, and tells the watch itself.
            self.fail(error)
        elif self._told(self.watch.missed, error):
            self._check_deadline("unknown")

    def still_running(self) -> None:
        """The list of those that ended does not have it."""
        if not self.result.done():
            self._check_deadline("still running")

    def fail(self, error: Exception) -> None:
        """Ends the wait."""
        if not self.result.done():
            self.result.set_exception(error)

    def may_be_listed(self, now: float) -> bool:
        """Whether to find out if the list shows it."""
        # The list does not tell which nodes run, whose logs are to be shown.
        can_be = self.minute is not None and self.watch.stream is None
        return can_be and self.type is None and now >= self.unlisted_until

    def trusts_list(self) -> bool:
        """Whether the list's word that it has not ended is enough this time."""
        self.looks_by_list = (self.looks_by_list + 1) % _LOOKS_BY_LIST
        return self.looks_by_list != 0

    def _told(self, what: Callable[[Any, float], None], about: Any) -> bool:
        """Tells the watch; False where the wait is over, or is now."""
        if self.result.done():
            return False
        try:
            self.context.run(what, about, time())
        except Exception as error:  # noqa: BLE001 - what cannot be waited through, or a fault of ours: this wait's alone
            self.result.set_exception(error)
            return False
        return True

    def _check_deadline(self, status: str) -> None:
        if self.is_late:
            self.result.set_exception(out_of_time(self.id, status))


class Poller:
    """Looks at instances for all who wait for them. Made by ``shared_poller``; lives on one event loop."""

    def __init__(self, settings: Settings) -> None:
        # A failed look is no drama: the next one comes. So nothing is repeated within one.
        self._client = AsyncClient(settings, retry=Retry(attempts=1))
        self.windows = WindowPoller(self.run, lambda interval: spread(interval))
        """Those who wait for windows of trigger times rather than for an instance."""
        self._waits: set[_Wait] = set()
        self._due: set[_Wait] = set()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._looks: set[asyncio.Task[None]] = set()
        self._limit = asyncio.Semaphore(_CONCURRENT)
        self._log_limit = asyncio.Semaphore(_CONCURRENT_LOGS)
        self._logs_from = 0.0
        self._listing = False
        self._list_from = 0.0
        self._too_long_until: dict[int, float] = {}
        self._failures = 0
        self._pause = 0.0
        self._quiet_until = 0.0
        self._why_quiet: EnosError | None = None

    async def wait(self, watch: Watch, *, poll_interval: float, deadline: float) -> FlowInstance:
        """Return the instance, once it has ended. Raise ``EnosFlowTimeoutError`` at the ``deadline``, an epoch time.

        A refusal is raised without asking the watch: the caller reads the connection again.
        """
        wait = _Wait(
            watch=watch,
            poll_interval=poll_interval,
            deadline=deadline,
            result=asyncio.get_running_loop().create_future(),
            minute=minute_of_id(watch.flow_instance_id),
        )
        self._waits.add(wait)
        self._make_due(wait)
        if self._task is None or self._task.done():
            # What it says itself belongs to no task's log.
            self._task = asyncio.create_task(self._run(), name="enos-poller", context=Context())
        try:
            return await wait.result
        finally:
            self._waits.discard(wait)
            self._due.discard(wait)
            if wait.timer is not None:
                wait.timer.cancel()
            if wait.logs is not None:
                wait.logs.cancel()

    async def run(self, procedure: Procedure[T]) -> T:
        """The result of several calls that belong together, within the limits of all who wait for this gateway.

        No call is repeated. While the gateway is left alone, each fails with the error that is the reason.
        """
        return await self._client.run(procedure, call=self.call)

    async def call(self, call: Call[T]) -> T:
        """The result of one call, as ``run`` has it."""
        async with self._limit:
            if self._is_quiet and self._why_quiet is not None:
                raise copy(self._why_quiet)
            try:
                result = await self._client.call(call)
            except EnosRequestError:
                self._note_answer()
                raise
            except EnosError as error:
                # What a page 0 that does not exist is answered with says nothing of how the gateway is.
                if not (isinstance(error, EnosApiError) and error.code in PAGE_FAULTS):
                    self._back_off(error)
                raise
        self._note_answer()
        return result

    async def close(self) -> None:
        """Ends the loop and the session."""
        await self.windows.close()
        tasks = [*self._looks, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    async def _run(self) -> None:
        """Starts a look at whoever is due. Looks are tasks of their own, so that a slow answer holds up nobody else."""
        while True:
            await self._changed.wait()
            # Those who come together are looked at together.
            await asyncio.sleep(_GATHER)
            self._changed.clear()
            due = {wait for wait in self._due if not wait.asking}
            if self._is_quiet:
                await _for_each(due, self._turn_away)
            elif due:
                await _for_each(due, self._begin)
                look = asyncio.create_task(self._look(due))
                self._looks.add(look)
                look.add_done_callback(self._looks.discard)

    def _begin(self, wait: _Wait) -> None:
        wait.asking = True
        self._set_timer(wait, wait.pause)

    def _set_timer(self, wait: _Wait, pause: float) -> None:
        """Makes it due again in a while, and not before."""
        self._due.discard(wait)
        if wait.timer is not None:
            wait.timer.cancel()
        if wait in self._waits:
            wait.timer = asyncio.get_running_loop().call_later(pause, self._make_due, wait)

    def _make_due(self, wait: _Wait) -> None:
        self._due.add(wait)
        self._changed.set()

    def _looked(self, wait: _Wait) -> None:
        wait.asking = False
        if wait in self._due:
            # It became so while the answer was awaited.
            self._changed.set()

    async def _look(self, due: set[_Wait]) -> None:
        try:
            singly = await self._look_by_list(due) if self._now() >= self._list_from else due
            for wait in due - singly:
                self._looked(wait)
            # Whoever was left out the last time comes first.
            await asyncio.gather(*(self._get(wait) for wait in sorted(singly, key=lambda wait: wait.asked)))
        except Exception as error:  # noqa: BLE001 - a fault of ours must end the waits, not let them hang
            for wait in due:
                wait.fail(error)

    async def _look_by_list(self, due: set[_Wait]) -> set[_Wait]:
        """Looks at as many as the list covers; gives those that are to be asked for singly."""
        if self._listing:
            # Those whom the list covers are answered by the one that is under way, or when they are due again.
            return {wait for wait in due if wait.type is None or wait.is_late}
        self._listing = True
        try:
            new = {wait for wait in self._waits if wait.may_be_listed(self._now())}
            if new & due and self._are_enough(new):
                due = due - await self._cover(new)
            for type in calls.ALL_FLOW_TYPES:
                covered = {wait for wait in self._waits if wait.type == type}
                if len(covered) >= _MANY and covered & due and self._now() >= self._too_long_until.get(type, 0.0):
                    due = due - covered | await self._look_at_ended(type, covered, due & covered)
        except EnosError as error:
            _log.warning("Cannot list flow instances, asking for each singly: %s", error)
            self._back_off(error)
            self._list_from = self._now() + list_pause(error)
        finally:
            self._listing = False
        return due

    def _are_enough(self, new: set[_Wait]) -> bool:
        """Whether to ask a list for these newcomers: many, or a few where it is in use."""
        if len(new) < _MORE:
            return False
        return len(new) >= _MANY or sum(wait.type is not None for wait in self._waits) >= _MANY

    async def _cover(self, new: set[_Wait]) -> set[_Wait]:
        """Finds out which of these the list shows, and under which type; gives those it has looked at."""
        missing, looked_at = set(new), set[_Wait]()
        by_id: dict[str, list[_Wait]] = defaultdict(list)
        for wait in new:
            by_id[wait.id].append(wait)

        def see(type: int, page: list[FlowInstance]) -> bool:
            for instance in page:
                for wait in by_id.get(instance.flow_instance_id, ()):
                    wait.type = type
                    missing.discard(wait)
                    if not instance.status.ended:
                        self._set_timer(wait, wait.pause)
                        wait.saw(instance)
                        looked_at.add(wait)
            return bool(missing)

        for type in calls.ALL_FLOW_TYPES:
            if missing:
                await self._list(type, missing, (), partial(see, type))
        for wait in missing:
            wait.unlisted_until = self._now() + _LIST_AGAIN
        return looked_at

    async def _look_at_ended(self, type: int, covered: set[_Wait], due: set[_Wait]) -> set[_Wait]:
        """Asks which of the covered ones have ended; gives those that are to be asked for singly."""
        ended: set[str] = set()

        def see(page: list[FlowInstance]) -> bool:
            ended.update(instance.flow_instance_id for instance in page)
            return True

        if not await self._list(type, covered, _ENDED, see):
            self._too_long_until[type] = self._now() + _LIST_AGAIN
            return due
        running = {wait for wait in covered if wait.id not in ended and wait.trusts_list()}

        def runs_on(wait: _Wait) -> None:
            self._set_timer(wait, wait.pause)
            wait.still_running()

        await _for_each(running, runs_on)
        others = {wait for wait in covered - running if wait in due or not wait.asking}
        for wait in others - due:
            self._begin(wait)
        return others

    async def _list(
        self,
        type: int,
        waits: Collection[_Wait],
        status: tuple[FlowStatus, ...],
        see: Callable[[list[FlowInstance]], bool],
    ) -> bool:
        """Shows the instances in the window of these to ``see``, a page at a time, as long as that wants more.

        False where it was given up, since asking for each, so many at a time, takes no longer.
        """
        minutes = [wait.minute for wait in waits if wait.minute is not None]
        pager = Pager(
            lambda page_no: calls.list_flow_instances(
                type=type,
                from_trigger_time=min(minutes),
                to_trigger_time=max(minutes) + MINUTE,
                page_no=page_no,
                page_size=PAGE_SIZE,
                status=status,
            )
        )
        for _ in range(max(_FEWEST_PAGES, len(waits) // _CONCURRENT)):
            if self._is_quiet and self._why_quiet is not None:
                raise self._why_quiet
            try:
                page = await self._client.call(pager.call)
            except EnosApiError as error:
                pager.refused(error)
                continue
            self._note_answer()
            if not see(pager.take(page)) or pager.done:
                return True
        return False

    async def _get(self, wait: _Wait) -> None:
        try:
            async with self._limit:
                if wait.result.done():
                    return
                if self._is_quiet:
                    self._turn_away(wait)
                    return
                wait.asked = self._now()
                instance = await self._client.call(calls.get_flow_instance(wait.id))
        except EnosError as error:
            self._back_off(error)
            wait.missed(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours is this wait's alone
            wait.fail(error)
        else:
            self._note_answer()
            wait.saw(instance)
            await self._show_logs(wait, instance)
        finally:
            self._looked(wait)

    async def _show_logs(self, wait: _Wait, instance: FlowInstance) -> None:
        """Shows what has come in the logs of the nodes, in the log of whoever waits, where that is wanted."""
        stream = wait.watch.stream
        if stream is None or wait.result.done():
            return

        async def follow() -> EnosError | None:
            async with asyncio.timeout(_LONGEST_LOGS), self._log_limit:
                if self._is_quiet or self._now() < self._logs_from:
                    return None
                return await self._client.run(stream.follow(instance))

        wait.logs = asyncio.create_task(follow(), context=wait.context.copy())
        try:
            await asyncio.wait({wait.logs})
        finally:
            wait.logs.cancel()
        if wait.logs.cancelled():
            return
        fault = wait.logs.exception()
        if isinstance(fault, Exception) and not isinstance(fault, TimeoutError):
            wait.fail(fault)
        elif fault is None and (error := wait.logs.result()) is not None:
            # Not the looks, which have quotas and faults of their own: logs keep nobody from being right.
            asked = error.retry_after if isinstance(error, EnosRateLimitError) else None
            self._logs_from = self._now() + min(asked or _LOG_PAUSE, _LONGEST_PAUSE)

    @property
    def _is_quiet(self) -> bool:
        return self._now() < self._quiet_until

    def _turn_away(self, wait: _Wait) -> None:
        """The gateway is left alone: a look that failed; the next one is when it is left alone no more."""
        left = max(self._quiet_until - self._now(), 0.0) * random.uniform(1.0, 1.2)
        self._set_timer(wait, min(left, wait.pause))
        if self._why_quiet is not None:
            wait.missed(self._why_quiet)

    def _note_answer(self) -> None:
        self._failures = 0
        self._pause = 0.0

    def _back_off(self, error: EnosError) -> None:
        """Has the gateway left alone for a while if that is what it asks for, or if it does not answer."""
        if not isinstance(error, PASSING):
            return
        busy = isinstance(error, EnosRateLimitError) or (isinstance(error, EnosServerError) and error.code == 503)
        self._failures += 1
        if self._is_quiet or not (busy or self._failures >= _CONCURRENT):
            return
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        asked = error.retry_after if isinstance(error, EnosRateLimitError) else None
        self._quiet_until = self._now() + min(asked or self._pause, _LONGEST_PAUSE) * random.uniform(1.0, 1.2)
        self._why_quiet = error

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _for_each(waits: Iterable[_Wait], do: Callable[[_Wait], None]) -> None:
    """Does it for each, and lets others have the event loop now and then."""
    for number, wait in enumerate(waits, 1):
        do(wait)
        if number % _AT_A_TIME == 0:
            await asyncio.sleep(0)


_pollers: dict[tuple[asyncio.AbstractEventLoop, Settings], tuple[Poller, int]] = {}


@asynccontextmanager
async def shared_poller(settings: Settings) -> AsyncIterator[Poller]:
    """The poller of this event loop for these settings: made when the first comes, gone when the last has left."""
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
