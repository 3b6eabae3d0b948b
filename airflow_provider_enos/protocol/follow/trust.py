"""How far to trust a source that may be wrong."""

from __future__ import annotations

_MOST_NEEDED = 256


class Trust:
    """A ``level`` between 1 (no trust) and ``most``. It grows with each confirmation; one failure resets it to 1.

    After each failure it takes four times as many confirmations to grow, so that a source which is sometimes wrong
    stays near 1. Each time the level reaches ``most`` again, it takes half as many.
    """

    __slots__ = ("_most", "_needed", "level")

    def __init__(self, most: float, start: float = 1.0) -> None:
        self.level = start
        self._most = most
        self._needed = 1

    def confirm(self, times: int = 1) -> None:
        """Note that the source was right this many times."""
        if times <= 0 or self.level >= self._most:
            return
        self.level = min(self.level + times / self._needed, self._most)
        if self.level >= self._most:
            self._needed = max(self._needed // 2, 1)

    def fail(self) -> None:
        """Note that the source was wrong."""
        self.level = 1.0
        self._needed = min(self._needed * 4, _MOST_NEEDED)
