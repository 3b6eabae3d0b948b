"""Place the nodes of a graph: from left to right along the edges, in layers, with few crossings.

The graph comes from EnOS, so it may have cycles, loops, duplicate edges, and thousands of nodes. An edge that closes a
cycle is drawn backwards. Nodes without edges stand in rows below.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt

NODE_WIDTH, NODE_HEIGHT = 168.0, 46.0
GAP_X, GAP_Y = 44.0, 16.0
MARGIN = 16.0

_BEND_HEIGHT = 10.0
_MOST_BENDS = 3000
"""Long edges that cross layers at no more points than this, in all, go around nodes; otherwise straight."""
_SWEEPS = 4

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge as it is drawn. ``back``: it closes a cycle."""

    source: int
    target: int
    path: str
    """The attribute ``d`` of an SVG path."""
    back: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """The upper left corners of the nodes, in the order of the nodes, and the edges."""

    width: float
    height: float
    places: tuple[Point, ...]
    layers: tuple[int, ...]
    edges: tuple[Edge, ...]


def arrange(number: int, edges: Iterable[tuple[int, int]]) -> Layout:
    """Return the layout of nodes 0 to ``number`` - 1. Edges to other nodes, loops and duplicates are left out."""
    wanted = list(dict.fromkeys((a, b) for a, b in edges if a != b and 0 <= a < number and 0 <= b < number))
    linked = sorted({node for edge in wanted for node in edge})
    forward, back = without_cycles(linked, wanted)
    layers = _layers(linked, forward)
    chains = _bends(forward, layers)
    columns = _ordered(linked, layers, chains)
    places, bends, width, height = _placed(columns)
    loose = [node for node in range(number) if node not in layers]
    width, height = _place_loose(loose, places, width, height)
    drawn = [_forward_edge(chain, places, bends) for chain in chains]
    lowest = height
    for source, target in back:
        edge, depth = _back_edge(source, target, places, height)
        drawn.append(edge)
        lowest = max(lowest, depth)
    return Layout(
        width=width + MARGIN,
        height=lowest + MARGIN,
        places=tuple(places[node] for node in range(number)),
        layers=tuple(layers.get(node, 0) for node in range(number)),
        edges=tuple(drawn),
    )


