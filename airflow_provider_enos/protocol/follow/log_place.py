"""How far a log that grows has been shown.

EnOS gives a log whole, up to as many characters as are asked for, and does not say which end it keeps of a longer one.
So a reader remembers a place in the log, and finds it again in the next reply by the characters in front of it: at the
same offset if the beginning is kept, and further ahead if the end is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

_REACH = 256
"""Characters by which a place in a log is found again."""
_MOST_PLACES = 20_000
"""Lines that are searched for a place at most, which bounds the cost of a poll."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a log. Two small numbers, since it is stored in Airflow's database."""

    offset: int = 0
    mark: int = 0
    """A checksum of the characters in front of the offset."""

    def find(self, text: str) -> int | None:
        """Return the offset of the place in ``text``, the log as it is now; None if it is not found."""
        if self._is_at(text, self.offset):
            return self.offset
        at = len(text)
        for _ in range(_MOST_PLACES):
            at = text.rfind("\n", 0, at)
            if at < 0:
                break
            if self._is_at(text, at + 1):
                return at + 1
        return None

    def _is_at(self, text: str, offset: int) -> bool:
        reach = min(self.offset, _REACH)
        return reach <= offset <= len(text) and _checksum(text, offset, reach) == self.mark


class Piece(NamedTuple):
    """What follows a place in a log."""

    lines: list[str]
    place: Place
    """The place behind these lines."""
    is_gap: bool
    """Whether the place before them was not found: the log was begun anew, or a part of it is missing."""


def advance(place: Place, text: str, *, final: bool) -> Piece:
    """Return the lines of a log that follow ``place``.

    :param text: the log as it is now.
    :param final: whether the log does not grow any more. Otherwise its last line may go on, and is left for later.
    """
    start = place.find(text)
    end = len(text) if final else text.rfind("\n") + 1
    lines = text[start or 0 : end].splitlines()
    if not lines:
        return Piece([], place, is_gap=False)
    return Piece(lines, Place(end, _checksum(text, end, _REACH)), is_gap=start is None)


def _checksum(text: str, offset: int, reach: int) -> int:
    return crc32(text[max(offset - reach, 0) : offset].encode(errors="replace"))
