"""Why an instance failed, in one line. ``test_failure_report.py`` has how it is found out."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from typing import Any

import pytest
from hostile import Gaps

from airflow_provider_enos.plugins.view.why import LENGTH, Why, of_instance
from airflow_provider_enos.protocol.models import FlowInstance

ID = "3377-20200706062600"


def instance(status: str, **nodes: str) -> FlowInstance:
    tasks = [{"taskName": name, "taskInstId": f"{name}-1", "status": one} for name, one in nodes.items()]
    return FlowInstance.parse({"instanceId": ID, "status": status, "graph": {"tasks": tasks}})


def why(ended: FlowInstance, log: str = "") -> Why:
    steps: Generator[Any, Any, Why] = of_instance(ended)
    try:
        next(steps)
        while True:
            steps.send(log)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


def test_the_node_and_the_line_of_its_log() -> None:
    found = why(instance("FAIL", extract="SUCCESS", load="FAIL"), "one\nERROR: disk is full\nexit code 1")
    assert found == Why("node load failed: ERROR: disk is full", "load-1")


@pytest.mark.parametrize("status", ["RUNNING", "SUCCESS", "CANCEL", "SKIP"])
def test_of_an_instance_that_has_not_failed_nothing_is_said(status: str) -> None:
    assert why(instance(status, load="FAIL")) == Why()


def test_an_instance_without_a_failed_node() -> None:
    assert why(instance("TIMEOUT", load="RUNNING")) == Why(f"flow instance {ID} ended with status TIMEOUT")


def test_it_is_one_line_cleaned_and_bounded() -> None:
    found = why(instance("FAIL", load="FAIL"), "ERROR \x1b[31m\u202e" + "x" * 100_000)
    assert found.reason.isprintable()
    assert len(found.reason) <= LENGTH


MOST = 2**20
"""Characters of a log that are asked for."""


@pytest.mark.parametrize(
    "piece",
    [
        "\n",
        "a\n",
        "\u2028",
        "x",
        "\u4e2d\n",
        "::group::",
        "\x1b[",
        "\x1b[31m\n",
        "error ",
        "==\n",
        " at x\n",
        "exit " + "0 " * 40,
        "x" * 999 + "\n",
        "Traceback (most recent call last)\n",
    ],
    ids=repr,
)
def test_no_log_holds_up_the_api_server(piece: str) -> None:
    """Another thread, such as that of the server's loop, gets its turn within 100 ms."""
    log = piece * (MOST // len(piece))
    failed = instance("FAIL", load="FAIL")
    # Other processes that take the machine's time do so now and then.
    assert min(longest_stop(failed, log) for _ in range(3)) < 0.1


def longest_stop(failed: FlowInstance, log: str) -> float:
    gaps, thread = Gaps(), threading.Thread(target=why, args=(failed, log))
    thread.start()
    while thread.is_alive():
        time.sleep(0.001)
        gaps.tick()
    return gaps.longest
