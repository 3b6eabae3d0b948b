"""What is sent again, what is not, and which refusals may hide a success."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest
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
    STARTED,
    TENANT,
    TLS,
    TOKEN,
    TRIGGER,
    TRIGGERED,
    UNAUTHORIZED,
    UNSENT,
    asks_for_token,
    reply,
    steps_of,
    timestamp_of,
    token,
    token_refused,
)

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosError,
    EnosNotFoundError,
    EnosRateLimitError,
    EnosReplyError,
    EnosRequestError,
    EnosTransportError,
)
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.exchange import AT_ONCE, Gateway, Retry
from airflow_provider_enos.protocol.wire.messages import Request, Response

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


# Errors that are raised


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
