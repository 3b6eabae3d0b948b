"""The simulated EnOS behind the sockets: its settings, flows and instances, and what goes wrong with requests to it."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from airflow_provider_enos.simulator.built_in_flows import add_built_in_flows
from airflow_provider_enos.simulator.config import Config, SwitchValues
from airflow_provider_enos.simulator.directories import ROOT, Directory
from airflow_provider_enos.simulator.faults import Fault, FaultRegistry
from airflow_provider_enos.simulator.flows import Flow, FlowDescription, flow_from
from airflow_provider_enos.simulator.gateway import Gateway
from airflow_provider_enos.simulator.held_requests import HeldRequest, HoldRegistry
from airflow_provider_enos.simulator.host_check import HostCheck
from airflow_provider_enos.simulator.instances import Instance
from airflow_provider_enos.simulator.operations.registry import OPERATIONS
from airflow_provider_enos.simulator.server import HOST, own_address
from airflow_provider_enos.simulator.service import Service
from airflow_provider_enos.simulator.state import State
from airflow_provider_enos.simulator.state_file import load, save
from airflow_provider_enos.simulator.switch_file import SwitchesLike, switches_of
from airflow_provider_enos.simulator.wire import Delivery, Record, Reply, Request, record_of

TOKEN_OPERATIONS = ("token/get", "token/refresh")
_ALL_OPERATIONS = frozenset({*OPERATIONS, *TOKEN_OPERATIONS})
_WRITING_OPERATIONS = frozenset(name for name, operation in OPERATIONS.items() if operation.writes)
_DROPPED = Reply(delivery=Delivery.NOTHING)

EventCallback = Callable[[str, Record], None]


class Simulation(Config):
    """What ``EnosSimulator`` is apart from listening. See there for the parameters."""

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
        poseidon: str = "refuse",
        schedules: bool = False,
        switches: SwitchesLike | None = None,
        **more_switches: Unpack[SwitchValues],
    ) -> None:
        super().__init__(access_key, secret_key, org_id, user_id, token_lifetime, poseidon, schedules=schedules)
        self.host = host
        self.port = port
        self.tls = tls
        self.allowed_hosts = (allowed_hosts,) if isinstance(allowed_hosts, str) else tuple(allowed_hosts)
        self.switch({**switches_of(switches or {}), **more_switches})
        self._initial_switches = self.switch_values
        self._lock = threading.Lock()
        self._callbacks: list[EventCallback] = []
        self._holds = HoldRegistry(_ALL_OPERATIONS, _WRITING_OPERATIONS)
        self._host_check = HostCheck(host, self.allowed_hosts, self._scheme)
        self._stopping = threading.Event()
        self._clear()
        self._complete = True

    def __setattr__(self, name: str, value: object) -> None:
        if self.__dict__.get("_complete") and name not in self.__dict__ and not hasattr(type(self), name):
            raise ValueError(f"there is no switch {name!r}; there are {', '.join(self.switch_values)}")
        super().__setattr__(name, value)

    @property
    def url(self) -> str:
        """Address of the gateway."""
        return f"{self._scheme}://{self._address}:{self.port}"

    @property
    def requests(self) -> list[Record]:
        """The requests to the gateway so far, in order of arrival; without those to the control path."""
        with self._lock:
            return list(self._records)

    def count(self, operation: str) -> int:
        """Return how many requests there were to an operation, such as ``flows/triggerFromTask``."""
        return sum(record.operation == operation for record in self.requests)

    def reset(self) -> None:
        """Return to the state after construction: the built-in flows, the initial switches, and nothing else."""
        self._holds.clear(drop=True)
        self.switch(self._initial_switches)
        self._clear()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the directories, flows and instances to a file, for ``load``. Raise OSError."""
        save(self._state, Path(path))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Replace the directories, flows and instances by those of the file, and forget all tokens.

        Raise OSError, or ValueError if ``save`` did not write the file.
        """
        state = State(self)
        load(state, Path(path))
        self._use(state)

    @property
    def instances(self) -> list[Instance]:
        """All instances, in order of creation. Reading them here does not count as a poll."""
        self._state.catch_up()
        return self._state.instances.all()

    def instances_of(self, flow_id: int) -> list[Instance]:
        """Return the instances of one flow."""
        self._state.catch_up()
        return self._state.instances.all(flow_id)

    def add_flow(self, flow_id: int, **description: Unpack[FlowDescription]) -> Flow:
        """Add a flow, or replace it. Raise ValueError for a flow that makes no sense.

        ``tasks`` are ``{task_id: name}``, ``{task_id: Node(name, seconds=20)}``, or a list of ids. They run one after
        another, unless ``relations`` (pairs of task ids) say otherwise. Where nodes have ``seconds``, and the flow has
        no ``progress`` of its own, each takes that long, unless the simulator's ``progress`` is ``at_once`` or
        ``manual``.
        """
        flow = flow_from(flow_id, **description)
        self._state.catalog.add_flows([flow])
        return flow

    def add_directory(self, title: str, parent: str = ROOT) -> str:
        """Create a directory, and return its id.

        Raise ValueError where the parent has one of that name, KeyError for an unknown parent.
        """
        return self._state.catalog.add_directory(title, parent).id

    @property
    def directories(self) -> list[Directory]:
        """All directories; the first is the root."""
        return self._state.catalog.directories()

    @property
    def flows(self) -> list[Flow]:
        """All flows as they are stored, temporary copies included."""
        return self._state.catalog.flows()

    @property
    def user_locked(self) -> bool:
        """Whether the user's account is locked. It can be set. It is no switch: ``save`` keeps it."""
        return self._state.user_locked

    @user_locked.setter
    def user_locked(self, locked: bool) -> None:
        if not isinstance(locked, bool):
            raise ValueError(f"user_locked is True or False, not {locked!r}")
        self._state.user_locked = locked

    def run_schedule(self, flow_id: int, trigger_time: int | None = None) -> Instance | None:
        """Start what EnOS's own schedule starts of a flow at a time (ms; None: now), without waiting for that time.

        Return None if it starts nothing: the schedule is off or not yet in effect, or the flow is not periodic. Raise
        ValueError if the minute is taken, KeyError for an unknown flow.
        """
        return self._state.instances.run_schedule(flow_id, self.now_ms() if trigger_time is None else trigger_time)

    def trigger(
        self,
        flow_id: int,
        task_id: int | None = None,
        trigger_time: int | None = None,
        *,
        type: int | None = None,
    ) -> Instance:
        """Trigger a flow as somebody else would, without HTTP. Raise ValueError if the minute is taken, or KeyError.

        :param task_id: the node to start from; None: the whole flow.
        :param trigger_time: in milliseconds; None: now.
        :param type: 1 starts what EnOS's schedule would start, even if that is off (see ``run_schedule``).
        """
        moment = self.now_ms() if trigger_time is None else trigger_time
        return self._state.instances.trigger(flow_id, task_id, moment, type=type)

    def finish(self, flow_instance_id: str, status: str, failed_task: int | None = None) -> None:
        """End an instance, whatever its progress."""
        self._state.instances.finish(flow_instance_id, status, failed_task)

    def set_node_status(self, flow_instance_id: str, task_id: int, status: str) -> None:
        """Fix the status of a node of an instance; a failed node makes a running instance show FAIL."""
        self._state.instances.set_node_status(flow_instance_id, task_id, status)

    def fault(self, kind: str, *, on: str | None = None, times: int | None = 1, **options: object) -> None:
        """Make requests fail. Raise ValueError, with what exists, for an unknown fault, operation or option.

        :param kind: one of ``FAULTS``.
        :param on: an operation such as ``flows/trigger``; None: any.
        :param times: for how many requests; None: for all.
        """
        self._faults.add(kind, on, times, options)

    def clear_faults(self) -> None:
        """Forget the faults that are armed."""
        self._faults.clear()

    @property
    def armed_faults(self) -> list[dict[str, object]]:
        """The faults to come, in plain values."""
        return self._faults.listing()

    def hold(self, *, on: str | None = None, at: str = "received", times: int | None = 1) -> None:
        """Stop requests at a moment, until ``release``.

        :param on: an operation such as ``flows/trigger``; None: any.
        :param at: ``received``, ``accepted`` or ``replied``, as for ``on_event``.
        :param times: for how many requests; None: for all.
        """
        self._holds.add(on, at, times)

    def release(self, held_id: int | None = None, *, drop: bool = False) -> None:
        """Let a held request (None: all of them) go on, or drop its connection.

        EnOS never executes one that is dropped at ``received``, and never answers one that is dropped at ``accepted``.
        """
        self._holds.release(held_id, drop=drop)

    def clear_holds(self, *, drop: bool = False) -> None:
        """Forget the holds that are armed, and release all held requests."""
        self._holds.clear(drop=drop)

    @property
    def held(self) -> list[HeldRequest]:
        """The requests that are held now."""
        return self._holds.held()

    @property
    def armed_holds(self) -> list[dict[str, object]]:
        """The holds to come, in plain values."""
        return self._holds.listing()

    def expire_tokens(self) -> None:
        """Make all tokens expired."""
        self._gateway.expire_tokens()

    def on_event(self, callback: EventCallback) -> None:
        """Register ``callback(event, record)``, which is called in the thread of each request.

        ``received``: the request has been read. ``accepted``: it has changed what EnOS holds, and is not answered yet.
        ``replied``: the reply is sent, or the connection is dropped instead.
        """
        with self._lock:
            self._callbacks.append(callback)

    @property
    def _address(self) -> str:
        return own_address(self.host)

    @property
    def _scheme(self) -> str:
        return "http" if self.tls is None else "https"

    def _clear(self) -> None:
        with self._lock:
            self._records: list[Record] = []
        state = State(self)
        add_built_in_flows(state.catalog)
        self._use(state)
        self._faults = FaultRegistry(_ALL_OPERATIONS)

    def _use(self, state: State) -> None:
        self._state = state
        self._gateway = Gateway(self, Service(self, state).answer)

    def _respond(self, request: Request, send: Callable[[Reply], None]) -> None:
        """Answer a request to the gateway, with the faults and holds that are armed for it."""
        received = self._add_record(request)
        self._notify("received", received)
        goes_on = self._holds.wait(request.operation, "received")
        fault = self._faults.take(request.operation) if goes_on else None
        reply = self._answer(request, received, fault) if goes_on else _DROPPED
        answered = _answered(received, reply, fault)
        # Before it is sent: a client that has the reply finds it in the record.
        self._replace_record(received, answered)
        send(reply)
        self._notify("replied", answered)
        if not self._holds.wait(request.operation, "replied"):
            send(_DROPPED)

    def _answer(self, request: Request, record: Record, fault: Fault | None) -> Reply:
        if fault and fault.seconds_before:
            self._stopping.wait(fault.seconds_before)
        reply = Reply()
        if fault is None or fault.processed:
            reply = self._gateway.answer(request)
            if reply.code == 0 and request.operation in _WRITING_OPERATIONS:
                self._notify("accepted", record)
                if not self._holds.wait(request.operation, "accepted"):
                    return _DROPPED
        return fault.apply(reply, request, self) if fault else reply

    def _add_record(self, request: Request) -> Record:
        with self._lock:
            record = record_of(request, time.monotonic())
            self._records.append(record)
        return record

    def _replace_record(self, old: Record, new: Record) -> None:
        with self._lock:
            # From the end, where it is; it is gone if there was a reset since.
            for place in range(len(self._records) - 1, -1, -1):
                if self._records[place] is old:
                    self._records[place] = new
                    return

    def _notify(self, event: str, record: Record) -> None:
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
