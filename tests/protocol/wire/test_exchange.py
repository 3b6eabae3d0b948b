"""One call from beginning to end: token, signature, renewal, repetition."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from by_hand import answer
from hypothesis import given, strategies as st

from airflow_provider_enos import __version__
from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosAuthError,
    EnosError,
    EnosNotFoundError,
    EnosRateLimitError,
    EnosReplyError,
    EnosRequestError,
    EnosServerError,
    EnosTokenError,
    EnosTransportError,
)
from airflow_provider_enos.protocol.wire import calls, signing
from airflow_provider_enos.protocol.wire.exchange import AT_ONCE, DEFAULT_RETRY, Gateway, Retry, Tenant
from airflow_provider_enos.protocol.wire.messages import Request, Response, Sleep

BASE = "https://gw.example:9443/prefix"
ACCESS_KEY, SECRET_KEY, TOKEN = "access-key", "s3cr3t-key-of-ours", "t0ken-of-ours-1"
TENANT = Tenant("o1", "u1")
GET = calls.get_flow_instance("3377-20200706062600")
TRIGGER = calls.trigger_flow_from_task(3377, 108580, 1594016819108)
STARTED = "3377-20200706062600"


def reply(data: object = None, code: int = 0, status: int = 200, **headers: str) -> Response:
    body = {"code": code, "msg": "said so", "requestId": "r", "data": data}
    return Response(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode()
    )


def token(value: str = TOKEN, expire: float = 7200) -> Response:
    body = {"status": 0, "msg": "SUCCESS", "data": {"accessToken": value, "expire": expire}}
    return Response(200, {}, json.dumps(body).encode())


def token_refused(code: int) -> Response:
    return Response(200, {}, json.dumps({"status": code, "msg": "said so"}).encode())


INSTANCE = reply({"instanceId": STARTED, "status": 1})
TRIGGERED = reply({"flowInstanceId": STARTED})
LOST = EnosTransportError("read timed out", sent=True)
UNSENT = EnosTransportError("connection refused", sent=False)
TLS = EnosTransportError("certificate verify failed", sent=False, tls=True)
BUSY = reply(code=0, status=503)
BAD_GATEWAY = Response(502, {}, b"<html>")
QUOTA = Response(429, {}, b'{"message":"API rate limit exceeded"}')
GARBAGE = Response(200, {}, b"<html>")
REPEATED = reply(code=1001)
UNAUTHORIZED = Response(401, {}, b'{"message":"Invalid authentication credentials"}')
SHORT_TOKEN = Response(200, {}, b'{"apim_status":4011,"apim_refreshtoken":"x"}')


def asks_for_token(request: Request) -> bool:
    return "/apim-token-service/" in request.url


def steps_of(requests: list[Request]) -> list[str]:
    """``get``, ``refresh``, or ``call`` with its token."""
    return [
        request.url.rpartition("/")[2] if asks_for_token(request) else f"call {request.headers['apim-accesstoken']}"
        for request in requests
    ]


def timestamp_of(request: Request) -> int:
    if asks_for_token(request):
        return int(json.loads(request.body or b"")["timestamp"])
    return int(request.headers["apim-timestamp"])


@pytest.fixture
def gateway(clock: Any) -> Gateway:
    return Gateway(BASE, ACCESS_KEY, SECRET_KEY, clock=clock, jitter=lambda: 1.0)


@pytest.fixture
def run(play: Any, gateway: Gateway, clock: Any) -> Callable[..., Any]:
    """Plays one exchange on the gateway."""

    def run(answers: Any, call: Any = GET, retry: Retry = DEFAULT_RETRY) -> Any:
        return play(gateway.exchange(call, TENANT, retry), answers, clock)

    return run


@pytest.fixture
def held(run: Any) -> None:
    """The gateway has its token."""
    run([token(), INSTANCE])


# Bytes


def test_token_request_to_the_byte(run: Any) -> None:
    request = run([token(), INSTANCE]).sent[0]
    assert (request.method, request.url) == ("POST", f"{BASE}/apim-token-service/v2.0/token/get")
    digest = signing.token_digest(ACCESS_KEY, "1600000000000", SECRET_KEY)
    assert request.body == f'{{"appKey":"access-key","encryption":"{digest}","timestamp":1600000000000}}'.encode()
    assert request.headers == {
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": f"airflow-provider-enos/{__version__}",
        "Content-Type": "application/json;charset=UTF-8",
    }


def test_call_to_the_byte(run: Any) -> None:
    request = run([token(), INSTANCE]).sent[1]
    assert request.method == "GET"
    assert request.url == (
        f"{BASE}/batch-processing-service/v2.1/flowInstances"
        "?action=get&flowInstId=3377-20200706062600&orgId=o1&userId=u1"
    )
    assert request.body is None
    signed = f"{TOKEN}actiongetflowInstId3377-20200706062600orgIdo1userIdu11600000000001{SECRET_KEY}"
    assert request.headers == {
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": f"airflow-provider-enos/{__version__}",
        "apim-accesstoken": TOKEN,
        "apim-signature": signing.sha256(signed.encode()).hexdigest(),
        "apim-timestamp": "1600000000001",
    }


def test_call_with_a_body_to_the_byte(run: Any) -> None:
    request = run([token(), TRIGGERED], TRIGGER).sent[1]
    assert request.url.endswith("/flows?action=triggerFromTask&orgId=o1&userId=u1")
    assert request.body == b'{"flowId":3377,"taskId":108580,"triggerTime":1594016819108}'
    assert request.headers["Content-Type"] == "application/json;charset=UTF-8"
    signed = f"{TOKEN}actiontriggerFromTaskorgIdo1userIdu1{request.body.decode()}1600000000001{SECRET_KEY}"
    assert request.headers["apim-signature"] == signing.sha256(signed.encode()).hexdigest()


def test_url_is_encoded_and_the_signature_is_not(play: Any, gateway: Gateway) -> None:
    tenant = Tenant("o &=+/ä", "u%20")
    request = play(gateway.exchange(GET, tenant), [token(), INSTANCE]).sent[1]
    query = parse_qsl(urlsplit(request.url).query)
    assert query[-2:] == [("orgId", "o &=+/ä"), ("userId", "u%20")]
    assert request.url.isascii()
    assert " " not in request.url
    assert "+" not in request.url
    assert request.headers["apim-signature"] == signing.signature(
        TOKEN, query, None, request.headers["apim-timestamp"], SECRET_KEY
    )


def test_time_needs_no_tenant(run: Any) -> None:
    request = run([token(), reply(5)], calls.get_current_time()).sent[1]
    assert request.url.endswith("/time?action=getCurrentTime")


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


# Timestamps


def test_timestamps_never_repeat_while_the_clock_stands(play: Any, gateway: Gateway) -> None:
    sent = [request for _ in range(50) for request in play(gateway.exchange(GET, TENANT), answer_well).sent]
    stamps = [timestamp_of(request) for request in sent]
    assert stamps == list(range(1_600_000_000_000, 1_600_000_000_000 + len(stamps)))


def test_timestamps_never_repeat_when_the_clock_goes_back(run: Any, clock: Any, held: None) -> None:
    before = timestamp_of(run([INSTANCE]).sent[0])
    clock.now -= 3600
    assert timestamp_of(run([INSTANCE]).sent[0]) == before + 1


@given(st.lists(st.floats(-10, 10), max_size=30))
def test_timestamps_rise(play: Any, new_clock: Any, moves: list[float]) -> None:
    clock = new_clock()
    gateway = Gateway(BASE, ACCESS_KEY, SECRET_KEY, clock=clock, jitter=lambda: 0.0)
    stamps = []
    for move in moves:
        stamps += [timestamp_of(request) for request in play(gateway.exchange(GET, TENANT), answer_well).sent]
        clock.now += move
    assert stamps == sorted(set(stamps))


def answer_well(request: Request) -> Response:
    return token() if asks_for_token(request) else INSTANCE


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


# Repetition


@pytest.mark.parametrize("code", [62102, 62109])
def test_log_that_is_not_there_is_asked_for_once(run: Any, held: None, code: int) -> None:
    played = run([reply(code=code)], calls.get_task_instance_log("1-2"))
    assert (type(played.error), played.error.code) == (EnosNotFoundError, code)
    assert len(played.sent) == 1
    assert played.pauses == []


def test_request_knows_whether_it_is_safe(run: Any, held: None) -> None:
    """A driver may have to keep one from going out that starts something."""
    played = run([UNAUTHORIZED, UNAUTHORIZED, token("t2"), TRIGGERED], TRIGGER)
    assert [request.safe for request in played.sent] == [False, True, True, False]
    assert [request.safe for request in run([INSTANCE]).sent] == [True]


@pytest.mark.parametrize("fault", [LOST, UNSENT, BUSY, BAD_GATEWAY, GARBAGE, QUOTA, REPEATED, reply(code=62109)])
def test_safe_call_is_repeated(run: Any, held: None, fault: Any) -> None:
    played = run([fault, fault, fault, INSTANCE])
    assert played.error is None
    assert played.pauses == [0.5, 1.0, 2.0]
    stamps = [timestamp_of(request) for request in played.sent]
    assert stamps == sorted(set(stamps))


def test_safe_call_is_given_up(run: Any, held: None) -> None:
    played = run([LOST, BUSY, LOST, GARBAGE])
    assert isinstance(played.error, EnosReplyError)
    assert played.pauses == [0.5, 1.0, 2.0]


def test_pauses_are_bounded_and_jittered(play: Any, clock: Any) -> None:
    for jitter, factor in ((0.0, 0.5), (1.0, 1.0)):
        gateway = Gateway(BASE, ACCESS_KEY, SECRET_KEY, clock=clock, jitter=lambda jitter=jitter: jitter)
        played = play(gateway.exchange(GET, TENANT, Retry(attempts=6, longest_pause=3.0)), [token(), *[LOST] * 6])
        assert played.pauses == [pause * factor for pause in (0.5, 1.0, 2.0, 3.0, 3.0)]


def test_at_once_tries_once(run: Any) -> None:
    played = run([token(), LOST], GET, AT_ONCE)
    assert str(played.error) == "read timed out"
    assert played.pauses == []


@pytest.mark.parametrize("fault", [LOST, BUSY, BAD_GATEWAY, GARBAGE, reply(code=1005), reply(code=62109)])
def test_trigger_is_never_repeated_when_it_may_have_arrived(run: Any, held: None, fault: Any) -> None:
    played = run([fault], TRIGGER)
    assert isinstance(played.error, EnosError)
    assert played.error.sent
    assert steps_of(played.sent) == [f"call {TOKEN}"]


@pytest.mark.parametrize("fault", [UNSENT, QUOTA, REPEATED])
def test_trigger_is_repeated_when_it_surely_did_not_arrive(run: Any, held: None, fault: Any) -> None:
    played = run([fault, fault, fault, TRIGGERED], TRIGGER)
    assert played.value == STARTED
    assert len({request.headers["apim-signature"] for request in played.sent}) == 4


@pytest.mark.parametrize("fault", [LOST, UNSENT, BUSY, BAD_GATEWAY, GARBAGE, QUOTA, token_refused(1005)])
def test_trigger_is_repeated_when_it_was_the_token_that_failed(run: Any, fault: Any) -> None:
    """Whatever became of the token request, the trigger was not sent."""
    played = run([fault, token(), TRIGGERED], TRIGGER)
    assert played.value == STARTED
    assert steps_of(played.sent) == ["get", "get", f"call {TOKEN}"]


@pytest.mark.parametrize("fault", [BUSY, GARBAGE])
def test_failing_token_says_that_nothing_was_sent(run: Any, fault: Any) -> None:
    for call in (GET, TRIGGER):
        played = run([fault] * 4, call)
        assert isinstance(played.error, EnosError)
        assert not played.error.sent


# A refusal that may hide a success: something on the way has sent the trigger twice

CONFLICT = reply(code=62102)
TIME = reply(1_600_000_000_000)


@pytest.mark.parametrize("refusal", [UNAUTHORIZED, reply(code=1003), reply(code=1203), SHORT_TOKEN])
@pytest.mark.parametrize("probe", [TIME, reply(code=62109), BUSY, QUOTA, LOST, GARBAGE], ids=str)
def test_refusal_that_the_token_does_not_explain_may_hide_a_success(
    run: Any, held: None, refusal: Response, probe: Any
) -> None:
    """The token is still good, or nobody knows: the first of two copies may have been carried out."""
    played = run([refusal, probe, token("t2"), CONFLICT], TRIGGER)
    assert (played.error.code, played.error.repeated) == (62102, True)


@pytest.mark.parametrize("probe", [UNAUTHORIZED, reply(code=1003), reply(code=1203)])
def test_refusal_that_the_token_explains_hides_nothing(run: Any, held: None, probe: Response) -> None:
    """Such as one that another process has replaced: mapped tasks that race for a minute all meet that at once."""
    played = run([UNAUTHORIZED, probe, token("t2"), CONFLICT], TRIGGER)
    assert (played.error.code, played.error.repeated) == (62102, False)


def test_refusal_that_the_age_of_the_token_explains_hides_nothing(run: Any, gateway: Gateway, clock: Any) -> None:
    run([token(expire=1000), INSTANCE])

    def answer(request: Request) -> Response:
        if asks_for_token(request):
            return token("t2")
        if request.headers["apim-accesstoken"] == "t2":
            return CONFLICT
        # It ends while the request is under way.
        clock.now += 1000
        return UNAUTHORIZED

    played = run(answer, TRIGGER)
    assert (played.error.code, played.error.repeated) == (62102, False)
    assert steps_of(played.sent) == [f"call {TOKEN}", "get", "call t2"]


def test_repeated_signature_may_hide_a_success(run: Any, held: None) -> None:
    played = run([REPEATED, CONFLICT], TRIGGER)
    assert (played.error.code, played.error.repeated) == (62102, True)
    played = run([REPEATED, QUOTA, LOST], TRIGGER)
    assert (played.error.sent, played.error.repeated) == (True, True)


def test_repeated_signature_at_the_token_service_hides_nothing(run: Any) -> None:
    assert not run([REPEATED, token(), CONFLICT], TRIGGER).error.repeated


@pytest.mark.parametrize(
    "then", [[UNSENT] * 4, [BUSY] * 4, [reply(code=1003)]], ids=["no connection", "busy", "credentials"]
)
def test_token_service_that_fails_after_such_a_refusal_takes_no_doubt_away(run: Any, held: None, then: Any) -> None:
    """The last request was surely not sent; the first one was."""
    rest = iter(then)

    def answer(request: Request) -> Any:
        if asks_for_token(request):
            return next(rest)
        return TIME if "getCurrentTime" in request.url else UNAUTHORIZED

    played = run(answer, TRIGGER, Retry(attempts=1))
    assert (played.error.sent, played.error.repeated) == (False, True)


@pytest.mark.parametrize("refusal", [UNAUTHORIZED, REPEATED, QUOTA, CONFLICT, BUSY])
def test_plain_errors_hide_nothing(run: Any, held: None, refusal: Response) -> None:
    """What is safe to repeat hides nothing at all."""
    assert not run([CONFLICT], TRIGGER).error.repeated
    assert not run(lambda request: token("t2") if asks_for_token(request) else refusal).error.repeated


# Only a token


def test_authentication_sends_nothing_but_for_the_token(run: Any, gateway: Gateway, clock: Any) -> None:
    """And learns the gateway's clock."""
    late = Response(200, {"date": "Sun, 13 Sep 2020 13:26:40 GMT"}, token().body)
    assert steps_of(run([late], calls.authenticate()).sent) == ["get"]
    assert gateway.now() == clock.now + 3600
    assert run([], calls.authenticate()).sent == []


