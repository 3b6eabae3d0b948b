"""A model of Airflow that runs the tasks of a group: the real code of their workers and triggers, step by step.

A worker runs in a greenlet. Each request, each pause and each XCom that is written is a step, at which the test decides
how it goes on.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from airflows import AIRFLOW
from greenlet import getcurrent, greenlet
from group_model import Graph
from start_model import MORNING
from worker import Log, StateStore, TaskInstance, execute

from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.flow_definition import FlowDefinition
from airflow_provider_enos.protocol.models import Flow
from airflow_provider_enos.protocol.wire.messages import Call, Sleep
from airflow_provider_enos.task_groups.enos import EnosFlowTaskGroup
from airflow_provider_enos.triggers.node import EnosFlowNodeTrigger
from airflow_provider_enos.version_compat import AirflowFailException, AirflowSkipException

if AIRFLOW < (3, 2):
    from airflow.exceptions import TaskDeferred
else:
    from airflow.sdk.exceptions import TaskDeferred

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG


SETTINGS = SimpleNamespace(base_url="https://enos", org_id="o", link=lambda flow_instance_id: None)


class Lost(BaseException):
    """The process of the worker is gone."""


@dataclass
class Write:
    """A worker writes an XCom."""

    task_id: str
    key: str
    value: Any


Order = Callable[[], Any]
"""Carries out a step, or raises."""


def ask(step: Any) -> Any:
    """Hand a step to the test, and carry out what it orders."""
    order: Order = getcurrent().parent.switch(step)
    return order()


class Client:
    """The client of a hook: it drives procedures as the real one does, and asks the test for each reply.

    :param at_once: answers what is asked outside of a worker, in ``on_kill``.
    """

    def __init__(self, clock: Callable[[], float], at_once: Callable[[Any], Any]) -> None:
        self.gateway = SimpleNamespace(now=clock)
        self._at_once = at_once

    def open(self) -> None:
        """There is nothing to open."""

    def call(self, call: Call[Any]) -> Any:
        return self.run(_one(call))

    def run(
        self,
        procedure: Generator[Any, Any, Any],
        *,
        before_unsafe: Callable[[], None] | None = None,
        while_sleeping: Callable[[], None] | None = None,
    ) -> Any:
        try:
            step = next(procedure)
            while True:
                try:
                    result = self._carry_out(step, before_unsafe, while_sleeping)
                except EnosError as error:
                    step = procedure.throw(error)
                else:
                    step = procedure.send(result)
        except StopIteration as done:
            return done.value
        finally:
            procedure.close()

    def _carry_out(self, step: Any, before_unsafe: Any, while_sleeping: Any) -> Any:
        if getcurrent().parent is None:
            # In on_kill, which the test calls.
            return self._at_once(step)
        if isinstance(step, Sleep):
            ask(step)
            if while_sleeping is not None:
                while_sleeping()
            return None
        if not step.safe and before_unsafe is not None:
            before_unsafe()
        return ask(step)


def _one(call: Call[Any]) -> Generator[Any, Any, Any]:
    return (yield call)


class Worker:
    """A process that runs a task. ``step``: what it is at; how it has ended, once ``is_over``."""

    def __init__(self, operator: Any, do: Callable[[Any], Any]) -> None:
        self.operator = operator
        self._do = do
        self._greenlet = greenlet(self._run)
        self.step: Any = None

    @property
    def is_over(self) -> bool:
        return self._greenlet.dead

    def go_on(self, order: Order | None = None) -> None:
        self.step = self._greenlet.switch() if order is None else self._greenlet.switch(order)

    def lose(self) -> None:
        """End it as SIGKILL does."""
        if not self.is_over:
            self._greenlet.throw(Lost())

    @property
    def at_trigger(self) -> bool:
        return isinstance(self.step, Call) and not self.step.safe and "Trigger" in self.step.operation

    @property
    def asked_for(self) -> tuple[int, int | None]:
        """The trigger time and the node of the request that it is at."""
        body = json.loads(self.step.body)
        return int(body["triggerTime"]), body.get("taskId") and int(body["taskId"])

    def _run(self) -> tuple[str, Any]:
        try:
            return "success", self._do(self.operator)
        except TaskDeferred as deferred:
            return "deferred", deferred
        except AirflowSkipException:
            return "skipped", None
        except AirflowFailException as error:
            return "failed for good", error
        except Lost:
            return "lost", None
        except Exception as error:
            return "failed", error


class _Pause:
    """Something that a trigger waits for."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def pause() -> None:
    await _Pause()


class PlayedTrigger(EnosFlowNodeTrigger):
    """The trigger, without a poller: it looks whenever the test lets it go on."""

    log = Log()  # type: ignore[assignment]
    look: Callable[[str], Any]
    clock: Callable[[], float]

    async def _wait(self, watch: Any, wait: Any) -> Any:
        await self._use(SETTINGS)  # type: ignore[arg-type]
        deadline = self._end_time() if self.deadline is not None else None
        while True:
            await pause()
            seen = self.look(watch.flow_instance_id)
            watch.saw(seen, self.clock())
            if watch.is_over(seen):
                return None
            if deadline is not None and self.clock() > deadline:
                raise watch.out_of_time()


