"""A poller against the simulator, for instances that end when a test says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from worker import Log

from airflow_provider_enos.client import settings
from airflow_provider_enos.client.polling.poller import Poller
from airflow_provider_enos.client.polling.shared_poller import SharedPoller
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.simulator import EnosSimulator

TIME = 1594016819108
FLOW = 3377


def settings_for(sim: EnosSimulator) -> Settings:
    connection = SimpleNamespace(
        conn_id="enos",
        host="127.0.0.1",
        port=sim.port,
        schema="http",
        login=sim.access_key,
        password=sim.secret_key,
        extra={"org_id": sim.org_id, "user_id": sim.user_id, "timeout": 5},
    )
    return settings.read(connection)


def trigger(sim: EnosSimulator, count: int) -> list[str]:
    """Start ``count`` instances, which run until they are finished by hand."""
    sim.progress = "manual"
    sim.one_at_a_time = False
    return [sim.trigger(FLOW, 108580, TIME + minute * 60_000).id for minute in range(count)]


async def wait_in(
    poller: Poller, flow_instance_id: str, *, interval: float = 0.1, deadline: float = 60.0, tolerance: float = 5.0
) -> FlowInstance:
    watch = InstanceWatch(flow_instance_id, tolerance=tolerance, log=Log())
    return await poller.wait(watch, poll_interval=interval, deadline=time.time() + deadline)


def run(found: Settings, work: Callable[[Poller], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with SharedPoller(found) as poller:
            return await asyncio.wait_for(work(poller), 60)

    return asyncio.run(main())


def looks(sim: EnosSimulator) -> dict[str, int]:
    return {name: sim.count(f"flowInstances/{name}") for name in ("get", "search")}
