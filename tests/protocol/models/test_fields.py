"""How fields are read, in every object."""

from __future__ import annotations

import json
from typing import Any

import pytest
from enos_documents import (
    DIRECTORY,
    EXPORT,
    EXPORTED_TASK,
    FLOW,
    FLOW_GRAPH,
    FOUND_FLOW,
    INSTANCE,
    MY_FLOW,
    TASK,
    WHOLE_FLOW,
    but,
    json_values,
)
from hypothesis import given, strategies as st

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol import models
from airflow_provider_enos.protocol.models import (
    AccessToken,
    Flow,
    FlowExport,
    FlowInstance,
    FlowInstancePage,
    FlowPage,
    FlowStatus,
    TaskInstance,
)


@pytest.mark.parametrize("parse", [FlowInstance.parse, TaskInstance.parse, Flow.parse, FlowExport.parse])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "expected an object, got nothing"),
        (5, "expected an object, got 5"),
        ("x", "expected an object, got 'x'"),
        ([], "expected one, got a list of 0"),
        ([{}, {}], "expected one, got a list of 2"),
        ([5], "expected an object, got 5"),
    ],
)
def test_no_object(parse: Any, data: object, message: str) -> None:
    with pytest.raises(EnosReplyError, match=message):
        parse(data)


def test_numbers_with_a_point() -> None:
    """Some JSON libraries write 3377 as 3377.0."""
    assert FlowInstance.parse(but(INSTANCE, flowId=2809.0)) == FlowInstance.parse(INSTANCE)
    assert FlowInstance.parse(but(INSTANCE, status=1.0)).status is FlowStatus.SUCCESS
    assert Flow.parse(but(FLOW, flowId=3377.0, type=0.0)) == Flow.parse(FLOW)
    assert TaskInstance.parse(but(TASK, taskId=104890.0, runNum=1.0)) == TaskInstance.parse(TASK)
    assert FlowInstancePage.parse({"flowInsts": [], "count": 7.0}).count == 7
    assert AccessToken.parse({"accessToken": "x", "expire": 7200.0}).expire == 7200.0
    assert models.current_time_of(1594016819108.0) == 1594016819108
    for read in (FlowInstance.parse(but(INSTANCE, flowId=2809.0)).flow_id, models.current_time_of(1e12)):
        assert type(read) is int


@pytest.mark.parametrize("number", [1.5, float("nan"), float("inf"), -float("inf"), 1e30])
def test_numbers_that_are_not_whole(number: float) -> None:
    for parse, data in (
        (FlowInstance.parse, but(INSTANCE, flowId=number)),
        (AccessToken.parse, {"accessToken": "x", "expire": number}),
        (models.current_time_of, number),
    ):
        with pytest.raises(EnosReplyError):
            parse(data)


def test_halves_of_characters() -> None:
    """JSON can hold them, UTF-8 cannot: everything that is read can be printed, logged and stored."""
    half = json.loads(r'"a\ud83db"')
    graph = {"tasks": [{"taskName": half, "taskInstId": half, "nodeId": half, "status": half, "taskId": 5}]}
    texts = dict.fromkeys(("instanceId", "flowName", "owner", "cycle", "triggerTime", "startTime", "calDt"), half)
    for parameters in ({half: half}, [{"key": half, "value": half}], json.dumps({half: half})):
        instance = FlowInstance.parse(but(INSTANCE, **texts, status=half, graph=graph, parameters=parameters))
        assert str(instance).encode()
        assert all(text.encode() for text in (instance.flow_name, str(instance.status), str(instance.nodes[0])))
        assert instance.parameters == (("a?b", "a?b"),)
        assert instance.flow_instance_id == instance.nodes[0].task_instance_id == "a?b"
    assert models.log_of({"log": half}) == "a?b"
    assert models.time_zone_of({"timezone": half}) == "a?b"
    flow = Flow.parse(but(FLOW, flowName=half, desc=half, graph={"tasks": [{"taskId": 1, "taskName": half}]}))
    assert (flow.flow_name, flow.description, str(flow.nodes[0])) == ("a?b", "a?b", "1 (a?b)")
    assert TaskInstance.parse(but(TASK, cmd=half)).command == "a?b"
    for parse, data in ((FlowInstance.parse, but(INSTANCE, flowId=half)), (AccessToken.parse, {"accessToken": half})):
        with pytest.raises(EnosReplyError) as raised:
            parse(data)
        assert str(raised.value).encode()


