"""What EnOS says of flow instances, asked for once for all who look.

However many tabs are open, a process of the API server asks for an instance once in a few seconds, and for few
instances at a time: the gateway's quota is for tasks. Nothing here blocks or holds a thread while EnOS takes its time,
so a gateway that hangs does not take Airflow's API server with it. What is kept is bounded, whatever EnOS sends.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass, field, replace
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
from airflow_provider_enos.plugins.view import picture
from airflow_provider_enos.plugins.view.picture import Json, Seen, Times
from airflow_provider_enos.protocol.bounded_json import LIMITS_OF_A_PAGE
from airflow_provider_enos.protocol.follow.cancelling import has_stopped
from airflow_provider_enos.protocol.models import FlowInstanceGraph, FlowInstanceNode, FlowStatus
from airflow_provider_enos.protocol.text import excerpt, tail
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.exchange import Retry
from airflow_provider_enos.protocol.wire.messages import Call

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

log = logging.getLogger(__name__)

FRESH, FRESH_ENDED, FRESH_PROBLEM, FRESH_LIMITED = 3.0, 15.0, 5.0, 60.0
"""For how many seconds an answer is given again: of one that runs, that has ended, of a problem, over the quota."""
REPLY_TIMEOUT, LONGEST_LOOK = 10.0, 25.0
AT_A_TIME = 4
"""How many looks a connection carries out at the same time."""
MOST_SOURCES, MOST_LOGS = 200, 50
"""Of how many the last answer is kept."""
MOST_RUNS = 16
"""Of how many nodes a look asks for the times, each of which costs a request."""
RUNS_PAUSE = 60.0
"""Seconds without asking for times, where EnOS does not answer that, or says that it is asked too often."""
LOG_LINES, LOG_LENGTH = 2000, 200_000

_RETRY = Retry(attempts=2, longest_pause=2.0)


@dataclass(frozen=True, slots=True)
class Source:
    """A flow instance, and through which connection of Airflow to ask for it.

    :param team: whose connections count.
    :param flow_id: the flow that the instance has to be of; None where that is not known.
    """

    conn_id: str
    team: str | None
    org_id: str | None
    user_id: str | None
    flow_instance_id: str
    flow_id: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is nothing to see, for whoever may see the task. Details are in the API server's log."""

    message: str
    fresh: float = FRESH_PROBLEM


@dataclass(slots=True)
class _Answer(Generic[T]):
    """The answer of EnOS, or that it is being asked; None: it has not been asked yet."""

    task: asyncio.Task[T | Problem] | None = None
    expires: float = 0.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """What EnOS said of a node's times, and when: at which status of the node; whether its instance had stopped."""

    status: FlowStatus | None
    stopped: bool
    times: Times | None

    def is_the_last_word(self, status: FlowStatus | None, stopped: bool) -> bool:
        """Whether asking again would bring nothing new. An end that was missing may come with the instance's."""
        complete = self.times is not None and self.times.start and self.times.end
        return self.status == status and bool(complete or self.stopped == stopped)


@dataclass(slots=True)
class _Watched:
    """What is kept of one source. ``asked``: by the id of the node's task instance."""

    answer: _Answer[Json] = field(default_factory=_Answer)
    asked: dict[str, _Asked] = field(default_factory=dict)
    no_runs_until: float = 0.0


