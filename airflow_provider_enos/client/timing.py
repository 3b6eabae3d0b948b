"""How long this package pauses. Tests make the pauses short with ``override``::

with timing.override(pause=timing.at_most(0.01)):
    ...
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

_JITTERED_FROM = 5.0
"""Seconds. Shorter pauses between polls are kept as they are."""


def _jittered(seconds: float) -> float:
    """Shorten a long pause by up to 5 %, so that waits that began together do not all poll at the same moment."""
    return seconds * random.uniform(0.95, 1.0) if seconds >= _JITTERED_FROM else seconds


def _as_asked(seconds: float) -> float:
    return seconds


@dataclass(frozen=True)
class Timing:
    """What ``override`` can change. The defaults are those of production."""

    pause: Callable[[float], float] = _as_asked
    """Turns the seconds that a retry or a wait asks for into the seconds that the client sleeps."""
    poll_pause: Callable[[float], float] = _jittered
    """Turns the seconds that the wait's pace gives into the seconds to the next poll, in the triggerer."""
    handover: float = 6.0
    """Seconds that the process of a worker may need to end after it has deferred its task."""


current = Timing()


@contextmanager
def override(
    *,
    pause: Callable[[float], float] | None = None,
    poll_pause: Callable[[float], float] | None = None,
    handover: float | None = None,
) -> Iterator[None]:
    """Pause for other times while the block runs, in all threads of this process.

    See ``Timing`` for the arguments. What is None stays as it is, so overrides can be nested.
    """
    global current
    before = current
    given = {"pause": pause, "poll_pause": poll_pause, "handover": handover}
    current = replace(before, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    try:
        yield
    finally:
        current = before


def at_most(longest: float) -> Callable[[float], float]:
    """Return what shortens each pause to ``longest`` seconds."""
    return lambda seconds: min(seconds, longest)


def pause(seconds: float) -> float:
    """Return how many seconds to sleep where a retry or a wait asks for ``seconds``."""
    return current.pause(seconds)


def poll_pause(seconds: float) -> float:
    """Return how many seconds to let pass before the next poll."""
    return current.poll_pause(seconds)


def handover() -> float:
    """Return how many seconds a worker's process may need to end after it has deferred its task."""
    return current.handover
