"""The author's own drawing: used where it makes a readable picture, and only there."""

from __future__ import annotations

import json
import math
import re
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from airflow_provider_enos.plugins.view.drawing import MOST_HEIGHT, MOST_NODES, MOST_WIDTH, drawn
from airflow_provider_enos.plugins.view.layout import NODE_HEIGHT, NODE_WIDTH, Layout, Point
from airflow_provider_enos.plugins.view.picture import Seen, of_instance
from airflow_provider_enos.protocol.models import FlowInstanceGraph

NUMBERS = st.floats() | st.sampled_from([0.0, 1.0, 80.0, 120.0, 240.0, 1e-300, 1e300, -1e308, 1e308])
PLACES = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=8)
GRIDS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=10, unique=True)
EDGES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=15)


def overlapping(layout: Layout) -> list[tuple[Point, Point]]:
    """Pairs of nodes that lie on each other."""
    return [
        (one, other)
        for one, other in combinations(layout.places, 2)
        if abs(one[0] - other[0]) < NODE_WIDTH and abs(one[1] - other[1]) < NODE_HEIGHT
    ]


def points_of(path: str) -> list[Point]:
    """Points along a drawn curve, without its ends."""
    numbers = [float(number) for number in re.findall(r"-?[0-9.]+(?:e[+-]?[0-9]+)?", path)]
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = zip(numbers[::2], numbers[1::2], strict=True)
    along = []
    for step in range(1, 12):
        t = step / 12
        a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        along.append((a * x0 + b * x1 + c * x2 + d * x3, a * y0 + b * y1 + c * y2 + d * y3))
    return along


def run_through(layout: Layout) -> list[tuple[int, int, int]]:
    """Edges that lead right through the middle of a node that they do not join, and that node."""
    return [
        (edge.source, edge.target, number)
        for edge in layout.edges
        for number, (left, top) in enumerate(layout.places)
        if number not in (edge.source, edge.target)
        for x, y in points_of(edge.path)
        if left + 10 < x < left + NODE_WIDTH - 10 and top + 10 < y < top + NODE_HEIGHT - 10
    ]


@settings(max_examples=100, deadline=None)
@given(PLACES, EDGES)
def test_any_places_make_a_picture_or_none(places: list[Point], edges: list[tuple[int, int]]) -> None:
    number = len(places)
    layout = drawn(places, [(a, b) for a, b in edges if a < number and b < number])
    if layout is not None:
        assert all(math.isfinite(part) for place in layout.places for part in place)
        assert overlapping(layout) == []


@settings(max_examples=100, deadline=None)
@given(GRIDS, EDGES)
def test_it_is_readable_and_keeps_left_of_and_above(
    places: list[tuple[int, int]], edges: list[tuple[int, int]]
) -> None:
    wanted = [(a, b) for a, b in dict.fromkeys(edges) if a != b and max(a, b) < len(places)]
    layout = drawn([(float(x), float(y)) for x, y in places], wanted)
    if layout is None:
        return
    assert overlapping(layout) == []
    assert run_through(layout) == []
    assert [(edge.source, edge.target) for edge in layout.edges] == wanted
    assert layout.width < MOST_WIDTH + 1000
    assert layout.height < MOST_HEIGHT + 1000
    for (x, y), (to_x, to_y) in zip(places, layout.places, strict=True):
        assert 0 <= to_x <= layout.width - NODE_WIDTH
        assert 0 <= to_y <= layout.height - NODE_HEIGHT
        for (other_x, other_y), (other_to_x, other_to_y) in zip(places, layout.places, strict=True):
            assert (x < other_x) == (to_x < other_to_x)
            assert (y < other_y) == (to_y < other_to_y)
    for edge in layout.edges:
        assert all(-1 <= x <= layout.width and -1 <= y <= layout.height for x, y in points_of(edge.path))


def test_a_drawing_from_top_to_bottom_stays_one() -> None:
    layout = drawn([(300, 40), (300, 120), (180, 200), (420, 200)], [(0, 1), (1, 2), (1, 3)])
    assert layout is not None
    (x, top), (below, middle), left, right = layout.places
    assert x == below
    assert top < middle < left[1] == right[1]
    assert left[0] < x < right[0]
    assert layout.height < 300


def test_an_edge_leads_around_what_stands_between() -> None:
    """Otherwise it looks as if it led to the node in between, and on from there."""
    layout = drawn([(0, 0), (160, 0), (320, 0)], [(0, 1), (0, 2)])
    assert layout is not None
    assert run_through(layout) == []
    straight, around = layout.edges
    assert max(y for _, y in points_of(around.path)) > max(y for _, y in points_of(straight.path)) + NODE_HEIGHT / 2


def test_an_edge_that_closes_a_cycle_is_told_apart() -> None:
    layout = drawn([(0, 0), (160, 0)], [(0, 1), (1, 0)])
    assert layout is not None
    assert [edge.back for edge in layout.edges] == [False, True]


@pytest.mark.parametrize(
    "places",
    [
        [],
        [(1.0, 1.0)],
        [(1.0, 1.0), (1.0, 1.0)],
        [(0.0, 0.0), (160.0, 0.0), None],
        [(0.0, 0.0), (1.0, 0.0), (160.0, 0.0)],
        [(0.0, 0.0), (1e-320, 0.0)],
        [(0.0, 0.0), (1e308, -1e308), (-1e308, 1e308)],
        [(160.0 * number, 0.0) for number in range(MOST_NODES + 1)],
        [(160.0 * number, 0.0) for number in range(100)],
    ],
    ids=["none", "one", "the same", "one is missing", "too near", "nearly equal", "too far", "too many", "too wide"],
)
def test_what_makes_no_picture(places: list[Point | None]) -> None:
    assert drawn(places, [(0, 1)]) is None


def seen(places: list[Any]) -> Any:
    tasks = [
        {"taskName": f"n{number}", "taskInstId": f"{number}-1", "taskId": number, "nodeId": f"t_{number}"}
        | ({} if place is None else {"x": place[0], "y": place[1]})
        for number, place in enumerate(places)
    ]
    relations = [{"source": f"t_{number}", "target": f"t_{number + 1}"} for number in range(len(places) - 1)]
    graph = {"tasks": tasks, "relations": relations, "flows": []}
    data = {"instanceId": "3377-20200706062600", "status": 2, "flowName": "readings", "graph": json.dumps(graph)}
    return of_instance(Seen(FlowInstanceGraph.parse(data), {}, None))


@pytest.mark.parametrize("places", [[(0, 0), (0, 80), (0, 160)], [("0", "0.0"), ("0", "80"), ("0", "160.5")]], ids=str)
def test_the_picture_has_the_places_that_enos_sends(places: list[Any]) -> None:
    nodes = seen(places)["nodes"]
    assert len({node["x"] for node in nodes}) == 1
    assert [node["y"] for node in nodes] == sorted({node["y"] for node in nodes})


@pytest.mark.parametrize(
    "places",
    [[None, None, None], [(0, 0), (0, 80), None], [(0, 0), (0, 0), (0, 0)], [("a", 0), (0, 80), (0, 160)]],
    ids=str,
)
def test_the_picture_has_places_of_its_own_otherwise(places: list[Any]) -> None:
    nodes = seen(places)["nodes"]
    assert len({node["y"] for node in nodes}) == 1
    assert [node["x"] for node in nodes] == sorted({node["x"] for node in nodes})
