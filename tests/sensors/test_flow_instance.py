"""Wait for a flow instance: how the task ends, and which arguments are refused."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from sensor_tasks import STAMP, UNFOUND, MakeSensor
from worker import StateStore

from airflow_provider_enos import errors
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor
from airflow_provider_enos.simulator import EnosSimulator


def test_it_waits_until_the_instance_has_succeeded_and_gives_its_id(sensor: MakeSensor, sim: EnosSimulator) -> None:
    assert sensor().run() == f"3377-{STAMP}"
    assert sim.count("flowInstances/get") == 3


@pytest.mark.parametrize(
    ("flow_id", "error", "message"),
    [
        (4001, errors.EnosFlowFailedError, "^node load failed: ColumnMissing.* ended with status FAIL"),
        (4002, errors.EnosFlowCancelledError, "CANCEL"),
        (4003, AirflowSkipException, "was skipped in EnOS"),
        (4004, errors.EnosFlowFailedError, "TIMEOUT"),
        (4005, errors.EnosFlowFailedError, "INTERNAL_ERROR"),
    ],
)
def test_it_ends_as_the_instance_ends(sensor: MakeSensor, flow_id: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        sensor(flow_id).run()


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


@pytest.mark.parametrize("name", ["org_id", "user_id"])
def test_a_tenant_of_a_template_that_found_nothing_is_refused(
    sensor: MakeSensor, sim: EnosSimulator, name: str
) -> None:
    with pytest.raises(AirflowFailException, match=f"^{name}: 'None'; expected "):
        sensor(**{name: "None"}).run()
    assert sim.requests == []


@pytest.mark.parametrize("arguments", [{"poll_error_tolerance": -1}, {"task_logs": "some"}])
def test_arguments_that_are_refused_when_the_dag_is_parsed(arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(errors.EnosConfigError, match=f"^task wait: {name}: .*; expected "):
        EnosFlowInstanceSensor(task_id="wait", flow_instance_id="3377-1", **arguments)
