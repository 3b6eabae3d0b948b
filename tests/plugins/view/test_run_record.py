"""The EnOS tasks of a DAG run, of Airflow's database: all of few, and the urgent ones of many."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any

import pytest
from airflows import AIRFLOW
from on_record import HAS_ROWS_OF_TRIES, MAP_INDEX, WHERE, OnRecord

from airflow_provider_enos.plugins.view import record
from airflow_provider_enos.plugins.view.run_record import MOST_TASKS, RunRecord, read_run

if AIRFLOW < (3, 0):
    pytest.skip("Airflow 2 has no tabs", allow_module_level=True)

OF_ENOS = {"enos_conn_id": "enos_default", "flow_id": "3377"}


@pytest.fixture
def on_record(migrated_home: Path, monkeypatch: pytest.MonkeyPatch) -> OnRecord:
    """A run of a DAG with two EnOS tasks, of which the one that comes first in the alphabet comes last."""
    tasks = {"load": OF_ENOS, "check": {}, "aggregate": OF_ENOS}
    monkeypatch.setattr(record, "_dags", {"readings": (inf, tasks)})
    one = OnRecord.made_from(migrated_home)
    one.delete("task_instance")
    return one


def add(one: OnRecord, task_id: str, state: str | None, map_index: int = -1, **more: Any) -> None:
    where = WHERE | {"task_id": task_id, "map_index": map_index}
    one.insert("task_instance", **where, state=state, try_number=1, max_tries=0, operator="x", **more)


def rendered(one: OnRecord, task_id: str, map_index: int = -1, **arguments: object) -> None:
    one.rendered_of(WHERE | {"task_id": task_id, "map_index": map_index}, arguments)


def read() -> RunRecord:
    found = read_run("readings", "manual")
    assert found is not None
    return found


def test_all_tasks_of_enos_in_the_order_of_the_dag(on_record: OnRecord) -> None:
    for task_id in ("aggregate", "check", "load"):
        add(on_record, task_id, "success")
    rendered(on_record, "load", enos_conn_id="enos_default", flow_instance_id="3377-20200706062600")
    found = read()
    assert [row.task_id for row in found.rows] == ["load", "aggregate"]
    first, second = (row.record.source for row in found.rows)
    assert first is not None
    assert (first.flow_instance_id, second) == ("3377-20200706062600", None)
    assert found.states == {"success": 2}


def test_mapped_ones_with_their_labels(on_record: OnRecord) -> None:
    for number in range(3):
        add(on_record, "load", "running", number, rendered_map_index="site b" if number == 1 else None)
        rendered(on_record, "load", number, enos_conn_id="enos_default", flow_instance_id=f"3377-{number}")
    found = read()
    assert [(row.map_index, row.label) for row in found.rows] == [(0, ""), (1, "site b"), (2, "")]
    sources = [row.record.source for row in found.rows]
    assert [source.flow_instance_id for source in sources if source] == ["3377-0", "3377-1", "3377-2"]


def test_tasks_that_are_not_in_the_dag_any_more_come_last(on_record: OnRecord) -> None:
    for task_id in ("gone", "gone_and_not_of_enos", "load"):
        add(on_record, task_id, "success")
    rendered(on_record, "gone", enos_conn_id="enos_default", flow_instance_id="3377-1")
    rendered(on_record, "gone_and_not_of_enos", bash_command="true")
    assert [row.task_id for row in read().rows] == ["load", "gone"]


@pytest.mark.parametrize(
    ("run", "task", "ended"), [("running", "success", False), ("success", "success", True), ("success", None, False)]
)
def test_it_has_ended_when_run_and_tasks_have(on_record: OnRecord, run: str, task: str | None, ended: bool) -> None:
    on_record.insert("dag_run", id=1, dag_id="readings", run_id="manual", state=run, run_type="manual", conf=None)
    add(on_record, "load", task)
    assert read().ended is ended


def test_without_tasks_of_enos_there_is_nothing(on_record: OnRecord) -> None:
    add(on_record, "check", "success")
    assert (read().rows, read().states) == ((), {})


@pytest.mark.parametrize("names", [("readings", "other"), ("other", "manual")])
def test_a_run_that_airflow_does_not_have(on_record: OnRecord, names: tuple[str, str]) -> None:
    assert read_run(*names) is None


@pytest.fixture
def thousand(on_record: OnRecord) -> OnRecord:
    """A thousand mapped task instances: number 900 has failed, number 950 runs."""
    add(on_record, "load", "success", 0)
    rendered(on_record, "load", 0, enos_conn_id="enos_default", flow_instance_id="3377-0")
    numbered = {"rendered_fields": "replace(rendered_fields, '3377-0', '3377-' || :n)"}
    copied = {"task_instance": {MAP_INDEX: ":n", "id": "printf('%032d', :n)"}}
    if HAS_ROWS_OF_TRIES:
        copied["rtif_v2"] = {
            "id": "printf('%032d', :n)",
            "task_instance_id": "printf('%032d', :n)",
            **numbered,
        }
    else:
        copied["rendered_task_instance_fields"] = {MAP_INDEX: ":n", **numbered}
    with closing(sqlite3.connect(on_record.database, timeout=30)) as database, database:
        for table, changed in copied.items():
            columns = [column[1] for column in database.execute(f"PRAGMA table_info({table})")]
            values = ", ".join(changed.get(name, name) for name in columns)
            (first,) = database.execute(f"SELECT rowid FROM {table}").fetchone()
            statement = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table} WHERE rowid = {first}"
            database.executemany(statement, [{"n": number} for number in range(1, 1000)])
        database.execute(f"UPDATE task_instance SET state = 'failed' WHERE {MAP_INDEX} = 900")
        database.execute(f"UPDATE task_instance SET state = 'deferred' WHERE {MAP_INDEX} = 950")
    return on_record


def test_of_many_the_urgent_ones_are_shown(thousand: OnRecord) -> None:
    found = read()
    assert found.states == {"success": 998, "failed": 1, "deferred": 1}
    assert len(found.rows) == MOST_TASKS
    numbers = [row.map_index for row in found.rows]
    assert numbers == [*range(MOST_TASKS - 2), 900, 950]
    assert all(row.record.source for row in found.rows)


def test_many_cost_as_many_queries_as_one(thousand: OnRecord) -> None:
    from airflow import settings
    from sqlalchemy import event

    asked: list[str] = []

    def listen(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        asked.append(statement)

    event.listen(settings.engine, "before_cursor_execute", listen)
    try:
        read()
        many = len(asked)
        with closing(sqlite3.connect(thousand.database, timeout=30)) as database, database:
            database.execute(f"DELETE FROM task_instance WHERE {MAP_INDEX} > 0")
        read()
    finally:
        event.remove(settings.engine, "before_cursor_execute", listen)
    assert many == len(asked) - many < 12


def test_many_are_read_in_little_time(thousand: OnRecord) -> None:
    """In a thread of the API server, for all that: what it computes holds the others up."""
    read()
    started = time.thread_time()
    read()
    assert time.thread_time() - started < 0.1
