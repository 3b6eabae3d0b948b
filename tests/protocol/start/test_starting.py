"""Exactly one instance, whatever is lost, retried or cleared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from starts import (
    CONFLICT,
    FIRST,
    FLOW,
    GONE,
    LIST,
    LOOK,
    LOOKED_FOR,
    LOST,
    NOT_LISTED,
    NOWHERE,
    TARGET,
    THE_FLOW,
    TIME,
    TRIGGER,
    UNSENT,
    ZONE,
    ZONE_CALL,
    Kept,
    ids_of,
    instance,
    name,
    named,
    never_sent,
    page,
    refusal,
    retry,
    started_id,
    stored,
    times_of,
    written,
)

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosApiError,
    EnosAuthError,
    EnosError,
    EnosNotFoundError,
    EnosRateLimitError,
    EnosReplyError,
    EnosRequestError,
    EnosServerError,
    EnosTransportError,
    EnosTriggerConflictError,
    EnosTriggerTargetError,
    EnosTriggerUncertainError,
)
from airflow_provider_enos.protocol.models import Flow, FlowInstance, FlowInstancePage, FlowType
from airflow_provider_enos.protocol.start.attempts import Attempt, Intent, Target
from airflow_provider_enos.protocol.trigger_time import MINUTE, MOST_MINUTES, predicted_flow_instance_id
from airflow_provider_enos.protocol.wire.messages import Call

# Fresh


@pytest.mark.parametrize("has_record", [False, True])
def test_fresh_attempt_sends_and_asks_nothing_else(run: Any, log: Any, has_record: bool) -> None:
    played = run([name(0)], has_record=has_record)
    assert played.value == name(0)
    assert played.operations == [TRIGGER]
    assert times_of(played) == [TIME]
    assert log.lines == [f"info: Started flow instance {name(0)}"]


@pytest.mark.parametrize(
    ("target", "operation"),
    [
        (Target(3377), "Trigger Flow"),
        (Target(3377, 108580), "Trigger Flow From Task"),
        (Target(3377, None, {"a": "b"}), "Update And Trigger Flow"),
        (Target(3377, None, {}), "Update And Trigger Flow"),
    ],
)
def test_targets(run: Any, target: Target, operation: str) -> None:
    assert run([name(0)], target=target).operations == [operation]


def test_returned_id_counts_more_than_the_predicted(run: Any, log: Any, records: list[Intent]) -> None:
    assert run(["odd-1"]).value == "odd-1"
    assert [line for line in log.lines if "warning" in line] == [
        f"warning: EnOS named the instance odd-1, not {name(0)}"
    ]
    assert records[-1].flow_instance_id == "odd-1"


def test_intent_is_recorded_before_and_after_the_request(run: Any, records: list[Intent]) -> None:
    def answer(call: Call[Any]) -> str:
        assert records == [written(0, 0, TIME, TIME)]
        return name(0)

    run(answer)
    assert records == [written(0, 0, TIME, TIME), named(0, 0, TIME, TIME, name(0))]


def test_intent_is_recorded_before_each_request(run: Any, records: list[Intent]) -> None:
    run([CONFLICT, THE_FLOW, instance(0), ZONE, name(1)])
    assert records == [
        written(0, 0, TIME, TIME),
        written(0, 0, TIME, TIME, refused=True),
        written(0, 0, TIME, FIRST + MINUTE, index=1),
        named(0, 0, TIME, FIRST + MINUTE, name(1), index=1),
    ]


def test_intent_names_the_round(run: Any, records: list[Intent]) -> None:
    run([ZONE, name(2)], max_tries=7, first_index=2)
    assert records == [
        written(7, 2, TIME, FIRST + 2 * MINUTE, index=2),
        named(7, 2, TIME, FIRST + 2 * MINUTE, name(2), index=2),
    ]


def test_intent_is_recorded_with_what_was_taken_over(run: Any, records: list[Intent]) -> None:
    run([instance(0)], **retry())
    assert records == [written(0, 0, TIME, TIME, name(0), first_sent=0)]


# The same try, executed twice


@pytest.mark.parametrize("status", ["RUNNING", "SUCCESS"])
@pytest.mark.parametrize("flow_instance_id", [None, name(0)])
def test_fresh_attempt_with_an_intent_takes_over_its_own(run: Any, flow_instance_id: str | None, status: str) -> None:
    """It sent, or was about to, before its process was lost: nothing is sent blindly."""
    played = run([instance(0, status)], **stored(TIME, flow_instance_id, fresh=True))
    assert played.value == name(0)
    assert played.operations == [LOOK]


def test_fresh_attempt_with_an_intent_looks_before_it_sends(run: Any) -> None:
    """And what appears in the minute between the look and the request is its own."""
    played = run([*NOWHERE, CONFLICT, THE_FLOW, instance(0)], on_conflict="fail", **stored(fresh=True))
    assert played.value == name(0)
    assert played.operations == [*LOOKED_FOR, TRIGGER, FLOW, LOOK]


# A lost reply


def no_instance_id(call: Call[Any]) -> Any:
    """The trigger's answer names an instance that cannot be one."""
    return error_of(call, {"flowInstanceId": "a b"})


