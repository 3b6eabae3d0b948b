"""An adapter for requests with a deadline for the whole reply, its head included.

requests limits the time of each single read. A gateway that sends a byte now and then, or one interim reply after the
other, would hold a task for ever.
"""

from __future__ import annotations

import io
import math
import socket
import time
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter

from airflow_provider_enos.client.route import Route


class DeadlineAdapter(HTTPAdapter):
    """Send requests on a given route. Reading ends with ``TimeoutError`` at ``deadline``, by the monotonic clock."""

    def __init__(self, route: Route) -> None:
        super().__init__()
        self.route = route
        self.proxies = {"all": route.proxy.address} if route.proxy else {}
        self.deadline = math.inf
        self.connected = False
        """Whether the request has a connection, tunnel and TLS included. Set to False before each request."""

    def cert_verify(self, *arguments: Any, **options: Any) -> None:
        """Do nothing: the route's TLS context decides."""

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Return urllib3's manager for the route's proxy, with the same TLS context for a proxy that speaks TLS."""
        return super().proxy_manager_for(proxy, proxy_ssl_context=self.route.trust, **options)

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """Return the header with user and password of the proxy, which only the proxy gets."""
        authorization = self.route.proxy and self.route.proxy.authorization
        return {"Proxy-Authorization": authorization} if authorization else {}

    def get_connection_with_tls_context(self, request: Any, *_: Any, **__: Any) -> Any:
        """Return the connection pool for this request, with the route's TLS context and this adapter's deadline."""
        address, trust = urlsplit(request.url), self.route.trust
        manager = self.proxy_manager_for(self.route.proxy.address) if self.route.proxy else self.poolmanager
        pool: Any = manager.connection_from_host(
            address.hostname,
            address.port,
            address.scheme,
            pool_kwargs={"ssl_context": trust, "cert_reqs": trust.verify_mode} if trust else None,
        )
        if not hasattr(pool.ConnectionCls, "adapter"):
            pool.ConnectionCls = type("TimedConnection", (_Timed, pool.ConnectionCls), {"adapter": self})
        return pool


class _Timed:
    """Mix into a connection of urllib3: note when it is connected, and read replies until the deadline."""

    adapter: DeadlineAdapter
    sock: Any

    def connect(self) -> None:
        self.adapter.connected = False
        super().connect()  # type: ignore[misc]
        if getattr(self.sock, "version", str)() is None:
            # Python takes a closed socket for one that is not connected yet, and skips the TLS handshake.
            raise ConnectionResetError("closed before the TLS handshake")
        self.adapter.connected = True

    def putrequest(self, *arguments: Any, **options: Any) -> None:
        # A kept-alive connection does not connect again; a new one for plain http connects when the head is sent.
        self.adapter.connected = self.sock is not None
        super().putrequest(*arguments, **options)  # type: ignore[misc]

    def response_class(self, line: socket.socket, *arguments: Any, **options: Any) -> HTTPResponse:
        response = HTTPResponse(line, *arguments, **options)
        response.fp.close()
        response.fp = io.BufferedReader(_TimedReader(line, self.adapter.deadline))
        return response


class _TimedReader(io.RawIOBase):
    def __init__(self, line: socket.socket, deadline: float) -> None:
        self._line = line
        # Its own file object keeps the socket open after the connection drops it.
        self._raw = line.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no whole reply before the deadline")
        usual = self._line.gettimeout()
        self._line.settimeout(left if usual is None else min(left, usual))
        try:
            return self._raw.readinto(buffer)
        finally:
            self._line.settimeout(usual)

    def close(self) -> None:
        self._raw.close()
        super().close()
