"""Whose instance is it? The time of its creation tells, in whichever zone EnOS writes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, strategies as st
from starts import (
    CONFLICT,
    FIRST,
    FLOW,
    LOOK,
    LOST,
    NOW_MS,
    NOWHERE,
    THE_FLOW,
    TIME,
    TRIGGER,
    UNSENT,
    ZONE,
    ZONE_CALL,
    instance,
    name,
    page,
    refusal,
    retry,
    stored,
    times_of,
    written,
)

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosAuthError,
    EnosError,
    EnosRateLimitError,
    EnosServerError,
    EnosTransportError,
    EnosTriggerConflictError,
    EnosTriggerUncertainError,
)
from airflow_provider_enos.protocol.start.lookup import can_be_ours
from airflow_provider_enos.protocol.trigger_time import MINUTE

NOW = NOW_MS // 1000
HOUR, WEEK = 3600, 7 * 86_400


def text(seconds: float, hours: int = 0) -> str:
    """Return a moment as EnOS writes it, in a zone with this offset in hours."""
    return f"{datetime.fromtimestamp(seconds, timezone(timedelta(hours=hours))):%Y-%m-%d %H:%M:%S}.0"


def created(seconds: float, hours: int = 0, minute: int = 0, status: str = "RUNNING", **more: Any) -> Any:
    return instance(minute, status, timestamp=text(seconds, hours), **more)


OLD = created(NOW - WEEK, status="SUCCESS")


# A reply that was lost


def test_old_instance_is_not_adopted_after_a_lost_reply(run: Any, log: Any, records: list[Any]) -> None:
    """For example after a DAG run was deleted and created again. The instance was there first: a conflict."""
    played = run([LOST, OLD, ZONE, name(1)])
    assert played.value == name(1)
    assert times_of(played) == [TIME, FIRST + MINUTE]
    assert [record.refused for record in records] == [False, True, False, False]
    assert any(f"The minute of {name(0)} is taken (SUCCESS)" in line for line in log.lines)


def test_old_instance_after_a_lost_reply_is_what_on_conflict_is_about(run: Any) -> None:
    assert isinstance(run([LOST, OLD, ZONE], on_conflict="fail").error, EnosTriggerConflictError)
    assert run([LOST, OLD, ZONE], on_conflict="attach").value == name(0)


@pytest.mark.parametrize("hours", [0, 8])
@pytest.mark.parametrize("since", [-119, 0, 119])
def test_instance_of_now_is_adopted_in_either_zone(run: Any, since: float, hours: int) -> None:
    """Read as UTC or in the gateway's zone, which is asked for only where UTC does not fit."""
    played = run([LOST, created(NOW + since, hours), *([ZONE] if hours else [])])
    assert played.value == name(0)
    assert played.operations == [TRIGGER, 0.0, LOOK, *([ZONE_CALL] if hours else [])]


@pytest.mark.parametrize("since", [-121, -HOUR, -8 * HOUR + 121, 121])
def test_instance_of_another_time_is_not(run: Any, since: float) -> None:
    assert run([LOST, created(NOW + since), ZONE, name(1)]).value == name(1)


@pytest.mark.parametrize(
    "odd", [instance(), *(instance(timestamp=odd) for odd in ("", "x", "2020-13-01 00:00:00", "0", 5))], ids=repr
)
def test_time_that_cannot_be_read_rules_nothing_out(run: Any, odd: Any) -> None:
    assert run([LOST, odd]).value == name(0)


def test_start_stands_in_for_a_missing_creation(run: Any) -> None:
    assert run([LOST, instance(startTime=text(NOW)[:-2])]).value == name(0)
    assert run([LOST, instance(startTime=text(NOW - WEEK)[:-2]), ZONE, name(1)]).value == name(1)


@pytest.mark.parametrize("zone", [UNSENT, refusal(EnosServerError, 62109), "Mars/Olympus"], ids=str)
def test_zone_that_is_not_known_may_be_any(run: Any, zone: Any) -> None:
    assert run([LOST, created(NOW, 5), zone]).value == name(0)
    fail = {"on_conflict": "fail"}
    assert isinstance(run([LOST, created(NOW - WEEK), zone], **fail).error, EnosTriggerConflictError)


def test_of_several_instances_of_a_minute_ours_is_found(run: Any) -> None:
    """Some gateways may return ids that do not name the minute."""
    old, new = (created(NOW + since, instanceId=id) for since, id in ((-WEEK, "3377-a"), (0, "3377-b")))
    answers = [LOST, NOWHERE[0], page(), page(old, new), ZONE]
    assert run(answers).value == "3377-b"


