"""An adversary between the tasks of a group and EnOS: a state machine of hypothesis, with what must hold."""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta, timezone
from functools import partial
from typing import Any

import pytest
from airflow.triggers.base import TaskSkippedEvent, TaskSuccessEvent
from greenlet import getcurrent
from group_airflow import Client, Order, PlayedTrigger, Store, Task, Ti, Write, ask, group_of
from group_model import DONE, SIX, Graph, NodesGateway, NodesInstance, XComs, graphs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from start_model import CLOCK_MINUTE, LONG, LOST, MIDNIGHT, MORNING, REFUSED, TOLERANCE, UNSEEN, Clock
from worker import Log

from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.operators import group_start_execution, kill, node_execution, trigger_execution
from airflow_provider_enos.protocol.trigger_time import further_minutes, minute_of
from airflow_provider_enos.protocol.wire.messages import Call, Sleep
from airflow_provider_enos.triggers import base as base_trigger, node as node_trigger
from airflow_provider_enos.utils import group_record, trigger_record

LOG = Log()
ZONE = timezone(timedelta(hours=8))
MISREAD = 8 * 3600.0
"""Seconds by which a text of the gateway's zone is misread as UTC."""
GIVEN_UP = 60.0
"""Seconds after which Airflow gives up a worker that does not answer; its default is 300."""
REQUESTS = st.sampled_from(["arrives", "arrives", "late", "never arrives"])


