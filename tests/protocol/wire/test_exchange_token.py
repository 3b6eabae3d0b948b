"""The access token and the gateway's clock, as a call needs them."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest
from by_hand import answer
from exchanges import (
    ACCESS_KEY,
    BUSY,
    GARBAGE,
    GET,
    INSTANCE,
    LOST,
    QUOTA,
    SECRET_KEY,
    SHORT_TOKEN,
    STARTED,
    TENANT,
    TOKEN,
    TRIGGER,
    TRIGGERED,
    UNAUTHORIZED,
    UNSENT,
    reply,
    steps_of,
    timestamp_of,
    token,
    token_refused,
)

from airflow_provider_enos.errors import (
    EnosAuthError,
    EnosError,
    EnosTokenError,
)
from airflow_provider_enos.protocol.wire import calls, signing
from airflow_provider_enos.protocol.wire.exchange import AT_ONCE, Gateway
from airflow_provider_enos.protocol.wire.messages import Response, Sleep

# The token's life


def test_token_is_fetched_once(run: Any) -> None:
    assert steps_of(run([token(), INSTANCE]).sent) == ["get", f"call {TOKEN}"]
    assert steps_of(run([INSTANCE]).sent) == [f"call {TOKEN}"]
    assert run([INSTANCE]).value.flow_instance_id == STARTED


@pytest.mark.parametrize(("expire", "ahead"), [(7200, 600), (6000, 600), (1000, 100), (100, 10)])
def test_token_is_renewed_ahead_of_its_end(run: Any, clock: Any, expire: int, ahead: int) -> None:
    """Ten minutes, or a tenth of a short life."""
    run([token(expire=expire), INSTANCE])
    clock.now += expire - ahead - 1
    assert steps_of(run([INSTANCE]).sent) == [f"call {TOKEN}"]
    clock.now += 1
    played = run([token("t2"), INSTANCE])
    assert steps_of(played.sent) == ["refresh", "call t2"]
    stamp = timestamp_of(played.sent[0])
    assert json.loads(played.sent[0].body) == {
        "appKey": ACCESS_KEY,
        "encryption": signing.token_digest(ACCESS_KEY, str(stamp), SECRET_KEY),
        "timestamp": stamp,
        "accessToken": TOKEN,
    }


def test_life_begins_anew_with_a_refresh(run: Any, clock: Any) -> None:
    run([token(expire=7200), INSTANCE])
    clock.now += 7000
    run([token("t2", 7200), INSTANCE])
    clock.now += 6500
    assert steps_of(run([INSTANCE]).sent) == ["call t2"]


def test_ended_token_is_fetched(run: Any, clock: Any, held: None) -> None:
    clock.now += 7200
    assert steps_of(run([token("t2"), INSTANCE]).sent) == ["get", "call t2"]


@pytest.mark.parametrize("code", [1203, 1204])
def test_token_that_cannot_be_refreshed_is_fetched(run: Any, clock: Any, held: None, code: int) -> None:
    clock.now += 7000
    played = run([token_refused(code), token("t2"), INSTANCE])
    assert steps_of(played.sent) == ["refresh", "get", "call t2"]


@pytest.mark.parametrize("passing", [LOST, UNSENT, BUSY, GARBAGE, QUOTA, token_refused(1005)])
def test_living_token_outlives_a_failing_refresh(run: Any, clock: Any, held: None, passing: Any) -> None:
    """It is used on, and renewed a part of the rest of its life later."""
    clock.now += 6800
    assert steps_of(run([passing, INSTANCE]).sent) == ["refresh", f"call {TOKEN}"]
    assert steps_of(run([INSTANCE]).sent) == [f"call {TOKEN}"]
    clock.now += 100
    assert steps_of(run([token("t2"), INSTANCE]).sent) == ["refresh", "call t2"]


def test_final_error_of_a_refresh_is_raised(run: Any, clock: Any, held: None) -> None:
    clock.now += 6800
    with pytest.raises(EnosAuthError, match="1002"):
        run([token_refused(1002)]).value  # noqa: B018


def test_life_written_with_a_point(run: Any, clock: Any) -> None:
    run([token(expire=7200.0), INSTANCE])
    clock.now += 6599
    assert steps_of(run([INSTANCE]).sent) == [f"call {TOKEN}"]


@pytest.mark.parametrize("expire", [0, -5, 1])
def test_short_lived_token_is_used(run: Any, expire: int) -> None:
    assert steps_of(run([token(expire=expire), INSTANCE]).sent) == ["get", f"call {TOKEN}"]


# A token that is not accepted


@pytest.mark.parametrize(
    "refusal", [reply(code=1203), reply(code=1203, status=401), UNAUTHORIZED, SHORT_TOKEN, reply(code=1003)]
)
@pytest.mark.parametrize("call", [GET, TRIGGER], ids=["get", "trigger"])
def test_renewed_once_and_signed_anew(run: Any, held: None, refusal: Response, call: Any) -> None:
    """Before a trigger is sent again, another call tells whether the token explains the refusal."""
    probe = [] if call is GET else [refusal]
    played = run([refusal, *probe, token("t2"), INSTANCE if call is GET else TRIGGERED], call)
    assert played.error is None
    assert steps_of(played.sent) == [*[f"call {TOKEN}"] * (1 + len(probe)), "get", "call t2"]
    stamps = [timestamp_of(request) for request in played.sent]
    assert stamps == sorted(set(stamps))
    assert played.sent[0].headers["apim-signature"] != played.sent[-1].headers["apim-signature"]
    assert played.pauses == []


@pytest.mark.parametrize(
    ("refusal", "cls"),
    [(reply(code=1203), EnosTokenError), (UNAUTHORIZED, EnosAuthError), (SHORT_TOKEN, EnosTokenError)],
)
def test_refused_again_surfaces(run: Any, held: None, refusal: Response, cls: type[EnosError]) -> None:
    played = run([refusal, token("t2"), refusal])
    assert type(played.error) is cls
    assert steps_of(played.sent) == [f"call {TOKEN}", "get", "call t2"]


def test_same_refused_token_is_refreshed(run: Any, held: None) -> None:
    """The token service still believes in it."""
    played = run([reply(code=1203), token(TOKEN), token("t2"), INSTANCE])
    assert steps_of(played.sent) == [f"call {TOKEN}", "get", "refresh", "call t2"]


def test_renewed_token_of_another_exchange_is_used(play: Any, run: Any, gateway: Gateway, held: None) -> None:
    """While the one waits for its refusal, the other has renewed already."""
    slow = gateway.exchange(GET, TENANT)
    next(slow)
    run([reply(code=1203), token("t2"), INSTANCE])
    again = answer(slow, reply(code=1203))
    assert steps_of([again]) == ["call t2"]
    slow.close()


# Several at once


def test_one_token_request_for_two(play: Any, gateway: Gateway, run: Any) -> None:
    first, second = gateway.exchange(GET, TENANT), gateway.exchange(GET, TENANT)
    assert steps_of([next(first)]) == ["get"]
    assert isinstance(next(second), Sleep)
    assert isinstance(second.send(None), Sleep)
    assert steps_of([answer(first, token())]) == [f"call {TOKEN}"]
    assert steps_of([second.send(None)]) == [f"call {TOKEN}"]
    first.close()
    second.close()


def test_at_once_waits_for_nobody(play: Any, gateway: Gateway) -> None:
    first, second = gateway.exchange(GET, TENANT), gateway.exchange(GET, TENANT, AT_ONCE)
    next(first)
    played = play(second, [token("t2"), INSTANCE])
    assert steps_of(played.sent) == ["get", "call t2"]
    assert played.pauses == []
    assert steps_of([answer(first, token("t3"))]) == ["call t3"]
    first.close()


def test_closed_exchange_lets_go_of_the_renewal(gateway: Gateway, run: Any) -> None:
    first, second = gateway.exchange(GET, TENANT), gateway.exchange(GET, TENANT)
    next(first)
    assert isinstance(next(second), Sleep)
    first.close()
    assert steps_of([second.send(None)]) == ["get"]
    second.close()
    assert run([token(), INSTANCE]).error is None


def test_failed_exchange_lets_go_of_the_renewal(run: Any) -> None:
    assert isinstance(run([token_refused(1002)]).error, EnosAuthError)
    assert steps_of(run([token(), INSTANCE]).sent) == ["get", f"call {TOKEN}"]


# The gateway's clock


@pytest.mark.parametrize("off", [-1800, -6, 6, 86_400])
def test_wrong_clock_is_corrected(run: Any, gateway: Gateway, clock: Any, held: None, off: int) -> None:
    date = formatdate(clock.now + off, usegmt=True)
    played = run([Response(401, {"date": date}, b""), INSTANCE])
    assert played.error is None
    assert steps_of(played.sent) == [f"call {TOKEN}", f"call {TOKEN}"]
    assert timestamp_of(played.sent[1]) == (clock.now + off) * 1000
    assert gateway.clock_offset == off


def test_wrong_clock_is_noticed_with_the_token(run: Any, clock: Any) -> None:
    """A refused token request is repeated too; and a wrong clock is tried once, not for ever."""
    date = formatdate(clock.now + 3600, usegmt=True)
    refused = Response(200, {"date": date}, b'{"status":1003,"msg":"no"}')
    played = run([refused, token(), INSTANCE])
    assert steps_of(played.sent) == ["get", "get", f"call {TOKEN}"]
    assert timestamp_of(played.sent[1]) == (clock.now + 3600) * 1000


def test_wrong_clock_is_tried_once(run: Any, clock: Any) -> None:
    date = formatdate(clock.now + 3600, usegmt=True)
    refused = Response(200, {"date": date}, b'{"status":1003,"msg":"no"}')
    played = run([refused, refused])
    assert isinstance(played.error, EnosAuthError)


@pytest.mark.parametrize("off", [-1800, 0, 1800])
def test_date_without_a_zone_is_utc(run: Any, gateway: Gateway, clock: Any, held: None, off: int) -> None:
    date = formatdate(clock.now + off)
    assert date.endswith("-0000")
    run([reply({"instanceId": "x", "status": 1}, date=date)])
    assert gateway.clock_offset == off


@pytest.mark.parametrize("off", [-5, 0, 5])
def test_small_difference_is_let_be(run: Any, gateway: Gateway, clock: Any, held: None, off: int) -> None:
    """The header's resolution is a second, and the way takes its time."""
    run([reply({"instanceId": "x", "status": 1}, date=formatdate(clock.now + off, usegmt=True))])
    assert gateway.clock_offset == 0


