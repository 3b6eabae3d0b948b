"""Flows, in whichever way EnOS writes them."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from typing import Any

import pytest
from enos_documents import FLOW, FLOW_GRAPH, FOUND_FLOW, MY_FLOW, WHOLE_FLOW, but, snake
from hypothesis import given, strategies as st

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol.models import (
    Cycle,
    Flow,
    FlowNode,
    FlowPage,
    FlowReference,
    FlowSummary,
    FlowType,
    MyFlow,
    Relation,
    my_flows_of,
)


def test_flow() -> None:
    flow = Flow.parse(FLOW)
    assert (flow.flow_id, flow.flow_name, flow.type) == (3377, "daily", 0)
    assert (flow.active, flow.locked, flow.user_locked) == (True, False, False)
    assert (flow.cron, flow.description, flow.parameters) == ("0 0 0 * * ? *", "what it does", (("REPLACE", "ddee"),))
    assert [str(node) for node in flow.nodes] == ["108580 (first)"]
    assert Flow.parse(snake([FLOW])) == flow
    assert Flow.parse(but(FLOW, flowId="3377", graph=json.loads(FLOW["graph"]))) == flow


@pytest.mark.parametrize("graph", [{"tasks": [{"taskName": "x"}]}, {"tasks": [{"taskId": None}]}])
def test_flow_whose_node_has_no_id(graph: object) -> None:
    with pytest.raises(EnosReplyError, match="task of the graph: taskId is missing"):
        Flow.parse(but(FLOW, graph=graph))


def test_flow_as_documented() -> None:
    flow = Flow.parse(WHOLE_FLOW)
    assert (flow.flow_id, flow.flow_name, flow.type, flow.cycle) == (2515, "workflow1", FlowType.PERIODIC, Cycle.DAY)
    assert (flow.active, flow.virtual, flow.locked, flow.user_locked) == (True, False, False, False)
    assert (flow.has_edit_privilege, flow.has_read_privilege) == (True, True)
    assert (flow.creator, flow.updated_by) == ("maker", "changer")
    assert (flow.created_time, flow.updated_time) == ("2019-08-08 06:09:09.0", "2019-08-09 06:09:09.0")
    assert (flow.owner, flow.visitors, flow.do_as) == (";someone;other;", ";reader;", "db_someone")
    assert (flow.alert_mode, flow.entry, flow.sync_type) == (3, 0, 1)
    assert (flow.cron, flow.start_date, flow.description) == ("0 0 0 * * ? *", "2019-08-08", "what it does")
    assert (flow.parameters, flow.queue) == ((("REPLACE", "ddee"),), "root.q")
    assert flow.nodes == (
        FlowNode(104575, "load", "t_104575", 100.0, 50.25),
        FlowNode(104576, "sum", "t_104576", 100.0, 150.0),
    )
    assert flow.flows == (FlowReference(2809, "upstream", "f_2809", virtual=False, x=10.5, y=20.0),)
    assert flow.relations == (
        Relation("f_2809", "t_104575", "D0", rerun=False),
        Relation("t_104575", "t_104576", "D0", rerun=True),
    )
    assert str(flow.flows[0]) == "2809 (upstream)"


@pytest.mark.parametrize(
    "data",
    [
        [WHOLE_FLOW],
        but(WHOLE_FLOW, graph=FLOW_GRAPH),
        but(WHOLE_FLOW, graph=json.dumps(snake(FLOW_GRAPH))),
        but(WHOLE_FLOW, graph=snake(FLOW_GRAPH)),
        snake(WHOLE_FLOW),
        but(WHOLE_FLOW, flowId="2515", type="1", alertMode="3", active="1"),
        but(WHOLE_FLOW, active=True, virtual=0, hasEditPri=1, hasReadPri="true"),
        but(WHOLE_FLOW, parameters=json.loads(WHOLE_FLOW["parameters"])),
        but(WHOLE_FLOW, parameters={"REPLACE": "ddee"}),
        but(WHOLE_FLOW, queue="root.q"),
        but(WHOLE_FLOW, virtual=..., locked=None),
    ],
    ids=range(11),
)
def test_flow_however_it_is_written(data: object) -> None:
    assert Flow.parse(data) == Flow.parse(WHOLE_FLOW)


def test_flow_with_little() -> None:
    flow = Flow.parse({"flowId": 1})
    assert (flow.flow_name, flow.type, flow.cycle, flow.alert_mode) == ("", None, "", None)
    assert (flow.nodes, flow.flows, flow.relations, flow.start_date) == ((), (), (), "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flowId": ...}, "flow: flowId is missing"),
        ({"type": "x"}, "flow: type: expected a whole number, got 'x'"),
        ({"cycle": {}}, "flow: cycle: expected a text, got {}"),
        ({"hasEditPri": "maybe"}, "flow: hasEditPri: expected true or false, got 'maybe'"),
        ({"graph": 5}, "graph: expected an object, got 5"),
        ({"graph": {"flows": 5}}, "graph: flows: expected a list, got 5"),
        ({"graph": {"flows": [{"flowId": "x"}]}}, "flow of the graph: flowId: expected a whole number, got 'x'"),
        ({"graph": {"relations": [5]}}, "relation of the graph: expected an object, got 5"),
        ({"graph": {"relations": [{"rerun": 5}]}}, "relation of the graph: rerun: expected true or false, got 5"),
        ({"graph": {"tasks": [{"taskId": 1, "x": "left"}]}}, "task of the graph: x: expected a number, got 'left'"),
        ({"graph": {"tasks": [{"taskId": 1, "y": True}]}}, "task of the graph: y: expected a number, got True"),
        ({"graph": {"tasks": [{"taskId": 1, "y": 1e999}]}}, "task of the graph: y: expected a number, got inf"),
    ],
)
def test_flow_of_the_wrong_shape(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(EnosReplyError) as raised:
        Flow.parse(but(WHOLE_FLOW, **changes))
    assert str(raised.value) == message


# What is saved


def test_flow_as_it_is_saved() -> None:
    """Every field of the table, named as there."""
    assert Flow.parse(WHOLE_FLOW).document() == {
        "id": 2515,
        "type": 1,
        "name": "workflow1",
        "freq": "0 0 0 * * ? *",
        "cycle": "D",
        "alertMode": 3,
        "doAs": "db_someone",
        "owners": ";someone;other;",
        "visitors": ";reader;",
        "startTime": "2019-08-08",
        "active": 1,
        "parameters": [{"key": "REPLACE", "value": "ddee"}],
        "desc": "what it does",
        "queue": "root.q",
        "tasks": [
            {"taskName": "load", "taskId": "104575", "nodeId": "t_104575", "x": 100.0, "y": 50.25},
            {"taskName": "sum", "taskId": "104576", "nodeId": "t_104576", "x": 100.0, "y": 150.0},
        ],
        "flows": [
            {"flowId": "2809", "flowName": "upstream", "nodeId": "f_2809", "isVirtual": False, "x": 10.5, "y": 20.0}
        ],
        "relations": FLOW_GRAPH["relations"],
    }


def test_flow_with_little_has_all_fields_when_it_is_saved() -> None:
    document = Flow.parse({"flowId": 1, "type": 0, "alertMode": 0, "graph": {"flows": [{}]}}).document()
    assert document.keys() == Flow.parse(WHOLE_FLOW).document().keys()
    assert document["flows"] == [{"flowName": "", "nodeId": "", "isVirtual": False, "x": 0.0, "y": 0.0}]


def test_changes_are_saved() -> None:
    flow = replace(Flow.parse(WHOLE_FLOW), cron="0 30 0 * * ? *", active=False, parameters=(("a", "b"),))
    document = flow.document()
    assert (document["freq"], document["active"]) == ("0 30 0 * * ? *", 0)
    assert document["parameters"] == [{"key": "a", "value": "b"}]


# Lists of flows


@pytest.mark.parametrize("data", [[MY_FLOW], MY_FLOW, [snake(MY_FLOW)], [but(MY_FLOW, flowId=3318, editable=1)]])
def test_my_flows(data: object) -> None:
    assert my_flows_of(data) == (MyFlow(3318, "reduce_entity", editable=True, cycle=Cycle.DAY),)
    assert str(my_flows_of(data)[0]) == "3318 (reduce_entity)"


@pytest.mark.parametrize("data", [[FOUND_FLOW], FOUND_FLOW, [snake(FOUND_FLOW)], [but(FOUND_FLOW, flowId=20)]])
def test_page_of_flows(data: object) -> None:
    page = FlowPage.parse(data)
    assert page.flows == (FlowSummary(20, "vd_text"),)
    assert page.entries == ((20, FlowSummary(20, "vd_text")),)
    assert page.count is None
    assert str(page.flows[0]) == "20 (vd_text)"


@pytest.mark.parametrize("data", [[], "", None])
def test_no_flows(data: object) -> None:
    assert my_flows_of(data) == FlowPage.parse(data).flows == ()


@pytest.mark.parametrize(
    ("parse", "data", "message"),
    [
        (my_flows_of, 5, "flows of the user: expected a list, got 5"),
        (my_flows_of, [{}], "flow of the user: flowId is missing"),
        (my_flows_of, [5], "flow of the user: expected an object, got 5"),
        (FlowPage.parse, 5, "page of flows: expected a list, got 5"),
        (FlowPage.parse, [{"flowId": "x"}], "flow that was found: flowId: expected a whole number, got 'x'"),
    ],
)
def test_lists_of_the_wrong_shape(parse: Any, data: object, message: str) -> None:
    with pytest.raises(EnosReplyError) as raised:
        parse(data)
    assert str(raised.value) == message


# Types and cycles


def test_documented_types_and_cycles() -> None:
    assert {kind.name: kind.value for kind in FlowType} == {"MANUAL": 0, "PERIODIC": 1, "TEMPORARY": 2}
    letters = {"MONTH": "M", "WEEK": "W", "DAY": "D", "HOUR": "H", "MINUTE": "mi"}
    assert {cycle.name: cycle.value for cycle in Cycle} == letters


@given(st.integers(-(10**18), 10**18))
def test_any_type_is_a_number(number: int) -> None:
    kind = FlowType(number)
    assert kind == number
    assert json.dumps(kind) == str(number)
    assert hash(kind) == hash(FlowType(number))
    assert pickle.loads(pickle.dumps(kind)) == copy.deepcopy(kind) == kind
    assert kind in list(FlowType) or kind.name == str(number)
    assert len(FlowType) == 3


@given(st.text(max_size=40))
def test_any_cycle_is_a_text(text: str) -> None:
    cycle = Cycle(text)
    assert cycle == text == str(cycle)
    assert json.dumps(cycle) == json.dumps(text)
    assert hash(cycle) == hash(Cycle(text))
    assert copy.deepcopy(cycle) == cycle
    assert len(cycle.name) <= 40
    assert len(Cycle) == 5


@pytest.mark.parametrize(("kind", "value"), [(FlowType, "x"), (Cycle, 5), (FlowType, None), (Cycle, None)])
def test_no_type_no_cycle(kind: Any, value: object) -> None:
    with pytest.raises(ValueError, match="is not a valid"):
        kind(value)


def test_of_an_unknown_cycle_forty_characters_are_kept() -> None:
    before = (len(Cycle._value2member_map_), len(FlowType._value2member_map_))
    cycle = Cycle("x" * 5_000_000)
    assert (str(cycle), cycle.value, len(cycle.name)) == ("x" * 40, "x" * 40, 40)
    FlowType(77)
    assert (len(Cycle._value2member_map_), len(FlowType._value2member_map_)) == before
