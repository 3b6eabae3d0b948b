"""Read what Airflow has stored of some task instances of a DAG run: a query a table, however many they are.

Only for the API server, or the webserver of Airflow 2: it reads Airflow's database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_provider_enos.plugins.view.tables import (
    Table,
    TaskStateStoreModel,
    XComModel,
    rendered_fields,
    task_states,
    xcoms,
)

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

    def rows(table: Table, *more: Any, where: Sequence[Any] = ()) -> Sequence[Any]:
        ours = table.dag_id == dag_id, table.run_id == run_id, table.task_id.in_(tasks), table.map_index.in_(indexes)
        chosen = select(table.task_id, table.map_index, table.value, *more)
        return session.execute(chosen.where(table.joined, *ours, *where)).all()

    pushed: dict[Name, dict[str, object]] = {}
    for task, index, value, key in rows(xcoms(), XComModel.key, where=[XComModel.key.in_(_XCOMS)]):
        pushed.setdefault((task, index), {})[key] = _decoded(value)
    states = task_states()
    noted = [] if states is None else rows(states, where=[TaskStateStoreModel.key == STATE_KEY])
    return Stored(
        {(task, index): rendered for task, index, rendered in rows(rendered_fields())},
        {(task, index): _decoded(value) for task, index, value in noted},
        pushed,
    )


def _decoded(value: object) -> object:
    try:
        # Airflow 2 stores bytes. A pickled value is not JSON, and is not read.
        return json.loads(value) if isinstance(value, (str, bytes)) else value
    except ValueError:
        return value
