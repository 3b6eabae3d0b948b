"""Fetch flow instances from EnOS, once for all viewers.

However many tabs are open, a process of the API server polls an instance once in a few seconds, and few instances at
a time: the gateway's quota is for tasks. Nothing here blocks or holds a thread while EnOS answers, so a gateway that
hangs does not stop Airflow's API server. Caches are bounded, whatever EnOS sends.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosApiError,
    EnosAuthError,
    EnosConfigError,
    EnosError,
    EnosNotFoundError,
    EnosRateLimitError,
    EnosTransportError,
)
from airflow_provider_enos.plugins.view import picture, why
from airflow_provider_enos.plugins.view.clock import Zones, clock_of
from airflow_provider_enos.plugins.view.picture import Json, Seen, Times
from airflow_provider_enos.plugins.view.why import Why
from airflow_provider_enos.protocol.bounded_json import LIMITS_OF_A_PAGE
from airflow_provider_enos.protocol.follow.cancelling import has_stopped
from airflow_provider_enos.protocol.models import FlowInstance, FlowInstanceGraph, FlowInstanceNode, FlowStatus
from airflow_provider_enos.protocol.text import excerpt, tail
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.exchange import Retry
from airflow_provider_enos.protocol.wire.names import is_named, quoted

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

log = logging.getLogger(__name__)

FRESH, FRESH_ENDED, FRESH_PROBLEM, FRESH_LIMITED = 3.0, 15.0, 5.0, 60.0
"""Seconds for which an answer is cached: of a running instance, an ended one, a problem, and over the quota."""
REPLY_TIMEOUT, LONGEST_LOOK = 10.0, 25.0
AT_A_TIME = 4
"""How many fetches run at the same time for a connection."""
MOST_SOURCES, MOST_LOGS = 200, 50
"""The most instances and logs that are cached."""
MOST_RUNS = 16
"""For how many nodes one poll fetches start and end: each costs a request."""
RUNS_PAUSE = 60.0
"""Seconds to stop fetching times after EnOS did not answer, or said that its quota is used up."""
LOG_LINES, LOG_LENGTH = 2000, 200_000

_RETRY = Retry(attempts=2, longest_pause=2.0)


@dataclass(frozen=True, slots=True)
class Source:
    """A flow instance, and the Airflow connection to fetch it with.

    :param team: the team whose connection it is, where Airflow has teams.
    :param flow_id: the flow that the instance must belong to; None where it is not known.
    :param flow_name: the name of that flow, where its id is not known.
    """

    conn_id: str
    team: str | None
    org_id: str | None
    user_id: str | None
    flow_instance_id: str
    flow_id: int | None = None
    flow_name: str | None = None

    @property
    def flow(self) -> str:
        """The flow that the instance must belong to, in words."""
        return str(self.flow_id) if self.flow_id is not None else quoted(self.flow_name or "")

    def has(self, instance: FlowInstance) -> bool:
        """Return whether the instance is of the flow, as far as it is known which flow that is."""
        if self.flow_id is not None:
            return instance.flow_id == self.flow_id
        return self.flow_name is None or is_named(self.flow_name, instance.flow_name)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is nothing to see, in words for every viewer of the task. Details are in the API server's log."""

    message: str
    fresh: float = FRESH_PROBLEM


@dataclass(slots=True)
class Answer(Generic[T]):
    """The request to EnOS, done or under way; None if there was none yet."""

    task: asyncio.Task[T | Problem] | None = None
    expires: float = 0.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """The times of a node, the node's status when they were fetched, and whether its instance had stopped then."""

    status: FlowStatus | None
    stopped: bool
    times: Times | None

    def is_the_last_word(self, status: FlowStatus | None, stopped: bool) -> bool:
        """Return whether fetching again would bring nothing new. A missing end may come when the instance ends."""
        complete = self.times is not None and self.times.start and self.times.end
        return self.status == status and bool(complete or self.stopped == stopped)


@dataclass(slots=True)
class _Watched:
    """What is cached of one source. ``asked``: by the id of the node's task instance."""

    answer: Answer[Json] = field(default_factory=Answer)
    asked: dict[str, _Asked] = field(default_factory=dict)
    no_runs_until: float = 0.0


