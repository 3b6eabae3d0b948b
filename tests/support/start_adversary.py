"""An adversary between a task and EnOS: a state machine of hypothesis, with the invariants that must hold."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta, timezone
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from start_model import (
    ALL,
    CLOCK_MINUTE,
    KEPT,
    LONG,
    LOST,
    MIDNIGHT,
    MORNING,
    PATIENCE,
    REFUSED,
    START,
    TARGET,
    TOLERANCE,
    UNSEEN,
    Clock,
    Gateway,
    Instance,
    Round,
    Try,
    downstream,
)
from worker import Log

from airflow_provider_enos.errors import EnosError, EnosTriggerConflictError, EnosTriggerUncertainError
from airflow_provider_enos.protocol.start import attempts
from airflow_provider_enos.protocol.start.attempts import Attempt, Intent
from airflow_provider_enos.protocol.start.killed import cancel_unanswered
from airflow_provider_enos.protocol.start.starting import Starter
from airflow_provider_enos.protocol.trigger_time import further_minutes, minute_of, minute_of_id
from airflow_provider_enos.protocol.wire.messages import Call, Sleep

ENDS = ["SUCCESS", "FAIL", "FAIL", "CANCEL"]


class Adversary(RuleBasedStateMachine):
    """A task, a model of EnOS, and everything that can go wrong between them."""

    has_store: bool
    sound = False
    """Whether the run has begun and no check has failed."""

    @initialize(
        on_conflict=st.sampled_from(["next_minute", "next_minute", "attach", "fail"]),
        retries=st.sampled_from([0, 2, 3]),
        trigger_time=st.sampled_from([MORNING, MIDNIGHT]),
        documented_ids=st.booleans(),
        clock_minute=st.sampled_from([0.0, 0.0, CLOCK_MINUTE]),
        unseen=st.sampled_from(sorted(UNSEEN)),
        listed_type=st.sampled_from([0, 1, 2]),
        first_page=st.sampled_from([0, 1]),
        late=st.sampled_from(["before", "after", "never"]),
        times_in=st.sampled_from([0, 8, 8, None]),
        tolerance=st.sampled_from([0.0, 600.0]),
        taken=st.sampled_from([0, 0, 0, 1, 2]),
        clears=st.sampled_from([0, 0, 0, 1, 2]),
        retry_from=st.sampled_from(["start", "failure", "failure"]),
        failing=st.sampled_from([None, None, 0, 1, 2]),
    )
    def begin(
        self,
        on_conflict: Any,
        retries: int,
        trigger_time: int,
        late: str,
        taken: int,
        clears: int,
        tolerance: float,
        retry_from: Any,
        failing: int | None,
        **gateway: Any,
    ) -> None:
        """Before the adversary begins, others had the first ``taken`` minutes, and all went well up to some clears.

        ``failing``: which node has failed in the first try after that. ``late``: when what is under way arrives, once
        the adversary has stopped.
        """
        zone = timezone(timedelta(hours=8))
        self.minutes = [minute_of(trigger_time), *further_minutes(trigger_time, zone)]
        self.on_conflict, self.retries, self.trigger_time, self.late = on_conflict, retries, trigger_time, late
        self.tolerance, self.retry_from = tolerance, retry_from
        self.clock = Clock()
        self.gateway = Gateway(self.clock, **gateway)
        self.under_way: list[tuple[int, int, int]] = []
        self.record: Any = None
        self.last: Intent | None = None
        self.left_running: set[str] = set()
        self.rounds: dict[int, Round] = defaultdict(Round)
        self.round, self.try_number, self.max_tries, self.clears = 0, 1, retries, 0
        self.runs_all = True
        self.sound = True
        for minute in self.minutes[: taken if self.has_store else 0]:
            self._arrive(minute, None)
            self.clock.now += CLOCK_MINUTE
        self.clock.now += LONG
        self._try()
        for _ in range(clears):
            self._settle()
            self.clear()
        if failing is not None:
            self._fail(failing)

    def _fail(self, node: int) -> None:
        """Let the instance of this try fail, and retry the task."""
        while self.now.starting:
            self._answer()
        found = self.gateway.called(self.now.id or "")
        if found is not None and found.status == "RUNNING":
            found.end("FAIL", self.clock.now, node)
            self.task_ends_as_its_instance()
        if self._may_retry():
            self.retry()

    # What the task does.

    def _try(self, *, is_readable: bool = True) -> None:
        self.last = None
        reported = self.rounds[self.round].reported
        self.ended_badly = {one.id for one in self.gateway.instances if one.id in reported and one.status not in KEPT}
        try:
            attempt = self._attempt(is_readable)
        except EnosError as error:
            self.now = Try(iter(()), ended="failed", error=error)  # type: ignore[arg-type]
            self._check(self._check_error, error)
            return
        starter = Starter(
            TARGET,
            attempt,
            self,
            Log(),
            on_conflict=self.on_conflict,
            tolerance=self.tolerance,
            deadline=self.clock.now + PATIENCE,
            clock=self.clock,
            gateway_clock=self.clock,
            cancels_predecessor=True,
            retry_from=self.retry_from,
        )
        self.now = Try(starter.run())
        self._go_on(lambda: next(self.now.steps))

    def _attempt(self, is_readable: bool) -> Attempt:
        return attempts.attempt_of(
            self.record if is_readable else None,
            try_number=self.try_number,
            max_tries=self.max_tries,
            retries=self.retries,
            has_record=self.has_store and is_readable,
            is_readable=is_readable,
            now=int(self.clock.now * 1000),
            trigger_time=lambda now: self.trigger_time,
            clears=self.clears,
        )

    # The record of the try.

    superseded = False

    def save(self, intent: Intent) -> None:
        self.last = intent
        if self.has_store:
            self.record = json.loads(json.dumps(intent.to_json()))

    def _go_on(self, on: Callable[[], Any]) -> None:
        """Run the generator to its next step, or to its end."""
        now = self.now
        try:
            now.step = on()
        except StopIteration as done:
            now.id = done.value.flow_instance_id
            self._check(self._check_id, now.id)
        except EnosError as error:
            now.ended, now.error = "failed", error
            self._check(self._check_error, error)
        else:
            self._note_look()
            if now.at_trigger:
                self.rounds[self.round].asked.setdefault(minute_of(self._time()), self.clock.now)
                self._check(self._check_sends, minute_of(self._time()))
                self._check(self._check_node, minute_of(self._time()))

    def _time(self) -> int:
        return int(json.loads(self.now.step.body)["triggerTime"])

    def _node(self) -> int:
        return int(json.loads(self.now.step.body)["taskId"])

    def _note_look(self) -> None:
        step = self.now.step
        if isinstance(step, Call) and step.operation == "Get Flow Instance":
            self.now.looked_at.add(minute_of_id(dict(step.query)["flowInstId"]))

    def _throw(self, error: EnosError) -> None:
        self._go_on(lambda: self.now.steps.throw(error))

    def _answer(self) -> None:
        """Answer the current request as EnOS would."""
        step = self.now.step
        if isinstance(step, Sleep):
            self.clock.now += step.seconds
            return self._go_on(lambda: self.now.steps.send(None))
        try:
            given = self._trigger() if self.now.at_trigger else self.gateway.answer(step)
        except EnosError as error:
            if self.now.at_trigger:
                self.rounds[self.round].refused.add(minute_of(self._time()))
            return self._throw(error)
        return self._go_on(lambda: self.now.steps.send(given))

    def _trigger(self) -> str:
        return self.gateway.trigger(self._time(), self.round, self._node())

    @precondition(lambda self: self.now.starting)
    @rule(most=st.sampled_from([1, 5, 60, 60]))
    def goes_well(self, most: int) -> None:
        """Go on to the next trigger, so that the adversary can meddle with each."""
        for _ in range(most):
            self._answer()
            if not self.now.starting or self.now.at_trigger:
                break

    # What the adversary does.

    def _unanswered(self) -> None:
        self.now.unanswered = True
        self.rounds[self.round].unanswered.add(minute_of(self._time()))

    def _arrive(self, time: int, round: int | None, node: int = START) -> None:
        """Let the request arrive; nobody gets its answer."""
        with suppress(EnosError):
            self.gateway.trigger(time, round, node)

    @precondition(lambda self: self.now.at_trigger)
    @rule(why=st.sampled_from(sorted(REFUSED)))
    def trigger_is_refused(self, why: str) -> None:
        self._throw(REFUSED[why]())

    @precondition(lambda self: self.now.at_trigger)
    @rule(why=st.sampled_from(sorted(LOST)), request=st.sampled_from(["arrives", "late", "never arrives"]))
    def trigger_is_not_answered(self, why: str, request: str) -> None:
        self._unanswered()
        self._send_off(request)
        self._throw(LOST[why]())

    def _send_off(self, request: str) -> None:
        if request == "arrives":
            self._arrive(self._time(), self.round, self._node())
        elif request == "late":
            self.under_way.append((self._time(), self.round, self._node()))

    @precondition(lambda self: self.now.at_trigger)
    @rule(first=st.sampled_from(["is carried out", "is not"]), stranger=st.booleans())
    def trigger_is_delivered_twice(self, first: str, stranger: bool) -> None:
        """An intermediary sent the request twice and the second copy was refused, so the client sends it again."""
        time = self._time()
        if stranger and self.has_store:
            self._arrive(time, None)
        if first == "is carried out":
            self._arrive(time, self.round, self._node())
        self.rounds[self.round].unanswered.add(minute_of(time))
        try:
            id = self._trigger()
        except EnosError as error:
            self.now.doubtful = True
            error.repeated = True
            return self._throw(error)
        return self._go_on(lambda: self.now.steps.send(id))

    @precondition(lambda self: self.now.at_token)
    @rule(why=st.sampled_from(["no connection", "503 before it was sent"]))
    def token_cannot_be_had(self, why: str) -> None:
        self._throw(REFUSED[why]())

    @precondition(lambda self: self.now.at_look)
    @rule(why=st.sampled_from(sorted({**LOST, **REFUSED})))
    def look_fails(self, why: str) -> None:
        self._throw({**LOST, **REFUSED}[why]())

    @precondition(lambda self: self.now.starting)
    @rule(request=st.sampled_from(["arrives", "late", "never arrives"]), then=st.sampled_from(["", "restart", "rerun"]))
    def worker_is_lost_while_it_starts(self, request: str, then: str) -> None:
        """Or the task is cleared while it runs, which leaves ``max_tries``; or the same try runs again."""
        if self.now.at_trigger:
            self._unanswered()
            self._send_off(request)
        self.now.steps.close()
        self.now.ended, self.now.restarting = "failed", then == "restart"
        if then == "rerun" and self.has_store:
            self._try()

    @precondition(lambda self: self.now.at_trigger)
    @rule(request=st.sampled_from(["arrives", "late", "never arrives"]), restarting=st.booleans())
    def task_is_killed_before_the_reply(self, request: str, restarting: bool) -> None:
        """Unlike a lost worker, a killed task may still cancel its instance."""
        self._unanswered()
        self._send_off(request)
        self.now.steps.close()
        self.now.ended, self.now.restarting = "failed", restarting
        self._check(self._check_kill, self._kill())

    def _kill(self) -> str | None:
        """Do what the signal handler does in its seconds."""
        if self.last is None or not self.last.is_open:
            return None
        until = self.clock.now + 4
        steps = cancel_unanswered(self.last, until=until, clock=self.clock, gateway_clock=self.clock)
        answer: Callable[[], Any] = lambda: next(steps)  # noqa: E731
        while True:
            try:
                step = answer()
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            if isinstance(step, Sleep):
                self.clock.now += step.seconds
                answer = partial(steps.send, None)
                continue
            try:
                answer = partial(steps.send, self.gateway.answer(step))
            except EnosError as error:
                answer = partial(steps.throw, error)

    @precondition(lambda self: self.now.waiting)
    @rule(cancelled=st.booleans(), restarting=st.booleans())
    def worker_is_lost_while_it_waits(self, cancelled: bool, restarting: bool) -> None:
        """Or the task is cleared or marked failed; then the instance is cancelled, unless that request is lost."""
        self._lose_wait(cancelled)
        self.now.restarting = restarting

    def _lose_wait(self, cancelled: bool) -> None:
        found = self.gateway.called(self.now.id or "")
        if cancelled and found is not None and found.status == "RUNNING":
            found.end("CANCEL", self.clock.now)
        self.now.ended = "failed"

    @precondition(lambda self: self.now.waiting)
    @rule(cancelled=st.booleans())
    def clear_while_deferred(self, cancelled: bool) -> None:
        """Unlike a clear of a running task, this raises ``max_tries``."""
        self._lose_wait(cancelled)
        self.clear()

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 9))
    def late_request_arrives(self, which: int) -> None:
        self._arrive(*self.under_way.pop(which % len(self.under_way)))

    # Without a record, what others start in the minute of a task is out of scope: see the README.
    @precondition(lambda self: self.has_store)
    @rule(which=st.integers(0, 4))
    def somebody_else_triggers(self, which: int) -> None:
        self._arrive(self.minutes[which], None)

    @precondition(lambda self: any(one.status == "RUNNING" for one in self.gateway.instances))
    @rule(
        which=st.integers(0, 9), status=st.sampled_from(["SUCCESS", "FAIL", "FAIL", "CANCEL"]), node=st.integers(0, 3)
    )
    def instance_ends(self, which: int, status: str, node: int) -> None:
        running = [one for one in self.gateway.instances if one.status == "RUNNING"]
        running[which % len(running)].end(status, self.clock.now, node)

    # What Airflow does.

    def _has_ended(self) -> bool:
        found = self.gateway.called(self.now.id or "")
        return self.now.waiting and found is not None and found.status != "RUNNING"

    @precondition(_has_ended)
    @rule()
    def task_ends_as_its_instance(self) -> None:
        found = self.gateway.called(self.now.id or "")
        self.now.ended = "success" if found and found.status == "SUCCESS" else "failed"
        if found and self.now.ended == "success":
            self._check(self._check_success, found)

    def _may_retry(self) -> bool:
        """A task that was cleared while it ran is always tried again."""
        return self.now.ended == "failed" and (self.now.restarting or self.try_number <= self.max_tries)

    @precondition(lambda self: self.now.ended is not None)
    @rule(cleared=st.sampled_from([False, False, False, True]), store=st.sampled_from(["works", "works", "fails"]))
    def next_try(self, cleared: bool, store: str) -> None:
        """Retry the task if it has a try left, else clear it. Reading the store may fail."""
        is_readable = store == "works" or not self.has_store
        if cleared or not self._may_retry():
            self.clear(is_readable=is_readable)
        else:
            self.retry(is_readable=is_readable)

    @precondition(lambda self: self.now.ended is not None)
    @rule()
    def time_passes(self) -> None:
        self.clock.now += LONG

    def retry(self, *, is_readable: bool = True) -> None:
        self.try_number += 1
        self.runs_all = self.now.restarting
        self.clears += self.now.restarting
        self._try_again(is_readable)

    def _try_again(self, is_readable: bool) -> None:
        self._try(is_readable=is_readable)

    def clear(self, *, is_readable: bool = True) -> None:
        self.max_tries = self.try_number + self.retries
        self.round += 1
        self.clears += 1
        self.try_number += 1
        self.runs_all = True
        left = self.gateway.called((self.record or {}).get("flow_instance_id") or "")
        if left is not None and left.status == "RUNNING":
            self.left_running.add(left.id)
        self._try_again(is_readable)

    # What must hold.

    def _check(self, check: Callable[[Any], None], what: Any) -> None:
        self.sound = False
        check(what)
        self.sound = True

    def _check_id(self, id: str) -> None:
        found = self.gateway.called(id)
        assert found is not None, f"I2: {id} does not exist"
        mine = self.rounds[self.round]
        earlier = {one for number in range(self.round) for one in self.rounds[number].reported}
        assert found.round in (None, self.round), f"I3: {id} was started before a clear"
        assert id not in earlier, f"I3: {id} was another's before a clear"
        assert id not in self.ended_badly, f"I8: {id} had ended badly before this try"
        if found.round is None:
            # What somebody else started in the very minute of a request of ours that was not answered, and since then,
            # cannot be told from ours. Nothing else may be taken for ours.
            ambiguous = found.minute in mine.unanswered and self._may_be_taken_for(found, mine)
            attached = self.on_conflict == "attach" and found.minute in mine.asked
            assert ambiguous or attached, f"{id} is somebody else's"
        mine.reported.add(id)
        running = [one.id for one in self.gateway.instances if one.id in self.left_running and one.status == "RUNNING"]
        assert not running, f"I6: {running} was left running by a round before a clear"

    def _may_be_taken_for(self, found: Instance, mine: Round) -> bool:
        """Return whether the creation time of the instance allows that it is ours."""
        return self.gateway.times_in is None or found.created >= mine.asked[found.minute] - TOLERANCE - 1

    def _check_kill(self, cancelled: str | None) -> None:
        """A task that is killed between request and reply cancels its own instance and no other."""
        mine, minute = self.rounds[self.round], minute_of(self.last.sent_time) if self.last else 0
        own = [one for one in self.gateway.instances if one.round == self.round and one.minute == minute]
        assert all(one.status in ("CANCEL", "SUCCESS", "FAIL") for one in own), "I7: it runs on, though it was killed"
        found = self.gateway.called(cancelled or "")
        if found is not None and found.round != self.round:
            assert self._may_be_taken_for(found, mine), f"I7: {cancelled} is somebody else's"

    def _check_error(self, error: EnosError) -> None:
        assert not error.final, f"I4: {error!r} is final"
        if isinstance(error, EnosTriggerConflictError):
            assert self._lost_to_somebody_else(), f"I4: {error!r}, though the minute is nobody else's"
        elif self.now.unanswered:
            assert isinstance(error, EnosTriggerUncertainError), f"I4: {error!r} hides that it is not known"
        elif self.now.doubtful and self.record and self.record["refused"]:
            refused = minute_of(self.record["sent_time"])
            own = [one for one in self.gateway.instances if one.round == self.round and one.minute == refused]
            assert not own, f"I4: {error!r}, and the next try will not look for {own}"

    def _lost_to_somebody_else(self) -> bool:
        others = {one.minute for one in self.gateway.instances if one.round is None}
        return self.on_conflict == "fail" and bool(others & self.rounds[self.round].asked.keys())

    def _check_sends(self, minute: int) -> None:
        """A request that may have been carried out is never repeated without a look."""
        mine, there = self.rounds[self.round], self.gateway.at(minute)
        is_strangers = there is not None and there.round is None and not self._may_be_taken_for(there, mine)
        if minute in mine.unanswered and not is_strangers:
            assert minute in self.now.looked_at, "I4: sent again blindly"

    def _check_node(self, minute: int) -> None:
        """What a request does not run again has succeeded before, and nothing of the failed instance runs."""
        mine, node, now = self.rounds[self.round], self._node(), self.clock.now
        before, clears = mine.nodes.get(minute, (node, self.clears))
        assert node == before or clears != self.clears or not self.has_store, f"I10: {node}, and before it {before}"
        mine.nodes[minute] = node, self.clears
        mine.kept[minute] = frozenset()
        if node == START:
            return
        assert self.retry_from == "failure", f"I9: from {node}"
        assert not self.runs_all, f"I9: from {node}, though this try has to run everything"
        failed = [one for one in self.gateway.instances if one.minute != minute and self._failed_for(one, mine)]
        last = max(failed, key=lambda one: self.minutes.index(one.minute), default=None)
        assert last is not None, f"I9: from {node}, though nothing has failed"
        assert now >= last.busy_until, f"I11: {last.id} is still running"
        done = mine.kept.get(last.minute, frozenset()) | last.done(now)
        mine.kept[minute] = done - downstream(node)
        assert mine.kept[minute] | downstream(node) == ALL, f"I9: from {node}, though only {sorted(done)} had succeeded"

    def _failed_for(self, one: Instance, mine: Round) -> bool:
        """Return whether it ended badly, and is this round's or may be taken for it."""
        is_ambiguous = one.round is None and one.minute in mine.unanswered and self._may_be_taken_for(one, mine)
        return one.status not in KEPT and (one.round == self.round or one.id in mine.reported or is_ambiguous)

    def _check_success(self, found: Instance) -> None:
        kept = self.rounds[self.round].kept.get(found.minute, frozenset())
        missing = ALL - kept - found.done(self.clock.now)
        assert not missing, f"I9: success, though {sorted(missing)} never succeeded"

    @invariant()
    def one_instance_a_round(self) -> None:
        owners = [one.round for one in self.gateway.instances if one.round is not None and one.status in KEPT]
        assert len(owners) == len(set(owners)), f"I1: {self.gateway.instances}"

    def teardown(self) -> None:
        """Without the adversary, the task gets its one instance, or reports the conflict."""
        if not self.sound:
            return
        self.one_instance_a_round()
        if self.late == "before":
            self._let_arrive()
        for _ in range(10):
            self._settle()
            if self.now.ended != "failed" or isinstance(self.now.error, EnosTriggerConflictError):
                break
            self.retry() if self._may_retry() else self.clear()
        else:
            pytest.fail(f"I5: {self.now.error!r}")
        if self.late == "after":
            self._let_arrive()
        kept = [one.id for one in self.gateway.instances if one.round == self.round and one.status in KEPT]
        if self.now.id is None:
            assert kept == [], "I5: given up, though there is one"
        else:
            found = self.gateway.called(self.now.id)
            assert found is not None
            assert found.status in KEPT, "I5: there is none"
            assert kept in ([], [self.now.id]), "I5: there is more than one"
            assert kept or found.round is None, "I5"

    def _settle(self) -> None:
        """Let everything go well until the try has ended."""
        while self.now.starting:
            self._answer()
        if self._has_ended():
            self.task_ends_as_its_instance()

    def _let_arrive(self) -> None:
        while self.under_way:
            self._arrive(*self.under_way.pop())
        self.one_instance_a_round()


class WithStore(Adversary):
    """As on Airflow 3.3 and later."""

    has_store = True


class WithoutStore(Adversary):
    """As before."""

    has_store = False


NORMAL = settings(
    max_examples=300,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)
NIGHTLY = settings(
    NORMAL,
    derandomize=False,
    max_examples=int(os.environ.get("ENOS_MODEL_EXAMPLES", "5000")),
    stateful_step_count=50,
)
