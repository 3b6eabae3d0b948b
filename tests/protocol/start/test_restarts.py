"""A retry with ``retry_from="failure"`` restarts from the node that has to run again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from starts import (
    CONFLICT,
    FIRST,
    FLOW,
    GONE,
    LOOK,
    LOST,
    NOWHERE,
    THE_FLOW,
    TIME,
    TRIGGER,
    ZONE,
    ZONE_CALL,
    graph,
    instance,
    name,
    refusal,
    retry,
    stored,
    times_of,
)

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosReplyError,
    EnosTransportError,
    EnosTriggerConflictError,
    EnosTriggerError,
    EnosTriggerUncertainError,
)
from airflow_provider_enos.protocol.models import Flow
from airflow_provider_enos.protocol.start.attempts import Intent, Target
from airflow_provider_enos.protocol.trigger_time import MINUTE

NODE = 108581
FLOW_OF_THREE = Flow.parse({"flowId": 3377, "graph": {"tasks": [{"taskId": 108580 + at} for at in range(3)]}})
CHOICE = [THE_FLOW, ZONE]


def nodes_of(played: Any) -> list[int | None]:
    """The nodes that were asked for; None for the whole flow."""
    return [json.loads(call.body).get("taskId") for call in played.sent if "Trigger" in call.operation]


def after(try_number: int = 2, **changes: Any) -> dict[str, Any]:
    """A retry after a try whose request is on record."""
    return {
        **stored(**changes),
        "retry_from": "failure",
        "try_number": try_number,
        "tries_before": try_number - 1,
    }


def test_retry_restarts_from_the_node_that_failed(run: Any, log: Any, records: list[Intent]) -> None:
    played = run([instance(0, "FAIL"), graph(), *CHOICE, name(1)], **after())
    assert played.value == name(1)
    assert played.operations == [LOOK, LOOK, FLOW, ZONE_CALL, TRIGGER]
    assert (times_of(played), nodes_of(played)) == ([FIRST + MINUTE], [NODE])
    assert log.lines[:2] == [
        f"info: {name(0)} ended with status FAIL: starting another",
        "info: Retry 1 restarts flow 3377 from node n1 (108581): 1 of 2 nodes failed; 1 that succeeded is kept",
    ]
    assert [(one.first_task_id, one.from_task_id, one.is_open) for one in records] == [
        (108580, NODE, True),
        (108580, NODE, False),
    ]


def test_whole_flow_is_restarted_from_a_node_too(run: Any, records: list[Intent]) -> None:
    whole = after()
    whole["intent"] = replace(whole["intent"], first_task_id=None, from_task_id=None)
    played = run([instance(0, "FAIL"), graph(), *CHOICE, name(1)], target=Target(3377), **whole)
    assert nodes_of(played) == [NODE]
    assert (records[-1].first_task_id, records[-1].from_task_id) == (None, NODE)


def test_cancelled_counts_as_ended_badly(run: Any) -> None:
    cancelled = graph(statuses="SUCCESS CANCEL", status="CANCEL")
    assert nodes_of(run([instance(0, "CANCEL"), cancelled, *CHOICE, name(1)], **after())) == [NODE]


@pytest.mark.parametrize("changes", [{"fresh": True}, {"retry_from": "start"}])
def test_otherwise_everything_runs_again(run: Any, changes: dict[str, Any]) -> None:
    """Airflow may execute the first try twice."""
    played = run([instance(0, "FAIL"), ZONE, name(1)], **{**after(), **changes})
    assert nodes_of(played) == [108580]


HINDRANCES: dict[str, tuple[dict[str, Any], str]] = {
    "cleared while it ran": ({"clears": 1}, "tasks of the DAG run have been cleared since, perhaps this one"),
    "another day": ({"trigger_time": TIME + 5 * MINUTE}, "the trigger time has changed since"),
}


@pytest.mark.parametrize("name_of", HINDRANCES)
def test_retry_that_may_not_restart_says_why(run: Any, log: Any, name_of: str) -> None:
    changes, why = HINDRANCES[name_of]
    attempt = {**after(), **changes}
    is_day = "trigger_time" in changes
    answers = [*([ZONE] if is_day else []), instance(0, "FAIL"), graph(), *([] if is_day else [ZONE]), name(1)]
    assert nodes_of(run(answers, **attempt)) == [108580]
    assert f"info: Retry 1 starts flow 3377 as the first time: {why}" in log.lines


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([graph(statuses="FAIL INIT"), THE_FLOW], "everything runs again, since its unfinished nodes begin with n0"),
        ([graph(), FLOW_OF_THREE], None),
        ([graph(), Flow.parse({"flowId": 3377})], "the nodes of flow 3377 have changed since"),
        ([graph(), refusal(EnosAccessError, 62101)], "flow 3377 cannot be read ("),
        ([graph(), EnosReplyError("garbage")], "flow 3377 cannot be read (garbage)"),
        ([GONE], "it cannot be read ("),
    ],
    ids=str,
)
def test_fallbacks_to_the_original_start_say_why(run: Any, log: Any, answers: list[Any], why: str | None) -> None:
    played = run([instance(0, "FAIL"), *answers, ZONE, name(1)], **after())
    assert nodes_of(played) == [NODE if why is None else 108580]
    assert why is None or any(f"as the first time: {why}" in line for line in log.lines)


def test_flow_that_is_out_of_reach_sends_nothing(run: Any) -> None:
    """A whole start would repeat what has succeeded; the next retry may do better."""
    played = run([instance(0, "FAIL"), graph(), LOST], **after())
    assert isinstance(played.error, EnosTransportError)
    assert times_of(played) == []


def test_nothing_of_the_failed_instance_may_run(run: Any, log: Any) -> None:
    """EnOS shows FAIL as soon as one node has failed."""
    branch = graph(statuses="SUCCESS FAIL RUNNING", endTime=None)
    quiet = graph(statuses="SUCCESS FAIL INIT", endTime=None)
    answers = [instance(0, "FAIL"), branch, quiet, branch, quiet, quiet, FLOW_OF_THREE, ZONE, name(1)]
    played = run(answers, **after())
    assert nodes_of(played) == [NODE]
    assert played.pauses == [2.0, 4.0, 8.0, 16.0]
    said = f"info: Waiting until nothing of {name(0)} runs any more: node n2 (2-1) is running"
    assert log.lines.count(said) == 1


@pytest.mark.parametrize("status", ["WAIT", "READY"])
def test_node_of_the_failed_instance_may_wait_for_its_turn(run: Any, log: Any, status: str) -> None:
    """As long as EnOS shows no end of the instance, such a node may begin. After minutes it never will."""
    queued = graph(statuses=f"SUCCESS FAIL {status}", endTime=None)
    branch = graph(statuses="SUCCESS FAIL RUNNING", endTime=None)
    quiet = graph(statuses="SUCCESS FAIL SUCCESS", endTime=None)
    rest = [FLOW_OF_THREE, ZONE, name(1)]
    played = run([instance(0, "FAIL"), *[queued] * 4, branch, quiet, quiet, *rest], **after())
    assert nodes_of(played) == [NODE]
    said = f"info: Waiting until nothing of {name(0)} runs any more: node n2 (2-1) waits for its turn"
    assert log.lines.count(said) == 1
    played = run([instance(0, "FAIL"), *[queued] * 15, *rest], **after())
    assert 300 < sum(played.pauses) < 340
    ended = graph(statuses=f"SUCCESS FAIL {status}")
    assert run([instance(0, "FAIL"), ended, *rest], **after()).pauses == []


def test_failed_instance_that_never_comes_to_rest(run: Any) -> None:
    branch = graph(statuses="SUCCESS FAIL RUNNING", endTime=None)
    looks = iter([instance(0, "FAIL")])
    played = run(lambda call: next(looks, branch), **after(), patience=100)
    assert isinstance(played.error, EnosTriggerError)
    assert not played.error.final
    assert str(played.error) == (
        f"nothing is started: the failed flow instance {name(0)} has not come to rest: node n2 (2-1) is running"
    )
    assert sum(played.pauses) <= 100


@pytest.mark.parametrize("status", ["RERUN", "RUNNING", "SUCCESS"])
def test_instance_that_somebody_reruns_is_taken_over(run: Any, status: str) -> None:
    again = graph(status=status, statuses="SUCCESS SUCCESS")
    played = run([instance(0, "FAIL"), again, instance(0, status)], **after())
    assert played.value == name(0)
    assert times_of(played) == []


# The node is on record


def restarted(**changes: Any) -> dict[str, Any]:
    return after(3, sent_time=FIRST + MINUTE, node=NODE, **changes)


def test_retry_after_a_crash_sends_the_same_node_again(run: Any, log: Any) -> None:
    played = run([ZONE, *NOWHERE, name(1)], **restarted())
    assert (times_of(played), nodes_of(played)) == ([FIRST + MINUTE], [NODE])
    assert log.lines[0] == "info: Retry 2 restarts flow 3377 from node 108581, as an earlier try was to"


def test_retry_after_a_crash_adopts_what_it_finds(run: Any, records: list[Intent]) -> None:
    played = run([ZONE, instance(1)], **restarted())
    assert played.value == name(1)
    assert (records[-1].first_task_id, records[-1].from_task_id) == (108580, NODE)


@pytest.mark.parametrize(
    "changes", [{"clears": 1}, {"retry_from": "start"}, {"target": Target(3377)}, {"target": Target(3377, 108582)}]
)
def test_node_on_record_is_not_sent_where_it_no_longer_counts(run: Any, changes: dict[str, Any]) -> None:
    played = run([ZONE, *NOWHERE, name(1)], **{**restarted(), **changes})
    assert nodes_of(played) == [changes.get("target", Target(3377, 108580)).from_task_id]


def test_refused_restart_is_sent_again(run: Any) -> None:
    assert nodes_of(run([ZONE, name(1)], **restarted(refused=True))) == [NODE]


def test_lost_reply_of_a_restart(run: Any, records: list[Intent]) -> None:
    played = run([instance(0, "FAIL"), graph(), *CHOICE, LOST, instance(1)], **after())
    assert played.value == name(1)
    assert records[-1].from_task_id == NODE
    played = run([instance(0, "FAIL"), graph(), *CHOICE, LOST, *NOWHERE * 5], **after())
    assert isinstance(played.error, EnosTriggerUncertainError)


def test_conflict_on_the_minute_of_a_restart(run: Any) -> None:
    answers = [instance(0, "FAIL"), graph(), *CHOICE, CONFLICT, THE_FLOW, instance(1)]
    played = run([*answers, name(2)], **after())
    assert (times_of(played)[-1], nodes_of(played)) == (FIRST + 2 * MINUTE, [NODE, NODE])
    assert isinstance(run(answers, on_conflict="fail", **after()).error, EnosTriggerConflictError)


@pytest.mark.parametrize(
    ("statuses", "node", "said"),
    [
        ("INIT SUCCESS FAIL", 108582, "node n2 (108582): 1 of 2 nodes failed; 1 that succeeded is kept"),
        ("INIT FAIL INIT", NODE, "node n1 (108581): 1 of 2 nodes failed, 1 never ran; 0 that succeeded are kept"),
    ],
)
def test_second_failure_counts_from_the_node_of_the_restart(
    run: Any, log: Any, statuses: str, node: int, said: str
) -> None:
    answers = [ZONE, instance(1, "FAIL"), graph(1, statuses), FLOW_OF_THREE, name(2)]
    assert nodes_of(run(answers, **restarted())) == [node]
    assert f"info: Retry 2 restarts flow 3377 from {said}" in log.lines


def test_node_that_is_gone_gives_way_to_the_original_start(run: Any, log: Any) -> None:
    gone = Flow.parse({"flowId": 3377, "graph": {"tasks": [{"taskId": 108580}]}})
    played = run([ZONE, *NOWHERE, CONFLICT, gone, name(1)], **restarted())
    assert nodes_of(played) == [NODE, 108580]
    assert any("has no task node 108581" in line and line.endswith("starting as the first time") for line in log.lines)


# EnOS may not follow the relations whose ``rerun`` flag is off


def test_restart_that_left_out_nodes_is_followed_by_the_original_start(run: Any, log: Any) -> None:
    left_out = graph(1, "INIT SUCCESS INIT", "SUCCESS")
    played = run([ZONE, instance(1, "SUCCESS"), left_out, left_out, name(2)], **restarted())
    assert nodes_of(played) == [108580]
    assert log.lines[0] == (
        f"warning: {name(1)} has succeeded, but EnOS did not run all that is downstream of node 108581: n2. "
        "The flow is started as the first time"
    )


def test_restart_that_ran_everything_is_taken_over(run: Any) -> None:
    answers = [ZONE, instance(1, "SUCCESS"), graph(1, "INIT SUCCESS SUCCESS", "SUCCESS")]
    assert run(answers, **restarted()).value == name(1)


# Without a record (before Airflow 3.3)


def without_record(**changes: Any) -> dict[str, Any]:
    return {**retry(tries_before=2, try_number=3), "retry_from": "failure", **changes}


def test_first_failure_is_recovered_without_a_record(run: Any) -> None:
    """What the first try has started is known, and a retry that was lost would have chosen the same node."""
    played = run([instance(0, "FAIL"), graph(), *CHOICE, *NOWHERE, name(1)], **without_record())
    assert nodes_of(played) == [NODE]
    played = run([instance(0, "FAIL"), graph(), *CHOICE, instance(1)], **without_record())
    assert played.value == name(1)


def test_second_failure_starts_all_of_it_without_a_record(run: Any, log: Any) -> None:
    """It is not known which nodes had succeeded before."""
    failures = [instance(0, "FAIL"), graph(), *CHOICE, instance(1, "FAIL"), graph(1, "INIT FAIL")]
    assert nodes_of(run([*failures, name(2)], **without_record())) == [108580]
    assert log.lines[-2] == (
        "info: Retry 2 starts flow 3377 as the first time: it is not on record from which node it was started"
    )


def test_without_a_record_a_clear_hinders(run: Any, log: Any) -> None:
    played = run([instance(0, "FAIL"), graph(), ZONE, *NOWHERE, name(1)], **without_record(clears=1))
    assert nodes_of(played) == [108580]


def test_restart_that_left_out_nodes_is_seen_without_a_record(run: Any) -> None:
    left_out = graph(1, "INIT SUCCESS INIT", "SUCCESS")
    first = [instance(0, "FAIL"), graph(0, "SUCCESS FAIL INIT"), FLOW_OF_THREE, ZONE]
    played = run([*first, instance(1, "SUCCESS"), left_out, left_out, name(2)], **without_record())
    assert nodes_of(played) == [108580]
