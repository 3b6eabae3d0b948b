"""One instance for each attempt: retries, clears, records that fail, and minutes that are taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from tries import INSTANCE, NEXT_INSTANCE, TRIGGER_TIME, finish_when_running, lose_it, refuse, started
from worker import StateStore

from airflow_provider_enos import errors
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.simulator.wire import Record, json_reply
from airflow_provider_enos.utils import trigger_record

FLOW = 5001

MakeTask = Callable[..., Any]


def test_poll_errors_are_waited_through(task: MakeTask, sim: EnosSimulator) -> None:
    sim.fault("http_503", on="flowInstances/get", times=5)
    one = task()
    assert one.run() == INSTANCE
    assert sum("Cannot ask EnOS" in line for line in one.log.lines) == 1
    assert sum("EnOS answers again" in line for line in one.log.lines) == 1


@pytest.mark.parametrize(
    "fault", ["http_404", "http_413", "data_null", "data_empty_list", "unknown to EnOS", "html_200", "graph_not_json"]
)
def test_an_instance_that_seems_to_be_gone_is_waited_for(task: MakeTask, sim: EnosSimulator, fault: str) -> None:
    """It was started, so it exists, even if the very first poll does not find it."""
    one = task()
    if fault == "unknown to EnOS":
        refuse(sim, "flowInstances/get", 62102, times=5)
    else:
        sim.fault(fault, on="flowInstances/get", times=5)
    assert one.run() == INSTANCE
    assert sum("Cannot ask EnOS" in line for line in one.log.lines) == 1
    assert sum("EnOS answers again" in line for line in one.log.lines) == 1


def test_an_instance_that_stays_gone_is_lost(task: MakeTask, sim: EnosSimulator) -> None:
    sim.fault("data_null", on="flowInstances/get", times=None)
    with pytest.raises(errors.EnosPollLostError, match=f"{INSTANCE}: EnOS could not be asked for .*it is not there"):
        task(poll_error_tolerance=0.05).run()


def test_poll_errors_are_waited_through_for_no_longer_than_is_tolerated(task: MakeTask, sim: EnosSimulator) -> None:
    sim.fault("http_503", on="flowInstances/get", times=None)
    with pytest.raises(errors.EnosPollLostError, match=f"{INSTANCE}: EnOS could not be asked for .*left running"):
        task(poll_error_tolerance=0).run()
    assert sim.count("flowInstances/cancel") == 0


def test_a_try_that_the_next_one_has_overtaken_starts_nothing(
    task: MakeTask, sim: EnosSimulator, state_store: StateStore
) -> None:
    """Its request is under way while Airflow gives it up and runs the next try, whose instance is the one."""
    slow, *others = task(state_store), task(state_store)

    def overtake(event: str, record: Record) -> None:
        if event == "received" and record.operation == "flows/triggerFromTask" and others:
            assert others.pop().retry() == INSTANCE

    sim.on_event(overtake)
    with pytest.raises(errors.EnosTriggerConflictError, match="another try of this task has begun since"):
        slow.run()
    assert [instance.id for instance in sim.instances] == [INSTANCE]


def test_a_retry_takes_over_what_the_try_before_it_started(task: MakeTask, sim: EnosSimulator, store: Any) -> None:
    one = task(store, poll_error_tolerance=0)
    sim.fault("internal_error", on="flowInstances/get", times=4)
    with pytest.raises(errors.EnosPollLostError):
        one.run()
    assert one.retry() == INSTANCE
    assert one.ti.xcom["return_value"] == INSTANCE
    assert sim.count("flows/triggerFromTask") == 1


def test_a_retry_after_a_bad_end_starts_another_for_the_next_minute(
    task: MakeTask, sim: EnosSimulator, store: Any
) -> None:
    sim.progress = "manual"
    one = task(store)
    finishing = threading.Thread(target=lambda: finish_when_running(sim, "FAIL"))
    finishing.start()
    with pytest.raises(errors.EnosFlowFailedError):
        one.run()
    finishing.join()
    sim.progress = "at_once"
    assert one.retry() == NEXT_INSTANCE
    assert [instance.status for instance in sim.instances] == ["FAIL", "SUCCESS"]


def test_a_clear_starts_another_and_its_retries_take_that_one_over(
    task: MakeTask, sim: EnosSimulator, store: Any
) -> None:
    one = task(store)
    assert one.run() == INSTANCE
    assert one.clear() == NEXT_INSTANCE
    assert one.retry() == NEXT_INSTANCE
    assert len(sim.instances) == 2


@pytest.mark.parametrize(("code", "http"), [(99500, 200), (62100, 503)])
def test_a_code_that_is_not_known_with_a_fault_of_the_gateway_leaves_it_open(
    task: MakeTask, sim: EnosSimulator, state_store: Any, code: int, http: int
) -> None:
    """The flow was started, and an error of the service or of what stands before it was the answer."""
    answer = sim._answer

    def failing(request: Any, *more: Any) -> Any:
        reply = answer(request, *more)
        if request.operation != "flows/triggerFromTask":
            return reply
        return json_reply({"code": code, "msg": "said so", "data": None}, code=code, status=http)

    sim._answer = failing  # type: ignore[method-assign]
    assert task(state_store).run() == INSTANCE
    assert started(sim) == [INSTANCE]


def test_a_clear_is_one_although_retries_were_lowered_by_the_tries_before_it(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    """Airflow counts up to the same number as before; only the run says how often it was cleared."""
    one = task(state_store, retries=3)
    assert one.run() == INSTANCE
    one.arguments["retries"] = 2
    assert one.clear() == NEXT_INSTANCE
    assert one.ti.max_tries == 3


@pytest.mark.parametrize("tries", [1, 2, 3, 4, 5])
def test_a_lowered_number_of_retries_is_no_clear(
    task: MakeTask, sim: EnosSimulator, state_store: Any, tries: int
) -> None:
    """The DAG is edited between two tries: ``max_tries`` stays what it was, and the record says so."""
    one = task(state_store, retries=5, poll_error_tolerance=0)
    lose_it(one, sim)
    one.ti.try_number = tries
    one.arguments["retries"] = 2
    assert one.retry() == INSTANCE
    assert started(sim) == [INSTANCE]
    assert sim.count("flows/triggerFromTask") == 1
    assert [(seen["max_tries"], seen["first_index"]) for seen in state_store.history] == [(5, 0)] * 3


def test_a_lowered_number_of_retries_is_no_clear_without_a_store_either(task: MakeTask, sim: EnosSimulator) -> None:
    """Three tries cannot have been cleared away when there was one."""
    one = task(None, retries=5, poll_error_tolerance=0)
    lose_it(one, sim)
    one.arguments["retries"] = 2
    assert one.ti.max_tries == 5
    assert one.retry() == INSTANCE
    assert sim.count("flows/triggerFromTask") == 1


def test_a_raised_number_of_retries_does_not_lead_back_before_the_clear(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    one = task(state_store, retries=2, poll_error_tolerance=0)
    assert one.run() == INSTANCE
    assert one.clear() == NEXT_INSTANCE
    assert one.ti.max_tries == 3
    one.arguments["retries"] = 5
    assert one.retry() == NEXT_INSTANCE
    assert started(sim) == [INSTANCE, NEXT_INSTANCE]
    assert (state_store.history[-1]["max_tries"], state_store.history[-1]["first_index"]) == (3, 1)
    # A bad end: the next minute of this round, and not one of an earlier round.
    sim.finish(NEXT_INSTANCE, "FAIL")
    assert one.retry() == "3377-20200706062800"
    assert (state_store.history[-1]["max_tries"], state_store.history[-1]["first_index"]) == (3, 1)


def test_a_raised_number_of_retries_starts_nothing_twice(task: MakeTask, sim: EnosSimulator, store: Any) -> None:
    one = task(store, retries=2, poll_error_tolerance=0)
    lose_it(one, sim)
    one.arguments["retries"] = 5
    assert one.retry() == INSTANCE
    assert sim.count("flows/triggerFromTask") == 1


@pytest.mark.parametrize("retries", [0, 1, 3, 5])
def test_a_clear_after_an_edit_begins_a_new_round(
    task: MakeTask, sim: EnosSimulator, state_store: Any, retries: int
) -> None:
    """The new round does not use the record of the round before."""
    one = task(state_store, retries=3)
    assert one.run() == INSTANCE
    one.arguments["retries"] = retries
    assert one.clear() == NEXT_INSTANCE
    assert one.retry() == NEXT_INSTANCE
    assert started(sim) == [INSTANCE, NEXT_INSTANCE]
    assert state_store.values["enos_trigger"]["max_tries"] == 1 + retries
    assert state_store.values["enos_trigger"]["first_index"] == 1


def test_the_same_try_executed_twice_takes_over_its_own(task: MakeTask, sim: EnosSimulator, state_store: Any) -> None:
    """A worker that was lost, and the scheduler did not count the try."""
    one = task(state_store, on_conflict="fail")
    assert one.run() == INSTANCE
    assert one.ti.try_number == 1
    assert one.run() == INSTANCE
    assert sim.count("flows/triggerFromTask") == 1


def test_the_same_try_executed_twice_with_a_request_lost_between(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    """The first got as far as its record, and its request arrives before the second's."""
    one = task(state_store, on_conflict="fail")
    sim.fault("http_403", on="flows/triggerFromTask")
    with pytest.raises(AirflowFailException, match="403"):
        one.run()
    state_store.set("enos_trigger", state_store.history[0])
    sim.trigger(3377, 108580, TRIGGER_TIME)
    assert one.run() == INSTANCE
    assert started(sim) == [INSTANCE]


