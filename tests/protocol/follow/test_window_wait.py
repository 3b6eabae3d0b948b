"""Waiting for the instances of a flow in a window of trigger times."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from windows import FLOW, body, flow, instance, page, several, wanted

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosAuthError,
    EnosError,
    EnosFlowTimeoutError,
    EnosNotFoundError,
    EnosPollLostError,
    EnosRequestError,
    EnosTransportError,
    EnosTriggerTargetError,
)
from airflow_provider_enos.protocol.follow.window_wait import WindowWatch, find
from airflow_provider_enos.protocol.models import FlowInstance, Outcome
from airflow_provider_enos.protocol.wire.messages import Call, Sleep

LOST = EnosTransportError("read timed out", sent=True)


def api_error(cls: Any, code: int, operation: str = "Get Flow") -> EnosError:
    return cls(code, "no", operation=operation, http_status=200)


# Which instances count


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        ({"instanceId": "3377-2024030300"}, True),
        ({"instanceId": "3377-202403030000"}, True),
        ({"instanceId": "3377-a1b2c3"}, True),
        ({"instanceId": "3377-2024030300", "flowId": "3377"}, True),
        ({"instanceId": "3377-2024030300", "flowId": None}, True),
        ({"instanceId": "whatever", "flowId": None}, False),
        ({"instanceId": "9" * 5000 + "-2024030300", "flowId": None}, False),
        ({"instanceId": "33770-2024030300", "flowId": 33770}, False),
        ({"instanceId": "13377-2024030300", "flowId": None}, False),
        ({"instanceId": "4001-2024030300", "flowId": 4001, "flowName": "after 3377"}, False),
    ],
)
def test_the_match_is_exact(data: dict[str, Any], counts: bool) -> None:
    """EnOS matches the id and the name of the flow loosely."""
    found = FlowInstance.parse({"flowId": FLOW, "status": 1, **data})
    assert wanted().counts(found) is counts
    assert (found.flow_id == FLOW) is counts


def test_what_was_triggered_through_the_api_counts_only_if_wanted() -> None:
    triggered = instance("3377-20240303000000")
    assert not wanted().counts(triggered)
    assert wanted(scheduled_only=False).counts(triggered)


def test_the_list_is_asked_for_the_window_and_each_type(play: Any) -> None:
    late, early = instance("3377-2024030301", triggerTime="b"), instance("3377-2024030300", triggerTime="a")
    played = play(find(wanted(types=(1, 0)), FLOW), [page(late), page(early, late)])
    assert played.value == [early, late], "in order of their trigger times, none twice"
    window = wanted().window
    for call, type in zip(played.sent, (0, 1), strict=True):
        asked = body(call)
        assert (asked["type"], asked["expression"], asked["status"]) == (type, "3377", "")
        assert (asked["fromTriggerTime"], asked["toTriggerTime"]) == (window.first, window.end)


# A look


Answers = list[Any] | Callable[[Any], Any]
EMPTY = [page(), page()]
"""Page 0 and page 1."""


@pytest.fixture
def watch(log: Any) -> WindowWatch:
    return WindowWatch(wanted(), tolerance=600, log=log)


@pytest.fixture
def at(play: Any, clock: Any) -> Any:
    return lambda steps, answers: play(steps, answers, clock)


def test_a_look_that_succeeds_is_one_list(watch: WindowWatch, at: Any, clock: Any, log: Any) -> None:
    played = at(watch.look(clock=clock), [page(instance("3377-2024030300"))])
    assert played.value.outcome is Outcome.SUCCEEDED
    assert log.lines == [f"info: Waiting for {watch.wanted}: 3377-2024030300 SUCCESS"]


def test_the_flow_is_asked_for_once_while_there_is_no_instance(watch: WindowWatch, at: Any, clock: Any) -> None:
    assert at(watch.look(clock=clock), [*EMPTY, flow()]).value.outcome is Outcome.RUNNING
    assert at(watch.look(clock=clock), EMPTY).value.outcome is Outcome.RUNNING
    other = WindowWatch(wanted(), tolerance=600, log=watch.log)
    other.remember(json.loads(json.dumps(watch.memory)))
    assert at(other.look(clock=clock), EMPTY).value.outcome is Outcome.RUNNING


def test_a_flow_that_does_not_exist_ends_the_wait_for_good(watch: WindowWatch, at: Any, clock: Any) -> None:
    missing = api_error(EnosNotFoundError, 62102)
    with pytest.raises(
        EnosTriggerTargetError, match=r"^flow_id: EnOS has no flow 3377 \(Get Flow: 62102 no\); expected"
    ):
        _ = at(watch.look(clock=clock), [*EMPTY, missing]).value


def test_its_existence_is_not_asked_for_if_not_wanted(at: Any, clock: Any, log: Any) -> None:
    watch = WindowWatch(wanted(), tolerance=600, log=log, check_existence=False)
    assert at(watch.look(clock=clock), EMPTY).value.outcome is Outcome.RUNNING


@pytest.mark.parametrize("error", [api_error(EnosAccessError, 62103), api_error(EnosRequestError, 404)])
def test_a_flow_that_may_not_be_seen_is_waited_for(watch: WindowWatch, at: Any, clock: Any, error: EnosError) -> None:
    assert at(watch.look(clock=clock), [*EMPTY, error]).value.outcome is Outcome.RUNNING
    assert not watch.checks_flow


def test_a_paused_schedule_is_warned_of(watch: WindowWatch, at: Any, clock: Any, log: Any) -> None:
    at(watch.look(clock=clock), [*EMPTY, flow(active=0)])
    assert log.lines[0] == "warning: The schedule of flow 3377 is paused in EnOS: it starts nothing"


def test_the_first_failure_is_read_singly(watch: WindowWatch, at: Any, clock: Any) -> None:
    """For the statuses of its nodes; the others need not be."""
    listed = several("SUCCESS", "FAIL", "TIMEOUT")
    detailed = instance(listed[1].flow_instance_id, "FAIL", graph={"tasks": [{"taskName": "load", "status": "FAIL"}]})
    played = at(watch.look(clock=clock), [page(*listed), detailed])
    assert played.value.instances == (detailed, listed[2])
    assert watch.listed is not None


def test_a_listed_failure_that_get_denies_does_not_count(watch: WindowWatch, at: Any, clock: Any) -> None:
    """For example, it was run again meanwhile. Then the list alone is no longer enough."""
    (listed,) = several("FAIL")
    played = at(watch.look(clock=clock), [page(listed), instance(listed.flow_instance_id, "RERUN")])
    assert played.value.outcome is Outcome.RUNNING
    assert watch.listed is None
    assert at(watch.look(clock=clock), [page(instance(listed.flow_instance_id))]).value.outcome is Outcome.SUCCEEDED


def test_with_any_each_failure_is_read(at: Any, clock: Any, log: Any) -> None:
    watch = WindowWatch(wanted(instances="any"), tolerance=600, log=log)
    listed = several("FAIL", "TIMEOUT")
    played = at(watch.look(clock=clock), [page(*listed), listed[0], instance(listed[1].flow_instance_id)])
    assert played.value.ids == [listed[1].flow_instance_id]


def test_a_failure_counts_if_only_the_list_has_the_instance(watch: WindowWatch, at: Any, clock: Any) -> None:
    listed = several("CANCEL")
    gone = api_error(EnosNotFoundError, 62102, "Get Flow Instance")
    assert at(watch.look(clock=clock), [page(*listed), gone]).value.outcome is Outcome.FAILED


def test_only_changes_are_logged(watch: WindowWatch, log: Any) -> None:
    watch.saw([], 0)
    watch.saw([], 1)
    for _ in range(3):
        watch.saw(several("RUNNING", "42"), 2)
    watch.saw(several(*["SUCCESS"] * 4, *["RUNNING"] * 20), 3)
    assert [line.removeprefix(f"info: Waiting for {watch.wanted}: ") for line in log.lines] == [
        "no instance yet",
        "3377-2024030300 RUNNING, 3377-2024030301 42",
        "warning: EnOS does not document the status 42",
        "24 instances, 20 RUNNING, 4 SUCCESS",
    ]


# Errors


def test_errors_are_waited_through_for_as_long_as_is_tolerated(watch: WindowWatch, clock: Any, log: Any) -> None:
    for _ in range(3):
        watch.missed(LOST, clock())
        clock.now += 299
    with pytest.raises(
        EnosPollLostError, match=r"^flow 3377, trigger times from .*: EnOS could not be asked for 897 s"
    ):
        watch.missed(LOST, clock())
    assert len(log.lines) == 1
    watch.saw([], clock())
    watch.missed(LOST, clock())


def test_a_refusal_is_an_error_at_once_unless_enos_has_answered_before(watch: WindowWatch, at: Any, clock: Any) -> None:
    refused = api_error(EnosRequestError, 404, "List Flow Instances")
    with pytest.raises(EnosRequestError):
        _ = at(watch.look(clock=clock), [refused, refused]).value
    at(watch.look(clock=clock), [page(*several("RUNNING"))])
    assert at(watch.look(clock=clock), [refused, refused]).value is None


@pytest.mark.parametrize("error", [api_error(EnosAuthError, 401), api_error(EnosAccessError, 62101)])
def test_a_refusal_is_tolerated_from_the_first_look_on(
    watch: WindowWatch, at: Any, clock: Any, log: Any, error: EnosError
) -> None:
    assert at(watch.look(clock=clock), [error]).value is None
    assert log.lines == [f"warning: Cannot ask EnOS for {watch.wanted}, will go on trying for 600 s: {error}"]
    assert watch.tolerance.failing_since is not None


def test_a_refusal_is_raised_where_the_caller_reads_the_connection(watch: WindowWatch, at: Any, clock: Any) -> None:
    with pytest.raises(EnosAuthError):
        _ = at(watch.look(clock=clock, raises_refusals=True), [api_error(EnosAuthError, 401)]).value
    assert watch.tolerance.failing_since is None, "the watch has not been asked"
    assert at(watch.look(clock=clock, raises_refusals=True), [LOST]).value is None


def test_a_list_whose_pages_never_end_is_left_at_the_deadline(watch: WindowWatch, play: Any, clock: Any) -> None:
    numbers = iter(range(10_000))

    def answer(call: Any) -> Any:
        clock.now += 1
        return page(*(instance(f"3377-{next(numbers)}", "RUNNING") for _ in range(50)))

    played = play(watch.wait(poll_interval=30, deadline=clock.now + 20, clock=clock), answer, clock)
    assert isinstance(played.error, EnosFlowTimeoutError)
    assert len(played.steps) == 20


def test_the_tolerance_spans_processes(watch: WindowWatch, log: Any) -> None:
    watch.missed(LOST, 1000.0)
    other = WindowWatch(watch.wanted, tolerance=600, log=log)
    other.remember(json.loads(json.dumps(watch.memory)))
    with pytest.raises(EnosPollLostError):
        other.missed(LOST, 1600.0)
    assert len(log.lines) == 1


@pytest.mark.parametrize("memory", [None, [], {}, {"wanted": "flow 3377"}, {"wanted": 1, "failing_since": 0}])
def test_the_memory_of_another_window_is_ignored(watch: WindowWatch, memory: Any) -> None:
    before = watch.memory
    watch.remember(memory)
    watch.remember({**before, "wanted": "flow 1, trigger times at 2024", "answered": True})
    assert watch.memory == before


def test_it_waits_until_there_is_a_verdict(watch: WindowWatch, at: Any, clock: Any) -> None:
    answers = [*EMPTY, flow(), page(*several("RUNNING")), LOST, page(*several("SUCCESS"))]
    played = at(watch.wait(poll_interval=30, deadline=clock.now + 1000, clock=clock), answers)
    assert played.value.ids == ["3377-2024030300"]
    assert played.pauses == [30, 30, 30]


def test_it_waits_until_the_deadline(watch: WindowWatch, at: Any, clock: Any) -> None:
    def answer(step: Call[Any] | Sleep) -> Any:
        return page(*several("RUNNING"))

    played = at(watch.wait(poll_interval=30, deadline=clock.now + 75, clock=clock), answer)
    assert played.pauses == [30, 30, 15]
    with pytest.raises(EnosFlowTimeoutError, match=r"in the time given to it: 3377-2024030300 RUNNING$"):
        _ = played.value
