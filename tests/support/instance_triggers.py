"""Triggers that wait, and the events that they fire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_enos import errors
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers.enos import EnosFlowInstanceTrigger
from airflow_provider_enos.utils.trigger_events import InstanceEvent

INSTANCE = "3377-20200706062600"
TIME = 1594016819108
WINDOW_END = 1594080000000
START = "2020-07-06T00:00+00:00"

MakeTrigger = Callable[..., EnosFlowInstanceTrigger]


def events(trigger: Any) -> list[Any]:
    async def main() -> list[Any]:
        async with asyncio.timeout(60):
            return [event.payload async for event in trigger.run()]

    return asyncio.run(main())


def error_of(payloads: list[Any]) -> errors.EnosError:
    (payload,) = json.loads(json.dumps(payloads))
    event = InstanceEvent.of(payload)
    assert event.error is not None
    return event.error


def ended_in_triggerer(one: Any) -> Any:
    """The event of a trigger that may end its task."""
    one.task_instance = SimpleNamespace(dag_id="dag", task_id="task", run_id="run", map_index=-1, start_date=None)
    return asyncio.run(anext(one.run()))


def rotate(sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key and connection, in one step."""
    sim.secret_key = "rotated"
    sim.expire_tokens()
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)
