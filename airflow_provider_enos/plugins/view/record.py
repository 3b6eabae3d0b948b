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

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow.configuration import conf
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import State
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_provider_enos.client import settings
from airflow_provider_enos.plugins.view.lookups import Source
from airflow_provider_enos.plugins.view.stored import LINK_KEY, Key, Name, Stored, stored_of
from airflow_provider_enos.plugins.view.tries import Try, tries_before
from airflow_provider_enos.protocol.start.attempts import Intent
from airflow_provider_enos.protocol.text import is_instance_id

Arguments = Mapping[str, str | None]
"""The arguments of the task that matter here. None: a template whose result is not known."""

_ARGUMENTS = ("enos_conn_id", "org_id", "user_id", "flow_instance_id", "flow_id", "flow_name", "node")
_LONGEST_LINK = 3000
_IN_DAG_FRESH, _MOST_DAGS = 60.0, 100
_NO_ARGUMENTS: Arguments = {}
OF_INSTANCE = (TaskInstance.state, TaskInstance.try_number, TaskInstance.max_tries)
"""The columns of a task instance that a record is made of."""
_OF_TRY = (TaskInstance.start_date, TaskInstance.end_date)
_dags: dict[str, tuple[float, Mapping[str, Arguments]]] = {}


@dataclass(frozen=True, slots=True)
class Linked:
    """The address in XCom, and the instances that it may lead to: for tasks without any other record."""

    address: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a task instance. ``source`` is None if there is no flow instance, or not yet.

    :param of_enos: whether it is an EnOS task. It is None if Airflow has dropped the task's arguments and its DAG.
    :param base: the connection and the flow, with or without an instance; None if the connection is not known.
    :param tries: all tries, the newest one last; empty if there is only one.
    :param shown_try: the earlier try whose instance ``source`` is; None for the newest one.
    :param node: the node whose task it is, in a task group; EnOS calls it taskId.
    """

    state: str | None
    try_number: int
    ended: bool
    of_enos: bool | None
    has_connection: bool
    source: Source | None
    linked: Linked | None
    base: Source | None = None
    tries: tuple[Try, ...] = ()
    shown_try: int | None = None
    node: int | None = None


def read(key: Key, try_number: int | None = None) -> Record | None:
    """Return the record of this task instance; None if Airflow has none.

    :param try_number: an earlier try, whose flow instance is wanted; None for the newest one.
    """
    with create_session() as session:
        instance = session.execute(
            select(*OF_INSTANCE, *_OF_TRY).where(
                TaskInstance.dag_id == key.dag_id,
                TaskInstance.run_id == key.run_id,
                TaskInstance.task_id == key.task_id,
                TaskInstance.map_index == key.map_index,
            )
        ).one_or_none()
        if instance is None:
            return None
        name = (key.task_id, key.map_index)
        stored = stored_of(key.dag_id, key.run_id, [name], session)
        arguments = arguments_of(key.dag_id, name, stored, session)
        record = record_of(name, instance, stored, arguments, team_of(key.dag_id, session))
        if instance.try_number > 1 and record.of_enos:
            newest = Try.of(instance, "" if record.source is None else record.source.flow_instance_id)
            tries = (*tries_before(key, instance.try_number, stored.noted(name), session), newest)
            record = of_try(replace(record, tries=tries), try_number)
        return record


def record_of(name: Name, instance: Any, stored: Stored, arguments: Arguments | None, team: str | None) -> Record:
    """Return the record of a task instance.

    :param instance: a row with the columns ``OF_INSTANCE``.
    :param arguments: the rendered ones, else those in the DAG; None if Airflow has neither any more.
    """
    known = arguments or {}
    conn_id = known.get("enos_conn_id")
    base = source = linked = None
    if conn_id:
        noted = _current(stored.noted(name), instance.max_tries)
        xcoms = stored.xcoms(name)
        found = (one for one in _candidates(known, noted, xcoms) if _is_instance(one))
        tenant = known.get("org_id"), known.get("user_id")
        base = Source(conn_id, team, *tenant, str(next(found, "")), _flow_id(known, noted), known.get("flow_name"))
        source = base if base.flow_instance_id else None
        linked = None if source else _linked(base, xcoms.get(LINK_KEY))
    return Record(
        state=None if instance.state is None else str(instance.state),
        try_number=instance.try_number,
        ended=instance.state in State.finished,
        of_enos=None if arguments is None else "enos_conn_id" in arguments,
        has_connection=bool(conn_id),
        source=source,
        linked=linked,
        base=base,
        node=_number(known.get("node")),
    )


def of_try(record: Record, try_number: int | None) -> Record:
    """Return the record with the flow instance of an earlier try; without one if it is not known which it was."""
    earlier = {one.number: one for one in record.tries[:-1]}.get(try_number or 0)
    if earlier is None:
        return record
    known = None
    if record.base is not None and _is_instance(earlier.flow_instance_id):
        known = replace(record.base, flow_instance_id=earlier.flow_instance_id)
    return replace(record, shown_try=earlier.number, source=known, linked=None)


def settings_of(source: Source) -> settings.Settings:
    """Return the settings of its connection. Raises ``EnosConfigError``, and Airflow's error if there is none."""
    # Airflow before 3.2 takes no team_name.
    team = {"team_name": source.team} if source.team else {}
    connection = Connection.get_connection_from_secrets(source.conn_id, **team)
    return settings.read(connection, org_id=source.org_id, user_id=source.user_id)