def error_of(call: Call[Any], data: object) -> EnosReplyError:
    with pytest.raises(EnosReplyError) as raised:
        call.parse(data)
    return raised.value


UNANSWERED = [
    LOST,
    refusal(EnosServerError, 503),
    refusal(EnosServerError, 62109),
    EnosReplyError("garbage"),
    no_instance_id,
]


@pytest.mark.parametrize("fault", UNANSWERED)
@pytest.mark.parametrize("status", ["RUNNING", "FAIL", "NONE"])
def test_lost_reply_is_found(run: Any, log: Any, fault: EnosError, status: str) -> None:
    """Whatever has become of it by then, it is ours."""
    played = run([fault, instance(0, status)])
    assert played.value == name(0)
    assert played.operations == [TRIGGER, 0.0, LOOK]
    looking, found = log.lines
    assert looking.startswith("warning: The trigger was not answered (")
    assert looking.endswith(f"): looking for {name(0)}")
    assert found == (
        f"info: Took over flow instance {name(0)} ({status}), which has the minute of the trigger that was not answered"
    )


def test_lost_reply_is_looked_for_with_growing_pauses(run: Any) -> None:
    played = run([LOST, *NOWHERE, *NOWHERE, instance(0)])
    assert played.value == name(0)
    assert played.pauses == [0, 1, 2]
    assert len(times_of(played)) == 1


def test_lost_reply_is_looked_for_though_looking_fails(run: Any) -> None:
    faults = [LOST, UNSENT, refusal(EnosServerError, 503), refusal(EnosRateLimitError, 429)]
    assert run([LOST, *faults, instance(0)]).value == name(0)


def test_lost_request_is_never_sent_again_blindly(run: Any, records: list[Intent]) -> None:
    played = run([LOST, *NOWHERE * 5])
    assert isinstance(played.error, EnosTriggerUncertainError)
    assert played.error.flow_instance_id == name(0)
    assert name(0) in str(played.error)
    assert not played.error.final
    assert played.pauses == [0, 1, 2, 4, 8]
    assert len(times_of(played)) == 1
    assert records == [written(0, 0, TIME, TIME)]


@pytest.mark.parametrize(
    "error",
    [
        UNSENT,
        never_sent(refusal(EnosServerError, 503)),
        never_sent(EnosReplyError("garbage")),
        refusal(EnosAuthError, 401),
        refusal(EnosAccessError, 62103),
        refusal(EnosRateLimitError, 429),
        refusal(EnosRequestError, 62104),
        refusal(EnosRequestError, 404),
        refusal(EnosApiError, 99403),
        refusal(EnosApiError, 99999),
        refusal(EnosApiError, -1),
    ],
)
def test_surely_not_started(run: Any, error: EnosError) -> None:
    """Nothing can have come of it: no looking around, the error says it all. An unknown code is a refusal too."""
    played = run([error])
    assert type(played.error) is type(error)
    assert str(played.error) == str(error)
    assert played.operations == [TRIGGER]


# A conflict


@pytest.mark.parametrize("missing", [GONE, refusal(EnosNotFoundError, 62102)])
def test_flow_is_missing(run: Any, missing: EnosError) -> None:
    played = run([CONFLICT, missing])
    assert isinstance(played.error, EnosTriggerTargetError)
    assert str(played.error) == f"flow_id: EnOS has no flow 3377 ({missing})"
    assert played.operations == [TRIGGER, FLOW]


