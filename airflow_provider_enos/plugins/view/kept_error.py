"""Read the error that a task ended with, also where it has no flow instance.

Tasks store their errors in the XCom of ``utils/kept_error.py``, unless they push no XComs. Airflow keeps other errors,
such as those of a template, in the task's log only: it is not read here, since it may be long and far away.

Only for the API server: it reads Airflow's database.
"""

from __future__ import annotations

import json
from typing import Any

from airflow.utils.session import create_session
from sqlalchemy import String, cast, func, select

from airflow_provider_enos.plugins.view.lookups import Problem
from airflow_provider_enos.plugins.view.record import Record
from airflow_provider_enos.plugins.view.stored import Key
from airflow_provider_enos.plugins.view.tables import XComModel
from airflow_provider_enos.plugins.view.why import LENGTH, Why
from airflow_provider_enos.protocol.text import excerpt

_KEY = "enos_error"
_LONGEST = 10_000
_ENDED_BADLY = ("failed", "up_for_retry", "skipped")
"""States in which the error that is stored is the one that the last try ended with."""


def told(key: Key, record: Record, of_instance: Why | Problem | None) -> dict[str, str]:
    """Return what the page tells: why the instance failed, else why the task did, as far as it is known."""
    if isinstance(of_instance, Why) and of_instance.reason:
        return {"of": "instance", "reason": of_instance.reason, "node": of_instance.node}
    # Airflow deletes the XComs of a try when the next one begins.
    is_kept = record.state in _ENDED_BADLY and record.shown_try is None
    found = {"of": "task", "reason": _kept(key) if is_kept else ""}
    # The page asks again where EnOS could not be asked.
    return found | {"problem": of_instance.message} if isinstance(of_instance, Problem) else found


def _kept(key: Key) -> str:
    """Return the error that the last try of this task has stored; empty if there is none."""
    with create_session() as session:
        value: Any = session.scalar(
            select(XComModel.value).where(
                XComModel.dag_id == key.dag_id,
                XComModel.run_id == key.run_id,
                XComModel.task_id == key.task_id,
                XComModel.map_index == key.map_index,
                XComModel.key == _KEY,
                # Anybody may have put something larger there, which would take its time to be read.
                func.length(cast(XComModel.value, String)) <= _LONGEST,
            )
        )
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return ""
    # A custom backend of XComs may store something else here.
    error = value.get("error") if isinstance(value, dict) else None
    return excerpt(error, LENGTH) if isinstance(error, str) else ""
