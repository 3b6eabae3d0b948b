"""A task group whose tasks run here one by one, as Airflow runs them, with XComs in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, TaskDeferred
from airflow.triggers.base import BaseTaskEndEvent
from ends import End
from worker import Log, TaskInstance, execute

from airflow_provider_enos.protocol.flow_definition import DefinedNode, FlowDefinition
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.task_groups.enos import EnosFlowTaskGroup
from airflow_provider_enos.version_compat import AirflowTaskTimeout

FLOW = 8300
NODES = dict(zip("abcdef", range(1, 7), strict=True))
EDGES = ["ab", "ac", "bd", "ce", "df", "ef"]
TIME = 1594016819108
FIRST, SECOND = f"{FLOW}-20200706062600", f"{FLOW}-20200706062700"
RELATIONS = tuple((NODES[one], NODES[two]) for one, two in EDGES)
DEFINITION = FlowDefinition(FLOW, "six", tuple(DefinedNode(id, name) for name, id in NODES.items()), RELATIONS)


def definition(names: list[str], edges: tuple[tuple[int, int], ...] = ()) -> dict[str, Any]:
    """Return the definition of a flow whose nodes have these names, and ids from 1."""
    nodes = tuple(DefinedNode(number, name) for number, name in enumerate(names, 1))
    return dict(json.loads(FlowDefinition(FLOW, "flow", nodes, edges).text()))


def add_flow(sim: EnosSimulator, **changes: Any) -> None:
    """Add the flow of ``DEFINITION``. Its nodes end when a test says so."""
    tasks = {id: name for name, id in NODES.items()}
    flow = {"name": "six", "tasks": tasks, "relations": RELATIONS, "progress": "manual", **changes}
    sim.add_flow(FLOW, **flow)


def nodes_are(sim: EnosSimulator, instance: str = FIRST, **statuses: str) -> None:
    """Set nodes of an instance: ``STATUS="nodes"``."""
    for status, names in statuses.items():
        for name in names:
            sim.set_node_status(instance, NODES[name], status)


def end(sim: EnosSimulator, status: str, instance: str = FIRST, **statuses: str) -> None:
    """End an instance, with its nodes as they are given here; the others have succeeded."""
    nodes_are(sim, instance, **statuses)
    sim.finish(instance, status)


class XComs:
    """Airflow's XComs, in memory."""

    def __init__(self) -> None:
        self.stored: dict[tuple[Any, ...], str] = {}
        self.breaks_at: str | None = None
        """The key that cannot be stored."""
        self.missed: list[str] = []
        """The keys that were asked for and not there: Airflow logs an error for each."""

    def set(self, key: str, value: Any, *, dag_id: str, task_id: str, run_id: str, map_index: int = -1) -> None:
        if key == self.breaks_at:
            raise RuntimeError("no XComs today")
        self.stored[dag_id, run_id, task_id, map_index, key] = json.dumps(value)

    def get_one(self, *, key: str, dag_id: str, task_id: str, run_id: str, map_index: int | None = None) -> Any:
        place = (dag_id, run_id, task_id, -1 if map_index is None else map_index, key)
        if place not in self.stored:
            self.missed.append(key)
        return json.loads(self.stored.get(place, "null"))

    def forget(self, ti: TaskInstance) -> None:
        """Delete what a task has pushed, as Airflow does when it runs again."""
        one = (ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
        self.stored = {place: value for place, value in self.stored.items() if place[:4] != one}


@dataclass
class GroupTask(TaskInstance):
    """A task instance of the group."""

    xcoms: XComs = field(default_factory=XComs)
    start_date: Any = None

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms.set(key, value, **self.place)

    @property
    def place(self) -> dict[str, Any]:
        return {"dag_id": self.dag_id, "run_id": self.run_id, "task_id": self.task_id, "map_index": self.map_index}


@dataclass
class Group:
    """A group in one DAG run. Each part of a task runs with operators of its own, as in another process.

    ``way``: how the tasks of nodes wait: ``"worker"``, ``"deferred"`` or ``"triggerer"``.
    """

    xcoms: XComs
    way: str = "triggerer"
    arguments: dict[str, Any] = field(default_factory=dict)
    map_index: int = -1
    log: Log = field(default_factory=Log)
    instances: dict[str, GroupTask] = field(default_factory=dict)
    in_worker: list[str] = field(default_factory=list)
    """The tasks that have had a worker."""

    def made(self) -> EnosFlowTaskGroup:
        arguments = {
            "definition": json.loads(DEFINITION.text()),
            "trigger_time": TIME,
            "poll_interval": 0.05,
            "deferrable": self.way != "worker",
            **self.arguments,
        }
        with DAG("dag", schedule=None):
            return EnosFlowTaskGroup("nodes", **arguments)

    def operator(self, name: str) -> Any:
        """Return the operator of a task, ``"start"`` or the name of a node."""
        group = self.made()
        made = group.start if name == "start" else group[name]
        logged = type("Logged", (type(made),), {"log": self.log})
        made.__class__ = logged
        return made

    def ti(self, name: str) -> GroupTask:
        """Return the task instance of a task."""
        if name not in self.instances:
            max_tries = (self.arguments.get("default_args") or {}).get("retries", 0)
            task_id = self.operator(name).task_id
            self.instances[name] = GroupTask(
                task_id=task_id, map_index=self.map_index, max_tries=max_tries, xcoms=self.xcoms
            )
        return self.instances[name]

    def xcom(self, name: str, key: str) -> Any:
        """Return an XCom of a task."""
        return self.xcoms.get_one(key=key, **self.ti(name).place)

    def run(self, name: str) -> End:
        """Run one try of a task to its end."""
        ti = self.ti(name)
        self.xcoms.forget(ti)
        try:
            result = self._run(name, ti)
        except (Exception, AirflowTaskTimeout) as error:
            return End(type(error), str(error), None)
        return End(None, "", result)

    def retry(self, name: str) -> End:
        """Run the next try, which Airflow makes by itself."""
        self.ti(name).try_number += 1
        return self.run(name)

    def clear(self, name: str) -> End:
        """Run the next try, since a user has cleared the task."""
        ti = self.ti(name)
        ti.max_tries = ti.try_number + (self.arguments.get("default_args") or {}).get("retries", 0)
        return self.retry(name)

    def _run(self, name: str, ti: GroupTask) -> Any:
        task = self.operator(name)
        if name == "start" or not (self.way == "triggerer" and task.start_from_trigger):
            return self._work(name, ti, lambda: execute(self.operator(name), self._context(ti)))
        start = task.start_trigger_args
        module, _, cls = start.trigger_cls.rpartition(".")
        trigger = getattr(import_module(module), cls)(**json.loads(json.dumps(start.trigger_kwargs)))
        event = self._event(trigger, ti)
        if isinstance(event, BaseTaskEndEvent):
            if str(event.task_instance_state) == "skipped":
                raise AirflowSkipException
            return self.xcoms.get_one(key="return_value", **ti.place)
        return self._work(name, ti, self._resumed(name, ti, start.next_method, {}, event))

    def _work(self, name: str, ti: GroupTask, step: Callable[[], Any]) -> Any:
        while True:
            self.in_worker.append(name)
            try:
                return step()
            except TaskDeferred as deferral:
                event = self._event(deferral.trigger, ti)
                step = self._resumed(name, ti, deferral.method_name, deferral.kwargs or {}, event)

    def _resumed(self, name: str, ti: GroupTask, method: str, kwargs: Any, event: Any) -> Callable[[], Any]:
        resumed = getattr(self.operator(name), method)
        return partial(
            resumed, self._context(ti), json.loads(json.dumps(event.payload)), **json.loads(json.dumps(kwargs))
        )

    def _event(self, trigger: Any, ti: GroupTask) -> Any:
        return asyncio.run(anext(self.trigger(trigger, ti).run()))

    def trigger(self, trigger: Any, ti: GroupTask) -> Any:
        """Return a trigger as the triggerer gets it."""
        cls, kwargs = trigger.serialize()
        made = type(trigger)(**json.loads(json.dumps(kwargs)))
        made.task_instance, made._log = ti, self.log
        assert cls.endswith(type(trigger).__name__)
        return made

    def first_trigger(self, name: str) -> Any:
        """Return the trigger with which the first try of a node's task waits."""
        task, ti = self.operator(name), self.ti(name)
        arguments = {**task.trigger_arguments, "deadline": None, "timeout": 60.0}
        from airflow_provider_enos.triggers.node import EnosFlowNodeTrigger

        return self.trigger(EnosFlowNodeTrigger(**arguments), ti)

    def _context(self, ti: GroupTask) -> dict[str, Any]:
        return {"ti": ti, "dag_run": SimpleNamespace(clear_number=0)}
