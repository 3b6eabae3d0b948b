"""Read from Airflow's database the EnOS tasks of a DAG run, mapped ones included: the most urgent ones of many.

Only for the API server: it reads Airflow's database, with as many queries for a thousand task instances as for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import State, TaskInstanceState
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from airflow_provider_enos.plugins.view.record import OF_INSTANCE, Record, arguments_of, in_dag, record_of, team_of
from airflow_provider_enos.plugins.view.stored import stored_of
from airflow_provider_enos.plugins.view.tables import rendered_fields

MOST_TASKS = 100
"""The most task instances that are shown."""
_MOST_GONE = 200

_LABEL: Any = TaskInstance.__table__.c["rendered_map_index"]
"""The column itself: the attribute of this name gives the number of an instance without a name, too."""
_URGENT = (TaskInstanceState.FAILED, TaskInstanceState.UP_FOR_RETRY)
_ACTIVE = (
    TaskInstanceState.RUNNING,
    TaskInstanceState.DEFERRED,
    TaskInstanceState.RESTARTING,
    TaskInstanceState.UP_FOR_RESCHEDULE,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One task instance. ``label``: what the DAG calls a mapped one; empty if it has no name for it."""

    task_id: str
    map_index: int
    label: str
    record: Record


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The EnOS tasks of a DAG run.

    :param rows: those that are shown, in the order of the DAG.
    :param states: how many there are in all in each state of Airflow.
    :param ended: whether all of them have ended, and the DAG run, too.
    """

    rows: tuple[Row, ...]
    states: Mapping[str, int]
    ended: bool


def read_run(dag_id: str, run_id: str) -> RunRecord | None:
    """Return the EnOS tasks of this DAG run; None if Airflow has no such run."""
    with create_session() as session:
        state = session.execute(
            select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        ).one_or_none()
        if state is None:
            return None
        order = _tasks_of_enos(dag_id, run_id, session)
        states = _states(dag_id, run_id, order, session)
        return RunRecord(
            rows=_rows(dag_id, run_id, order, session),
            states={str(one or "no status"): number for one, number in states.items()},
            ended=state[0] in State.finished_dr_states and states.keys() <= State.finished,
        )


def _tasks_of_enos(dag_id: str, run_id: str, session: Session) -> list[str]:
    """Return the ids of the tasks, in the order of the DAG; at last those that are not in the DAG any more."""
    instance, rendered = TaskInstance, rendered_fields()
    known = in_dag(dag_id, session)
    run = set(
        session.scalars(select(instance.task_id).where(instance.dag_id == dag_id, instance.run_id == run_id).distinct())
    )
    in_order = [task_id for task_id, arguments in known.items() if task_id in run and "enos_conn_id" in arguments]
    gone = session.execute(
        select(rendered.task_id, rendered.value)
        .where(rendered.joined, rendered.dag_id == dag_id, rendered.run_id == run_id)
        .where(rendered.task_id.in_(run - known.keys()))
        .order_by(rendered.task_id, rendered.map_index)
        .limit(_MOST_GONE)
    )
    return [*in_order, *dict.fromkeys(task_id for task_id, fields in gone if "enos_conn_id" in (fields or ()))]


def _states(dag_id: str, run_id: str, task_ids: Sequence[str], session: Session) -> dict[Any, int]:
    instance = TaskInstance
    counted = session.execute(
        select(instance.state, func.count())
        .where(instance.dag_id == dag_id, instance.run_id == run_id, instance.task_id.in_(task_ids))
        .group_by(instance.state)
    )
    return {state: number for state, number in counted}  # noqa: C416 - rows are tuples at run time only


def _rows(dag_id: str, run_id: str, task_ids: Sequence[str], session: Session) -> tuple[Row, ...]:
    instance = TaskInstance
    urgency = case((instance.state.in_(_URGENT), 0), (instance.state.in_(_ACTIVE), 1), else_=2)
    found = session.execute(
        select(instance.task_id, instance.map_index.label("map_index"), _LABEL, *OF_INSTANCE)
        .where(instance.dag_id == dag_id, instance.run_id == run_id, instance.task_id.in_(task_ids))
        .order_by(urgency, instance.task_id, instance.map_index)
        .limit(MOST_TASKS)
    ).all()
    place = {task_id: number for number, task_id in enumerate(task_ids)}
    chosen = sorted(found, key=lambda one: (place[one.task_id], one.map_index))
    stored = stored_of(dag_id, run_id, [(one.task_id, one.map_index) for one in chosen], session)
    team = team_of(dag_id, session)
    rows = []
    for one in chosen:
        name = (one.task_id, one.map_index)
        record = record_of(name, one, stored, arguments_of(dag_id, name, stored, session), team)
        rows.append(Row(one.task_id, one.map_index, one.rendered_map_index or "", record))
    return tuple(rows)
