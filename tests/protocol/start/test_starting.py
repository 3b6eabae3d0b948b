"""The first try: an instance of its own, a lost reply, a conflict."""

from __future__ import annotations

from typing import Any

import pytest
from starts import (
    CONFLICT,
    FIRST,
    FLOW,
    GONE,
    LIST,
    LOOK,
    LOOKED_FOR,
    LOST,
    NOWHERE,
    TARGET,
    THE_FLOW,
    TIME,
    TRIGGER,
    UNSENT,
    ZONE,
    ZONE_CALL,
    instance,
    name,
    named,
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
    EnosAuthError,
    EnosError,
    EnosNotFoundError,
    EnosRateLimitError,
    EnosReplyError,
    EnosRequestError,
    EnosServerError,
    EnosTriggerConflictError,
    EnosTriggerTargetError,
    EnosTriggerUncertainError,
)
from airflow_provider_enos.protocol.models import Flow
from airflow_provider_enos.protocol.start.attempts import Intent, Target
from airflow_provider_enos.protocol.trigger_time import MINUTE, MOST_MINUTES
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
