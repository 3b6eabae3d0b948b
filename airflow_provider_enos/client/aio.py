"""Drive protocol generators with aiohttp: in the triggerer, where nothing may block the event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.client import timing, transport_errors
from airflow_provider_enos.client.gateways import shared_gateway
from airflow_provider_enos.client.reply_body import ReplyBody
from airflow_provider_enos.client.settings import CONNECT_TIMEOUT, Settings
from airflow_provider_enos.client.tracebacks import without_frames
from airflow_provider_enos.client.transport_errors import PROXY_WANTS_PASSWORD
from airflow_provider_enos.client.worker_thread import in_worker_thread
from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.bounded_json import LIMITS, Limits
from airflow_provider_enos.protocol.wire import replies
from airflow_provider_enos.protocol.wire.exchange import DEFAULT_RETRY, Retry, Tenant
from airflow_provider_enos.protocol.wire.messages import Call, Procedure, Read, Request, Response, Sleep, T

if TYPE_CHECKING:
    import aiohttp

    from airflow_provider_enos.client.route import Route

_MOST_CONNECTIONS = 8
_READ_AT_ONCE = 16 * 1024
"""Bytes. A reply up to this size is parsed on the event loop, a larger one in another thread."""
_PIECES_AT_ONCE = 100
"""Chunks of a reply that are read before other tasks of the event loop get a turn."""


class AsyncClient:
    """Carry out calls and procedures on one event loop, all in one HTTP session.

    Use it as ``async with AsyncClient(settings) as client``.

    :param timeout: seconds to wait for each reply, in place of the one in the settings.
    :param limits: bounds on the size and shape of a reply.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        retry: Retry = DEFAULT_RETRY,
        timeout: float | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self.gateway = shared_gateway(settings)
        self._tenant = Tenant(settings.org_id, settings.user_id)
        self._retry = retry
        self._timeout = timeout or settings.timeout
        self._settings = settings
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None
        self._route: Route | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def call(self, call: Call[T]) -> T:
        """Carry out one call. Return its result."""
        with without_frames():
            return await self._drive(self.gateway.exchange(call, self._tenant, self._retry), self._step_of_exchange)

    async def run(self, procedure: Procedure[T], *, call: Callable[[Call[Any]], Awaitable[Any]] | None = None) -> T:
        """Carry out a procedure of several calls. Return its result. ``call``, if given, carries out each of them."""

        async def do(step: Call[Any] | Sleep) -> Any:
            return await (_sleep(step) if isinstance(step, Sleep) else (call or self.call)(step))

        return await self._drive(procedure, do)

    async def close(self) -> None:
        """Close the HTTP session; the next call opens another."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _drive(self, steps: Generator[Any, Any, T], do: Callable[[Any], Awaitable[Any]]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    result = await do(step)
                except EnosError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        finally:
            # Also after an interruption: the generator may hold a lock.
            steps.close()

    async def _step_of_exchange(self, step: Request | Read | Sleep) -> Any:
        if isinstance(step, Sleep):
            return await _sleep(step)
        return await (self._read(step) if isinstance(step, Read) else self._send(step))

    async def _read(self, step: Read) -> Any:
        read = partial(replies.read, step.call, step.response, secrets=step.secrets, limits=self._limits)
        return await in_worker_thread(read) if len(step.response.body) > _READ_AT_ONCE else read()

    async def _send(self, request: Request) -> Response:
        import aiohttp
        from yarl import URL

        session, route = await self._open()
        progress = _Progress()
        try:
            async with session.request(
                request.method,
                URL(request.url, encoded=True),
                headers={**request.headers, **_for_proxy(route, tunnelled=False)},
                data=request.body,
                allow_redirects=False,
                proxy=route.proxy.address if route.proxy else None,
                proxy_headers=_for_proxy(route, tunnelled=True),
                trace_request_ctx=progress,
            ) as reply:
                if reply.status == PROXY_WANTS_PASSWORD:
                    raise transport_errors.refused_by_proxy(route, reply.status)
                body = await self._body(reply)
                headers = {name.lower(): value for name, value in reply.headers.items()}
                return Response(reply.status, headers, body)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            status = error.status if isinstance(error, aiohttp.ClientHttpProxyError) else None
            # Resolvers other than Python's raise other errors for an unknown host.
            found = socket.gaierror() if isinstance(error, aiohttp.ClientConnectorDNSError) else error
            raise transport_errors.lost(route, found, connected=progress.connected, proxy_status=status) from None

    async def _open(self) -> tuple[aiohttp.ClientSession, Route]:
        async with self._opening:
            if self._session is None or self._route is None:
                from airflow_provider_enos.client.route import route_to

                # It reads CA files, which may be on a disk that hangs.
                self._route = await asyncio.to_thread(route_to, self._settings, shares_tls=True)
                self._session = self._session_on(self._route)
            return self._session, self._route

    def _session_on(self, route: Route) -> aiohttp.ClientSession:
        import aiohttp

        async def connected(_: object, context: Any, __: object) -> None:
            context.trace_request_ctx.connected = True

        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(connected)
        trace.on_connection_reuseconn.append(connected)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_MOST_CONNECTIONS, ssl=route.trust or True),
            timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=min(CONNECT_TIMEOUT, self._timeout)),
            cookie_jar=aiohttp.DummyCookieJar(),
            # aiohttp hands on all small chunks that fit into it at once.
            read_bufsize=_READ_AT_ONCE,
            auto_decompress=False,
            # True would send credentials of a .netrc file, which are not for EnOS.
            trust_env=False,
            trace_configs=[trace],
        )
        # aiohttp repeats a GET on a new connection by itself: with the same signature, which the gateway takes for a
        # replay. The exchange decides what is repeated. aiohttp has no public option for this (tests hold it).
        session._retry_connection = False
        return session

    async def _body(self, reply: aiohttp.ClientResponse) -> bytes:
        encoding = reply.headers.get("Content-Encoding", "")
        body = ReplyBody(self.gateway.base_url, reply.status, encoding, self._limits.size)
        # By chunk, not joined: ReplyBody bounds their number.
        async for piece, _ in reply.content.iter_chunks():
            body.add(piece)
            if body.pieces % _PIECES_AT_ONCE == 0:
                # Chunks that have arrived already come without a pause.
                await asyncio.sleep(0)
        return await in_worker_thread(body.whole) if body.size > _READ_AT_ONCE else body.whole()


async def _sleep(step: Sleep) -> None:
    await asyncio.sleep(timing.pause(step.seconds))


@dataclass(slots=True)
class _Progress:
    """Whether a request has a connection, tunnel and TLS included."""

    connected: bool = False


def _for_proxy(route: Route, *, tunnelled: bool) -> dict[str, str]:
    """Return the header with the proxy's password: for CONNECT if the gateway is https, else for each request."""
    authorization = route.proxy and route.proxy.authorization
    if not authorization or tunnelled != route.base_url.startswith("https:"):
        return {}
    return {"Proxy-Authorization": authorization}
