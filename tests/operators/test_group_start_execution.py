"""The start of a group: the definition is compared first, and what a round before has left running is cancelled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from groups import DEFINITION, FIRST, FLOW, NODES, RELATIONS, SECOND, TIME, Group, add_flow, end, nodes_are

from airflow_provider_enos import errors
from airflow_provider_enos.protocol.start.group import GroupStart
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.version_compat import AirflowFailException

MakeGroup = Callable[..., Group]
TASKS = {id: name for name, id in NODES.items()}


def on_record(group: Group) -> GroupStart:
    start = GroupStart.from_json(group.xcom("start", "enos_group"))
    assert start is not None
    return start


def test_it_starts_the_flow_and_puts_it_on_record(group: MakeGroup, sim: EnosSimulator) -> None:
    one = group()
    assert one.run("start").xcom == FIRST
    start = on_record(one)
    assert (start.flow_id, start.trigger_time) == (FLOW, TIME)
    assert (start.first.flow_instance_id, start.first.from_task_id, start.first.index) == (FIRST, None, 0)
    assert sim.instances[0].status == "RUNNING", "it waits for nothing"


def test_parameters_are_sent(group: MakeGroup, sim: EnosSimulator) -> None:
    one = group(parameters={"site": "EMEA", "day": 7})
    one.run("start")
    assert sim.instances[0].parameters == {"site": "EMEA", "day": "7"}
    assert on_record(one).parameters == {"site": "EMEA", "day": "7"}


def test_from_a_node(group: MakeGroup, sim: EnosSimulator) -> None:
    one = group(from_task_name="b")
    one.run("start")
    assert sim.instances[0].from_task_id == NODES["b"]
    assert on_record(one).first.from_task_id == NODES["b"]
    nodes_are(sim, SUCCESS="b")
    assert one.run("b").xcom == FIRST


DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "a node more": ({"tasks": {**TASKS, 7: "g"}}, "g (7)"),
    "a node less": ({"tasks": {id: TASKS[id] for id in (1, 2, 3, 4, 5)}, "relations": RELATIONS[:4]}, "f (6)"),
    "another name": ({"tasks": {**TASKS, 3: "clean"}}, "clean"),
    "another relation": ({"relations": [*RELATIONS, (2, 5)]}, "e (5)"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_a_flow_that_differs_is_not_started(group: MakeGroup, sim: EnosSimulator, case: str) -> None:
    changes, what = DIFFERENT[case]
    one = group()
    add_flow(sim, **changes)
    refused = one.run("start")
    assert refused.error is AirflowFailException, "a retry would meet the same"
    assert what in refused.message
    assert refused.message.endswith(f"expected the flow as it is: airflow enos export {FLOW}")
    assert not sim.instances
    assert sim.count("flows/trigger") == 0


def test_many_differences_are_cut_short(group: MakeGroup, sim: EnosSimulator) -> None:
    one = group()
    add_flow(sim, tasks={id: f"new {name}" for id, name in TASKS.items()})
    assert "and 1 more differences" in one.run("start").message


@pytest.mark.parametrize(
    "changes", [{"name": "other name"}, {"type": 1, "freq": "0 0 1 * * ? *"}, {"parameters": {"x": "1"}}]
)
def test_what_is_not_shown_may_differ(group: MakeGroup, sim: EnosSimulator, changes: dict[str, Any]) -> None:
    one = group()
    add_flow(sim, **changes)
    assert one.run("start").xcom == FIRST


def test_a_retry_takes_over_and_compares_nothing(group: MakeGroup, sim: EnosSimulator) -> None:
    """The instance may be there, whatever has become of the flow."""
    one = group(default_args={"retries": 1})
    one.run("start")
    add_flow(sim, tasks={**TASKS, 7: "g"})
    assert one.retry("start").xcom == FIRST
    assert len(sim.instances) == 1


def test_a_flow_that_is_gone(group: MakeGroup, sim: EnosSimulator) -> None:
    one = group(definition={**json.loads(DEFINITION.text()), "flow_id": 8399})
    refused = one.run("start")
    assert refused.error is AirflowFailException
    assert "EnOS has no flow 8399" in refused.message
    assert not sim.instances


def test_the_message_names_the_file_to_renew(group: MakeGroup, sim: EnosSimulator, tmp_path: Path) -> None:
    file = tmp_path / "the flow.json"
    file.write_text(DEFINITION.text())
    one = group(definition=file)
    add_flow(sim, tasks={**TASKS, 7: "g"})
    refused = one.run("start")
    assert f"flow {FLOW} is not as {file} says" in refused.message
    assert refused.message.endswith(f"airflow enos export {FLOW} -o '{file}'")


def test_a_refusal(group: MakeGroup, sim: EnosSimulator) -> None:
    one = group()
    add_flow(sim, locked=True)
    refused = one.run("start")
    assert refused.error is AirflowFailException
    assert "the user must own the flow" in refused.message
    assert not sim.instances


def test_a_clear_cancels_what_runs(group: MakeGroup, sim: EnosSimulator) -> None:
    one = group()
    one.run("start")
    nodes_are(sim, SUCCESS="a")
    one.run("a")
    assert one.clear("start").xcom == SECOND
    assert [instance.cancelled for instance in sim.instances] == [True, False]
    assert on_record(one).first.flow_instance_id == SECOND


def test_a_clear_cancels_what_the_task_of_a_node_has_started(group: MakeGroup, sim: EnosSimulator) -> None:
    one = group("worker", timeout=1)
    one.run("start")
    end(sim, "FAIL", SUCCESS="abd", FAIL="c", INIT="ef")
    one.run("c")
    assert one.retry("c").error is errors.EnosFlowTimeoutError
    assert one.xcom("c", "flow_instance_id") == SECOND
    assert not sim.instances[1].cancelled
    one.clear("start")
    assert [instance.cancelled for instance in sim.instances] == [False, True, False]


def test_a_clear_cancels_nothing_if_that_is_not_wanted(group: MakeGroup, sim: EnosSimulator) -> None:
    sim.one_at_a_time = False
    one = group(cancel_on_kill=False)
    one.run("start")
    one.clear("start")
    assert [instance.cancelled for instance in sim.instances] == [False, False]


@pytest.mark.parametrize("cancels", [True, False])
def test_what_cannot_be_put_on_record_is_cancelled(group: MakeGroup, sim: EnosSimulator, *, cancels: bool) -> None:
    one = group(cancel_on_kill=cancels)
    one.xcoms.breaks_at = "enos_group"
    failed = one.run("start")
    assert failed.error is errors.EnosTriggerError
    assert "cannot be stored in XCom" in failed.message
    assert [instance.cancelled for instance in sim.instances] == [cancels]
