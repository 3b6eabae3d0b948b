"""Sockets: read requests, pass them to an application, write its replies. HTTP/1.1 with keep-alive."""

from __future__ import annotations

import contextlib
import http.client
import os
import selectors
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import Protocol

from airflow_provider_enos.simulator.host_check import without_authority
from airflow_provider_enos.simulator.wire import Delivery, Reply, Request

HOST = "127.0.0.1"
MAX_BODY = 2**20
_MAX_DISCARDED = 16 * 2**20
_LONGEST_LENGTH = 18
_STOP_SECONDS = 5.0


def own_address(host: str) -> str:
    """Return the host of the URL by which this machine reaches a server that listens on ``host``."""
    everywhere = {"0.0.0.0": HOST, "::": "::1"}  # noqa: S104 - where it listens is the user's choice
    found = everywhere.get(host, host)
    return f"[{found}]" if ":" in found else found


class Application(Protocol):
    """The interface of an object that answers the requests to a server."""

    def respond(self, request: Request, send: Callable[[Reply], None]) -> None:
        """Answer a request by calling ``send``.

        A reply with ``Delivery.NOTHING`` closes the connection. It may follow another reply.
        """

    def now_ms(self) -> int:
        """Return the time in milliseconds, for the header ``Date``."""


class Server(socketserver.TCPServer):
    """A server with a thread for each connection. It listens as soon as it is constructed."""

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
        self.socket.setblocking(False)
        self._name = f"enos-simulator-{self.port}"
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self.serve_forever, daemon=True, name=self._name)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.socket.getsockname()[1])

    def start(self) -> None:
        """Serve, in threads of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Close every connection, and return when no thread is left."""
        self.stopping.set()
        self._wake.close()
        self._thread.join(_STOP_SECONDS)
        self.server_close()
        self._woken.close()
        with self._lock:
            open_connections = dict(self._connections)
        for connection, thread in open_connections.items():
            with contextlib.suppress(OSError):
                # An SSLSocket would drop its session under the thread that reads it.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            if thread is not threading.current_thread():
                thread.join(_STOP_SECONDS)

    def serve_forever(self, poll_interval: float = 0.0) -> None:
        """Accept connections until ``stop``. Unlike the base class, this wakes up at once, and needs no interval."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self.stopping.is_set():
                selector.select()
                if not self.stopping.is_set():
                    self._accept()

    def _accept(self) -> None:
        try:
            connection, address = self.get_request()
        except OSError:
            return  # the client went away before it was accepted
        self.process_request(connection, address)

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection; the thread of the connection does the TLS handshake."""
        connection, address = super().get_request()
        connection.setblocking(True)
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: object, client_address: object) -> None:
        """Start the thread of a connection."""
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
    # Without it, a client that keeps its connection waits 40 ms for replies that take two writes.
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
        """Return the HTTP status to refuse the body with, or None; and the body."""
        if "transfer-encoding" in self.headers:
            return 411, b""
        text = self.headers.get("content-length", "0").strip()
        # Python refuses to read numbers of thousands of digits.
        if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_LENGTH):
            return 400, b""
        length = int(text)
        if length > MAX_BODY:
            self._discard(min(length, _MAX_DISCARDED))
            return 413, b""
        body = self.rfile.read(length)
        return (None, body) if len(body) == length else (400, b"")

    def _discard(self, length: int) -> None:
        # Closing a connection with unread data resets it, and the client loses the reply.
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
        """Return the time of the application, whose clock may be wrong on purpose."""
        return formatdate(self.server.application.now_ms() / 1000, usegmt=True)

    def version_string(self) -> str:
        return "EnosSimulator"

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the application keeps a record."""
