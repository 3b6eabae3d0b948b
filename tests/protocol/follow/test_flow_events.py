from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from airflow_provider_enos.errors import EnosConfigError, EnosRequestError, EnosTransportError
from airflow_provider_enos.protocol.follow.flow_events import (
    ENDS,
    End,
    EndMemory,
    LookWindow,
    classify,
    ends,
    instances_in,
    instances_of,
    news,
    payload,
)
from airflow_provider_enos.protocol.models import FlowInstance, FlowInstancePage, FlowStatus
from airflow_provider_enos.protocol.trigger_time import parse
from airflow_provider_enos.protocol.wire import calls

NOW = 1_600_000_000.0
HOUR, DAY = 3600.0, 86_400.0
WEEK = 7 * DAY


def named(trigger_time: float, flow_id: int = 1) -> str:
    """The id of an instance that is triggered for this time, in epoch seconds."""
    return f"{flow_id}-{datetime.fromtimestamp(trigger_time, UTC):%Y%m%d%H%M}"


def instance(
    id: str, status: str = "SUCCESS", end_time: str | None = "2020-09-13 20:00:00", **more: Any
) -> FlowInstance:
    return FlowInstance.parse({"instanceId": id, "flowId": 1, "status": status, "endTime": end_time, **more})


RECENT = named(NOW - HOUR)
WHOLE = LookWindow.at(NOW, WEEK, whole=True)
NEAR = LookWindow.at(NOW, WEEK, whole=False)


def no_reply() -> EnosTransportError:
    return EnosTransportError("no reply", sent=True)


def refused() -> EnosRequestError:
    return EnosRequestError(62102, "no", operation="List Flow Instances", http_status=200)


def memory_of(*instances: FlowInstance, window: LookWindow = WHOLE) -> EndMemory:
    told, memory = news(None, instances, window)
    assert told == []
    assert memory is not None
    return memory


def told(memory: EndMemory | None, *instances: FlowInstance, window: LookWindow = WHOLE) -> list[str]:
    return [one.flow_instance_id for one in news(memory, instances, window)[0]]


def after(memory: EndMemory | None, *instances: FlowInstance, window: LookWindow = WHOLE) -> EndMemory:
    found = news(memory, instances, window)[1]
    assert found is not None
    return found


RUNS, RAN_AGAIN = End(FlowStatus("RUNNING"), None), End(FlowStatus("RUNNING"), "T1")
FAILED, FAILED_AT_1, FAILED_AT_2 = (End(FlowStatus("FAIL"), time) for time in (None, "T1", "T2"))
SUCCEEDED_AT_1, SUCCEEDED_AT_2 = (End(FlowStatus("SUCCESS"), time) for time in ("T1", "T2"))


@pytest.mark.parametrize(
    ("previous", "current", "is_new", "remembered"),
    [
        (None, RUNS, False, None),
        (None, FAILED_AT_1, True, FAILED_AT_1),
        (FAILED_AT_1, RUNS, False, RAN_AGAIN),
        (FAILED_AT_1, FAILED_AT_1, False, FAILED_AT_1),
        (FAILED_AT_1, FAILED, False, FAILED_AT_1),
        (FAILED_AT_1, FAILED_AT_2, False, FAILED_AT_2),
        (FAILED_AT_1, SUCCEEDED_AT_1, True, SUCCEEDED_AT_1),
        (SUCCEEDED_AT_1, SUCCEEDED_AT_2, True, SUCCEEDED_AT_2),
        (RAN_AGAIN, FAILED_AT_1, False, FAILED_AT_1),
        (RAN_AGAIN, FAILED_AT_2, True, FAILED_AT_2),
        (RAN_AGAIN, FAILED, True, FAILED),
    ],
)
def test_which_ends_are_new(previous: End | None, current: End, is_new: bool, remembered: End | None) -> None:
    assert classify(previous, current) == (is_new, remembered)


