"""What follows an instance of a group, and whose instance has a minute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from starts import FIRST, FLOW, LOOK, TIME, ZONE, graph, instance, name

from airflow_provider_enos.errors import EnosServerError
from airflow_provider_enos.protocol.models import Flow, FlowInstance
from airflow_provider_enos.protocol.start.attempts import Intent, Target
from airflow_provider_enos.protocol.start.group import GroupInstance, GroupStart, NodeStep
from airflow_provider_enos.protocol.start.group_restart import Plan, Siblings, plan_after
from airflow_provider_enos.protocol.start.pauses import Backoff
from airflow_provider_enos.protocol.trigger_time import MINUTE

A, B, C, D = range(108580, 108584)
START = GroupStart(3377, TIME, GroupInstance(name(0), None, 0), "here")
AT = START.first


def the_flow(nodes: Iterable[int] = (A, B, C)) -> Flow:
    tasks = [{"taskId": node, "taskName": f"n{node - A}", "nodeId": f"t{node - A}"} for node in nodes]
    relations = [{"source": f"t{node - A - 1}", "target": f"t{node - A}"} for node in nodes if node > A]
    return Flow.parse({"flowId": 3377, "graph": {"tasks": tasks, "relations": relations}})


@pytest.fixture
def planned(play: Any, clock: Any, log: Any) -> Callable[..., Any]:
    """Play a plan."""

    def plan(
        answers: Any, node: int, step: NodeStep = NodeStep.RECOVER, start: GroupStart = START, at: Any = None
    ) -> Any:
        at = at or start.first
        seen = instance(at.index, "FAIL" if step is NodeStep.RECOVER else "SUCCESS")
        backoff = Backoff(600, clock.now + 3600, clock, log)
        return play(plan_after(start, at, seen, node, step, backoff), answers, clock)

    return plan


# Recovery.


def test_it_starts_from_the_node_that_has_to_run_again(planned: Any) -> None:
    played = planned([graph(statuses="SUCCESS FAIL INIT"), the_flow()], B)
    assert played.operations == [LOOK, FLOW]
    assert (played.value.target, played.value.runs) == (Target(3377, B), (B, C))
    assert played.value.has(C)
    assert not played.value.has(A)
    assert "n1" in played.value.line


def test_every_node_comes_to_the_same(planned: Any) -> None:
    plans = [planned([graph(statuses="SUCCESS FAIL INIT"), the_flow()], node).value for node in (B, C)]
    assert plans[0] == plans[1]


def test_if_its_first_node_has_failed_all_of_it_runs_again(planned: Any) -> None:
    plan = planned([graph(statuses="FAIL INIT INIT"), the_flow()], A).value
    assert (plan.target, plan.runs) == (Target(3377), None)
    assert plan.has(A)
    assert plan.line.startswith(f"as the first time, after {name(0)}: everything runs again")


def test_a_group_from_a_node_starts_from_it_as_the_first_time(planned: Any) -> None:
    start = GroupStart(3377, TIME, GroupInstance(name(0), B, 0), "here")
    plan = planned([graph(statuses="INIT FAIL INIT"), the_flow()], B, start=start).value
    assert (plan.target, plan.runs) == (Target(3377, B), None)


def test_parameters_are_sent_again_with_the_whole_flow(planned: Any) -> None:
    """Trigger Flow From Task takes none."""
    start = GroupStart(3377, TIME, AT, "here", {"site": "EMEA"})
    plan = planned([graph(statuses="SUCCESS FAIL INIT"), the_flow()], B, start=start).value
    assert plan.target == Target(3377, None, {"site": "EMEA"})


def test_what_runs_again_is_waited_for(planned: Any) -> None:
    assert planned([graph(statuses="SUCCESS RUNNING INIT", status="RERUN", endTime=None)], B).value is None


def test_an_instance_that_cannot_be_read_is_followed_by_all_of_it(planned: Any) -> None:
    broken = graph(statuses="SUCCESS FAIL", graph={"tasks": None, "relations": None})
    plan = planned([broken, the_flow()], B).value
    assert (plan.target, plan.runs) == (Target(3377), None)


# A clear after a success.


def test_a_node_that_had_succeeded_is_started_itself(planned: Any) -> None:
    plan = planned([graph(statuses="SUCCESS SUCCESS SUCCESS", status="SUCCESS"), the_flow()], B, NodeStep.REPEAT).value
    assert (plan.target, plan.runs) == (Target(3377, B), (B, C))
    assert f"had succeeded in {name(0)}" in plan.line


def test_with_parameters_it_starts_all_of_it(planned: Any) -> None:
    start = GroupStart(3377, TIME, AT, "here", {"site": "EMEA"})
    answers = [graph(statuses="SUCCESS SUCCESS SUCCESS", status="SUCCESS"), the_flow()]
    plan = planned(answers, B, NodeStep.REPEAT, start=start).value
    assert (plan.target, plan.runs) == (Target(3377, None, {"site": "EMEA"}), None)


# Siblings.


@dataclass
class Record:
    """The record of the group."""

    known: list[GroupInstance] = field(default_factory=list)
    asked: list[list[Intent]] = field(default_factory=list)
    """What the others have asked for, at each look; the last of them stays."""
    looks: int = 0

    def start(self) -> GroupStart:
        return START

    def instances(self, start: GroupStart) -> tuple[GroupInstance, ...]:
        return (AT, *self.known)

    def intents(self, nodes: Iterable[int], after: GroupInstance) -> list[Intent]:
        assert ([*nodes], after) == ([A, C], AT)
        self.looks += 1
        return self.asked[min(self.looks, len(self.asked)) - 1] if self.asked else []


def intent(**changes: Any) -> Intent:
    defaults = {"max_tries": 0, "first_index": 1, "trigger_time": TIME, "sent_time": FIRST + MINUTE, "index": 1}
    return Intent(**{**defaults, "from_task_id": B, "first_sent": 1_600_000_000_000, **changes})


OPEN = intent()
FOUND = instance(1)


@pytest.fixture
def shared(play: Any, clock: Any) -> Callable[..., Any]:
    """Play the question whether the others have started ``FOUND``: the same as this task, or something else."""

    def ask(record: Record, found: FlowInstance = FOUND, answers: Iterable[Any] = (), *, same: bool = True) -> Any:
        plan = Plan(Target(3377, B), (B, C), "from it")
        siblings = Siblings(AT, B, plan, record, [A, C], clock)
        steps = siblings.have_started(found) if same else siblings.have_started_otherwise(found)
        return play(steps, answers, clock)

    return ask


@pytest.mark.parametrize(("runs", "is_ours"), [((B, C), True), (None, True), ((C,), False)])
def test_what_is_on_record_is_shared_if_it_runs_the_node(shared: Any, runs: Any, *, is_ours: bool) -> None:
    assert shared(Record([GroupInstance(name(1), B, 1, runs)])).value is is_ours


def test_what_another_task_has_got_is_shared(shared: Any) -> None:
    assert shared(Record(asked=[[intent(flow_instance_id=name(1), named=True)]])).value is True


@pytest.mark.parametrize(
    "asked",
    [
        [],
        [intent(refused=True)],
        [intent(from_task_id=C, flow_instance_id=name(1))],
        [intent(sent_time=FIRST + 2 * MINUTE, flow_instance_id=name(2))],
    ],
)
def test_what_nobody_has_asked_for_is_a_strangers(shared: Any, asked: list[Intent]) -> None:
    played = shared(Record(asked=[asked]))
    assert played.value is False
    assert played.pauses == []


def test_a_request_under_way_is_waited_for(shared: Any) -> None:
    played = shared(Record(asked=[[OPEN], [OPEN], [intent(flow_instance_id=name(1))]]))
    assert played.value is True
    assert played.pauses == [1.0, 1.0]


def test_a_request_that_is_refused_meanwhile(shared: Any) -> None:
    assert shared(Record(asked=[[OPEN], [intent(refused=True)]])).value is False


@pytest.mark.parametrize(("made_at", "is_ours"), [("20:26:50", True), ("19:26:50", False)])
def test_a_task_that_has_gone_without_an_answer_may_have_started_it(
    shared: Any, made_at: str, *, is_ours: bool
) -> None:
    """Then the time at which the instance was made decides."""
    at = f"2020-09-13 {made_at}"
    played = shared(Record(asked=[[OPEN]]), instance(1, triggerTime=at, timestamp=at), [ZONE])
    assert sum(played.pauses) == 15.0
    assert played.value is is_ours


ELSEWHERE = intent(from_task_id=C)
ELSEWHERE_NAMED = intent(from_task_id=C, flow_instance_id=name(1), named=True)


@pytest.mark.parametrize(("runs", "is_others"), [((B, C), False), (None, False), ((C,), True)])
def test_what_is_on_record_is_another_tasks_if_it_does_not_run_the_node(
    shared: Any, runs: Any, *, is_others: bool
) -> None:
    assert shared(Record([GroupInstance(name(1), C, 1, runs)]), same=False).value is is_others


@pytest.mark.parametrize(
    ("asked", "is_others", "pauses"),
    [
        ([[]], False, 0),
        ([[ELSEWHERE_NAMED]], True, 0),
        ([[ELSEWHERE], [ELSEWHERE], [ELSEWHERE_NAMED]], True, 2),
        ([[ELSEWHERE], [intent(from_task_id=C, refused=True)]], False, 1),
        ([[intent(from_task_id=C, flow_instance_id=name(2), named=True)]], False, 0),
        ([[OPEN]], False, 0),
        # Nobody can tell: the next try finds out.
        ([[ELSEWHERE]], False, 15),
    ],
)
def test_what_another_task_has_got_from_another_node(
    shared: Any, asked: list[list[Intent]], *, is_others: bool, pauses: int
) -> None:
    played = shared(Record(asked=asked), same=False)
    assert played.value is is_others
    assert played.pauses == [1.0] * pauses


def test_an_error_of_enos_is_raised(planned: Any) -> None:
    busy = EnosServerError(62109, "Internal error.", operation="x", http_status=200)
    played = planned(lambda step: busy, B)
    assert played.error is not None
