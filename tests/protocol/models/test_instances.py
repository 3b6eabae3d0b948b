"""Flow and task instances, in whichever way EnOS writes them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from enos_documents import GRAPH, INSTANCE, TASK, but, snake

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol.models import (
    FlowInstance,
    FlowInstanceGraph,
    FlowInstancePage,
    FlowStatus,
    Outcome,
    TaskInstance,
)
from airflow_provider_enos.protocol.models.instances import MOST_NODES


def test_flow_instance_as_documented() -> None:
    instance = FlowInstance.parse(INSTANCE)
    assert instance.flow_instance_id == "2809-20190808093200"
    assert instance.status is FlowStatus.SUCCESS
    assert (instance.flow_id, instance.flow_name, instance.owner, instance.cycle) == (2809, "21", "someone", "D")
    assert (instance.trigger_time, instance.start_time) == ("2019-08-08 09:32:12", "2019-08-08 09:32:30")
    assert (instance.end_time, instance.created_time) == ("2019-08-08 09:32:32", "2019-08-08 09:34:36.0")
    assert (instance.business_date, instance.is_cancelled, instance.parameters) == ("2019-08-07", False, ())
    assert [(node.task_id, node.task_name, node.node_id, node.status) for node in instance.nodes] == [
        (104890, "tass", "t_104890", FlowStatus.SUCCESS),
        (104891, "next", "t_104891", FlowStatus.INIT),
    ]
    assert str(instance.nodes[0]) == "tass (104890-20190808093200)"


@pytest.mark.parametrize(
    "data",
    [
        [INSTANCE],
        but(INSTANCE, graph=GRAPH),
        but(INSTANCE, graph=json.dumps(snake(GRAPH))),
        but(INSTANCE, graph=snake(GRAPH)),
        snake(INSTANCE),
        but(INSTANCE, flowId="2809"),
        but(INSTANCE, status="1"),
        but(INSTANCE, status="SUCCESS"),
        but(INSTANCE, parameters=...),
        but(INSTANCE, parameters="{}"),
        but(INSTANCE, parameters=""),
        but(INSTANCE, parameters=[]),
        but(INSTANCE, isCancelled=False),
        but(INSTANCE, isCancelled="0"),
    ],
    ids=range(14),
)
def test_flow_instance_however_it_is_written(data: object) -> None:
    assert FlowInstance.parse(data) == FlowInstance.parse(INSTANCE)


@pytest.mark.parametrize(
    "graph", [..., None, "", " ", "null", {}, "{}", {"tasks": None}, {"tasks": []}, '{"tasks":[]}']
)
def test_flow_instance_without_a_graph(graph: object) -> None:
    assert FlowInstance.parse(but(INSTANCE, graph=graph)).nodes == ()


def test_flow_instance_with_little() -> None:
    """Before its start, many fields are missing. The id names the flow, too."""
    instance = FlowInstance.parse({"instanceId": 5, "status": 0})
    assert (instance.flow_instance_id, instance.status, instance.flow_id) == ("5", FlowStatus.INIT, 5)
    assert FlowInstance.parse({"instanceId": "3377-a1b2c3", "status": 0}).flow_id == 3377
    assert FlowInstance.parse({"instanceId": "a1b2c3", "status": 0}).flow_id is None
    assert (instance.start_time, instance.end_time, instance.nodes) == (None, None, ())


def test_node_with_little() -> None:
    """In List Flow Instances the nodes have no status."""
    instance = FlowInstance.parse(but(INSTANCE, graph={"tasks": [{"taskName": "x", "status": ""}, {}]}))
    assert [node.status for node in instance.nodes] == [None, None]
    assert instance.working_nodes == instance.nodes_with(Outcome.RUNNING) == ()


def test_nodes_by_outcome() -> None:
    tasks = [{"taskName": str(status), "status": status.name} for status in FlowStatus]
    instance = FlowInstance.parse(but(INSTANCE, graph={"tasks": tasks}))
    assert [node.task_name for node in instance.nodes_with(Outcome.FAILED)] == ["FAIL", "INTERNAL_ERROR", "TIMEOUT"]
    assert [node.task_name for node in instance.working_nodes] == ["RUNNING", "RERUN"]


@pytest.mark.parametrize(
    ("parameters", "read"),
    [
        ([{"key": "a", "value": "b"}, {"key": "c"}], (("a", "b"), ("c", ""))),
        ('[{"key": "a", "value": 5}]', (("a", "5"),)),
        ({"a": "b"}, (("a", "b"),)),
        ('{"a": 5}', (("a", "5"),)),
    ],
)
def test_parameters(parameters: object, read: object) -> None:
    """Documented as a list of key and value and as a map."""
    assert FlowInstance.parse(but(INSTANCE, parameters=parameters)).parameters == read


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"instanceId": ...}, "flow instance: instanceId is missing"),
        ({"instanceId": None}, "flow instance: instanceId is missing"),
        ({"instanceId": ["x"]}, "flow instance: instanceId: expected a text, got ['x']"),
        ({"instanceId": True}, "flow instance: instanceId: expected a text, got True"),
        ({"status": ...}, "flow instance: status: expected a status, got nothing"),
        ({"status": ""}, "flow instance: status: expected a status, got ''"),
        ({"status": True}, "flow instance: status: expected a status, got True"),
        ({"status": {}}, "flow instance: status: expected a status, got {}"),
        ({"flowId": "x"}, "flow instance: flowId: expected a whole number, got 'x'"),
        ({"flowId": 1.5}, "flow instance: flowId: expected a whole number, got 1.5"),
        ({"flowId": "9" * 20}, "flow instance: flowId: expected a whole number, got '99"),
        ({"graph": "{"}, "flow instance: graph: expected JSON, got '{'"),
        ({"graph": "[" * 200}, "flow instance: graph: expected JSON, got '[["),
        ({"graph": 5}, "graph: expected an object, got 5"),
        ({"graph": {"tasks": {"a": 1}}}, "graph: tasks: expected a list, got {'a': 1}"),
        ({"graph": {"tasks": [5]}}, "task of the graph: expected an object, got 5"),
        ({"graph": {"tasks": [{"taskId": "x"}]}}, "task of the graph: taskId: expected a whole number, got 'x'"),
        ({"parameters": 5}, "parameters: expected a list of key and value, got 5"),
        ({"parameters": [5]}, "parameter: expected an object, got 5"),
        ({"parameters": [{"value": "b"}]}, "parameter: key is missing"),
        ({"isCancelled": "maybe"}, "flow instance: isCancelled: expected true or false, got 'maybe'"),
        ({"startTime": []}, "flow instance: startTime: expected a text, got []"),
    ],
)
def test_flow_instance_of_the_wrong_shape(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(EnosReplyError) as raised:
        FlowInstance.parse(but(INSTANCE, **changes))
    assert str(raised.value).startswith(message)
    assert len(str(raised.value)) < 200


def test_an_id_that_is_none_is_made_fit_for_logs() -> None:
    found = FlowInstance.parse({"instanceId": "3377-1\n::endgroup::\x1b" + "x" * 500, "status": 1})
    assert found.flow_instance_id.startswith("3377-1 : :endgroup:: x")
    assert found.flow_instance_id.isprintable()
    assert len(found.flow_instance_id) == 200


def test_page() -> None:
    page = FlowInstancePage.parse({"flowInsts": [INSTANCE, snake(INSTANCE)], "count": "2"})
    assert [instance.flow_instance_id for instance in page.instances] == ["2809-20190808093200"] * 2
    assert page.count == 2
    assert FlowInstancePage.parse({"flowInsts": []}) == FlowInstancePage((), None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "page of flow instances: flowInsts: expected a list, got nothing"),
        ({"flowInsts": {}}, "page of flow instances: flowInsts: expected a list, got {}"),
        ({"flowInsts": [{}]}, "flow instance: instanceId is missing"),
        ({"flowInsts": 0}, "page of flow instances: flowInsts: expected a list, got 0"),
        ({"count": 0}, "page of flow instances: flowInsts: expected a list, got nothing"),
        ([{}], r"page of flow instances: expected an object, got \[\{\}\]"),
        (0, "page of flow instances: expected an object, got 0"),
        (False, "page of flow instances: expected an object, got False"),
    ],
)
def test_page_of_the_wrong_shape(data: object, message: str) -> None:
    with pytest.raises(EnosReplyError, match=f"^{message}$"):
        FlowInstancePage.parse(data)


@pytest.mark.parametrize(
    ("data", "count"),
    [
        *((None, None), ("", None), ([], None)),
        *(({"flowInsts": None}, None), ({"flow_insts": None}, None), ({"flowInsts": ""}, None)),
        ({"flowInsts": None, "count": 0}, 0),
    ],
)
def test_page_without_instances(data: object, count: int | None) -> None:
    """Nothing, where the gateway says so, is an empty page."""
    assert FlowInstancePage.parse(data) == FlowInstancePage((), count)


def test_task_instance() -> None:
    task = TaskInstance.parse(TASK)
    assert (task.task_instance_id, task.status, task.task_id) == ("104890-20190808093200", FlowStatus.SUCCESS, 104890)
    assert (task.task_name, task.flow_instance_id) == ("tass", "2809-20190808093200")
    assert (task.run_number, task.retry_number, task.retry_limit) == (1, 0, 3)
    assert (task.is_timeout, task.command) == (False, "echo")
    assert TaskInstance.parse([snake(TASK)]) == task
    assert TaskInstance.parse(but(TASK, isTimeout=True)).is_timeout


UPSTREAM = {
    "flowId": 99,
    "flowName": "before",
    "nodeId": "f_99",
    "isVirtual": False,
    "flowInstId": "",
    "status": "NONE",
}
EDGE = {"cycleGap": "D0", "source": "f_99", "target": "t_104890", "rerun": False}


def graph_of(**changes: Any) -> FlowInstanceGraph:
    return FlowInstanceGraph.parse(but(INSTANCE, graph=json.dumps({**GRAPH, **changes})))


@pytest.mark.parametrize("write", [dict, snake], ids=["camelCase", "snake_case"])
def test_edges_between_the_nodes_of_an_instance(write: Callable[[Any], Any]) -> None:
    graph = graph_of(flows=[write(UPSTREAM)], relations=[write(EDGE)])
    assert graph.instance == FlowInstance.parse(INSTANCE)
    assert [(edge.source, edge.target) for edge in graph.relations] == [("f_99", "t_104890")]
    (flow,) = graph.flows
    assert (flow.flow_id, flow.flow_name, flow.node_id, flow.status) == (99, "before", "f_99", None)


def test_the_status_of_a_flow_that_another_depends_on() -> None:
    (flow,) = graph_of(flows=[{**UPSTREAM, "flowInstId": "99-1", "status": "SUCCESS"}]).flows
    assert (flow.flow_instance_id, flow.status) == ("99-1", FlowStatus.SUCCESS)


@pytest.mark.parametrize("broken", [7, "x", {}, {"source": []}, [1], [None], [{"source": {}}], None])
def test_relations_and_flows_of_another_shape_do_not_hide_the_instance(broken: Any) -> None:
    graph = graph_of(flows=broken, relations=broken)
    assert graph.instance == FlowInstance.parse(INSTANCE)


def test_readable_relations_are_kept_and_the_others_counted() -> None:
    graph = graph_of(relations=[EDGE, 7, {**EDGE, "source": []}, EDGE])
    assert (len(graph.relations), graph.left_out) == (2, 2)
    assert graph_of(relations=7).left_out == 1
    assert graph_of().left_out == 0


def with_nodes(number: int) -> dict[str, Any]:
    tasks = [
        {"taskId": n, "taskName": f"node {n}", "nodeId": f"n{n}", "taskInstId": f"{n}-20200706", "status": "RUNNING"}
        for n in range(number)
    ]
    return but(INSTANCE, graph=json.dumps({"tasks": tasks, "relations": []}))


def test_a_large_graph_is_read_fast() -> None:
    """A triggerer looks at it again and again."""
    document = with_nodes(5_000)
    begun = time.thread_time()
    instance = FlowInstance.parse(document)
    assert time.thread_time() - begun < 0.2
    assert (len(instance.nodes), instance.nodes_left_out) == (5_000, 0)


def test_surplus_nodes_are_left_out() -> None:
    """A wait needs the status only."""
    instance = FlowInstance.parse(with_nodes(MOST_NODES + 7))
    assert (len(instance.nodes), instance.nodes_left_out) == (MOST_NODES, 7)
    assert instance.nodes[0].task_name == "node 0"


@pytest.mark.parametrize(
    "graph", ['{"tasks":[' + "{}," * 100_000 + "{}]}", "[" * 100_000, '{"tasks":[{"taskId":' + "9" * 200 + "}]}"]
)
def test_a_graph_that_is_too_large_does_not_hide_the_status(graph: str) -> None:
    document = but(INSTANCE, graph=graph, parameters={"a": "b"})
    instance = FlowInstance.parse(document)
    assert (instance.status, instance.nodes, instance.nodes_left_out) == (FlowStatus.SUCCESS, (), None)
    assert instance.parameters == (("a", "b"),)
    whole = FlowInstanceGraph.parse(document)
    assert (whole.instance, whole.flows, whole.relations) == (instance, (), ())


def test_a_list_is_read_without_nodes_where_nobody_needs_them() -> None:
    listed = [but(INSTANCE, graph="no JSON", parameters="nor this")]
    page = FlowInstancePage.parse_without_nodes({"flowInsts": listed, "count": 1})
    assert page.instances == (replace(FlowInstance.parse(INSTANCE), nodes=(), parameters=(), nodes_left_out=None),)


def test_a_page_with_a_thousand_times_what_was_asked_for_is_refused() -> None:
    with pytest.raises(EnosReplyError, match=r"flowInsts: expected at most 2,000 entries, got 2,001"):
        FlowInstancePage.parse({"flowInsts": [INSTANCE] * 2_001})


def test_names_are_cut() -> None:
    texts = dict.fromkeys(("flowName", "owner", "cycle", "triggerTime", "startTime", "calDt"), "x" * 10_000)
    graph = {"tasks": [{"taskName": "x" * 10_000, "nodeId": "x" * 10_000, "taskInstId": "x" * 10_000}]}
    assert len(repr(FlowInstance.parse(but(INSTANCE, **texts, graph=graph)))) < 10_000
