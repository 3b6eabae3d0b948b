"""An adversary between the tasks of a group and EnOS: a state machine of hypothesis."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from group_airflow import Task, Write
from group_machine import GroupMachine
from group_model import DONE, NodesInstance
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from start_model import LONG, LOST, REFUSED

from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.trigger_time import minute_of
from airflow_provider_enos.protocol.wire.messages import Call

GIVEN_UP = 60.0
"""Seconds after which Airflow gives up a worker that does not answer; its default is 300."""
REQUESTS = st.sampled_from(["arrives", "arrives", "late", "never arrives"])


class GroupAdversary(GroupMachine):
    """Everything that can go wrong for the tasks of a group, and what users do."""

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
