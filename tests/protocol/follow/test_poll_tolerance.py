"""Which errors a wait tolerates, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosAuthError,
    EnosCancelError,
    EnosConfigError,
    EnosError,
    EnosRequestError,
    EnosServerError,
    EnosTokenError,
    EnosTransportError,
    EnosTriggerTargetError,
)
from airflow_provider_enos.protocol.follow.poll_tolerance import PollTolerance, is_refusal

LOST = EnosTransportError("read timed out", sent=True)
BUSY = EnosServerError(62109, "Internal error.", operation="Get Flow", http_status=200)
REFUSED = EnosRequestError(62102, "no", operation="Get Flow", http_status=200)
WRONG_KEY = EnosAuthError(401, "no", operation="Get Flow", http_status=401)
BARRED = EnosAccessError(403, "Forbidden", operation="Get Flow", http_status=403)
BROKEN = EnosConfigError("host", "it is missing", accepted="the gateway's address")
GONE_FLOW = EnosTriggerTargetError("flow_id: EnOS has no flow 3377")
UNTRUSTED = EnosTransportError("https://gw: TLS failed: self-signed certificate", sent=False, tls=True)
REFUSALS = [WRONG_KEY, BARRED, BROKEN, UNTRUSTED, EnosTokenError(4011, "ended", operation="Get Flow", http_status=401)]


@pytest.mark.parametrize(
    ("error", "known", "ends"),
    [
        *((error, known, False) for error in (LOST, BUSY) for known in (False, True)),
        (REFUSED, False, True),
        (REFUSED, True, False),
        *((error, known, False) for error in REFUSALS for known in (False, True)),
        *((GONE_FLOW, known, True) for known in (False, True)),
    ],
)
def test_which_errors_end_a_wait(log: Any, error: EnosError, known: bool, ends: bool) -> None:
    tolerance = PollTolerance("it", tolerance=60, log=log, known=known)
    if ends:
        with pytest.raises(type(error)):
            tolerance.missed(error, 1000)
        assert tolerance.failing_since is None
    else:
        assert tolerance.missed(error, 1000) is None


def test_it_lasts_as_long_as_is_tolerated(log: Any) -> None:
    tolerance = PollTolerance("it", tolerance=60, log=log)
    assert [tolerance.missed(LOST, now) for now in (1000, 1059, 1060, 1061)] == [None, None, 60, 61]
    assert log.lines == ["warning: Cannot ask EnOS for it, will go on trying for 60 s: read timed out"]


def test_an_answer_starts_it_anew(log: Any) -> None:
    tolerance = PollTolerance("it", tolerance=60, log=log)
    tolerance.answered(990)
    tolerance.missed(LOST, 1000)
    tolerance.answered(1030)
    assert log.lines[1:] == ["info: EnOS answers again for it, after 30 s"]
    assert tolerance.missed(LOST, 1080) is None


@pytest.mark.parametrize(("since", "kept"), [(1000, 1000), (1000.5, 1000.5), (None, None), ("x", None)])
def test_the_time_that_is_taken_over_from_another_process(log: Any, since: object, kept: float | None) -> None:
    tolerance = PollTolerance("it", tolerance=60, log=log)
    tolerance.remember(since)
    assert tolerance.failing_since == kept


@pytest.mark.parametrize(
    "error", [LOST, BUSY, REFUSED, GONE_FLOW, EnosCancelError("x", flow_instance_id="1", status="")]
)
def test_errors_that_are_no_refusals(error: EnosError) -> None:
    assert not is_refusal(error)


@pytest.mark.parametrize("error", REFUSALS)
def test_a_refusal_is_tolerated_like_any_other_error(log: Any, error: EnosError) -> None:
    assert is_refusal(error)
    tolerance = PollTolerance("it", tolerance=60, log=log)
    assert [tolerance.missed(error, now) for now in (1000, 1059, 1060)] == [None, None, 60]
    assert log.lines == [f"warning: Cannot ask EnOS for it, will go on trying for 60 s: {error}"]


@pytest.mark.parametrize("error", REFUSALS)
def test_a_refusal_ends_the_wait_of_a_person_unless_enos_has_answered(log: Any, error: EnosError) -> None:
    tolerance = PollTolerance("it", tolerance=60, log=log, strict=True)
    with pytest.raises(type(error)):
        tolerance.missed(error, 1000)
    tolerance.known = True
    assert tolerance.missed(error, 1000) is None


def test_a_refusal_after_other_errors_is_told_once(log: Any) -> None:
    """Somebody has to act on it."""
    tolerance = PollTolerance("it", tolerance=60, log=log)
    for now, error in enumerate([LOST, BUSY, WRONG_KEY, WRONG_KEY, LOST, BARRED]):
        tolerance.missed(error, now)
    assert [line.partition(",")[0] for line in log.lines] == [
        "warning: Cannot ask EnOS for it",
        "warning: Still cannot ask EnOS for it",
    ]


def test_a_wait_that_does_not_give_up_logs_an_error_once_the_tolerance_is_over(log: Any) -> None:
    tolerance = PollTolerance("it", tolerance=60, log=log, gives_up=False)
    assert [tolerance.missed(REFUSED, now) for now in (1000, 1060, 1e6)] == [None, None, None]
    assert log.lines == [
        f"warning: Cannot ask EnOS for it, will go on trying: {REFUSED}",
        f"error: EnOS could not be asked for it for 60 s; still trying. Last error: {REFUSED}",
    ]
    with pytest.raises(EnosTriggerTargetError):
        tolerance.missed(GONE_FLOW, 1e6)


def test_a_stream_of_looks_notes_every_error_and_raises_none(log: Any) -> None:
    tolerance = PollTolerance("flows", tolerance=60, log=log, gives_up=False)
    tolerance.answered(0)
    for now in (0, 30, 60, 90, 120):
        tolerance.note(LOST, now)
    tolerance.note(WRONG_KEY, 130)
    tolerance.note(GONE_FLOW, 131)
    tolerance.answered(140)
    tolerance.answered(150)
    tolerance.note(LOST, 160)
    assert log.lines == [
        f"warning: Cannot ask EnOS for flows, will go on trying: {LOST}",
        f"error: EnOS could not be asked for flows for 60 s; still trying. Last error: {LOST}",
        f"warning: Still cannot ask EnOS for flows, now for another reason: {WRONG_KEY}",
        "info: EnOS answers again for flows, after 140 s",
        f"warning: Cannot ask EnOS for flows, will go on trying: {LOST}",
    ]
