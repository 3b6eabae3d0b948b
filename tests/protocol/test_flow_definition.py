"""The definition of a flow: the same for the same flow, as text that is read back, and refused where it cannot be."""

from __future__ import annotations

import copy
import json
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from fuzzing import TEXTS, assert_fit_for_a_log, hold
from hypothesis import strategies as st

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol.bounded_json import LIMITS
from airflow_provider_enos.protocol.flow_definition import MOST_ITEMS, DefinedNode, FlowDefinition, Schedule
from airflow_provider_enos.protocol.models import Cycle, Flow, FlowNode, FlowReference, FlowType, Relation

SENT: dict[str, Any] = {
    "flowId": 3377,
    "flowName": "meter_readings_daily",
    "type": 1,
    "active": 1,
    "cycle": "D",
    "freq": "0 0 6 * * ? *",
    "startTime": "2024-03-01",
    "owner": ";an_owner;",
    "visitor": ";a_visitor;",
    "creator": "a_creator",
    "updateUser": "an_updater",
    "doAs": "an_account",
    "parameters": json.dumps([{"key": "region", "value": "emea"}, {"key": "day", "value": "a-value"}]),
    "graph": json.dumps(
        {
            "tasks": [
                {"taskName": "publish", "taskId": "108582", "nodeId": "t_3"},
                {"taskName": "clean", "taskId": "108580", "nodeId": "t_1"},
                {"taskName": "清洗", "taskId": 108581, "nodeId": "t_2"},
            ],
            "relations": [
                {"cycleGap": "D0", "source": "t_2", "target": "t_3"},
                {"cycleGap": "", "source": "t_1", "target": "t_3", "rerun": True},
                {"cycleGap": "D0", "source": "t_1", "target": "t_2"},
                {"cycleGap": "D0", "source": "t_1", "target": "t_2"},
            ],
        }
    ),
}
FLOW = Flow.parse(SENT)
DEFINITION = FlowDefinition.of(FLOW)
TEXT = """\
{
  "format": 1,
  "flow_id": 3377,
  "name": "meter_readings_daily",
  "nodes": [
    {"task_id": 108580, "name": "clean"},
    {"task_id": 108581, "name": "清洗"},
    {"task_id": 108582, "name": "publish"}
  ],
  "relations": [
    [108580, 108581],
    [108580, 108582],
    [108581, 108582]
  ],
  "schedule": {
    "active": true,
    "cycle": "D",
    "cron": "0 0 6 * * ? *",
    "start_date": "2024-03-01"
  },
  "parameters": {
    "day": null,
    "region": null
  }
}
"""


def test_a_definition_is_made_of_the_flow_alone() -> None:
    made = FlowDefinition.of(FLOW)
    assert made == FlowDefinition(
        flow_id=3377,
        name="meter_readings_daily",
        nodes=(DefinedNode(108580, "clean"), DefinedNode(108581, "清洗"), DefinedNode(108582, "publish")),
        relations=((108580, 108581), (108580, 108582), (108581, 108582)),
        schedule=Schedule(active=True, cycle="D", cron="0 0 6 * * ? *", start_date="2024-03-01"),
        parameters=(("day", None), ("region", None)),
    )
    assert str(DEFINITION.nodes[0]) == "clean (108580)"
    assert str(DEFINITION.schedule) == "0 0 6 * * ? * (cycle D) from 2024-03-01, on"


def test_the_text_is_json_with_a_line_for_each_thing() -> None:
    assert DEFINITION.text() == TEXT
    assert json.loads(TEXT) == DEFINITION.to_json()
    assert FlowDefinition.from_text(TEXT, "a file") == DEFINITION
    assert FlowDefinition.from_text(f"\ufeff{TEXT}".encode(), "a file of Windows") == DEFINITION


def test_no_user_and_no_value_of_a_parameter_is_in_it() -> None:
    for secret in ("an_owner", "a_visitor", "a_creator", "an_updater", "an_account", "a-value", "emea"):
        assert secret not in repr(DEFINITION) + DEFINITION.text()
    assert not DEFINITION.has_parameter_values


