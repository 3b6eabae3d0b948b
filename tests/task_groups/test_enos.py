"""A flow as a task group: its tasks, their ids, their edges, and their arguments."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG
from groups import DEFINITION, EDGES, FLOW, definition

from airflow_provider_enos.operators.node import EnosFlowNodeOperator
from airflow_provider_enos.protocol.flow_definition import FlowDefinition
from airflow_provider_enos.task_groups.enos import EnosFlowTaskGroup
from airflow_provider_enos.utils.start_in_triggerer import StartsInTriggerer
from airflow_provider_enos.version_compat import BaseOperator, TaskGroup, triggers_are_told_of_kills

SIX = DEFINITION.to_json()


def made(given: Any = SIX, **arguments: Any) -> EnosFlowTaskGroup:
    with DAG("dag", schedule=None):
        return EnosFlowTaskGroup("nodes", definition=given, **arguments)


def ids(names: list[str]) -> list[str]:
    """Return the ids of the tasks of nodes with these names, without the prefix of the group."""
    group = made(definition(names))
    return [group[number].task_id.removeprefix("nodes.") for number in range(1, len(names) + 1)]


# Tasks and edges.


def test_the_tasks_are_a_start_and_one_for_each_node() -> None:
    group = made()
    assert sorted(group.dag.task_ids) == [
        "nodes.a",
        "nodes.b",
        "nodes.c",
        "nodes.d",
        "nodes.e",
        "nodes.f",
        "nodes.start",
    ]
    assert group.start.task_id == "nodes.start"
    assert group.start.upstream_task_ids == set()


def test_the_edges_are_those_of_the_flow() -> None:
    group = made()
    edges = {
        (one.task_id[-1], after.removeprefix("nodes."))
        for one in (group[name] for name in "abcdef")
        for after in one.downstream_task_ids
    }
    assert edges == {(one, after) for one, after in EDGES}
    assert group.start.downstream_task_ids == {"nodes.a"}


def test_nodes_without_relations_run_after_start() -> None:
    group = made(definition(["one", "two"]))
    assert group.start.downstream_task_ids == {"nodes.one", "nodes.two"}


def test_what_needs_the_whole_group_comes_after_its_last_nodes() -> None:
    with DAG("dag", schedule=None):
        group = EnosFlowTaskGroup("nodes", definition=SIX)
        before, after, after_d = (BaseOperator(task_id=name) for name in ("before", "after", "after_d"))
        before >> group >> after
        group["d"] >> after_d
    assert after.upstream_task_ids == {"nodes.f"}
    assert after_d.upstream_task_ids == {"nodes.d"}
    assert before.downstream_task_ids == {"nodes.start"}


def test_a_node_is_found_by_its_name_or_its_id() -> None:
    group = made()
    assert group["c"] is group[3]
    assert isinstance(group["c"], EnosFlowNodeOperator)
    assert (group["c"].flow_id, group["c"].node, group["c"].start_task_id) == (FLOW, 3, "nodes.start")


@pytest.mark.parametrize("node", ["x", 7, "3", "start", ""])
def test_a_node_that_there_is_not(node: str | int) -> None:
    with pytest.raises(KeyError, match=r"the group has no such node; it has .*a.* \(1\)"):
        made()[node]


def test_a_name_of_several_nodes() -> None:
    group = made(definition(["load", "load"]))
    with pytest.raises(KeyError, match="several nodes have this name: use the id"):
        group["load"]
    assert group[2].node == 2


# Ids.


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["load", "clean"], ["load", "clean"]),
        (["电表 读数", "Überlauf"], ["电表_读数", "Überlauf"]),
        (["load 🚀 now"], ["load_now"]),
        (["🚀"], ["node"]),
        (["🚀", "💥", ""], ["node_1", "node_2", "node_3"]),
        (["a.b.c", "x/y"], ["a_b_c", "x_y"]),
        (["load", "load"], ["load_1", "load_2"]),
        (["a b", "a.b"], ["a_b_1", "a_b_2"]),
        (["start"], ["start_1"]),
        (["start", "start"], ["start_1", "start_2"]),
        (["x", "x", "x_2"], ["x_1", "x_2_2", "x_2_3"]),
        (["n" * 300], ["n" * 100]),
        (["n" * 300, "n" * 300 + "m"], [f"{'n' * 100}_1", f"{'n' * 100}_2"]),
        (["  padded  "], ["padded"]),
    ],
)
def test_ids_are_names_as_airflow_allows_them(names: list[str], wanted: list[str]) -> None:
    assert ids(names) == wanted


def test_pages_show_the_name_itself() -> None:
    group = made(definition(["电表 读数", "", "plain"]))
    assert [group[node].task_display_name for node in (1, 2, 3)] == ["电表 读数", "nodes.node", "nodes.plain"]


def test_without_the_prefix_of_the_group() -> None:
    group = made(prefix_group_id=False)
    assert group["a"].task_id == "a"
    assert group["a"].start_task_id == "start"


def test_two_groups_in_one_dag() -> None:
    with DAG("dag", schedule=None) as dag:
        groups = [EnosFlowTaskGroup(name, definition=SIX) for name in ("one", "two")]
        groups[0] >> groups[1]
    assert len(dag.task_ids) == 14
    assert [group["a"].start_task_id for group in groups] == ["one.start", "two.start"]
    assert groups[1].start.upstream_task_ids == {"one.f"}
    assert groups[0]["c"].nodes_beside == [1, 2, 4, 5, 6]


def test_in_another_group() -> None:
    with DAG("dag", schedule=None), TaskGroup("outer"):
        group = EnosFlowTaskGroup("nodes", definition=SIX)
    assert group["a"].task_id == "outer.nodes.a"
    assert group["a"].start_task_id == "outer.nodes.start"


def test_in_a_mapped_group() -> None:
    """Airflow gives the triggerer no map index before the first try, so each instance has a worker first."""
    from airflow.providers.common.compat.sdk import task_group

    with DAG("dag", schedule=None) as dag:

        @task_group
        def of_site(site: str) -> None:
            EnosFlowTaskGroup("nodes", definition=SIX, parameters={"site": site})

        of_site.expand(site=["EMEA", "APAC"])
    task = dag.get_task("of_site.nodes.a")
    assert task.get_closest_mapped_task_group() is not None
    assert not task.start_from_trigger
    assert task.start_task_id == "of_site.nodes.start"


# From a node.


@pytest.mark.parametrize("given", [{"from_task_id": 3}, {"from_task_id": "3"}, {"from_task_name": "c"}])
def test_a_group_from_a_node_has_what_runs_then(given: dict[str, Any]) -> None:
    group = made(**given)
    assert sorted(group.dag.task_ids) == ["nodes.c", "nodes.e", "nodes.f", "nodes.start"]
    assert group.start.from_task_id == 3
    assert group.start.downstream_task_ids == {"nodes.c"}


def test_a_label_says_what_is_left_out() -> None:
    group = made(from_task_name="c")
    label = group.dag.get_edge_info("nodes.e", "nodes.f")
    assert label["label"] == "without d (4)"
    assert group.dag.get_edge_info("nodes.start", "nodes.c")["label"] == "without a (1)"
    assert not group.dag.get_edge_info("nodes.c", "nodes.e")


def test_a_label_is_short() -> None:
    names = [f"n{number}" for number in range(1, 10)]
    group = made(definition(names, tuple((number, 9) for number in range(1, 9))), from_task_id=9)
    label = group.dag.get_edge_info("nodes.start", "nodes.n9")["label"]
    assert label == "without n1 (1), n2 (2), n3 (3), n4 (4), n5 (5) and 3 more"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"from_task_id": 7}, "from_task_id: 7: the flow has no such node"),
        ({"from_task_name": "x"}, "from_task_name: .*x.*: the flow has no such node; expected one of a .1., b .2."),
        ({"from_task_id": 1, "from_task_name": "a"}, "from_task_id: from_task_name is given, too"),
        ({"from_task_id": "first"}, "from_task_id"),
        ({"from_task_id": "{{ params.node }}"}, "from_task_id"),
    ],
)
def test_a_node_to_start_from_that_cannot_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made(**given)


# Arguments.


def test_the_arguments_of_the_operator() -> None:
    group = made(
        trigger_time="{{ ds }}",
        on_conflict="fail",
        parameters={"day": "{{ ds }}"},
        enos_conn_id="{{ var.value.enos }}",
        org_id="{{ params.org }}",
        timeout=timedelta(hours=2),
        poll_interval=5,
        poll_error_tolerance=60,
        task_logs="all",
        cancel_on_kill=False,
        deferrable=False,
    )
    start, node = group.start, group["b"]
    assert (start.trigger_time, start.on_conflict, start.parameters) == ("{{ ds }}", "fail", {"day": "{{ ds }}"})
    for task in (start, node):
        assert (task.enos_conn_id, task.org_id, task.timeout) == ("{{ var.value.enos }}", "{{ params.org }}", 7200.0)
        assert (task.poll_interval, task.poll_error_tolerance, task.cancel_on_kill) == (5.0, 60.0, False)
    assert (node.task_logs, node.deferrable) == ("all", False)


def test_default_args_of_the_group_hold_for_all_its_tasks() -> None:
    def callback(context: object) -> None: ...

    defaults = {
        "retries": 3,
        "pool": "enos",
        "on_failure_callback": callback,
        "enos_conn_id": "enos_emea",
        "task_logs": "none",
    }
    group = made(default_args=defaults)
    for task in (group.start, group["b"]):
        assert (task.retries, task.pool, task.enos_conn_id, task.task_logs) == (3, "enos", "enos_emea", "none")
        assert task.on_failure_callback in (callback, [callback]), "Airflow 2 has no list of them"


def test_default_args_of_the_dag() -> None:
    with DAG("dag", schedule=None, default_args={"enos_conn_id": "enos_emea", "poll_interval": 7, "retries": 2}):
        group = EnosFlowTaskGroup("nodes", definition=SIX, poll_interval=9)
    for task in (group.start, group["b"]):
        assert (task.enos_conn_id, task.poll_interval, task.retries) == ("enos_emea", 9.0, 2)


@pytest.mark.parametrize("argument", [{"deferable": True}, {"retries": 3}, {"flow_id": 5}])
def test_an_argument_that_there_is_not(argument: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        made(**argument)


def test_a_node_that_enos_skips_does_not_keep_the_next_one_from_running() -> None:
    group = made()
    assert (group["a"].trigger_rule.value, group["d"].trigger_rule.value) == ("all_success", "none_failed")


# Where they wait.


needs_start_in_triggerer = pytest.mark.skipif(not triggers_are_told_of_kills(), reason="only Airflow 3.3 and later can")


@needs_start_in_triggerer
def test_nodes_begin_in_the_triggerer() -> None:
    node = made(enos_conn_id="enos_{{ params.site }}")["b"]
    assert node.start_from_trigger
    kwargs = node.start_trigger_args.trigger_kwargs
    assert (kwargs["node"], kwargs["start_task_id"], kwargs["ends_task"]) == (2, "nodes.start", True)
    assert kwargs["enos_conn_id"] == "enos_{{ params.site }}"
    json.dumps(kwargs)


@needs_start_in_triggerer
def test_a_node_with_outlets_ends_in_a_worker() -> None:
    from airflow.sdk import Asset

    node = made()["b"]
    node.add_outlets([Asset("readings")])
    assert node.start_trigger_args.trigger_kwargs["ends_task"] is False


def test_nodes_that_are_not_to_be_deferred_begin_in_a_worker() -> None:
    assert not getattr(made(deferrable=False)["b"], "start_from_trigger", False)
    assert isinstance(made()["b"], StartsInTriggerer)


# What parsing costs.


NODES = 200


def _seconds(make: Callable[[], object]) -> float:
    """Return what it takes of the processor at best: others use it, too."""
    make()
    found = []
    for _ in range(5):
        began = time.process_time()
        make()
        found.append(time.process_time() - began)
    return min(found)


def test_parsing_costs_about_what_a_group_of_empty_operators_costs(tmp_path: Path) -> None:
    edges = [(number // 2, number) for number in range(2, NODES + 1)]
    file = tmp_path / "flow.json"
    file.write_text(json.dumps(definition([f"node {number}" for number in range(1, NODES + 1)], tuple(edges))))

    def empty() -> None:
        with DAG("dag", schedule=None), TaskGroup("nodes"):
            tasks = [BaseOperator(task_id=f"node_{number}") for number in range(NODES + 1)]
            tasks[0] >> tasks[1]
            for upstream, downstream in edges:
                tasks[upstream] >> tasks[downstream]

    assert _seconds(lambda: made(file)) < 4 * _seconds(empty)


def test_the_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "flow.json"
    file.write_text(DEFINITION.text())
    reads = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: [reads.append(self), read(self)][1])
    made(file)
    assert reads == [file]


def test_a_definition_is_the_same_as_a_file_and_as_a_dict(tmp_path: Path) -> None:
    file = tmp_path / "flow.json"
    file.write_text(DEFINITION.text())
    assert made(file).start.definition == made(SIX).start.definition == FlowDefinition.from_json(SIX, "here")
    assert (made(file).start.source, made(SIX).start.source) == (str(file), None)