class GroupAdversary(RuleBasedStateMachine):
    """The tasks of a group, a model of Airflow and of EnOS, and everything that can go wrong between them."""

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

    # Rules: what goes on.

    def _pick(self, which: int, tasks: list[Task]) -> Task:
        return tasks[which % len(tasks)]

    @property
    def active(self) -> list[Task]:
        return [task for task in self.tasks if task.is_active]

    @property
    def working(self) -> list[Task]:
        return [task for task in self.tasks if task.worker is not None]

    @property
    def at_trigger(self) -> list[Task]:
        return [task for task in self.working if task.worker and task.worker.at_trigger]

    @precondition(lambda self: self.active)
    @rule(which=st.integers(0, 6), most=st.sampled_from([1, 2, 5, 60, 60, 60]))
    def goes_on(self, which: int, most: int) -> None:
        self._move(self._pick(which, self.active), most, to_trigger=True)

    @precondition(lambda self: any(task.may_begin and not task.is_active for task in self.tasks))
    @rule()
    def all_begin(self) -> None:
        self._begin_all()

    @precondition(lambda self: any(task.may_begin and not task.is_active for task in self.tasks))
    @rule(which=st.integers(0, 6))
    def one_begins(self, which: int) -> None:
        self._begin(self._pick(which, [task for task in self.tasks if task.may_begin and not task.is_active]))

    @precondition(lambda self: any(one.running for one in self.gateway.instances))
    @rule(which=st.integers(0, 9), status=st.sampled_from(["SUCCESS", "SUCCESS", "FAIL"]))
    def node_ends(self, which: int, status: str) -> None:
        running = [(one, node) for one in self.gateway.instances for node in one.running]
        one, node = running[which % len(running)]
        one.node_ends(node, status, self.clock.now)

    @precondition(lambda self: any(one.running for one in self.gateway.instances))
    @rule(fails=st.sets(st.integers(1, 6), max_size=2))
    def instances_end(self, fails: set[int]) -> None:
        """End whatever runs; of the nodes, these fail."""
        for one in self.gateway.instances:
            while one.is_live(self.clock.now):
                for node in one.running:
                    one.node_ends(node, "FAIL" if node in fails else "SUCCESS", self.clock.now)
                self.clock.now += 2.0

    @rule(seconds=st.sampled_from([2.0, 30.0, LONG]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds
        for one in self.gateway.instances:
            one.advance(self.clock.now)

    # Rules: what the adversary does.

    @precondition(lambda self: self.at_trigger)
    @rule(which=st.integers(0, 6), why=st.sampled_from(sorted(REFUSED)))
    def trigger_is_refused(self, which: int, why: str) -> None:
        self._advance(self._pick(which, self.at_trigger), partial(_raise, REFUSED[why]))

    @precondition(lambda self: self.at_trigger)
    @rule(which=st.integers(0, 6), why=st.sampled_from(sorted(LOST)), request=REQUESTS)
    def trigger_is_not_answered(self, which: int, why: str, request: str) -> None:
        task = self._pick(which, self.at_trigger)
        self._send_off(task, request)
        self._advance(task, partial(_raise, LOST[why]))

    def _send_off(self, task: Task, request: str) -> None:
        if request == "arrives":
            with suppress(EnosError):
                self._trigger(*self._request(task))
        elif request == "late":
            self.under_way.append(self._request(task))

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 9))
    def late_request_arrives(self, which: int) -> None:
        with suppress(EnosError):
            self._trigger(*self.under_way.pop(which % len(self.under_way)))
        self._report()

    def _looks(self) -> list[Task]:
        steps = [(task, task.worker.step) for task in self.working if task.worker and not task.worker.at_trigger]
        return [task for task, step in steps if isinstance(step, Call)]

    @precondition(lambda self: self._looks())
    @rule(which=st.integers(0, 6), why=st.sampled_from(sorted({**LOST, "429": REFUSED["429"]})))
    def look_fails(self, which: int, why: str) -> None:
        self.is_excused = True
        self._advance(self._pick(which, self._looks()), partial(_raise, {**LOST, **REFUSED}[why]))

    @precondition(lambda self: any(isinstance(task.worker and task.worker.step, Write) for task in self.working))
    @rule(which=st.integers(0, 6), is_kept=st.booleans())
    def xcom_fails(self, which: int, is_kept: bool) -> None:
        task = self._pick(which, [task for task in self.working if isinstance(task.worker and task.worker.step, Write)])
        assert task.worker is not None
        step = task.worker.step
        if is_kept:
            self.xcoms.of.setdefault(step.task_id, {})[step.key] = json.dumps(step.value)
        self.is_excused = True
        self._advance(task, partial(_raise, lambda: RuntimeError("no XComs today")))

    @precondition(lambda self: self.working)
    @rule(which=st.integers(0, 6), request=REQUESTS)
    def worker_is_lost(self, which: int, request: str) -> None:
        task = self._pick(which, self.working)
        self._lose(task, request)
        self._ended(task, "failed", None)
        self._report()

    @property
    def may_freeze(self) -> list[Task]:
        """The tasks of nodes at a request or a pause. Nothing can be done about one that freezes in a write."""
        working = [task for task in self.working if task.node is not None]
        return [task for task in working if not isinstance(task.worker and task.worker.step, Write)]

    @precondition(lambda self: self.may_freeze)
    @rule(which=st.integers(0, 6))
    def worker_is_frozen(self, which: int) -> None:
        """Airflow gives a worker up that does not answer. Its process goes on later."""
        self.freeze(self._pick(which, self.may_freeze))

    def freeze(self, task: Task) -> None:
        self.frozen.append(copy.copy(task))
        task.worker = None
        self.clock.now += GIVEN_UP
        self._ended(task, "failed", None)

    @precondition(lambda self: self.frozen)
    @rule(which=st.integers(0, 6), most=st.sampled_from([1, 3, 60]))
    def frozen_goes_on(self, which: int, most: int) -> None:
        ghost = self._pick(which, self.frozen)
        worker = ghost.worker
        assert worker is not None
        for _ in range(most):
            self.current = ghost
            worker.go_on(self._good(ghost))
            # Nothing can be done about one that freezes in a write.
            while isinstance(worker.step, Write):
                worker.go_on(self._good(ghost))
            if worker.is_over:
                self.frozen = [one for one in self.frozen if one is not ghost]
                break
            self._note_request(ghost)
        self._report()

    @precondition(lambda self: self.working)
    @rule(which=st.integers(0, 6), request=REQUESTS, lasts=st.sampled_from([0, 0, 3]))
    def task_is_killed(self, which: int, request: str, lasts: int) -> None:
        task = self._pick(which, self.working)
        self._kill(task, request, lasts)
        self._ended(task, "failed", None)
        self._report()

    def _lose(self, task: Task, request: str) -> None:
        if task.worker is not None and task.worker.at_trigger:
            self._send_off(task, request)
        task.forget()

    def _kill(self, task: Task, request: str, lasts: int = 0) -> None:
        """Kill the task as Airflow does: ``on_kill``, and the end of the process ``lasts`` steps later."""
        worker = task.worker
        assert worker is not None
        is_asking = worker.at_trigger
        minute = minute_of(worker.asked_for[0]) if is_asking else 0
        if is_asking:
            self._send_off(task, request)
        worker.operator.on_kill()
        own = self.gateway.at(minute)
        if is_asking and request == "arrives" and isinstance(own, NodesInstance) and own.round == self.round:
            self._expect(own.status in ("CANCEL", "FAIL", "SUCCESS"), f"I7: {own.id} runs on, though it was killed")
        for _ in range(lasts):
            if worker.is_over or is_asking:
                break
            self.current = task
            worker.go_on(self._good(task))
            self._note_request(task)
        task.forget()

    @rule(what=st.sampled_from(["trigger", "trigger", "cancel", "run again"]), which=st.integers(0, 9))
    def somebody_else_meddles(self, what: str, which: int) -> None:
        now, instances = self.clock.now, self.gateway.instances
        if what == "trigger":
            with suppress(EnosError):
                self.gateway.start(self.minutes[which % 5], None)
        elif what == "cancel" and (live := [one for one in instances if one.is_live(now)]):
            live[which % len(live)].cancel(now)
        elif what == "run again":
            ended = [one for one in instances if one.status in ("FAIL", "CANCEL") and not one.is_live(now)]
            for one in ended[which % len(ended) : which % len(ended) + 1] if ended else ():
                one.run_again(now)
                self.repeats |= {one.round} if one.round is not None else set()

    # Rules: what users do in Airflow.

    @rule(which=st.sets(st.integers(1, 6), min_size=1, max_size=3), downstream=st.booleans(), request=REQUESTS)
    def clear(self, which: set[int], downstream: bool, request: str) -> None:
        every = sorted(self.graph.after)
        nodes = {every[one % len(every)] for one in which}
        if downstream:
            nodes = set().union(*(self.graph.downstream(node) for node in nodes))
        self._clear([self.nodes[node] for node in sorted(nodes)], request)

    @precondition(lambda self: any(task.state == "failed" for task in self.tasks))
    @rule()
    def clear_what_failed(self) -> None:
        self._clear([task for task in self.tasks if task.state in ("failed", "upstream_failed")], "never arrives")

    @precondition(lambda self: self.start.try_number and self.round < 2)
    @rule(request=REQUESTS)
    def clear_start(self, request: str) -> None:
        self._clear(self.tasks, request)

    def _clear(self, tasks: list[Task], request: str) -> None:
        self.clears += 1
        # A clear of start while it runs is only another try.
        is_new_round = self.start in tasks and self.start.worker is None and self.start.try_number > 0
        if is_new_round:
            announced = {self.xcoms.read(task.id, "flow_instance_id") for task in self.nodes.values()}
            self.left |= {one.id for one in self.gateway.live(self.round) if one.id in announced}
        for task in tasks:
            newest = None if task.node is None else self.gateway.newest(task.node, self._on_record())
            if newest is not None and task.node is not None and newest.states[task.node] in DONE:
                self.repeats.add(self.round)
                if task.state == "success" and newest.id == task.succeeded_in:
                    task.cleared_at = self.clock.now
            if task.worker is not None:
                task.is_restarting = True
                self._kill(task, request)
                self._ended(task, "failed", None)
                continue
            task.forget()
            task.state, task.ti.max_tries = None, task.try_number + self.retries
        self.round += is_new_round
        self._report()

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

    def teardown(self) -> None:
        """Without the adversary, all tasks succeed, and what they say is what EnOS says."""
        if not hasattr(self, "patch"):
            return
        try:
            if self.sound:
                self._quiet_down()
        finally:
            for task in (*self.tasks, *self.frozen):
                task.forget()
            self.patch.undo()

    def _quiet_down(self) -> None:
        self.under_way.clear()
        for ghost in self.frozen:
            ghost.forget()
        self.frozen.clear()
        for _ in range(80):
            self._begin_all()
            self._move_all()
            for one in self.gateway.instances:
                for node in one.running:
                    one.node_ends(node, "SUCCESS", self.clock.now)
            self.clock.now += 5.0
            if self.active or any(one.is_live(self.clock.now) for one in self.gateway.instances):
                continue
            if not any(task.may_begin for task in self.tasks):
                left = [task for task in self.tasks if task.state != "success"] or self._differing()
                if not left:
                    return
                self._clear(left, "never arrives")
        states = {task.id: (task.state, task.error) for task in self.tasks}
        pytest.fail(f"I5: it does not come to an end: {states}")

    def _differing(self) -> list[Task]:
        """Return the tasks that have succeeded although their nodes failed in the newest instance.

        That is so only if they do not know the instance: their nodes were run again for the sake of others.
        """
        differing = []
        own = self._in_order(
            one for one in self.gateway.instances if one.round == self.round or one in self._on_record()
        )
        for node, task in self.nodes.items():
            newest = self.gateway.newest(node, own)
            state = newest and newest.states[node]
            if newest is None or state not in DONE:
                is_new = newest is not None and newest.id != task.succeeded_in
                assert is_new, f"I5: {task.id} has succeeded, and its node is {state} in {newest}"
                differing.append(task)
        return differing


def _raise(make: Callable[[], Exception]) -> Any:
    raise make()
