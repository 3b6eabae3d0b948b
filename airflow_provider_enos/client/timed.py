"""An adapter of requests that gives each reply a time as a whole, its head included.

requests limits each read by itself, so that a gateway which sends a byte now and then, or one interim reply after the
other, would hold a task for ever.
"""

from __future__ import annotations

import io
import math
import socket
import time
from http.client import HTTPResponse
from typing import Any

from requests.adapters import HTTPAdapter


class TimedAdapter(HTTPAdapter):
    """As that of requests; reading ends with ``TimeoutError`` once the monotonic clock shows ``deadline``."""

    deadline = math.inf

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
        """The pool that requests asks for; its connections read by our deadline."""
        pool: Any = super().get_connection_with_tls_context(*arguments, **options)
        if not hasattr(pool.ConnectionCls, "adapter"):
            pool.ConnectionCls = type("TimedConnection", (_Timed, pool.ConnectionCls), {"adapter": self})
        return pool


class _Timed:
    """A connection of urllib3, which asks this for the reply once a request, or one for a tunnel, is sent."""

    adapter: TimedAdapter

    def response_class(self, line: socket.socket, *arguments: Any, **options: Any) -> HTTPResponse:
        response = HTTPResponse(line, *arguments, **options)
        response.fp.close()
        response.fp = io.BufferedReader(_TimedReader(line, self.adapter.deadline))
        return response


class _TimedReader(io.RawIOBase):
    def __init__(self, line: socket.socket, deadline: float) -> None:
        self._line = line
        # Of its own: it keeps the socket open after the connection lets go of it.
        self._raw = line.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for the reply is over")
        usual = self._line.gettimeout()
        self._line.settimeout(left if usual is None else min(left, usual))
        try:
            return self._raw.readinto(buffer)
        finally:
            self._line.settimeout(usual)

    def close(self) -> None:
        self._raw.close()
        super().close()
