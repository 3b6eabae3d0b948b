"""One call from beginning to end: its bytes, its timestamps, its secrets."""

from __future__ import annotations

import json
from dataclasses import replace
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from exchanges import (
    ACCESS_KEY,
    BAD_GATEWAY,
    BASE,
    BUSY,
    GARBAGE,
    GET,
    INSTANCE,
    LOST,
    QUOTA,
    REPEATED,
    SECRET_KEY,
    SHORT_TOKEN,
    TENANT,
    TLS,
    TOKEN,
    TRIGGER,
    TRIGGERED,
    UNAUTHORIZED,
    UNSENT,
    asks_for_token,
    reply,
    timestamp_of,
    token,
)
from hypothesis import given, strategies as st

from airflow_provider_enos import __version__
from airflow_provider_enos.errors import (
    EnosError,
    EnosServerError,
)
from airflow_provider_enos.protocol.wire import calls, signing
from airflow_provider_enos.protocol.wire.exchange import AT_ONCE, DEFAULT_RETRY, Gateway, Retry, Tenant
from airflow_provider_enos.protocol.wire.messages import Request, Response

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
