"""Tries of a task: what happens to them, and what they have started."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_enos import errors
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.simulator.wire import json_reply

INSTANCE = "3377-20200706062600"
NEXT_INSTANCE = "3377-20200706062700"
TRIGGER_TIME = 1594016819108


def lose_it(task: Any, sim: EnosSimulator) -> None:
    """Run one try that starts or takes over its instance, and then loses contact with EnOS."""
    sim.fault("internal_error", on="flowInstances/get", times=4)
    with pytest.raises(errors.EnosPollLostError):
        task.run()


def completed(task: Any, run: Callable[[], str]) -> str:
    """Return what ``run`` returns. If the task is deferred, resume it as often as needed, and return that result."""
    while True:
        try:
            return run()
        except TaskDeferred as deferral:
            event = asyncio.run(anext(deferral.trigger.run()))
            run = partial(task.resume, deferral.method_name, event.payload, deferral.kwargs or {})


def started(sim: EnosSimulator) -> list[str]:
    return [instance.id for instance in sim.instances]


def refuse(sim: EnosSimulator, operation: str, code: int, times: int = 1) -> None:
    """Make the simulator answer the next requests to an operation with any code, and do nothing."""
    answer, left = sim._answer, [None] * times

    def refusing(request: Any, *more: Any) -> Any:
        if request.operation != operation or not left:
            return answer(request, *more)
        left.pop()
        return json_reply({"code": code, "msg": "said so", "data": None}, code=code)

    sim._answer = refusing  # type: ignore[method-assign]


def finish_when_running(sim: EnosSimulator, status: str) -> None:
    while not sim.instances:
        time.sleep(0.01)
    sim.finish(sim.instances[0].id, status)


def finish(task: Any) -> str:
    """Run the task to its end; where it is deferred, by way of the triggerer."""
    return completed(task, task.run)
