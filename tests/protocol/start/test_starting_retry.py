"""A retry takes over what an earlier try has started; after a clear a round has a minute of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from starts import (
    CONFLICT,
    FIRST,
    GONE,
    LOOK,
    LOOKED_FOR,
    LOST,
    NOT_LISTED,
    NOWHERE,
    THE_FLOW,
    TIME,
    TRIGGER,
    UNSENT,
    ZONE,
    ZONE_CALL,
    ids_of,
    instance,
    name,
    never_sent,
    page,
    refusal,
    retry,
    stored,
    times_of,
    written,
)

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosApiError,
    EnosError,
    EnosNotFoundError,
    EnosRateLimitError,
    EnosRequestError,
    EnosServerError,
    EnosTransportError,
    EnosTriggerConflictError,
)
from airflow_provider_enos.protocol.models import FlowInstance, FlowType
from airflow_provider_enos.protocol.start.attempts import Intent
from airflow_provider_enos.protocol.trigger_time import MINUTE

# A retry without a record


@pytest.mark.parametrize("status", ["RUNNING", "INIT", "SUCCESS", "SKIP", "NONE"])
def test_retry_takes_over(run: Any, log: Any, status: str) -> None:
    played = run([instance(0, status)], **retry())
    assert played.value == name(0)
    assert played.operations == [LOOK]
    assert log.lines == [
        f"info: Took over flow instance {name(0)} ({status}), which has the minute of this task, and counts as "
        "that of an earlier try"
    ]


@pytest.mark.parametrize(
    ("flow_instance_id", "is_named", "said"),
    [
        (name(0), True, "which try 1 of this task started"),
        (name(0), False, "which has the minute that try 1 asked for"),
        (None, False, "which has the minute that try 1 asked for"),
        ("odd-1", True, "which has the minute that try 1 asked for"),
    ],
    ids=["named by EnOS", "adopted by try 1", "try 1 got no reply", "another one was named"],
)
def test_retry_says_no_more_than_is_known_of_what_it_takes_over(
    run: Any, log: Any, records: Any, flow_instance_id: str | None, is_named: bool, said: str
) -> None:
    """Nor does the retry after it."""
    attempt = stored(TIME, flow_instance_id, try_number=3)
    attempt["intent"] = replace(attempt["intent"], try_number=1, named=is_named)
    answers = [GONE, instance(0)] if flow_instance_id == "odd-1" else [instance(0)]
    assert run(answers, **attempt).value == name(0)
    assert log.lines == [f"info: Took over flow instance {name(0)} (RUNNING), {said}"]
    is_surely_ours = said.endswith("started")
    assert [(record.try_number, record.named) for record in records] == [(1, is_surely_ours)]


def test_what_a_retry_starts_itself_is_its_own(run: Any, records: Any) -> None:
    attempt = stored(TIME, name(0), try_number=3)
    assert run([instance(0, "FAIL"), ZONE, name(1)], **attempt).value == name(1)
    assert {record.try_number for record in records} == {3}


@pytest.mark.parametrize("status", ["FAIL", "INTERNAL_ERROR", "TIMEOUT", "CANCEL"])
def test_retry_after_a_bad_end_looks_at_the_next_minute_first(run: Any, status: str) -> None:
    """An earlier retry may have started one there."""
    played = run([instance(0, status), ZONE, instance(1)], **retry())
    assert played.value == name(1)
    assert played.operations == [LOOK, ZONE_CALL, LOOK]


def test_retry_looks_at_no_more_minutes_than_there_were_tries(run: Any) -> None:
    """What the next minute holds can be nobody's of this task: another run's, whose success is not ours."""
    played = run(
        [instance(0, "FAIL"), ZONE, CONFLICT, THE_FLOW, instance(1, "SUCCESS"), name(2)], **retry(tries_before=1)
    )
    assert played.value == name(2)
    played = run([instance(0, "FAIL"), ZONE, instance(1)], **retry(tries_before=2))
    assert played.value == name(1)


def test_retry_after_several_bad_ends(run: Any) -> None:
    played = run([instance(0, "FAIL"), ZONE, instance(1, "CANCEL"), *NOWHERE, name(2)], **retry())
    assert played.value == name(2)
    assert played.operations == [LOOK, ZONE_CALL, LOOK, *LOOKED_FOR, TRIGGER]
    assert times_of(played) == [FIRST + 2 * MINUTE]


def test_retry_sends_for_this_very_minute_if_nothing_is_there(run: Any) -> None:
    played = run([*NOWHERE, name(0)], **retry())
    assert played.operations == [*LOOKED_FOR, TRIGGER]
    assert times_of(played) == [TIME]


def test_retry_for_another_flow_takes_over_nothing(run: Any, log: Any) -> None:
    """``flow_id`` was changed between the tries: what the try before it started is not what is wanted now."""
    played = run(
        [name(0)], **retry(intent=Intent(0, 0, TIME, TIME, "4001-20200706062600", flow_id=4001), has_record=True)
    )
    assert played.value == name(0)
    assert log.lines[0] == "warning: An earlier try of this task asked for flow 4001: it is left alone"


SCHEDULED = FlowInstance.parse({"instanceId": "3377-2020070606", "status": 1, "flowId": 3377})
SCHEDULE_HAS_IT = [CONFLICT, THE_FLOW, GONE, page(), page(SCHEDULED), *NOT_LISTED[2:]]


def test_conflict_with_what_the_schedule_of_enos_has_started(run: Any) -> None:
    played = run([*SCHEDULE_HAS_IT, ZONE, name(1)])
    assert played.value == name(1)
    assert times_of(played) == [TIME, FIRST + MINUTE]


def test_what_the_schedule_of_enos_has_started_is_no_late_request(run: Any) -> None:
    played = run([*NOWHERE, *SCHEDULE_HAS_IT, ZONE, name(1)], **retry())
    assert played.value == name(1)


def test_what_the_schedule_of_enos_has_started_may_be_attached_to_or_refused(run: Any) -> None:
    assert run(SCHEDULE_HAS_IT, on_conflict="attach").value == "3377-2020070606"
    with pytest.raises(EnosTriggerConflictError, match="has an instance for this minute already: 3377-2020070606"):
        _ = run(SCHEDULE_HAS_IT, on_conflict="fail").value


@pytest.mark.parametrize("on_conflict", ["next_minute", "attach", "fail"])
def test_late_request_of_an_earlier_try_is_taken_over(run: Any, log: Any, on_conflict: str) -> None:
    """The minute was empty a moment ago: what has it now is ours, whatever ``on_conflict`` says."""
    played = run([*NOWHERE, CONFLICT, THE_FLOW, instance(0)], on_conflict=on_conflict, **retry())
    assert played.value == name(0)
    assert any("counts as that of an earlier try" in line for line in log.lines)


def test_late_request_is_taken_over_in_the_next_minute_too(run: Any) -> None:
    played = run([instance(0, "FAIL"), ZONE, *NOWHERE, CONFLICT, THE_FLOW, instance(1)], on_conflict="fail", **retry())
    assert played.value == name(1)


def test_lost_reply_of_a_retry(run: Any) -> None:
    assert run([*NOWHERE, LOST, *NOWHERE, instance(0)], **retry()).value == name(0)


@pytest.mark.parametrize(
    "error",
    [LOST, refusal(EnosServerError, 503), refusal(EnosAccessError, 62101), refusal(EnosRequestError, 404)],
)
def test_retry_that_cannot_look_sends_nothing(run: Any, error: EnosError) -> None:
    played = run([error], **retry())
    assert type(played.error) is type(error)
    assert times_of(played) == []


def test_retry_whose_list_fails_sends_nothing(run: Any) -> None:
    played = run([GONE, LOST], **retry())
    assert isinstance(played.error, EnosTransportError)
    assert times_of(played) == []


# A retry with a record


def test_stored_id_is_looked_at_first(run: Any) -> None:
    played = run([instance(0, instanceId="odd-1")], **stored(flow_instance_id="odd-1"))
    assert played.value == "odd-1"
    assert ids_of(played) == ["odd-1"]


def test_stored_id_that_is_gone(run: Any) -> None:
    """Then the predicted one, then the list."""
    played = run([GONE, GONE, page(), page(instance(0, instanceId="odd-2"))], **stored(flow_instance_id="odd-1"))
    assert played.value == "odd-2"
    assert ids_of(played) == ["odd-1", name(0)]


def test_stored_id_that_is_the_predicted_one_is_asked_for_once(run: Any) -> None:
    assert ids_of(run([*NOWHERE, name(0)], **stored(flow_instance_id=name(0)))) == [name(0)]


def test_stored_minute_is_looked_at_and_not_the_derived_one(run: Any) -> None:
    """So tasks that share a flow and a trigger time never take each other's instance."""
    played = run([ZONE, instance(2)], **stored(FIRST + 2 * MINUTE))
    assert played.value == name(2)
    assert ids_of(played) == [name(2)]


