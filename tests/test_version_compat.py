"""Where versions of Airflow differ."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger
from airflows import AIRFLOW

from airflow_provider_enos import version_compat


def declared() -> list[str]:
    """The names that type checkers see."""
    module = ast.parse(Path(version_compat.__file__).read_text())
    (block,) = (node for node in module.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return [alias.name for node in imports for alias in node.names]


@pytest.mark.parametrize("name", sorted(set(declared()) - {"Context", "TaskInstanceKey"}))
def test_each_name_is_found_without_a_warning(name: str) -> None:
    """Whatever the version of Airflow. The other two are types only."""
    found = getattr(version_compat, name)
    assert getattr(version_compat, name) is found
    assert found.__name__ == name if isinstance(found, type) and name != "BaseEventTrigger" else found is not None


def test_a_task_ends_by_the_exceptions_that_the_worker_knows() -> None:
    """Where Airflow has two places for a class, both give the same one."""
    from airflow import exceptions

    for name in ("AirflowFailException", "AirflowSkipException", "AirflowNotFoundException"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert getattr(version_compat, name) is getattr(exceptions, name)


def test_a_name_that_it_does_not_have() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = version_compat.Nothing  # type: ignore[attr-defined]


def test_a_name_that_airflow_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(version_compat._PLACES, "Nothing", ("airflow.sdk", "airflow.models"))
    with pytest.raises(ImportError, match=r"Nothing in none of airflow\.sdk, airflow\.models"):
        _ = version_compat.Nothing  # type: ignore[attr-defined]


def test_when_triggers_are_told_of_kills() -> None:
    assert version_compat.triggers_are_told_of_kills() == (AIRFLOW >= (3, 3))


def test_when_event_triggers_have_queues() -> None:
    assert version_compat.event_triggers_take_queues() == (AIRFLOW >= (3, 4))


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


@pytest.mark.skipif(AIRFLOW < (3, 0), reason="Airflow 2 asks its database")
@pytest.mark.parametrize("state", ["failed", "success", "running", "queued"])
def test_the_state_of_a_run(monkeypatch: pytest.MonkeyPatch, state: Any) -> None:
    """Airflow tells it as a member of an enumeration, whose text is not its value."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import DagRunStateResult

    told = SimpleNamespace(send=lambda msg: DagRunStateResult(state=state))
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", told, raising=False)
    assert version_compat.run_state_of(SimpleNamespace(dag_id="dag", run_id="run")) == state


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow before 3.3 has no task state store")
def test_nothing_tells_a_task_that_its_record_was_kept_on_purpose() -> None:
    """So a clear starts again. If this fails, Airflow may tell it now, and a kept record could mean to go on."""
    from airflow.sdk.api.datamodels import _generated as told

    models = (told.TIRunContext, told.DagRun, told.TaskInstance)
    fields = {name for model in models for name in model.model_fields}
    assert {"max_tries", "clear_number", "try_number"} <= fields
    assert not [name for name in fields if re.search("keep|kept|resum|task_state|state_store", name)]