def test_authentication_that_fails_was_not_sent(run: Any) -> None:
    assert not run([reply(code=1003)], calls.authenticate()).error.sent


def test_lost_after_a_renewal_is_lost(run: Any, held: None) -> None:
    played = run([reply(code=1203), reply(code=1203), token("t2"), LOST], TRIGGER)
    assert str(played.error) == "read timed out"
    assert played.error.sent
    assert steps_of(played.sent) == [f"call {TOKEN}", f"call {TOKEN}", "get", "call t2"]


@pytest.mark.parametrize(
    ("fault", "cls"),
    [
        (reply(code=62101), EnosAccessError),
        (reply(code=62103), EnosAccessError),
        (reply(code=62102), EnosRequestError),
        (reply(code=62104), EnosRequestError),
        (Response(403, {}, b""), EnosAccessError),
        (Response(404, {}, b""), EnosRequestError),
        (TLS, EnosTransportError),
        (reply(code=99999), EnosError),
    ],
)
def test_not_repeated(run: Any, held: None, fault: Any, cls: type[EnosError]) -> None:
    """Asking again would bring the same."""
    for call in (GET, TRIGGER):
        played = run([fault], call)
        assert isinstance(played.error, cls)
        assert played.pauses == []


@pytest.mark.parametrize("code", [1002, 1003, 1004, 1202])
def test_refused_key_is_not_tried_again(run: Any, code: int) -> None:
    played = run([token_refused(code)])
    assert played.error.code == code
    assert played.pauses == []