def test_mended_clock_is_noticed(run: Any, gateway: Gateway, clock: Any, held: None) -> None:
    good = {"instanceId": "x", "status": 1}
    run([reply(good, date=formatdate(clock.now + 60, usegmt=True))])
    assert gateway.clock_offset == 60
    run([reply(good, date=formatdate(clock.now, usegmt=True))])
    assert gateway.clock_offset == 0
    assert timestamp_of(run([INSTANCE]).sent[0]) == clock.now * 1000


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 99 Sep 2020 12:26:40 GMT", "Sun, 13 Sep 99999 12:26:40 GMT"])
def test_unreadable_date_is_passed_over(run: Any, gateway: Gateway, held: None, date: str) -> None:
    assert run([reply({"instanceId": "x", "status": 1}, date=date)]).error is None
    assert gateway.clock_offset == 0


# Only a token


def test_authentication_sends_nothing_but_for_the_token(run: Any, gateway: Gateway, clock: Any) -> None:
    """And learns the gateway's clock."""
    late = Response(200, {"date": "Sun, 13 Sep 2020 13:26:40 GMT"}, token().body)
    assert steps_of(run([late], calls.authenticate()).sent) == ["get"]
    assert gateway.now() == clock.now + 3600
    assert run([], calls.authenticate()).sent == []


def test_authentication_that_fails_was_not_sent(run: Any) -> None:
    assert not run([reply(code=1003)], calls.authenticate()).error.sent
