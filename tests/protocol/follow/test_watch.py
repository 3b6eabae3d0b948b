"""What all waits have in common."""

from __future__ import annotations

from typing import Any

import pytest
from windows import body, instance, page, wanted

from airflow_provider_enos.errors import (
    EnosAuthError,
    EnosError,
    EnosNotFoundError,
    EnosPollLostError,
    EnosTransportError,
)
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.follow.window_wait import WindowWatch
from airflow_provider_enos.protocol.models import FlowInstance

ID = "3377-20200706062600"
LOST = EnosTransportError("read timed out", sent=True)
WRONG_KEY = EnosAuthError(401, "no", operation="Get Flow Instance", http_status=401)
OVER, RUNS = (FlowInstance.parse({"instanceId": ID, "flowId": 3377, "status": one}) for one in ("SUCCESS", "RUNNING"))
GONE = EnosNotFoundError(0, "it is not there", operation="Get Flow", http_status=200)


@pytest.mark.parametrize(
    ("answer", "error", "expected"),
    [
        (OVER, WRONG_KEY, OVER),
        (OVER, LOST, OVER),
        (RUNS, WRONG_KEY, EnosPollLostError),
        (RUNS, LOST, EnosTransportError),
        (LOST, WRONG_KEY, EnosPollLostError),
        (WRONG_KEY, LOST, EnosTransportError),
        (GONE, LOST, EnosTransportError),
    ],
)
def test_an_error_of_a_trigger_counts_only_after_another_look(
    log: Any, play: Any, clock: Any, answer: Any, error: EnosError, expected: Any
) -> None:
    played = play(InstanceWatch(ID, tolerance=600, log=log).recheck(error, clock=clock), [answer])
    assert played.result == expected or isinstance(played.error, expected)
    assert any("without success" in line for line in log.lines) is isinstance(answer, EnosError)


@pytest.mark.parametrize(("seconds", "pages"), [(1, None), (3, 4)])
def test_a_look_before_deferral_has_10_seconds(
    play: Any, clock: Any, log: Any, seconds: int, pages: int | None
) -> None:
    """A list of eight pages that come in time, or do not."""

    def answer(call: Any) -> Any:
        number = body(call)["pagination"]["pageNo"]
        clock.now += seconds
        return page(*(instance(f"3377-{number}x{index}") for index in range(50 if number < 8 else 1)))

    watch = WindowWatch(wanted(), tolerance=600, log=log)
    played = play(watch.look_before_deferral(clock=clock), answer)
    assert (played.value is None, len(played.sent)) == (pages is not None, pages or len(played.sent))


def test_a_look_before_deferral_ends_with_the_deadline(play: Any, clock: Any, log: Any) -> None:
    watch = InstanceWatch(ID, tolerance=600, log=log)
    (call,) = play(watch.look_before_deferral(clock=clock, deadline=clock.now + 3), [RUNS]).sent
    assert call.deadline == clock.now + 3


@pytest.mark.parametrize(("error", "tolerated"), [(LOST, True), (WRONG_KEY, False)])
def test_a_refusal_is_raised_where_the_caller_reads_the_connection_itself(
    play: Any, clock: Any, log: Any, error: EnosError, tolerated: bool
) -> None:
    watch = InstanceWatch(ID, tolerance=600, log=log)
    assert play(watch.look(clock=clock), [error]).value is None
    played = play(watch.look(clock=clock, raises_refusals=True), [error])
    assert (played.result, type(played.error)) == (None, type(None) if tolerated else EnosAuthError)


def test_until_replaces_the_end_of_the_wait(play: Any, clock: Any, log: Any) -> None:
    watch = InstanceWatch(ID, tolerance=600, log=log)
    pace = {"poll_interval": 30.0, "deadline": clock.now + 1000, "clock": clock}
    assert play(watch.wait(**pace), [RUNS, OVER], clock).value is OVER
    assert play(watch.wait(**pace, until=lambda instance: True), [RUNS], clock).value is RUNS
    assert play(watch.recheck(LOST, clock=clock, until=lambda instance: True), [RUNS]).value is RUNS