class OwnLoop:
    """An event loop in a thread of its own, so that parsing replies never delays the API server's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="enos-view", daemon=True).start()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` on that loop. Return its result."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


class Lookups:
    """Fetch and cache flow instances and logs, on one event loop.

    :param settings_of: returns the settings of a source's connection. It may block, and raise anything.
    """

    def __init__(self, settings_of: Callable[[Source], Settings], clock: Callable[[], float] = time.monotonic) -> None:
        self._settings_of = settings_of
        self._clock = clock
        self._watched: OrderedDict[Source, _Watched] = OrderedDict()
        self._logs: OrderedDict[tuple[Source, str], Answer[str]] = OrderedDict()
        self._whys: OrderedDict[Source, Answer[Why]] = OrderedDict()
        self._zones = Zones(clock)
        self._slots: OrderedDict[tuple[str, str | None], asyncio.Semaphore] = OrderedDict()

    async def instance(self, source: Source) -> Json | Problem:
        """Return the flow instance as the page draws it."""
        watched = cached(self._watched, source, MOST_SOURCES, _Watched)
        return await self.shared(
            watched.answer,
            source,
            lambda client, settings: self._look(client, settings, source, watched),
            lambda drawn: FRESH_ENDED if drawn["refresh"] is None else FRESH,
        )

    async def log(self, source: Source, task_instance_id: str) -> str | Problem:
        """Return the end of a node's log, cleaned. The caller has checked that the node is of this instance."""
        answer = cached(self._logs, (source, task_instance_id), MOST_LOGS, Answer[str])
        return await self.shared(answer, source, lambda client, _: _read(client, task_instance_id), lambda _: FRESH)

    async def why(self, source: Source) -> Why | Problem:
        """Return why the flow instance failed, if it did."""
        answer = cached(self._whys, source, MOST_LOGS, Answer[Why])
        return await self.shared(answer, source, lambda client, _: _why(client, source), lambda _: FRESH_ENDED)

    async def shared(
        self,
        answer: Answer[T],
        source: Source,
        ask: Callable[[AsyncClient, Settings], Awaitable[T | Problem]],
        fresh: Callable[[T], float],
    ) -> T | Problem:
        """Return the cached answer; ask if there is none, or none any more. All who wait share one request.

        :param ask: is given a client for the connection of ``source``.
        :param fresh: returns for how many seconds a result is cached.
        """

        def expire(task: asyncio.Task[T | Problem]) -> None:
            value = None if task.cancelled() else task.result()
            seconds = 0.0 if value is None else value.fresh if isinstance(value, Problem) else fresh(value)
            answer.expires = self._clock() + seconds

        if self.is_stale(answer):
            answer.expires = float("inf")
            answer.task = asyncio.create_task(self._guarded(source, ask))
            answer.task.add_done_callback(expire)
        # If one viewer goes away, the others still get the answer.
        assert answer.task is not None
        return await asyncio.shield(answer.task)

    def is_stale(self, answer: Answer[T]) -> bool:
        """Return whether ``shared`` would ask EnOS."""
        return answer.task is None or answer.expires <= self._clock()

    def last_seen(self, source: Source) -> Json | None:
        """Return what ``instance`` has cached, without a request; None if there is nothing, or a problem."""
        watched = self._watched.get(source)
        task = None if watched is None or self.is_stale(watched.answer) else watched.answer.task
        seen = task.result() if task is not None and task.done() and not task.cancelled() else None
        return seen if isinstance(seen, dict) else None

    async def _guarded(
        self, source: Source, ask: Callable[[AsyncClient, Settings], Awaitable[T | Problem]]
    ) -> T | Problem:
        try:
            async with asyncio.timeout(LONGEST_LOOK):
                settings = await asyncio.to_thread(self._settings_of, source)
                async with self._slots_of(source), _client(settings) as client:
                    return await ask(client, settings)
        except TimeoutError:
            log.warning("%s: no answer within %g s", source.flow_instance_id, LONGEST_LOOK)
            return Problem("EnOS takes too long to answer.")
        except Exception as error:  # noqa: BLE001 - secrets back-ends raise anything, and a page must say something
            log.warning("%s through %s: %s", source.flow_instance_id, source.conn_id, error)
            return _problem(error, source)

    def _slots_of(self, source: Source) -> asyncio.Semaphore:
        """Return the slots of its connection: a gateway that hangs does not delay other connections."""
        connection = (source.conn_id, source.team)
        return cached(self._slots, connection, MOST_SOURCES, lambda: asyncio.Semaphore(AT_A_TIME))

    async def _look(self, client: AsyncClient, settings: Settings, source: Source, watched: _Watched) -> Json | Problem:
        graph = await client.call(calls.get_flow_instance_graph(source.flow_instance_id))
        if not source.has(graph.instance):
            return of_another_flow(source)
        asks_on = await self._ask_for_runs(client, graph, watched)
        times = {name: asked.times for name, asked in watched.asked.items() if asked.times is not None}
        drawn = picture.of_instance(Seen(graph, times, settings.link(source.flow_instance_id), asks_on))
        return drawn | {"clock": clock_of(drawn, await self._zones.name_of(client), client.gateway.now())}

    async def _ask_for_runs(self, client: AsyncClient, graph: FlowInstanceGraph, watched: _Watched) -> bool:
        """Fetch the times of nodes that have started or changed since. Return whether more nodes are left."""
        stopped = has_stopped(graph.instance)
        started = {node.task_instance_id: node for node in graph.instance.nodes if node.has_run}
        watched.asked = {name: asked for name, asked in watched.asked.items() if name in started}
        if self._clock() < watched.no_runs_until:
            return False
        news = [
            node
            for name, node in started.items()
            if name not in watched.asked or not watched.asked[name].is_the_last_word(node.status, stopped)
        ]
        answers = await asyncio.gather(*(_times(client, node) for node in news[:MOST_RUNS]))
        for node, answer in zip(news, answers, strict=False):
            if isinstance(answer, EnosError):
                watched.no_runs_until = self._clock() + RUNS_PAUSE
            else:
                watched.asked[node.task_instance_id] = _Asked(node.status, stopped, answer)
        return len(news) > MOST_RUNS and self._clock() >= watched.no_runs_until