def test_gateway_says_how_long_to_wait(run: Any, clock: Any, held: None) -> None:
    def quota(after: str) -> Response:
        return Response(429, {"retry-after": after}, b"")

    in_27_s, in_30_s = formatdate(clock.now + 27, usegmt=True), formatdate(clock.now + 30)
    assert in_30_s.endswith("-0000")
    played = run([quota("7"), quota(in_27_s), quota(in_30_s), INSTANCE])
    assert played.error is None
    assert played.pauses == [7.0, 20.0, 3.0]


def test_gateway_wants_too_long_a_wait(run: Any, held: None) -> None:
    played = run([Response(429, {"retry-after": "31"}, b"")])
    assert isinstance(played.error, EnosRateLimitError)
    assert played.error.retry_after == 31.0
    assert played.pauses == []


def test_gateway_date_is_by_its_own_clock(run: Any, clock: Any, held: None) -> None:
    headers = {
        "date": formatdate(clock.now + 600, usegmt=True),
        "retry-after": formatdate(clock.now + 610, usegmt=True),
    }
    assert run([Response(429, headers, b""), INSTANCE]).pauses == [10.0]


# Secrets, and anything at all


def test_repr_shows_no_secret(gateway: Gateway, run: Any, held: None) -> None:
    assert repr(gateway) == f"Gateway('{BASE}')"
    assert TOKEN not in repr(gateway._token)
    assert SECRET_KEY not in repr(run([INSTANCE]).sent)


