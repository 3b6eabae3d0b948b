"""What Airflow has stored of task instances, each with its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.utils.session import create_session
from airflows import AIRFLOW
from on_record import WHERE, OnRecord

from airflow_provider_enos.plugins.view.stored import Name, Stored, stored_of

OWN: Name = ("task", -1)


@pytest.fixture
def on_record(migrated_home: Path) -> OnRecord:
    return OnRecord.made_from(migrated_home)


def read(*names: Name) -> Stored:
    with create_session() as session:
        return stored_of("readings", "manual", names or (OWN,), session)


def test_nothing_is_stored_of_a_task_that_has_not_begun(on_record: OnRecord) -> None:
    stored = read()
    assert (stored.rendered(OWN), stored.noted(OWN), stored.xcoms(OWN)) == ({}, None, {})


def test_each_task_instance_has_its_own(on_record: OnRecord) -> None:
    on_record.rendered(flow_id=3377)
    on_record.xcom("flow_instance_id", "3377-1")
    on_record.xcom("return_value", ["3377-1"])
    on_record.xcom("of somebody else", "x")
    other: Name = ("other", 3)
    on_record.insert("task_instance", **WHERE | {"task_id": "other", "map_index": 3}, state="running", try_number=1)
    stored = read(OWN, other)
    assert stored.rendered(OWN)["flow_id"] == 3377
    assert stored.xcoms(OWN) == {"flow_instance_id": "3377-1", "return_value": ["3377-1"]}
    assert (stored.rendered(other), stored.xcoms(other)) == ({}, {})


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow has task states from 3.3 on")
def test_the_record_of_the_operator(on_record: OnRecord) -> None:
    on_record.noted(flow_instance_id="3377-1")
    noted = read().noted(OWN)
    assert isinstance(noted, dict)
    assert noted["flow_instance_id"] == "3377-1"


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow has task states from 3.3 on")
def test_a_record_that_is_no_json_is_handed_on_as_it_is(on_record: OnRecord) -> None:
    on_record.insert("task_state_store", dag_run_id=1, **WHERE, key="enos_trigger", value="{no json")
    assert read().noted(OWN) == "{no json"