def test_values_of_parameters_are_in_it_where_they_are_asked_for() -> None:
    definition = FlowDefinition.of(FLOW, parameter_values=True)
    assert definition.parameters == (("day", "a-value"), ("region", "emea"))
    assert definition.has_parameter_values
    assert FlowDefinition.from_text(definition.text(), "a file") == definition


@pytest.mark.parametrize("type", [FlowType.MANUAL, FlowType.TEMPORARY, None])
def test_a_flow_that_is_not_periodic_has_no_schedule(type: FlowType | None) -> None:
    """EnOS keeps a cron of it all the same."""
    assert FlowDefinition.of(replace(FLOW, type=type)).schedule is None


def test_a_flow_of_one_node_and_nothing_else() -> None:
    flow = replace(FLOW, nodes=FLOW.nodes[:1], relations=(), parameters=(), type=None)
    text = FlowDefinition.of(flow).text()
    assert text.endswith('  "relations": [],\n  "schedule": null,\n  "parameters": {}\n}\n')
    assert FlowDefinition.from_text(text, "a file") == FlowDefinition.of(flow)


def test_characters_that_an_editor_does_not_show_are_escaped() -> None:
    flow = replace(FLOW, flow_name="a\u202eb\u2028c\x7f", nodes=(FlowNode(1, "清\u2066", "t"),), relations=())
    definition = FlowDefinition.of(flow)
    assert r'"a\u202eb\u2028c' in definition.text()
    assert r'"\u6e05\u2066"' in definition.text()
    assert_fit_for_a_log(definition.text().replace("\n", ""))
    assert FlowDefinition.from_text(definition.text(), "a file") == definition


def test_it_travels() -> None:
    assert pickle.loads(pickle.dumps(DEFINITION)) == copy.deepcopy(DEFINITION) == DEFINITION
    assert len({DEFINITION, copy.deepcopy(DEFINITION)}) == 1


def test_reading_one_imports_nothing_that_only_a_run_needs() -> None:
    script = """
import sys
from airflow_provider_enos.protocol.flow_definition import FlowDefinition
FlowDefinition.from_text(sys.stdin.buffer.read(), "a file")
print(*(name for name in sys.modules if name.startswith("airflow")))
"""
    ran = subprocess.run([sys.executable, "-c", script], input=TEXT.encode(), capture_output=True, check=True)
    modules = ("arguments", "bounded_json", "flow_definition", "text")
    package = ("airflow_provider_enos", "airflow_provider_enos.errors", "airflow_provider_enos.protocol")
    assert set(ran.stdout.decode().split()) <= {*package, *(f"airflow_provider_enos.protocol.{one}" for one in modules)}


# ---- flows without a definition -------------------------------------------------------------------------------------

NODES = (FlowNode(1, "a", "t_1"), FlowNode(2, "b", "t_2"))


def edge(source: str, target: str, gap: str = "D0") -> Relation:
    return Relation(source, target, gap, rerun=False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nodes": (), "relations": ()}, "flow 3377: nodes: there is none; expected at least one"),
        ({"nodes": (*NODES, FlowNode(2, "c", "t_3"))}, r"nodes\[2\]\.task_id: 2 is that of another node"),
        ({"nodes": (*NODES, FlowNode(3, "c", "t_2"))}, "flow 3377: several nodes have the nodeId 't_2'"),
        ({"nodes": (*NODES, FlowNode(0, "c", "t_3"))}, r"nodes\[2\]\.task_id: 0; expected a whole number from 1"),
        ({"nodes": (FlowNode(1, "x" * 1001, "t_1"),)}, r"nodes\[0\]\.name: 1,001 characters; expected at most 1,000"),
        ({"relations": (edge("t_1", "t_9"),)}, "flow 3377: a relation leads to 't_9', which is no node of it"),
        ({"relations": (edge("", "t_1"),)}, "a relation leads to '', which is no node"),
        ({"relations": (edge("t_1", "t_2", "D-1"),)}, r"depends on the run of another day \(D-1\)"),
        ({"relations": (edge("t_1", "t_2"), edge("t_2", "t_1"))}, r"a cycle: [ab] \([12]\) > [ab] \([12]\) > [ab]"),
        ({"relations": (edge("t_1", "t_1"),)}, r"relations: a cycle: a \(1\) > a \(1\); expected an order"),
        ({"flows": (FlowReference(9, "up\nstream", "f_9", virtual=False),)}, r"it depends on flow 9 \(up stream\)"),
        ({"flow_id": 0}, "flowId: 0; expected a whole number from 1 on"),
    ],
)  # fmt: skip
def test_a_flow_that_has_no_definition_is_refused_with_the_reason(changes: dict[str, Any], said: str) -> None:
    flow = replace(FLOW, **{"nodes": NODES, "relations": (), **changes})
    with pytest.raises(EnosConfigError, match=said) as refused:
        FlowDefinition.of(flow)
    assert str(refused.value).startswith(f"flow {flow.flow_id}")
    assert_fit_for_a_log(str(refused.value))


