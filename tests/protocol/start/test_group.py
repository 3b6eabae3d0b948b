"""The instances of a group, how a node has ended, and what its task does next."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_enos.protocol.models import FlowInstance, Outcome
from airflow_provider_enos.protocol.start.attempts import Intent
from airflow_provider_enos.protocol.start.group import (
    GroupInstance,
    GroupRequest,
    GroupStart,
    NodeStep,
    NodeSuccess,
    newest_with,
    next_step,
    node_of,
    outcome_of_node,
)

ID = "3377-20200706062600"
FIRST = GroupInstance(ID, None, 0)
SECOND = GroupInstance("3377-20200706062700", 3, 1, (3, 5))
THIRD = GroupInstance("3377-20200706062900", 5, 3, (5,))
START = GroupStart(3377, 1594016819108, FIRST, "https://gateway o1", {"site": "EMEA"})


def instance(status: str, nodes: str = "", **changes: Any) -> FlowInstance:
    """An instance with nodes 1, 2, 3... in these statuses: R runs, S succeeded, F failed, and so on; ? is unknown."""
    names = {"R": "RUNNING", "S": "SUCCESS", "F": "FAIL", "C": "CANCEL", "K": "SKIP", "-": "INIT", "?": None}
    tasks = [
        {"taskId": number, "taskName": f"n{number}", "taskInstId": f"{number}-1", "status": names[letter]}
        for number, letter in enumerate(nodes, 1)
    ]
    return FlowInstance.parse(
        {"instanceId": ID, "flowId": 3377, "status": status, "graph": {"tasks": tasks}, **changes}
    )


ENDED = {"endTime": "2020-07-06 14:40:00"}


# What is on record.


@pytest.mark.parametrize("one", [FIRST, SECOND, THIRD])
def test_an_instance_is_the_same_after_json(one: GroupInstance) -> None:
    assert GroupInstance.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize("start", [START, GroupStart(1, 2, SECOND, "")])
def test_a_start_is_the_same_after_json(start: GroupStart) -> None:
    assert GroupStart.from_json(json.loads(json.dumps(start.to_json()))) == start


def test_a_success_is_the_same_after_json() -> None:
    success = NodeSuccess(ID, 3)
    assert NodeSuccess.from_json(json.loads(json.dumps(success.to_json()))) == success


REQUEST = GroupRequest(ID, Intent(max_tries=1, first_index=1, trigger_time=1, sent_time=60_001, index=1), (3, 5))


def test_a_request_as_it_is_on_record() -> None:
    stored = {"after": ID, "intent": {**REQUEST.intent.to_json(), "tries": {"1": ID}}, "runs": [3, 5]}
    assert GroupRequest.from_json(json.loads(json.dumps(stored))) == REQUEST
    assert GroupRequest.from_json({**stored, "runs": None}) == replace(REQUEST, runs=None)
    for name, wrong in {"after": None, "intent": {"max_tries": "x"}, "runs": ["3"]}.items():
        assert GroupRequest.from_json({**stored, name: wrong}) is None


@pytest.mark.parametrize("kind", [GroupInstance, GroupStart, GroupRequest, NodeSuccess])
@pytest.mark.parametrize("data", [None, 5, "x", [], {}, {"flow_instance_id": 5}, {"first": {}}])
def test_what_is_none_of_them(kind: Any, data: object) -> None:
    assert kind.from_json(data) is None


@pytest.mark.parametrize("one", [FIRST, SECOND])
def test_a_wrong_field_is_noticed(one: GroupInstance) -> None:
    for name, wrong in {"flow_instance_id": None, "from_task_id": "3", "index": "0", "runs": ["3"]}.items():
        assert GroupInstance.from_json({**one.to_json(), name: wrong}) is None
        assert GroupStart.from_json({**START.to_json(), "first": {**one.to_json(), name: wrong}}) is None


# The instance that counts.


@pytest.mark.parametrize(("node", "wanted"), [(1, FIRST), (3, SECOND), (5, THIRD)])
def test_the_newest_instance_that_runs_the_node_counts(node: int, wanted: GroupInstance) -> None:
    assert newest_with(node, [FIRST, SECOND, THIRD]) == wanted


def test_a_node_that_no_instance_runs() -> None:
    assert newest_with(1, [SECOND, THIRD]) is None
    assert newest_with(1, []) is None


# How a node has ended.


def test_a_node_is_found_by_its_id() -> None:
    found = node_of(instance("RUNNING", "SR"), 2)
    assert found is not None
    assert found.task_name == "n2"
    assert node_of(instance("RUNNING", "SR"), 3) is None


@pytest.mark.parametrize(
    ("status", "nodes", "changes", "wanted"),
    [
        pytest.param("RUNNING", "S", {}, Outcome.SUCCEEDED, id="a success counts at once"),
        pytest.param("RUNNING", "K", {}, Outcome.SKIPPED, id="and so does a skip"),
        pytest.param("FAIL", "SF", {}, Outcome.SUCCEEDED, id="whatever becomes of the others"),
        pytest.param("RUNNING", "R", {}, None, id="it runs"),
        pytest.param("RUNNING", "-", {}, None, id="it has not begun"),
        pytest.param("RUNNING", "?", {}, None, id="its status is not known"),
        pytest.param("RUNNING", "", {}, None, id="it is not shown"),
        pytest.param("RUNNING", "F", {}, None, id="EnOS may run it again"),
        pytest.param("FAIL", "F", {}, Outcome.FAILED, id="a failure counts once the instance has failed"),
        pytest.param("FAIL", "FR", {}, Outcome.FAILED, id="even if another branch runs"),
        pytest.param("CANCEL", "C", {}, Outcome.CANCELLED, id="cancelled"),
        pytest.param("FAIL", "-R", ENDED, None, id="another branch may lead to it"),
        pytest.param("FAIL", "-F", {}, None, id="nothing runs for a moment"),
        pytest.param("FAIL", "-F", ENDED, Outcome.FAILED, id="it never ran"),
        pytest.param("CANCEL", "-C", ENDED, Outcome.CANCELLED, id="it never ran, since the instance was cancelled"),
        pytest.param("SUCCESS", "-", {}, Outcome.FAILED, id="the instance has succeeded without it"),
        pytest.param("SKIP", "-", {}, Outcome.SKIPPED, id="all was skipped"),
    ],
)
def test_outcome_of_a_node(status: str, nodes: str, changes: dict[str, Any], wanted: Outcome | None) -> None:
    assert outcome_of_node(instance(status, nodes, **changes), 1) is wanted


def test_two_looks_without_anything_running_are_an_end() -> None:
    assert outcome_of_node(instance("FAIL", "-F"), 1, was_quiet=True) is Outcome.FAILED
    assert outcome_of_node(instance("FAIL", "-R"), 1, was_quiet=True) is None


# What its task does next.


def step(
    status: str, nodes: str, *, runs_again: bool, success: NodeSuccess | None = None, tries_before_clear: int = 0
) -> NodeStep:
    return next_step(
        instance(status, nodes, **ENDED),
        1,
        runs_again=runs_again,
        success=success,
        tries_before_clear=tries_before_clear,
    )


@pytest.mark.parametrize("runs_again", [True, False])
def test_a_node_that_runs_is_waited_for(*, runs_again: bool) -> None:
    assert step("RUNNING", "R", runs_again=runs_again) is NodeStep.WATCH


@pytest.mark.parametrize(("status", "nodes"), [("FAIL", "F"), ("FAIL", "-F"), ("CANCEL", "C"), ("TIMEOUT", "-")])
def test_a_bad_end_is_reported_by_the_first_try_and_recovered_by_the_next(status: str, nodes: str) -> None:
    assert step(status, nodes, runs_again=False) is NodeStep.END
    assert step(status, nodes, runs_again=True) is NodeStep.RECOVER


@pytest.mark.parametrize(
    ("success", "tries_before_clear", "wanted"),
    [
        pytest.param(None, 0, NodeStep.END, id="nobody has seen the success"),
        pytest.param(NodeSuccess("3377-1", 1), 1, NodeStep.END, id="an older success"),
        pytest.param(NodeSuccess(ID, 1), 1, NodeStep.REPEAT, id="cleared after the success"),
        pytest.param(NodeSuccess(ID, 2), 1, NodeStep.END, id="retried after the success"),
        pytest.param(NodeSuccess(ID, 2), 2, NodeStep.REPEAT, id="cleared once more"),
    ],
)
def test_a_success_is_repeated_only_after_a_clear(
    success: NodeSuccess | None, tries_before_clear: int, wanted: NodeStep
) -> None:
    given = step("RUNNING", "S", runs_again=True, success=success, tries_before_clear=tries_before_clear)
    assert given is wanted
