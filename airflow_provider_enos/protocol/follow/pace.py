"""Compute the pauses between polls. All times are in seconds."""

from __future__ import annotations

SHORTEST = 2.0
"""The shortest pause of a wait, and of the feed."""
_PART_OF_AGE = 3
_POLLS_A_REQUEST = 40
"""The feed may cost one request for this many single polls that it replaces."""
_FEWEST_POLLS_A_REQUEST = 5
"""An expensive feed may cost one request for this many, so that it is read once in each ``poll_interval``."""


def look_pause(age: float, poll_interval: float, waits: int) -> float:
    """Return the pause of a wait that is polled singly: a third of its age, at least 2 s, at most ``poll_interval``.

    That is for few waits. With many ``waits`` for one gateway the shortest pause grows, up to half of
    ``poll_interval``. So together they get at most twice as many polls as with ``poll_interval`` alone.
    """
    shortest = min(poll_interval / 2, waits / 2)
    return min(poll_interval, max(SHORTEST, shortest, age / _PART_OF_AGE))


def feed_pause(requests: int, looks_a_second: float, poll_interval: float) -> float:
    """Return the pause of a feed whose last read took this many ``requests``, and that replaces these single polls.

    The feed costs at most a fortieth of them. It is read at least every ``poll_interval``, unless it would then cost
    more than a fifth of them.
    """
    longest = max(poll_interval, _FEWEST_POLLS_A_REQUEST * requests / looks_a_second)
    return max(SHORTEST, min(_POLLS_A_REQUEST * requests / looks_a_second, longest))