def test_ends_before_the_first_look_are_not_told() -> None:
    memory = memory_of(instance(RECENT), instance(named(NOW), "RUNNING", None))
    assert told(memory, instance(RECENT)) == []
    assert told(memory, instance(named(NOW))) == [named(NOW)]


def test_only_a_look_at_the_whole_window_counts_as_the_first() -> None:
    assert news(None, [instance(RECENT)], NEAR) == ([], None)


def test_ends_are_told_in_order() -> None:
    early, late = instance("1-b", end_time="2020-09-13 08:00:00"), instance("1-a", end_time="2020-09-13 09:00:00")
    assert told(memory_of(), late, instance("1-c", end_time=None), early) == ["1-c", "1-b", "1-a"]


@pytest.mark.parametrize("status", ["INIT", "RUNNING", "SUSPEND", "WAIT", "READY", "RERUN", "SOMETHING_NEW"])
def test_an_instance_that_runs_is_not_told(status: str) -> None:
    assert told(memory_of(), instance(RECENT, status)) == []


@pytest.mark.parametrize("status", ENDS)
def test_each_end_is_told_once(status: str) -> None:
    memory = memory_of()
    assert told(memory, instance(RECENT, status)) == [RECENT]
    assert told(after(memory, instance(RECENT, status)), instance(RECENT, status)) == []


@pytest.mark.parametrize(
    ("seen", "again"),
    [
        ([("FAIL", "T1")], ("SUCCESS", "T2")),
        ([("FAIL", None)], ("CANCEL", None)),
        ([("SUCCESS", "T1")], ("SUCCESS", "T2")),
        ([("SUCCESS", "T1"), ("RERUN", None)], ("SUCCESS", "T2")),
        ([("FAIL", "T1"), ("RUNNING", None)], ("FAIL", "T2")),
        ([("FAIL", None), ("RUNNING", None)], ("FAIL", None)),
        ([("SUCCESS", "T1"), ("RERUN", None), ("SUCCESS", None)], ("SUCCESS", "T2")),
    ],
    ids=str,
)
def test_an_instance_that_is_run_again_ends_again(
    seen: list[tuple[str, str | None]], again: tuple[str, str | None]
) -> None:
    memory = memory_of()
    for status, end_time in seen:
        memory = after(memory, instance(RECENT, status, end_time))
    is_told = told(memory, instance(RECENT, *again)) == [RECENT]
    # The last one has been told already, without its end time.
    assert is_told is (len(seen) < 3)


@pytest.mark.parametrize(
    "seen",
    [
        [("SUCCESS", None), ("SUCCESS", "T1"), ("SUCCESS", None), ("SUCCESS", "T1")],
        [("FAIL", None), ("FAIL", "T1"), ("FAIL", "T2")],
        [("SUCCESS", "T1"), ("RUNNING", None), ("SUCCESS", "T1")],
    ],
    ids=str,
)
def test_the_same_end_is_not_told_again_with_or_without_its_time(seen: list[tuple[str, str | None]]) -> None:
    memory, count = memory_of(), 0
    for status, end_time in seen:
        new, found = news(memory, [instance(RECENT, status, end_time)], WHOLE)
        assert found is not None
        memory, count = found, count + len(new)
    assert count == 1


def test_the_memory_survives_json() -> None:
    memory = after(memory_of(instance("1-old", "FAIL", None)), instance(RECENT), instance("1-old", "RUNNING", None))
    assert EndMemory.of(json.loads(json.dumps(memory.to_json()))) == memory


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "",
        {},
        {"since": 1, "hidden_before": 1},
        {"since": "1", "hidden_before": 1, "ends": {}},
        {"since": 1, "hidden_before": 1, "ends": {"1-a": ["SUCCESS"]}},
        {"since": 1, "hidden_before": 1, "ends": {"1-a": [1, None]}},
        {"since": 1, "hidden_before": 1, "ends": []},
    ],
    ids=str,
)
def test_anything_but_a_memory_is_ignored(value: object) -> None:
    assert EndMemory.of(value) is None


