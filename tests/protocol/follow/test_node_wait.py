"""Waiting for one node of an instance, and ending as the node has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_enos.errors import EnosFlowCancelledError, EnosFlowFailedError
from airflow_provider_enos.protocol.follow.log_tail import LogStream
from airflow_provider_enos.protocol.follow.node_wait import NodeWatch, conclude_node
from airflow_provider_enos.protocol.models import FlowInstance, Outcome, TaskInstance

ID = "3377-20200706062600"
LINK = f"https://console.example/{ID}"
ENDED = {"endTime": "2020-07-06 14:40:00"}
NAMES = {"R": "RUNNING", "S": "SUCCESS", "F": "FAIL", "C": "CANCEL", "K": "SKIP", "-": "INIT"}


def instance(status: str, nodes: str, **changes: Any) -> FlowInstance:
    """An instance with nodes 1, 2, 3..., each with a letter for its status."""
    tasks = [
        {"taskId": number, "taskName": f"n{number}", "taskInstId": f"{number}-1", "status": NAMES[letter]}
        for number, letter in enumerate(nodes, 1)
    ]
    document = {"instanceId": ID, "flowId": 3377, "flowName": "daily", "status": status, "graph": {"tasks": tasks}}
    return FlowInstance.parse({**document, **changes})


def watch(log: Any, **changes: Any) -> NodeWatch:
    return NodeWatch(ID, 2, tolerance=600, log=log, link=LINK, **changes)


# The wait.


def test_only_its_node_is_logged(log: Any) -> None:
    one = watch(log)
    one.saw(instance("RUNNING", "RR-"), 0)
    one.saw(instance("RUNNING", "SRR"), 1)
    assert log.lines == [
        f"info: Flow instance {ID} of flow 3377 'daily': RUNNING, see {LINK}",
        "info: Node n2 (2-1): RUNNING",
    ]


@pytest.mark.parametrize(
    ("looks", "is_over", "outcome"),
    [
        pytest.param([("RUNNING", "SR-")], False, None, id="it runs"),
        pytest.param([("RUNNING", "SSR")], True, Outcome.SUCCEEDED, id="it has succeeded"),
        pytest.param([("RUNNING", "SKR")], True, Outcome.SKIPPED, id="it was skipped"),
        pytest.param([("RUNNING", "SF-")], False, None, id="it may run again"),
        pytest.param([("FAIL", "SF-")], True, Outcome.FAILED, id="it has failed"),
        pytest.param([("FAIL", "F-R")], False, None, id="others run"),
        pytest.param([("FAIL", "F--")], False, None, id="nothing runs for a moment"),
        pytest.param([("FAIL", "F--"), ("FAIL", "F-R")], False, None, id="it was a moment"),
        pytest.param([("FAIL", "F--"), ("FAIL", "F--")], True, Outcome.FAILED, id="nothing ran at two looks"),
    ],
)
def test_when_it_is_over(log: Any, looks: list[tuple[str, str]], outcome: Outcome | None, *, is_over: bool) -> None:
    one = watch(log)
    for status, nodes in looks:
        seen = instance(status, nodes)
        one.saw(seen, 0)
    assert one.is_over(seen) is is_over
    assert one.outcome is outcome


def test_the_end_that_enos_tells_is_enough(log: Any) -> None:
    one, seen = watch(log), instance("FAIL", "F--", **ENDED)
    one.saw(seen, 0)
    assert one.is_over(seen)


@pytest.mark.parametrize(
    ("looks", "is_over"),
    [
        pytest.param([("RUNNING", "SSR", {})], False, id="its node has ended, others run"),
        pytest.param([("FAIL", "SFR", {})], False, id="one runs still"),
        pytest.param([("FAIL", "SF-", {})], False, id="nothing runs for a moment"),
        pytest.param([("FAIL", "SF-", ENDED)], True, id="it has ended"),
        pytest.param([("FAIL", "SF-", {}), ("FAIL", "SF-", {})], True, id="nothing ran at two looks"),
        pytest.param([("SUCCESS", "SSS", ENDED)], True, id="it has succeeded"),
    ],
)
def test_a_wait_until_nothing_runs(log: Any, looks: list[tuple[str, str, Any]], *, is_over: bool) -> None:
    one = watch(log, for_rest=True)
    for status, nodes, changes in looks:
        seen = instance(status, nodes, **changes)
        one.saw(seen, 0)
    assert one.is_over(seen) is is_over


def test_the_poller_has_to_show_it_nodes(log: Any) -> None:
    assert watch(log).needs_nodes
    assert [node.task_id for node in watch(log).part_of(instance("RUNNING", "SRR")).nodes] == [2]
    assert watch(log).part_of(instance("RUNNING", "S")).nodes == ()


# The end.


def with_log(text: str) -> Callable[[Any], Any]:
    """Answer what is asked about nodes, and for their logs with this text."""
    run = TaskInstance.parse({"instanceId": "2-1", "status": "FAIL"})
    return lambda step: text if step.operation == "Get Task Instance Log" else run


@pytest.fixture
def concluded(play: Any, log: Any) -> Any:
    def conclude(seen: FlowInstance, answers: Any = (), logs: Any = "failed", stream: LogStream | None = None) -> Any:
        steps = conclude_node(seen, 2, "clean", task_logs=logs, link=LINK, log=log, stream=stream)
        return play(steps, answers)

    return conclude


@pytest.mark.parametrize(("nodes", "outcome"), [("SS-", Outcome.SUCCEEDED), ("SKS", Outcome.SKIPPED)])
def test_a_good_end_asks_for_nothing(concluded: Any, nodes: str, outcome: Outcome) -> None:
    played = concluded(instance("RUNNING", nodes))
    assert (played.value, played.operations) == (outcome, [])


def test_a_failure_shows_the_end_of_the_log_of_its_node_alone(concluded: Any, log: Any) -> None:
    played = concluded(instance("FAIL", "FFF", **ENDED), with_log("Reading\nValueError: no such meter\n"))
    assert isinstance(played.error, EnosFlowFailedError)
    assert (played.error.flow_instance_id, played.error.status) == (ID, "FAIL")
    assert "n2 (2-1)" in str(played.error.failed_tasks)
    assert len(played.error.failed_tasks) == 1
    assert str(played.error).startswith("node n2 failed: ValueError: no such meter; flow 3377 'daily': instance ")
    assert str(played.error).endswith(LINK)
    assert "ValueError: no such meter" in "\n".join(log.lines)


def test_a_failure_without_logs(concluded: Any) -> None:
    played = concluded(instance("FAIL", "SF-", **ENDED), with_log(""), logs="none")
    assert isinstance(played.error, EnosFlowFailedError)
    assert "Get Task Instance Log" not in played.operations


@pytest.mark.parametrize(
    ("status", "nodes", "said", "error"),
    [
        ("FAIL", "F--", "node clean did not run; flow 3377", EnosFlowFailedError),
        ("FAIL", "F", "node clean did not run; flow 3377", EnosFlowFailedError),
        ("CANCEL", "C--", "node clean did not run; flow 3377", EnosFlowCancelledError),
        ("CANCEL", "SC-", "node clean was cancelled; flow 3377", EnosFlowCancelledError),
        ("SUCCESS", "S-S", "node clean did not run; flow 3377", EnosFlowFailedError),
    ],
)
def test_a_node_that_did_not_run(concluded: Any, status: str, nodes: str, said: str, error: Any) -> None:
    played = concluded(instance(status, nodes, **ENDED), with_log(""))
    assert type(played.error) is error
    assert str(played.error).startswith(said)


def test_a_name_of_many_characters_is_cut(play: Any, log: Any) -> None:
    began = time.monotonic()
    steps = conclude_node(instance("FAIL", "F--"), 2, "n" * 100_000, task_logs="none", link=None, log=log)
    played = play(steps, lambda step: "")
    assert len(str(played.error)) < 1_000
    assert time.monotonic() - began < 1
