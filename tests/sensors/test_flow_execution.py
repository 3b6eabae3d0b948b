"""What EnosFlowSensor logs, reports and hands to its trigger.

How it ends, however it waits: tests/test_window_parity.py.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException, TaskDeferred
from ends import started_from_trigger, waited
from rogue import reply, rogue_gateway
from worker import Log, StateStore, TaskInstance

from airflow_provider_enos import errors
from airflow_provider_enos.protocol.follow.deadline import LAST_LOOK
from airflow_provider_enos.sensors.enos import EnosFlowSensor
from airflow_provider_enos.simulator import EnosSimulator

FLOW, NODE = 7001, 70011
END = 1594080000000
START = END - 86_400_000


class Looks:
    """A sensor in reschedule mode: each look in a process of its own, which knows nothing but what was stored."""

    def __init__(self, store: StateStore | None, **arguments: Any) -> None:
        self.ti, self.log, self.store = TaskInstance(), Log(), store
        self._class = type("Logged", (EnosFlowSensor,), {"log": self.log})
        defaults = {"flow_id": FLOW, "window_start": START, "window_end": END, "mode": "reschedule"}
        self._arguments = {**defaults, **arguments}

    def look(self) -> Any:
        context: Any = {"ti": self.ti} if self.store is None else {"ti": self.ti, "task_state_store": self.store}
        return self._class(task_id="wait", **self._arguments).poke(context)


MakeLooks = Callable[..., Looks]


@pytest.fixture
def looks(connection: EnosSimulator, short_pauses: None) -> MakeLooks:
    connection.add_flow(FLOW, tasks={NODE: "load"}, progress="manual")

    def make(store: StateStore | None = None, **arguments: Any) -> Looks:
        return Looks(store, **arguments)

    return make


def start(sim: EnosSimulator) -> str:
    return sim.trigger(FLOW, trigger_time=END, type=1).id


def test_each_change_is_one_line_and_the_flow_is_asked_for_once(
    looks: MakeLooks, sim: EnosSimulator, state_store: StateStore
) -> None:
    one = looks(state_store)
    for _ in range(3):
        assert not one.look()
    instance = start(sim)
    for _ in range(3):
        assert not one.look()
    sim.finish(instance, "SUCCESS")
    assert one.look().xcom_value == [instance]
    window = "flow 7001, trigger times from 2020-07-06T00:01+00:00 to 2020-07-07T00:00+00:00"
    assert [line.removeprefix(f"Waiting for {window}: ") for line in one.log.lines] == [
        "no instance yet",
        f"{instance} RUNNING",
        f"{instance} SUCCESS",
    ]
    assert sim.count("flows/get") == 1
    assert len(state_store.history) == 3


@pytest.mark.parametrize("active", [True, False])
def test_a_schedule_that_is_paused_is_warned_of(looks: MakeLooks, sim: EnosSimulator, active: bool) -> None:
    sim.add_flow(FLOW, tasks={NODE: "load"}, type=1, active=active)
    one = looks()
    assert not one.look()
    warned = "The schedule of flow 7001 is paused in EnOS: it starts nothing" in one.log.lines
    assert warned is not active


def test_without_a_store_it_works_all_the_same(looks: MakeLooks, sim: EnosSimulator) -> None:
    one = looks()
    assert not one.look()
    assert not one.look()
    sim.finish(start(sim), "SUCCESS")
    assert one.look()


def test_the_tolerance_spans_the_looks_of_a_try(looks: MakeLooks, sim: EnosSimulator, state_store: StateStore) -> None:
    sim.fault("http_503", on="flowInstances/search", times=None)
    one = looks(state_store, poll_error_tolerance=timedelta(seconds=0.2))
    assert not one.look()
    time.sleep(0.25)
    one.ti.try_number = 2
    assert not one.look()
    time.sleep(0.25)
    with pytest.raises(errors.EnosPollLostError, match=r"^flow 7001, trigger times from"):
        one.look()


def test_the_logs_of_all_nodes_are_copied_if_wanted(looks: MakeLooks, sim: EnosSimulator) -> None:
    sim.add_flow(FLOW, tasks={NODE: "load"}, progress="at_once", logs={NODE: "1812 rows"})
    start(sim)
    for task_logs, copied in (("failed", False), ("all", True)):
        one = looks(task_logs=task_logs)
        assert one.look()
        assert ("1812 rows" in one.log.lines) is copied


def test_logs_that_cannot_be_read_fail_nothing(looks: MakeLooks, sim: EnosSimulator) -> None:
    instance = start(sim)
    sim.finish(instance, "SUCCESS")
    sim.fault("http_500", on="flowInstances/get", times=None)
    one = looks(task_logs="all")
    assert one.look().xcom_value == [instance]
    assert any(line.startswith(f"Cannot read {instance}, so its logs are not shown: ") for line in one.log.lines)


def test_the_others_that_failed_are_named(looks: MakeLooks, sim: EnosSimulator) -> None:
    sim.one_at_a_time = False
    first, second = (sim.trigger(FLOW, trigger_time=END - hour * 3_600_000, type=1).id for hour in (1, 0))
    sim.finish(first, "FAIL")
    sim.finish(second, "CANCEL")
    one = looks()
    with pytest.raises(errors.EnosFlowFailedError, match=first):
        one.look()
    assert f"Flow instance {second}, too: CANCEL" in one.log.lines


@pytest.mark.parametrize("do_xcom_push", [True, False])
@pytest.mark.parametrize(("status", "error"), [("FAIL", errors.EnosFlowFailedError), ("SKIP", AirflowSkipException)])
def test_the_instance_that_is_reported_is_on_record(
    looks: MakeLooks, sim: EnosSimulator, status: str, error: type[Exception], do_xcom_push: bool
) -> None:
    """Where the task fails or is skipped it returns nothing that would tell."""
    instance = start(sim)
    sim.finish(instance, status)
    one = looks(do_xcom_push=do_xcom_push)
    with pytest.raises(error):
        one.look()
    assert one.ti.xcom.get("flow_instance_id") == (instance if do_xcom_push else None)


def test_of_several_that_ended_well_the_last_one_is_on_record(looks: MakeLooks, sim: EnosSimulator) -> None:
    sim.one_at_a_time = False
    ids = [sim.trigger(FLOW, trigger_time=END - hour * 3_600_000, type=1).id for hour in (1, 0)]
    for instance in ids:
        sim.finish(instance, "SUCCESS")
    one = looks()
    assert one.look().xcom_value == ids
    assert one.ti.xcom["flow_instance_id"] == ids[-1]


def test_what_a_deferred_task_hands_to_its_trigger(connection: EnosSimulator) -> None:
    connection.add_flow(FLOW, tasks={NODE: "load"})
    sensor = EnosFlowSensor(
        task_id="wait", flow_id=str(FLOW), window_start=START, window_end=END, window_shift=timedelta(hours=1),
        deferrable=True, poke_interval=20, timeout=100, failed_statuses=["CANCEL"], types=[1, 0], silent_fail=True,
    )  # fmt: skip
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({"ti": TaskInstance()})
    assert deferred.value.timeout is None, "Airflow would end the task without asking us"
    _, arguments = deferred.value.trigger.serialize()
    assert arguments["flow_id"] == FLOW
    assert arguments["window_start"] == "2020-07-05T23:00+00:00"
    assert arguments["window_end"] == "2020-07-06T23:00+00:00"
    assert (arguments["window_shift"], arguments["poll_interval"], arguments["silent_fail"]) == (0.0, 20, True)
    assert (arguments["failed_statuses"], arguments["types"]) == (["CANCEL"], [0, 1])
    assert abs(arguments["deadline"] - time.time() - 100) < 10
    # It has looked once: EnOS has answered, and has the flow.
    assert (arguments["known"], arguments["check_existence"]) == (True, False)
    assert connection.count("flows/get") == 1


def endless(line: socket.socket) -> None:
    """A page of the list, as full as can be, of instances that no page has shown yet."""
    entries = [
        {"instanceId": f"{FLOW}-{random.getrandbits(60)}", "flowId": FLOW, "status": 1, "triggerTime": "2020-07-06"}
        for _ in range(50)
    ]
    time.sleep(0.02)
    line.sendall(reply(json.dumps({"code": 0, "data": {"flowInsts": entries, "count": 10**9}}).encode()))


@pytest.mark.parametrize("way", [{}, {"deferrable": True}, {"start_from_trigger": True}], ids=str)
def test_a_list_whose_pages_never_end_is_left_at_the_timeout(
    monkeypatch: pytest.MonkeyPatch, way: dict[str, Any]
) -> None:
    with rogue_gateway(endless) as gateway:
        address = {"host": "127.0.0.1", "schema": "http", "port": gateway.port}
        keys = {"login": "an-access-key", "password": "a-secret-key", "extra": {"org_id": "o1", "user_id": "u1"}}
        monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", json.dumps({"conn_type": "enos", **address, **keys}))
        logged = type("Logged", (EnosFlowSensor,), {"log": Log()})
        arguments = {"window_start": START, "window_end": END, "poke_interval": 0.1, "timeout": 1, **way}
        begun = time.monotonic()
        make = lambda: logged(task_id="wait", flow_id=FLOW, **arguments)  # noqa: E731
        end = started_from_trigger(make, "") if "start_from_trigger" in way else waited(make)
        assert end.error is AirflowSensorTimeout, end.message
        # The last look of the trigger, and that of the resumed task before it believes the error.
        assert time.monotonic() - begun < 1 + 2 * LAST_LOOK + 4


def test_worker_triggerer_and_resumed_task_log_each_change_once(connection: EnosSimulator, short_pauses: None) -> None:
    connection.add_flow(FLOW, tasks={NODE: "load"}, progress="manual")
    instance = start(connection)
    log = Log()
    sensor = type("Logged", (EnosFlowSensor,), {"log": log})
    arguments: dict[str, Any] = {"flow_id": FLOW, "window_start": START, "window_end": END, "deferrable": True}
    context: Any = {"ti": TaskInstance()}
    with pytest.raises(TaskDeferred) as deferred:
        sensor(task_id="wait", **arguments).execute(context)
    trigger = deferred.value.trigger
    # As Airflow stores it.
    trigger = type(trigger)(**json.loads(json.dumps(trigger.serialize()[1])))
    trigger._log = log
    connection.finish(instance, "SUCCESS")
    event = asyncio.run(anext(trigger.run()))
    resumed = json.loads(json.dumps(event.payload))
    assert sensor(task_id="wait", **arguments).execute_complete(context, resumed, False) == [instance]
    said = [line for line in log.lines if line.startswith("Waiting for ")]
    assert [line.rpartition(" ")[2] for line in said] == ["RUNNING", "SUCCESS"]
