"""Any graph gets a picture: no nodes overlap, and edges lead from left to right unless they close a cycle."""

from __future__ import annotations

import re
import time
from itertools import takewhile

from hypothesis import given, settings, strategies as st

from airflow_provider_enos.plugins.view.layout import NODE_HEIGHT, NODE_WIDTH, Layout, arrange

GRAPHS = st.integers(0, 12).flatmap(
    lambda number: st.tuples(
        st.just(number), st.lists(st.tuples(st.integers(-2, number + 1), st.integers(-2, number + 1)), max_size=40)
    )
)


def overlapping(layout: Layout) -> list[tuple[int, int]]:
    """Pairs of nodes that lie on each other."""
    by_height = sorted((y, x, node) for node, (x, y) in enumerate(layout.places))
    return [
        (one, other)
        for place, (y, x, one) in enumerate(by_height)
        for below, to_x, other in takewhile(lambda next_: next_[0] - y < NODE_HEIGHT, by_height[place + 1 :])  # noqa: B023
        if abs(x - to_x) < NODE_WIDTH
    ]


@settings(max_examples=200, deadline=None)
@given(GRAPHS)
def test_any_graph_can_be_drawn(graph: tuple[int, list[tuple[int, int]]]) -> None:
    number, edges = graph
    layout = arrange(number, edges)
    assert len(layout.places) == len(layout.layers) == number
    assert overlapping(layout) == []
    for x, y in layout.places:
        assert 0 <= x <= layout.width - NODE_WIDTH
        assert 0 <= y <= layout.height - NODE_HEIGHT
    wanted = {(a, b) for a, b in edges if a != b and 0 <= a < number and 0 <= b < number}
    assert sorted((edge.source, edge.target) for edge in layout.edges) == sorted(wanted)
    for edge in layout.edges:
        if not edge.back:
            assert layout.layers[edge.source] < layout.layers[edge.target]
        assert re.fullmatch(r"[MCH0-9. e+-]+", edge.path)


@settings(max_examples=50, deadline=None)
@given(GRAPHS)
def test_the_same_graph_gets_the_same_picture(graph: tuple[int, list[tuple[int, int]]]) -> None:
    assert arrange(*graph) == arrange(*graph)


def test_a_chain_is_one_line() -> None:
    layout = arrange(4, [(0, 1), (1, 2), (2, 3)])
    assert layout.layers == (0, 1, 2, 3)
    assert len({y for _, y in layout.places}) == 1
    assert [x for x, _ in layout.places] == sorted({x for x, _ in layout.places})


def test_branches_do_not_cross_where_they_need_not() -> None:
    # 0 leads to 1 and 2; 1 leads to 4, and 2 to 3: the order of the last two has to change.
    layout = arrange(5, [(0, 1), (0, 2), (1, 4), (2, 3)])
    above = [places[1] for places in layout.places]
    assert (above[1] < above[2]) == (above[4] < above[3])


def test_a_long_edge_goes_around_the_node_between() -> None:
    layout = arrange(3, [(0, 1), (1, 2), (0, 2)])
    (long,) = [edge for edge in layout.edges if (edge.source, edge.target) == (0, 2)]
    passes_at = float(re.findall(r" ([0-9.]+)H", long.path)[0])
    top = layout.places[1][1]
    assert not top <= passes_at <= top + NODE_HEIGHT


def test_a_cycle_is_cut_where_it_is_entered() -> None:
    layout = arrange(4, [(0, 1), (1, 2), (2, 3), (3, 1)])
    assert [(edge.source, edge.target) for edge in layout.edges if edge.back] == [(3, 1)]
    assert layout.layers == (0, 1, 2, 3)


def test_nodes_without_edges_stand_in_rows() -> None:
    layout = arrange(50, [])
    assert overlapping(layout) == []
    assert layout.width < 8 * layout.height
    assert layout.height < 8 * layout.width


def test_hundreds_of_nodes_take_no_time() -> None:
    number = 500
    everything = [(a, b) for a in range(number) for b in range(a + 1, min(a + 30, number))]
    graphs = ([(a, a + 1) for a in range(number - 1)], everything, [(b, a) for a, b in everything] + everything)
    start = time.thread_time()
    for edges in graphs:
        assert overlapping(arrange(number, edges)) == []
    assert time.thread_time() - start < 10