def test_node_is_missing(run: Any) -> None:
    played = run([CONFLICT, THE_FLOW], target=Target(3377, 5))
    assert isinstance(played.error, EnosTriggerTargetError)
    assert str(played.error) == ("from_task_id: flow 3377 has no task node 5; it has 108580 (first), 108581 (second)")


@pytest.mark.parametrize(
    ("target", "flow"),
    [(Target(3377), THE_FLOW), (TARGET, Flow.parse({"flowId": 3377})), (TARGET, THE_FLOW)],
    ids=["whole flow", "graph without nodes", "node is there"],
)
def test_target_is_there(run: Any, target: Target, flow: Flow) -> None:
    """Then it is the minute that is taken."""
    assert run([CONFLICT, flow, instance(0)], target=target, on_conflict="attach").value == name(0)


UNSURE = [
    LOST,
    UNSENT,
    refusal(EnosRequestError, 404),
    refusal(EnosRequestError, 413),
    refusal(EnosRequestError, 62104),
    refusal(EnosServerError, 500),
    refusal(EnosServerError, 503),
    refusal(EnosServerError, 62109),
    refusal(EnosRateLimitError, 429),
    refusal(EnosApiError, 99403),
    EnosReplyError("Get Flow: flow: graph: expected JSON, got '{'"),
]
"""What says nothing about whether the flow exists."""


@pytest.mark.parametrize("unsure", UNSURE)
def test_failing_look_at_the_flow_does_not_blame_it(run: Any, log: Any, unsure: EnosError) -> None:
    """It is logged, and the conflict is settled by who has the minute."""
    played = run([CONFLICT, unsure, instance(0), ZONE, name(1)])
    assert played.value == name(1)
    assert played.operations == [TRIGGER, FLOW, LOOK, ZONE_CALL, TRIGGER]
    assert log.lines[0] == f"warning: Cannot check flow 3377, taking it that it exists: {unsure}"
    assert run([CONFLICT, unsure, instance(0)], on_conflict="attach").value == name(0)


@pytest.mark.parametrize("error", [refusal(EnosAccessError, 62103), refusal(EnosAuthError, 401)])
def test_look_at_the_flow_that_is_refused_for_good(run: Any, error: EnosError) -> None:
    played = run([CONFLICT, error])
    assert type(played.error) is type(error)
    assert played.operations == [TRIGGER, FLOW]


def test_next_minute(run: Any, log: Any) -> None:
    played = run([CONFLICT, THE_FLOW, instance(0), ZONE, name(1)])
    assert played.value == name(1)
    assert played.operations == [TRIGGER, FLOW, LOOK, ZONE_CALL, TRIGGER]
    assert times_of(played) == [TIME, FIRST + MINUTE]
    assert any(f"The minute of {name(0)} is taken (RUNNING)" in line for line in log.lines)


def test_next_minutes_one_after_the_other(run: Any) -> None:
    taken = [answer for minute in (1, 2) for answer in (CONFLICT, THE_FLOW, instance(minute))]
    played = run([CONFLICT, THE_FLOW, instance(0), ZONE, *taken, name(3)])
    assert times_of(played) == [TIME, *(FIRST + minute * MINUTE for minute in (1, 2, 3))]


def test_next_minute_stays_within_the_day_of_the_gateway(run: Any) -> None:
    """15:59 UTC is 23:59 there."""
    late = FIRST + (9 * 60 + 33) * MINUTE
    played = run([CONFLICT, THE_FLOW, instance(9 * 60 + 33), ZONE, name(9 * 60 + 32)], trigger_time=late + 5)
    assert times_of(played) == [late + 5, late - MINUTE]


def always_taken(call: Call[Any]) -> Any:
    return {TRIGGER: CONFLICT, FLOW: THE_FLOW, LOOK: instance(0), ZONE_CALL: ZONE}[call.operation]


@pytest.mark.parametrize("first_index", [0, 3])
def test_no_minute_is_free(run: Any, first_index: int) -> None:
    """Thirty more are tried."""
    played = run(always_taken, first_index=first_index)
    assert isinstance(played.error, EnosTriggerConflictError)
    assert len(set(times_of(played))) == len(times_of(played)) == MOST_MINUTES + 1


