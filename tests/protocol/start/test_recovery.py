"""From which node a failed instance is run again: the choice, the reasons against one, and the line of the log."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from airflow_provider_enos.protocol.models import Flow, FlowInstanceGraph
from airflow_provider_enos.protocol.start.attempts import Target
from airflow_provider_enos.protocol.start.recovery import NoRestart, Restart, restart_line, restart_of

WHOLE = Target(3377)
Edges = Iterable[tuple[Any, Any]]


def graph(edges: Edges, statuses: dict[Any, str | None], status: str = "FAIL", **changes: Any) -> FlowInstanceGraph:
    """An instance whose nodes are named after their numbers."""
    tasks = [
        {"taskId": node, "taskName": f"n{node}", "nodeId": f"t_{node}", "taskInstId": f"{node}-1", "status": outcome}
        for node, outcome in statuses.items()
    ]
    relations = [{"source": f"t_{source}", "target": f"t_{target}", "cycleGap": "D0"} for source, target in edges]
    contents = {"tasks": tasks, "relations": relations, "flows": [], **changes.pop("graph", {})}
    return FlowInstanceGraph.parse(
        {"instanceId": "3377-20200706062600", "status": status, "flowId": 3377, "graph": contents, **changes}
    )


def flow(nodes: Iterable[int], edges: Edges = (), **changes: Any) -> Flow:
    tasks = [{"taskId": node, "taskName": f"n{node}", "nodeId": f"f_{node}"} for node in nodes]
    relations = [{"source": f"f_{source}", "target": f"f_{target}", "cycleGap": "D0"} for source, target in edges]
    return Flow.parse({"flowId": 3377, "graph": {"tasks": tasks, "relations": relations, "flows": []}, **changes})


def statuses(text: str) -> dict[Any, str | None]:
    """Of the nodes 1, 2, 3...: S succeeded, F failed, C cancelled, K skipped, - never ran, P suspended."""
    names = {"S": "SUCCESS", "F": "FAIL", "C": "CANCEL", "K": "SKIP", "-": "INIT", "P": "SUSPEND"}
    return {number: names[letter] for number, letter in enumerate(text, 1)}


CHAIN = [(1, 2), (2, 3), (3, 4)]
DIAMOND = [(1, 2), (1, 3), (2, 4), (3, 4)]
TWO_BRANCHES = [(1, 2), (2, 3), (1, 4), (4, 5)]


@pytest.mark.parametrize(
    ("edges", "text", "target", "chosen", "kept", "repeated"),
    [
        pytest.param(CHAIN, "SSF-", WHOLE, 3, 2, 0, id="chain"),
        pytest.param(CHAIN, "SSSF", WHOLE, 4, 3, 0, id="last node of a chain"),
        pytest.param(DIAMOND, "SFS-", WHOLE, 2, 2, 0, id="one arm of a diamond"),
        pytest.param(DIAMOND, "SSSF", WHOLE, 4, 3, 0, id="end of a diamond"),
        pytest.param([(0, 1), *DIAMOND], "SFF-", WHOLE, 1, 1, 1, id="both arms of a diamond"),
        pytest.param(TWO_BRANCHES, "SF-SS", WHOLE, 2, 3, 0, id="one of two branches"),
        pytest.param(CHAIN, "-SF-", Target(3377, 2), 3, 1, 0, id="started from a node"),
        pytest.param(DIAMOND, "-S-F", Target(3377, 2), 4, 1, 0, id="nodes outside of the start do not count"),
        pytest.param([(1, 2), (2, 3)], "SKF", WHOLE, 3, 1, 0, id="deepest of equals"),
        pytest.param(CHAIN, "--SF", None, 4, 1, 0, id="start is not known"),
        pytest.param(CHAIN, "-F--", None, 2, 0, 0, id="start is not known, its first node failed"),
        pytest.param(CHAIN, "SSC-", WHOLE, 3, 2, 0, id="cancelled"),
    ],
)
def test_restart_node(edges: Edges, text: str, target: Target | None, chosen: int, kept: int, repeated: int) -> None:
    of = {0: "SUCCESS", **statuses(text)} if (0, 1) in edges else statuses(text)
    found = restart_of(graph(edges, of), flow(of, edges), target)
    assert isinstance(found, Restart), found
    assert (found.task_id, found.task_name, found.kept, found.repeated) == (chosen, f"n{chosen}", kept, repeated)


REASONS: dict[str, tuple[FlowInstanceGraph, Flow | None, Target | None, str]] = {
    "first node failed": (graph(CHAIN, statuses("F---")), None, WHOLE, "everything runs again, since its unfin"),
    "start node failed": (graph(CHAIN, statuses("-F--")), None, Target(3377, 2), "everything runs again, since"),
    "two roots": (
        graph([(1, 3), (2, 3)], statuses("FF-")),
        None,
        WHOLE,
        "no single node leads to all of its unfinished",
    ),
    "nothing unfinished": (graph(CHAIN, statuses("SSKS")), None, WHOLE, "none of its nodes is unfinished"),
    "nothing ran": (graph(CHAIN, statuses("----")), None, None, "none of its nodes has run"),
    "parameters": (graph(CHAIN, statuses("SF--")), None, Target(3377, None, {}), "it has parameters, which cannot"),
    "other parameters": (
        graph(CHAIN, statuses("SF--"), parameters={"a": "1"}),
        flow((1, 2, 3, 4), CHAIN, parameters={"a": "2"}),
        None,
        "its parameters are not those of the flow",
    ),
    "links": (graph(CHAIN, statuses("SF--"), graph={"flows": [{"flowId": 5}]}), None, WHOLE, "depends on other flows"),
    "links of the flow": (
        graph(CHAIN, statuses("SF--")),
        Flow.parse({"flowId": 3377, "graph": {"flows": [{"flowId": 5}]}}),
        WHOLE,
        "it depends on other flows",
    ),
    "no nodes": (graph((), {}), None, WHOLE, "its graph has no nodes"),
    "no graph": (graph((), {}, graph={"tasks": None, "relations": None}), None, WHOLE, "its graph has no nodes"),
    "no relations": (graph((), statuses("SF")), None, WHOLE, "its graph has no relations"),
    "unreadable relation": (
        graph((), statuses("SF"), graph={"relations": [5]}),
        None,
        WHOLE,
        "cannot be read complete",
    ),
    "unknown node": (graph([(1, 9)], statuses("SF")), None, WHOLE, "a relation of its graph leads to an unknown node"),
    "cycle": (graph([(1, 2), (2, 1)], statuses("SF")), None, WHOLE, "its graph has a cycle"),
    "node after itself": (graph([(1, 1)], statuses("F")), None, WHOLE, "its graph has a cycle"),
    "same id twice": (
        graph((), {}, graph={"tasks": [{"taskId": 1, "nodeId": "a"}, {"taskId": 2, "nodeId": "a"}], "relations": [{}]}),
        None,
        WHOLE,
        "a relation of its graph leads to an unknown node",
    ),
    "same node id twice": (
        graph(
            (),
            {},
            graph={
                "tasks": [{"taskId": 1, "nodeId": "a"}, {"taskId": 2, "nodeId": "a"}],
                "relations": [{"source": "a", "target": "a"}],
            },
        ),
        None,
        WHOLE,
        "several nodes of its graph have the same id",
    ),
    "another day": (
        graph((), statuses("SF"), graph={"relations": [{"source": "t_1", "target": "t_2", "cycleGap": "D1"}]}),
        None,
        WHOLE,
        "a node of it depends on the run of another day (D1)",
    ),
    "still running": (graph(CHAIN, {**statuses("SF-S"), 3: "RUNNING"}), None, WHOLE, "node n3 (3-1) is still running"),
    "not ended": (graph(CHAIN, statuses("SF--"), "RUNNING"), None, WHOLE, "it has not ended, its status is RUNNING"),
    "node was added": (
        graph(CHAIN, statuses("SF--")),
        flow((1, 2, 3, 4, 5)),
        WHOLE,
        "the nodes of flow 3377 have chan",
    ),
    "node was removed": (graph(CHAIN, statuses("SF--")), flow((1, 2)), Target(3377, 1), "the nodes of flow 3377 have"),
    "unknown start": (graph(CHAIN, statuses("SF--")), None, Target(3377, 9), "does not have the node 9 that it was"),
}


@pytest.mark.parametrize("name", REASONS)
def test_reason_against_a_restart(name: str) -> None:
    instance, now, target, why = REASONS[name]
    found = restart_of(instance, now, target)
    assert isinstance(found, NoRestart), found
    assert why in found.why


@pytest.mark.parametrize("target", [WHOLE, None])
def test_relations_of_the_flow_stand_in_for_those_that_the_instance_does_not_give(target: Target | None) -> None:
    """The flow may name its nodes in another way."""
    found = restart_of(graph((), statuses("SSF-")), flow((1, 2, 3, 4), CHAIN), target)
    assert isinstance(found, Restart)
    assert (found.task_id, found.kept) == (3, 2)


def test_nodes_upstream_of_the_start_may_be_missing_in_the_instance() -> None:
    found = restart_of(graph((), {2: "SUCCESS", 3: "FAIL"}), flow((1, 2, 3), [(1, 2), (2, 3)]), Target(3377, 2))
    assert isinstance(found, Restart)
    assert found.task_id == 3


# The line of the log


@pytest.mark.parametrize(
    ("edges", "text", "line"),
    [
        (
            [(1, 2), (2, 3), (3, 4), (4, 5)],
            "SSSF-",
            "Retry 2 restarts flow 3377 from node n4 (4): 1 of 5 nodes failed, 1 never ran; 3 that succeeded are kept",
        ),
        (
            [(1, 2), (2, 3), (2, 4), (2, 5)],
            "SSFC-",
            "Retry 2 restarts flow 3377 from node n2 (2): 1 of 5 nodes failed, 1 was cancelled, 1 never ran; 1 that "
            "succeeded is kept, 1 runs again",
        ),
        (
            [(1, 2), (2, 3), (3, 4), (3, 5), (2, 6)],
            "SSSPPP",
            "Retry 2 restarts flow 3377 from node n2 (2): 3 of 6 nodes did not finish; 1 that succeeded is kept, "
            "2 run again",
        ),
        (CHAIN, "F---", "Retry 2 starts flow 3377 as the first time: everything runs again, since its unfinished nodes "
        "begin with n1"),
    ],
)  # fmt: skip
def test_line_of_the_log(edges: Edges, text: str, line: str) -> None:
    assert restart_line(2, 3377, restart_of(graph(edges, statuses(text)), None, WHOLE)) == line


def test_names_are_cleaned() -> None:
    found = Restart(1, "a\x1b[31m\nb", 2, 1, 0, 0, 0, 1, 0)
    assert str(found) == "node a b (1): 1 of 2 nodes failed; 1 that succeeded is kept"


# Whatever the graph

STATUSES = ("SUCCESS", "FAIL", "INIT", "CANCEL", "SKIP", "SUSPEND", "TIMEOUT", None, "42")
UNFINISHED = set(STATUSES) - {"SUCCESS", "SKIP"}


def reachable(edges: Edges, start: int) -> set[int]:
    """The node and everything downstream of it, by going from edge to edge."""
    found = {start}
    while more := {target for source, target in edges if source in found} - found:
        found |= more
    return found


def depth(edges: list[tuple[int, int]], node: int) -> int:
    return max((depth(edges, source) + 1 for source, target in edges if target == node), default=0)


@st.composite
def instances(draw: Any) -> tuple[list[tuple[int, int]], dict[Any, str | None]]:
    """Edges without a cycle, in any order of the nodes, and a status for each node."""
    order = draw(st.permutations(range(1, draw(st.integers(2, 8)))))
    pairs = [(source, target) for at, source in enumerate(order) for target in order[at + 1 :]]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=12)) if pairs else []
    return edges, {node: draw(st.sampled_from(STATUSES)) for node in sorted(order)}


@settings(max_examples=400)
@given(instances(), st.data())
def test_restart_runs_every_unfinished_node_and_repeats_the_fewest(
    drawn: tuple[list[tuple[int, int]], dict[Any, str | None]], data: Any
) -> None:
    edges, of = drawn
    start = data.draw(st.sampled_from([None, *of]))
    scope = set(of) if start is None else reachable(edges, start)
    unfinished = {node for node in scope if of[node] in UNFINISHED}

    def repeats(node: int) -> int:
        return sum(of[one] == "SUCCESS" for one in reachable(edges, node))

    found = restart_of(graph(edges, of), flow(of, edges), Target(3377, start))
    candidates = [node for node in scope if unfinished <= reachable(edges, node)]
    if isinstance(found, Restart):
        assert found.task_id in candidates
        again = reachable(edges, found.task_id)
        assert unfinished <= again <= scope
        best = min((repeats(node), -depth(edges, node)) for node in candidates)
        assert (repeats(found.task_id), -depth(edges, found.task_id)) == best
        assert found.kept + found.repeated == sum(of[node] == "SUCCESS" for node in scope)
        assert found.repeated == repeats(found.task_id)
        assert found.failed + found.cancelled + found.never_ran + found.not_finished == len(unfinished)
        assert again != scope
    else:
        assert (
            not unfinished
            or not candidates
            or all(
                reachable(edges, node) == scope for node in candidates if repeats(node) == min(map(repeats, candidates))
            )
        )


@settings(max_examples=200)
@given(instances())
def test_scope_of_an_unknown_start_is_what_ran_and_everything_downstream(
    drawn: tuple[list[tuple[int, int]], dict[Any, str | None]],
) -> None:
    edges, of = drawn
    ran = [node for node, status in of.items() if status not in (None, "INIT", "SKIP")]
    scope = set().union(*(reachable(edges, node) for node in ran))
    unfinished = {node for node in scope if of[node] in UNFINISHED}
    found = restart_of(graph(edges, of), flow(of, edges), None)
    candidates = [node for node in scope if unfinished <= reachable(edges, node)]
    assert isinstance(found, Restart) == bool(unfinished and candidates)
    if isinstance(found, Restart):
        assert unfinished <= reachable(edges, found.task_id)
        assert found.nodes == len(scope)


odd = st.none() | st.integers(0, 3) | st.sampled_from(["", "a", "t_1"])
nodes = st.fixed_dictionaries(
    {"taskId": st.none() | st.integers(0, 3), "nodeId": odd, "status": st.sampled_from(STATUSES)}
)
relations = st.fixed_dictionaries({"source": odd, "target": odd, "cycleGap": st.sampled_from(["", "D0", "D1", "x"])})
graphs = st.fixed_dictionaries(
    {
        "tasks": st.lists(nodes, max_size=4) | st.none(),
        "relations": st.lists(relations | st.none(), max_size=4) | st.none() | st.just(5),
        "flows": st.lists(st.none() | st.just({"flowId": 1}), max_size=1),
    }
)


@settings(max_examples=300)
@given(graphs, st.none() | graphs, st.sampled_from(STATUSES[:-2]), st.sampled_from([None, WHOLE, Target(3377, 1)]))
def test_any_graph_gives_a_node_or_a_reason(
    contents: dict[str, Any], now: dict[str, Any] | None, status: str, target: Target | None
) -> None:
    instance = FlowInstanceGraph.parse({"instanceId": "3377-1", "status": status, "graph": contents})
    present = None
    if now is not None:
        tasks = [{**task, "taskId": task["taskId"] or 1} for task in now["tasks"] or ()]
        edges = [edge for edge in now["relations"] or () if edge] if isinstance(now["relations"], list) else []
        present = Flow.parse({"flowId": 3377, "graph": {"tasks": tasks, "relations": edges}})
    found = restart_of(instance, present, target)
    assert isinstance(found, Restart) or found.why
    assert restart_line(1, 3377, found).startswith("Retry 1 ")


def test_a_large_graph_takes_little_time() -> None:
    number = 5_000
    edges = [(node, node + 1) for node in range(1, number)] + [(node, node + 2) for node in range(1, number - 1)]
    instance = graph(edges, {node: "SUCCESS" if node < number - 5 else "FAIL" for node in range(1, number + 1)})
    begun = time.thread_time()
    found = restart_of(instance, None, WHOLE)
    assert time.thread_time() - begun < 0.5
    assert isinstance(found, Restart)
    assert found.task_id == number - 5
