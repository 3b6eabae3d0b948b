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
from airflow_provider_enos.protocol.start.group import GroupInstance, GroupRequest, GroupStart, NodeStep
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
    asked: list[list[GroupRequest]] = field(default_factory=list)
    """What the others have asked for, at each look; the last of them stays."""
    looks: int = 0

    def start(self) -> GroupStart:
        return START

    def instances(self, start: GroupStart) -> tuple[GroupInstance, ...]:
        return (AT, *self.known)

    def requests(self, nodes: Iterable[int]) -> list[GroupRequest]:
        assert [*nodes] == [A, C]
        self.looks += 1
        return self.asked[min(self.looks, len(self.asked)) - 1] if self.asked else []


NAMED = {"flow_instance_id": name(1), "named": True}


def asked(node: int | None = B, *, after: GroupInstance = AT, **changes: Any) -> GroupRequest:
    defaults = {"max_tries": 0, "first_index": 1, "trigger_time": TIME, "sent_time": FIRST + MINUTE, "index": 1}
    intent = Intent(**{**defaults, "from_task_id": node, "first_sent": 1_600_000_000_000, **changes})
    return GroupRequest(after.flow_instance_id, intent, None if node is None else (node, 7))


FOUND = instance(1)
AT_LAST = GroupInstance(name(9), C, 9, (C,))


@pytest.fixture
def shared(play: Any, clock: Any) -> Callable[..., Any]:
    """Play the question whether the others have started ``FOUND``: so that it runs node B, or from another node."""

    def ask(
        record: Record, found: FlowInstance = FOUND, answers: Iterable[Any] = (), *, otherwise: bool = False
    ) -> Any:
        siblings = Siblings(AT, B, Plan(Target(3377, B), (B, 7), "from it"), record, [A, C], clock)
        question = siblings.have_started_otherwise if otherwise else siblings.have_started
        return play(question(found, FIRST + MINUTE), answers, clock)

    return ask


@pytest.mark.parametrize(
    ("known", "runs_node", "is_other"),
    [
        (GroupInstance(name(1), B, 1, (B, 7)), True, False),
        (GroupInstance(name(1), C, 1, (C, 7)), False, True),
        (GroupInstance(name(1), A, 1, (A, B, 7)), True, True),
        (GroupInstance(name(1), None, 1), True, True),
        (GroupInstance(name(2), B, 1, (B, 7)), False, False),
    ],
)
def test_what_is_on_record(shared: Any, known: GroupInstance, *, runs_node: bool, is_other: bool) -> None:
    assert shared(Record([known])).value is runs_node
    assert shared(Record([known]), otherwise=True).value is is_other


@pytest.mark.parametrize(
    ("requests", "runs_node", "is_other"),
    [
        ([asked(**NAMED)], True, False),
        ([asked(C, **NAMED)], False, True),
        ([asked(None, **NAMED)], True, True),
        # That another task starts it after another instance makes no difference.
        ([asked(C, after=AT_LAST, **NAMED)], False, True),
        # One has taken it over, and EnOS has named it to the other one.
        ([asked(B, flow_instance_id=name(1)), asked(C, **NAMED)], False, True),
        ([asked(refused=True)], False, False),
        ([asked(sent_time=FIRST + 2 * MINUTE)], False, False),
        ([asked(sent_time=FIRST + MINUTE, flow_instance_id=name(2))], False, False),
        ([], False, False),
    ],
)
def test_what_another_task_has_asked_for(
    shared: Any, requests: list[GroupRequest], *, runs_node: bool, is_other: bool
) -> None:
    for otherwise, expected in ((False, runs_node), (True, is_other)):
        played = shared(Record(asked=[requests]), otherwise=otherwise)
        assert played.value is expected
        assert played.pauses == []


@pytest.mark.parametrize("node", [B, C, None])
@pytest.mark.parametrize("after", [AT, AT_LAST])
def test_a_request_under_way_is_waited_for(shared: Any, node: int | None, after: GroupInstance) -> None:
    under_way, answered = [asked(node, after=after)], [asked(node, after=after, **NAMED)]
    played = shared(Record(asked=[under_way, under_way, answered]))
    assert played.value is (node != C)
    assert played.pauses == [1.0, 1.0]


def test_an_instance_that_is_not_named_as_documented(shared: Any) -> None:
    record = Record(asked=[[asked()], [asked(flow_instance_id="x-1", named=True)]])
    played = shared(record, instance(1, instanceId="x-1"))
    assert played.value is True
    assert played.pauses == [1.0]


def test_a_request_that_is_refused_meanwhile(shared: Any) -> None:
    assert shared(Record(asked=[[asked()], [asked(refused=True)]])).value is False


@pytest.mark.parametrize(("made_at", "is_theirs"), [("20:26:50", True), ("19:26:50", False)])
@pytest.mark.parametrize("otherwise", [False, True])
def test_a_task_that_has_gone_without_an_answer_may_have_started_it(
    shared: Any, made_at: str, *, is_theirs: bool, otherwise: bool
) -> None:
    """Then the time at which the instance was made decides, if it had asked for the same."""
    at = f"2020-09-13 {made_at}"
    played = shared(Record(asked=[[asked()]]), instance(1, triggerTime=at, timestamp=at), [ZONE], otherwise=otherwise)
    assert sum(played.pauses) == 15.0
    assert played.value is (is_theirs and not otherwise)


@pytest.mark.parametrize("request_", [asked(C), asked(B, after=AT_LAST)])
def test_what_a_lost_task_has_asked_for_otherwise_is_nobodys(shared: Any, request_: GroupRequest) -> None:
    """Nobody can tell: the next try finds out."""
    for otherwise in (False, True):
        assert shared(Record(asked=[[request_]]), otherwise=otherwise).value is False


def test_an_error_of_enos_is_raised(planned: Any) -> None:
    busy = EnosServerError(62109, "Internal error.", operation="x", http_status=200)
    played = planned(lambda step: busy, B)
    assert played.error is not None
