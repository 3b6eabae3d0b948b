"""Read what Airflow has stored of some task instances of a DAG run: a query a table, however many they are.

Only for the API server, or the webserver of Airflow 2: it reads Airflow's database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow.models.renderedtifields import RenderedTaskInstanceFields
from sqlalchemy import select
from sqlalchemy.orm import Session

try:
    from airflow.models.xcom import XComModel as XComModel
except ImportError:  # Airflow 2
    from airflow.models.xcom import BaseXCom as XComModel  # type: ignore[no-redef]
try:
    from airflow.models.task_state_store import TaskStateStoreModel
except ImportError:  # before Airflow 3.3
    TaskStateStoreModel = None  # type: ignore[misc, assignment]

STATE_KEY = "enos_trigger"
"""The key in the task state store under which operators record what they have started."""
LINK_KEY = "_link_EnosFlowInstanceLink"
"""The XCom with the link's address."""
_XCOMS = ("flow_instance_id", "return_value", LINK_KEY)

Name = tuple[str, int]
"""Id and map index of a task."""


@dataclass(frozen=True, slots=True)
class Key:
    """A task instance of Airflow, as the browser names it."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored, by the names of the task instances."""

    _rendered: Mapping[Name, Mapping[str, Any]]
    _noted: Mapping[Name, object]
    _xcoms: Mapping[Name, Mapping[str, object]]

    def rendered(self, name: Name) -> Mapping[str, Any]:
        """Return the rendered arguments; empty if Airflow has dropped them, or has not rendered them yet."""
        return self._rendered.get(name) or {}

    def noted(self, name: Name) -> object:
        """Return the record in the task state store, as it is; None if there is none."""
        return self._noted.get(name)

    def xcoms(self, name: Name) -> Mapping[str, object]:
        """Return the XComs that matter here, by their keys."""
        return self._xcoms.get(name) or {}


def stored_of(dag_id: str, run_id: str, names: Sequence[Name], session: Session) -> Stored:
    """Return what is stored of these task instances of a DAG run."""
    tasks, indexes = {task for task, _ in names}, {index for _, index in names}

    def rows(model: Any, columns: Sequence[Any], *conditions: Any) -> Sequence[Any]:
        chosen = select(model.task_id, model.map_index, *columns)
        ours = (model.dag_id == dag_id, model.run_id == run_id, model.task_id.in_(tasks), model.map_index.in_(indexes))
        return session.execute(chosen.where(*ours, *conditions)).all()

    fields, xcom, store = RenderedTaskInstanceFields, XComModel, TaskStateStoreModel
    xcoms: dict[Name, dict[str, object]] = {}
    for task, index, key, value in rows(xcom, (xcom.key, xcom.value), xcom.key.in_(_XCOMS)):
        xcoms.setdefault((task, index), {})[key] = _decoded(value)
    return Stored(
        {(task, index): rendered for task, index, rendered in rows(fields, (fields.rendered_fields,))},
        {}
        if store is None
        else {
            (task, index): _decoded(value) for task, index, value in rows(store, (store.value,), store.key == STATE_KEY)
        },
        xcoms,
    )


def _decoded(value: object) -> object:
    try:
        # Airflow 2 stores bytes. A pickled value is not JSON, and is not read.
        return json.loads(value) if isinstance(value, (str, bytes)) else value
    except ValueError:
        return value
