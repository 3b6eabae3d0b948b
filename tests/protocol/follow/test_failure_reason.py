"""The reason of a failure, with as few calls as that takes."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_enos.errors import EnosNotFoundError, EnosTransportError
from airflow_provider_enos.protocol.follow.failure_reason import MOST_COMPARED, explain
from airflow_provider_enos.protocol.models import FlowInstance, TaskInstance

ID = "3377-20200706062600"


def instance(**nodes: str) -> FlowInstance:
    tasks = [{"taskName": name, "taskInstId": f"{name}-1", "status": status} for name, status in nodes.items()]
    return FlowInstance.parse({"instanceId": ID, "flowId": 3377, "status": "FAIL", "graph": {"tasks": tasks}})


def run(name: str, end: str) -> TaskInstance:
    return TaskInstance.parse({"instanceId": f"{name}-1", "status": "FAIL", "endTime": end})


def missing(operation: str) -> EnosNotFoundError:
    return EnosNotFoundError(62102, "Instance not found", operation=operation, http_status=200)


def explained(play: Any, ended: FlowInstance, answers: dict[str, Any]) -> tuple[str, list[str]]:
    def answer(call: Any) -> Any:
        name = dict(call.query)["taskInstId"].removesuffix("-1")
        key = name if call.operation == "Get Task Instance" else f"log {name}"
        return answers.get(key, missing(call.operation))

    played = play(explain(ended), answer)
    return played.value.reason, played.operations


def test_the_reason_takes_one_call_where_one_node_has_failed(play: Any) -> None:
    ended = instance(extract="SUCCESS", load="FAIL")
    reason, operations = explained(play, ended, {"log load": "ERROR: the reason\nexit code 1\n"})
    assert reason == "node load failed: ERROR: the reason"
    assert operations == ["Get Task Instance Log"]


def test_of_several_nodes_the_one_that_failed_first_tells(play: Any) -> None:
    ended = instance(a="FAIL", b="FAIL")
    answers = {
        "a": run("a", "2020-07-06 14:27:05"),
        "b": run("b", "2020-07-06 14:27:01"),
        "log b": "b",
    }
    assert explained(play, ended, answers) == (
        "node b failed: b",
        ["Get Task Instance"] * 2 + ["Get Task Instance Log"],
    )


@pytest.mark.parametrize("failure", [missing("Get Task Instance Log"), EnosTransportError("no", sent=True)], ids=str)
def test_without_a_log_the_reason_is_that_the_node_failed(play: Any, failure: Exception) -> None:
    assert explained(play, instance(load="FAIL"), {"log load": failure})[0] == "node load failed"


def test_of_very_many_nodes_the_first_of_the_graph_tells(play: Any) -> None:
    ended = instance(**{f"n{number}": "FAIL" for number in range(MOST_COMPARED + 1)})
    assert explained(play, ended, {"log n0": "why"}) == ("node n0 failed: why", ["Get Task Instance Log"])