def test_a_try_after_one_that_was_refused_takes_over_nothing(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    """The instance that has the minute by then is another task's."""
    one = task(state_store, poll_error_tolerance=0.05)
    sim.fault("http_429", on="flows/triggerFromTask", times=None)
    with pytest.raises(errors.EnosRateLimitError):
        one.run()
    sim.clear_faults()
    assert task(state_store.__class__()).run() == INSTANCE
    assert one.retry() == NEXT_INSTANCE


def test_a_clear_starts_another_though_a_conflict_had_led_further(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    """The task had the second minute: its next round begins with the third, whatever is lost."""
    sim.trigger(3377, 108580, TRIGGER_TIME)
    one = task(state_store)
    assert one.run() == NEXT_INSTANCE
    sim.fault("lost_reply", on="flows/triggerFromTask")
    assert one.clear() == "3377-20200706062800"


@pytest.mark.parametrize("on_conflict", ["next_minute", "attach", "fail"])
@pytest.mark.parametrize("is_kept", [True, False])
def test_a_clear_starts_again_whether_airflow_keeps_the_record_or_not(
    task: MakeTask, sim: EnosSimulator, state_store: Any, is_kept: bool, on_conflict: str
) -> None:
    """Airflow 3.4 discards it at some clears. Then the task does not know that a conflict had led it further.

    The minute of its own that it meets is neither taken over nor somebody else's.
    """
    sim.trigger(3377, 108580, TRIGGER_TIME)
    one = task(state_store)
    assert one.run() == NEXT_INSTANCE
    if not is_kept:
        state_store.values.clear()
    one.operator.on_conflict = on_conflict
    assert one.clear() == one.retry() == "3377-20200706062800"
    assert len(sim.instances) == 3


def test_a_try_counted_from_0_is_a_fresh_one(task: MakeTask, sim: EnosSimulator, store: Any) -> None:
    """As `airflow tasks test` of Airflow 2 counts: somebody else's instance is not taken for its own."""
    sim.trigger(3377, 108580, TRIGGER_TIME)
    one = task(store)
    one.ti.try_number = 0
    assert one.run() == NEXT_INSTANCE
    operations = [request.operation for request in sim.requests if request.operation != "token/get"]
    assert operations[0] == "flows/triggerFromTask"


@pytest.mark.parametrize("code", [99403, -7])
def test_a_refusal_that_is_not_documented_is_raised_as_it_is(task: MakeTask, sim: EnosSimulator, code: int) -> None:
    """Nothing was started, so nothing is looked for."""
    one = task()
    refuse(sim, "flows/triggerFromTask", code)
    with pytest.raises(errors.EnosApiError, match=f"Trigger Flow From Task: {code} said so") as caught:
        one.run()
    assert type(caught.value) is errors.EnosApiError
    assert sim.instances == []
    assert sim.count("flows/triggerFromTask") == 1
    assert sim.count("flowInstances/get") == sim.count("flowInstances/search") == 0


def test_an_internal_error_at_the_trigger_is_looked_into(task: MakeTask, sim: EnosSimulator) -> None:
    sim.fault("internal_error", on="flows/triggerFromTask", processed=True)
    assert task().run() == INSTANCE
    assert started(sim) == [INSTANCE]


@pytest.mark.parametrize("fault", ["http_404", "http_413", "http_500", "internal_error", "graph_not_json", "html_200"])
def test_a_flow_that_cannot_be_looked_at_is_not_said_to_be_missing(
    task: MakeTask, sim: EnosSimulator, fault: str
) -> None:
    """The minute is taken; that the flow could not be asked for besides does not make the task fail for good."""
    sim.trigger(3377, 108580, TRIGGER_TIME)
    sim.fault(fault, on="flows/get", times=None)
    one = task()
    assert one.run() == NEXT_INSTANCE
    assert sum(line.startswith("Cannot check flow 3377, assuming that it exists: ") for line in one.log.lines) == 1


@pytest.mark.parametrize("fault", ["data_null", "data_empty_list"])
def test_an_empty_answer_for_the_flow_says_that_it_is_missing(task: MakeTask, sim: EnosSimulator, fault: str) -> None:
    sim.trigger(3377, 108580, TRIGGER_TIME)
    sim.fault(fault, on="flows/get")
    with pytest.raises(AirflowFailException, match="flow_id: EnOS has no flow 3377 "):
        task().run()


def test_a_lost_reply_is_looked_up_and_not_sent_again(task: MakeTask, sim: EnosSimulator, store: Any) -> None:
    sim.fault("lost_reply", on="flows/triggerFromTask")
    assert task(store).run() == INSTANCE
    assert sim.count("flows/triggerFromTask") == 1


def test_the_intent_is_recorded_before_the_request_and_the_id_after_it(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    recorded_at_request: list[Any] = []
    sim.on_event(
        lambda event, record: (
            recorded_at_request.extend(state_store.history)
            if (event, record.operation) == ("received", "flows/triggerFromTask")
            else None
        )
    )
    task(state_store).run()
    first_sent = state_store.history[0]["first_sent"]
    assert abs(first_sent - time.time() * 1000) < 60_000
    intent = {
        "max_tries": 2,
        "first_index": 0,
        "trigger_time": TRIGGER_TIME,
        "sent_time": TRIGGER_TIME,
        "flow_instance_id": None,
        "index": 0,
        "refused": False,
        "try_number": 1,
        "clears": 0,
        "flow_id": 3377,
        "first_sent": first_sent,
        "origin": f"http://127.0.0.1:{sim.port} {sim.org_id}",
        "named": False,
        "first_task_id": 108580,
        "from_task_id": 108580,
        "flow_name": "",
        "node_name": "",
        "node_id": 0,
    }
    assert recorded_at_request == [intent]
    assert state_store.history == [intent, {**intent, "flow_instance_id": INSTANCE, "named": True}]


def test_now_is_the_same_moment_at_every_try(task: MakeTask, sim: EnosSimulator, state_store: Any) -> None:
    one = task(state_store, trigger_time="now", poll_error_tolerance=0)
    sim.fault("internal_error", on="flowInstances/get", times=4)
    with pytest.raises(errors.EnosPollLostError):
        one.run()
    state_store.values["enos_trigger"]["trigger_time"] -= 3_600_000
    state_store.values["enos_trigger"]["sent_time"] -= 3_600_000
    one.retry()
    assert sim.count("flows/triggerFromTask") == 1


class Gone:
    """The state store of a try that Airflow has given up: nothing is found there, and nothing kept."""

    def __init__(self, store: Any) -> None:
        self.get = store.get

    def set(self, key: str, value: Any) -> None:
        raise RuntimeError("404: no such task instance")


def test_a_failing_state_store_is_a_warning(task: MakeTask, broken_store: Any) -> None:
    one = task(broken_store)
    assert one.run() == INSTANCE
    assert sum("task state store fails" in line for line in one.log.lines) == 1


@pytest.mark.parametrize("trigger_time", [TRIGGER_TIME, "now"])
@pytest.mark.parametrize("again", ["retry", "clear"])
def test_a_record_that_cannot_be_read_is_not_guessed(
    task: MakeTask, sim: EnosSimulator, state_store: Any, again: str, trigger_time: Any
) -> None:
    """Nothing is sent, nothing is written over it, and the try after that knows everything again."""
    sim.trigger(3377, 108580, TRIGGER_TIME)
    sim.finish(INSTANCE, "SUCCESS")
    one = task(state_store, trigger_time=trigger_time)
    own = one.run()
    assert own != INSTANCE
    before, instances = dict(state_store.values), len(sim.instances)
    state_store.broken = True
    with pytest.raises(errors.EnosTriggerError, match=r"nothing is started: .* cannot be read") as caught:
        getattr(one, again)()
    assert not caught.value.sent
    assert not caught.value.final
    assert (state_store.values, len(sim.instances)) == (before, instances)
    state_store.broken = False
    assert (one.retry() == own) is (again == "retry")


def test_nothing_is_started_that_could_not_be_put_on_record(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    """The same for a worker that Airflow has given up and that still runs: the store refuses its try."""
    one = task(state_store)
    one.store = Gone(state_store)
    with pytest.raises(errors.EnosTriggerError, match="nothing is started: the request cannot be recorded") as caught:
        one.run()
    assert not caught.value.sent
    assert sim.count("flows/triggerFromTask") == 0
    one.store = state_store
    assert one.retry() == INSTANCE


@pytest.mark.parametrize("cleared", [True, False])
def test_a_worker_that_was_frozen_before_its_request_asks_whether_it_is_still_wanted(
    task: MakeTask, sim: EnosSimulator, state_store: Any, monkeypatch: pytest.MonkeyPatch, cleared: bool
) -> None:
    """It has written down what it will ask for; what Airflow has done meanwhile only the record tells."""
    one = task(state_store)
    keep = state_store.set

    def freeze(key: str, value: Any) -> None:
        keep(key, value)
        if value["flow_instance_id"] is None:
            looks = count()
            monkeypatch.setattr(trigger_record, "time", lambda: time.time() + 60 * (next(looks) > 0))
            if cleared:
                state_store.values[key] = {**value, "max_tries": 3}

    monkeypatch.setattr(state_store, "set", freeze)
    if cleared:
        with pytest.raises(errors.EnosTriggerError, match="another try of this task has begun"):
            one.run()
    else:
        assert one.run() == INSTANCE
    assert len(sim.instances) == int(not cleared)


def test_a_worker_that_can_read_its_record_no_more_takes_no_other_minute(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    """It was frozen between its record and its request for longer than its credentials for Airflow last."""
    sim.trigger(3377, 108580, TRIGGER_TIME)
    sim.on_event(lambda event, record: setattr(state_store, "broken", "triggerFromTask" in record.operation))
    with pytest.raises(errors.EnosTriggerError, match="another try"):
        task(state_store).run()
    assert started(sim) == [INSTANCE]


@pytest.mark.parametrize(
    ("on_conflict", "expected"), [("next_minute", NEXT_INSTANCE), ("attach", INSTANCE), ("fail", None)]
)
def test_when_somebody_else_has_the_minute(
    task: MakeTask, sim: EnosSimulator, on_conflict: str, expected: str | None
) -> None:
    sim.trigger(3377, 108580, TRIGGER_TIME)
    if expected:
        assert task(on_conflict=on_conflict).run() == expected
    else:
        with pytest.raises(errors.EnosTriggerConflictError, match=f"has an instance for this minute.*{INSTANCE}"):
            task(on_conflict=on_conflict).run()


def test_a_refusal_in_a_retry_leaves_it_its_further_tries(task: MakeTask, sim: EnosSimulator, store: Any) -> None:
    """The instance of the first try runs on."""
    sim.progress = "manual"
    one = task(store, poll_error_tolerance=0)
    lose_it(one, sim)
    sim.clear_faults()
    sim.fault("http_401", times=None)
    with pytest.raises(errors.EnosAuthError):
        one.retry()
    sim.clear_faults()
    sim.finish(INSTANCE, "SUCCESS")
    assert one.retry() == INSTANCE
    assert started(sim) == [INSTANCE]


def test_without_a_store_a_retry_takes_over_nothing_that_no_try_before_it_can_have_started(
    task: MakeTask, sim: EnosSimulator
) -> None:
    """The first retry looks at the minute of the first try alone: the next minute may be another run's."""
    one = task(flow_id=4001, from_task_id=40011)
    with pytest.raises(errors.EnosFlowFailedError):
        one.run()
    sim.trigger(4001, 40011, TRIGGER_TIME + 60_000)
    sim.finish("4001-20200706062700", "SUCCESS")
    with pytest.raises(errors.EnosFlowFailedError):
        one.retry()
    assert started(sim) == ["4001-20200706062600", "4001-20200706062700", "4001-20200706062800"]
