"""Sockets: reads requests, hands them to an application, writes its replies. HTTP/1.1 with keep-alive."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import Protocol

from airflow_provider_enos.simulator.doors import without_authority
from airflow_provider_enos.simulator.wire import Delivery, Reply, Request

HOST = "127.0.0.1"
MAX_BODY = 2**20
_MAX_DISCARDED = 16 * 2**20
_LONGEST_LENGTH = 18
_STOP_SECONDS = 5.0


def own_address(host: str) -> str:
    """Return how this machine reaches a server that listens on ``host``, as it stands in an address."""
    everywhere = {"0.0.0.0": HOST, "::": "::1"}  # noqa: S104 - where it listens is the user's choice
    found = everywhere.get(host, host)
    return f"[{found}]" if ":" in found else found


class Application(Protocol):
    """What a server serves."""

    def respond(self, request: Request, send: Callable[[Reply], None]) -> None:
        """Answers a request by calling ``send``. A reply with ``Delivery.NOTHING`` closes the connection, and may come
        after another one.
        """

    def now_ms(self) -> int:
        """The clock that replies are dated by."""


class Server(socketserver.TCPServer):
    """A server with a thread for each connection. It listens once made, on the loopback interface by default."""

    # Elsewhere the option lets two servers share a port.
    allow_reuse_address = os.name == "posix"
    request_queue_size = 256

    def __init__(self, port: int, application: Application, tls: ssl.SSLContext | None, *, host: str = HOST) -> None:
        self.application = application
        self.stopping = threading.Event()
        self._tls = tls
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)
        self._name = f"enos-simulator-{self.port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True, name=self._name)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.socket.getsockname()[1])

    def start(self) -> None:
        """Serves, in threads of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Cuts every connection, and returns when no thread is left."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._lock:
            open_connections = dict(self._connections)
        for connection, thread in open_connections.items():
            with contextlib.suppress(OSError):
                # An SSLSocket would drop its session under the thread that reads it.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            if thread is not threading.current_thread():
                thread.join(_STOP_SECONDS)
        self._thread.join(_STOP_SECONDS)

    def get_request(self) -> tuple[socket.socket, object]:
        """Accepts a connection; the TLS handshake is left to the connection's own thread."""
        connection, address = super().get_request()
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: object, client_address: object) -> None:
        """Gives a connection its thread."""
        assert isinstance(request, socket.socket)
        thread = threading.Thread(
            target=self._serve, args=(request, client_address), daemon=True, name=f"{self._name}-connection"
        )
        with self._lock:
            self._connections[request] = thread
        thread.start()

    def _serve(self, connection: socket.socket, address: tuple[str, int]) -> None:
        try:
            self.finish_request(connection, address)
        except OSError:
            pass  # the client went away, or stop() cut the connection
        except Exception:  # noqa: BLE001 - a bug here must show, and must not end the server
            self.handle_error(connection, address)
        finally:
            self.shutdown_request(connection)
            with self._lock:
                del self._connections[connection]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without it a kept-alive client waits 40 ms for replies that take two writes.
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()

    def _serve(self) -> None:
        authority, target = without_authority(self.path)
        path, _, query = target.partition("?")
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            key = name.lower()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        unreadable, body = self._body()
        if unreadable is not None:
            self.close_connection = True
        reached_at = str(self.connection.getsockname()[0])
        request = Request(self.command, path, query, headers, body, unreadable, authority, reached_at)
        self.server.application.respond(request, self._send)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _body(self) -> tuple[int | None, bytes]:
        """The HTTP status to refuse the body with, or None; and the body."""
        if "transfer-encoding" in self.headers:
            return 411, b""
        text = self.headers.get("content-length", "0").strip()
        # So many digits and no more: Python refuses to read thousands of them.
        if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_LENGTH):
            return 400, b""
        length = int(text)
        if length > MAX_BODY:
            self._discard(min(length, _MAX_DISCARDED))
            return 413, b""
        body = self.rfile.read(length)
        return (None, body) if len(body) == length else (400, b"")

    def _discard(self, length: int) -> None:
        # A connection closed with unread data is reset, and the reply with it.
        while length > 0 and (piece := self.rfile.read(min(length, 2**16))):
            length -= len(piece)

    def _send(self, reply: Reply) -> None:
        dripping = reply.delivery is Delivery.DRIP
        if not dripping and reply.seconds:
            self.server.stopping.wait(reply.seconds)
        if self.server.stopping.is_set() or reply.delivery is Delivery.NOTHING:
            self.close_connection = True
            return
        cut = reply.delivery is Delivery.HALF
        if cut or reply.length_off:
            self.close_connection = True
        head = self._head(reply)
        with contextlib.suppress(OSError):
            if dripping:
                self._drip(head, reply)
            else:
                self.wfile.write(head + reply.body[: len(reply.body) // 2 if cut else None])

    def _drip(self, head: bytes, reply: Reply) -> None:
        self.wfile.write(head)
        for place in range(len(reply.body)):
            if self.server.stopping.wait(reply.seconds):
                self.close_connection = True
                return
            self.wfile.write(reply.body[place : place + 1])

    def _head(self, reply: Reply) -> bytes:
        lines = [
            f"HTTP/1.1 {reply.status} {http.client.responses.get(reply.status, 'Unknown')}",
            f"Date: {self.date_time_string()}",
            f"Server: {self.version_string()}",
            *(f"{name}: {value}" for name, value in reply.headers),
        ]
        if reply.status != 204:
            length = max(len(reply.body) + reply.length_off, 0)
            lines += [f"Content-Type: {reply.content_type}", f"Content-Length: {length}"]
        if self.close_connection:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The application's clock, so that a wrong one can be played."""
        return formatdate(self.server.application.now_ms() / 1000, usegmt=True)

    def version_string(self) -> str:
        return "EnosSimulator"

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: the application keeps the record."""
