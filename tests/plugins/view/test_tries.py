"""The instance of an earlier try: the one that is on record, or none."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflows import AIRFLOW
from on_record import WHERE, OnRecord

from airflow_provider_enos.plugins.view import record
from airflow_provider_enos.plugins.view.record import Record
from airflow_provider_enos.plugins.view.stored import Key
from airflow_provider_enos.plugins.view.tries import MOST_TRIES

if AIRFLOW < (3, 0):
    pytest.skip("Airflow 2 has no tabs", allow_module_level=True)

KEY = Key("readings", "manual", "task", -1)
FIRST, SECOND = "3377-20200706062600", "3377-20200706062700"
HAS_STORE = pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow has task states from 3.3 on")


@pytest.fixture
def on_record(migrated_home: Path, monkeypatch: pytest.MonkeyPatch) -> OnRecord:
    """A task in its third try, after two that failed."""
    monkeypatch.setattr(record, "_dags", {})
    one = OnRecord.made_from(migrated_home)
    one.insert("task_instance", **WHERE, state="running", try_number=3, max_tries=2, operator="x")
    for number in (1, 2):
        ended(one, number)
    one.rendered(flow_id=3377)
    one.xcom("flow_instance_id", SECOND)
    return one


def ended(one: OnRecord, number: int) -> None:
    """A try that failed."""
    start = f"2024-01-01 00:{number % 60:02}:00.000000"
    one.ended(try_number=number, state="failed", start_date=start)


def read(try_number: int | None = None) -> Record:
    found = record.read(KEY, try_number)
    assert found is not None
    return found


def instance_of(found: Record) -> str | None:
    return None if found.source is None else found.source.flow_instance_id


@HAS_STORE
def test_each_try_has_the_instance_that_is_on_record(on_record: OnRecord) -> None:
    on_record.noted(
        max_tries=2, try_number=2, flow_id=3377, flow_instance_id=SECOND, tries={"1": FIRST, "2": SECOND, "3": SECOND}
    )
    found = read()
    assert [(one.number, one.state, one.flow_instance_id) for one in found.tries] == [
        (1, "failed", FIRST),
        (2, "failed", SECOND),
        (3, "running", SECOND),
    ]
    assert found.tries[0].start.startswith("2024-01-01T00:01:00")
    assert [(instance_of(read(number)), read(number).shown_try) for number in (1, 2, 3)] == [
        (FIRST, 1),
        (SECOND, 2),
        (SECOND, None),
    ]
    first = read(1).source
    assert first is not None
    assert first.flow_id == 3377, "so an instance of another flow is refused"


@HAS_STORE
def test_a_record_of_before_names_the_try_that_sent_the_request(on_record: OnRecord) -> None:
    on_record.noted(max_tries=2, try_number=2, flow_id=3377, flow_instance_id=SECOND)
    assert [one.flow_instance_id for one in read().tries] == ["", SECOND, SECOND]


@HAS_STORE
def test_a_clear_does_not_forget_the_tries_before_it(on_record: OnRecord) -> None:
    on_record.noted(max_tries=0, try_number=1, flow_id=3377, flow_instance_id=FIRST)
    assert [one.flow_instance_id for one in read().tries] == [FIRST, "", SECOND]


def test_what_is_not_on_record_is_not_guessed(on_record: OnRecord) -> None:
    """The XComs that are there are of the newest try."""
    assert [one.flow_instance_id for one in read().tries] == ["", "", SECOND]
    assert (instance_of(read(1)), read(1).shown_try) == (None, 1)
    assert instance_of(read()) == SECOND


@HAS_STORE
def test_what_is_no_id_is_none(on_record: OnRecord) -> None:
    on_record.noted(max_tries=2, try_number=2, tries={"1": "../x", "2": "8104 -1"})
    assert [instance_of(read(number)) for number in (1, 2)] == [None, None]


def test_the_first_try_is_the_only_one(on_record: OnRecord) -> None:
    on_record.insert("task_instance", **WHERE, state="running", try_number=1, max_tries=0, operator="x")
    assert read().tries == ()


def test_the_last_tries_are_shown(on_record: OnRecord) -> None:
    on_record.insert("task_instance", **WHERE, state="running", try_number=90, max_tries=90, operator="x")
    on_record.rendered(flow_id=3377)
    for number in range(1, 90):
        ended(on_record, number)
    assert [one.number for one in read().tries] == list(range(90 - MOST_TRIES, 91))


def test_a_try_that_airflow_has_not_is_not_shown_as_another(on_record: OnRecord) -> None:
    assert read(7).shown_try is None