def echo(request: Request) -> Response:
    """A gateway that repeats all it was told."""
    text = f"{dict(request.headers)} {request.body!r} {SECRET_KEY}"
    return Response(400, {}, json.dumps({"code": 62102, "msg": text, "requestId": text}).encode())


def test_echoed_secrets_are_hidden(run: Any, held: None) -> None:
    played = run([echo])
    shown = f"{played.error} {played.error!r} {vars(played.error)}"
    assert not any(secret in shown for secret in (SECRET_KEY, TOKEN, played.sent[0].headers["apim-signature"]))


def test_echoed_encryption_is_hidden(run: Any) -> None:
    played = run([echo])
    encryption = json.loads(played.sent[0].body)["encryption"]
    assert not any(secret in f"{played.error} {vars(played.error)}" for secret in (SECRET_KEY, encryption))


UNKNOWN = [LOST, BUSY, BAD_GATEWAY, GARBAGE, reply(code=62109), reply(code=1005), reply(data={"x": 1}), reply("")]
KNOWN = [
    UNSENT,
    TLS,
    QUOTA,
    REPEATED,
    UNAUTHORIZED,
    SHORT_TOKEN,
    reply(code=1203),
    reply(code=62102),
    reply(code=62103),
]
outcomes = st.sampled_from([*UNKNOWN, *KNOWN, TRIGGERED, token(), token("t0ken-of-ours-2", 1), echo]) | st.builds(
    Response,
    st.sampled_from([200, 302, 401, 429, 500]),
    st.dictionaries(st.sampled_from(["date", "retry-after"]), st.sampled_from(["5", formatdate(1), "x"])),
    st.binary(max_size=20),
)


