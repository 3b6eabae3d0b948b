"""EnosSimulator: an EnOS API gateway that can be started and stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

from airflow_provider_enos.simulator.control import CONTROL_PATH, control
from airflow_provider_enos.simulator.host_check import HostCheck, refused
from airflow_provider_enos.simulator.server import Server
from airflow_provider_enos.simulator.simulation import Simulation
from airflow_provider_enos.simulator.wire import Reply, Request


class EnosSimulator(Simulation):
    """An EnOS API gateway on the loopback interface. Use it as a context manager, or call ``start`` and ``stop``.

    Every parameter but ``switches`` is an attribute of the same name. Every switch (see ``config.py``) is a keyword,
    and an attribute that can be set at any time.

    :param host: the address to listen on; ``0.0.0.0``: all addresses of this machine, as in a container.
    :param port: 0 takes a free one. Once started, the attribute is the real port, and a restart keeps it.
    :param allowed_hosts: one or several names by which clients reach it besides ``localhost`` and the addresses of this
        machine, such as ``host.docker.internal`` or ``simulator:8790``. Requests with another ``Host`` or ``Origin``
        are refused, so that no web page can talk to it.
    :param token_lifetime: seconds from when an access token is issued until it expires.
    :param tls: serve HTTPS with this context; None: HTTP.
    :param poseidon: ``accept`` lets calls of the vendor's SDK (Poseidon) pass as calls of the application. Only EnOS
        can verify them, so by default (``refuse``) they are refused.
    :param schedules: let flows with a schedule run by it, since two days before the start. Off by default, so that a
        test has only the instances that it starts.
    :param switches: switches by name, or the path of the file that ``airflow enos survey --write FILE`` has written, so
        that it behaves as the gateway that was asked. Switches that are keywords come on top.
    """

    _server: Server | None = None

    def __repr__(self) -> str:
        return f"<EnosSimulator {self.url} {'started' if self._server else 'stopped'}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; clients can connect when this returns.

        Raise RuntimeError if it is started already, OSError if the port is taken.
        """
        if self._server is not None:
            raise RuntimeError("the simulator is started already")
        self._host_check = HostCheck(self.host, self.allowed_hosts, self._scheme)
        server = Server(self.port, self, self.tls, host=self.host)
        self.port = server.port
        self._stopping = server.stopping
        self._server = server
        server.start()

    def stop(self) -> None:
        """Drop held requests, close all connections and end all threads. A second call does nothing.

        What happened so far can still be read.
        """
        self._holds.clear(drop=True)
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    @property
    def connection_uri(self) -> str:
        """The Airflow connection to it, as a URI."""
        login, password = quote(self.access_key, safe=""), quote(self.secret_key, safe="")
        extra = urlencode({"org_id": self.org_id, "user_id": self.user_id})
        return f"enos://{login}:{password}@{self._address}:{self.port}/{self._scheme}?{extra}"

    @property
    def connection_json(self) -> str:
        """The Airflow connection to it, as JSON for an environment variable such as ``AIRFLOW_CONN_ENOS_DEFAULT``."""
        return json.dumps(
            {
                "conn_type": "enos",
                "host": self._address,
                "schema": self._scheme,
                "port": self.port,
                "login": self.access_key,
                "password": self.secret_key,
                "extra": {"org_id": self.org_id, "user_id": self.user_id},
            }
        )

    def respond(self, request: Request, send: Callable[[Reply], None]) -> None:
        """Answer one request. For the server."""
        is_control = request.path.startswith(CONTROL_PATH)
        refusal = self._host_check.refusal(request)
        if refusal is not None:
            send(refused(refusal, request, is_control=is_control))
        elif is_control:
            send(control(self, request))
        else:
            self._respond(request, send)
