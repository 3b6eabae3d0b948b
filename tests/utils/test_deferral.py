from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from airflow_provider_enos.utils import deferral
from airflow_provider_enos.utils.deferral import default_deferrable, task_deadline


def test_when_an_execution_timeout_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferral, "ends_deferred_tasks_in_time", lambda: False)
    ti = SimpleNamespace(start_date=datetime(2024, 3, 3, tzinfo=UTC))
    assert task_deadline(timedelta(minutes=5), ti) == datetime(2024, 3, 3, 0, 5, tzinfo=UTC).timestamp()
    assert task_deadline(timedelta(minutes=5), SimpleNamespace()) == pytest.approx(time.time() + 300, abs=5)
    assert task_deadline(None, ti) is None
    monkeypatch.setattr(deferral, "ends_deferred_tasks_in_time", lambda: True)
    assert task_deadline(timedelta(minutes=5), ti) is None, "Airflow 2 does it"


@pytest.mark.parametrize(("configured", "expected"), [(None, False), ("True", True), ("false", False)])
def test_tasks_are_deferred_as_airflow_is_configured(
    monkeypatch: pytest.MonkeyPatch, configured: str | None, expected: bool
) -> None:
    monkeypatch.delenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", raising=False)
    if configured is not None:
        monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", configured)
    assert default_deferrable() is expected