@dataclass
class Ti(TaskInstance):
    """A task instance whose XComs are written by steps."""

    push: Callable[[str, str, Any], None] = lambda *_: None

    def xcom_push(self, key: str, value: Any) -> None:
        self.push(self.task_id, key, value)


@dataclass
class Task:
    """A task instance of the group.

    ``newest``: the newest instance of its node at its last look at the record. ``succeeded_in``: the instance in which
    it has seen its node succeed last. ``cleared_at``: when it was cleared, if it had seen the newest instance succeed.
    ``event``: with what a worker is to go on. ``round``: that in which its last try has begun.
    """

    operator: Any
    ti: Ti
    upstream: list[Task] = field(default_factory=list)
    state: str | None = None
    try_number: int = 0
    round: int = 0
    worker: Worker | None = None
    trigger: PlayedTrigger | None = None
    steps: Any = None
    event: Any = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    store: StateStore = field(default_factory=StateStore)
    is_restarting: bool = False
    newest: str | None = None
    succeeded_in: str | None = None
    cleared_at: float | None = None
    error: Any = None

    @property
    def id(self) -> str:
        return self.ti.task_id

    @property
    def node(self) -> int | None:
        return getattr(self.operator, "node", None)

    @property
    def is_active(self) -> bool:
        return self.worker is not None or self.trigger is not None or self.event is not None

    @property
    def may_begin(self) -> bool:
        return self.state == "up_for_retry" or (
            self.state is None and all(one.state == "success" for one in self.upstream)
        )

    def context(self, clears: int) -> dict[str, Any]:
        run = SimpleNamespace(clear_number=clears, start_date=None)
        # Of its own: a process that Airflow has given up does not see the next try begin.
        return {"ti": copy.copy(self.ti), "dag_run": run, "task_state_store": self.store}

    def begin(self, client: Client, clears: int, *, in_triggerer: bool) -> None:
        """Begin a try. A first try may begin in the triggerer, and a further one begins in a worker."""
        self.try_number += 1
        self.ti.try_number = self.try_number
        self.state, self.is_restarting, self.error = "running", False, None
        if in_triggerer and self.node is not None and self.operator.start_trigger_args is not None:
            self.wait(dict(self.operator.start_trigger_args.trigger_kwargs))
        else:
            context = self.context(clears)
            self.work(client, lambda operator: execute(operator, context))

    def work(self, client: Client, do: Callable[[Any], Any]) -> None:
        operator = copy.copy(self.operator)
        operator.__dict__.pop("_execution", None)
        operator.__dict__["hook"] = SimpleNamespace(settings=SETTINGS, last_settings=SETTINGS, client=client)
        self.worker = Worker(operator, do)

    def resume(self, client: Client, clears: int) -> None:
        """Go on in a worker after the trigger has fired."""
        event, kwargs, context = self.event, self.kwargs, self.context(clears)
        self.event, self.kwargs, self.state = None, {}, "running"
        self.work(client, lambda operator: operator.execute_complete(context, event, **kwargs))

    def wait(self, arguments: dict[str, Any], kwargs: dict[str, Any] | None = None) -> None:
        """Wait in the triggerer."""
        self.trigger = PlayedTrigger(**json.loads(json.dumps(arguments)))
        self.trigger.task_instance = self.ti  # type: ignore[assignment]
        self.steps, self.kwargs, self.state = None, json.loads(json.dumps(kwargs or {})), "deferred"

    def look(self) -> Any:
        """Let the trigger go on. Return its event once there is one."""
        assert self.trigger is not None
        self.steps = self.steps or self.trigger._event()
        try:
            self.steps.send(None)
        except StopIteration as done:
            self.trigger = self.steps = None
            return done.value
        return None

    def forget(self) -> None:
        """Drop whatever runs for it, as a clear does."""
        if self.worker is not None:
            self.worker.lose()
        if self.steps is not None:
            self.steps.close()
        self.worker = self.trigger = self.steps = self.event = None


class Store(StateStore):
    """Tells what ``start`` has put on record."""

    on_set: Callable[[Any], None]

    def set(self, key: str, value: Any) -> None:
        super().set(key, value)
        self.on_set(value)


@lru_cache(maxsize=50)
def group_of(
    graph: tuple[tuple[int, tuple[int, ...]], ...], retries: int, deferrable: bool, has_parameters: bool
) -> EnosFlowTaskGroup:
    """Return the group of a flow, as a DAG file makes it."""
    flow = Flow.parse(Graph(dict(graph)).document())
    with DAG("dag", schedule=None):
        return EnosFlowTaskGroup(
            "g",
            definition=FlowDefinition.of(flow).to_json(),
            trigger_time=MORNING,
            parameters={"region": "north"} if has_parameters else None,
            task_logs="none",
            deferrable=deferrable,
            default_args={"retries": retries},
        )
