"""What EnOS's answers mean, in whichever of its ways it writes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol import models
from airflow_provider_enos.protocol.models import (
    AccessToken,
    Flow,
    FlowInstance,
    FlowInstancePage,
    FlowStatus,
    Outcome,
    TaskInstance,
)

TASKS = [
    {"taskName": "tass", "taskInstId": "104890-20190808093200", "taskId": 104890, "nodeId": "t_104890"},
    {"taskName": "next", "taskInstId": "104891-20190808093200", "taskId": 104891, "nodeId": "t_104891"},
]
STATUSES = ["SUCCESS", "INIT"]
GRAPH = {
    "id": 2809,
    "instId": "2809-20190808093200",
    "flows": [{"flowId": 1, "status": "NONE"}],
    "relations": [],
    "tasks": [{**task, "status": status} for task, status in zip(TASKS, STATUSES, strict=True)],
}
INSTANCE = {
    "instanceId": "2809-20190808093200",
    "flowId": 2809,
    "flowName": "21",
    "freq": "0 0 0 * * ? *",
    "cycle": "D",
    "parameters": "[]",
    "doAs": "someone",
    "graph": json.dumps(GRAPH),
    "status": 1,
    "statusDesc": "SUCCESS",
    "triggerTime": "2019-08-08 09:32:12",
    "startTime": "2019-08-08 09:32:30",
    "endTime": "2019-08-08 09:32:32",
    "timestamp": "2019-08-08 09:34:36.0",
    "virtual": False,
    "owner": "someone",
    "alertMode": 3,
    "calDt": "2019-08-07",
    "hasEditPri": True,
    "hasReadPri": True,
}
TASK = {
    "instanceId": "104890-20190808093200",
    "taskId": 104890,
    "taskName": "tass",
    "flowInstId": "2809-20190808093200",
    "status": 1,
    "stsDesc": "SUCCESS",
    "runNum": 1,
    "recallNum": 0,
    "recallLimit": 3,
    "isTimeout": 0,
    "cmd": "echo",
}
FLOW = {
    "flowId": 3377,
    "flowName": "daily",
    "type": 0,
    "active": 1,
    "locked": False,
    "isUserLocked": 0,
    "freq": "0 0 0 * * ? *",
    "desc": "what it does",
    "graph": json.dumps({"tasks": [{"taskId": 108580, "taskName": "first", "nodeId": "t_108580"}]}),
    "parameters": json.dumps([{"key": "REPLACE", "value": "ddee"}]),
}

json_values: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**15, 10**400)
    | st.floats()
    # Halves of characters included.
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["SUCCESS", "1", "{}", "[]", '{"tasks": [5]}', '{"tasks": [{"status": {}}]}', "[" * 5000]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)


def snake(value: Any) -> Any:
    """The same with keys in snake case, all the way down."""
    if isinstance(value, list):
        return [snake(one) for one in value]
    if isinstance(value, dict):
        return {
            "".join(f"_{c.lower()}" if c.isupper() else c for c in key): snake(inner) for key, inner in value.items()
        }
    return value


def but(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same with other values, ``...`` leaving one out."""
    return {key: value for key, value in (document | changes).items() if value is not ...}


# Statuses


@pytest.mark.parametrize(
    ("number", "name", "outcome"),
    [
        (-1, "FAIL", Outcome.FAILED),
        (0, "INIT", Outcome.RUNNING),
        (1, "SUCCESS", Outcome.SUCCEEDED),
        (2, "RUNNING", Outcome.RUNNING),
        (3, "SUSPEND", Outcome.RUNNING),
        (4, "INTERNAL_ERROR", Outcome.FAILED),
        (5, "WAIT", Outcome.RUNNING),
        (6, "READY", Outcome.RUNNING),
        (7, "TIMEOUT", Outcome.FAILED),
        (8, "CANCEL", Outcome.CANCELLED),
        (9, "RERUN", Outcome.RUNNING),
        (10, "SKIP", Outcome.SKIPPED),
    ],
)
def test_documented_status(number: int, name: str, outcome: Outcome) -> None:
    """By number, digits or name it is the same."""
    status = FlowStatus(number)
    assert status is FlowStatus(str(number)) is FlowStatus(f" {number}\n")
    assert status is FlowStatus(name) is FlowStatus(f" {name}\x00")
    assert (str(status), status.outcome, status.known) == (name, outcome, True)
    assert status.ended is (outcome is not Outcome.RUNNING)


def test_no_other_status_is_documented() -> None:
    assert len(FlowStatus) == 12


@pytest.mark.parametrize("value", ["NONE", 42, "42", -2, "", "success", "1.0", "²", 10**30])
def test_unknown_status_is_running(value: object) -> None:
    """It may mean anything: it never ends a wait."""
    status = FlowStatus(value)
    assert (status.known, status.outcome, status.ended) == (False, Outcome.RUNNING, False)
    assert status == FlowStatus(value)
    assert hash(status) == hash(FlowStatus(value))
    assert status not in list(FlowStatus)
    assert str(status) == str(value)


def test_unknown_statuses_are_told_apart() -> None:
    assert FlowStatus(42) == FlowStatus("42")
    assert FlowStatus(42) != FlowStatus(43)
    assert FlowStatus("NONE") != FlowStatus("OTHER")
    assert FlowStatus("NONE") != "NONE"
    assert {FlowStatus("NONE"): 1}[FlowStatus("NONE")] == 1


@given(st.text() | st.integers() | st.floats())
def test_any_status_remembers_by_its_name(value: object) -> None:
    status = FlowStatus(value)
    assert FlowStatus(status.name) == status
    assert len(str(status)) <= 40


