"""Where versions of Airflow differ."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger
from airflows import AIRFLOW

from airflow_provider_enos import version_compat


def test_when_triggers_are_told_of_kills() -> None:
    assert version_compat.triggers_are_told_of_kills() == (AIRFLOW >= (3, 3))


def test_what_event_triggers_are() -> None:
    assert issubclass(version_compat.BaseEventTrigger, BaseTrigger)
    assert (version_compat.BaseEventTrigger is BaseTrigger) == (AIRFLOW < (3, 0))


@pytest.mark.skipif(AIRFLOW < (3, 0), reason="Airflow 2 asks its database")
@pytest.mark.parametrize(
    ("states", "state"),
    [
        ({"run": {"wait": "deferred"}}, "deferred"),
        ({"run": {"wait_3": "failed"}}, "failed"),
        ({"run": {}}, None),
        ({}, None),
    ],
    ids=["a task", "a mapped one", "gone", "gone with its run"],
)
def test_the_state_of_a_task(monkeypatch: pytest.MonkeyPatch, states: Any, state: str | None) -> None:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(lambda **asked: states))
    task_instance = SimpleNamespace(dag_id="dag", task_id="wait", run_id="run", map_index=-1)
    assert version_compat.state_of(task_instance) == state