@pytest.mark.parametrize("created_at", ["0001-01-01 00:00:00.0", "9999-12-31 23:59:59.0"])
@pytest.mark.parametrize("zone", ["GMT+8", "GMT-11", "Asia/Shanghai"])
def test_ends_of_the_calendar_break_nothing(run: Any, created_at: str, zone: str) -> None:
    assert run([LOST, instance(timestamp=created_at), zone], on_conflict="attach").value == name(0)


# What an earlier try asked for


def test_retry_does_not_adopt_what_was_there_before_its_predecessor_asked(run: Any, records: list[Any]) -> None:
    attempt = stored()
    attempt["intent"] = written(0, 0, TIME, TIME, try_number=1)
    played = run([OLD, ZONE, name(1)], **attempt)
    assert played.value == name(1)
    assert records[0].refused
    assert isinstance(run([OLD, ZONE], on_conflict="fail", **attempt).error, EnosTriggerConflictError)


def test_retry_adopts_the_instance_that_is_on_record_whatever_its_time(run: Any) -> None:
    """Its id is known."""
    attempt = stored()
    attempt["intent"] = written(0, 0, TIME, TIME, name(0), try_number=1)
    assert run([OLD], **attempt).value == name(0)


def test_retry_without_a_record_goes_by_the_start_of_the_dag_run(run: Any, log: Any) -> None:
    """An instance from before met every earlier try, which then went on to the next minute."""
    before = retry(not_before=NOW_MS, tries_before=1)
    assert run([OLD, ZONE, created(NOW, minute=1)], **before).value == name(1)
    assert run([OLD, ZONE, created(NOW - WEEK, minute=1), created(NOW, minute=2)], **before).value == name(2)
    played = run([OLD, ZONE, created(NOW, minute=1, status="FAIL"), name(2)], **before)
    assert times_of(played) == [FIRST + 2 * MINUTE]
    assert isinstance(run([OLD, ZONE], on_conflict="fail", **before).error, EnosTriggerConflictError)
    assert run([OLD, ZONE], on_conflict="attach", **before).value == name(0)


def test_retry_without_any_time_adopts_the_instance(run: Any) -> None:
    assert run([OLD], **retry()).value == name(0)


def test_late_request_of_an_earlier_try_must_fit_the_time_too(run: Any) -> None:
    """The list may have shown a stranger's instance late."""
    attempt = {**stored(), "intent": written(0, 0, TIME, TIME, try_number=1)}
    assert run([*NOWHERE, CONFLICT, THE_FLOW, created(NOW)], on_conflict="fail", **attempt).value == name(0)
    played = run([*NOWHERE, CONFLICT, THE_FLOW, OLD, ZONE], on_conflict="fail", **attempt)
    assert isinstance(played.error, EnosTriggerConflictError)


# A refusal that may hide a success


def repeated(error: EnosError) -> EnosError:
    """The error of a request that was sent again."""
    error.repeated = True
    return error


@pytest.fixture
def conflict() -> EnosError:
    """The conflict of a request that was sent again."""
    return repeated(refusal(type(CONFLICT), 62102))


@pytest.mark.parametrize("on_conflict", ["next_minute", "attach", "fail"])
def test_conflict_of_a_request_that_was_sent_again_is_with_itself(
    run: Any, log: Any, records: list[Any], conflict: EnosError, on_conflict: str
) -> None:
    played = run([conflict, THE_FLOW, created(NOW)], on_conflict=on_conflict)
    assert played.value == name(0)
    assert played.operations == [TRIGGER, FLOW, LOOK]
    assert [record.refused for record in records] == [False, False]
    assert "EnOS has refused a copy of it, and may have carried out another" in log.lines[-1]


def test_conflict_of_a_request_that_was_sent_again_with_an_old_instance(run: Any, conflict: EnosError) -> None:
    assert run([conflict, THE_FLOW, OLD, ZONE, name(1)]).value == name(1)
    played = run([conflict, THE_FLOW, OLD, ZONE], on_conflict="fail")
    assert isinstance(played.error, EnosTriggerConflictError)


def test_plain_conflict_is_with_somebody_else(run: Any, log: Any) -> None:
    """Also where the instance is as new as ours would be: mapped siblings race for a minute."""
    assert run([CONFLICT, THE_FLOW, created(NOW), ZONE, name(1)]).value == name(1)


def test_request_that_was_sent_again_and_refused_for_good_is_looked_for(run: Any, records: list[Any]) -> None:
    error = repeated(refusal(EnosAuthError, 401))
    assert run([error, created(NOW)]).value == name(0)
    records.clear()
    played = run([error, *NOWHERE * 5])
    assert isinstance(played.error, EnosAuthError), "nothing can be seen: the refusal says it all"
    assert [record.refused for record in records] == [False], "but a retry, if there is one, looks first"


