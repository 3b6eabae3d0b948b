"""What the instances in a window mean together."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, strategies as st
from windows import rules, several

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol.follow.window_rules import Rules, judge
from airflow_provider_enos.protocol.models import FlowStatus, Outcome


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


def test_rules_survive_being_stored() -> None:
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
def test_the_expected_number_of_instances_has_to_be_there(instances: str) -> None:
    three = rules(instances=instances, expected_instances=3)
    for there in range(3):
        assert judge(three, several(*["SUCCESS"] * there)).outcome is Outcome.RUNNING
    assert judge(three, several(*["SUCCESS"] * 3)).outcome is Outcome.SUCCEEDED
    assert judge(three, several("SUCCESS", "SUCCESS", "FAIL")).outcome is Outcome.FAILED
    too_few_have_failed = Outcome.FAILED if instances == "all" else Outcome.RUNNING
    assert judge(three, several("FAIL")).outcome is too_few_have_failed


def test_the_instances_that_decide_the_verdict() -> None:
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
def test_the_deciding_instances_have_deciding_statuses(rules: Rules, statuses: list[str]) -> None:
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
def test_the_verdict_does_not_depend_on_the_time_of_the_look(
    rules: Rules, statuses: list[str], data: st.DataObject
) -> None:
    """The ends of the running instances do not change it, so it does not matter how often they are polled."""
    earlier = judge(rules, several(*statuses))
    ends = st.sampled_from(["SUCCESS", "FAIL", "SKIP"])
    later = judge(rules, several(*(data.draw(ends) if one == "RUNNING" else one for one in statuses)))
    if earlier.over:
        assert later.outcome is earlier.outcome
    elif len(statuses) >= rules.expected:
        assert later.over