def test_stored_minute_is_empty(run: Any) -> None:
    """Sent for this very minute; a conflict on it is our own late request."""
    played = run([ZONE, *NOWHERE, CONFLICT, THE_FLOW, instance(2)], on_conflict="fail", **stored(FIRST + 2 * MINUTE))
    assert played.value == name(2)
    assert times_of(played) == [FIRST + 2 * MINUTE]


@pytest.mark.parametrize("status", ["FAIL", "CANCEL"])
def test_stored_one_ended_badly(run: Any, status: str) -> None:
    """The next minute, without a look: had an earlier retry sent for it, it would be the stored one."""
    played = run([instance(0, status), ZONE, name(1)], **stored())
    assert played.value == name(1)
    assert played.operations == [LOOK, ZONE_CALL, TRIGGER]


def test_stored_one_ended_badly_and_the_next_minute_is_taken(run: Any) -> None:
    """That is somebody else's."""
    played = run([instance(0, "FAIL"), ZONE, CONFLICT, THE_FLOW, instance(1), name(2)], **stored())
    assert played.value == name(2)


def test_record_without_an_entry_says_that_nothing_was_sent(run: Any) -> None:
    played = run([name(0)], **retry(has_record=True))
    assert played.operations == [TRIGGER]


def test_trigger_time_was_changed_meanwhile(run: Any) -> None:
    """The old instance is looked for; if it is not there, the new time counts, of which nothing is known yet."""
    old = TIME - 86_400_000
    assert run([ZONE, instance(-1440)], **stored(old)).value == name(-1440)
    played = run([ZONE, *NOWHERE, name(0)], **stored(old))
    assert times_of(played) == [TIME]
    played = run([ZONE, *NOWHERE, CONFLICT, THE_FLOW, instance(0)], on_conflict="fail", **stored(old))
    assert isinstance(played.error, EnosTriggerConflictError)


