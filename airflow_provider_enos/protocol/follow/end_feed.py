"""What the list of ends tells: which instances of one type have ended, the newest end first.

One page tells all ends since the last read, whoever else is in the tenant: reading goes on only until it comes to what
was known. Nothing of this is taken for granted. Each read says whether its silence means anything: whether what it
does not show can be taken not to have ended.

Times are compared with each other as texts, and only to see whether the gateway has sorted them: their zone is not
documented.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from airflow_provider_enos.protocol.follow.listing import SIZES, ListStyle, PageReader, size_for
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.models import FlowInstance, FlowInstancePage, FlowStatus
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Call, Procedure

ENDED = tuple(status for status in FlowStatus if status.ended)
_OVERLAP = 5
"""Behind so many known ends in a row there are no new ones, also where some come a little out of order."""
_REMEMBERED = 4000
"""Ends that are remembered. A list without order that is longer is not read to its end."""
_TRY_AGAIN = 20
"""How many reads later a list without order that was too long is read again."""
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}.\d{2}:\d{2}:\d{2}")

Mark = tuple[str, str | None]
"""Tells two ends of one instance apart: status and end time."""


def mark_of(instance: FlowInstance) -> Mark:
    """Return what tells this end from another one of the same instance."""
    return instance.status.name, instance.end_time


def is_newest_first(instances: Iterable[FlowInstance]) -> bool:
    """Return whether the end times of these do not rise. Most of them must have one that can be read."""
    texts = [one.end_time or "" for one in instances]
    # To the second: fractions are written by some releases only.
    times = [text[:19] for text in texts if _TIME.match(text)]
    return 2 * len(times) >= len(texts) and all(newer >= older for newer, older in pairwise(times))


@dataclass(frozen=True, slots=True)
class Reading:
    """What one read of the list has shown."""

    shown: tuple[FlowInstance, ...]
    """All that it was shown, ended or not."""
    new: tuple[FlowInstance, ...]
    """The ends that no read before has shown."""
    is_sound: bool
    """Whether what it has not shown can be taken not to have ended."""
    confirmations: int
    """How many ends have come as they should: on top of those that were known."""
    requests: int


class EndFeed:
    """The list of ends of one type, and which of them are known."""

    def __init__(self, type: int, style: ListStyle) -> None:
        self._type = type
        self._style = style
        self._known: dict[str, Mark] = {}
        self._connected: set[str] = set()
        """Of the known ends those that no gap separates from the ones before them."""
        self._is_first = True
        self._size = SIZES[1]
        self._skip = 0

    def mark(self, flow_instance_id: str) -> Mark | None:
        """Return the end that was last shown of this instance; None where none was."""
        return self._known.get(flow_instance_id)

    def read(self, window: Window, most_pages: int) -> Procedure[Reading]:
        """Read the ends of what has a trigger time in ``window``, until nothing is new or ``most_pages`` are read."""

        def ask(page_no: int, size: int, sort_by: str | None) -> Call[FlowInstancePage]:
            return calls.list_flow_instances(
                nodes=False,
                type=self._type,
                from_trigger_time=window.first,
                to_trigger_time=window.end,
                page_no=page_no,
                page_size=size,
                status=ENDED,
                sort_by=sort_by,
                newest_first=True,
            )

        pages = PageReader(self._style, ask, self._size)
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
        """Return behind how many ends those begin that were known; None where they have not come yet."""
        if self._is_first:
            # They begin with what the first page of all has.
            return 0 if ends else None
        in_a_row = 0
        for position, one in enumerate(ends, 1):
            in_a_row = in_a_row + 1 if self._knows(one) and one.flow_instance_id in self._connected else 0
            if in_a_row == _OVERLAP:
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
        # The oldest first, to be forgotten first. Of two ends of one instance the newer stays.
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
        # As small as will do, since most of a page is known already; as large as can be to catch up.
        self._size = size_for(2 * fresh + _OVERLAP) if in_order and is_sound else SIZES[-1]
        if in_order or is_sound:
            self._skip = 0
        else:
            self._skip = self._skip - 1 if self._skip else _TRY_AGAIN