class OwnLoop:
    """An event loop in a thread of its own, so that whatever EnOS sends takes no time of the API server's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="enos-view", daemon=True).start()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of ``work``, which is carried out there."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


class Lookups:
    """For one event loop.

    :param settings_of: what the connection of a source says; it may block, and raise anything.
    """

    def __init__(self, settings_of: Callable[[Source], Settings], clock: Callable[[], float] = time.monotonic) -> None:
        self._settings_of = settings_of
        self._clock = clock
        self._watched: OrderedDict[Source, _Watched] = OrderedDict()
        self._logs: OrderedDict[tuple[Source, str], _Answer[str]] = OrderedDict()
        self._slots: OrderedDict[tuple[str, str | None], asyncio.Semaphore] = OrderedDict()

    async def instance(self, source: Source) -> Json | Problem:
        """The flow instance, as the page draws it."""
        watched = _kept(self._watched, source, MOST_SOURCES, _Watched)
        return await self._shared(
            watched.answer,
            source,
            lambda client, settings: self._look(client, settings, source, watched),
            lambda drawn: FRESH_ENDED if drawn["refresh"] is None else FRESH,
        )

    async def log(self, source: Source, task_instance_id: str) -> str | Problem:
        """The end of a node's log, cleaned; the id is the one of a node of this instance."""
        answer = _kept(self._logs, (source, task_instance_id), MOST_LOGS, _Answer[str])
        return await self._shared(answer, source, lambda client, _: _read(client, task_instance_id), lambda _: FRESH)

    async def _shared(
        self,
        answer: _Answer[T],
        source: Source,
        ask: Callable[[AsyncClient, Settings], Awaitable[T | Problem]],
        fresh: Callable[[T], float],
    ) -> T | Problem:
        def expire(task: asyncio.Task[T | Problem]) -> None:
            value = None if task.cancelled() else task.result()
            seconds = 0.0 if value is None else value.fresh if isinstance(value, Problem) else fresh(value)
            answer.expires = self._clock() + seconds

        if answer.task is None or answer.expires <= self._clock():
            answer.expires = float("inf")
            answer.task = asyncio.create_task(self._guarded(source, ask))
            answer.task.add_done_callback(expire)
        # One who goes away does not take the answer of the others along.
        return await asyncio.shield(answer.task)

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
        """Those of its connection, so that a gateway that hangs holds up no other one."""
        connection = (source.conn_id, source.team)
        return _kept(self._slots, connection, MOST_SOURCES, lambda: asyncio.Semaphore(AT_A_TIME))

    async def _look(self, client: AsyncClient, settings: Settings, source: Source, watched: _Watched) -> Json | Problem:
        graph = await client.call(_graph_call(source.flow_instance_id))
        if source.flow_id not in (None, graph.instance.flow_id):
            log.warning("%s is not of flow %s, so it is not shown", source.flow_instance_id, source.flow_id)
            return Problem(
                f"This task is about flow {source.flow_id}, but the instance on record for it is of another flow: "
                f"{source.flow_instance_id}. It is not shown.",
                FRESH_ENDED,
            )
        asks_on = await self._ask_for_runs(client, graph, watched)
        times = {name: asked.times for name, asked in watched.asked.items() if asked.times is not None}
        return picture.of_instance(Seen(graph, times, settings.link(source.flow_instance_id), asks_on))

    async def _ask_for_runs(self, client: AsyncClient, graph: FlowInstanceGraph, watched: _Watched) -> bool:
        """The times of nodes that have started, or changed since they were asked for; gives whether more are left."""
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


def _kept(store: OrderedDict[K, T], key: K, most: int, make: Callable[[], T]) -> T:
    """What is kept by this key, made if need be; of more than ``most`` the one goes that was longest not asked for."""
    if key not in store:
        store[key] = make()
    store.move_to_end(key)
    if len(store) > most:
        store.popitem(last=False)
    return store[key]


def _client(settings: Settings) -> AsyncClient:
    timeout = min(settings.timeout, REPLY_TIMEOUT)
    return AsyncClient(settings, retry=_RETRY, timeout=timeout, limits=LIMITS_OF_A_PAGE)


def _graph_call(flow_instance_id: str) -> Call[FlowInstanceGraph]:
    call: Call[Any] = calls.get_flow_instance(flow_instance_id)
    return replace(call, parse=FlowInstanceGraph.parse)


async def _times(client: AsyncClient, node: FlowInstanceNode) -> Times | EnosError | None:
    """None: EnOS has answered, and has none. Releases before 2.3 have no such call. The error is one that may pass."""
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


def _problem(error: Exception, source: Source) -> Problem:
    """In words for a viewer, who need not be allowed to see connections: no address, no user, no key."""
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
        return Problem("EnOS says that it is asked too often; a minute of rest.", FRESH_LIMITED)
    if isinstance(error, EnosApiError):
        return Problem(f"EnOS answered: {error.code} {excerpt(error.api_message, 200)}")
    if isinstance(error, EnosError):
        return Problem("EnOS gave an answer that cannot be read; the API server's log says more.")
    return Problem(f"The connection {source.conn_id} could not be read; the API server's log says why.")
