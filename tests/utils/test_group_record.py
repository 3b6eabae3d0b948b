"""What the tasks of a group know of each other, in the XComs of ``start``."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException
from groups import XComs
from worker import Log

from airflow_provider_enos.errors import EnosTriggerError
from airflow_provider_enos.protocol.start.attempts import Intent
from airflow_provider_enos.protocol.start.group import GroupInstance, GroupRequest, GroupStart, NodeSuccess
from airflow_provider_enos.utils import group_record
from airflow_provider_enos.utils.group_record import GroupRecord

FIRST = GroupInstance("8300-1", None, 0)
START = GroupStart(8300, 1594016819108, FIRST, "here")
INTENT = Intent(max_tries=1, first_index=1, trigger_time=1, sent_time=60_001, index=1, from_task_id=3)
RUNS = {3: (3, 5)}
"""What runs if the flow is started from a node."""


def restart(index: int, *runs: int) -> GroupInstance:
    return GroupInstance(f"8300-{index + 1}", runs[0] if runs else None, index, runs or None)


def record(task_id: str = "nodes.a", **changes: Any) -> GroupRecord:
    place = {"dag_id": "dag", "run_id": "run", "task_id": task_id, "map_index": -1, **changes}
    return GroupRecord(SimpleNamespace(**place), "nodes.start")


@pytest.fixture
def started(xcoms: XComs) -> GroupRecord:
    one = record("nodes.start")
    one.begin(START)
    return one


def test_every_task_reads_what_start_has_written(started: GroupRecord) -> None:
    assert record("nodes.b").start() == START


@pytest.mark.parametrize("changes", [{"run_id": "other"}, {"dag_id": "other"}, {"map_index": 0}])
def test_other_rounds_are_not_mixed_up(started: GroupRecord, changes: dict[str, Any]) -> None:
    with pytest.raises(EnosTriggerError, match=r"the XCom 'enos_group' of task nodes\.start is not there; clear that"):
        record(**changes).start()


def test_what_start_has_not_written(xcoms: XComs) -> None:
    xcoms.set("enos_group", {"flow_id": "8300"}, dag_id="dag", task_id="nodes.start", run_id="run")
    with pytest.raises(EnosTriggerError, match="is not there"):
        record().start()


def test_a_start_that_was_skipped(xcoms: XComs, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(group_record, "state_of", lambda task: asked.append(vars(task)) or "skipped")
    with pytest.raises(AirflowSkipException, match=r"task nodes\.start was skipped"):
        record(map_index=2).start()
    assert asked == [{"dag_id": "dag", "run_id": "run", "task_id": "nodes.start", "map_index": 2}]


def test_a_state_that_cannot_be_read(xcoms: XComs, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(task: object) -> str:
        raise RuntimeError("no database today")

    monkeypatch.setattr(group_record, "state_of", fail)
    with pytest.raises(EnosTriggerError, match="is not there"):
        record().start()


@pytest.mark.parametrize(
    ("state", "is_there", "is_over"),
    [
        ("success", True, False),
        (None, True, False),
        (None, False, True),
        ("queued", True, True),
        ("queued", False, True),
    ],
)
def test_whether_start_was_cleared(
    started: GroupRecord,
    xcoms: XComs,
    monkeypatch: pytest.MonkeyPatch,
    state: str | None,
    is_there: bool,
    is_over: bool,
) -> None:
    """In Airflow 3.4 a cleared task has no XComs at once."""
    monkeypatch.setattr(group_record, "state_of", lambda _: state)
    if not is_there:
        xcoms.stored.clear()
    assert record().is_over("8300-1") is is_over


def test_a_record_that_is_gone_is_no_clear_of_start(xcoms: XComs) -> None:
    with pytest.raises(EnosTriggerError, match="is not there"):
        record().is_over("8300-1")


def test_without_restarts_two_xcoms_are_read(
    started: GroupRecord, xcoms: XComs, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    get = xcoms.get_one
    monkeypatch.setattr(
        group_record, "xcom", lambda: SimpleNamespace(get_one=lambda **at: read.append(at["key"]) or get(**at))
    )
    one = record()
    assert one.instances(one.start()) == (FIRST,)
    assert read == ["enos_group", "enos_restarts"]
    assert not xcoms.missed


def test_restarts_come_in_the_order_of_their_minutes(started: GroupRecord) -> None:
    one = record()
    one.note_restart(START, restart(1, 3, 5), FIRST)
    one.note_restart(START, restart(2, 5), restart(1, 3, 5))
    assert record().instances(record().start()) == (FIRST, restart(1, 3, 5), restart(2, 5))


def test_minutes_of_strangers_are_passed_over(started: GroupRecord) -> None:
    record().note_restart(START, restart(4, 3, 5), FIRST)
    assert record().instances(record().start()) == (FIRST, restart(4, 3, 5))


def test_a_restart_that_was_announced_and_not_made(started: GroupRecord) -> None:
    record().note_restarts()
    assert record().instances(record().start()) == (FIRST,)


def test_a_round_is_over_once_start_has_begun_another_one(started: GroupRecord, xcoms: XComs) -> None:
    assert record().is_current(START)
    record().note_restart(START, restart(1, 3, 5), FIRST)
    assert record().is_current(START)
    started.begin(replace(START, first=restart(2)))
    assert not record().is_current(START)
    xcoms.stored.clear()
    assert not record().is_current(START)


@pytest.mark.parametrize("index", [1, 2, 3, 4])
def test_what_an_earlier_round_writes_late_does_no_harm(started: GroupRecord, index: int) -> None:
    """Also where the trigger time is "now", so that the rounds do not count their minutes alike."""
    again = replace(START, first=GroupInstance("8300-9", None, 1))
    started.begin(again)
    record("nodes.c").note_restart(again, restart(2, 3, 5), again.first)
    record("nodes.b").note_restart(START, restart(index, 3, 5), FIRST)
    found = [one.flow_instance_id for one in record().instances(record().start())]
    assert found == (["8300-9"] if index == 2 else ["8300-9", "8300-3"])


def test_siblings_write_the_same(started: GroupRecord, xcoms: XComs) -> None:
    record("nodes.b").note_restart(START, restart(1, 3, 5), FIRST)
    before = dict(xcoms.stored)
    record("nodes.c").note_restart(START, restart(1, 3, 5), FIRST)
    assert xcoms.stored == before


def test_what_is_on_record_stays_as_it_is(started: GroupRecord) -> None:
    """A sibling that takes over an instance may have wanted less of it to run."""
    record("nodes.b").note_restart(START, restart(1, 3, 5), FIRST)
    record("nodes.c").note_restart(START, restart(1, 5), FIRST)
    assert record().instances(START) == (FIRST, restart(1, 3, 5))


def test_the_task_that_has_started_an_instance_knows_best_what_it_runs(started: GroupRecord) -> None:
    record("nodes.c").note_restart(START, restart(1, 5), FIRST)
    record("nodes.b").note_restart(START, restart(1, 3, 5), FIRST, replaces=True)
    assert record().instances(START) == (FIRST, restart(1, 3, 5))


def test_a_success(started: GroupRecord) -> None:
    assert record().success(3) is None
    record().note_success(3, NodeSuccess("8300-1", 2))
    assert record().success(3) == NodeSuccess("8300-1", 2)
    assert record().success(4) is None


def test_all_of_it_goes_when_start_runs_again(started: GroupRecord, xcoms: XComs) -> None:
    record().note_restart(START, restart(1, 3), FIRST)
    record().note_success(3, NodeSuccess("8300-1", 2))
    record().intent_state(3, FIRST, 1, RUNS, Log()).save(INTENT.to_json())
    assert {place[2] for place in xcoms.stored} == {"nodes.start"}


# Requests.


def test_a_request_is_known_to_the_others(started: GroupRecord) -> None:
    record().begin_try(3, 1)
    assert record().intent_state(3, FIRST, 1, RUNS, Log()).save(INTENT.to_json())
    request = GroupRequest(FIRST.flow_instance_id, INTENT, (3, 5))
    assert record("nodes.b").request(3) == request
    assert record("nodes.b").requests([2, 3, 4]) == [request]
    assert record("nodes.c").intent_state(3, FIRST, 1, RUNS, Log()).load() == INTENT.to_json()


def test_a_request_after_another_instance_does_not_count(started: GroupRecord) -> None:
    record().intent_state(3, FIRST, 1, RUNS, Log()).save(INTENT.to_json())
    assert record().intent_state(3, restart(1, 3), 1, RUNS, Log()).load() is None


def test_a_request_for_what_an_earlier_try_had_planned_keeps_its_nodes(started: GroupRecord) -> None:
    record().begin_try(3, 1)
    earlier = replace(INTENT, from_task_id=None)
    record().intent_state(3, FIRST, 1, {**RUNS, None: None}, Log()).save(earlier.to_json())
    assert record().request(3) == GroupRequest("8300-1", earlier, None)


def test_a_process_that_has_stored_the_same_at_the_same_time(started: GroupRecord, xcoms: XComs) -> None:
    record().note_success(3, NodeSuccess("8300-1", 2))
    xcoms.breaks_at = "enos_success_3"
    record().note_success(3, NodeSuccess("8300-1", 2))
    with pytest.raises(RuntimeError, match="no XComs today"):
        record().note_success(3, NodeSuccess("8300-1", 3))


def test_a_request_that_cannot_be_recorded(started: GroupRecord, xcoms: XComs) -> None:
    log = Log()
    xcoms.breaks_at = "enos_intent_3"
    record().begin_try(3, 1)
    state = record().intent_state(3, FIRST, 1, RUNS, log)
    assert not state.save(INTENT.to_json())
    assert log.lines == ["an XCom of the group's start task cannot be written: no XComs today"]


def test_another_try_has_begun(started: GroupRecord) -> None:
    log = Log()
    state = record().intent_state(3, FIRST, 1, RUNS, log)
    record().begin_try(3, 1)
    assert state.save(INTENT.to_json())
    assert not state.superseded
    record().begin_try(3, 2)
    record().begin_try(4, 1)
    record("nodes.b").check_try(4, 1)
    later = {**INTENT.to_json(), "try_number": 2}
    assert record().intent_state(3, FIRST, 2, RUNS, Log()).save(later)
    assert state.superseded
    assert not state.save(INTENT.to_json())
    assert record("nodes.b").intent_state(3, FIRST, 2, RUNS, Log()).load() == later
    assert log.lines == ["an XCom of the group's start task is that of a later try of this task"]
    for late in (record().check_try, record().begin_try):
        with pytest.raises(
            EnosTriggerError, match=r"another try of this task has begun, or task nodes\.start was cleared"
        ):
            late(3, 1)


def test_a_try_whose_note_was_hidden_by_a_late_one_stops(started: GroupRecord, xcoms: XComs) -> None:
    record().begin_try(3, 2)
    xcoms.set("enos_try_3", 1, dag_id="dag", task_id="nodes.start", run_id="run")
    assert record().is_overtaken(3, 2)


def test_whether_another_try_has_begun_is_not_known(started: GroupRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("no XComs today")

    log = Log()
    record().begin_try(3, 1)
    state = record().intent_state(3, FIRST, 1, RUNS, log)
    state.save(INTENT.to_json())
    monkeypatch.setattr(group_record, "xcom", lambda: SimpleNamespace(get_one=fail))
    assert state.superseded
    assert log.lines == ["an XCom of the group's start task cannot be read: no XComs today"]
