"""Runs an operator as a worker does, without a database: what it gets of Airflow is the context."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from group_fixtures import group as group, way as way, xcoms as xcoms
from group_scenes import scene as scene
from worker import Log, StateStore, TaskInstance, execute

from airflow_provider_enos.operators.enos import (
    EnosCancelFlowInstanceOperator,
    EnosTriggerFlowFromTaskOperator,
    EnosTriggerFlowOperator,
)
from airflow_provider_enos.simulator import EnosSimulator


@dataclass
class Task:
    """A task that can be tried, retried and cleared."""

    arguments: dict[str, Any]
    store: StateStore | None
    ti: TaskInstance = field(default_factory=TaskInstance)
    log: Log = field(default_factory=Log)
    operator_class: type[Any] = EnosTriggerFlowFromTaskOperator
    rendered: dict[str, Any] = field(default_factory=dict)
    """What templates have become."""
    clears: int = 0

    def run(self) -> str:
        result: str = execute(self._made(), self._context)
        return result

    def resume(self, method: str, event: Any, kwargs: dict[str, Any]) -> str:
        """Goes on after a deferral, in another process."""
        result: str = getattr(self._made(), method)(self._context, json.loads(json.dumps(event)), **kwargs)
        return result

    def _made(self) -> Any:
        logged = type("Logged", (self.operator_class,), {"log": self.log})
        self.operator = logged(task_id="task", **self.arguments)
        for name, value in self.rendered.items():
            setattr(self.operator, name, value)
        return self.operator

    @property
    def _context(self) -> dict[str, Any]:
        context: dict[str, Any] = {"ti": self.ti, "dag_run": SimpleNamespace(clear_number=self.clears)}
        if self.store is not None:
            context["task_state_store"] = self.store
        return context

    def retry(self) -> str:
        """The next try: Airflow has cleared the XComs and kept ``max_tries``."""
        self.ti.try_number += 1
        self.ti.xcom.clear()
        return self.run()

    def clear(self) -> str:
        """A user cleared the task: Airflow raises ``max_tries`` by the tries so far, and counts it with the run."""
        self.clears += 1
        self.ti.max_tries = self.ti.try_number + self.arguments.get("retries", 0)
        return self.retry()


@pytest.fixture
def whole_flow(task: Callable[..., Task]) -> Callable[..., Task]:
    """The same for the whole flow."""

    def make(store: StateStore | None = None, **arguments: Any) -> Task:
        made = task(store, **arguments)
        del made.arguments["from_task_id"]
        made.operator_class = EnosTriggerFlowOperator
        return made

    return make


@pytest.fixture
def task(connection: EnosSimulator, short_pauses: None) -> Callable[..., Task]:
    """A task for the documentation's flow and trigger time, with short pauses."""

    def make(store: StateStore | None = None, **arguments: Any) -> Task:
        defaults = {
            "flow_id": 3377,
            "from_task_id": 108580,
            "trigger_time": 1594016819108,
            "poll_interval": 0.01,
            "retries": 2,
        }
        task = Task({**defaults, **arguments}, store)
        task.ti.max_tries = task.arguments["retries"]
        return task

    return make


@pytest.fixture
def cancel(task: Callable[..., Task], sim: EnosSimulator) -> Callable[..., Task]:
    """A task that cancels the instance which has been started of a flow of two nodes."""

    def make(flow_instance_id: str | None = None, **arguments: Any) -> Any:
        if flow_instance_id is None:
            sim.add_flow(
                5001, name="long", tasks={1: "extract", 2: "load"}, progress=arguments.pop("progress", "manual")
            )
            flow_instance_id = sim.trigger(5001).id
        made = task()
        made.operator_class = EnosCancelFlowInstanceOperator
        made.arguments = {"flow_instance_id": flow_instance_id, "poll_interval": 0.01, "retries": 2, **arguments}
        return made

    return make


@pytest.fixture(params=[False, True], ids=["in a worker", "deferred"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)
