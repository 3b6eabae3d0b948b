"""An intermediary that sends a request again, byte for byte, when its upstream closes without a reply."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class ResendingProxy:
    """Pass requests on to a port of this machine, each over a connection of its own."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.resent = 0

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(line,), daemon=True).start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _talk(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError), line, line.makefile("rb") as incoming:
            while request := _request(incoming):
                reply = self._ask(request)
                if not reply:
                    self.resent += 1
                    reply = self._ask(request)
                line.sendall(reply)

    def _ask(self, request: bytes) -> bytes:
        """The reply; nothing where the upstream closes without one."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._upstream)) as upstream:
            upstream.sendall(request)
            with upstream.makefile("rb") as incoming:
                return _request(incoming)
        return b""


def _request(incoming: object) -> bytes:
    """One message, head and body; nothing at the end."""
    head = b""
    while (line := incoming.readline()) not in (b"", b"\r\n"):  # type: ignore[attr-defined]
        head += line
    if not head:
        return b""
    lengths = [line for line in head.lower().splitlines() if line.startswith(b"content-length:")]
    body = incoming.read(int(lengths[0].partition(b":")[2])) if lengths else b""  # type: ignore[attr-defined]
    return head + b"\r\n" + body


@contextlib.contextmanager
def resending_proxy(port: int) -> Iterator[ResendingProxy]:
    """Run a proxy that serves."""
    proxy = ResendingProxy(port)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join(5)
