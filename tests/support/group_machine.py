"""The tasks of a group between models of Airflow and of EnOS, one step at a time, and what must hold."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta, timezone
from functools import partial
from typing import Any

import pytest
from airflow.triggers.base import TaskSkippedEvent, TaskSuccessEvent
from greenlet import getcurrent
from group_airflow import Client, Order, PlayedTrigger, Store, Task, Ti, Write, ask, group_of
from group_model import DONE, SIX, Graph, NodesGateway, NodesInstance, XComs, graphs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize
from start_model import CLOCK_MINUTE, LONG, MIDNIGHT, MORNING, TOLERANCE, UNSEEN, Clock
from worker import Log

from airflow_provider_enos.operators import group_start_execution, kill, node_execution, trigger_execution
from airflow_provider_enos.protocol.trigger_time import further_minutes, minute_of
from airflow_provider_enos.protocol.wire.messages import Sleep
from airflow_provider_enos.triggers import base as base_trigger, node as node_trigger
from airflow_provider_enos.utils import group_record, trigger_record

LOG = Log()
ZONE = timezone(timedelta(hours=8))
MISREAD = 8 * 3600.0
"""Seconds by which a text of the gateway's zone is misread as UTC."""


class GroupMachine(RuleBasedStateMachine):
    """The tasks of a group, a model of Airflow and of EnOS, and what must hold whatever befalls them."""

    @initialize(
        graph=st.one_of(st.just(SIX), st.just(SIX), graphs()),
        retries=st.sampled_from([0, 1, 3]),
        trigger_time=st.sampled_from([MORNING, MORNING, MIDNIGHT]),
        in_triggerer=st.booleans(),
        deferrable=st.sampled_from([True, True, False]),
        has_parameters=st.sampled_from([False, False, False, True]),
        taken=st.sampled_from([0, 0, 0, 1]),
        fails=st.one_of(st.none(), st.sets(st.integers(1, 6), min_size=1, max_size=3)),
        documented_ids=st.sampled_from([True, True, True, False]),
        clock_minute=st.sampled_from([0.0, 0.0, CLOCK_MINUTE]),
        unseen=st.sampled_from(sorted(UNSEEN)),
        times_in=st.sampled_from([0, 8, 8, None]),
    )
    def begin(
        self,
        graph: Graph,
        retries: int,
        trigger_time: int,
        in_triggerer: bool,
        deferrable: bool,
        has_parameters: bool,
        taken: int,
        fails: set[int] | None,
        **gateway: Any,
    ) -> None:
        """Before the adversary begins, all goes well until the nodes ``fails`` have failed; None for not at all."""
        self.graph, self.retries, self.in_triggerer = graph, retries, in_triggerer
        self.clock = Clock()
        self.gateway = NodesGateway(self.clock, graph=graph, **gateway)
        self.minutes = [minute_of(trigger_time), *further_minutes(trigger_time, ZONE, 500)]
        self.xcoms = XComs(self._reads_xcom, self._writes_xcom)
        self.client = Client(self.clock, self._at_once)
        self.round = self.clears = 0
        self.under_way: list[tuple[int, int, int | None, str | None]] = []
        self.asked: dict[tuple[int, int], float] = {}
        self.open: dict[tuple[int, int], set[str]] = defaultdict(set)
        self.repeats: set[int] = set()
        """The rounds in which a node was cleared that had succeeded, or an instance was run again in EnOS."""
        self.frozen: list[Task] = []
        """Tasks as they were when their worker froze, which Airflow has given up."""
        self.left: set[str] = set()
        self.is_excused = False
        self.current: Task | None = None
        self.violations: list[str] = []
        self.sound = True
        self._patch()
        self._make_tasks(deferrable, has_parameters, trigger_time)
        for minute in self.minutes[:taken]:
            self.gateway.start(minute, None)
        self.clock.now += LONG
        if fails is not None:
            self._prologue(fails)

    def _patch(self) -> None:
        self.patch = pytest.MonkeyPatch()
        for module in (node_execution, trigger_execution, group_start_execution, trigger_record, kill):
            self.patch.setattr(module, "time", self.clock)
        self.patch.setattr(kill, "SyncClient", lambda *_, **__: self.client)
        for module in (group_record, group_start_execution):
            self.patch.setattr(module, "xcom", lambda: self.xcoms)
        for module in (base_trigger, node_trigger):
            self.patch.setattr(module, "push_xcom", self._push_from_trigger)
        self.patch.setattr(node_trigger, "in_thread", self._in_thread)
        self.patch.setattr(PlayedTrigger, "look", staticmethod(self.gateway.shown), raising=False)
        self.patch.setattr(PlayedTrigger, "clock", staticmethod(self.clock), raising=False)
        self.patch.setattr(base_trigger, "time", self.clock)

    def _make_tasks(self, deferrable: bool, has_parameters: bool, trigger_time: int) -> None:
        group = group_of(tuple(self.graph.after.items()), self.retries, deferrable, has_parameters)
        operators = {one.node: one for one in group._tasks.values()}
        self.start = self._made(group.start)
        self.start.operator.trigger_time = trigger_time
        self.start.store = Store()
        self.start.store.on_set = lambda value: self._note_intent(self.start, value)
        self.nodes = {node: self._made(operators[node]) for node in self.graph.after}
        for node, task in self.nodes.items():
            task.upstream = [self.nodes[one] for one in self.graph.before[node]] or [self.start]
        self.tasks = [self.start, *self.nodes.values()]

    def _made(self, operator: Any) -> Task:
        kind = type(operator)
        if "log" not in vars(kind):
            operator.__class__ = type(kind.__name__, (kind,), {"log": LOG})
        ti = Ti(max_tries=self.retries, task_id=operator.task_id)
        ti.push = lambda task_id, key, value: self.xcoms.set(key=key, value=value, task_id=task_id)
        return Task(operator, ti)

    def _prologue(self, fails: set[int]) -> None:
        for _ in range(40):
            self._begin_all()
            self._move_all()
            for one in self.gateway.instances:
                for node in one.running if one.round is not None else ():
                    one.node_ends(node, "FAIL" if node in fails else "SUCCESS", self.clock.now)
            self.clock.now += 5.0
            if not any(task.is_active or task.state is None for task in self.tasks):
                break

    # XComs, in which the tasks of the group keep their record.

    def _reads_xcom(self, task_id: str, key: str) -> None:
        task = self.current
        if key == group_record.GROUP_KEY and task is not None and task.node is not None:
            newest = self.gateway.newest(task.node, self._on_record())
            task.newest = None if newest is None else newest.id

    def _writes_xcom(self, task_id: str, key: str, value: Any) -> None:
        if getcurrent().parent is not None:
            ask(Write(task_id, key, value))
        if key.startswith("enos_intent"):
            node = int(key.rpartition("_")[2])
            self._note_intent(self.nodes[node], value["intent"])
        if key == group_record.GROUP_KEY:
            self._check_adopted(value["first"]["flow_instance_id"])
        if key.startswith("enos_restart_"):
            self._check_adopted(value["flow_instance_id"])

    def _note_intent(self, task: Task, intent: dict[str, Any]) -> None:
        if intent["refused"]:
            round = self.round if self.current is None else self.current.round
            self.open[round, minute_of(intent["sent_time"])].discard(task.id)

    def _on_record(self) -> list[NodesInstance]:
        """Return the instances of the group's record, the oldest first."""
        kept = self.xcoms.of.get(self.start.id, {})
        ids = {json.loads(value)["flow_instance_id"] for key, value in kept.items() if key.startswith("enos_restart_")}
        if group_record.GROUP_KEY in kept:
            ids.add(json.loads(kept[group_record.GROUP_KEY])["first"]["flow_instance_id"])
        return self._in_order(one for one in self.gateway.instances if one.id in ids)

    def _in_order(self, instances: Any) -> list[NodesInstance]:
        return sorted(instances, key=lambda one: self.minutes.index(one.minute))

    async def _push_from_trigger(self, ti: Any, value: Any, key: str = "return_value") -> None:
        self.xcoms.set(key=key, value=value, task_id=ti.task_id)

    async def _in_thread(self, do: Callable[..., Any], *given: Any) -> Any:
        return do(*given)

    # What tasks do.

    def _begin(self, task: Task) -> None:
        if task.try_number or not self.in_triggerer:
            self.xcoms.of.pop(task.id, None)
        task.round = self.round
        task.begin(self.client, self.clears, in_triggerer=self.in_triggerer and task.try_number == 0)
        if task.worker is not None:
            self._advance(task)

    def _begin_all(self) -> None:
        for task in self.tasks:
            if task.state is None and any(one.state in ("failed", "upstream_failed") for one in task.upstream):
                task.state = "upstream_failed"
            if task.may_begin and not task.is_active:
                self._begin(task)

    def _move_all(self, most: int = 60) -> None:
        for task in self.tasks:
            self._move(task, most)

    def _move(self, task: Task, most: int, *, to_trigger: bool = False) -> None:
        """Let it go on as long as all goes well."""
        for _ in range(most):
            if not task.is_active:
                return
            was_waiting = task.trigger is not None
            self._advance(task, self._good(task))
            if (was_waiting and task.trigger is not None) or (to_trigger and task.worker and task.worker.at_trigger):
                return

    def _advance(self, task: Task, order: Order | None = None) -> None:
        self.current = task
        if task.worker is not None:
            task.worker.go_on(order)
            self._after_step(task)
        elif task.event is not None:
            task.resume(self.client, self.clears)
            self._advance(task)
        elif task.trigger is not None and (event := task.look()) is not None:
            self._fired(task, event)
        self._report()

    def _report(self) -> None:
        if self.violations:
            self.sound = False
            raise AssertionError("; ".join(self.violations))

    def _after_step(self, task: Task) -> None:
        worker = task.worker
        assert worker is not None
        self._note_request(task)
        if worker.is_over:
            how, what = worker.step
            task.worker = None
            self._ended(task, how, what)

    def _note_request(self, task: Task) -> None:
        if task.worker is not None and task.worker.at_trigger:
            key = task.round, minute_of(task.worker.asked_for[0])
            self.asked.setdefault(key, self.clock.now)
            self.open[key].add(task.id)

    def _ended(self, task: Task, how: str, what: Any) -> None:
        if how == "success":
            self._succeeded(task)
        elif how == "deferred":
            task.wait(what.trigger.serialize()[1], what.kwargs)
        elif how == "skipped":
            task.state = "skipped"
        else:
            task.error = what
            may_retry = task.is_restarting or (task.try_number <= task.ti.max_tries and how != "failed for good")
            task.state = "up_for_retry" if may_retry else "failed"

    def _fired(self, task: Task, event: Any) -> None:
        if isinstance(event, TaskSuccessEvent):
            self._succeeded(task)
        elif isinstance(event, TaskSkippedEvent):
            task.state = "skipped"
        else:
            task.event = json.loads(json.dumps(event.payload))

    def _good(self, task: Task) -> Order | None:
        """Return what carries out the step that the worker is at, as EnOS and Airflow would."""
        worker = task.worker
        if worker is None:
            return None
        step = worker.step
        if isinstance(step, Sleep):
            return partial(self._pass, step.seconds)
        if isinstance(step, Write):
            return lambda: None
        if worker.at_trigger:
            return partial(self._trigger, *self._request(task))
        return lambda: self.gateway.answer(step)

    def _pass(self, seconds: float) -> None:
        self.clock.now += seconds

    def _at_once(self, step: Any) -> Any:
        return self._pass(step.seconds) if isinstance(step, Sleep) else self.gateway.answer(step)

    def _request(self, task: Task) -> tuple[int, int, int | None, str | None]:
        assert task.worker is not None
        time, node = task.worker.asked_for
        after = self.xcoms.read(self.start.id, f"enos_intent_{task.node}") or {}
        return time, task.round, node, after.get("after", task.newest)

    def _trigger(self, time: int, round: int, node: int | None, after: str | None) -> str:
        """Let a request of a task arrive."""
        live = [one.id for one in self.gateway.live(round)]
        twins = [one for one in self.gateway.instances if (one.round, one.after) == (round, after)]
        id = self.gateway.start(time, round, node, after)
        # The task start behaves as any start of a flow, which has a machine of its own.
        if after is not None and round not in self.repeats:
            self._expect(not live, f"I1: {id} is started while {live} runs")
            alive = [one.id for one in twins if one.status not in ("FAIL", "CANCEL")]
            self._expect(not alive, f"I4: {id} is started after {after}, as {alive}")
        return id

    def _expect(self, holds: bool, otherwise: str) -> None:
        # A check may run in a worker, whose errors end its task.
        if not holds:
            self.violations.append(otherwise)

    # What must hold.

    def _check_adopted(self, id: str) -> None:
        found = self.gateway.called(id)
        if found is None:
            return self._expect(False, f"I2: {id} does not exist")
        # Until start runs again after a clear, its record is that of the round before.
        is_ours = found.round in (self.round, self.start.round) or self._is_ambiguous(found)
        return self._expect(is_ours, f"I2: {id} is somebody else's")

    def _is_ambiguous(self, found: NodesInstance) -> bool:
        """Return whether a request for its minute got no answer, and it may have come of that."""
        key = self.round, found.minute
        if not self.open[key]:
            return False
        slack = MISREAD if self.gateway.times_in == 8 else TOLERANCE + 1
        return self.gateway.times_in is None or found.created >= self.asked[key] - slack

    def _succeeded(self, task: Task) -> None:
        task.state = "success"
        if task.node is None:
            running = [one.id for one in self.gateway.instances if one.id in self.left and one.status == "RUNNING"]
            self._expect(self.is_excused or not running, f"I6: {running} was left running before the clear of start")
            self.left.clear()
            return
        newest = self.gateway.called(task.newest or "")
        state = newest and newest.states[task.node]
        self._expect(state in DONE, f"I3: {task.id} succeeds, and its node is {state} in {task.newest}")
        if newest is not None and task.cleared_at is not None:
            is_new = newest.ended.get(task.node, 0.0) >= task.cleared_at
            self._expect(is_new, f"I8: {task.id} was cleared after its success, and did not run again")
        task.cleared_at, task.succeeded_in = None, task.newest
