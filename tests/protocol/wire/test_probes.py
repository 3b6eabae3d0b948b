"""A gateway that shows what came back."""

from __future__ import annotations

from typing import Any

import pytest
from exchanges import (
    ACCESS_KEY,
    BAD_GATEWAY,
    BASE,
    GARBAGE,
    GET,
    INSTANCE,
    LOST,
    QUOTA,
    SECRET_KEY,
    TENANT,
    TOKEN,
    TRIGGER,
    UNAUTHORIZED,
    reply,
    steps_of,
    token,
    token_refused,
)

from airflow_provider_enos.errors import EnosAuthError, EnosRateLimitError, EnosTokenError, EnosTransportError
from airflow_provider_enos.protocol.wire.probes import ProbingGateway, Seen

NEW = "t0ken-of-ours-2"


@pytest.fixture
def gateway(clock: Any) -> ProbingGateway:
    return ProbingGateway(BASE, ACCESS_KEY, SECRET_KEY, clock=clock, jitter=lambda: 1.0)


def test_a_reply_is_shown_as_it_came(gateway: ProbingGateway, play: Any, clock: Any) -> None:
    seen = play(gateway.ask(GET, TENANT), [token(), INSTANCE], clock).result
    assert (seen.code, seen.accepted, seen.refused, seen.problem) == (0, True, False, "")
    assert seen.data == {"instanceId": "3377-20200706062600", "status": 1}
    assert seen.envelope["requestId"] == "r"


@pytest.mark.parametrize(
    ("answer", "code", "refused", "sent"),
    [
        (reply(code=62102), 62102, True, 1),
        (reply(code=62102, status=400), 62102, True, 1),
        (reply(code=62109), 62109, False, 4),
        (reply(), 0, False, 1),
        (reply(data=[]), 0, False, 1),
    ],
)
def test_a_refusal_is_no_error(
    answer: Any, code: int, refused: bool, sent: int, gateway: ProbingGateway, play: Any, clock: Any
) -> None:
    seen = play(gateway.ask(GET, TENANT), [token(), *[answer] * sent], clock).result
    assert (seen.code, seen.refused, seen.http_status) == (code, refused, answer.status)
    assert seen.problem


@pytest.mark.parametrize("answer", [BAD_GATEWAY, GARBAGE])
def test_a_fault_is_not_taken_for_a_refusal(answer: Any, gateway: ProbingGateway, play: Any, clock: Any) -> None:
    seen = play(gateway.ask(GET, TENANT), [token(), answer, answer, answer, answer], clock).result
    assert (seen.code, seen.refused, seen.accepted, seen.data) == (None, False, False, None)


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([token(), LOST, LOST, LOST, LOST], EnosTransportError),
        ([token(), QUOTA, QUOTA, QUOTA, QUOTA], EnosRateLimitError),
        ([token(), UNAUTHORIZED, token(NEW), UNAUTHORIZED], EnosAuthError),
    ],
)
def test_what_ends_a_survey(answers: Any, error: Any, gateway: ProbingGateway, play: Any, clock: Any) -> None:
    assert type(play(gateway.ask(GET, TENANT), answers, clock).error) is error


def test_a_trigger_is_sent_once(gateway: ProbingGateway, play: Any, clock: Any) -> None:
    played = play(gateway.ask(TRIGGER, TENANT), [token(), LOST], clock)
    assert isinstance(played.error, EnosTransportError)
    assert len(played.sent) == 2


def test_the_same_request_twice(gateway: ProbingGateway, play: Any, clock: Any) -> None:
    played = play(gateway.ask_twice(GET, TENANT), [token(), INSTANCE, UNAUTHORIZED], clock)
    assert played.sent[1] == played.sent[2]
    first, second = played.result
    assert (first.accepted, second.accepted, second.http_status) == (True, False, 401)


def test_a_refresh(gateway: ProbingGateway, play: Any, clock: Any) -> None:
    played = play(gateway.refresh(TENANT), [token(), token(NEW), reply(code=1203), reply(1)], clock)
    assert steps_of(played.sent) == ["get", "refresh", f"call {TOKEN}", f"call {NEW}"]
    assert (played.result.changed, played.result.old.code, played.result.new.accepted) == (True, 1203, True)


def test_a_refresh_that_is_refused_tells_nothing(gateway: ProbingGateway, play: Any, clock: Any) -> None:
    played = play(gateway.refresh(TENANT), [token(), token_refused(1204)], clock)
    assert isinstance(played.error, EnosTokenError)


def test_a_reply_keeps_its_secrets() -> None:
    assert TOKEN not in repr(Seen(200, {"data": {"accessToken": TOKEN}}))