@pytest.mark.parametrize("on_conflict", ["next_minute", "attach", "fail"])
@pytest.mark.parametrize("error", [CONFLICT, refusal(EnosRateLimitError, 429), UNSENT])
def test_a_try_that_is_superseded_starts_and_takes_nothing(
    run: Any, records: Any, on_conflict: str, error: EnosError
) -> None:
    """The minute may have the instance of the try after it, whose record it must not touch."""
    played = run([error], on_conflict=on_conflict, superseded=True)
    assert isinstance(played.error, EnosTriggerConflictError)
    assert "another try of this task has begun since this one" in str(played.error)
    assert str(played.error.__cause__) == str(error)
    assert (times_of(played), len(records)) == ([TIME], 1)


def test_a_refusal_for_good_is_one_for_every_try(run: Any, records: Any) -> None:
    """Also where it cannot be told whether another one has begun."""
    played = run([refusal(EnosAccessError, 62103)], superseded=True)
    assert isinstance(played.error, EnosAccessError)
    assert len(records) == 1


def test_attach(run: Any, log: Any) -> None:
    played = run([CONFLICT, THE_FLOW, instance(0)], on_conflict="attach")
    assert played.value == name(0)
    assert len(times_of(played)) == 1
    assert any('somebody else started in this minute (on_conflict="attach")' in line for line in log.lines)


def test_fail(run: Any) -> None:
    played = run([CONFLICT, THE_FLOW, instance(0)], on_conflict="fail")
    assert isinstance(played.error, EnosTriggerConflictError)
    assert str(played.error) == (
        f'flow 3377 has an instance for this minute already: {name(0)} (RUNNING), and on_conflict is "fail"'
    )


@pytest.mark.parametrize("on_conflict", ["next_minute", "attach", "fail"])
def test_gateway_that_counts_its_own_minutes_is_waited_for(run: Any, log: Any, on_conflict: str) -> None:
    """No instance has the minute: the same is sent again."""
    refused = [CONFLICT, THE_FLOW, *NOWHERE]
    played = run([*refused * 3, name(0)], on_conflict=on_conflict)
    assert played.value == name(0)
    assert played.pauses == [1, 2, 4]
    assert times_of(played) == [TIME] * 4
    assert log.lines == [
        *(
            "info: EnOS refuses the trigger, though no instance has this minute; it may count minutes by its own "
            f"clock. Trying again in {pause} s: x: 62102 Cannot create workflow instance."
            for pause in (1, 2, 4)
        ),
        f"info: Started flow instance {name(0)}",
    ]


@pytest.mark.parametrize(
    ("patience", "waited"),
    [
        (0, 0),
        (0.5, 0),
        (120, 95),
        (3599, 3583),
        (3600, 3583),
        # 63 s, and then 110 pauses of 32 s: one more would be longer than the hour.
        (7 * 86_400, 3583),
    ],
)
def test_gateway_that_counts_its_own_minutes_is_given_up(run: Any, clock: Any, patience: float, waited: float) -> None:
    """After an hour, or at the deadline if that comes first."""

    def answer(call: Call[Any]) -> Any:
        return {TRIGGER: CONFLICT, FLOW: THE_FLOW, LOOK: GONE, LIST: page()}[call.operation]

    before = clock.now
    played = run(answer, patience=patience, most=2000)
    assert isinstance(played.error, EnosTriggerConflictError)
    assert str(played.error) == (
        "flow 3377: the gateway went on refusing the trigger, though no instance has this minute: "
        "x: 62102 Cannot create workflow instance."
    )
    assert played.pauses[:7] == [1, 2, 4, 8, 16, 32, 32][: len(played.pauses)]
    assert set(played.pauses[6:]) <= {32}
    assert sum(played.pauses) == clock.now - before == waited


def test_pauses_go_on_from_one_minute_to_the_next(run: Any) -> None:
    """Else, where many tasks wait for a gateway's clock, all would begin with short ones each time one gets through."""
    refused = [CONFLICT, THE_FLOW, *NOWHERE]
    played = run([*refused * 3, CONFLICT, THE_FLOW, instance(0), ZONE, *refused * 2, name(1)])
    assert played.value == name(1)
    assert played.pauses == [1, 2, 4, 8, 16]


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


# Exactly once