def team_of(dag_id: str, session: Session) -> str | None:
    """Return the team of the DAG; None if Airflow is configured without teams, since it refuses a name then."""
    has_teams = conf.getboolean("core", "multi_team", fallback=False)
    return DagModel.get_team_name(dag_id, session=session) if has_teams else None


def arguments_of(dag_id: str, name: Name, stored: Stored, session: Session) -> Arguments | None:
    """Return the rendered arguments, else the arguments in the DAG; None if Airflow has neither any more."""
    rendered = stored.rendered(name)
    if rendered and ("enos_conn_id" not in rendered or _known(rendered["enos_conn_id"])):
        return {name: _known(rendered[name]) for name in _ARGUMENTS if name in rendered}
    return in_dag(dag_id, session).get(name[0])


def in_dag(dag_id: str, session: Session) -> Mapping[str, Arguments]:
    """Return the arguments of each task as they are in the DAG, read once a minute; empty if there is no such DAG.

    A DAG can be large, and each poll of each tab would read all of it.
    """
    now = time.monotonic()
    expires, tasks = _dags.get(dag_id, (0.0, {}))
    if expires <= now:
        dag = SerializedDagModel.get_dag(dag_id, session=session)
        tasks = {} if dag is None else {task_id: _arguments_of(task) for task_id, task in dag.task_dict.items()}
        if len(_dags) >= _MOST_DAGS:
            _dags.clear()
        _dags[dag_id] = (now + _IN_DAG_FRESH, tasks)
    return tasks


def _arguments_of(task: Any) -> Arguments:
    fields = set(task.template_fields or ())
    if "enos_conn_id" not in fields:
        return _NO_ARGUMENTS
    # A mapped task keeps the arguments that are the same for all its instances apart.
    given: Mapping[str, Any] = getattr(task, "partial_kwargs", None) or vars(task)
    return {name: _known(given.get(name)) for name in _ARGUMENTS if name in fields}


def _known(value: object) -> str | None:
    """Return ``value``, or None if it is empty, an unrendered template, or masked."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or value in ("", "None") or "{{" in value or "{%" in value or "***" in value:
        return None
    return value


def _candidates(arguments: Arguments, noted: Intent | None, xcoms: Mapping[str, object]) -> Iterator[object]:
    """Yield what may be the id of the task's instance, the most trustworthy first."""
    yield arguments.get("flow_instance_id")
    if noted is not None:
        yield noted.flow_instance_id
    yield xcoms.get("flow_instance_id")
    returned = xcoms.get("return_value")
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


def _current(noted: object, max_tries: int | None) -> Intent | None:
    """Return what the operator has recorded of its instance since the last clear."""
    intent = Intent.from_json(noted)
    return intent if intent is not None and intent.max_tries == (max_tries or 0) else None


def _number(value: str | None) -> int | None:
    text = (value or "").strip()
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None
