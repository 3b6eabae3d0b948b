"""In what a flow differs from its definition: which lines, and which of them are about the graph."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from fuzzing import hold
from hypothesis import strategies as st

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol.flow_definition import DefinedNode, FlowDefinition, Schedule
from airflow_provider_enos.protocol.flow_differences import differences

THERE = FlowDefinition(
    3377,
    "daily",
    nodes=(DefinedNode(1, "a"), DefinedNode(2, "b"), DefinedNode(3, "c"), DefinedNode(4, "d")),
    relations=((1, 2), (1, 3), (2, 4)),
    schedule=Schedule(active=True, cycle="D", cron="0 0 6 * * ? *", start_date="2024-03-01"),
    parameters=(("day", None), ("region", "emea")),
)


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"flow_id": 4}, ["the flow has the id 4, the definition has 3377"]),
        ({"name": "hourly"}, ["the flow is named 'hourly', the definition 'daily'"]),
        ({"schedule": None}, ["the schedule is none; in the definition 0 0 6 * * ? * (cycle D) from 2024-03-01, on"]),
        (
            {"schedule": Schedule(active=False, cycle="H", cron="0 0 * * * ? *", start_date="")},
            [
                "the schedule is 0 0 * * * ? * (cycle H), off; "
                "in the definition 0 0 6 * * ? * (cycle D) from 2024-03-01, on"
            ],
        ),
        ({"parameters": (("day", None),)}, ["parameter 'region' is not in the flow any more"]),
        ({"parameters": (*THERE.parameters, ("z", None))}, ["parameter 'z' is new"]),
        (
            {"parameters": (("day", "x"), ("region", "a-secret"))},
            ["parameter 'region' has another value than in the definition"],
        ),
        ({"parameters": (("day", None), ("region", None))}, []),
    ],
)
def test_what_leaves_the_graph_as_it_is(changes: dict[str, Any], lines: list[str]) -> None:
    found = differences(THERE, replace(THERE, **changes))
    assert [str(one) for one in found] == lines
    assert not any(one.changes_graph for one in found)
    assert all(one.to_json()["task_id"] is None for one in found)


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {"nodes": (*THERE.nodes[:2], DefinedNode(3, "check"), THERE.nodes[3])},
            [(3, "renamed", "node check (3) is named 'c' in the definition")],
        ),
        (
            {"nodes": (*THERE.nodes, DefinedNode(5, "e")), "relations": (*THERE.relations, (2, 5), (3, 5))},
            [(5, "added", "node e (5) is new, and runs after b (2), c (3)")],
        ),
        ({"nodes": (*THERE.nodes, DefinedNode(5, "e"))}, [(5, "added", "node e (5) is new")]),
        (
            {"nodes": (THERE.nodes[0], *THERE.nodes[2:]), "relations": ((1, 3), (1, 4))},
            [
                (2, "removed", "node b (2) is not in the flow any more"),
                (4, "upstream", "node d (4) no longer runs after b (2) and now runs after a (1)"),
            ],
        ),
        (
            {"relations": ((1, 2), (1, 4), (2, 4), (3, 4))},
            [
                (3, "upstream", "node c (3) no longer runs after a (1)"),
                (4, "upstream", "node d (4) now runs after a (1), c (3)"),
            ],
        ),
    ],
)
def test_what_changes_the_graph(changes: dict[str, Any], lines: list[tuple[int, str, str]]) -> None:
    found = differences(THERE, replace(THERE, **changes))
    assert [(one.to_json()["task_id"], one.kind, str(one)) for one in found] == lines
    assert all(one.changes_graph for one in found)


def test_a_difference_as_json() -> None:
    (found,) = differences(THERE, replace(THERE, relations=THERE.relations[:2]))
    assert found.to_json() == {
        "kind": "upstream",
        "task_id": 4,
        "task_name": "d",
        "changes_graph": True,
        "text": "node d (4) no longer runs after b (2)",
    }


def elsewhere(definition: FlowDefinition, by: int = 1000) -> FlowDefinition:
    """The same flow in another environment, where ids are others, and in another order."""
    return replace(
        definition,
        flow_id=definition.flow_id + by,
        name="daily_test",
        nodes=tuple(replace(node, task_id=by - node.task_id) for node in reversed(definition.nodes)),
        relations=tuple(sorted((by - source, by - target) for source, target in definition.relations)),
    )


def test_by_name_the_ids_do_not_count() -> None:
    assert differences(THERE, elsewhere(THERE), by_name=True) == ()
    assert len(differences(THERE, elsewhere(THERE))) > len(THERE.nodes)


def test_by_name_a_renamed_node_is_another_one() -> None:
    nodes = (*THERE.nodes[:3], DefinedNode(4, "e"))
    found = differences(THERE, elsewhere(replace(THERE, nodes=nodes)), by_name=True)
    assert [(one.kind, str(one)) for one in found] == [
        ("removed", "node d is not in the flow any more"),
        ("added", "node e is new, and runs after b"),
    ]


def test_by_name_names_have_to_be_unique() -> None:
    twice = replace(THERE, nodes=(*THERE.nodes, DefinedNode(5, "a")))
    assert differences(twice, twice) == ()
    for pair in ((THERE, twice), (twice, THERE)):
        with pytest.raises(EnosConfigError, match="flow 3377: several nodes have the name 'a'; expected"):
            differences(*pair, by_name=True)


NAMES = st.text(max_size=3)


@st.composite
def definitions(draw: st.DrawFn) -> FlowDefinition:
    """Draw a definition of few nodes, so that two of them have some in common."""
    ids = sorted(draw(st.sets(st.integers(1, 5), min_size=1)))
    pairs = [(source, target) for target in ids for source in ids if source < target]
    schedules = st.builds(Schedule, st.booleans(), NAMES, NAMES, NAMES)
    return FlowDefinition(
        flow_id=draw(st.integers(1, 2)),
        name=draw(st.sampled_from("ab")),
        nodes=tuple(DefinedNode(one, draw(st.sampled_from("ab"))) for one in ids),
        relations=tuple(sorted(draw(st.sets(st.sampled_from(pairs))))) if pairs else (),
        schedule=draw(st.none() | schedules),
        parameters=tuple(sorted((name, None) for name in draw(st.sets(st.sampled_from("xyz"))))),
    )


def graph(definition: FlowDefinition) -> tuple[object, ...]:
    return definition.nodes, definition.relations


def test_there_is_a_difference_exactly_where_the_texts_differ() -> None:
    def check(there: FlowDefinition, now: FlowDefinition) -> None:
        found = differences(there, now)
        assert differences(there, there) == ()
        assert bool(found) == (there.text() != now.text())
        assert any(one.changes_graph for one in found) == (graph(there) != graph(now))
        assert len(set(found)) == len(found)
        assert json.dumps([one.to_json() for one in found])

    hold(check, examples=200, there=definitions(), now=definitions())
