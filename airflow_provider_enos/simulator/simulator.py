"""EnosSimulator: the gateway, the service behind it and its flows, as one object that can be started and
stopped.
"""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack
from urllib.parse import quote, urlencode

from airflow_provider_enos.simulator.built_in_flows import plant
from airflow_provider_enos.simulator.config import Config, SwitchValues
from airflow_provider_enos.simulator.control import CONTROL_PATH, control
from airflow_provider_enos.simulator.directories import ROOT, Directory
from airflow_provider_enos.simulator.doors import Doors, refused
from airflow_provider_enos.simulator.faults import Fault, FaultBook
from airflow_provider_enos.simulator.flows import Flow, FlowDescription, flow_from
from airflow_provider_enos.simulator.gateway import Gateway
from airflow_provider_enos.simulator.held_requests import Held, HoldBook
from airflow_provider_enos.simulator.operations.registry import OPERATIONS
from airflow_provider_enos.simulator.server import HOST, Server, own_address
from airflow_provider_enos.simulator.service import Service
from airflow_provider_enos.simulator.state import Instance, World
from airflow_provider_enos.simulator.state_file import load, save
from airflow_provider_enos.simulator.wire import Delivery, Record, Reply, Request, record_of

TOKEN_OPERATIONS = ("token/get", "token/refresh")
_ALL_OPERATIONS = frozenset({*OPERATIONS, *TOKEN_OPERATIONS})
_WRITING_OPERATIONS = frozenset(name for name, operation in OPERATIONS.items() if operation.writes)
_DROPPED = Reply(delivery=Delivery.NOTHING)

EventCallback = Callable[[str, Record], None]