# A retry after a refusal that was recorded


SURE = [
    UNSENT,
    never_sent(refusal(EnosServerError, 503)),
    refusal(EnosAccessError, 62103),
    refusal(EnosRateLimitError, 429),
    refusal(EnosRequestError, 62104),
    refusal(EnosApiError, 99403),
]


@pytest.mark.parametrize("error", SURE)
def test_refusal_is_recorded(run: Any, records: list[Intent], error: EnosError) -> None:
    assert type(run([error], has_record=True).error) is type(error)
    assert records == [written(0, 0, TIME, TIME), written(0, 0, TIME, TIME, refused=True)]


def test_conflict_is_recorded_before_anything_is_looked_at(run: Any, records: list[Intent]) -> None:
    """Whatever fails then, a retry knows that the instance in this minute is somebody else's."""
    run([CONFLICT, THE_FLOW, LOST], has_record=True)
    assert records[-1] == written(0, 0, TIME, TIME, refused=True)


def test_clock_minute_is_waited_out_with_an_open_record(run: Any, records: list[Intent]) -> None:
    """Each time it is sent again, it may be carried out."""
    run([CONFLICT, THE_FLOW, *NOWHERE, LOST, *NOWHERE * 5], has_record=True)
    assert [record.refused for record in records] == [False, True, False]


def test_flow_that_is_switched_off_is_not_waited_for_long(run: Any, log: Any) -> None:
    """Whether EnOS starts a flow whose schedule is off is not documented; what it would say then, neither."""
    off = replace(THE_FLOW, type=FlowType.PERIODIC, active=False)
    played = run([CONFLICT, off, *NOWHERE] * 10)
    assert isinstance(played.error, EnosTriggerConflictError)
    assert "though no instance has this minute, perhaps since its schedule is switched off: " in str(played.error)
    assert "it may count minutes by its own clock, perhaps since its schedule is switched off. Trying" in "".join(
        log.lines
    )
    assert 120 < sum(played.pauses) < 180


@pytest.mark.parametrize("error", [CONFLICT, *SURE])
def test_refusal_after_an_unanswered_request_is_not_recorded(run: Any, records: list[Intent], error: EnosError) -> None:
    """The unanswered one may still arrive."""
    rest = [THE_FLOW, LOST] if error is CONFLICT else []
    assert run([*NOWHERE, error, *rest], **stored()).error is not None
    assert [record.refused for record in records] == [False]