def test_two_memories_are_merged() -> None:
    one, other = memory_of(instance("1-a"), instance("1-b", "FAIL")), memory_of(instance("1-b"), instance("1-c"))
    both = one.merged_with(other)
    assert sorted(both.ends) == ["1-a", "1-b", "1-c"]
    assert both.ends["1-b"] == one.ends["1-b"]
    assert one.merged_with(None) == one


def test_an_end_that_leaves_the_window_is_forgotten_a_day_later() -> None:
    """By the time in its id, with a day to spare; by its absence where the id tells no time."""
    old, opaque = named(NOW - WEEK + HOUR), "1-4f3a"
    memory = memory_of(instance(old), instance(opaque))
    later = LookWindow.at(NOW + 0.5 * DAY, WEEK, whole=True)
    assert sorted(after(memory, instance(opaque), window=later).ends) == sorted([old, opaque])
    assert list(after(memory, window=later).ends) == [old]
    assert sorted(after(memory, window=LookWindow.at(NOW, WEEK, whole=False)).ends) == sorted([old, opaque])
    assert list(after(memory, window=LookWindow.at(NOW + 2 * DAY, WEEK, whole=True)).ends) == []


def test_a_forgotten_end_is_not_told_again_if_it_comes_back() -> None:
    old = named(NOW - WEEK + HOUR)
    memory = after(memory_of(instance(old)), window=LookWindow.at(NOW + 2 * DAY, WEEK, whole=True))
    assert told(memory, instance(old)) == []


def test_a_longer_lookback_tells_no_old_ends() -> None:
    day = LookWindow.at(NOW, DAY, whole=True)
    memory = memory_of(instance(RECENT), window=day)
    before, since = named(NOW - 3 * DAY), named(NOW + 0.1 * HOUR)
    assert told(memory, instance(before), instance("1-4f3a"), window=WHOLE) == []
    memory = after(memory, instance(before), instance("1-4f3a"), window=WHOLE)
    assert told(memory, instance(before), instance(since), instance("1-new"), window=WHOLE) == sorted([since, "1-new"])


def test_no_more_than_a_thousand_are_remembered_and_the_others_are_not_told_again() -> None:
    all_of_them = [instance(named(NOW - minute * 60)) for minute in range(1500)]
    memory = memory_of(*all_of_them)
    assert memory.is_full
    assert len(memory.ends) == 1000
    assert len(json.dumps(memory.to_json())) < 65_535
    assert told(memory, *all_of_them) == []
    new = instance(named(NOW + 60))
    assert told(memory, new, *reversed(all_of_them)) == [new.flow_instance_id]
    assert not memory_of(*all_of_them[:900]).is_full


def test_the_window() -> None:
    assert LookWindow(int((NOW - WEEK) * 1000), int((NOW + DAY) * 1000), True) == WHOLE
    assert LookWindow(int((NOW - DAY) * 1000), int((NOW + DAY) * 1000), False) == NEAR
    short = LookWindow.at(NOW, HOUR, whole=False)
    assert (short.first, short.whole) == (int((NOW - HOUR) * 1000), True)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, ENDS),
        ("fail", ("FAIL",)),
        (["SUCCESS", "FAIL"], ("FAIL", "SUCCESS")),
        ({"CANCEL"}, ("CANCEL",)),
        ((" success ",), ("SUCCESS",)),
    ],
    ids=str,
)
def test_the_statuses(given: object, expected: tuple[str, ...]) -> None:
    assert ends(given, "statuses") == expected


@pytest.mark.parametrize(
    "given", [[], "", "RUNNING", ["SUCCESS", "success"], [1], 1, {"SUCCESS": 1}, ["DONE"]], ids=str
)
def test_statuses_that_are_not_final_are_refused(given: object) -> None:
    with pytest.raises(EnosConfigError, match=r"^statuses: .*FAIL, SUCCESS"):
        ends(given, "statuses")


