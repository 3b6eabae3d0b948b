"""Read from Airflow's database the connection of a task instance, and the flow instance that it is about.

The view takes EnOS identifiers from nowhere else. The flow instance's id is, in this order,

- the rendered argument ``flow_instance_id``, which sensors and the operators for one instance have;
- the instance that an operator has recorded in Airflow's task state store (3.3 and later);
- the XCom ``flow_instance_id``: operators push it before they wait, and the sensor for windows at its end;
- the XCom ``return_value``: of a sensor whose rendered arguments Airflow has dropped (it keeps those of 30 runs), or of
  one that has waited for a window of instances, of which the last one is shown.

Anybody who may write XComs can change them. So an id from an XCom counts only if it is an instance of the task's flow,
where the argument ``flow_id``, the operator's record, or the argument ``flow_name`` says which flow that is.

Connection, tenant and flow are the rendered arguments, else the arguments in the DAG, unless they are templates. A task
whose template fields do not include ``enos_conn_id`` is not an EnOS task.

Only for the API server, or the webserver of Airflow 2: it reads Airflow's database.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow.configuration import conf
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import State
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_provider_enos.client import settings
from airflow_provider_enos.plugins.view.lookups import Source
from airflow_provider_enos.protocol.start.attempts import Intent
from airflow_provider_enos.protocol.text import is_instance_id

try:
    from airflow.models.xcom import XComModel
except ImportError:  # Airflow 2
    from airflow.models.xcom import BaseXCom as XComModel  # type: ignore[no-redef]
try:
    from airflow.models.task_state_store import TaskStateStoreModel
except ImportError:  # before Airflow 3.3
    TaskStateStoreModel = None  # type: ignore[misc, assignment]

Arguments = Mapping[str, str | None]
"""The arguments of the task that matter here. None: a template whose result is not known."""

_ARGUMENTS = ("enos_conn_id", "org_id", "user_id", "flow_instance_id", "flow_id", "flow_name", "node")
_STATE_KEY = "enos_trigger"
"""The key in the task state store under which operators record what they have started."""
_LINK_KEY = "_link_EnosFlowInstanceLink"
"""The XCom with the link's address."""
_LONGEST_LINK = 3000
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
class Linked:
    """The address in XCom, and the instances that it may lead to: for tasks without any other record."""

    address: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a task instance. ``source`` is None if there is no flow instance, or not yet.

    ``of_enos`` says whether it is an EnOS task. It is None if Airflow has dropped the task's arguments and its DAG.
    ``node`` is the node whose task it is, in a task group; EnOS calls it taskId.
    """

    state: str | None
    try_number: int
    ended: bool
    of_enos: bool | None
    has_connection: bool
    source: Source | None
    linked: Linked | None
    node: int | None = None


def read(key: Key) -> Record | None:
    """Return the record of this task instance; None if Airflow has none."""
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
        source = None
        if conn_id:
            noted = _noted(instance, session)
            flow_id = _flow_id(arguments, noted)
            found = (one for one in _candidates(key, arguments, noted, session) if _is_instance(one))
            team, tenant = _team(key.dag_id, session), (arguments.get("org_id"), arguments.get("user_id"))
            source = Source(conn_id, team, *tenant, str(next(found, "")), flow_id, arguments.get("flow_name"))
        is_known = source is not None and source.flow_instance_id != ""
        return Record(
            state=None if instance.state is None else str(instance.state),
            try_number=instance.try_number,
            ended=instance.state in State.finished,
            of_enos=None if known is None else "enos_conn_id" in known,
            has_connection=bool(conn_id),
            source=source if is_known else None,
            linked=None if is_known or source is None else _linked(source, _xcom(key, _LINK_KEY, session)),
            node=_number(arguments.get("node")),
        )


def settings_of(source: Source) -> settings.Settings:
    """Return the settings of its connection. Raises ``EnosConfigError``, and Airflow's error if there is none."""
    # Airflow before 3.2 takes no team_name.
    team = {"team_name": source.team} if source.team else {}
    connection = Connection.get_connection_from_secrets(source.conn_id, **team)
    return settings.read(connection, org_id=source.org_id, user_id=source.user_id)


def _team(dag_id: str, session: Session) -> str | None:
    """Return the team of the DAG; None if Airflow is configured without teams, since it refuses a name then."""
    has_teams = conf.getboolean("core", "multi_team", fallback=False)
    return DagModel.get_team_name(dag_id, session=session) if has_teams else None


