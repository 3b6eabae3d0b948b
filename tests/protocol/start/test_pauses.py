"""What a start waits through: the gateway is busy or away, and surely has not carried anything out."""

from __future__ import annotations

from typing import Any

import pytest
from starts import (
    CONFLICT,
    FIRST,
    FLOW,
    GONE,
    HERE,
    LOOK,
    LOST,
    NOWHERE,
    TARGET,
    THE_FLOW,
    TIME,
    TRIGGER,
    UNSENT,
    ZONE,
    ZONE_CALL,
    Kept,
    instance,
    name,
    never_sent,
    refusal,
    retry,
    started_id,
    stored,
    times_of,
)

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosAuthError,
    EnosConfigError,
    EnosError,
    EnosRateLimitError,
    EnosReplyError,
    EnosRequestError,
    EnosServerError,
    EnosTransportError,
    EnosTriggerConflictError,
    EnosTriggerUncertainError,
)
from airflow_provider_enos.protocol.start.attempts import Attempt
from airflow_provider_enos.protocol.trigger_time import MINUTE
from airflow_provider_enos.protocol.wire.messages import Call, Sleep

BUSY = refusal(EnosRateLimitError, 429)
PASSING = [
    UNSENT,
    BUSY,
    never_sent(refusal(EnosServerError, 503)),
    never_sent(refusal(EnosRateLimitError, 429)),
    never_sent(EnosReplyError("garbage")),
]
FINAL = [
    EnosTransportError("not trusted", sent=False, tls=True),
    never_sent(refusal(EnosAuthError, 1003)),
    never_sent(refusal(EnosRequestError, 404)),
    refusal(EnosAuthError, 401),
    refusal(EnosAccessError, 62103),
    refusal(EnosRequestError, 62104),
]


def after(seconds: float) -> EnosError:
    """The gateway is busy and says for how long."""
    error = EnosRateLimitError(429, "slow down", operation="x", http_status=429)
    error.retry_after = seconds
    return error


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_was_surely_not_carried_out_is_sent_again(run: Any, log: Any, records: Any, error: EnosError) -> None:
    played = run([error, error, error, name(0)], tolerance=600)
    assert played.value == name(0)
    assert played.pauses == [1, 2, 4]
    assert times_of(played) == [TIME] * 4
    assert [record.refused for record in records] == [False, True] * 3 + [False, False]
    assert sum("EnOS cannot be asked at the moment, will go on trying for 600 s" in line for line in log.lines) == 1


def test_pauses_grow_to_half_a_minute(run: Any) -> None:
    assert run([BUSY] * 8 + [name(0)], tolerance=600).pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_gateway_says_how_long(run: Any) -> None:
    """Also longer than we would have waited."""
    assert run([after(45), after(0), after(300), name(0)], tolerance=600).pauses == [45, 1, 300]


@pytest.mark.parametrize(
    ("tolerance", "patience", "pauses"),
    [(0, 3600, []), (0.5, 3600, []), (10, 3600, [1, 2, 4]), (600, 8, [1, 2, 4])],
    ids=["none", "less than a pause", "tolerance", "deadline"],
)
def test_patience_ends(run: Any, tolerance: float, patience: float, pauses: list[float]) -> None:
    played = run(lambda call: BUSY, tolerance=tolerance, patience=patience)
    assert isinstance(played.error, EnosRateLimitError)
    assert played.pauses == pauses


def test_gateway_that_wants_more_than_is_tolerated(run: Any) -> None:
    played = run([after(601)], tolerance=600)
    assert isinstance(played.error, EnosRateLimitError)
    assert played.pauses == []


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_what_waiting_cannot_help_is_told_at_once(run: Any, error: EnosError) -> None:
    played = run([error], tolerance=600)
    assert str(played.error) == str(error)
    assert played.pauses == []


def test_token_that_cannot_be_had_is_waited_for_and_nothing_is_recorded(clock: Any, log: Any, records: Any) -> None:
    """The request was not sent: no retry is to look for what came of it."""
    options = {"on_conflict": "fail", "tolerance": 600, "deadline": clock.now + 3600, "origin": HERE}
    steps = started_id(TARGET, Attempt(TIME), Kept(records), log, clock=clock, gateway_clock=clock, **options)
    step = next(steps)
    for pause in (1, 2, 4):
        assert step.token_only
        assert steps.throw(never_sent(refusal(EnosServerError, 503))) == Sleep(pause)
        step = steps.send(None)
    assert records == []
    assert steps.send(None).operation == TRIGGER
    assert len(records) == 1


def test_looks_of_a_retry_are_waited_for(run: Any) -> None:
    played = run([UNSENT, BUSY, instance(0)], tolerance=600, **retry())
    assert played.value == name(0)
    assert played.operations == [LOOK, 1.0, LOOK, 2.0, LOOK]
    played = run([UNSENT, *NOWHERE, BUSY, name(0)], tolerance=600, **stored())
    assert played.value == name(0)


def test_zone_is_waited_for(run: Any) -> None:
    played = run([CONFLICT, THE_FLOW, instance(0), refusal(EnosServerError, 503), ZONE, name(1)], tolerance=600)
    assert played.operations == [TRIGGER, FLOW, LOOK, ZONE_CALL, 1.0, ZONE_CALL, TRIGGER]
    assert times_of(played) == [TIME, FIRST + MINUTE]


def test_each_outage_has_the_whole_tolerance(run: Any) -> None:
    """What is answered in between ends one."""
    outage = [UNSENT] * 3
    played = run([*outage, CONFLICT, THE_FLOW, *outage, instance(0), ZONE, *outage, name(1)], tolerance=8)
    assert played.value == name(1)


def test_lost_request_is_looked_for_through_an_outage(run: Any) -> None:
    """The gateway went away with the reply: giving up after seconds would leave an instance that nobody follows."""
    played = run([LOST, *[UNSENT] * 9, instance(0)], tolerance=600)
    assert played.value == name(0)
    assert sum(played.pauses) > 120


def test_lost_request_is_not_looked_for_without_end(run: Any) -> None:
    def answer(call: Call[Any]) -> Any:
        return LOST if call.operation == TRIGGER else UNSENT

    played = run(answer, tolerance=600)
    assert isinstance(played.error, EnosTriggerUncertainError)
    assert 500 < sum(played.pauses) < 700


def test_try_that_was_superseded_while_it_waited_sends_nothing(run: Any) -> None:
    """Its next request would be beside that of the next try."""
    seen: list[int] = []

    class Superseded:
        def __bool__(self) -> bool:
            seen.append(1)
            return len(seen) > 1

    played = run([BUSY], tolerance=600, superseded=Superseded())
    assert isinstance(played.error, EnosTriggerConflictError)
    assert (played.pauses, len(times_of(played))) == ([1], 1)


def test_configuration_is_not_waited_for(run: Any) -> None:
    error = never_sent(EnosConfigError("verify", "no such file", accepted="a file"))
    assert isinstance(run([error], tolerance=600).error, EnosConfigError)
    assert isinstance(run([GONE], tolerance=600, first_index=1).error, EnosRequestError)
