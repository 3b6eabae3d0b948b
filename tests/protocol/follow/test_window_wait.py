"""Which instances lie in a window of trigger times, and what they mean together."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise, permutations
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosAuthError,
    EnosConfigError,
    EnosError,
    EnosFlowTimeoutError,
    EnosNotFoundError,
    EnosPollLostError,
    EnosRequestError,
    EnosTransportError,
    EnosTriggerTargetError,
)
from airflow_provider_enos.protocol.follow.window_wait import (
    DEFAULT_ALLOWED,
    DEFAULT_FAILED,
    DEFAULT_SKIPPED,
    FlowWatch,
    Rules,
    Wanted,
    Window,
    find,
    judge,
    look,
    overview,
    wait,
)
from airflow_provider_enos.protocol.models import Flow, FlowInstance, FlowInstancePage, FlowStatus, Outcome
from airflow_provider_enos.protocol.trigger_time import MINUTE
from airflow_provider_enos.protocol.wire.messages import Call, Sleep

FLOW = 3377
START, END = "2024-03-02T00:00:00+00:00", "2024-03-03T00:00:00+00:00"
FIRST = 1709337600000
LOST = EnosTransportError("read timed out", sent=True)


def api_error(cls: Any, code: int, operation: str = "Get Flow") -> EnosError:
    return cls(code, "no", operation=operation, http_status=200)


def rules(**changes: Any) -> Rules:
    defaults: dict[str, Any] = {
        "allowed_statuses": DEFAULT_ALLOWED,
        "failed_statuses": DEFAULT_FAILED,
        "skipped_statuses": DEFAULT_SKIPPED,
        "instances": "all",
        "expected_instances": 1,
        "types": 1,
        "scheduled_only": True,
    }
    return Rules.of(**{**defaults, **changes})


def wanted(**changes: Any) -> Wanted:
    return Wanted(FLOW, Window.between(START, END), rules(**changes))


def instance(name: object, status: object = "SUCCESS", **more: Any) -> FlowInstance:
    return FlowInstance.parse({"instanceId": str(name), "flowId": FLOW, "status": status, **more})


def several(*statuses: str) -> list[FlowInstance]:
    return [
        instance(f"{FLOW}-{2024030300 + number}", status, triggerTime=f"2024-03-03 {number:02}:00:00")
        for number, status in enumerate(statuses)
    ]


def page(*instances: FlowInstance) -> FlowInstancePage:
    return FlowInstancePage(instances, None)


def flow(**more: Any) -> Flow:
    return Flow.parse({"flowId": FLOW, "active": 1, **more})


# The window


@pytest.mark.parametrize(
    ("start", "end", "shift", "shown"),
    [
        (START, END, 0, "from 2024-03-02T00:01+00:00 to 2024-03-03T00:00+00:00"),
        (START, END, 3600, "from 2024-03-01T23:01+00:00 to 2024-03-02T23:00+00:00"),
        (START, END, -3600, "from 2024-03-02T01:01+00:00 to 2024-03-03T01:00+00:00"),
        (END, END, 0, "at 2024-03-03T00:00+00:00"),
        (END, END, 86400, "at 2024-03-02T00:00+00:00"),
        ("2024-03-03T00:00:05Z", "2024-03-03T00:00:59.9Z", 0, "at 2024-03-03T00:00+00:00"),
        ("2024-03-02T23:59:59Z", END, 0, "at 2024-03-03T00:00+00:00"),
        (FIRST, FIRST + 2 * MINUTE, 0, "from 2024-03-02T00:01+00:00 to 2024-03-02T00:02+00:00"),
        (datetime(2024, 3, 2, tzinfo=UTC), "2024-03-02T08:01:00+08:00", 0, "at 2024-03-02T00:01+00:00"),
    ],
)
def test_the_window_begins_after_its_start_and_ends_with_its_end(
    start: Any, end: Any, shift: float, shown: str
) -> None:
    assert str(Window.between(start, end, shift=shift)) == shown


def test_what_a_daily_run_waits_for() -> None:
    """The worked example: midnight at the end is in it, midnight at the start is not."""
    window = Window.between(START, END)
    assert window == Window(FIRST + MINUTE, FIRST + 24 * 60 * MINUTE + MINUTE)


times = st.integers(0, 400_000).map(lambda number: FIRST + number * 7000)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=6, unique=True), st.integers(-5, 1005), st.integers(-9, 9))
def test_windows_that_follow_each_other_have_each_trigger_time_once(bounds: list[int], at: int, shift: int) -> None:
    """By the minute, and with the seconds that there may be."""
    bounds.sort()
    moments = [FIRST + minute * MINUTE + minute % 60_000 for minute in bounds]
    windows = [Window.between(start, end, shift=shift * 60) for start, end in pairwise(moments)]
    trigger_time = FIRST + (at - shift) * MINUTE + 59_999
    holding = [window for window in windows if window.first <= trigger_time < window.end]
    assert len(holding) == (bounds[0] < at <= bounds[-1])


@given(times, times, st.integers(-100_000, 100_000))
def test_a_window_is_whole_minutes_and_can_be_made_again_of_its_bounds(start: int, length: int, shift: int) -> None:
    window = Window.between(start, start + length - FIRST, shift=shift)
    assert window.first % MINUTE == window.end % MINUTE == 0
    assert window.first < window.end
    assert Window.between(*window.bounds) == window
    assert window.first <= (start + length - FIRST - shift * 1000) < window.end, "the end is in it"


@pytest.mark.parametrize(
    ("start", "end", "shift", "message"),
    [
        ("None", END, 0, r"^window_start: it is empty, as the default is for a DAG run without a data interval; "),
        (START, "", 0, r"^window_end: it is empty"),
        (START, None, 0, r"^window_end: it is empty"),
        ("now", END, 0, r"^window_start: 'now': it cannot be read; expected an aware datetime, .*1594016819108$"),
        ("2024-03-02T00:00:00", END, 0, r"^window_start: .*no UTC offset"),
        (START, 1709337600, 0, r"^window_end: 1709337600: too small for epoch milliseconds"),
        (END, START, 0, r"^window_start: 2024-03-03T00:00\+00:00 is after the window's end, 2024-03-02"),
        (START, END, 10**10, r"^window_shift: 1e\+10 s; expected one that does not lead before 1970"),
    ],
)
def test_bounds_that_cannot_work_are_refused(start: Any, end: Any, shift: float, message: str) -> None:
    with pytest.raises(EnosConfigError, match=message):
        Window.between(start, end, shift=shift)


# The rules


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"allowed_statuses": ()}, r"^allowed_statuses: there is none"),
        ({"allowed_statuses": "DONE"}, r"^allowed_statuses: 'DONE'; expected any of FAIL, INIT, SUCCESS"),
        ({"failed_statuses": ["FAIL", 7]}, r"^failed_statuses: 7; expected any of"),
        ({"failed_statuses": None}, r"^failed_statuses: None; expected any of"),
        ({"skipped_statuses": FlowStatus(42)}, r"^skipped_statuses: .*42.*; expected any of"),
        ({"failed_statuses": "SUCCESS"}, r"^failed_statuses: SUCCESS is in allowed_statuses, too; expected each"),
        ({"skipped_statuses": ["SUCCESS"]}, r"^skipped_statuses: SUCCESS is in allowed_statuses, too"),
        ({"skipped_statuses": ["SKIP", "CANCEL", "FAIL"]}, r"^skipped_statuses: CANCEL, FAIL is in failed_statuses"),
        ({"instances": "some"}, r"^instances: 'some'; expected one of \"all\", \"any\", \"latest\""),
        ({"expected_instances": 0}, r"^expected_instances: 0"),
        ({"types": 3}, r"^types: 3; expected 0 \(manual\), 1 \(periodic\), 2 \(temporary\)"),
        ({"types": ()}, r"^types: \(\)"),
        ({"types": True}, r"^types: True"),
        ({"types": "1"}, r"^types: '1'"),
    ],
)  # fmt: skip
def test_rules_that_cannot_work_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(EnosConfigError, match=message):
        rules(**changes)


@pytest.mark.parametrize("value", ["skip", " SKIP ", FlowStatus.SKIP, ["SKIP", "SKIP"], (FlowStatus.SKIP, "SKIP")])
def test_statuses_are_names_or_members_one_or_several(value: Any) -> None:
    assert rules(skipped_statuses=value).skipped == (FlowStatus.SKIP,)


def test_rules_can_be_made_again_of_what_is_stored_of_them() -> None:
    first = rules(allowed_statuses=["SKIP", "SUCCESS"], skipped_statuses=(), instances="any", types={0, 2})
    assert Rules.of(**json.loads(json.dumps(first.to_arguments()))) == first


# The verdict


@pytest.mark.parametrize(
    ("statuses", "verdicts"),
    [
        ("", "RUNNING RUNNING RUNNING"),
        ("RUNNING", "RUNNING RUNNING RUNNING"),
        ("NEW_STATUS", "RUNNING RUNNING RUNNING"),
        ("SUCCESS", "SUCCEEDED SUCCEEDED SUCCEEDED"),
        ("FAIL", "FAILED FAILED FAILED"),
        ("INTERNAL_ERROR", "FAILED FAILED FAILED"),
        ("TIMEOUT", "FAILED FAILED FAILED"),
        ("CANCEL", "FAILED FAILED FAILED"),
        ("SKIP", "SKIPPED SKIPPED SKIPPED"),
        ("SUCCESS RUNNING", "RUNNING SUCCEEDED RUNNING"),
        ("RUNNING SUCCESS", "RUNNING SUCCEEDED SUCCEEDED"),
        ("FAIL RUNNING", "FAILED RUNNING RUNNING"),
        ("FAIL SUCCESS", "FAILED SUCCEEDED SUCCEEDED"),
        ("SUCCESS FAIL", "FAILED SUCCEEDED FAILED"),
        ("SKIP SUCCESS", "SKIPPED SUCCEEDED SUCCEEDED"),
        ("SKIP RUNNING", "RUNNING RUNNING RUNNING"),
        ("SKIP FAIL", "FAILED FAILED FAILED"),
        ("FAIL SKIP", "FAILED FAILED SKIPPED"),
    ],
)  # fmt: skip
def test_what_the_instances_mean_together(statuses: str, verdicts: str) -> None:
    found = several(*statuses.split())
    assert [judge(rules(instances=one), found).outcome.name for one in ("all", "any", "latest")] == verdicts.split()


@pytest.mark.parametrize("instances", ["all", "any", "latest"])
def test_as_many_as_expected_have_to_be_there(instances: str) -> None:
    three = rules(instances=instances, expected_instances=3)
    for there in range(3):
        assert judge(three, several(*["SUCCESS"] * there)).outcome is Outcome.RUNNING
    assert judge(three, several(*["SUCCESS"] * 3)).outcome is Outcome.SUCCEEDED
    assert judge(three, several("SUCCESS", "SUCCESS", "FAIL")).outcome is Outcome.FAILED
    too_few_have_failed = Outcome.FAILED if instances == "all" else Outcome.RUNNING
    assert judge(three, several("FAIL")).outcome is too_few_have_failed


def test_what_the_verdict_rests_on() -> None:
    found = several("SUCCESS", "FAIL", "TIMEOUT", "SUCCESS")
    assert judge(rules(), found).instances == (found[1], found[2])
    assert judge(rules(instances="any"), found).instances == (found[0], found[3])
    assert judge(rules(instances="latest"), found).ids == [found[3].flow_instance_id]


def test_statuses_mean_what_the_author_says() -> None:
    started = rules(allowed_statuses=["RUNNING", "SUCCESS"], failed_statuses="SKIP", skipped_statuses="FAIL")
    assert judge(started, several("RUNNING")).outcome is Outcome.SUCCEEDED
    assert judge(started, several("SKIP")).outcome is Outcome.FAILED
    assert judge(started, several("FAIL")).outcome is Outcome.SKIPPED
    assert judge(started, several("CANCEL")).outcome is Outcome.RUNNING, "in none of the sets: it may be run again"


STATUSES = [status.name for status in FlowStatus]
ANY_RULES = st.builds(
    rules,
    instances=st.sampled_from(["all", "any", "latest"]),
    expected_instances=st.integers(1, 4),
)


@given(ANY_RULES, st.lists(st.sampled_from(STATUSES), max_size=6))
def test_a_verdict_rests_on_instances_that_say_so(rules: Rules, statuses: list[str]) -> None:
    found = several(*statuses)
    verdict = judge(rules, found)
    means = {Outcome.SUCCEEDED: rules.allowed, Outcome.FAILED: rules.failed, Outcome.SKIPPED: rules.skipped}
    assert set(verdict.instances) <= set(found)
    assert bool(verdict.instances) == verdict.over
    if verdict.over:
        assert {one.status for one in verdict.instances} <= set(means[verdict.outcome])
    if verdict.outcome is Outcome.SUCCEEDED:
        assert len(found) >= rules.expected


@given(ANY_RULES, st.lists(st.sampled_from(STATUSES), max_size=4))
def test_the_order_counts_only_for_the_latest(rules: Rules, statuses: list[str]) -> None:
    found = several(*statuses)
    verdicts = {judge(rules, order).outcome for order in permutations(found)}
    assert len(verdicts) == 1 or rules.instances == "latest"


@given(ANY_RULES, st.lists(st.sampled_from(["SUCCESS", "FAIL", "SKIP", "RUNNING"]), max_size=5), st.data())
def test_a_verdict_stands_whenever_somebody_looks(rules: Rules, statuses: list[str], data: st.DataObject) -> None:
    """Instances that run on to whatever end do not change it, so it does not depend on how often is looked."""
    earlier = judge(rules, several(*statuses))
    ends = st.sampled_from(["SUCCESS", "FAIL", "SKIP"])
    later = judge(rules, several(*(data.draw(ends) if one == "RUNNING" else one for one in statuses)))
    if earlier.over:
        assert later.outcome is earlier.outcome
    elif len(statuses) >= rules.expected:
        assert later.over


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


def body(call: Any) -> dict[str, Any]:
    assert call.body is not None
    found: dict[str, Any] = json.loads(call.body)
    return found


def test_the_list_is_asked_for_the_window_and_each_type(play: Any) -> None:
    late, early = instance("3377-2024030301", triggerTime="b"), instance("3377-2024030300", triggerTime="a")
    played = play(find(wanted(types=(1, 0))), [page(late), page(early, late)])
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
def watch(log: Any) -> FlowWatch:
    return FlowWatch(wanted(), tolerance=600, log=log)


@pytest.fixture
def at(play: Any, clock: Any) -> Any:
    return lambda steps, answers: play(steps, answers, clock)


def test_a_look_that_succeeds_is_one_list(watch: FlowWatch, at: Any, clock: Any, log: Any) -> None:
    played = at(look(watch, clock=clock), [page(instance("3377-2024030300"))])
    assert played.value.outcome is Outcome.SUCCEEDED
    assert log.lines == [f"info: Waiting for {watch.wanted}: 3377-2024030300 SUCCESS"]


def test_the_flow_is_asked_for_once_while_there_is_no_instance(watch: FlowWatch, at: Any, clock: Any) -> None:
    assert at(look(watch, clock=clock), [*EMPTY, flow()]).value.outcome is Outcome.RUNNING
    assert at(look(watch, clock=clock), EMPTY).value.outcome is Outcome.RUNNING
    other = FlowWatch(wanted(), tolerance=600, log=watch._log)
    other.remember(json.loads(json.dumps(watch.memory)))
    assert at(look(other, clock=clock), EMPTY).value.outcome is Outcome.RUNNING


def test_a_flow_that_does_not_exist_ends_the_wait_for_good(watch: FlowWatch, at: Any, clock: Any) -> None:
    missing = api_error(EnosNotFoundError, 62102)
    with pytest.raises(
        EnosTriggerTargetError, match=r"^flow_id: EnOS has no flow 3377 \(Get Flow: 62102 no\); expected"
    ):
        _ = at(look(watch, clock=clock), [*EMPTY, missing]).value


def test_its_existence_is_not_asked_for_if_not_wanted(at: Any, clock: Any, log: Any) -> None:
    watch = FlowWatch(wanted(), tolerance=600, log=log, check_existence=False)
    assert at(look(watch, clock=clock), EMPTY).value.outcome is Outcome.RUNNING


@pytest.mark.parametrize("error", [api_error(EnosAccessError, 62103), api_error(EnosRequestError, 404)])
def test_a_flow_that_may_not_be_seen_is_waited_for(watch: FlowWatch, at: Any, clock: Any, error: EnosError) -> None:
    assert at(look(watch, clock=clock), [*EMPTY, error]).value.outcome is Outcome.RUNNING
    assert not watch.checks_flow


def test_a_paused_schedule_is_warned_of(watch: FlowWatch, at: Any, clock: Any, log: Any) -> None:
    at(look(watch, clock=clock), [*EMPTY, flow(active=0)])
    assert log.lines[0] == "warning: The schedule of flow 3377 is paused in EnOS: it starts nothing"


def test_the_first_failure_is_read_singly(watch: FlowWatch, at: Any, clock: Any) -> None:
    """For the statuses of its nodes; the others need not be."""
    listed = several("SUCCESS", "FAIL", "TIMEOUT")
    detailed = instance(listed[1].flow_instance_id, "FAIL", graph={"tasks": [{"taskName": "load", "status": "FAIL"}]})
    played = at(look(watch, clock=clock), [page(*listed), detailed])
    assert played.value.instances == (detailed, listed[2])
    assert watch.listed is not None


def test_a_failure_that_enos_does_not_confirm_is_none(watch: FlowWatch, at: Any, clock: Any) -> None:
    """As where it has been run again meanwhile; and the list alone does not tell any more."""
    (listed,) = several("FAIL")
    played = at(look(watch, clock=clock), [page(listed), instance(listed.flow_instance_id, "RERUN")])
    assert played.value.outcome is Outcome.RUNNING
    assert watch.listed is None
    assert at(look(watch, clock=clock), [page(instance(listed.flow_instance_id))]).value.outcome is Outcome.SUCCEEDED


def test_each_failure_is_read_where_another_instance_may_do(at: Any, clock: Any, log: Any) -> None:
    watch = FlowWatch(wanted(instances="any"), tolerance=600, log=log)
    listed = several("FAIL", "TIMEOUT")
    played = at(look(watch, clock=clock), [page(*listed), listed[0], instance(listed[1].flow_instance_id)])
    assert played.value.ids == [listed[1].flow_instance_id]


def test_a_failure_that_only_the_list_has_counts(watch: FlowWatch, at: Any, clock: Any) -> None:
    listed = several("CANCEL")
    gone = api_error(EnosNotFoundError, 62102, "Get Flow Instance")
    assert at(look(watch, clock=clock), [page(*listed), gone]).value.outcome is Outcome.FAILED


def test_only_changes_are_logged(watch: FlowWatch, log: Any) -> None:
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


def test_errors_are_waited_through_for_as_long_as_is_tolerated(watch: FlowWatch, clock: Any, log: Any) -> None:
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


def test_a_refusal_is_an_error_at_once_unless_enos_has_answered_before(watch: FlowWatch, at: Any, clock: Any) -> None:
    refused = api_error(EnosRequestError, 404, "List Flow Instances")
    with pytest.raises(EnosRequestError):
        _ = at(look(watch, clock=clock), [refused, refused]).value
    at(look(watch, clock=clock), [page(*several("RUNNING"))])
    assert at(look(watch, clock=clock), [refused, refused]).value is None


@pytest.mark.parametrize("error", [api_error(EnosAuthError, 401), api_error(EnosAccessError, 62101)])
def test_a_refusal_is_tolerated_from_the_first_look_on(
    watch: FlowWatch, at: Any, clock: Any, log: Any, error: EnosError
) -> None:
    assert at(look(watch, clock=clock), [error]).value is None
    assert log.lines == [f"warning: Cannot ask EnOS for {watch.wanted}, will go on trying for 600 s: {error}"]
    assert watch.patience.failing_since is not None


def test_a_refusal_is_raised_where_the_caller_reads_the_connection(watch: FlowWatch, at: Any, clock: Any) -> None:
    with pytest.raises(EnosAuthError):
        _ = at(look(watch, clock=clock, raises_refusals=True), [api_error(EnosAuthError, 401)]).value
    assert watch.patience.failing_since is None, "the watch has not been asked"
    assert at(look(watch, clock=clock, raises_refusals=True), [LOST]).value is None


def test_a_list_whose_pages_never_end_is_left_at_the_deadline(watch: FlowWatch, play: Any, clock: Any) -> None:
    numbers = iter(range(10_000))

    def answer(call: Any) -> Any:
        clock.now += 1
        return page(*(instance(f"3377-{next(numbers)}", "RUNNING") for _ in range(50)))

    played = play(wait(watch, poll_interval=30, deadline=clock.now + 20, clock=clock), answer, clock)
    assert isinstance(played.error, EnosFlowTimeoutError)
    assert len(played.steps) == 20


def test_the_tolerance_spans_processes(watch: FlowWatch, log: Any) -> None:
    watch.missed(LOST, 1000.0)
    other = FlowWatch(watch.wanted, tolerance=600, log=log)
    other.remember(json.loads(json.dumps(watch.memory)))
    with pytest.raises(EnosPollLostError):
        other.missed(LOST, 1600.0)
    assert len(log.lines) == 1


@pytest.mark.parametrize("memory", [None, [], {}, {"wanted": "flow 3377"}, {"wanted": 1, "failing_since": 0}])
def test_what_another_watch_knew_is_passed_over(watch: FlowWatch, memory: Any) -> None:
    before = watch.memory
    watch.remember(memory)
    watch.remember({**before, "wanted": "flow 1, trigger times at 2024", "answered": True})
    assert watch.memory == before


def test_it_waits_until_there_is_a_verdict(watch: FlowWatch, at: Any, clock: Any) -> None:
    answers = [*EMPTY, flow(), page(*several("RUNNING")), LOST, page(*several("SUCCESS"))]
    played = at(wait(watch, poll_interval=30, deadline=clock.now + 1000, clock=clock), answers)
    assert played.value.ids == ["3377-2024030300"]
    assert played.pauses == [30, 30, 30]


def test_it_waits_until_the_deadline(watch: FlowWatch, at: Any, clock: Any) -> None:
    def answer(step: Call[Any] | Sleep) -> Any:
        return page(*several("RUNNING"))

    played = at(wait(watch, poll_interval=30, deadline=clock.now + 75, clock=clock), answer)
    assert played.pauses == [30, 30, 15]
    with pytest.raises(EnosFlowTimeoutError, match=r"in the time given to it: 3377-2024030300 RUNNING$"):
        _ = played.value


# The list for many


def test_the_overview_has_all_flows_with_their_types(play: Any) -> None:
    mine, others = instance("3377-2024030300"), instance("4001-2024030300", flowId=4001)
    stranger = instance("1-2024030300", flowId=1)
    played = play(overview(wanted().window, (1, 0), (3377, 4001), most_pages=4), [page(mine, stranger), page(others)])
    assert played.value == [(1, 3377, mine), (0, 4001, others)]
    assert [body(call)["expression"] for call in played.sent] == ["", ""]


def test_the_overview_of_one_flow_asks_for_that(play: Any) -> None:
    (call,) = play(overview(wanted().window, (1,), (3377,), most_pages=4), [page(*several("SUCCESS"))]).sent
    assert body(call)["expression"] == "3377"


def test_an_overview_of_too_many_pages_is_given_up(play: Any) -> None:
    def full(call: Any) -> FlowInstancePage:
        number = body(call)["pagination"]["pageNo"]
        return page(*(instance(f"3377-{number}x{index}") for index in range(50)))

    played = play(overview(wanted().window, (1,), (3377,), most_pages=5), full)
    assert played.value is None
    assert len(played.sent) == 5