def test_a_payload_is_clean_and_plain() -> None:
    one = instance("1-a", flowName="a\x1b[31m\nb" + "x" * 500, triggerTime="2020-09-13 08:00:00", calDt="2020-09-12")
    found = payload(one)
    assert json.loads(json.dumps(found)) == found
    assert found["flow_name"].startswith("a b")
    assert len(found["flow_name"]) == 200
    assert found["status"] == "SUCCESS"
    assert found["business_date"] == "2020-09-12"
    assert found["start_time"] is None


@pytest.mark.parametrize(
    ("id", "utc"),
    [
        ("3377-20200706062600", "2020-07-06T06:26:00+00:00"),
        ("2438-201907261239", "2019-07-26T12:39:00+00:00"),
        ("8435-2021020211", None),
        ("13774-2022031400", None),
        ("3377-20200706062630", None),
        ("3377-20201306062600", None),
        ("3377-00000706062600", None),
        ("3377-19000706062600", None),
        ("3377-99990706062600", None),
        ("3377-2020070606260", None),
        ("3377-4f3a5b6c7d8e", None),
        ("3377-\N{ARABIC-INDIC DIGIT TWO}02007060626", None),
        ("3377", None),
        ("1-a", None),
    ],
)
def test_a_payload_has_the_utc_time_that_the_id_gives(id: str, utc: str | None) -> None:
    """Whatever zone the text of the trigger time is in; and an operator takes it as its trigger time."""
    found = payload(instance(id, triggerTime="2020-07-06 14:26:59"))
    assert (found["trigger_time"], found["trigger_time_utc"]) == ("2020-07-06 14:26:59", utc)
    if utc is not None:
        moment = datetime.fromtimestamp(parse(utc, now=0) / 1000, UTC)
        assert f"{moment:%Y%m%d%H%M}" in id


def test_one_list_for_many_flows(play: Any) -> None:
    other = FlowInstance.parse({"instanceId": "3-a", "flowId": 3, "status": 1})
    without = FlowInstance.parse({"instanceId": "22-a", "status": 1})
    nameless = FlowInstance.parse({"instanceId": "x", "status": 1})
    listed = FlowInstancePage((instance("1-a"), without, nameless, other, instance("1-b")), 5)
    # Some may be listed under several types.
    played = play(instances_of(NEAR, [1, 22, 7], most_pages=100), lambda call: listed)
    assert played.value == {1: [instance("1-a"), instance("1-b")], 22: [without], 7: []}
    with_node = {"instanceId": "1-a", "status": 1, "graph": {"tasks": [{"taskInstId": "10-a", "status": "SUCCESS"}]}}
    assert played.sent[0].parse({"flowInsts": [with_node]}).instances[0].nodes == ()


def test_a_list_of_too_many_pages_for_many_flows_is_given_up(play: Any) -> None:
    def page(call: Any) -> FlowInstancePage:
        number = json.loads(call.body)["pagination"]["pageNo"]
        return FlowInstancePage(tuple(instance(f"1-{number}x{row}") for row in range(50)), None)

    played = play(instances_of(NEAR, [1, 2], most_pages=6), page)
    assert played.value is None
    assert len(played.sent) == 6


# -- Over any sequence of runs, looks, restarts and faults, each end is told once.


