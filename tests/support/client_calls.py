"""The calls that tests of the client make, and what they need to know of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_enos.client import settings
from airflow_provider_enos.client.sync import SyncClient
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.exchange import AT_ONCE
from airflow_provider_enos.protocol.wire.messages import Call, Procedure, T
from airflow_provider_enos.simulator import EnosSimulator

INSTANCE = "3377-20200706062600"
TRIGGER_TIME = 1594016819108
GET = "flowInstances/get"
TRIGGER = "flows/triggerFromTask"

MakeClient = Callable[..., SyncClient]
MakeSettings = Callable[..., settings.Settings]


def get() -> Call[Any]:
    return calls.get_flow_instance(INSTANCE)


def trigger() -> Call[str]:
    return calls.trigger_flow_from_task(3377, 108580, TRIGGER_TIME)


def only(call: Call[T]) -> Procedure[T]:
    """A procedure of one call."""
    result: T = yield call
    return result


def operations(sim: EnosSimulator) -> list[str]:
    return [request.operation for request in sim.requests]


def with_token(sim: EnosSimulator, client_for: MakeClient, **extra: Any) -> SyncClient:
    """Return a client whose next request is the call itself. (An error of a token request always says
    ``sent=False``.)"""
    client_for(sim).call(calls.get_current_time())
    return client_for(sim, options={"retry": AT_ONCE}, **extra)
