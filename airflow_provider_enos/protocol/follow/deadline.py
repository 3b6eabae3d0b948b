"""Hold the deadline of a wait also inside a poll: in its pages, logs and repeated calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.wire.messages import Call, Procedure, Sleep, T

LAST_LOOK = 5.0
"""Seconds that a poll may take which begins at the deadline: the last one."""


def within(
    deadline: float, steps: Procedure[T], *, clock: Callable[[], float], late: Callable[[], EnosError]
) -> Procedure[T]:
    """Carry out ``steps`` until the ``deadline``. Then begin no other step, and raise ``late()``.

    The first step is always taken, since a wait polls once more when its time is over. Steps that begin after the
    deadline have ``LAST_LOOK`` seconds.

    :param deadline: epoch seconds.
    """
    now = clock()
    end = deadline if now < deadline else now + LAST_LOOK
    try:
        step = next(steps)
        while True:
            try:
                result = yield _ending(step, end, clock)
            except EnosError as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
            if clock() >= end:
                raise late()
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    finally:
        steps.close()


def _ending(step: Call[Any] | Sleep, end: float, clock: Callable[[], float]) -> Call[Any] | Sleep:
    if isinstance(step, Call):
        return replace(step, deadline=end)
    return Sleep(min(step.seconds, max(end - clock(), 0.0)))
