"""Instances that cannot be found, connections that do not work, and what a resumed task does."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout
from sensor_tasks import STAMP, UNFOUND, MakeSensor
from worker import StateStore

from airflow_provider_enos import errors
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.utils.trigger_events import InstanceEvent

LOST = errors.EnosPollLostError("lost", flow_instance_id="3377-1")
LATE = errors.EnosFlowTimeoutError("late", flow_instance_id="3377-1", status="RUNNING")
BROKEN = errors.EnosConfigError("host", "it is missing", accepted="one")


def test_the_link_is_logged(sensor: MakeSensor, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = sim.connection_uri + "&console_url=https%3A%2F%2Fconsole%2F%7Bflow_id%7D%3Fid%3D%7Bflow_instance_id%7D"
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", uri)
    one = sensor()
    one.run()
    assert sum(f", see https://console/3377?id=3377-{STAMP}" in line for line in one.log.lines) == 1


@pytest.mark.parametrize("fault", UNFOUND)
def test_an_instance_that_was_seen_before_is_waited_for(sensor: MakeSensor, sim: EnosSimulator, fault: str) -> None:
    """EnOS has it, even if a gateway in trouble says that it does not."""
    sim.progress = "manual"
    one = sensor()
    operator = one.renewed()
    assert not operator.poke(one.context)
    sim.fault(fault, on="flowInstances/get", times=3)
    for _ in range(3):
        assert not operator.poke(one.context)
    sim.finish(f"3377-{STAMP}", "SUCCESS")
    assert operator.poke(one.context)
    assert sum("Cannot ask EnOS" in line for line in one.log.lines) == 1


def test_an_instance_that_was_seen_and_stays_gone_is_lost(
    sensor: MakeSensor, sim: EnosSimulator, state_store: StateStore
) -> None:
    sim.progress = "manual"
    one = sensor(store=state_store, mode="reschedule", poll_error_tolerance=timedelta(seconds=0.1))
    assert not one.look()
    sim.fault("data_null", on="flowInstances/get", times=None)
    assert not one.look()
    time.sleep(0.12)
    with pytest.raises(errors.EnosPollLostError, match=r"left running.*it is not there"):
        one.look()


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (LOST, "SUCCESS", None),
        (LATE, "SUCCESS", None),
        (LATE, "FAIL", errors.EnosFlowFailedError),
        (LATE, "RUNNING", AirflowSensorTimeout),
        (LOST, "RUNNING", errors.EnosPollLostError),
        (BROKEN, "RUNNING", errors.EnosPollLostError),
        (BROKEN, "SUCCESS", None),
    ],
)
def test_a_resumed_task_looks_before_it_believes_an_error(
    sensor: MakeSensor, sim: EnosSimulator, error: errors.EnosError, status: str, expected: Any
) -> None:
    sim.progress = "manual"
    one = sensor(deferrable=True)
    if status != "RUNNING":
        sim.finish(f"3377-{STAMP}", status)
    event = InstanceEvent(f"3377-{STAMP}", error).to_json()
    if expected is None:
        assert one.renewed().execute_complete(one.context, event) == f"3377-{STAMP}"
        return
    with pytest.raises(expected):
        one.renewed().execute_complete(one.context, event)
    assert sim.count("flowInstances/get") == 1


def test_a_connection_that_is_not_there_yet(
    sensor: MakeSensor, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sensor()
    monkeypatch.delenv("AIRFLOW_CONN_ENOS_DEFAULT")
    operator = one.renewed()
    assert not operator.poke(one.context)
    assert "Airflow cannot read the connection 'enos_default'" in one.log.lines[-1]
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)
    while not operator.poke(one.context):
        pass
    assert operator._external().gateway == sim.url


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_wrong_credentials_are_waited_through_from_the_first_look_on(
    sensor: MakeSensor, sim: EnosSimulator, state_store: StateStore, mode: str
) -> None:
    """A passing 401 must not end a sensor without its retries."""
    one = sensor(mode=mode, store=state_store, poll_error_tolerance=0.2)
    sim.secret_key = "another"
    operator = one.renewed()
    assert not operator.poke(one.context)
    time.sleep(0.25)
    again = operator if mode == "poke" else one.renewed()
    with pytest.raises(errors.EnosPollLostError, match="1003"):
        again.poke(one.context)