@dataclass
class World:
    """A gateway that keeps one instance a minute, and what goes wrong on the way to it."""

    faults: Iterator[str]
    blind: Iterator[bool]
    arrivals: Iterator[bool]
    first_page: int
    instances: dict[str, str] = field(default_factory=dict)
    under_way: list[str] = field(default_factory=list)

    def arrive(self) -> None:
        for late in self.under_way:
            self.instances.setdefault(late, "RUNNING")
        self.under_way.clear()

    def __call__(self, call: Call[Any]) -> Any:
        if next(self.arrivals, False):
            self.arrive()
        if call.operation == TRIGGER:
            return self.trigger(json.loads(call.body or b"")["triggerTime"])
        if next(self.blind, False):
            return LOST
        return {LOOK: self.look, LIST: self.list, FLOW: lambda call: THE_FLOW, ZONE_CALL: lambda call: ZONE}[
            call.operation
        ](call)

    def trigger(self, time: int) -> Any:
        wanted = predicted_flow_instance_id(3377, time)
        fault = next(self.faults, "none")
        if fault == "unsent":
            return UNSENT
        if fault == "request lost":
            return LOST
        if fault == "request late":
            self.under_way.append(wanted)
            return LOST
        taken = wanted in self.instances
        self.instances.setdefault(wanted, "RUNNING")
        if fault == "reply lost":
            return refusal(EnosServerError, 504)
        return CONFLICT if taken else wanted

    def look(self, call: Call[Any]) -> Any:
        wanted = dict(call.query)["flowInstId"]
        if wanted not in self.instances:
            return GONE
        return FlowInstance.parse({"instanceId": wanted, "flowId": 3377, "status": self.instances[wanted]})

    def list(self, call: Call[Any]) -> FlowInstancePage:
        body = json.loads(call.body or b"")
        start = datetime.fromtimestamp(body["fromTriggerTime"] / 1000, UTC)
        wanted = f"3377-{start:%Y%m%d%H%M}00"
        if body["type"] != 0 or body["pagination"]["pageNo"] != self.first_page or wanted not in self.instances:
            return page()
        return page(FlowInstance.parse({"instanceId": wanted, "flowId": 3377, "status": self.instances[wanted]}))


@settings(max_examples=150)
@given(
    faults=st.lists(st.sampled_from(["none", "unsent", "request lost", "request late", "reply lost"]), max_size=8),
    blind=st.lists(st.booleans(), max_size=30),
    arrivals=st.lists(st.booleans(), max_size=30),
    bad_ends=st.lists(st.sampled_from([None, "FAIL", "CANCEL"]), max_size=4),
    on_conflict=st.sampled_from(["next_minute", "attach", "fail"]),
    has_record=st.booleans(),
    first_index=st.sampled_from([0, 1]),
    first_page=st.sampled_from([0, 1]),
)
def test_exactly_once(
    play: Any,
    new_clock: Any,
    new_log: Any,
    faults: list[str],
    blind: list[bool],
    arrivals: list[bool],
    bad_ends: list[str | None],
    on_conflict: Any,
    has_record: bool,
    first_index: int,
    first_page: int,
) -> None:
    """Requests and replies get lost or late, instances end badly, the task is retried: one lives at the end."""
    clock = new_clock()
    world = World(iter(faults), iter(blind), iter(arrivals), first_page)
    records: list[Intent] = []
    ends = iter(bad_ends)
    for attempt in range(60):
        where = Attempt(
            trigger_time=TIME,
            first_index=first_index,
            fresh=attempt == 0,
            has_record=has_record,
            intent=records[-1] if has_record and records else None,
        )
        steps = started_id(
            TARGET,
            where,
            Kept(records),
            new_log(),
            on_conflict=on_conflict,
            tolerance=0.0,
            deadline=clock.now + 3600,
            clock=clock,
            gateway_clock=clock,
        )
        played = play(steps, world, clock)
        if played.error is not None:
            assert isinstance(played.error, (EnosTransportError, EnosTriggerUncertainError))
            continue
        assert played.value in world.instances
        bad_end = next(ends, None)
        if bad_end is None:
            break
        world.instances[played.value] = bad_end
    else:
        pytest.fail("it never succeeded")
    world.arrive()
    assert [name for name, status in world.instances.items() if status == "RUNNING"] == [played.value]
