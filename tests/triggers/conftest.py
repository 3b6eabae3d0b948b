from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import XCom
from event_triggers import FLOW, HOUR, OTHER, Ended, MakeEventTrigger
from group_fixtures import group as group, xcoms as xcoms
from instance_triggers import (
    INSTANCE,
    TIME,
    MakeTrigger,
)
from worker import Log

from airflow_provider_enos.client.polling import flow_watcher as watcher_module, shared_poller as poller_module
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers import events as module
from airflow_provider_enos.triggers.enos import EnosFlowEventTrigger, EnosFlowInstanceTrigger
from airflow_provider_enos.utils import connections


@pytest.fixture
def trigger(connection: EnosSimulator) -> MakeTrigger:
    def make(flow_instance_id: str = INSTANCE, **arguments: Any) -> EnosFlowInstanceTrigger:
        if not connection.instances:
            connection.trigger(3377, 108580, TIME)
        defaults = {"enos_conn_id": "enos_default", "poll_interval": 0.02, "deadline": time.time() + 10}
        return EnosFlowInstanceTrigger(flow_instance_id, **{**defaults, **arguments})

    return make


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reading of the connection is new."""
    monkeypatch.setattr(connections, "_FRESH", 0.0)


@pytest.fixture
def ended(connection: EnosSimulator) -> Ended:
    """Makes an instance of a flow that EnOS's schedule has started, so many hours ago, and that has ended."""
    connection.progress = "manual"
    connection.one_at_a_time = False
    for flow_id in (FLOW, OTHER):
        connection.add_flow(flow_id, name=f"flow_{flow_id}", tasks={flow_id * 10: "extract"})

    def make(status: str = "SUCCESS", *, hours: int = 1, flow_id: int = FLOW) -> str:
        id = connection.trigger(flow_id, trigger_time=connection.now_ms() - hours * HOUR, type=1).id
        connection.finish(id, status)
        return id

    return make


@pytest.fixture
def event_trigger(ended: Ended) -> MakeEventTrigger:
    def make(flow_id: int | None = FLOW, *, store: Any = None, **arguments: Any) -> EnosFlowEventTrigger:
        one = EnosFlowEventTrigger(flow_id, **{"poll_interval": 0.02, **arguments})
        one.asset_state_store = store
        one._log = Log()
        return one

    return make


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_APART", 0.0)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert watcher_module._streams == {}
    assert poller_module._pollers == {}


@pytest.fixture
def pushed_xcoms(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is pushed to XCom by others than a task instance, in place of its way to Airflow's API server."""
    pushed: list[dict[str, Any]] = []
    monkeypatch.setattr(XCom, "set", lambda **xcom: pushed.append(xcom))
    return pushed
