"""The tables of Airflow that the tab reads, under the same names on each version.

Airflow 3.4 keeps each try of a task as a row of the task instance, and what was rendered or pushed by that row's id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import true

try:
    from airflow.models.xcom import XComModel as XComModel
except ImportError:  # Airflow 2
    from airflow.models.xcom import BaseXCom as XComModel  # type: ignore[no-redef]
try:
    from airflow.models.task_state_store import TaskStateStoreModel as TaskStateStoreModel
except ImportError:  # before Airflow 3.3
    TaskStateStoreModel = None  # type: ignore[misc, assignment]
try:
    from airflow.models.taskinstancehistory import TaskInstanceHistory
except ImportError:  # from Airflow 3.4 on
    TaskInstanceHistory = None  # type: ignore[misc, assignment]


@dataclass(frozen=True, slots=True)
class Table:
    """The columns that name a task instance, and one with what is stored of it.

    :param joined: the condition to select them by, beside others.
    """

    dag_id: Any
    run_id: Any
    task_id: Any
    map_index: Any
    value: Any
    joined: Any

    @classmethod
    def of(cls, model: Any, value: Any, joined: Any = None) -> Table:
        """Return the table whose rows a model names."""
        index = model.map_index if hasattr(model, "map_index") else model.region_index
        names = model.dag_id, model.run_id, model.task_id, index.label("map_index")
        return cls(*names, value, true() if joined is None else joined)


def rendered_fields() -> Table:
    """Return the table of rendered arguments."""
    fields: Any = RenderedTaskInstanceFields
    if hasattr(fields, "task_id"):
        return Table.of(fields, fields.rendered_fields)
    # Not those from before an upgrade to 3.4, which are in a table of their own.
    return Table.of(TaskInstance, fields.rendered_fields, fields.task_instance_id == TaskInstance.id)


def xcoms() -> Table:
    """Return the table of XComs."""
    return Table.of(XComModel, XComModel.value)


def task_states() -> Table | None:
    """Return the table of the task state store; None before Airflow 3.3."""
    return None if TaskStateStoreModel is None else Table.of(TaskStateStoreModel, TaskStateStoreModel.value)


EARLIER_TRIES: Any = TaskInstance if TaskInstanceHistory is None else TaskInstanceHistory
"""The model that has the earlier tries. It needs ``OF_EARLIER_TRIES`` as options of the execution."""
OF_EARLIER_TRIES = {"include_all_attempts": True} if TaskInstanceHistory is None else {}
