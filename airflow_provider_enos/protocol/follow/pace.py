"""How long to pause between two looks: pure arithmetic, all times in seconds."""

from __future__ import annotations

SHORTEST = 2.0
"""No wait is looked at, and no feed is read, more often than this."""
_PART_OF_AGE = 3
_WORTH = 40
"""A feed may cost this part of the single looks that it replaces."""
_BEARABLE = 5
"""A feed that has become expensive may cost this part of them for a while, rather than be older than a look."""


def look_pause(age: float, poll_interval: float, waits: int) -> float:
    """Return the pause of a wait that is looked at singly: a third of its age, at least 2 s, at most ``poll_interval``.

    That is for few. With ``waits`` of them on one gateway the shortest pause grows, up to half of ``poll_interval``: so
    together they get at most twice the looks that ``poll_interval`` alone would give them.
    """
    shortest = min(poll_interval / 2, waits / 2)
    return min(poll_interval, max(SHORTEST, shortest, age / _PART_OF_AGE))


def feed_pause(requests: int, looks_a_second: float, poll_interval: float) -> float:
    """Return the pause of a feed whose last read took so many ``requests``, in place of so many single looks a second.

    It is asked as often as a fortieth of their cost allows, and no less often than a single look comes unless it would
    then cost more than a fifth of them.
    """
    longest = max(poll_interval, _BEARABLE * requests / looks_a_second)
    return max(SHORTEST, min(_WORTH * requests / looks_a_second, longest))
