"""Drive protocol generators with requests: in task processes, the connection test and scripts."""

from __future__ import annotations

import re
import sys
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_enos.client import timing, transport_errors
from airflow_provider_enos.client.gateways import shared_gateway
from airflow_provider_enos.client.reply_body import ReplyBody
from airflow_provider_enos.client.settings import CONNECT_TIMEOUT, Settings
from airflow_provider_enos.client.tracebacks import without_frames
from airflow_provider_enos.client.transport_errors import PROXY_WANTS_PASSWORD
from airflow_provider_enos.errors import EnosError, EnosSetupError
from airflow_provider_enos.protocol.bounded_json import LIMITS_OF_A_TASK, Limits
from airflow_provider_enos.protocol.follow.poll_tolerance import is_refusal
from airflow_provider_enos.protocol.wire import replies
from airflow_provider_enos.protocol.wire.exchange import DEFAULT_RETRY, Retry, Tenant
from airflow_provider_enos.protocol.wire.messages import (
    Call,
    Exchange,
    Procedure,
    Read,
    Request,
    Response,
    Sleep,
    T,
)

if TYPE_CHECKING:
    import requests

    from airflow_provider_enos.client.deadline_adapter import DeadlineAdapter

_CHUNK = 64 * 1024
_WAKE_UP = 1.0


