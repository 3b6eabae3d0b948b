from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from airflows import AIRFLOW
from worker import Log, StateStore, TaskInstance

from airflow_provider_enos import errors
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.utils.trigger_events import InstanceEvent
from airflow_provider_enos.version_compat import AirflowTaskTimeout

TRIGGER_TIME = 1594016819108
STAMP = "20200706062600"

LOST = errors.EnosPollLostError("lost", flow_instance_id="3377-1")
LATE = errors.EnosFlowTimeoutError("late", flow_instance_id="3377-1", status="RUNNING")
BROKEN = errors.EnosConfigError("host", "it is missing", accepted="one")

MakeSensor = Callable[..., "Sensor"]


@dataclass
class Sensor:
    """A sensor task that can be looked at several times, in one process or in one for each look."""

    arguments: dict[str, Any]
    store: StateStore | None = None
    ti: TaskInstance = field(default_factory=TaskInstance)
    log: Log = field(default_factory=Log)
    operator: Any = None
    rendered: dict[str, Any] = field(default_factory=dict)
    """What templates have become."""

    def renewed(self) -> EnosFlowInstanceSensor:
        logged = type("Logged", (EnosFlowInstanceSensor,), {"log": self.log})
        self.operator = logged(task_id="wait", **self.arguments)
        for name, value in self.rendered.items():
            setattr(self.operator, name, value)
        return self.operator

    @property
    def context(self) -> Any:
        return {"ti": self.ti} if self.store is None else {"ti": self.ti, "task_state_store": self.store}

    def run(self) -> Any:
        """In poke mode, to the end."""
        return self.renewed().execute(self.context)

    def look(self) -> Any:
        """One look of reschedule mode: a new process, which knows nothing but what was stored."""
        return self.renewed().poke(self.context)


@pytest.fixture
def sensor(connection: EnosSimulator, short_pauses: None) -> MakeSensor:
    """A sensor for an instance of ``flow_id``, which somebody has started."""

    def make(flow_id: int = 3377, store: StateStore | None = None, **arguments: Any) -> Sensor:
        if flow_id and not connection.instances_of(flow_id):
            connection.trigger(flow_id, None, TRIGGER_TIME)
        defaults = {"flow_instance_id": f"{flow_id}-{STAMP}", "poke_interval": 0.01}
        return Sensor({**defaults, **arguments}, store)

    return make


def test_it_waits_until_the_instance_has_succeeded_and_gives_its_id(sensor: MakeSensor, sim: EnosSimulator) -> None:
    assert sensor().run() == f"3377-{STAMP}"
    assert sim.count("flowInstances/get") == 3


