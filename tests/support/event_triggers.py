"""Triggers that fire an event for each end, and what Airflow does with them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers.enos import EnosFlowEventTrigger

FLOW, OTHER = 8101, 8102
HOUR = 3_600_000

MakeEventTrigger = Callable[..., EnosFlowEventTrigger]
Ended = Callable[..., str]


@dataclass
class AssetStore:
    """Airflow's asset state store for one asset, in memory."""

    values: dict[str, Any] = field(default_factory=dict)
    broken: bool = False

    async def aget(self, key: str, default: Any = None) -> Any:
        await asyncio.sleep(0)
        if self.broken:
            raise RuntimeError("no store today")
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise RuntimeError("no store today")
        self.values[key] = json.dumps(value)

    @property
    def ends(self) -> set[str]:
        return {id for value in self.values.values() for id in json.loads(value)["ends"]}


def ids(payloads: list[dict[str, Any]]) -> list[str]:
    return sorted(one["flow_instance_id"] for one in payloads)


class Watching:
    """A trigger that runs in the background."""

    def __init__(self, sim: EnosSimulator, one: EnosFlowEventTrigger) -> None:
        self._sim = sim
        self._one = one
        self.told: list[dict[str, Any]] = []
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with aclosing(self._one.run()) as fired:
            async for event in fired:
                self.told.append(event.payload)

    async def looks(self, number: int = 2) -> None:
        """Wait until this many polls have begun and ended."""
        until = self._sim.count("flowInstances/search") + 6 * (number + 1)
        await self.until(lambda: self._sim.count("flowInstances/search") >= until)

    async def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, f"told {self.told}, logged {self._one.log.lines}"
            if self.task.done():
                self.task.result()
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(sim: EnosSimulator, one: EnosFlowEventTrigger) -> AsyncIterator[Watching]:
    """Yield the trigger after its first poll."""
    watch = Watching(sim, one)
    try:
        await watch.until(lambda: any("are there already" in line for line in one.log.lines) or one.asset_state_store)
        yield watch
    finally:
        watch.task.cancel()
        await asyncio.gather(watch.task, return_exceptions=True)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 120))


@dataclass
class Airflow:
    """The part of Airflow's triggerer that drives watchers, with Airflow's own manager of shared streams."""

    manager: Any
    told: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    unconfirmed: list[int] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    stores_events: bool = True

    def start(self, trigger_id: int, one: EnosFlowEventTrigger) -> None:
        self.tasks.append(asyncio.create_task(self._run(trigger_id, one)))

    async def _run(self, trigger_id: int, one: EnosFlowEventTrigger) -> None:
        key = one.shared_stream_key()
        stream = self.manager.subscribe(trigger_id=trigger_id, trigger=one, key=key)
        try:
            async for event in one.filter_shared_stream(stream):
                self.told.setdefault(trigger_id, []).append(event.payload)
                seq = self.manager.bind_pending_event(trigger_id=trigger_id, key=key)
                self.unconfirmed.append(seq)
                if self.stores_events:
                    self.store()
        finally:
            await self.manager.unsubscribe(trigger_id, key)

    def store(self) -> None:
        """Store the events so far, as Airflow does in its database."""
        self.manager.confirm_persisted(self.unconfirmed)
        self.unconfirmed.clear()

    async def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, f"told {self.told}"
            for task in self.tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.manager.stop_all()


def in_airflow(work: Callable[[Airflow], Coroutine[Any, Any, None]], **options: Any) -> None:
    from airflow.triggers.shared_stream import SharedStreamManager

    async def main() -> None:
        airflow = Airflow(SharedStreamManager(**options))
        try:
            await work(airflow)
        finally:
            await airflow.stop()

    run(main())
