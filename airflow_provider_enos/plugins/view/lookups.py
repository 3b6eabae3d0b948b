"""What EnOS says of flow instances, asked for once for all who look.

However many tabs are open, an instance is asked for once in a few seconds, and few instances at a time: the gateway's
quota is for tasks. Nothing here blocks or holds a thread while EnOS takes its time, so a gateway that hangs does not
take Airflow's API server with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
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
from airflow_provider_enos.protocol import calls
from airflow_provider_enos.protocol.cancelling import has_stopped
from airflow_provider_enos.protocol.exchange import Retry
from airflow_provider_enos.protocol.messages import Call
from airflow_provider_enos.protocol.models import FlowInstanceGraph, FlowInstanceNode, FlowStatus, TaskInstance
from airflow_provider_enos.protocol.text import excerpt, tail

T = TypeVar("T")

log = logging.getLogger(__name__)

FRESH, FRESH_ENDED, FRESH_PROBLEM, FRESH_LIMITED = 3.0, 15.0, 5.0, 60.0
"""For how many seconds an answer is given again: of one that runs, that has ended, of a problem, over the quota."""
REPLY_TIMEOUT, LONGEST_LOOK = 10.0, 25.0
AT_A_TIME = 4
"""How many instances are asked for at the same time."""
MOST_SOURCES = 200
MOST_RUNS = 16
"""Of how many nodes a look asks for the times, each of which costs a request."""
RUNS_PAUSE = 300.0
"""Seconds without asking for times, where EnOS does not give them (before its release 2.3 it has no such call)."""
LOG_LINES, LOG_LENGTH = 2000, 200_000

_RETRY = Retry(attempts=2, longest_pause=2.0)
_NOT_STARTED = {FlowStatus.INIT, FlowStatus.WAIT, FlowStatus.READY, FlowStatus.SKIP}


@dataclass(frozen=True, slots=True)
class Source:
    """A flow instance, and through which connection of Airflow to ask for it. ``team``: whose connections count."""

    conn_id: str
    team: str | None
    org_id: str | None
    user_id: str | None
    flow_instance_id: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What EnOS says. ``runs``: by the id of the node's task instance, as far as they are known."""

    graph: FlowInstanceGraph
    runs: Mapping[str, TaskInstance]
    link: str | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: a failed instance's other nodes may still be running."""
        return has_stopped(self.graph.instance)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is nothing to see, for whoever may see the task. Details are in the API server's log."""

    message: str
    fresh: float = FRESH_PROBLEM


@dataclass(slots=True)
class _Answer(Generic[T]):
    task: asyncio.Task[T | Problem]
    expires: float = float("inf")


@dataclass(slots=True)
class _Watched:
    """What is kept of one source."""

    answers: dict[str, _Answer[Any]] = field(default_factory=dict)
    runs: dict[str, tuple[str, TaskInstance]] = field(default_factory=dict)
    no_runs_until: float = 0.0