@pytest.mark.parametrize(
    ("flow_id", "error", "message"),
    [
        (4001, errors.EnosFlowFailedError, "FAIL; node load .*ColumnMissing"),
        (4002, errors.EnosFlowCancelledError, "CANCEL"),
        (4003, AirflowSkipException, "was skipped in EnOS"),
        (4004, errors.EnosFlowFailedError, "TIMEOUT"),
        (4005, errors.EnosFlowFailedError, "INTERNAL_ERROR"),
    ],
)
def test_it_ends_as_the_instance_ends(sensor: MakeSensor, flow_id: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        sensor(flow_id).run()


@pytest.mark.parametrize("flow_id", [4001, 4002])
def test_soft_fail_skips_what_failed(sensor: MakeSensor, flow_id: int) -> None:
    with pytest.raises(AirflowSkipException, match=f"instance {flow_id}-{STAMP} ended with status"):
        sensor(flow_id, soft_fail=True).run()


def test_the_timeout_is_that_of_every_sensor(sensor: MakeSensor, sim: EnosSimulator) -> None:
    sim.progress = "manual"
    with pytest.raises(AirflowSensorTimeout):
        sensor(timeout=0.1).run()
    assert sim.count("flowInstances/cancel") == 0


@pytest.mark.parametrize("value", ["", "None", None, 3377, "a b", "3377\n-1", "x" * 201, "{{ x }}", ["3377-1"]])
def test_an_id_that_cannot_be_one_is_refused_before_anything_is_sent(
    sensor: MakeSensor, sim: EnosSimulator, value: Any
) -> None:
    one = sensor()
    one.rendered = {"flow_instance_id": value}
    with pytest.raises(AirflowFailException, match=r"^flow_instance_id: .*; expected an instance id such as 3377-2020"):
        one.run()
    assert sim.requests == []


def test_an_unknown_instance_is_an_error_at_once(sensor: MakeSensor, sim: EnosSimulator) -> None:
    with pytest.raises(errors.EnosRequestError, match="Get Flow Instance: 62102"):
        sensor(flow_instance_id="3377-19990101000000").run()
    assert sim.count("flowInstances/get") == 1


UNFOUND = {"http_404": "404", "http_413": "413", "data_null": "it is not there", "data_empty_list": "it is not there"}


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
@pytest.mark.parametrize("fault", UNFOUND)
def test_an_instance_that_the_first_look_does_not_find_is_an_error_at_once(
    sensor: MakeSensor, sim: EnosSimulator, state_store: StateStore, fault: str, mode: str
) -> None:
    one = sensor(store=state_store, mode=mode)
    sim.fault(fault, on="flowInstances/get", times=None)
    with pytest.raises(errors.EnosRequestError, match=UNFOUND[fault]):
        one.look()
    assert sim.count("flowInstances/get") == 1


@pytest.mark.parametrize("fault", UNFOUND)
def test_an_instance_that_was_seen_before_is_waited_for(sensor: MakeSensor, sim: EnosSimulator, fault: str) -> None:
    """EnOS has it, whatever a gateway in trouble says."""
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


@pytest.mark.parametrize("name", ["org_id", "user_id"])
def test_a_tenant_of_a_template_that_found_nothing_is_refused(
    sensor: MakeSensor, sim: EnosSimulator, name: str
) -> None:
    with pytest.raises(AirflowFailException, match=f"^{name}: 'None'; expected "):
        sensor(**{name: "None"}).run()
    assert sim.requests == []


def test_the_link_is_logged(sensor: MakeSensor, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = sim.connection_uri + "&console_url=https%3A%2F%2Fconsole%2F%7Bflow_id%7D%3Fid%3D%7Bflow_instance_id%7D"
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", uri)
    one = sensor()
    one.run()
    assert sum(f", see https://console/3377?id=3377-{STAMP}" in line for line in one.log.lines) == 1


@pytest.mark.parametrize("arguments", [{"poll_error_tolerance": -1}, {"task_logs": "some"}])
def test_arguments_that_are_refused_when_the_dag_is_parsed(arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(errors.EnosConfigError, match=f"^task wait: {name}: .*; expected "):
        EnosFlowInstanceSensor(task_id="wait", flow_instance_id="3377-1", **arguments)


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


def test_a_look_lasts_no_longer_than_the_timeout(connection: EnosSimulator) -> None:
    """Whatever is repeated inside it: Airflow looks at the time between two looks only."""
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


@pytest.mark.skipif(AIRFLOW < (3, 0), reason="Airflow 2 keeps to itself when a sensor looked first")
def test_the_first_look_may_be_told_as_text(sensor: MakeSensor, sim: EnosSimulator) -> None:
    """As `dags test` of Airflow 3.0 does."""
    sim.progress = "manual"
    one = sensor(mode="reschedule", timeout=60)
    first = datetime.now(UTC) - timedelta(seconds=61)
    assert one.renewed()._first_look_at(one.context) > first.timestamp() + 60
    one.ti.get_first_reschedule_date = lambda _: first.isoformat().replace("+00:00", "Z")  # type: ignore[attr-defined]
    assert one.renewed()._first_look_at(one.context) == first.timestamp()


def test_what_airflow_skips_is_logged_too(sensor: MakeSensor, sim: EnosSimulator) -> None:
    """Such as its own timeout of the task, during a look."""
    one = sensor(soft_fail=True)
    operator = one.renewed()

    def interrupted(*_: object) -> None:
        raise AirflowTaskTimeout("Timeout, PID: 7")

    operator._look_once = interrupted
    with pytest.raises(AirflowSkipException):
        operator.execute(one.context)
    assert "Skipped: Timeout, PID: 7" in one.log.lines


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