@pytest.mark.parametrize(
    "parse",
    [
        *(FlowInstance.parse, FlowInstancePage.parse, TaskInstance.parse, Flow.parse, AccessToken.parse),
        *(FlowExport.parse, FlowPage.parse, models.my_flows_of, models.directories_of),
        *(models.flow_id_of, models.directory_id_of, models.flow_instance_id_of, models.log_of),
        *(models.current_time_of, models.time_zone_of, models.nothing),
    ],
)
@given(json_values)
def test_arbitrary_json_is_parsed_or_refused(parse: Any, data: Any) -> None:
    said = ""
    try:
        parse(data)
    except EnosReplyError as error:
        said = str(error)
    assert len(said.encode()) < 800
    assert len(said) < 200


@pytest.mark.parametrize(
    ("parse", "document"),
    [
        (FlowInstance.parse, INSTANCE),
        (TaskInstance.parse, TASK),
        (Flow.parse, FLOW),
        (Flow.parse, WHOLE_FLOW),
        (lambda data: Flow.parse(but(WHOLE_FLOW, graph=data)), FLOW_GRAPH),
        (FlowExport.parse, EXPORT),
        (lambda data: FlowExport.parse(but(EXPORT, tasks=[data])), EXPORTED_TASK),
        (models.directories_of, DIRECTORY),
        (models.my_flows_of, MY_FLOW),
        (FlowPage.parse, FOUND_FLOW),
        (lambda data: FlowInstancePage.parse({"flowInsts": [data], "count": data.get("x")}), INSTANCE),
        (AccessToken.parse, {"accessToken": "x", "expire": 1}),
    ],
    ids=[
        "FlowInstance",
        "TaskInstance",
        "Flow",
        "whole Flow",
        "graph of Flow",
        "FlowExport",
        "ExportedTask",
        "Directory",
        "MyFlow",
        "FlowPage",
        "FlowInstancePage",
        "AccessToken",
    ],
)
@given(data=st.data())
def test_arbitrary_fields_are_parsed_or_refused(parse: Any, document: dict[str, Any], data: st.DataObject) -> None:
    """A good document with some values replaced."""
    names = data.draw(st.lists(st.sampled_from(sorted(document)), max_size=3))
    changed = {name: data.draw(json_values) for name in names}
    said = ""
    try:
        parse(document | changed)
    except EnosReplyError as error:
        said = str(error)
    assert len(said.encode()) < 800
    assert len(said) < 200


def test_lists_have_bounds() -> None:
    many = [{}] * 20_001
    documents: list[tuple[Any, Any, str]] = [
        (Flow.parse, but(FLOW, graph={"tasks": many}), "graph: tasks"),
        (Flow.parse, but(FLOW, graph={"relations": many}), "graph: relations"),
        (FlowExport.parse, but(EXPORT, tasks=many), "tasks"),
        (FlowExport.parse, but(EXPORT, linkRelations=many), "linkRelations"),
        (FlowInstance.parse, but(INSTANCE, parameters=many), "parameters"),
        (FlowInstance.parse, but(INSTANCE, parameters={str(n): "" for n in range(20_001)}), "parameters"),
        (models.my_flows_of, many, "flows of the user"),
        (models.directories_of, many, "directories"),
        (models.directories_of, [but(DIRECTORY, children=many)], "directory: children"),
    ]
    for parse, data, what in documents:
        with pytest.raises(EnosReplyError, match=f"^{what}: expected at most 20,000 entries, got 20,001$"):
            parse(data)


def test_a_log_is_no_longer_than_was_asked_for() -> None:
    assert models.log_of({"log": "abcdef"}, 3) == "def"
    assert models.log_of({"log": "abc"}, 3) == "abc"