class EnosSimulator(Config):
    """An EnOS API gateway on the loopback interface. Use it as a context manager, or with ``start`` and
    ``stop``.

    Every parameter is an attribute of the same name, and every switch (see ``config.py``) is a keyword and
    an attribute that can be set at any time. ``port=0`` takes a free port; once started, ``port`` is the
    real one, and a restart keeps it.

    :param host: the address that it listens on; ``0.0.0.0`` for all of this machine's, as in a container.
    :param allowed_hosts: one or several names by which clients reach it besides ``localhost`` and the addresses of this
        machine, such as ``host.docker.internal`` or ``simulator:8790``. Requests with another ``Host`` or ``Origin``
        are refused, so that no web page can talk to it.
    """

    def __init__(
        self,
        *,
        host: str = HOST,
        port: int = 0,
        allowed_hosts: Collection[str] = (),
        access_key: str = "simulator-access-key",
        secret_key: str = "simulator-secret-key",
        org_id: str = "o15426865866571",
        user_id: str = "u15426865866571",
        token_lifetime: float = 7200,
        tls: ssl.SSLContext | None = None,
        **switches: Unpack[SwitchValues],
    ) -> None:
        super().__init__(access_key, secret_key, org_id, user_id, token_lifetime)
        self.host = host
        self.port = port
        self.tls = tls
        self.allowed_hosts = (allowed_hosts,) if isinstance(allowed_hosts, str) else tuple(allowed_hosts)
        self._doors = Doors(host, self.allowed_hosts, self._scheme)
        self.switch(dict(switches))
        self._switches_at_first = self.switch_values
        self._server: Server | None = None
        self._lock = threading.Lock()
        self._callbacks: list[EventCallback] = []
        self._holds = HoldBook(_ALL_OPERATIONS, _WRITING_OPERATIONS)
        self._start_afresh()
        self._complete = True

    def __setattr__(self, name: str, value: object) -> None:
        if self.__dict__.get("_complete") and name not in self.__dict__ and not hasattr(type(self), name):
            raise ValueError(f"there is no switch {name!r}; there are {', '.join(self.switch_values)}")
        super().__setattr__(name, value)

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
        """Listens, from when this returns. Raises RuntimeError if started already, OSError if the port is
        taken.
        """
        if self._server is not None:
            raise RuntimeError("the simulator is started already")
        self._doors = Doors(self.host, self.allowed_hosts, self._scheme)
        server = Server(self.port, self, self.tls, host=self.host)
        self.port = server.port
        self._server = server
        server.start()

    def stop(self) -> None:
        """Drops what is held, cuts all connections and ends all threads. What happened so far stays readable. May be
        repeated.
        """
        self._holds.clear(drop=True)
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def reset(self) -> None:
        """As it was made: the seeds, no instances, requests, faults, holds or tokens, and the switches of the
        beginning.
        """
        self._holds.clear(drop=True)
        self.switch(self._switches_at_first)
        self._start_afresh()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the directories, flows and instances to a file, for ``load``. Raises OSError."""
        save(self._world, Path(path))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Has the directories, flows and instances of the file in place of its own, and no tokens. Raises OSError, and
        ValueError where the file is not one of ``save``'s.
        """
        world = World(self)
        load(world, Path(path))
        self._take_world(world)

    @property
    def url(self) -> str:
        """Address of the gateway."""
        return f"{self._scheme}://{self._address}:{self.port}"

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

    @property
    def requests(self) -> list[Record]:
        """The requests to the gateway so far, in order of arrival; those of the control path are not among
        them.
        """
        with self._lock:
            return list(self._records)

    def count(self, operation: str) -> int:
        """How many requests there were to an operation, such as ``flows/triggerFromTask``."""
        return sum(record.operation == operation for record in self.requests)

    @property
    def instances(self) -> list[Instance]:
        """All instances made, in order. Reading them here is no poll."""
        return self._world.instances()

    def instances_of(self, flow_id: int) -> list[Instance]:
        """The instances of one flow."""
        return self._world.instances(flow_id)

    def add_flow(self, flow_id: int, **description: Unpack[FlowDescription]) -> Flow:
        """Adds a flow or replaces it; ``tasks`` are ``{task_id: name}`` or a list, a chain unless
        ``relations`` say else.
        """
        flow = flow_from(flow_id, **description)
        self._world.add_flows([flow])
        return flow

    def add_directory(self, title: str, parent: str = ROOT) -> str:
        """Makes a directory and gives its id. Raises ValueError where the parent has one of that name, KeyError for no
        such parent.
        """
        return self._world.add_directory(title, parent).id

    @property
    def directories(self) -> list[Directory]:
        """All directories; the first is the root."""
        return self._world.directories()

    @property
    def flows(self) -> list[Flow]:
        """All flows as they are stored, temporary copies among them."""
        return self._world.flows()

    @property
    def user_locked(self) -> bool:
        """Whether the user's account is locked. It may be set, and is no switch: ``save`` keeps it."""
        return self._world.user_locked

    @user_locked.setter
    def user_locked(self, locked: bool) -> None:
        if not isinstance(locked, bool):
            raise ValueError(f"user_locked is True or False, not {locked!r}")
        self._world.user_locked = locked

    def run_schedule(self, flow_id: int, trigger_time: int | None = None) -> Instance | None:
        """What EnOS's own schedule does with a flow at a time (ms; None: now), without waiting for that time.

        None where it starts nothing: the schedule is off, or does not hold yet, or the flow is not periodic. Raises
        ValueError where the minute is taken, KeyError for no such flow.
        """
        return self._world.run_schedule(flow_id, self.now_ms() if trigger_time is None else trigger_time)

    def trigger(
        self,
        flow_id: int,
        task_id: int | None = None,
        trigger_time: int | None = None,
        *,
        type: int | None = None,
    ) -> Instance:
        """Triggers a flow as somebody else would, without HTTP: from a task or whole, for now unless a time
        (ms) is given.

        ``type=1`` is what the schedule of EnOS does, here even if it is off (see ``run_schedule``); its ids have the
        short form. Raises ValueError where
        the minute is taken, KeyError for no such flow or task.
        """
        return self._world.trigger(flow_id, task_id, self.now_ms() if trigger_time is None else trigger_time, type=type)

    def finish(self, flow_instance_id: str, status: str, failed_task: int | None = None) -> None:
        """Ends an instance, whatever its progress."""
        self._world.finish(flow_instance_id, status, failed_task)

    def set_node_status(self, flow_instance_id: str, task_id: int, status: str) -> None:
        """Fixes what a node of an instance shows; a failed node makes a running instance show FAIL."""
        self._world.set_node_status(flow_instance_id, task_id, status)

    def fault(self, kind: str, *, on: str | None = None, times: int | None = 1, **options: object) -> None:
        """Makes the next ``times`` requests (None: all) to ``on`` (None: to anything) suffer a fault; see
        ``FAULTS``.
        """
        self._faults.add(kind, on, times, options)

    def clear_faults(self) -> None:
        """Forgets the faults that are armed."""
        self._faults.clear()

    @property
    def armed_faults(self) -> list[dict[str, object]]:
        """The faults to come, in plain values."""
        return self._faults.listing()

    def hold(self, *, on: str | None = None, at: str = "received", times: int | None = 1) -> None:
        """Stops the next ``times`` requests (None: all) to ``on`` (None: to anything) at a moment, until ``release``.

        The moments are those of ``on_event``: ``received``, ``accepted``, ``replied``.
        """
        self._holds.add(on, at, times)

    def release(self, held_id: int | None = None, *, drop: bool = False) -> None:
        """Lets a held request (None: each that is held) go on, or drops its connection.

        One that is dropped at ``received`` is never done, one that is dropped at ``accepted`` never answered.
        """
        self._holds.release(held_id, drop=drop)

    def clear_holds(self, *, drop: bool = False) -> None:
        """Forgets the holds that are armed, and releases what is held."""
        self._holds.clear(drop=drop)

    @property
    def held(self) -> list[Held]:
        """The requests that are held now."""
        return self._holds.held()

    @property
    def armed_holds(self) -> list[dict[str, object]]:
        """The holds to come, in plain values."""
        return self._holds.listing()

    def expire_tokens(self) -> None:
        """Makes every token handed out an expired one."""
        self._gateway.expire_tokens()

    def on_event(self, callback: EventCallback) -> None:
        """Has ``callback(event, record)`` called in the thread of each request.

        ``received`` when it is read; ``accepted`` when it has changed what EnOS holds and is not yet
        answered; ``replied`` when the reply is sent, or the connection dropped in its stead.
        """
        with self._lock:
            self._callbacks.append(callback)

    def respond(self, request: Request, send: Callable[[Reply], None]) -> None:
        """Answers one request. For the server."""
        is_control = request.path.startswith(CONTROL_PATH)
        refusal = self._doors.refusal(request)
        if refusal is not None:
            send(refused(refusal, request, is_control=is_control))
            return
        if is_control:
            send(control(self, request))
            return
        received = self._note(request)
        self._tell("received", received)
        goes_on = self._holds.pass_by(request.operation, "received")
        fault = self._faults.take(request.operation) if goes_on else None
        reply = self._answer(request, received, fault) if goes_on else _DROPPED
        answered = _answered(received, reply, fault)
        # Before it is sent: who has the reply finds it in the record.
        self._amend(received, answered)
        send(reply)
        self._tell("replied", answered)
        if not self._holds.pass_by(request.operation, "replied"):
            send(_DROPPED)

    @property
    def _address(self) -> str:
        return own_address(self.host)

    @property
    def _scheme(self) -> str:
        return "http" if self.tls is None else "https"

    def _start_afresh(self) -> None:
        with self._lock:
            self._records: list[Record] = []
        world = World(self)
        plant(world)
        self._take_world(world)
        self._faults = FaultBook(_ALL_OPERATIONS)

    def _take_world(self, world: World) -> None:
        self._world = world
        self._gateway = Gateway(self, Service(self, world).answer)

    def _answer(self, request: Request, record: Record, fault: Fault | None) -> Reply:
        if fault and fault.seconds_before and self._server:
            self._server.stopping.wait(fault.seconds_before)
        reply = Reply()
        if fault is None or fault.processed:
            reply = self._gateway.answer(request)
            if reply.code == 0 and request.operation in _WRITING_OPERATIONS:
                self._tell("accepted", record)
                if not self._holds.pass_by(request.operation, "accepted"):
                    return _DROPPED
        return fault.spoil(reply, request, self) if fault else reply

    def _note(self, request: Request) -> Record:
        with self._lock:
            record = record_of(request, time.monotonic())
            self._records.append(record)
        return record

    def _amend(self, old: Record, new: Record) -> None:
        with self._lock:
            # From the end, where it is; a reset meanwhile has dropped it.
            for place in range(len(self._records) - 1, -1, -1):
                if self._records[place] is old:
                    self._records[place] = new
                    return

    def _tell(self, event: str, record: Record) -> None:
        with self._lock:
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback(event, record)


def _answered(record: Record, reply: Reply, fault: Fault | None) -> Record:
    dropped = reply.delivery is Delivery.NOTHING
    return replace(
        record,
        status=None if dropped else reply.status,
        code=None if dropped else reply.code,
        fault=fault.kind if fault else None,
        milliseconds=(time.monotonic() - record.at) * 1000,
    )
