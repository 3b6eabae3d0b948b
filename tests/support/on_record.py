"""Airflow's database with what it has on record of one task instance, for code of the API server in this process."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflows import AIRFLOW

WHERE = {"dag_id": "readings", "run_id": "manual", "task_id": "task", "map_index": -1}
HAS_ROWS_OF_TRIES = AIRFLOW >= (3, 4)
"""Each try has a row of its own, and XComs and rendered arguments belong to that row."""
XCOM, RENDERED = ("xcom_v2", "rtif_v2") if HAS_ROWS_OF_TRIES else ("xcom", "rendered_task_instance_fields")
"""The tables of XComs and of rendered arguments."""
MAP_INDEX = "region_index" if HAS_ROWS_OF_TRIES else "map_index"
"""The column of ``task_instance``."""
TI_KEY: Any = SimpleNamespace(**WHERE, try_number=1)
"""As Airflow's API server names a task instance."""


def of_dag(dag_id: str) -> str:
    """Return the condition for the rows of ``XCOM`` or ``RENDERED`` that are of this DAG."""
    if HAS_ROWS_OF_TRIES:
        return f"task_instance_id IN (SELECT id FROM task_instance WHERE dag_id = '{dag_id}')"
    return f"dag_id = '{dag_id}'"


@dataclass
class OnRecord:
    """A task that runs, and what is stored of it."""

    database: Path

    @classmethod
    def made_from(cls, migrated: Path) -> OnRecord:
        """Create it in the database of this process, which is a copy of an empty one."""
        one = cls(Path(os.environ["AIRFLOW_HOME"]) / "airflow.db")
        # Into the file that is there: Airflow keeps connections to it open.
        with closing(sqlite3.connect(migrated / "airflow.db")) as empty, closing(sqlite3.connect(one.database)) as own:
            empty.backup(own)
        one.insert("dag_run", id=1, dag_id="readings", run_id="manual", state="running", run_type="manual", conf=None)
        one.insert("task_instance", **WHERE, state="running", try_number=1, max_tries=0, operator="x")
        return one

    def insert(self, table: str, **values: object) -> None:
        """Insert a row. Columns that must not be empty get any value."""
        with closing(sqlite3.connect(self.database, timeout=30)) as database, database:
            columns = database.execute(f"PRAGMA table_info({table})").fetchall()
            if "region_index" in {column[1] for column in columns}:
                values["region_index"] = values.get("map_index", -1)
            for _, name, kind, is_needed, default, _ in columns:
                if name not in values and is_needed and default is None and not (table == "xcom" and name == "id"):
                    values[name] = _anything(name, kind)
            known = {name: value for name, value in values.items() if name in {column[1] for column in columns}}
            marks = ", ".join("?" * len(known))
            database.execute(f"INSERT OR REPLACE INTO {table} ({', '.join(known)}) VALUES ({marks})", [*known.values()])

    def ended(self, **values: object) -> None:
        """An earlier try of the task."""
        if HAS_ROWS_OF_TRIES:
            self.insert("task_instance", **WHERE, max_tries=2, working_set=None, **values)
        else:
            self.insert("task_instance_history", **WHERE, max_tries=2, task_instance_id=uuid.uuid4().hex, **values)

    def _insert_of_task(self, table: str, table_of_tries: str, where: Mapping[str, Any], **values: object) -> None:
        """Insert what belongs to a task: by its names, or to the row of its try."""
        if not HAS_ROWS_OF_TRIES:
            return self.insert(table, **where, **values)
        with closing(sqlite3.connect(self.database, timeout=30)) as database:
            query = "SELECT id FROM task_instance WHERE task_id = ? AND region_index = ? AND working_set"
            (row,) = database.execute(query, (where["task_id"], where["map_index"])).fetchall()
        return self.insert(table_of_tries, task_instance_id=row[0], id=uuid.uuid4().hex, **values)

    def delete(self, table: str) -> None:
        """Delete all rows of a table."""
        if HAS_ROWS_OF_TRIES:
            table = {"rendered_task_instance_fields": "rtif_v2", "xcom": "xcom_v2"}.get(table, table)
        with closing(sqlite3.connect(self.database, timeout=30)) as database, database:
            database.execute(f"DELETE FROM {table}")

    def rendered(self, **arguments: object) -> None:
        """The arguments of the task, as they were rendered."""
        self.rendered_of(WHERE, {"enos_conn_id": "enos_default", "org_id": None, "user_id": None, **arguments})

    def rendered_of(self, where: Mapping[str, Any], arguments: Mapping[str, object]) -> None:
        """The arguments of another task."""
        fields = json.dumps(arguments)
        self._insert_of_task("rendered_task_instance_fields", "rtif_v2", where, rendered_fields=fields)

    def xcom(self, key: str, value: object) -> None:
        """Store an XCom of the task."""
        text = json.dumps(value)
        of_run = {} if HAS_ROWS_OF_TRIES else {"dag_run_id": 1}
        value_as_stored = text.encode() if AIRFLOW < (3, 0) else text
        self._insert_of_task("xcom", "xcom_v2", WHERE, **of_run, key=key, value=value_as_stored)

    def noted(self, **intent: object) -> None:
        """What the operator has noted in the task state store."""
        whole = {"max_tries": 0, "first_index": 0, "trigger_time": 1, "sent_time": 1, **intent}
        self.insert("task_state_store", dag_run_id=1, **WHERE, key="enos_trigger", value=json.dumps(whole))


def _anything(name: str, kind: str) -> object:
    kind = kind.upper()
    if name == "id" and "CHAR" in kind:
        return uuid.uuid4().hex if "32" in kind else str(uuid.uuid4())
    if "TIME" in kind or "DATE" in kind:
        return "2024-01-01 00:00:00.000000"
    if "INT" in kind or "BOOL" in kind or "FLOAT" in kind:
        return 0
    return b"\x80\x04}\x94." if "BLOB" in kind else ""
