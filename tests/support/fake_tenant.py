"""A tenant in memory on virtual time: instances that begin and end, and a gateway of any kind."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import pytest
from lists import Lists, Run

from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.client.polling import (
    poller as poller_module,
    wait as wait_module,
    window_poller as windows_module,
)
from airflow_provider_enos.client.polling.poller import Poller
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.errors import EnosApiError, EnosError, EnosNotFoundError
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.trigger_time import predicted_flow_instance_id
from airflow_provider_enos.protocol.wire.messages import Call, Procedure

SETTINGS = Settings("https://enos.invalid", "key", "secret", "o1", "u1", True, 65.0, None)
FIRST = 1_750_000_000_000 // 60_000 * 60_000
LATENCY = 0.05


class FakeTenant:
    """``asked`` counts the calls by kind; ``errors`` are raised for calls of these kinds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.lists = Lists(**options)
        self.asked = Counter[str]()
        self.errors: dict[str, EnosError] = {}
        self.slow: dict[str, float] = {}
        tenant = self

        async def call(client: AsyncClient, one: Call[Any]) -> Any:
            return await tenant.answer(one)

        monkeypatch.setattr(AsyncClient, "call", call)
        for module in (poller_module, windows_module, wait_module):
            monkeypatch.setattr(module, "time", self.now, raising=False)

    def now(self) -> float:
        """Return epoch seconds by the event loop's clock."""
        return asyncio.get_event_loop().time()

    async def answer(self, call: Call[Any]) -> Any:
        """Answer a call after a moment, by the state at its beginning."""
        kind = "get" if call.method == "GET" else "list"
        self.asked[kind] += 1
        self.lists.now = self.now()
        error = self.errors.get(kind)
        answer: Any = None
        try:
            answer = error is None and (self.lists.answer(call) if kind == "list" else self._get(call))
        except EnosError as refusal:
            error = refusal
        await asyncio.sleep(LATENCY + self.slow.get(kind, 0.0))
        if error is not None:
            raise error
        return answer

    def _get(self, call: Call[Any]) -> Any:
        run = self.lists.runs.get(dict(call.query)["flowInstId"])
        if run is None:
            raise EnosNotFoundError(62102, "Instance not found", operation=call.operation, http_status=200)
        return call.parse({**self.lists.shown(run), "status": self.code(run)})

    async def run(self, procedure: Procedure[Any]) -> Any:
        """Return the result of several calls."""
        try:
            step = next(procedure)
            while True:
                try:
                    result = await self.answer(step)  # type: ignore[arg-type]
                except EnosError as error:
                    step = procedure.throw(error)
                else:
                    step = procedure.send(result)
        except StopIteration as done:
            return done.value

    @staticmethod
    def code(run: Run) -> str:
        return run.status

    def start(self, minute: int = 0, **options: Any) -> Run:
        """Start another instance, of a flow of its own."""
        number = 1000 + len(self.lists.runs)
        trigger_time = FIRST + minute * 60_000
        run = Run(predicted_flow_instance_id(number, trigger_time), trigger_time, self.now(), **options)
        return self.lists.add(run)

    def end(self, run: Run, status: str = "SUCCESS") -> None:
        """End it now."""
        run.status, run.ended = status, self.now()

    async def run_for(self, run: Run, seconds: float, status: str = "SUCCESS") -> None:
        """End it after this many seconds."""
        await asyncio.sleep(seconds)
        self.end(run, status)

    async def wait(
        self, poller: Poller, run: Run, interval: float = 30.0, **options: Any
    ) -> tuple[FlowInstance, float]:
        """Wait for the instance. Return it, and how many seconds after its end the wait was over."""
        watch = InstanceWatch(
            run.id, tolerance=options.pop("tolerance", 600.0), log=logging.getLogger("fake"), known=True
        )
        deadline = self.now() + options.pop("deadline", 86_400.0)
        instance = await poller.wait(watch, poll_interval=interval, deadline=deadline, **options)
        return instance, self.now() - (run.ended or 0.0)


def api_error(cls: type[EnosApiError], code: int = 500) -> EnosApiError:
    """An error of a call."""
    return cls(code, "no", operation="a call", http_status=200)
