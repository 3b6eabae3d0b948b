"""Find flows and nodes by exact names, though Search Flow matches loosely."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosConfigError,
    EnosError,
    EnosNotFoundError,
    EnosTriggerTargetError,
)
from airflow_provider_enos.protocol.models import Flow, FlowPage
from airflow_provider_enos.protocol.wire.messages import Call, Procedure
from airflow_provider_enos.protocol.wire.names import Choice, flow_id_of, is_named, node_id_of, quoted


class Log:
    """The lines that are logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, /, *args: Any) -> None:
        self.lines.append(message % args)

    warning = error = info


class Gateway:
    """Answers Search Flow and Get Flow, and counts what it was asked."""

    def __init__(self, flows: list[tuple[int, str]], *, finds: Callable[[str, str], bool] | None = None) -> None:
        self.flows = flows
        self.finds = finds or (lambda expression, name: expression in name)
        self.asked: list[str] = []
        self.log = Log()

    def run(self, steps: Procedure[int]) -> int:
        answer: Any = None
        try:
            while True:
                call = steps.throw(answer) if isinstance(answer, EnosError) else steps.send(answer)
                assert isinstance(call, Call)
                answer = self._answer(call)
        except StopIteration as end:
            found: int = end.value
            return found

    def _answer(self, call: Call[Any]) -> Any:
        self.asked.append(call.operation)
        if call.operation == "Get Flow":
            return self.flow
        asked = json.loads(call.body or b"{}")
        number, size = asked["pagination"]["pageNo"], asked["pagination"]["pageSize"]
        found = [one for one in self.flows if self.finds(asked["expression"], one[1])]
        # Pages count from 1; page 0 is the first one, too.
        first = max(number - 1, 0) * size
        return FlowPage.parse([{"flowId": id, "flowName": name} for id, name in found[first : first + size]])

    flow: Any = None

    def flow_named(self, name: str) -> int:
        return self.run(flow_id_of(Choice(name=name), self.log))

    def node_named(self, name: str) -> int:
        return self.run(node_id_of(3377, Choice(name=name), self.log))


NEAR = [(1, "meter"), (2, "meter readings"), (3, "meter readings daily"), (4, "Meter readings"), (5, "meter  readings")]


def test_an_id_costs_no_request() -> None:
    gateway = Gateway(NEAR)
    assert gateway.run(flow_id_of(Choice(3377), gateway.log)) == 3377
    assert gateway.run(node_id_of(3377, Choice(108580), gateway.log)) == 108580
    assert (gateway.asked, gateway.log.lines) == ([], [])


@pytest.mark.parametrize(("flow_id", "name"), NEAR)
def test_the_one_of_exactly_this_name_is_taken(flow_id: int, name: str) -> None:
    gateway = Gateway(NEAR)
    assert gateway.flow_named(name) == flow_id
    assert gateway.log.lines == [f"The flow named {name!r} is flow {flow_id}"]


def test_all_pages_are_read() -> None:
    gateway = Gateway([(number, f"flow of many {number}") for number in range(100, 400)] + [(7, "flow of many")])
    assert gateway.flow_named("flow of many") == 7


@pytest.mark.parametrize(
    "name", ["读数 每日", "Zähler\u3000täglich", "100%_daily", 'o\'brien "x" \\ y', "3377", "流程🙂"]
)
def test_names_in_any_letters(name: str) -> None:
    gateway = Gateway([(1, name + " 2"), (2, name)])
    assert gateway.flow_named(name) == 2


def test_the_same_letters_in_another_encoding_are_the_same_name() -> None:
    composed, decomposed = "Z\u00e4hler", "Za\u0308hler"
    assert is_named(composed, decomposed)
    assert Gateway([(1, decomposed)]).flow_named(composed) == 1, "though the search did not find it"


def test_a_search_that_reads_signs_in_its_own_way_hides_no_flow() -> None:
    gateway = Gateway([(1, "a_b"), (2, "a%b")], finds=lambda expression, name: not expression)
    assert gateway.flow_named("a%b") == 2


def test_two_flows_of_the_name_are_refused_with_their_ids() -> None:
    gateway = Gateway([(1, "load"), (2, "load 2"), (3, "load")])
    said = r"flow_name: EnOS has 2 flows named 'load': 1, 3; expected .*flow_id"
    with pytest.raises(EnosTriggerTargetError, match=said):
        gateway.flow_named("load")
    assert EnosTriggerTargetError.final