def of_another_flow(source: Source) -> Problem:
    """Return why an instance is not shown that is not of the task's flow."""
    log.warning("%s is not of flow %s, so it is not shown", source.flow_instance_id, source.flow)
    return Problem(
        f"This task is about flow {source.flow}, but the instance on record for it is of another flow: "
        f"{source.flow_instance_id}. It is not shown.",
        FRESH_ENDED,
    )


def cached(store: OrderedDict[K, T], key: K, most: int, make: Callable[[], T]) -> T:
    """Return the cached value of this key, or make one. Beyond ``most``, drop the least recently used."""
    if key not in store:
        store[key] = make()
    store.move_to_end(key)
    if len(store) > most:
        store.popitem(last=False)
    return store[key]


def _client(settings: Settings) -> AsyncClient:
    timeout = min(settings.timeout, REPLY_TIMEOUT)
    return AsyncClient(settings, retry=_RETRY, timeout=timeout, limits=LIMITS_OF_A_PAGE)


async def _times(client: AsyncClient, node: FlowInstanceNode) -> Times | EnosError | None:
    """Return the times, an error that may pass, or None if EnOS has none: releases before 2.3 lack this call."""
    try:
        return Times.of(await client.call(calls.get_task_instance(node.task_instance_id)))
    except EnosError as error:
        log.info("no times of %s: %s", node.task_instance_id, error)
        return error if isinstance(error, (EnosTransportError, EnosRateLimitError)) else None


async def _read(client: AsyncClient, task_instance_id: str) -> str | Problem:
    try:
        text = await client.call(calls.get_task_instance_log(task_instance_id))
    except EnosNotFoundError:
        return Problem("This node has no log, or not yet.", FRESH)
    return tail(text, LOG_LINES, LOG_LENGTH)


async def _why(client: AsyncClient, source: Source) -> Why:
    instance = await client.call(calls.get_flow_instance(source.flow_instance_id))
    return await client.run(why.of_instance(instance)) if source.has(instance) else Why()


def _problem(error: Exception, source: Source) -> Problem:
    """Return a message without address, user and key: the viewer may have no right to see connections."""
    if isinstance(error, EnosConfigError):
        return Problem(f"The connection {source.conn_id} cannot work; the API server's log says why.")
    if isinstance(error, EnosTransportError):
        return Problem("EnOS does not answer at the moment.")
    if isinstance(error, EnosAuthError):
        return Problem(f"EnOS does not accept the key of the connection {source.conn_id}.")
    if isinstance(error, EnosAccessError):
        return Problem(f"EnOS does not let the user of the connection {source.conn_id} see this.")
    if isinstance(error, EnosNotFoundError):
        return Problem("EnOS has nothing by this id, or not yet.")
    if isinstance(error, EnosRateLimitError):
        return Problem("EnOS says that it is asked too often. This page asks again in a minute.", FRESH_LIMITED)
    if isinstance(error, EnosApiError):
        return Problem(f"EnOS answered: {error.code} {excerpt(error.api_message, 200)}")
    if isinstance(error, EnosError):
        return Problem("EnOS gave an answer that cannot be read; the API server's log says more.")
    return Problem(f"The connection {source.conn_id} could not be read; the API server's log says why.")