def test_request_that_was_sent_again_and_then_not_answered_is_looked_for(run: Any) -> None:
    assert run([repeated(EnosTransportError("x", sent=True)), created(NOW)]).value == name(0)
    played = run([repeated(EnosTransportError("x", sent=True)), *NOWHERE * 5])
    assert isinstance(played.error, EnosTriggerUncertainError)


def test_request_that_was_sent_again_stays_doubtful_while_it_waits(run: Any) -> None:
    """The next conflict is with our own instance too, although its error does not say so."""
    busy = repeated(refusal(EnosRateLimitError, 429))
    assert run([busy, CONFLICT, THE_FLOW, created(NOW)], on_conflict="fail", tolerance=60).value == name(0)
    gone = repeated(EnosTransportError("x", sent=False))
    assert run([gone, CONFLICT, THE_FLOW, created(NOW)], on_conflict="fail", tolerance=60).value == name(0)
    refused = repeated(refusal(EnosAccessError, 62103))
    assert run([refused, created(NOW)]).value == name(0)


# A round that a clear has ended


def test_clear_steps_over_what_may_have_been_its_own_before(run: Any) -> None:
    """Without a record, the minutes that the round before has used are not known."""
    ended = created(NOW, minute=1, status="SUCCESS")
    for on_conflict in ("next_minute", "attach", "fail"):
        played = run(
            [ZONE, CONFLICT, THE_FLOW, ended, name(2)], on_conflict=on_conflict, first_index=1, minutes_unknown=True
        )
        assert played.value == name(2)
    active = created(NOW, minute=1)
    played = run([ZONE, CONFLICT, THE_FLOW, active], on_conflict="attach", first_index=1, minutes_unknown=True)
    assert played.value == name(1)


@pytest.mark.parametrize("flow_instance_id", [None, name(0)])
def test_active_instance_of_the_round_before_a_clear_is_cancelled(
    run: Any, log: Any, flow_instance_id: str | None
) -> None:
    """The task was cleared while it was deferred and no triggerer ran its trigger, so nobody else cancels."""
    before = written(0, 0, TIME, TIME, flow_instance_id)
    clear = {"cancels": True, "predecessor": before, "first_index": 1, "has_record": True}
    played = run([created(NOW), None, ZONE, name(1)], **clear)
    assert played.value == name(1)
    assert played.operations == [LOOK, "Cancel Flow Instance", ZONE_CALL, TRIGGER]
    assert any("asked EnOS to cancel it" in line for line in log.lines)


def test_other_instances_are_not_cancelled_after_a_clear(run: Any) -> None:
    """Instances that ended, that are a stranger's or another gateway's; none at all without ``cancel_on_kill``."""
    open_, refused = written(0, 0, TIME, TIME), written(0, 0, TIME, TIME, refused=True)
    elsewhere = written(0, 0, TIME, TIME, name(0), origin="https://other o1")
    clear = {"first_index": 1, "has_record": True}
    for answers, before, cancels in (
        ([created(NOW, status="SUCCESS")], open_, True),
        ([created(NOW - WEEK), ZONE], open_, True),
        (NOWHERE, open_, True),
        ([], refused, True),
        ([], elsewhere, True),
        ([], open_, False),
    ):
        zone = [] if ZONE in answers else [ZONE]
        played = run([*answers, *zone, name(1)], cancels=cancels, predecessor=before, **clear)
        assert played.value == name(1)
        assert "Cancel Flow Instance" not in played.operations


# Pure


def judge(one: Any, first: int, now: int, zone: str) -> bool:
    steps: Iterator[Any] = can_be_ours(one, first, now)
    try:
        next(steps)
        steps.send(zone)
    except StopIteration as done:
        return bool(done.value)
    raise AssertionError("it asks for the zone once")


@given(st.integers(0, 4_000_000_000), st.integers(0, 3600), st.integers(-12, 14), st.booleans())
def test_instance_created_after_the_request_can_be_ours(first: int, later: int, hours: int, is_utc: bool) -> None:
    """For each zone of the gateway, and for times in UTC or in that zone."""
    one = created(first + later, 0 if is_utc else hours)
    assert judge(one, first * 1000, (first + later) * 1000, f"GMT{hours:+d}")


@given(st.integers(WEEK, 4_000_000_000), st.integers(15 * HOUR, WEEK), st.integers(-12, 14), st.booleans())
def test_instance_created_long_before_the_request_is_never_ours(first: int, ago: int, hours: int, is_utc: bool) -> None:
    one = created(first - ago, 0 if is_utc else hours)
    assert not judge(one, first * 1000, first * 1000, f"GMT{hours:+d}")


def test_instance_of_a_schedule_belongs_to_no_try() -> None:
    one = instance(instanceId="3377-2020070606", timestamp=f"{datetime.fromtimestamp(NOW, UTC):%Y-%m-%d %H:%M:%S}.0")
    assert not judge(one, NOW_MS, NOW_MS, ZONE)
