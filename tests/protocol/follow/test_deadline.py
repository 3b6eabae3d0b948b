"""The deadline of a wait holds inside a poll."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_enos.errors import EnosFlowTimeoutError, EnosTransportError
from airflow_provider_enos.protocol.follow.deadline import LAST_LOOK, within
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure, Sleep

LOST = EnosTransportError("read timed out", sent=True)
LATE = EnosFlowTimeoutError("late", flow_instance_id="3377-1", status="RUNNING")


def pages(number: int) -> Procedure[int]:
    for _ in range(number):
        try:
            yield calls.get_flow_instance("3377-1")
        except EnosTransportError:
            continue
    return number


def ticking(clock: Any, seconds: float, answer: Any = None) -> Callable[[Any], Any]:
    """Answers that take this many seconds."""

    def give(step: Any) -> Any:
        clock.now += seconds
        return answer

    return give


def bounded(clock: Any, seconds: float, steps: Procedure[Any]) -> Procedure[Any]:
    return within(clock.now + seconds, steps, clock=clock, late=lambda: LATE)


def test_steps_that_end_in_time_are_not_changed(play: Any, clock: Any) -> None:
    played = play(bounded(clock, 100, pages(3)), ticking(clock, 10), clock)
    assert played.value == 3
    assert [call.deadline for call in played.sent] == [1_600_000_100.0] * 3


@pytest.mark.parametrize("answer", [None, LOST])
def test_no_step_is_begun_after_the_deadline(play: Any, clock: Any, answer: Any) -> None:
    played = play(bounded(clock, 25, pages(1_000)), ticking(clock, 10, answer), clock)
    assert played.error is LATE
    assert len(played.steps) == 3


def test_a_result_that_comes_late_counts(play: Any, clock: Any) -> None:
    assert play(bounded(clock, 5, pages(1)), ticking(clock, 10), clock).value == 1


@pytest.mark.parametrize("left", [0.0, -1000.0])
def test_the_last_look_has_a_few_seconds(play: Any, clock: Any, left: float) -> None:
    assert play(bounded(clock, left, pages(4)), ticking(clock, 1), clock).value == 4
    played = play(bounded(clock, left, pages(1_000)), ticking(clock, 1), clock)
    assert played.error is LATE
    assert len(played.steps) == LAST_LOOK


def test_a_pause_ends_with_it(play: Any, clock: Any) -> None:
    def pause() -> Procedure[None]:
        yield Sleep(3)
        yield Sleep(3600)

    assert play(bounded(clock, 10, pause()), [], clock).pauses == [3, 7]


def test_steps_that_are_given_up_are_closed(clock: Any) -> None:
    closed = []

    def steps() -> Procedure[None]:
        try:
            yield Sleep(1)
        finally:
            closed.append(True)

    outer = bounded(clock, 10, steps())
    next(outer)
    outer.close()
    assert closed == [True]
