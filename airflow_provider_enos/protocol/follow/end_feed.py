"""Read the list of ends of one type: which instances have ended, the newest end first.

Often one page has all ends since the last read: a read goes on only until it meets the ends that it knows. A gateway
may sort or page otherwise. So each read says whether it is sound. After a sound read, an instance that it does not show
has not ended.

Times are compared as texts, and only to see whether the gateway has sorted them: their zone is not documented.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from airflow_provider_enos.protocol.follow.listing import SIZES, ListStyle, PageReader, newest_first, size_for
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.models import FlowInstance, FlowStatus
from airflow_provider_enos.protocol.wire.messages import Procedure

ENDED = tuple(status for status in FlowStatus if status.ended)
_KNOWN_IN_A_ROW = 5
"""After this many known ends in a row there are no new ones, even if some come a little out of order."""
_REMEMBERED = 4000
"""Ends that are remembered. A longer list that is not sorted is not read to its end."""
_READS_UNTIL_WHOLE = 20
"""A list that is not sorted, and was too long, is read to its end again after this many reads."""
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}.\d{2}:\d{2}:\d{2}")

Mark = tuple[str, str | None]
"""Status and end time: what distinguishes two ends of one instance."""


def mark_of(instance: FlowInstance) -> Mark:
    """Return what distinguishes this end from another end of the same instance."""
    return instance.status.name, instance.end_time


def is_newest_first(instances: Iterable[FlowInstance]) -> bool:
    """Return whether the end times never rise. Half of the instances must have an end time that can be read."""
    texts = [one.end_time or "" for one in instances]
    # To the second: only some releases write fractions.
    times = [text[:19] for text in texts if _TIME.match(text)]
    return 2 * len(times) >= len(texts) and all(newer >= older for newer, older in pairwise(times))


@dataclass(frozen=True, slots=True)
class Reading:
    """What one read of the list has shown."""

    shown: tuple[FlowInstance, ...]
    """All instances that it has shown, ended or not."""
    new: tuple[FlowInstance, ...]
    """The ends that no earlier read has shown."""
    is_sound: bool
    """Whether an instance is known not to have ended if this read has not shown it."""
    confirmations: int
    """How many new ends were listed where they belong: before the known ones."""
    requests: int


class EndFeed:
    """The list of ends of one type, and the ends that are known."""

    def __init__(self, type: int, style: ListStyle) -> None:
        self._type = type
        self._style = style
        self._known: dict[str, Mark] = {}
        self._connected: set[str] = set()
        """The known ends that were read without a gap to the ends before them."""
        self._is_first = True
        self._size = SIZES[1]
        self._skip = 0

    def mark(self, flow_instance_id: str) -> Mark | None:
        """Return the last end that was shown of this instance; None if there is none."""
        return self._known.get(flow_instance_id)

    def read(self, window: Window, most_pages: int) -> Procedure[Reading]:
        """Read the ends with a trigger time in ``window``, until nothing is new or ``most_pages`` pages are read."""
        pages = PageReader(self._style, newest_first(self._type, window, ENDED), self._size)
        ends: list[FlowInstance] = []
        in_order, reached = True, None
        for _ in range(most_pages):
            page = yield from pages.next()
            ends += (one for one in page if one.status.ended)
            in_order = is_newest_first(ends)
            reached = self._reached(ends) if in_order else None
            if reached is not None or pages.at_end or (not in_order and self._is_too_long(len(pages.entries))):
                break
        is_sound = reached is not None or pages.at_end
        return self._note(pages, ends[:reached], ends, is_sound=is_sound, in_order=in_order)

    def _reached(self, ends: Sequence[FlowInstance]) -> int | None:
        """Return how many ends come before the known ones; None if no known ones have come yet."""
        if self._is_first:
            # All ends of the first page count as known from then on.
            return 0 if ends else None
        in_a_row = 0
        for position, one in enumerate(ends, 1):
            in_a_row = in_a_row + 1 if self._knows(one) and one.flow_instance_id in self._connected else 0
            if in_a_row == _KNOWN_IN_A_ROW:
                return position
        return None

    def _is_too_long(self, entries: int) -> bool:
        return self._skip > 0 or entries >= _REMEMBERED

    def _knows(self, one: FlowInstance) -> bool:
        return self._known.get(one.flow_instance_id) == mark_of(one)

    def _note(
        self,
        pages: PageReader,
        latest: Sequence[FlowInstance],
        ends: Sequence[FlowInstance],
        *,
        is_sound: bool,
        in_order: bool,
    ) -> Reading:
        fresh = sum(not self._knows(one) for one in latest)
        # The oldest first, so that it is dropped first. Of two ends of one instance the newer stays.
        shown = {one.flow_instance_id: one for one in reversed(ends)}
        new = tuple(one for one in shown.values() if not self._knows(one))
        for id, one in shown.items():
            self._known.pop(id, None)
            self._known[id] = mark_of(one)
        if is_sound:
            self._connected |= shown.keys()
        while len(self._known) > _REMEMBERED:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._connected.discard(oldest)
        self._choose_size(fresh, is_sound, in_order)
        confirmations = fresh if is_sound and not self._is_first else 0
        self._is_first = self._is_first and not is_sound
        return Reading(tuple(pages.entries.values()), new, is_sound, confirmations, pages.requests)

    def _choose_size(self, fresh: int, is_sound: bool, in_order: bool) -> None:
        # Small pages if few ends are new; the largest ones to catch up.
        self._size = size_for(2 * fresh + _KNOWN_IN_A_ROW) if in_order and is_sound else SIZES[-1]
        if in_order or is_sound:
            self._skip = 0
        else:
            self._skip = self._skip - 1 if self._skip else _READS_UNTIL_WHOLE