def test_a_long_cycle_is_shown_shortly() -> None:
    nodes = tuple(FlowNode(number, "n", f"t_{number}") for number in range(1, 1001))
    relations = tuple(edge(f"t_{number}", f"t_{number % 1000 + 1}") for number in range(1, 1001))
    with pytest.raises(EnosConfigError, match=r"> … >") as refused:
        FlowDefinition.of(replace(FLOW, nodes=nodes, relations=relations))
    assert len(str(refused.value)) < 200


# ---- files that are no definition -----------------------------------------------------------------------------------


def changed_json(**changes: Any) -> dict[str, Any]:
    return {**DEFINITION.to_json(), **changes}


NODE = {"task_id": 1, "name": "a"}
SCHEDULE = {"active": True, "cycle": "D", "cron": "", "start_date": ""}


@pytest.mark.parametrize(
    ("data", "field", "said"),
    [
        (
            ["a-value"],
            "",
            "a value of type list; expected an object with format, flow_id, name, nodes, relations, ",
        ),
        ({"format": 1}, "", "flow_id is missing"),
        (changed_json(nodez=[]), "", "'nodez' is not known"),
        (changed_json(format=2), "format", "2; expected 1, as airflow enos export writes it"),
        (changed_json(format=True), "format", "True; expected 1"),
        (changed_json(flow_id="x"), "flow_id", "'x'; expected a whole number from 1 on"),
        (changed_json(name=None), "name", "None; expected a text"),
        (changed_json(name="\ud800"), "name", "expected a text"),
        (changed_json(nodes={}), "nodes", "{}; expected a list"),
        (changed_json(nodes=[]), "nodes", "there is none"),
        (changed_json(nodes=[NODE] * (MOST_ITEMS + 1)), "nodes", "20,001 entries; expected at most 20,000"),
        (changed_json(nodes=[7]), "nodes[0]", "7; expected an object with task_id, name"),
        (changed_json(nodes=[{"task_id": 1}]), "nodes[0]", "name is missing"),
        (changed_json(nodes=[{**NODE, "id": 1}]), "nodes[0]", "'id' is not known"),
        (changed_json(nodes=[{**NODE, "task_id": True}]), "nodes[0].task_id", "True; expected a whole number"),
        (changed_json(nodes=[NODE, NODE]), "nodes[1].task_id", "1 is that of another node"),
        (changed_json(relations="12"), "relations", "'12'; expected a list"),
        (changed_json(relations=["12"]), "relations[0]", "'12'; expected two task ids: [upstream, downstream]"),
        (changed_json(relations=[[108580]]), "relations[0]", "[108580]; expected two task ids"),
        (changed_json(relations=[[108580, 9]]), "relations[0]", "no node has the task id 9"),
        (changed_json(relations=[[108580, 108581], [108581, 108580]]), "relations", "a cycle: "),
        (changed_json(schedule="daily"), "schedule", "'daily'; expected an object with active"),
        (changed_json(schedule={**SCHEDULE, "active": 1}), "schedule.active", "1; expected True or False"),
        (changed_json(schedule={**SCHEDULE, "cron": None}), "schedule.cron", "None; expected a text"),
        (changed_json(parameters=["a-value"]), "parameters", "a value of type list; expected an object"),
        (changed_json(parameters={"day": ["a-value"]}), "parameters['day']", "a value of type list; expected a text"),
        (changed_json(parameters={"day": "x" * 70_000}), "parameters['day']", "70,000 characters"),
        (changed_json(parameters={7: "x"}), "parameters[7]", "7; expected a text"),
    ],
)
def test_a_file_that_is_no_definition_names_source_field_and_value(data: object, field: str, said: str) -> None:
    with pytest.raises(EnosConfigError) as refused:
        FlowDefinition.from_json(data, "flows/m.json")
    message = str(refused.value)
    assert message.startswith(f"flows/m.json: {field}: " if field else "flows/m.json: ")
    assert re.search(said, message) or said in message
    assert "a-value" not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "it cannot be read as JSON: Expecting value"),
        (b"\xff", "it cannot be read as JSON: 'utf-8' codec can't decode byte 0xff"),
        (b"<<<<<<< HEAD\n", "it cannot be read as JSON"),
        (b"[" * 100_000, "nested more than 300 deep"),
        (b"[" + b"[]," * 200_000 + b"[]]", "more than 100,000 lists and objects"),
        (b" " * (LIMITS.size + 1), "12,582,913 bytes"),
        (b"9" * 5000, "a number of more than 100 characters"),
        (b"NaN", "a value of type float; expected an object"),
    ],
)
def test_a_text_that_is_no_definition_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(EnosConfigError) as refused:
        FlowDefinition.from_text(text, "flows/m\n.json")
    assert str(refused.value).startswith("flows/m .json: ")
    assert said in str(refused.value)
    assert_fit_for_a_log(str(refused.value))


