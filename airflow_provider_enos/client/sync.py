"""Drives protocol generators with requests: for task processes, the connection test and scripts."""

from __future__ import annotations

import os
import random
import re
import sys
import time
import warnings
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_enos.client import failures
from airflow_provider_enos.client.bodies import Body
from airflow_provider_enos.client.settings import CONNECT_TIMEOUT, Settings
from airflow_provider_enos.errors import EnosError, EnosTransportError
from airflow_provider_enos.protocol.exchange import DEFAULT_RETRY, Gateway, Retry, Tenant
from airflow_provider_enos.protocol.messages import Call, Procedure, Request, Response, Sleep, T
from airflow_provider_enos.protocol.patience import is_refusal

if TYPE_CHECKING:
    import requests

    from airflow_provider_enos.client.timed import TimedAdapter

default_sleep: Callable[[float], None] = time.sleep
"""How clients wait that are not told otherwise: tests put something shorter here."""

_CHUNK = 64 * 1024
_WAKE_UP = 1.0

_gateways: dict[tuple[int, str, str, str], Gateway] = {}


def shared_gateway(settings: Settings) -> Gateway:
    """The gateway object of this process for that address and key: with it, its one token."""
    # A forked process must not inherit a lock that a thread of its parent held: hence the process id.
    key = (os.getpid(), settings.base_url, settings.access_key, settings.secret_key)
    return _gateways.setdefault(key, Gateway(*key[1:], clock=time.time, jitter=random.random))


