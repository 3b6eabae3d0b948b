"""Fixtures: a hook whose connection leads to a simulator."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest

from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.simulator import EnosSimulator

INSTANCE = "3377-20200706062600"
TRIGGER_TIME = 1594016819108
MINUTE = 60_000

MakeHook = Callable[..., EnosHook]

_numbers = count()


@pytest.fixture(scope="session")
def stopping() -> Iterator[ThreadPoolExecutor]:
    """Stop simulators while the next test runs: a stop takes 20 ms, and there are hundreds."""
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture
def sim(stopping: ThreadPoolExecutor) -> Iterator[EnosSimulator]:
    """A simulator of the gateway, fresh for each test."""
    simulator = EnosSimulator()
    simulator.start()
    yield simulator
    stopping.submit(simulator.stop)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return what makes a connection to a simulator, with other fields or more in its extra, and returns its id."""

    def make(sim: EnosSimulator, *, fields: dict[str, Any] | None = None, **extra: Any) -> str:
        content = json.loads(sim.connection_json) | (fields or {})
        if isinstance(content.get("extra"), dict):
            content["extra"] = {**content["extra"], "timeout": 5, **extra}
        # An id of its own each time, in case Airflow remembers connections.
        conn_id = f"enos_hook_{next(_numbers)}"
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(content))
        return conn_id

    return make


@pytest.fixture
def hook_for(connect: Callable[..., str], short_pauses: None) -> Iterator[MakeHook]:
    """Hooks of a simulator, closed at the end."""
    made: list[EnosHook] = []

    def make(sim: EnosSimulator, *, fields: dict[str, Any] | None = None, **extra: Any) -> EnosHook:
        made.append(EnosHook(connect(sim, fields=fields, **extra)))
        return made[-1]

    yield make
    for hook in made:
        if "client" in vars(hook):
            hook.client.close()


@pytest.fixture
def hook(sim: EnosSimulator, hook_for: MakeHook) -> EnosHook:
    return hook_for(sim)


@pytest.fixture
def make_environment() -> Callable[[], dict[str, str]]:
    """Return the environment for another process: the environment of this one, without its OpenLineage settings."""
    return lambda: {name: value for name, value in os.environ.items() if "OPENLINEAGE" not in name}