def test_retry_after_a_refusal_sends_without_a_look(run: Any) -> None:
    played = run([name(0)], **stored(refused=True))
    assert played.operations == [TRIGGER]
    assert times_of(played) == [TIME]


def test_retry_after_a_refusal_takes_over_nothing(run: Any) -> None:
    """What is in the minute is another task's, or somebody else's."""
    played = run([CONFLICT, THE_FLOW, instance(0), ZONE, name(1)], **stored(refused=True))
    assert played.value == name(1)
    played = run([CONFLICT, THE_FLOW, instance(0)], on_conflict="fail", **stored(refused=True))
    assert isinstance(played.error, EnosTriggerConflictError)
    played = run([ZONE, CONFLICT, THE_FLOW, instance(2), name(3)], **stored(FIRST + 2 * MINUTE, refused=True))
    assert played.value == name(3)


# After a clear


def test_round_has_a_minute_of_its_own(run: Any, records: list[Intent]) -> None:
    played = run([ZONE, name(2)], first_index=2)
    assert played.value == name(2)
    assert played.operations == [ZONE_CALL, TRIGGER]
    assert times_of(played) == [FIRST + 2 * MINUTE]
    assert records[0] == written(0, 2, TIME, FIRST + 2 * MINUTE, index=2)


def test_round_never_takes_the_instance_of_an_earlier_round(run: Any) -> None:
    """A retry looks at its own minute; the conflict of a fresh attempt leads away from the earlier ones."""
    assert ids_of(run([ZONE, instance(2)], **retry(first_index=2))) == [name(2)]
    played = run([ZONE, CONFLICT, THE_FLOW, instance(2), name(3)], first_index=2)
    assert times_of(played) == [FIRST + 2 * MINUTE, FIRST + 3 * MINUTE]


@pytest.mark.parametrize(
    ("zone", "after"),
    [("Asia/Shanghai", -1), ("GMT+8", -1), ("UTC", 1), ("Mars/Olympus\n\udc80", 1)],
)
def test_zone_of_the_gateway_bounds_the_day(run: Any, log: Any, zone: str, after: int) -> None:
    """15:59 UTC is 23:59 in China. A name that cannot be read counts as UTC, with a warning."""
    late = FIRST + (9 * 60 + 33) * MINUTE
    assert times_of(run([zone, name(0)], trigger_time=late, first_index=1)) == [late + after * MINUTE]
    warnings = [line for line in log.lines if "zone" in line]
    if zone.startswith("Mars"):
        assert warnings == ["warning: EnOS names its time zone 'Mars/Olympus', which cannot be read: taking UTC"]
    else:
        assert warnings == []


def test_zone_that_cannot_be_asked(run: Any) -> None:
    assert isinstance(run([LOST], first_index=1).error, EnosTransportError)


def test_more_clears_than_minutes(run: Any) -> None:
    assert isinstance(run([ZONE], first_index=1440).error, EnosTriggerConflictError)


# Looking


@pytest.mark.parametrize("unknown", [GONE, refusal(EnosNotFoundError, 62102), refusal(EnosServerError, 62109)])
@pytest.mark.parametrize("type", [0, 1, 2])
def test_list_decides_where_the_id_is_unknown(run: Any, unknown: EnosError, type: int) -> None:
    """How EnOS answers for an unknown id, and which type a triggered instance has, is not documented."""
    other = instance(0, instanceId="odd-1")
    played = run([unknown, *[page()] * (2 * type + 1), page(other)], **retry())
    assert played.value == "odd-1"
    body = json.loads(played.sent[-1].body)
    assert body["type"] == type
    assert (body["fromTriggerTime"], body["toTriggerTime"]) == (FIRST, FIRST + MINUTE)
    assert (body["expression"], body["status"], body["owner"]) == ("3377", "", "")


@pytest.mark.parametrize(
    "other",
    [
        instance(0, instanceId="3377-2020070606"),
        instance(0, instanceId="3377-202007060626"),
        instance(0, instanceId="33770-20200706062600", flowId=33770),
        instance(0, instanceId="odd-1", flowId=None),
    ],
)
def test_others_in_the_list_are_passed_over(run: Any, other: FlowInstance) -> None:
    """Those of EnOS's own schedule, and those of flows whose id or name happens to match."""
    played = run([GONE, page(other), *[page()] * 4, name(0)], **retry())
    assert played.operations[-1] == TRIGGER
    played = run([GONE, page(other, instance(0))], **retry())
    assert played.value == name(0)