# ---- properties -----------------------------------------------------------------------------------------------------

NAMES = TEXTS.map(lambda text: text[:1000].encode("utf-8", "replace").decode())


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """Draw a flow that has a definition, with its nodes and relations in any order."""
    ids = draw(st.lists(st.integers(1, 2**63 - 1), min_size=1, max_size=8, unique=True))
    pairs = [(source, target) for number, target in enumerate(ids) for source in ids[:number]]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=12)) if pairs else []
    return replace(
        FLOW,
        flow_id=draw(st.integers(1, 2**63 - 1)),
        flow_name=draw(NAMES),
        type=draw(st.sampled_from([*FlowType, None])),
        active=draw(st.booleans()),
        cycle=Cycle(draw(NAMES)),
        cron=draw(NAMES),
        start_date=draw(NAMES),
        parameters=tuple(draw(st.dictionaries(NAMES, NAMES, max_size=4)).items()),
        nodes=tuple(FlowNode(one, draw(NAMES), f"t_{one}") for one in ids),
        relations=tuple(edge(f"t_{source}", f"t_{target}") for source, target in edges),
    )


def test_what_is_written_is_read_back() -> None:
    def check(flow: Flow, values: bool) -> None:
        definition = FlowDefinition.of(flow, parameter_values=values)
        text = definition.text()
        assert FlowDefinition.from_text(text, "a file") == definition
        assert FlowDefinition.from_text(text.encode(), "a file").text() == text
        assert FlowDefinition.from_json(json.loads(json.dumps(definition.to_json())), "a dict") == definition
        assert text.endswith("}\n")
        for line in text.splitlines():
            assert_fit_for_a_log(line, 100_000)

    hold(check, flow=flows(), values=st.booleans())


def test_the_same_flow_gives_the_same_bytes_in_whatever_order_it_comes() -> None:
    def check(flow: Flow, data: st.DataObject) -> None:
        def shuffled(items: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(data.draw(st.permutations(items)))

        other = replace(
            flow,
            nodes=shuffled(flow.nodes),
            relations=shuffled(flow.relations),
            parameters=shuffled(flow.parameters),
            owner="somebody else",
        )
        assert FlowDefinition.of(other).text() == FlowDefinition.of(flow).text()

    hold(check, flow=flows(), data=st.data())