# Flow instances


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
    """Before its start much is missing."""
    instance = FlowInstance.parse({"instanceId": 5, "status": 0})
    assert (instance.flow_instance_id, instance.status, instance.flow_id) == ("5", FlowStatus.INIT, None)
    assert (instance.start_time, instance.end_time, instance.nodes) == (None, None, ())


def test_node_with_little() -> None:
    """In List Flow Instances the nodes carry no status."""
    instance = FlowInstance.parse(but(INSTANCE, graph={"tasks": [{"taskName": "x", "status": ""}, {}]}))
    assert [node.status for node in instance.nodes] == [None, None]
    assert instance.working_nodes == instance.nodes_with(Outcome.RUNNING) == ()


def test_nodes_by_outcome() -> None:
    tasks = [{"taskName": str(status), "status": status.name} for status in FlowStatus]
    instance = FlowInstance.parse(but(INSTANCE, graph={"tasks": tasks}))
    assert [node.task_name for node in instance.nodes_with(Outcome.FAILED)] == ["FAIL", "INTERNAL_ERROR", "TIMEOUT"]
    assert [node.task_name for node in instance.working_nodes] == ["RUNNING"]


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
        ({"graph": "[" * 100_000}, "flow instance: graph: expected JSON, got '[["),
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


@pytest.mark.parametrize("parse", [FlowInstance.parse, TaskInstance.parse, Flow.parse])
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


# The others


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
    """JSON can hold them and no encoding takes them: whatever is read can be printed, logged and stored."""
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


def test_task_instance() -> None:
    task = TaskInstance.parse(TASK)
    assert (task.task_instance_id, task.status, task.task_id) == ("104890-20190808093200", FlowStatus.SUCCESS, 104890)
    assert (task.task_name, task.flow_instance_id) == ("tass", "2809-20190808093200")
    assert (task.run_number, task.retry_number, task.retry_limit) == (1, 0, 3)
    assert (task.is_timeout, task.command) == (False, "echo")
    assert TaskInstance.parse([snake(TASK)]) == task
    assert TaskInstance.parse(but(TASK, isTimeout=True)).is_timeout


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


@pytest.mark.parametrize("data", [{"flowInstanceId": ""}, {"flowInstanceId": " "}, {}, "", None, []])
def test_trigger_without_an_id(data: object) -> None:
    """An answer without an id does not tell what was started."""
    with pytest.raises(EnosReplyError, match="answer to the trigger"):
        models.flow_instance_id_of(data)


@pytest.mark.parametrize("given", ["3377-20200706062600", "odd-1", "a_B.c:d", 3377])
def test_id_of_a_trigger(given: object) -> None:
    assert models.flow_instance_id_of({"flowInstanceId": given}) == str(given)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a b", "'a b'"),
        ("None", "'None'"),
        ("", "''"),
        ("3377-1\n", r"'3377-1\\n'"),
        ("\ud83d", "'\\?'"),
        ("3377-\udc80", "'3377-\\?'"),
        ("a/b", "'a/b'"),
        ("-1", "'-1'"),
        ("x" * 201, "'x+…"),
    ],
)
def test_id_of_a_trigger_that_cannot_be_one(given: str, shown: str) -> None:
    """Asking for it would not work: it counts as no answer, so that the instance is looked up."""
    with pytest.raises(EnosReplyError, match=rf"^answer to the trigger: flowInstanceId: {shown} is no instance id$"):
        models.flow_instance_id_of({"flowInstanceId": given})


@pytest.mark.parametrize("data", [None, "soon", 1.5, True, {}, []])
def test_no_time(data: object) -> None:
    with pytest.raises(EnosReplyError, match="expected epoch milliseconds"):
        models.current_time_of(data)


# The token


def test_token() -> None:
    token = AccessToken.parse({"accessToken": "a-token", "expire": "7200"})
    assert (token.value, token.expire) == ("a-token", 7200.0)
    assert repr(token) == "AccessToken(expire=7200.0)"


@pytest.mark.parametrize(
    "data",
    [
        "a-token",
        ["a-token"],
        {"accessToken": ["a-token"], "expire": 1},
        {"accessToken": "a-token"},
        {"accessToken": "a-token", "expire": "a-token"},
        {"accessToken": "a-token", "expire": 10**400},
        {"accessToken": "a-token\r\nx: y", "expire": 1},
        {"accessToken": "a-tokenä", "expire": 1},
        {"accessToken": " ", "expire": 1},
        {"accessToken": "", "expire": 1},
        {"expire": 1},
    ],
)
def test_bad_token_is_not_shown(data: object) -> None:
    """Nor could one that does not fit into a header be sent."""
    with pytest.raises(EnosReplyError, match=r"^access token: ") as raised:
        AccessToken.parse(data)
    assert "a-token" not in str(raised.value)


# Anything


@pytest.mark.parametrize(
    "parse",
    [
        *(FlowInstance.parse, FlowInstancePage.parse, TaskInstance.parse, Flow.parse, AccessToken.parse),
        *(models.flow_instance_id_of, models.log_of, models.current_time_of, models.time_zone_of, models.nothing),
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
        (lambda data: FlowInstancePage.parse({"flowInsts": [data], "count": data.get("x")}), INSTANCE),
        (AccessToken.parse, {"accessToken": "x", "expire": 1}),
    ],
    ids=["FlowInstance", "TaskInstance", "Flow", "FlowInstancePage", "AccessToken"],
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
