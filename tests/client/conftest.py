"""A client of the simulator, and what stands between the two: relays and proxies on real sockets."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_enos.client import settings, sync
from airflow_provider_enos.simulator import EnosSimulator

MakeClient = Callable[..., sync.SyncClient]


@pytest.fixture(scope="session")
def stopping() -> Iterator[ThreadPoolExecutor]:
    """Stops simulators while the next test runs: it takes 20 ms, and there are hundreds of them."""
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture
def sim(stopping: ThreadPoolExecutor) -> Iterator[EnosSimulator]:
    """A simulator of the gateway, fresh for each test."""
    simulator = EnosSimulator()
    simulator.start()
    yield simulator
    stopping.submit(simulator.stop)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests does not count."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def settings_for() -> Callable[..., settings.Settings]:
    """The settings of a connection to a simulator, with more in its extra."""

    def read(sim: EnosSimulator, *, url: str | None = None, **extra: Any) -> settings.Settings:
        connection = Connection(
            conn_id="simulator",
            conn_type="enos",
            host=url or sim.url,
            login=sim.access_key,
            password=sim.secret_key,
            extra=json.dumps({"org_id": sim.org_id, "user_id": sim.user_id, "timeout": 5, **extra}),
        )
        return settings.read(connection)

    return read


@pytest.fixture
def client_for(settings_for: Callable[..., settings.Settings], pauses: list[float]) -> Iterator[MakeClient]:
    """Clients of a simulator, closed at the end."""
    made: list[sync.SyncClient] = []

    def make(sim: EnosSimulator, *, options: dict[str, Any] | None = None, **extra: Any) -> sync.SyncClient:
        made.append(sync.SyncClient(settings_for(sim, **extra), **(options or {})))
        return made[-1]

    yield make
    for client in made:
        client.close()


class Proxy(socketserver.ThreadingTCPServer):
    """A proxy for plain http, which passes requests on; what asks for a tunnel is refused."""

    daemon_threads = True
    request_queue_size = 16

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ProxyHandler)
        self.lines: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _ProxyHandler(BaseHTTPRequestHandler):
    server: Proxy

    def _forward(self) -> None:
        self.server.lines.append(self.requestline)
        host, port = self.headers["Host"].split(":")
        path = self.path.removeprefix(f"http://{host}:{port}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.headers["Connection"] = "close"
        head = f"{self.command} {path} HTTP/1.0\r\n{self.headers.as_string()}"
        with socket.create_connection((host, int(port)), 5) as gateway:
            gateway.sendall(head.encode() + body)
            while piece := gateway.recv(65536):
                self.wfile.write(piece)

    do_GET = do_POST = _forward

    def do_CONNECT(self) -> None:
        self.server.lines.append(self.requestline)
        self.send_error(403)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
