"""How sensors wait: the timeout, errors that are tolerated, and the polls in reschedule mode."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException
from airflows import AIRFLOW
from sensor_tasks import STAMP, TRIGGER_TIME, UNFOUND, MakeSensor, Sensor
from worker import StateStore

from airflow_provider_enos import errors
from airflow_provider_enos.client import sync
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.version_compat import AirflowTaskTimeout


@pytest.mark.parametrize("flow_id", [4001, 4002])
def test_soft_fail_skips_what_failed(sensor: MakeSensor, flow_id: int) -> None:
    with pytest.raises(AirflowSkipException, match=f"instance {flow_id}-{STAMP} ended with status"):
        sensor(flow_id, soft_fail=True).run()


def test_the_timeout_is_that_of_every_sensor(sensor: MakeSensor, sim: EnosSimulator) -> None:
    sim.progress = "manual"
    with pytest.raises(AirflowSensorTimeout):
        sensor(timeout=0.1).run()
    assert sim.count("flowInstances/cancel") == 0


@pytest.mark.parametrize("fault", UNFOUND)
def test_in_reschedule_mode_it_is_remembered_that_it_was_seen(
    sensor: MakeSensor, sim: EnosSimulator, state_store: StateStore, fault: str
) -> None:
    sim.progress = "manual"
    one = sensor(store=state_store, mode="reschedule")
    assert not one.look()
    sim.fault(fault, on="flowInstances/get", times=2)
    assert not one.look()
    assert not one.look()
    sim.finish(f"3377-{STAMP}", "SUCCESS")
    assert one.look()
    assert sum("Cannot ask EnOS" in line for line in one.log.lines) == 1


def test_a_look_lasts_no_longer_than_the_timeout(connection: EnosSimulator) -> None:
    """Also if calls are repeated inside the poll: Airflow checks the time between two polls only."""
    connection.trigger(3377, None, TRIGGER_TIME)
    connection.fault("http_429", on="flowInstances/get", times=None, retry_after=20)
    begun = time.monotonic()
    with pytest.raises(AirflowSensorTimeout, match=f"^Sensor has timed out: flow instance 3377-{STAMP} had not ended"):
        Sensor({"flow_instance_id": f"3377-{STAMP}", "poke_interval": 0.01, "timeout": 0.3}).run()
    assert time.monotonic() - begun < 10, "one pause alone is longer"


@pytest.mark.skipif(AIRFLOW < (3, 0), reason="Airflow 2 keeps to itself when a sensor looked first")
def test_in_reschedule_mode_the_timeout_counts_from_the_first_look(sensor: MakeSensor, sim: EnosSimulator) -> None:
    sim.progress = "manual"
    one = sensor(mode="reschedule", timeout=60)
    one.ti.get_first_reschedule_date = lambda _: datetime.now(UTC) - timedelta(seconds=61)  # type: ignore[attr-defined]
    with pytest.raises(AirflowSensorTimeout, match="had not ended in the time given to it"):
        one.run()


def test_the_first_look_may_be_told_as_text(sensor: MakeSensor, sim: EnosSimulator) -> None:
    """By `dags test` of Airflow 3.0."""
    sim.progress = "manual"
    one = sensor(mode="reschedule", timeout=60)
    first = datetime.now(UTC) - timedelta(minutes=5)
    one.ti.get_first_reschedule_date = lambda _: first.isoformat().replace("+00:00", "Z")  # type: ignore[attr-defined]
    with pytest.raises(AirflowSensorTimeout):
        one.run()


def test_what_airflow_skips_is_logged_too(
    sensor: MakeSensor, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as its own timeout of the task, during a look."""
    one = sensor(soft_fail=True)

    def interrupted(*_: object) -> None:
        raise AirflowTaskTimeout("Timeout, PID: 7")

    monkeypatch.setattr(sync.SyncClient, "run", interrupted)
    with pytest.raises(AirflowSkipException):
        one.run()
    assert "Skipped: Timeout, PID: 7" in one.log.lines


def test_poll_errors_are_waited_through(sensor: MakeSensor, sim: EnosSimulator) -> None:
    sim.fault("http_503", on="flowInstances/get", times=6)
    one = sensor()
    assert one.run() == f"3377-{STAMP}"
    assert sum("Cannot ask EnOS" in line for line in one.log.lines) == 1


def test_poll_errors_are_waited_through_for_no_longer_than_is_tolerated(sensor: MakeSensor, sim: EnosSimulator) -> None:
    sim.fault("http_503", on="flowInstances/get", times=None)
    with pytest.raises(errors.EnosPollLostError):
        sensor(poll_error_tolerance=0).run()


def test_in_reschedule_mode_a_change_is_one_line_and_a_look_is_none(
    sensor: MakeSensor, sim: EnosSimulator, state_store: StateStore
) -> None:
    """Each look is a process of its own; what it saw is kept in the task state store, written only on a change."""
    sim.progress = ("polls", 6)
    one = sensor(store=state_store, mode="reschedule")
    while not one.look():
        pass
    assert sum("of flow 3377" in line for line in one.log.lines) == 1
    assert sum("READY -> RUNNING" in line for line in one.log.lines) == 1
    assert len(one.log.lines) == len(set(one.log.lines))
    assert len(state_store.history) < sim.count("flowInstances/get")


def test_in_reschedule_mode_the_tolerance_spans_the_looks(
    sensor: MakeSensor, sim: EnosSimulator, state_store: StateStore
) -> None:
    sim.fault("http_503", on="flowInstances/get", times=None)
    one = sensor(store=state_store, mode="reschedule", poll_error_tolerance=timedelta(seconds=0.2))
    assert not one.look()
    time.sleep(0.25)
    with pytest.raises(errors.EnosPollLostError, match="left running"):
        one.look()


def test_a_retry_does_not_take_up_what_the_try_before_it_saw(
    sensor: MakeSensor, sim: EnosSimulator, state_store: StateStore
) -> None:
    sim.fault("http_503", on="flowInstances/get", times=None)
    one = sensor(store=state_store, mode="reschedule", poll_error_tolerance=timedelta(seconds=0.2))
    assert not one.look()
    time.sleep(0.25)
    one.ti.try_number = 2
    assert not one.look()


def test_in_reschedule_mode_without_a_store_it_works_all_the_same(sensor: MakeSensor) -> None:
    one = sensor(mode="reschedule")
    looks = 1
    while not one.look():
        looks += 1
    assert looks == 3