@given(st.lists(outcomes, max_size=40), st.sampled_from([DEFAULT_RETRY, AT_ONCE, Retry(attempts=2)]))
def test_whatever_the_gateway_does(play: Any, new_clock: Any, script: list[Any], retry: Retry) -> None:
    """It ends, in an ``EnosError`` without secrets or well; and a trigger that may have arrived is the last request."""
    clock = new_clock()
    gateway = Gateway(BASE, ACCESS_KEY, SECRET_KEY, clock=clock, jitter=lambda: 0.5)
    left = iter(script)
    unknown = False
    seen = {SECRET_KEY, TOKEN}

    def answer(request: Request) -> Any:
        nonlocal unknown
        assert not unknown, "something was sent after a trigger whose fate is unknown"
        if asks_for_token(request):
            seen.add(json.loads(request.body or b"")["encryption"])
        else:
            seen.add(request.headers["apim-signature"])
        given = next(left, LOST)
        given = given(request) if callable(given) else given
        if not asks_for_token(request):
            unknown = any(given is one for one in UNKNOWN) or (isinstance(given, Response) and given.status == 500)
        return given

    played = play(gateway.exchange(TRIGGER, TENANT, retry), answer, clock, most=60)
    assert played.error is None or isinstance(played.error, EnosError)
    assert unknown <= bool(played.error is None or played.error.sent)
    shown = f"{played.error} {played.error!r} {vars(played.error) if played.error else ''}"
    assert not any(secret in shown for secret in seen)
    stamps = [timestamp_of(request) for request in played.sent]
    assert len(set(stamps)) == len(stamps)


def test_server_error_is_told_from_refusal(run: Any, held: None) -> None:
    assert isinstance(run([BUSY] * 4).error, EnosServerError)


def test_a_call_is_not_repeated_beyond_its_deadline(run: Any, held: None, clock: Any) -> None:
    """With its own error: what that means for the wait is the wait's to say."""
    played = run([LOST, BUSY], replace(GET, deadline=clock.now + 1.4))
    assert isinstance(played.error, EnosServerError)
    assert played.pauses == [0.5]
    assert run([LOST, INSTANCE], replace(GET, deadline=clock.now + 60)).error is None