def without_cycles(
    nodes: Sequence[int], edges: Sequence[tuple[int, int]]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the edges without those that close a cycle, and those. Found by depth-first search."""
    after: dict[int, list[int]] = {node: [] for node in nodes}
    has_before = {target for _, target in edges}
    for source, target in edges:
        after[source].append(target)
    back: set[tuple[int, int]] = set()
    # Missing: not visited. True: on the current path. False: done.
    open_: dict[int, bool] = {}
    # Begin with nodes that have no predecessor, so that a cycle is cut where it is entered.
    for start in sorted(nodes, key=lambda node: node in has_before):
        if start in open_:
            continue
        open_[start] = True
        stack = [(start, iter(after[start]))]
        while stack:
            node, rest = stack[-1]
            for target in rest:
                if open_.get(target):
                    back.add((node, target))
                elif target not in open_:
                    open_[target] = True
                    stack.append((target, iter(after[target])))
                    break
            else:
                open_[node] = False
                stack.pop()
    return [edge for edge in edges if edge not in back], [edge for edge in edges if edge in back]


def _layers(nodes: Sequence[int], edges: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Return the layer of each node: the length of the longest path to it."""
    after: dict[int, list[int]] = {node: [] for node in nodes}
    waits_for = dict.fromkeys(nodes, 0)
    for source, target in edges:
        after[source].append(target)
        waits_for[target] += 1
    layers = {node: 0 for node in nodes if not waits_for[node]}
    ready = list(layers)
    while ready:
        node = ready.pop()
        for target in after[node]:
            layers[target] = max(layers.get(target, 0), layers[node] + 1)
            waits_for[target] -= 1
            if not waits_for[target]:
                ready.append(target)
    return layers


Stop = tuple[int, int, int]
"""A place in a layer: ``(layer, node, -1)``, or ``(layer, edge, place)`` where a long edge crosses it."""


def _bends(edges: Sequence[tuple[int, int]], layers: dict[int, int]) -> list[list[Stop]]:
    """Return the stops of each edge, one a layer."""
    passed = sum(layers[target] - layers[source] - 1 for source, target in edges)
    chains = []
    for number, (source, target) in enumerate(edges):
        between = range(layers[source] + 1, layers[target]) if passed <= _MOST_BENDS else ()
        via = [(layer, number, layer) for layer in between]
        chains.append([(layers[source], source, -1), *via, (layers[target], target, -1)])
    return chains


def _ordered(nodes: Sequence[int], layers: dict[int, int], chains: Sequence[Sequence[Stop]]) -> list[list[Stop]]:
    """Return the stops of each layer from top to bottom, each near the middle of its neighbours (barycentre method)."""
    columns: list[list[Stop]] = [[] for _ in range(max(layers.values(), default=-1) + 1)]
    for node in nodes:
        columns[layers[node]].append((layers[node], node, -1))
    before: dict[Stop, list[Stop]] = {}
    after: dict[Stop, list[Stop]] = {}
    for chain in chains:
        for stop in chain[1:-1]:
            columns[stop[0]].append(stop)
        for left, right in pairwise(chain):
            before.setdefault(right, []).append(left)
            after.setdefault(left, []).append(right)
    rank = {stop: place / len(column) for column in columns for place, stop in enumerate(column)}
    for sweep in range(_SWEEPS):
        neighbours = after if sweep % 2 else before
        for column in reversed(columns) if sweep % 2 else columns:
            middle = {stop: _middle(neighbours.get(stop), rank, rank[stop]) for stop in column}
            column.sort(key=middle.__getitem__)
            rank.update((stop, (place + 0.5) / len(column)) for place, stop in enumerate(column))
    return columns


def _middle(stops: Sequence[Stop] | None, rank: dict[Stop, float], own: float) -> float:
    return sum(rank[stop] for stop in stops) / len(stops) if stops else own


def _placed(columns: Sequence[Sequence[Stop]]) -> tuple[dict[int, Point], dict[Stop, Point], float, float]:
    """Return the places of nodes and bends, and the width and height of all."""
    heights = [sum(map(_height, column)) + GAP_Y * (len(column) - 1) for column in columns]
    tallest = max(heights, default=0.0)
    places: dict[int, Point] = {}
    bends: dict[Stop, Point] = {}
    x = MARGIN
    for column, height in zip(columns, heights, strict=True):
        y = MARGIN + (tallest - height) / 2
        for stop in column:
            if stop[2] < 0:
                places[stop[1]] = (x, y)
            else:
                bends[stop] = (x, y + _height(stop) / 2)
            y += _height(stop) + GAP_Y
        x += NODE_WIDTH + GAP_X
    width = x - GAP_X if columns else MARGIN
    return places, bends, width, MARGIN + tallest


def _height(stop: Stop) -> float:
    return NODE_HEIGHT if stop[2] < 0 else _BEND_HEIGHT


def _place_loose(nodes: Sequence[int], places: dict[int, Point], width: float, height: float) -> tuple[float, float]:
    """Place the nodes without edges below the others, in rows about as wide. Return the new width and height."""
    if not nodes:
        return width, height
    step_x, step_y = NODE_WIDTH + GAP_X / 2, NODE_HEIGHT + GAP_Y
    fitting = int((width - MARGIN + GAP_X / 2) // step_x)
    a_row = max(fitting, min(len(nodes), ceil(sqrt(len(nodes) / 2))), 1)
    top = height + (GAP_Y if places else 0)
    for number, node in enumerate(nodes):
        places[node] = (MARGIN + number % a_row * step_x, top + number // a_row * step_y)
    rows = ceil(len(nodes) / a_row)
    return max(width, MARGIN + min(a_row, len(nodes)) * step_x - GAP_X / 2), top + rows * step_y - GAP_Y


def _forward_edge(chain: Sequence[Stop], places: dict[int, Point], bends: dict[Stop, Point]) -> Edge:
    source, target = chain[0][1], chain[-1][1]
    x, y = places[source]
    x, y = x + NODE_WIDTH, y + NODE_HEIGHT / 2
    path = [f"M{x:g} {y:g}"]
    for stop in chain[1:-1]:
        to_x, to_y = bends[stop]
        path.append(_curve((x, y), (to_x, to_y)))
        path.append(f"H{to_x + NODE_WIDTH:g}")
        x, y = to_x + NODE_WIDTH, to_y
    to_x, to_y = places[target]
    path.append(_curve((x, y), (to_x, to_y + NODE_HEIGHT / 2)))
    return Edge(source, target, "".join(path))


def _curve(start: Point, end: Point) -> str:
    middle = (start[0] + end[0]) / 2
    return f"C{middle:g} {start[1]:g} {middle:g} {end[1]:g} {end[0]:g} {end[1]:g}"


def _back_edge(source: int, target: int, places: dict[int, Point], bottom: float) -> tuple[Edge, float]:
    """Return an edge that goes round below, and how far down it reaches."""
    (x, y), (to_x, to_y) = places[source], places[target]
    x, y = x + NODE_WIDTH / 2, y + NODE_HEIGHT
    to_x, to_y = to_x + NODE_WIDTH / 2, to_y + NODE_HEIGHT
    deep = max(y, to_y) + 2 * GAP_Y
    path = f"M{x:g} {y:g}C{x:g} {deep:g} {to_x:g} {deep:g} {to_x:g} {to_y:g}"
    return Edge(source, target, path, back=True), max(bottom, deep - GAP_Y)
