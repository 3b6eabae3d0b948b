"""The record of what a task has asked EnOS for, in Airflow's task state store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from worker import Log, StateStore, TaskInstance

from airflow_provider_enos.errors import EnosTriggerError
from airflow_provider_enos.protocol.start.attempts import MOST_TRIES, Attempt, Intent, tries_of, with_tries
from airflow_provider_enos.utils import trigger_record
from airflow_provider_enos.utils.trigger_record import STATE_KEY, TriggerRecord

HERE = "https://gateway o1"
OPEN = Intent(2, 0, 5, 5, flow_id=3377, origin=HERE)


def record(store: StateStore | None, **run: Any) -> TriggerRecord:
    context: Any = {"ti": TaskInstance(try_number=2, max_tries=2), "dag_run": SimpleNamespace(**run)}
    if store is not None:
        context["task_state_store"] = store
    return TriggerRecord(context, HERE, Log())


def attempt(one: TriggerRecord) -> Attempt:
    found = one.attempt(retries=2, trigger_time=lambda now: now)
    one.take_up(found.intent, 3377)
    return found


def test_what_one_try_saves_the_next_one_knows(state_store: StateStore) -> None:
    record(state_store).save(OPEN)
    one = record(state_store)
    assert attempt(one).intent == OPEN
    assert one.last == OPEN, "so that a kill knows it, too"


def test_without_a_store_a_try_knows_its_own(state_store: StateStore) -> None:
    """And that the DAG run was started then."""
    one = record(None, start_date=datetime(2024, 3, 3, tzinfo=UTC), clear_number=3)
    found = attempt(one)
    assert (found.has_record, found.intent, found.not_before, found.clears) == (False, None, 1709424000000, 3)
    one.save(OPEN)
    assert one.last == OPEN
    assert not one.superseded


@pytest.mark.parametrize("changes", [{"origin": "https://other o1"}, {"flow_id": 4001}])
def test_a_kill_cancels_nothing_elsewhere(state_store: StateStore, changes: dict[str, Any]) -> None:
    state_store.set(STATE_KEY, {**OPEN.to_json(), **changes})
    one = record(state_store)
    attempt(one)
    assert one.last is None


def test_a_store_that_cannot_be_read_stops_a_retry(state_store: StateStore) -> None:
    state_store.broken = True
    with pytest.raises(EnosTriggerError, match="cannot be read"):
        attempt(record(state_store))


def test_a_request_that_cannot_be_kept_is_not_sent(state_store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    one = record(state_store)
    attempt(one)
    state_store.broken = True
    with pytest.raises(EnosTriggerError, match="cannot be recorded"):
        one.save(OPEN)
    assert one.last is None
    one.save(Intent(2, 0, 5, 5, "3377-x"))
    assert one.last is not None, "what has been started is known to a kill"


def test_a_process_that_was_frozen_asks_whether_it_is_current(
    state_store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = record(state_store)
    one.save(OPEN)
    state_store.set(STATE_KEY, Intent(3, 0, 5, 5).to_json())
    one.check_current()
    now = trigger_record.time()
    monkeypatch.setattr(trigger_record, "time", lambda: now + 60)
    with pytest.raises(EnosTriggerError, match="another try of this task has begun"):
        one.check_current()


def test_the_instance_of_each_try_stays_on_record(state_store: StateStore) -> None:
    """For people who look at an earlier try: Airflow has deleted its XComs."""
    for try_number, instance in [(1, "3377-a"), (2, "3377-a"), (3, "3377-b")]:
        one = record(state_store)
        one._context["ti"].try_number = try_number
        attempt(one)
        one.save(replace(OPEN, try_number=try_number))
        sender = 1 if instance == "3377-a" else try_number
        one.save(replace(OPEN, try_number=sender, flow_instance_id=instance))
        assert not one.superseded
    stored = state_store.values[STATE_KEY]
    assert tries_of(stored) == {1: "3377-a", 2: "3377-a", 3: "3377-b"}
    assert Intent.from_json(stored) == replace(OPEN, try_number=3, flow_instance_id="3377-b")


def test_a_first_try_keeps_nothing_twice(state_store: StateStore) -> None:
    known = replace(OPEN, try_number=1, flow_instance_id="3377-a")
    one = record(state_store)
    one._context["ti"].try_number = 1
    one.save(known)
    assert state_store.values[STATE_KEY] == known.to_json()
    assert tries_of(known.to_json()) == {1: "3377-a"}


@pytest.mark.parametrize(
    "stored", [None, [], "x", {}, OPEN.to_json(), {"tries": 7}, {"tries": {"x": "3377-a", "1": None, "²": "3377-b"}}]
)
def test_a_record_that_says_nothing_of_tries(stored: object) -> None:
    assert tries_of(stored) == {}


def test_the_last_tries_are_kept() -> None:
    stored = with_tries(OPEN, {number: f"3377-{number}" for number in range(1, 500)})
    assert list(tries_of(stored)) == list(range(500 - MOST_TRIES, 500))
