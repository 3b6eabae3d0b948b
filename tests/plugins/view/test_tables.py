"""Airflow's tables have the same names on each version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.utils.session import create_session
from airflows import AIRFLOW
from on_record import OnRecord
from sqlalchemy import select

from airflow_provider_enos.plugins.view import tables
from airflow_provider_enos.plugins.view.tables import EARLIER_TRIES, OF_EARLIER_TRIES, Table


@pytest.fixture
def on_record(migrated_home: Path) -> OnRecord:
    return OnRecord.made_from(migrated_home)


def rows(table: Table | None) -> list[Any]:
    assert table is not None
    columns = table.dag_id, table.run_id, table.task_id, table.map_index, table.value
    with create_session() as session:
        return [tuple(row) for row in session.execute(select(*columns).where(table.joined))]


def test_rendered_arguments(on_record: OnRecord) -> None:
    on_record.rendered(flow_id=3377)
    ((*names, fields),) = rows(tables.rendered_fields())
    assert names == ["readings", "manual", "task", -1]
    assert fields["flow_id"] == 3377


def test_xcoms(on_record: OnRecord) -> None:
    on_record.xcom("return_value", "3377-1")
    ((*names, _),) = rows(tables.xcoms())
    assert names == ["readings", "manual", "task", -1]


def test_the_task_state_store(on_record: OnRecord) -> None:
    if AIRFLOW < (3, 3):
        assert tables.task_states() is None
        return
    on_record.noted(flow_id=3377)
    ((*names, _),) = rows(tables.task_states())
    assert names == ["readings", "manual", "task", -1]


@pytest.mark.skipif(AIRFLOW < (3, 0), reason="Airflow 2 has no tabs")
def test_earlier_tries(on_record: OnRecord) -> None:
    on_record.insert("task_instance", dag_id="readings", run_id="manual", task_id="task", map_index=-1, try_number=2)
    on_record.ended(try_number=1, state="failed")
    with create_session() as session:
        query = select(EARLIER_TRIES.try_number, EARLIER_TRIES.state).where(EARLIER_TRIES.try_number < 2)
        found = session.execute(query, execution_options=OF_EARLIER_TRIES).all()
    assert [tuple(one) for one in found] == [(1, "failed")]
