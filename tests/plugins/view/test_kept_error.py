"""What is told of a task that ended with an error. ``test_app.py`` has it on a whole Airflow."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflows import AIRFLOW

if AIRFLOW < (3, 1):
    pytest.skip("Airflow before 3.1 has no tabs", allow_module_level=True)

from airflow_provider_enos.plugins.view import kept_error
from airflow_provider_enos.plugins.view.lookups import Problem
from airflow_provider_enos.plugins.view.record import Key, Record
from airflow_provider_enos.plugins.view.why import LENGTH, Why

KEY = Key("dag", "run", "task", -1)


def record(state: str | None) -> Record:
    found: Any = SimpleNamespace(state=state, shown_try=None)
    return found  # type: ignore[no-any-return]


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stands for what Airflow's database answers."""

    class Session:
        value: object = None

        def __enter__(self) -> Session:
            return self

        def __exit__(self, *_: object) -> None: ...

        def scalar(self, _: object) -> object:
            return self.value

    session = Session()
    monkeypatch.setattr(kept_error, "create_session", lambda: session)
    return session


@pytest.mark.parametrize("state", ["failed", "up_for_retry", "skipped"])
@pytest.mark.parametrize("as_text", [True, False])
def test_the_error_that_a_task_ended_with(stored: Any, state: str, as_text: bool) -> None:
    value = {"error": "flow_id: EnOS has no flow 9"}
    stored.value = json.dumps(value) if as_text else value
    told = {"of": "task", "reason": "flow_id: EnOS has no flow 9"}
    assert kept_error.told(KEY, record(state), None) == told
    problem = "EnOS does not answer at the moment."
    assert kept_error.told(KEY, record(state), Problem(problem)) == told | {"problem": problem}


@pytest.mark.parametrize("state", [None, "running", "deferred", "success", "upstream_failed"])
def test_of_any_other_task_nothing_is_told(stored: Any, state: str | None) -> None:
    stored.value = {"error": "of an earlier try"}
    assert kept_error.told(KEY, record(state), None)["reason"] == ""


def test_an_instance_that_failed_says_more_than_the_task(stored: Any) -> None:
    stored.value = {"error": "it did not end in time"}
    told = {"of": "instance", "reason": "node load failed", "node": "9-1"}
    assert kept_error.told(KEY, record("failed"), Why("node load failed", "9-1")) == told


@pytest.mark.parametrize(
    "value",
    [None, "", "s3://bucket/enos_error", '{"error":', {"error": 7}, [], {"error": None}],
    ids=repr,
)
def test_what_is_no_error_of_ours_is_not_shown(stored: Any, value: object) -> None:
    stored.value = value
    assert kept_error.told(KEY, record("failed"), None) == {"of": "task", "reason": ""}


def test_it_is_cleaned_and_bounded(stored: Any) -> None:
    """Anybody who may write XComs can change it."""
    stored.value = {"error": "a\x1b[31m\u202e\n" + "x" * 100_000}
    reason = kept_error.told(KEY, record("failed"), None)["reason"]
    assert reason.isprintable()
    assert len(reason) <= LENGTH