@dataclass
class World:
    """EnOS, with the instances of one flow, and somebody who watches it."""

    first_page: int
    instances: dict[str, list[Any]] = field(default_factory=dict)
    ends: list[str] = field(default_factory=list)
    """The ids of instances that have ended since the watch began, once for each end."""
    memory: EndMemory | None = None
    stored: Any = None
    told: list[str] = field(default_factory=list)
    clock: float = NOW
    restarted: bool = True

    def begin(self, number: int, scheduled: bool) -> None:
        id = named(NOW + number * 60) if scheduled else f"1-{number:06x}"
        self.instances.setdefault(id, ["RUNNING", None, number % 3])

    def end(self, number: int, status: str) -> None:
        running = [id for id, (now, *_) in self.instances.items() if now in ("RUNNING", "RERUN")]
        if running:
            id = running[number % len(running)]
            self.clock += 60
            self.instances[id][:2] = [status, f"T{self.clock:.0f}"]
            self.ends.append(id)

    def rerun(self, number: int) -> None:
        """As somebody does by hand, and this time it is seen running."""
        over = [id for id, (now, *_) in self.instances.items() if now in ENDS]
        if over:
            self.look(0, {}, whole=True)
            self.instances[over[number % len(over)]][:2] = ["RERUN", None]
            self.look(0, {}, whole=True)

    def answer(self, call: Any, shuffled: int, faults: dict[int, str]) -> FlowInstancePage:
        body = json.loads(call.body)
        kind, page = body["type"], body["pagination"]["pageNo"]
        fault = faults.get(page * 3 + kind)
        if fault == "down":
            raise no_reply()
        if page < self.first_page:
            raise refused()
        rows = [
            {"instanceId": id, "flowId": 1, "status": status, "endTime": end_time}
            for id, (status, end_time, filed) in self.instances.items()
            if filed == kind
        ]
        turn = shuffled % (len(rows) or 1)
        rows = rows[turn:] + rows[:turn]
        start = (page - self.first_page) * body["pagination"]["pageSize"]
        shown = rows[start : start + body["pagination"]["pageSize"]]
        if fault == "twice":
            shown = shown * 2
        return FlowInstancePage.parse({"flowInsts": shown, "count": len(rows)})

    def look(self, shuffled: int, faults: dict[int, str], whole: bool) -> None:
        self.clock += 1
        window = LookWindow.at(self.clock, WEEK, whole=whole or self.restarted)
        steps = instances_in(window, 1)
        try:
            step = next(steps)
            while True:
                try:
                    reply = self.answer(step, shuffled, faults)
                except EnosRequestError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as done:
            listed = done.value
        except EnosTransportError:
            return
        finally:
            steps.close()
        self.restarted = False
        new, self.memory = news(self.memory, listed, window)
        self.told += [one.flow_instance_id for one in new]
        if self.memory is not None:
            # Airflow has stored the events.
            self.stored = json.loads(json.dumps(self.memory.to_json()))

    def restart(self) -> None:
        self.memory, self.restarted = EndMemory.of(self.stored), True


STEP = st.one_of(
    st.tuples(st.just("begin"), st.integers(0, 200), st.booleans()),
    st.tuples(st.just("end"), st.integers(0, 50), st.sampled_from(ENDS)),
    st.tuples(st.just("rerun"), st.integers(0, 50)),
    st.tuples(st.just("restart")),
    st.tuples(
        st.just("look"),
        st.integers(0, 50),
        st.dictionaries(st.integers(0, 8), st.sampled_from(["down", "twice"]), max_size=2),
        st.booleans(),
    ),
)


@settings(max_examples=100)
@given(st.sampled_from([0, 1]), st.integers(0, 120), st.lists(STEP, max_size=60))
def test_each_end_is_told_once_over_restarts_and_faults(
    first_page: int, there: int, steps: list[tuple[Any, ...]]
) -> None:
    world = World(first_page)
    for number in range(there):
        world.begin(number + 300, scheduled=number % 2 == 0)
    for number in range(there // 2):
        world.end(number, "SUCCESS")
    world.ends.clear()
    world.look(0, {}, whole=True)
    for name, *arguments in steps:
        getattr(world, name)(*arguments)
    world.look(0, {}, whole=True)
    assert sorted(world.told) == sorted(world.ends)


def test_every_type_is_listed_by_the_flow_or_for_all() -> None:
    asked = []
    for steps in (instances_in(NEAR, 7), instances_of(NEAR, [7, 8], most_pages=9)):
        call = next(steps)
        try:
            while True:
                body = json.loads(call.body)
                asked.append((body["type"], body["expression"], body["status"], body["fromTriggerTime"] == NEAR.first))
                call = steps.send(FlowInstancePage((), 0))
        except StopIteration:
            continue
    assert set(asked) == {(type, text, "", True) for type in calls.ALL_FLOW_TYPES for text in ("7", "")}