class SyncClient:
    """Carry out calls and procedures, all in one HTTP session. Not to be shared between threads.

    :param settings: the settings of the connection, or a function that reads them. It is called before the first call,
        with None, and after each refusal, with the settings that were refused. Its errors are errors of the call.
    :param timeout: seconds to wait for each reply, in place of the one in the settings.
    :param connect_timeout: seconds to wait for a connection.
    :param limits: bounds on the size and shape of a reply.
    """

    def __init__(
        self,
        settings: Settings | Callable[[Settings | None], Settings],
        *,
        retry: Retry = DEFAULT_RETRY,
        timeout: float | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        limits: Limits = LIMITS_OF_A_TASK,
    ) -> None:
        self._read_settings = None if isinstance(settings, Settings) else settings
        self._settings = settings if isinstance(settings, Settings) else None
        self._is_refused = False
        self._retry = retry
        self._given_timeout = timeout
        self._given_connect_timeout = connect_timeout
        self._limits = limits
        self._adapter: DeadlineAdapter | None = None
        self._before_unsafe: Callable[[], None] | None = None
        self._while_sleeping: Callable[[], None] | None = None
        if self._settings is not None:
            self._use(self._settings)

    def call(self, call: Call[T]) -> T:
        """Carry out one call. Return its result."""
        self._refresh()
        try:
            with without_frames():
                return self._drive(self.gateway.exchange(call, self._tenant, self._retry), self._step_of_exchange)
        except EnosError as error:
            self._is_refused = is_refusal(error)
            raise

    def exchange(self, steps: Exchange[T]) -> T:
        """Carry out the steps of an exchange that somebody else has written. Return its result."""
        self._refresh()
        with without_frames():
            return self._drive(steps, self._step_of_exchange)

    def run(
        self,
        procedure: Procedure[T],
        *,
        before_unsafe: Callable[[], None] | None = None,
        while_sleeping: Callable[[], None] | None = None,
    ) -> T:
        """Carry out several calls that belong together, and return their result.

        :param before_unsafe: called just before each request that is not safe to repeat. If it raises, the request is
            not sent.
        :param while_sleeping: called each second of a pause. If it raises, the pause ends: a signal handler that
            returns does not end it.
        """
        self._before_unsafe, self._while_sleeping = before_unsafe, while_sleeping
        try:
            return self._drive(procedure, self._step_of_procedure)
        finally:
            self._before_unsafe = self._while_sleeping = None

    def open(self) -> None:
        """Set up the session, and import what it needs, ahead of the first call.

        If that fails, the first call tries again and raises the error.
        """
        self._refresh()
        with without_frames(), suppress(EnosSetupError):
            self._open()

    def close(self) -> None:
        """Close the HTTP session; the next call opens another."""
        if self._adapter is not None:
            self._adapter.close()
            self._adapter = None

    def _refresh(self) -> None:
        """Read the settings if there are none, or if they were refused."""
        if self._read_settings is None or (self._settings is not None and not self._is_refused):
            return
        settings = self._read_settings(self._settings)
        self._is_refused = False
        if settings != self._settings:
            self.close()
            self._use(settings)

    def _use(self, settings: Settings) -> None:
        self._settings = settings
        self.gateway = shared_gateway(settings)
        self._tenant = Tenant(settings.org_id, settings.user_id)
        self._timeout = self._given_timeout or settings.timeout
        self._connect_timeout = min(self._given_connect_timeout, self._timeout)
        self._in_use = settings

    def _drive(self, steps: Generator[Any, Any, T], do: Callable[[Any], Any]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    result = do(step)
                except EnosError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        finally:
            # Also after an interruption: the generator may hold a lock.
            steps.close()

    def _step_of_procedure(self, step: Call[Any] | Sleep) -> Any:
        return self.call(step) if isinstance(step, Call) else self._pause(step.seconds)

    def _step_of_exchange(self, step: Request | Read | Sleep) -> Any:
        if isinstance(step, Read):
            return replies.read(step.call, step.response, secrets=step.secrets, limits=self._limits)
        return self._send(step) if isinstance(step, Request) else self._pause(step.seconds)

    def _pause(self, seconds: float) -> Any:
        while self._while_sleeping is not None and seconds > _WAKE_UP:
            time.sleep(timing.pause(_WAKE_UP))
            self._while_sleeping()
            seconds -= _WAKE_UP
        time.sleep(timing.pause(seconds))

    def _send(self, request: Request) -> Response:
        import requests

        # Not requests.structures: a signal that interrupts the first import leaves requests without that attribute.
        from requests.structures import CaseInsensitiveDict
        from urllib3.exceptions import HTTPError

        adapter = self._open()
        if not request.safe and self._before_unsafe is not None:
            self._before_unsafe()
        prepared = requests.PreparedRequest()
        prepared.method = request.method
        prepared.url = request.url
        prepared.headers = CaseInsensitiveDict(request.headers)
        prepared.body = request.body
        if request.body is not None:
            prepared.headers["Content-Length"] = str(len(request.body))
        handled = sys.exception()
        adapter.deadline = time.monotonic() + self._timeout
        adapter.connected = False
        try:
            # Not by a session: it reads the body of a redirect even if it may not follow it.
            with adapter.send(
                prepared, stream=True, timeout=(self._connect_timeout, self._timeout), proxies=adapter.proxies
            ) as reply:
                if reply.status_code == PROXY_WANTS_PASSWORD:
                    raise transport_errors.refused_by_proxy(adapter.route, reply.status_code)
                body = self._read(reply)
                headers = {name.lower(): value for name, value in reply.headers.items()}
                return Response(reply.status_code, headers, body)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            status = _proxy_status(error, handled)
            raise transport_errors.lost(
                adapter.route, error, connected=adapter.connected, proxy_status=status, handled=handled
            ) from None

    def _open(self) -> DeadlineAdapter:
        if self._adapter is None:
            from airflow_provider_enos.client.deadline_adapter import DeadlineAdapter
            from airflow_provider_enos.client.route import route_to

            route = route_to(self._in_use)
            if self._in_use.verify is False:
                _expect_unverified(self.gateway.base_url)
            self._adapter = DeadlineAdapter(route)
        return self._adapter

    def _read(self, reply: requests.Response) -> bytes:
        encoding = reply.headers.get("Content-Encoding", "")
        body = ReplyBody(self.gateway.base_url, reply.status_code, encoding, self._limits.size)
        # read1 returns the bytes that have arrived; urllib3 1 has only read.
        read = getattr(reply.raw, "read1", reply.raw.read)
        while chunk := read(_CHUNK, decode_content=False):
            body.add(chunk)
        return body.whole()


def _expect_unverified(base_url: str) -> None:
    """Silence urllib3's warning at each request to this host: its connection says verify=false."""
    from urllib3.exceptions import InsecureRequestWarning

    host = re.escape(urlsplit(base_url).hostname or "")
    about = rf"Unverified HTTPS (request is being made to host '\[?{host}\]?'|connection done to an HTTPS proxy)"
    warnings.filterwarnings("ignore", about, InsecureRequestWarning)


def _proxy_status(error: BaseException, handled: BaseException | None) -> int | None:
    """Return the status with which a proxy refused a tunnel. Python's http.client has it in its message only."""
    found = (
        re.match(r"Tunnel connection failed: ([0-9]{3})\b", str(one)) for one in transport_errors.chain(error, handled)
    )
    return next((int(match[1]) for match in found if match), None)