class SyncClient:
    """Carries out calls and procedures, one HTTP session for all. Not to be shared between threads.

    :param settings: what the connection says; or what reads it: asked before the first call, and again after each
        refusal, with the settings that were refused. Its errors are errors of the call.
    :param timeout: seconds to wait for each reply, in place of the one in the settings.
    :param connect_timeout: seconds to wait for a connection.
    :param sleep: how to wait, in seconds.
    """

    def __init__(
        self,
        settings: Settings | Callable[[Settings | None], Settings],
        *,
        retry: Retry = DEFAULT_RETRY,
        timeout: float | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._read_settings = None if isinstance(settings, Settings) else settings
        self._settings = settings if isinstance(settings, Settings) else None
        self._is_refused = False
        self._retry = retry
        self._given_timeout = timeout
        self._given_connect_timeout = connect_timeout
        self._sleep = sleep or default_sleep
        self._session: requests.Session | None = None
        self._proxies: dict[str, str] = {}
        self.before_unsafe: Callable[[], None] = lambda: None
        """Called just before a request that is not safe to repeat goes out; an error of it keeps that from going."""
        self.while_sleeping: Callable[[], None] | None = None
        """Called each second of a pause; an error of it ends the pause. A signal handler that returns does not."""
        self.when_read: Callable[[Settings], None] = lambda settings: None
        """Called with the settings once they are read, and each time they have changed."""
        if self._settings is not None:
            self._use(self._settings)

    def call(self, call: Call[T]) -> T:
        """The result of one call."""
        self._refresh()
        try:
            return self._drive(self.gateway.exchange(call, self._tenant, self._retry), self._step_of_exchange)
        except EnosError as error:
            self._is_refused = is_refusal(error)
            raise

    def run(self, procedure: Procedure[T]) -> T:
        """The result of several calls that belong together."""
        return self._drive(procedure, self._step_of_procedure)

    def open(self) -> None:
        """Makes the HTTP session, and imports what it needs, ahead of the first call."""
        self._refresh()
        self._session = self._session or self._open_session()

    def close(self) -> None:
        """Closes the HTTP session; the next call opens another."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _refresh(self) -> None:
        """Read the settings if there are none, or if they were refused."""
        if self._read_settings is None or (self._settings is not None and not self._is_refused):
            return
        settings = self._read_settings(self._settings)
        self._is_refused = False
        if settings != self._settings:
            self.close()
            self._use(settings)
            self.when_read(settings)

    def _use(self, settings: Settings) -> None:
        self._settings = settings
        self.gateway = shared_gateway(settings)
        self._tenant = Tenant(settings.org_id, settings.user_id)
        self._timeout = self._given_timeout or settings.timeout
        self._connect_timeout = min(self._given_connect_timeout, self._timeout)
        self._verify = settings.verify

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
            # Whatever interrupts us, what the generator holds is let go of now.
            steps.close()

    def _step_of_procedure(self, step: Call[Any] | Sleep) -> Any:
        return self.call(step) if isinstance(step, Call) else self._pause(step.seconds)

    def _step_of_exchange(self, step: Request | Sleep) -> Response | None:
        return self._send(step) if isinstance(step, Request) else self._pause(step.seconds)

    def _pause(self, seconds: float) -> Any:
        while self.while_sleeping is not None and seconds > _WAKE_UP:
            self._sleep(_WAKE_UP)
            self.while_sleeping()
            seconds -= _WAKE_UP
        self._sleep(seconds)

    def _send(self, request: Request) -> Response:
        import requests
        from urllib3.exceptions import HTTPError

        session = self._session or self._open_session()
        if not request.safe:
            self.before_unsafe()
        prepared = requests.PreparedRequest()
        prepared.method = request.method
        prepared.url = request.url
        prepared.headers = requests.structures.CaseInsensitiveDict(request.headers)
        prepared.body = request.body
        if request.body is not None:
            prepared.headers["Content-Length"] = str(len(request.body))
        handled = sys.exception()
        adapter: TimedAdapter = session.get_adapter(prepared.url)  # type: ignore[assignment]
        adapter.deadline = time.monotonic() + self._timeout
        try:
            # By the adapter, since a session would read what a redirect leads to, also when told not to follow it.
            with adapter.send(
                prepared,
                stream=True,
                timeout=(self._connect_timeout, self._timeout),
                verify=self._verify,
                proxies=self._proxies,
            ) as reply:
                body = self._read(reply)
                headers = {name.lower(): value for name, value in reply.headers.items()}
                return Response(reply.status_code, headers, body)
        except (requests.RequestException, HTTPError, OSError) as error:
            failure = _transport_error(self.gateway.base_url, error, _root(error, handled))
        # Without those it came of: their texts may repeat what the gateway sent, and their frames hold the headers.
        raise failure

    def _open_session(self) -> requests.Session:
        import requests

        from airflow_provider_enos.client.timed import TimedAdapter

        session = requests.Session()
        session.mount(self.gateway.base_url, TimedAdapter())
        # Proxies and CA bundles of the environment: looked up once, since requests takes its time over it.
        merged = session.merge_environment_settings(self.gateway.base_url, {}, None, None, None)
        self._proxies = dict(merged["proxies"])
        if self._verify is True and isinstance(merged["verify"], str):
            self._verify = merged["verify"]
        if self._verify is False:
            _expect_unverified(self.gateway.base_url)
        self._session = session
        return session

    def _read(self, reply: requests.Response) -> bytes:
        body = Body(self.gateway.base_url, reply.status_code, reply.headers.get("Content-Encoding", ""))
        # read1 returns what has come; urllib3 1 has only read.
        read = getattr(reply.raw, "read1", reply.raw.read)
        while chunk := read(_CHUNK, decode_content=False):
            body.add(chunk)
        return body.whole()


def _expect_unverified(base_url: str) -> None:
    """Has urllib3 not warn at every request to this host of what its connection asks for."""
    from urllib3.exceptions import InsecureRequestWarning

    host = re.escape(urlsplit(base_url).hostname or "")
    about = rf"Unverified HTTPS request is being made to host '\[?{host}\]?'"
    warnings.filterwarnings("ignore", about, InsecureRequestWarning)


def _transport_error(base_url: str, error: Exception, root: BaseException) -> EnosTransportError:
    """What went wrong, in the words that the other driver uses, and whether the request may have been sent."""
    import requests
    from urllib3.exceptions import NameResolutionError, NewConnectionError, ReadTimeoutError

    # requests wraps urllib3's errors, which tell more.
    cause = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(error, requests.exceptions.SSLError):
        return failures.tls(base_url, root)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return failures.no_connection_in_time(base_url)
    if isinstance(error, requests.exceptions.ProxyError):
        return failures.proxy(base_url)
    if isinstance(cause, NameResolutionError):
        return failures.unresolved(base_url)
    if isinstance(cause, NewConnectionError):
        return failures.unconnected(base_url, root)
    if isinstance(error, (requests.exceptions.ReadTimeout, ReadTimeoutError)):
        return failures.no_reply_in_time(base_url)
    return failures.broken(base_url, root)


def _root(error: BaseException, handled: BaseException | None) -> BaseException:
    """The innermost error: the one that people know, and without the URL that urllib3 puts in front.

    ``handled`` is what our caller was handling before, which Python puts at the end of the chain.
    """
    while (inner := error.__cause__ or error.__context__) and inner is not handled:
        error = inner
    return error
