"""What Airflow has on record of a task instance: its connection, and the flow instance that it is about.

The record is the only place where the view takes an EnOS identifier from. The flow instance's id is, in this order,

- the XCom ``flow_instance_id``, which the operators push before they wait;
- the rendered argument of that name, which sensors and the operators for one instance have;
- the XCom ``return_value``, for a sensor whose rendered arguments Airflow has dropped (it keeps those of 30 runs), and
  for one that has waited for a window of instances, of which the last one is shown.

The connection and the tenant are rendered arguments, else the ones in the DAG, as long as these are no templates. A
task whose template fields do not include ``enos_conn_id`` is not one of EnOS.

Only for the API server, on Airflow 3.1 and later: it reads Airflow's database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from airflow.utils.state import State
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_provider_enos.client import settings
from airflow_provider_enos.plugins.view.lookups import Source
from airflow_provider_enos.protocol.text import is_instance_id

_ARGUMENTS = ("enos_conn_id", "org_id", "user_id", "flow_instance_id")


@dataclass(frozen=True, slots=True)
class Key:
    """A task instance of Airflow, as the browser names it."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int


@dataclass(frozen=True, slots=True)
class Record:
    """``source`` is None where there is nothing to look at, or not yet; ``of_enos``: whether there may ever be."""

    state: str | None
    try_number: int
    ended: bool
    of_enos: bool
    has_connection: bool
    source: Source | None


def read(key: Key) -> Record | None:
    """The record of this task instance; None where Airflow has none."""
    with create_session() as session:
        instance = session.scalar(
            select(TaskInstance).where(
                TaskInstance.dag_id == key.dag_id,
                TaskInstance.run_id == key.run_id,
                TaskInstance.task_id == key.task_id,
                TaskInstance.map_index == key.map_index,
            )
        )
        if instance is None:
            return None
        arguments = _arguments(instance, session)
        conn_id = arguments.get("enos_conn_id")
        flow_instance_id = _flow_instance_id(key, arguments, session) if conn_id else None
        source = None
        if conn_id and flow_instance_id:
            team = DagModel.get_team_name(key.dag_id, session=session)
            source = Source(conn_id, team, arguments.get("org_id"), arguments.get("user_id"), flow_instance_id)
        return Record(
            state=None if instance.state is None else str(instance.state),
            try_number=instance.try_number,
            ended=instance.state in State.finished,
            of_enos="enos_conn_id" in arguments,
            has_connection=bool(conn_id),
            source=source,
        )


def settings_of(source: Source) -> settings.Settings:
    """What its connection says. Raises what Airflow raises for one that it does not find, and ``EnosConfigError``."""
    # Only with teams does Airflow take the name of one.
    team = {"team_name": source.team} if source.team else {}
    connection = Connection.get_connection_from_secrets(source.conn_id, **team)
    return settings.read(connection, org_id=source.org_id, user_id=source.user_id)


def _arguments(instance: TaskInstance, session: Session) -> dict[str, str | None]:
    """The arguments that matter here, as far as the task has them: None where it is not known what they render to."""
    rendered = RenderedTaskInstanceFields.get_templated_fields(instance, session=session) or {}
    if "enos_conn_id" in rendered and _known(rendered["enos_conn_id"]):
        return {name: _known(rendered[name]) for name in _ARGUMENTS if name in rendered}
    dag = SerializedDagModel.get_dag(instance.dag_id, session=session)
    if dag is None or not dag.has_task(instance.task_id):
        return {}
    task = dag.get_task(instance.task_id)
    # The arguments of a mapped task that are the same for all stand apart.
    given: Mapping[str, Any] = getattr(task, "partial_kwargs", None) or vars(task)
    fields = set(task.template_fields or ())
    return {name: _known(given.get(name)) for name in _ARGUMENTS if name in fields}


def _known(value: object) -> str | None:
    """``value``, unless it is empty, a template that was not rendered, or masked."""
    if not isinstance(value, str) or value in ("", "None") or "{{" in value or "{%" in value or "***" in value:
        return None
    return value


def _flow_instance_id(key: Key, arguments: Mapping[str, str | None], session: Session) -> str | None:
    returned = _xcom(key, "return_value", session)
    # The instances that a window had in it, the last one last, which is the one that the task's link leads to.
    last = returned[-1] if isinstance(returned, list) and returned else returned
    for text in (_xcom(key, "flow_instance_id", session), arguments.get("flow_instance_id"), last):
        if isinstance(text, str) and "-" in text and is_instance_id(text):
            return text
    return None


def _xcom(key: Key, name: str, session: Session) -> object:
    """What the task instance has pushed by this name, as it stands in the database."""
    value = session.scalar(
        select(XComModel.value).where(
            XComModel.dag_id == key.dag_id,
            XComModel.run_id == key.run_id,
            XComModel.task_id == key.task_id,
            XComModel.map_index == key.map_index,
            XComModel.key == name,
        )
    )
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
