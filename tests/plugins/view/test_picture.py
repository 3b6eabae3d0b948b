"""What the page is told to draw: of any instance, in whatever words EnOS says it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from airflow_provider_enos.plugins.view import picture
from airflow_provider_enos.plugins.view.picture import MOST_NODES, Seen, Times, look_of, of_instance, of_problem
from airflow_provider_enos.protocol.models import FlowInstanceGraph, FlowStatus, TaskInstance

ID = "3377-20200706062600"


def task(number: int, status: str | None = "INIT", **more: Any) -> dict[str, Any]:
    return {"taskName": f"task {number}", "taskInstId": f"{number}-20200706062600", "taskId": number} | {
        "nodeId": f"t_{number}",
        "status": status,
        **more,
    }


def seen(
    tasks: list[Any],
    relations: Any = (),
    flows: Any = (),
    status: int = 2,
    runs: tuple[TaskInstance, ...] = (),
    asks_on: bool = False,
) -> Seen:
    graph = {"tasks": tasks, "relations": relations, "flows": flows}
    data = {"instanceId": ID, "status": status, "flowName": "readings", "graph": json.dumps(graph)}
    times = {run.task_instance_id: Times.of(run) for run in runs}
    return Seen(FlowInstanceGraph.parse(data), times, None, asks_on)


def edge(source: int, target: int) -> dict[str, Any]:
    return {"source": f"t_{source}", "target": f"t_{target}", "cycleGap": "D0", "rerun": False}


def run(number: int, start: str | None, end: str | None, status: int = 1) -> TaskInstance:
    data = {"instanceId": f"{number}-20200706062600", "status": status, "startTime": start, "endTime": end}
    return TaskInstance.parse(data)


def test_nodes_with_their_status_and_edges() -> None:
    drawn = of_instance(seen([task(1, "SUCCESS"), task(2, "RUNNING"), task(3)], [edge(1, 2), edge(2, 3)]))
    assert (drawn["flow_name"], drawn["status"], drawn["look"], drawn["id"]) == ("readings", "RUNNING", "running", ID)
    assert [(node["name"], node["status"], node["look"]) for node in drawn["nodes"]] == [
        ("task 1", "SUCCESS", "succeeded"),
        ("task 2", "RUNNING", "running"),
        ("task 3", "INIT", "waiting"),
    ]
    assert [node["x"] for node in drawn["nodes"]] == sorted(node["x"] for node in drawn["nodes"])
    assert len(drawn["edges"]) == 2
    assert json.loads(json.dumps(drawn)) == drawn | {"facts": [list(fact) for fact in drawn["facts"]]}


def test_flows_that_it_depends_on_are_nodes_without_a_log() -> None:
    upstream = {"flowId": 99, "flowName": "before", "nodeId": "f_99", "flowInstId": "", "status": "NONE"}
    drawn = of_instance(seen([task(1, "RUNNING")], [{"source": "f_99", "target": "t_1"}], [upstream]))
    flow, own = drawn["nodes"]
    assert (flow["name"], flow["is_flow"], flow["has_log"], flow["look"]) == ("before", True, False, "waiting")
    assert (own["is_flow"], own["has_log"]) == (False, True)
    assert len(drawn["edges"]) == 1


@pytest.mark.parametrize(
    ("status", "start", "has_log"),
    [
        ("INIT", None, False),
        ("READY", None, False),
        ("SKIP", "2020-07-06 06:26:00", False),
        ("RUNNING", None, True),
        ("FAIL", "2020-07-06 06:26:00", True),
        ("CANCEL", "2020-07-06 06:26:00", True),
        ("CANCEL", None, False),
    ],
)
def test_only_a_node_that_has_begun_has_a_log(status: str, start: str | None, has_log: bool) -> None:
    drawn = of_instance(seen([task(1, status)], runs=(run(1, start, None),)))
    assert drawn["nodes"][0]["has_log"] == has_log
    # Without its times a node that was cancelled may have begun.
    assert of_instance(seen([task(1, "CANCEL")]))["nodes"][0]["has_log"]


@pytest.mark.parametrize(
    ("status", "look"),
    [
        ("SUCCESS", "succeeded"),
        ("FAIL", "failed"),
        ("INTERNAL_ERROR", "failed"),
        ("TIMEOUT", "failed"),
        ("CANCEL", "cancelled"),
        ("SKIP", "skipped"),
        ("RUNNING", "running"),
        ("RERUN", "running"),
        ("INIT", "waiting"),
        ("READY", "waiting"),
        ("WAIT", "waiting"),
        ("SUSPEND", "waiting"),
        ("SOMETHING_NEW", "unknown"),
    ],
)
def test_how_each_status_looks(status: str, look: str) -> None:
    assert look_of(FlowStatus(status)) == look


def test_bars_are_drawn_on_one_scale() -> None:
    runs = (
        run(1, "2020-07-06 06:26:00", "2020-07-06 06:26:10"),
        run(2, "2020-07-06 06:26:10.0", "2020-07-06 06:26:40.0"),
        run(3, "2020-07-06 06:26:20", None, status=2),
    )
    drawn = of_instance(seen([task(1, "SUCCESS"), task(2, "SUCCESS"), task(3, "RUNNING"), task(4)], runs=runs))
    bars = [(node.get("from"), node.get("to"), node.get("open"), node.get("seconds")) for node in drawn["nodes"]]
    assert bars == [(0.0, 0.25, False, 10.0), (0.25, 1.0, False, 30.0), (0.5, 1.0, True, None), (None,) * 4]


@pytest.mark.parametrize(("start", "end"), [(None, None), ("soon", "later"), ("", ""), ("2020-07-06", "2020-07-07")])
def test_times_that_cannot_be_read_give_no_bar(start: str | None, end: str | None) -> None:
    drawn = of_instance(seen([task(1, "SUCCESS")], runs=(run(1, start, end),)))
    assert "from" not in drawn["nodes"][0]


def test_an_end_before_the_start_is_no_negative_bar() -> None:
    runs = (run(1, "2020-07-06 06:26:10", "2020-07-06 06:26:00"), run(2, "2020-07-06 06:26:00", "2020-07-06 06:27:00"))
    first = of_instance(seen([task(1, "SUCCESS"), task(2, "SUCCESS")], runs=runs))["nodes"][0]
    assert 0 <= first["from"] <= first["to"] <= 1
    assert first["seconds"] == 0


@pytest.mark.parametrize(
    ("status", "tasks", "refreshes"),
    [(2, ["RUNNING"], True), (0, ["INIT"], True), (1, ["SUCCESS"], False), (-1, ["FAIL"], False)],
)
def test_it_is_looked_at_again_until_it_has_ended(status: int, tasks: list[str], refreshes: bool) -> None:
    drawn = of_instance(seen([task(number, name) for number, name in enumerate(tasks)], status=status))
    assert (drawn["refresh"] is not None) == refreshes


def test_a_failed_instance_is_looked_at_while_other_nodes_run() -> None:
    assert of_instance(seen([task(1, "FAIL"), task(2, "RUNNING")], status=-1))["refresh"] is not None


RERUN = "A rerun would start from"


@pytest.mark.parametrize(
    ("statuses", "status", "said"),
    [
        (("SUCCESS", "FAIL", "INIT", "SUCCESS"), -1, "task 2 (2)"),
        (("SUCCESS", "FAIL", "INIT", "RUNNING"), -1, "task 2 (2), if what runs succeeds"),
        (("SUCCESS", "CANCEL", "CANCEL", "CANCEL"), 8, "task 1 (1)"),
        (("SUCCESS", "SUCCESS", "SUCCESS", "SUCCESS"), 1, None),
        (("SUCCESS", "FAIL", "INIT", "SUCCESS"), 2, None),
    ],
)
def test_the_node_from_which_a_rerun_would_start(statuses: tuple[str, ...], status: int, said: str | None) -> None:
    tasks = [task(number, of) for number, of in enumerate(statuses, 1)]
    facts = dict(of_instance(seen(tasks, [edge(1, 2), edge(2, 3), edge(1, 4)], status=status))["facts"])
    assert facts.get(RERUN) == said


def test_no_rerun_is_told_where_there_is_no_node_to_start_from() -> None:
    tasks = [task(1, "FAIL"), task(2, "FAIL"), task(3)]
    assert RERUN not in dict(of_instance(seen(tasks, [edge(1, 3), edge(2, 3)], status=-1))["facts"])
    assert RERUN not in dict(of_instance(seen(tasks, [edge(1, 2), edge(2, 1)], status=-1))["facts"])


def test_the_name_of_that_node_is_cleaned_and_bounded() -> None:
    facts = dict(of_instance(seen([task(1, "FAIL", taskName="a\x1b[31m\n" * 90)], status=-1))["facts"])
    assert len(facts[RERUN]) < 30
    assert not set("\x1b\n") & set(facts[RERUN])


def test_it_is_looked_at_again_while_times_are_still_to_be_asked_for() -> None:
    assert of_instance(seen([task(1, "SUCCESS")], status=1, asks_on=True))["refresh"] is not None


def test_times_are_cleaned_and_bounded() -> None:
    """Which are kept, however long they are."""
    times = Times.of(run(1, "2020-07-06\u202e" + "x" * 100_000, None))
    assert times.start is not None
    assert times.start.isprintable()
    assert len(times.start) <= 40
    assert times.end is None


def test_texts_are_cleaned_and_bounded() -> None:
    name = "a\u202egnp.exe\x00\x1b[31m" + "x" * 100_000
    drawn = of_instance(seen([task(1, taskName=name, taskInstId=name)]))
    (node,) = drawn["nodes"]
    assert node["name"].isprintable()
    assert len(node["name"]) <= 200
    assert node["name"].startswith("a gnp.exe")


def test_only_so_many_nodes_are_drawn() -> None:
    drawn = of_instance(seen([task(number) for number in range(MOST_NODES + 5)]))
    assert len(drawn["nodes"]) == MOST_NODES
    assert drawn["left_out"] == 5


def test_nodes_that_were_not_read_are_told_of() -> None:
    found = seen([task(1)])
    fewer, none = (
        replace(found, graph=replace(found.graph, instance=replace(found.graph.instance, nodes_left_out=number)))
        for number in (7, None)
    )
    assert of_instance(fewer)["left_out"] == 7
    assert ("Nodes", "not shown: their graph is too large") in of_instance(none)["facts"]


def test_only_so_many_edges_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "MOST_EDGES", 2)
    edges = [edge(1, 2), edge(1, 2), edge(2, 3), edge(3, 4), edge(1, 4)]
    drawn = of_instance(seen([task(number) for number in range(1, 5)], edges))
    assert len(drawn["edges"]) == 2
    assert drawn["edges_left_out"] == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["t_1", "t_2", "NONE"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
RELATIONS = st.lists(
    st.fixed_dictionaries({}, optional={"source": st.sampled_from(["t_1", "t_2", "x", ""]) | JSON, "target": JSON})
    | JSON,
    max_size=6,
)


@settings(max_examples=100, deadline=None)
@given(RELATIONS | JSON, st.lists(st.fixed_dictionaries({}, optional={"nodeId": JSON, "status": JSON}), max_size=4))
def test_whatever_its_relations_and_flows_are_the_tasks_are_drawn(relations: Any, flows: Any) -> None:
    drawn = of_instance(seen([task(1), task(2), task(2)], relations, flows))
    assert [node["name"] for node in drawn["nodes"] if not node["is_flow"]] == ["task 1", "task 2", "task 2"]


def test_a_problem_is_asked_about_again_after_a_while() -> None:
    drawn = of_problem("EnOS says that it is asked too often. This page asks again in a minute.", 60)
    assert (drawn["kind"], drawn["refresh"]) == ("problem", 60)