def _arguments(instance: TaskInstance, session: Session) -> Arguments | None:
    """Return the rendered arguments, else the arguments in the DAG; None if Airflow has neither any more."""
    rendered = RenderedTaskInstanceFields.get_templated_fields(instance, session=session)
    if rendered and ("enos_conn_id" not in rendered or _known(rendered["enos_conn_id"])):
        return {name: _known(rendered[name]) for name in _ARGUMENTS if name in rendered}
    key, now = (instance.dag_id, instance.task_id), time.monotonic()
    expires, arguments = _in_dags.get(key, (0.0, None))
    if expires <= now:
        arguments = _arguments_in_dag(*key, session)
        if len(_in_dags) >= _MOST_IN_DAG:
            _in_dags.clear()
        # A DAG can be large, and each poll of each tab would read all of it.
        _in_dags[key] = (now + _IN_DAG_FRESH, arguments)
    return arguments


def _arguments_in_dag(dag_id: str, task_id: str, session: Session) -> Arguments | None:
    dag = SerializedDagModel.get_dag(dag_id, session=session)
    if dag is None or not dag.has_task(task_id):
        return None
    task = dag.get_task(task_id)
    # A mapped task keeps the arguments that are the same for all its instances apart.
    given: Mapping[str, Any] = getattr(task, "partial_kwargs", None) or vars(task)
    fields = set(task.template_fields or ())
    return {name: _known(given.get(name)) for name in _ARGUMENTS if name in fields}


def _known(value: object) -> str | None:
    """Return ``value``, or None if it is empty, an unrendered template, or masked."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or value in ("", "None") or "{{" in value or "{%" in value or "***" in value:
        return None
    return value


def _candidates(key: Key, arguments: Arguments, noted: Intent | None, session: Session) -> Iterator[object]:
    """Yield what may be the id of the task's instance, the most trustworthy first."""
    yield arguments.get("flow_instance_id")
    if noted is not None:
        yield noted.flow_instance_id
    yield _xcom(key, "flow_instance_id", session)
    returned = _xcom(key, "return_value", session)
    # The instances of a window, oldest first. The task's link leads to the last one.
    yield returned[-1] if isinstance(returned, list) and returned else returned


def _linked(base: Source, address: object) -> Linked | None:
    """Return the instances that this address may lead to. The caller builds their addresses, and compares."""
    if not isinstance(address, str) or len(address) > _LONGEST_LINK:
        return None
    words = re.findall(r"[0-9]+-[0-9A-Za-z_.-]+", address)
    # The console_url may name the flow only.
    words += [f"{number}-0" for number in re.findall(r"[0-9]+", address)]
    return Linked(address, tuple(replace(base, flow_instance_id=word) for word in words if _is_instance(word)))


def _is_instance(value: object) -> bool:
    return isinstance(value, str) and "-" in value and is_instance_id(value)


def _flow_id(arguments: Arguments, noted: Intent | None) -> int | None:
    """Return the flow of the task, if the record says which."""
    number = _number(arguments.get("flow_id"))
    if number is not None:
        return number
    return (noted.flow_id or None) if noted is not None else None


def _number(value: str | None) -> int | None:
    text = (value or "").strip()
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _noted(instance: TaskInstance, session: Session) -> Intent | None:
    """Return what the operator has recorded of its instance since the last clear, where Airflow has a store."""
    if TaskStateStoreModel is None:
        return None
    value = session.scalar(
        select(TaskStateStoreModel.value).where(
            TaskStateStoreModel.dag_id == instance.dag_id,
            TaskStateStoreModel.run_id == instance.run_id,
            TaskStateStoreModel.task_id == instance.task_id,
            TaskStateStoreModel.map_index == instance.map_index,
            TaskStateStoreModel.key == _STATE_KEY,
        )
    )
    try:
        intent = Intent.from_json(json.loads(value)) if value else None
    except ValueError:
        return None
    return intent if intent is not None and intent.max_tries == (instance.max_tries or 0) else None


def _xcom(key: Key, name: str, session: Session) -> object:
    """Return the XCom of this name, as it stands in the database."""
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
        # Airflow 2 stores bytes. A pickled value is not JSON, and is not read.
        return json.loads(value) if isinstance(value, (str, bytes)) else value
    except ValueError:
        return value