def test_what_is_near_is_listed() -> None:
    gateway = Gateway(NEAR)
    with pytest.raises(EnosTriggerTargetError) as caught:
        gateway.flow_named("meter reading")
    assert str(caught.value) == (
        "flow_name: EnOS has no flow named 'meter reading', or this user may not see it; "
        "near are 2 ('meter readings'), 3 ('meter readings daily'), "
        "4 ('Meter readings'), 5 ('meter  readings'); expected the exact name of one flow"
    )
    with pytest.raises(EnosTriggerTargetError, match="near are 4 "):
        gateway.flow_named("METER READINGS")
    with pytest.raises(EnosTriggerTargetError, match="none is near"):
        gateway.flow_named("zzz")


def test_of_many_that_are_near_a_few_are_listed() -> None:
    gateway = Gateway([(number, f"load {number}") for number in range(100, 190)])
    with pytest.raises(EnosTriggerTargetError, match=r"near are 100 \('load 100'\), .*, and 85 more"):
        gateway.flow_named("load")


def test_a_list_of_everything_is_read_up_to_a_limit() -> None:
    gateway = Gateway([(number, f"flow {number}") for number in range(1, 10_001)])
    with pytest.raises(EnosTriggerTargetError):
        gateway.flow_named("nothing like it")
    assert len(gateway.asked) < 50


def test_names_from_elsewhere_cannot_forge_a_line() -> None:
    assert quoted("a\nb\u202e ") == "'a\\nb\\u202e '"
    assert "\n" not in quoted("a\nb")
    assert "::group::" not in quoted("::group::x")
    assert len(quoted("x" * 10_000)) < 250


def graph(*nodes: tuple[int, str]) -> Flow:
    tasks = [{"taskId": id, "taskName": name, "nodeId": f"t_{id}"} for id, name in nodes]
    return Flow.parse({"flowId": 3377, "flowName": "f", "graph": json.dumps({"tasks": tasks})})


def test_a_node_by_its_name() -> None:
    gateway = Gateway([])
    gateway.flow = graph((1, "load"), (2, "load "), (3, "Load"))
    assert gateway.node_named("load") == 1
    assert gateway.asked == ["Get Flow"]
    assert gateway.log.lines == ["The task node named 'load' of flow 3377 is 1"]


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([(1, "extract"), (2, "Load")], "no task node named 'load'; it has 1 ('extract'), 2 ('Load'); expected"),
        ([(1, "load"), (2, "load"), (3, "x")], "2 task nodes named 'load'; it has 1 ('load'), 2 ('load'); expected"),
        ([], "no task node named 'load'; it has no nodes at all; expected"),
    ],
)
def test_a_node_that_cannot_be_told(nodes: list[tuple[int, str]], said: str) -> None:
    gateway = Gateway([])
    gateway.flow = graph(*nodes)
    with pytest.raises(EnosTriggerTargetError) as caught:
        gateway.node_named("load")
    assert f"from_task_name: flow 3377 has {said}" in str(caught.value)


def test_a_node_of_a_flow_that_is_not_there() -> None:
    gateway = Gateway([])
    gateway.flow = EnosNotFoundError(62102, "no", operation="Get Flow", http_status=200)
    with pytest.raises(EnosTriggerTargetError, match="flow_id: EnOS has no flow 3377"):
        gateway.node_named("load")
    gateway.flow = EnosAccessError(62103, "no", operation="Get Flow", http_status=200)
    with pytest.raises(EnosAccessError):
        gateway.node_named("load")


def test_a_choice_is_one_of_the_two() -> None:
    assert Choice.of("3377", None, "flow") == Choice(3377)
    assert Choice.of(None, "load", "flow") == Choice(name="load")
    assert Choice.of(None, 2024, "from_task") == Choice(name="2024"), "what native rendering makes of digits"
    assert (str(Choice(3377)), str(Choice(name="load"))) == ("3377", "'load'")
    for id, name, said in (
        (None, None, "^flow_id: None, and flow_name is None; expected only one of flow_id and flow_name"),
        (3377, "load", "^flow_id: 3377, and flow_name is 'load'; expected only one"),
        ("x", None, "^flow_id: 'x'; expected a whole number"),
        (None, "", "^flow_name: ''; expected a name"),
        (None, True, "^flow_name: True; expected a name"),
    ):
        with pytest.raises(EnosConfigError, match=said):
            Choice.of(id, name, "flow")
