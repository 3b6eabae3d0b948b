"""A gateway that answers with whatever bytes a test says: for what a well-behaved server cannot send."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from airflow_provider_enos.client import settings
from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.client.sync import SyncClient
from airflow_provider_enos.protocol.wire.exchange import Retry
from airflow_provider_enos.protocol.wire.messages import Call

TOKEN = "a-token-of-the-rogue-gateway"

Answer = Callable[[socket.socket], object]


class RogueGateway:
    """Give a token to every client, and answer every other request by calling ``answer`` with the socket.

    ``heard`` is what it was sent, a text for each request.
    """

    def __init__(self, answer: Answer | bytes) -> None:
        self._answer: Answer = (lambda line: line.sendall(answer)) if isinstance(answer, bytes) else answer
        self.heard: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lines: list[socket.socket] = []

    def serve(self) -> None:
        """Serve until the socket is closed."""
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                self._lines.append(line)
                threading.Thread(target=self._talk, args=(line,), daemon=True).start()

    def stop(self) -> None:
        """Close all connections."""
        for line in (self._listener, *self._lines):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def _talk(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), line, line.makefile("rb") as incoming:
            while request := self._request(incoming):
                self.heard.append(request)
                if "/token/" in request.partition("\r\n")[0]:
                    token = {"status": 0, "data": {"accessToken": TOKEN, "expire": 7200}}
                    line.sendall(reply(json.dumps(token).encode()))
                else:
                    self._answer(line)

    @staticmethod
    def _request(incoming: object) -> str:
        head = ""
        while (text := incoming.readline().decode("latin-1")) not in ("", "\r\n"):  # type: ignore[attr-defined]
            head += text
        lengths = [text for text in head.lower().splitlines() if text.startswith("content-length:")]
        body = incoming.read(int(lengths[0].partition(":")[2])) if lengths else b""  # type: ignore[attr-defined]
        return head and f"{head}\r\n{body.decode('latin-1')}"


class RogueProxy(RogueGateway):
    """A proxy that answers each request, the one for a tunnel too, as a test says."""

    @property
    def url(self) -> str:
        """Its address, as an environment variable names it."""
        return f"http://127.0.0.1:{self.port}"

    def _talk(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), line, line.makefile("rb") as incoming:
            while request := self._request(incoming):
                self.heard.append(request)
                self._answer(line)


def reply(body: bytes, *headers: str) -> bytes:
    """A whole HTTP reply."""
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@contextlib.contextmanager
def rogue_gateway(answer: Answer | bytes) -> Iterator[RogueGateway]:
    """One that serves."""
    yield from _served(RogueGateway(answer))


@contextlib.contextmanager
def rogue_proxy(answer: Answer | bytes) -> Iterator[RogueProxy]:
    """One that serves."""
    yield from _served(RogueProxy(answer))


def _served(gateway: Any) -> Iterator[Any]:
    thread = threading.Thread(target=gateway.serve, daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        gateway.stop()
        thread.join(5)


def settings_of(gateway: RogueGateway, **extra: object) -> settings.Settings:
    """What a connection to it says."""
    return settings.read(
        SimpleNamespace(
            conn_id="rogue",
            host="127.0.0.1",
            port=gateway.port,
            schema="http",
            login="an-access-key",
            password="a-secret-key",
            extra={"org_id": "o1", "user_id": "u1", "timeout": 5, **extra},
        )
    )


def drive_with_requests(found: settings.Settings, call: Call[Any]) -> Any:
    """One attempt, in a task process."""
    client = SyncClient(found, retry=Retry(attempts=1))
    try:
        return client.call(call)
    finally:
        client.close()


def drive_with_aiohttp(found: settings.Settings, call: Call[Any]) -> Any:
    """One attempt, in the triggerer."""

    async def main() -> Any:
        try:
            async with AsyncClient(found, retry=Retry(attempts=1)) as client:
                return await client.call(call)
        finally:
            if found.base_url.startswith("https:"):
                # aiohttp before 3.12 leaves it to the loop to close a TLS connection.
                await asyncio.sleep(0.05)

    return asyncio.run(main())
