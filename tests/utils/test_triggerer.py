from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from worker import Log, TaskInstance

from airflow_provider_enos import version_compat
from airflow_provider_enos.utils.triggerer import is_still_deferred, push_xcom


def test_an_xcom_is_pushed_for_the_task_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[dict[str, Any]] = []
    monkeypatch.setattr(version_compat, "xcom", lambda: SimpleNamespace(set=lambda **given: pushed.append(given)))
    asyncio.run(push_xcom(TaskInstance(map_index=2), ["3377-1"], "found"))
    of_task = {"dag_id": "dag", "task_id": "task", "run_id": "run", "map_index": 2}
    assert pushed == [{"key": "found", "value": ["3377-1"], **of_task}]


@pytest.mark.parametrize(("state", "deferred"), [("deferred", True), ("failed", False), (None, False)])
def test_whether_a_task_is_still_deferred(monkeypatch: pytest.MonkeyPatch, state: str | None, deferred: bool) -> None:
    monkeypatch.setattr(version_compat, "state_of", lambda task_instance: state)
    assert asyncio.run(is_still_deferred(TaskInstance(), Log())) is deferred


def test_a_task_whose_state_cannot_be_read_counts_as_deferred(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that runs on is better than one that a restart of the triggerer cancels."""

    def fail(task_instance: object) -> str:
        raise RuntimeError("the API server is away")

    log = Log()
    monkeypatch.setattr(version_compat, "state_of", fail)
    assert asyncio.run(is_still_deferred(TaskInstance(), log))
    assert log.lines == ["Cannot read the state of the task: the API server is away"]
