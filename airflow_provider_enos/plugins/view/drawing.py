"""Place the nodes of a graph as its author has drawn them in EnOS.

EnOS sends a place for each node. It is used if it makes a readable picture: all nodes have places of their own, none
overlap at a size that fits a page, and no edge runs through a node that it does not join. Otherwise ``layout.py``
places them. The places come from EnOS, so they may be anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from airflow_provider_enos.plugins.view.layout import (
    GAP_X,
    GAP_Y,
    MARGIN,
    NODE_HEIGHT,
    NODE_WIDTH,
    Edge,
    Layout,
    Point,
    without_cycles,
)

MOST_NODES, MOST_EDGES = 200, 600
"""The most nodes and edges that are drawn this way: all pairs of nodes are compared."""
MOST_WIDTH, MOST_HEIGHT = 5000.0, 3000.0
"""The largest picture, in pixels. Two nodes that nearly touch would blow up the whole drawing."""

_FURTHEST, _LARGEST_SCALE = 1e9, 1000.0
_CLEAR = 12.0
"""The least gap between two boxes across which an edge leads straight."""
_STEPS = 16
"""At how many points an edge is checked for nodes in its way."""

Curve = tuple[Point, Point, Point, Point]
"""The four points of a cubic curve."""


def drawn(places: Sequence[Point | None], edges: Iterable[tuple[int, int]]) -> Layout | None:
    """Return the drawing of the author; None if there is none, or if it makes no readable picture.

    :param places: the place of each node; None where EnOS gives none.
    :param edges: pairs of numbers of nodes. Loops and duplicates are left out.
    """
    known = [place for place in places if place is not None and all(abs(part) <= _FURTHEST for part in place)]
    wanted = list(dict.fromkeys(edge for edge in edges if edge[0] != edge[1]))
    if not 2 <= len(known) == len(places) <= MOST_NODES or len(wanted) > MOST_EDGES:
        return None
    corners = _scaled(known)
    if corners is None:
        return None
    in_the_way = _Boxes(corners)
    curves = [_curve(source, target, corners, in_the_way) for source, target in wanted]
    found = [curve for curve in curves if curve is not None]
    return _layout(corners, wanted, found) if len(found) == len(curves) else None


def _scaled(places: Sequence[Point]) -> list[Point] | None:
    """Return the upper left corners, as close to each other as no two nodes overlap; None if that is too large.

    Two nodes are kept apart in the direction in which they are further apart. So what is left of, or above, another
    node stays there.
    """
    scale_x = scale_y = 0.0
    for (x, y), (other_x, other_y) in combinations(places, 2):
        apart_x, apart_y = abs(x - other_x), abs(y - other_y)
        if apart_x == apart_y == 0:
            return None
        if apart_x >= apart_y:
            scale_x = max(scale_x, (NODE_WIDTH + GAP_X) / apart_x)
        else:
            scale_y = max(scale_y, (NODE_HEIGHT + GAP_Y) / apart_y)
    scale_x, scale_y = scale_x or scale_y, scale_y or scale_x
    if max(scale_x, scale_y) > _LARGEST_SCALE:
        return None
    left, top = min(x for x, _ in places), min(y for _, y in places)
    corners = [((x - left) * scale_x, (y - top) * scale_y) for x, y in places]
    is_small = max(x for x, _ in corners) <= MOST_WIDTH and max(y for _, y in corners) <= MOST_HEIGHT
    return [(round(x, 1), round(y, 1)) for x, y in corners] if is_small else None


class _Boxes:
    """The nodes, found by a point in them."""

    def __init__(self, corners: Sequence[Point]) -> None:
        self._corners = corners
        self._cells: dict[tuple[int, int], list[int]] = {}
        for number, (x, y) in enumerate(corners):
            for cell_x in {int(x // NODE_WIDTH), int((x + NODE_WIDTH) // NODE_WIDTH)}:
                for cell_y in {int(y // NODE_HEIGHT), int((y + NODE_HEIGHT) // NODE_HEIGHT)}:
                    self._cells.setdefault((cell_x, cell_y), []).append(number)

    def are_hit(self, curve: Curve, *, but: tuple[int, int]) -> bool:
        """Return whether the curve runs through a node, apart from the two that it joins."""
        for x, y in _points(curve):
            for number in self._cells.get((int(x // NODE_WIDTH), int(y // NODE_HEIGHT)), ()):
                left, top = self._corners[number]
                is_inside = left <= x <= left + NODE_WIDTH and top <= y <= top + NODE_HEIGHT
                if is_inside and number not in but:
                    return True
        return False


def _curve(source: int, target: int, corners: Sequence[Point], boxes: _Boxes) -> Curve | None:
    """Return the first way from one node to the other that runs through no third node; None if there is none."""
    ways = (*_straight(corners[source], corners[target]), *_around(corners[source], corners[target], corners))
    return next((curve for curve in ways if not boxes.are_hit(curve, but=(source, target))), None)


def _straight(start: Point, end: Point) -> Iterator[Curve]:
    """Yield the curves between sides that face each other, first across the wider gap."""
    (x, y), (to_x, to_y) = start, end
    right, left = to_x - (x + NODE_WIDTH), x - (to_x + NODE_WIDTH)
    down, up = to_y - (y + NODE_HEIGHT), y - (to_y + NODE_HEIGHT)
    half_x, half_y = NODE_WIDTH / 2, NODE_HEIGHT / 2
    ways = [
        (right, _across((x + NODE_WIDTH, y + half_y), (to_x, to_y + half_y))),
        (left, _across((x, y + half_y), (to_x + NODE_WIDTH, to_y + half_y))),
        (down, _down((x + half_x, y + NODE_HEIGHT), (to_x + half_x, to_y))),
        (up, _down((x + half_x, y), (to_x + half_x, to_y + NODE_HEIGHT))),
    ]
    for gap, curve in sorted(ways, key=lambda way: -way[0]):
        if gap >= _CLEAR:
            yield curve


def _across(start: Point, end: Point) -> Curve:
    middle = (start[0] + end[0]) / 2
    return start, (middle, start[1]), (middle, end[1]), end


def _down(start: Point, end: Point) -> Curve:
    middle = (start[1] + end[1]) / 2
    return start, (start[0], middle), (end[0], middle), end


def _around(start: Point, end: Point, corners: Sequence[Point]) -> Iterator[Curve]:
    """Yield the arcs below and above what stands between the two nodes."""
    (x, y), (to_x, to_y) = start, end
    first, last = min(x, to_x), max(x, to_x) + NODE_WIDTH
    between = [top for left, top in corners if first < left + NODE_WIDTH and left < last]
    # A curve reaches three quarters of the way to its control points.
    lowest = max(between) + NODE_HEIGHT + GAP_Y
    highest = min(between) - GAP_Y
    for side, reach in ((NODE_HEIGHT, lowest), (0.0, highest)):
        ends = (x + NODE_WIDTH / 2, y + side), (to_x + NODE_WIDTH / 2, to_y + side)
        level = sum(end[1] for end in ends) / 2
        control = level + (reach - level) * 4 / 3
        yield ends[0], (ends[0][0], control), (ends[1][0], control), ends[1]


def _points(curve: Curve) -> Iterator[Point]:
    """Yield points of the curve, without its ends."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = curve
    for step in range(1, _STEPS):
        t = step / _STEPS
        a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        yield a * x0 + b * x1 + c * x2 + d * x3, a * y0 + b * y1 + c * y2 + d * y3


def _layout(corners: Sequence[Point], edges: Sequence[tuple[int, int]], curves: Sequence[Curve]) -> Layout:
    nodes = sorted({node for edge in edges for node in edge})
    back = set(without_cycles(nodes, edges)[1])
    along = [point for curve in curves for point in _points(curve)]
    left, top = (MARGIN - min(0.0, *(point[axis] for point in (*corners, *along))) for axis in (0, 1))
    width = left + max(*(x + NODE_WIDTH for x, _ in corners), *(x for x, _ in along)) + MARGIN
    height = top + max(*(y + NODE_HEIGHT for _, y in corners), *(y for _, y in along)) + MARGIN
    return Layout(
        width=width,
        height=height,
        places=tuple((x + left, y + top) for x, y in corners),
        layers=(0,) * len(corners),
        edges=tuple(
            Edge(*edge, _path([(x + left, y + top) for x, y in curve]), back=edge in back)
            for edge, curve in zip(edges, curves, strict=True)
        ),
    )


def _path(points: Sequence[Point]) -> str:
    start, *rest = (f"{round(x, 1):g} {round(y, 1):g}" for x, y in points)
    return f"M{start}C{' '.join(rest)}"