class Lookups:
    """For one event loop.

    :param settings_of: what the connection of a source says; it may block, and raise anything.
    """

    def __init__(self, settings_of: Callable[[Source], Settings], clock: Callable[[], float] = time.monotonic) -> None:
        self._settings_of = settings_of
        self._clock = clock
        self._watched: OrderedDict[Source, _Watched] = OrderedDict()
        self._slots = asyncio.Semaphore(AT_A_TIME)

    async def instance(self, source: Source) -> Seen | Problem:
        """The flow instance."""
        return await self._shared(
            source, "", lambda watched: self._look(source, watched), lambda seen: FRESH_ENDED if seen.ended else FRESH
        )

    async def log(self, source: Source, node: FlowInstanceNode) -> str | Problem:
        """The end of a node's log, cleaned; ``node`` is one of this instance."""
        return await self._shared(source, node.task_instance_id, lambda _: self._read(source, node), lambda _: FRESH)

    async def _shared(
        self,
        source: Source,
        what: str,
        ask: Callable[[_Watched], Coroutine[Any, Any, T | Problem]],
        fresh: Callable[[T], float],
    ) -> T | Problem:
        watched = self._watched.setdefault(source, _Watched())
        self._watched.move_to_end(source)
        if len(self._watched) > MOST_SOURCES:
            self._watched.popitem(last=False)
        answer: _Answer[T] | None = watched.answers.get(what)
        if answer is None or answer.expires <= self._clock():
            watched.answers[what] = answer = _Answer(asyncio.create_task(self._guarded(source, ask(watched))))
            kept = answer

            def expire(task: asyncio.Task[T | Problem]) -> None:
                value = None if task.cancelled() else task.result()
                seconds = 0.0 if value is None else value.fresh if isinstance(value, Problem) else fresh(value)
                kept.expires = self._clock() + seconds

            answer.task.add_done_callback(expire)
        # One who goes away does not take the answer of the others along.
        return await asyncio.shield(answer.task)

    async def _guarded(self, source: Source, asking: Coroutine[Any, Any, T | Problem]) -> T | Problem:
        try:
            async with asyncio.timeout(LONGEST_LOOK), self._slots:
                return await asking
        except TimeoutError:
            log.warning("%s: no answer within %g s", source.flow_instance_id, LONGEST_LOOK)
            return Problem("EnOS takes too long to answer.")
        except Exception as error:  # noqa: BLE001 - secrets back-ends raise anything, and a page must say something
            log.warning("%s through %s: %s", source.flow_instance_id, source.conn_id, error)
            return _problem(error, source)
        finally:
            # It has not begun where there was no slot for it in time.
            asking.close()

    async def _client(self, source: Source) -> tuple[AsyncClient, Settings]:
        settings = await asyncio.to_thread(self._settings_of, source)
        return AsyncClient(settings, retry=_RETRY, timeout=min(settings.timeout, REPLY_TIMEOUT)), settings

    async def _look(self, source: Source, watched: _Watched) -> Seen:
        client, settings = await self._client(source)
        async with client:
            graph = await client.call(_graph_call(source.flow_instance_id))
            await self._ask_for_runs(client, graph, watched)
        runs = {name: run for name, (_, run) in watched.runs.items()}
        return Seen(graph, runs, settings.link(source.flow_instance_id))

    async def _ask_for_runs(self, client: AsyncClient, graph: FlowInstanceGraph, watched: _Watched) -> None:
        """The times of nodes that have started, or changed since they were last asked for."""
        if self._clock() < watched.no_runs_until:
            return
        news = [
            (node, node.status.name)
            for node in graph.instance.nodes
            if node.task_instance_id and node.status is not None and node.status not in _NOT_STARTED
            if watched.runs.get(node.task_instance_id, ("", None))[0] != node.status.name
        ]
        answers = await asyncio.gather(*(_run(client, node) for node, _ in news[:MOST_RUNS]))
        for (node, status), run in zip(news, answers, strict=False):
            if run is None:
                watched.no_runs_until = self._clock() + RUNS_PAUSE
            elif run.start_time and (run.end_time or not (node.status and node.status.ended)):
                watched.runs[node.task_instance_id] = (status, run)

    async def _read(self, source: Source, node: FlowInstanceNode) -> str | Problem:
        client, _ = await self._client(source)
        async with client:
            try:
                text = await client.call(calls.get_task_instance_log(node.task_instance_id))
            except EnosNotFoundError:
                return Problem("This node has no log, or not yet.", FRESH)
        return tail(text, LOG_LINES, LOG_LENGTH)


def _graph_call(flow_instance_id: str) -> Call[FlowInstanceGraph]:
    call: Call[Any] = calls.get_flow_instance(flow_instance_id)
    return replace(call, parse=FlowInstanceGraph.parse)


async def _run(client: AsyncClient, node: FlowInstanceNode) -> TaskInstance | None:
    try:
        return await client.call(calls.get_task_instance(node.task_instance_id))
    except EnosError as error:
        log.info("no times of %s: %s", node.task_instance_id, error)
        return None


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
