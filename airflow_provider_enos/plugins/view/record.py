"""What Airflow has on record of a task instance: its connection, and the flow instance that it is about.

The record is the only place where the view takes an EnOS identifier from. The flow instance's id is, in this order,

- the XCom ``flow_instance_id``, which the operators push before they wait, and who has waited for a window at the end;
- the rendered argument of that name, which sensors and the operators for one instance have;
- the XCom ``return_value``, for a sensor whose rendered arguments Airflow has dropped (it keeps those of 30 runs), and
  for one that has waited for a window of instances, of which the last one is shown.

The connection and the tenant are rendered arguments, else the ones in the DAG, as long as these are no templates. A
task whose template fields do not include ``enos_conn_id`` is not one of EnOS.

Only for the API server, on Airflow 3.1 and later: it reads Airflow's database.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.configuration import conf
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

Arguments = Mapping[str, str | None]
"""The arguments that matter here, as far as the task has them: None where it is not known what they render to."""

_ARGUMENTS = ("enos_conn_id", "org_id", "user_id", "flow_instance_id")
_IN_DAG_FRESH, _MOST_IN_DAG = 60.0, 1000
_in_dags: dict[tuple[str, str], tuple[float, Arguments | None]] = {}


@dataclass(frozen=True, slots=True)
class Key:
    """A task instance of Airflow, as the browser names it."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int


@dataclass(frozen=True, slots=True)
class Record:
    """``source`` is None where there is nothing to look at, or not yet; ``of_enos``: whether there may ever be.

    ``of_enos`` is None where Airflow has dropped what would tell: the task's arguments, its DAG, or the task in it.
    """

    state: str | None
    try_number: int
    ended: bool
    of_enos: bool | None
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
        known = _arguments(instance, session)
        arguments = known or {}
        conn_id = arguments.get("enos_conn_id")
        flow_instance_id = _flow_instance_id(key, arguments, session) if conn_id else None
        source = None
        if conn_id and flow_instance_id:
            team = _team(key.dag_id, session)
            source = Source(conn_id, team, arguments.get("org_id"), arguments.get("user_id"), flow_instance_id)
        return Record(
            state=None if instance.state is None else str(instance.state),
            try_number=instance.try_number,
            ended=instance.state in State.finished,
            of_enos=None if known is None else "enos_conn_id" in known,
            has_connection=bool(conn_id),
            source=source,
        )


def settings_of(source: Source) -> settings.Settings:
    """What its connection says. Raises what Airflow raises for one that it does not find, and ``EnosConfigError``."""
    # Only from 3.2 on does Airflow take the name of one.
    team = {"team_name": source.team} if source.team else {}
    connection = Connection.get_connection_from_secrets(source.conn_id, **team)
    return settings.read(connection, org_id=source.org_id, user_id=source.user_id)


def _team(dag_id: str, session: Session) -> str | None:
    """Whose DAG it is, where teams are in use: without, Airflow refuses the name of one."""
    has_teams = conf.getboolean("core", "multi_team", fallback=False)
    return DagModel.get_team_name(dag_id, session=session) if has_teams else None


def _arguments(instance: TaskInstance, session: Session) -> Arguments | None:
    """Those that were rendered, else those in the DAG; None where Airflow has neither any more."""
    rendered = RenderedTaskInstanceFields.get_templated_fields(instance, session=session)
    if rendered and ("enos_conn_id" not in rendered or _known(rendered["enos_conn_id"])):
        return {name: _known(rendered[name]) for name in _ARGUMENTS if name in rendered}
    key, now = (instance.dag_id, instance.task_id), time.monotonic()
    expires, arguments = _in_dags.get(key, (0.0, None))
    if expires <= now:
        arguments = _arguments_in_dag(*key, session)
        if len(_in_dags) >= _MOST_IN_DAG:
            _in_dags.clear()
        # A DAG can be large, and each poll of each tab would read the whole of it.
        _in_dags[key] = (now + _IN_DAG_FRESH, arguments)
    return arguments


def _arguments_in_dag(dag_id: str, task_id: str, session: Session) -> Arguments | None:
    dag = SerializedDagModel.get_dag(dag_id, session=session)
    if dag is None or not dag.has_task(task_id):
        return None
    task = dag.get_task(task_id)
    # The arguments of a mapped task that are the same for all stand apart.
    given: Mapping[str, Any] = getattr(task, "partial_kwargs", None) or vars(task)
    fields = set(task.template_fields or ())
    return {name: _known(given.get(name)) for name in _ARGUMENTS if name in fields}


def _known(value: object) -> str | None:
    """``value``, unless it is empty, a template that was not rendered, or masked."""
    if not isinstance(value, str) or value in ("", "None") or "{{" in value or "{%" in value or "***" in value:
        return None
    return value


def _flow_instance_id(key: Key, arguments: Arguments, session: Session) -> str | None:
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
