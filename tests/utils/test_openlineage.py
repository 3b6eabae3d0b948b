from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from worker import TaskInstance, execute

from airflow_provider_enos import errors
from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator, EnosTriggerFlowOperator
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor, EnosFlowSensor
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.utils.openlineage import External, ReportsLineage, number_if_valid

TIME = 1594016819108
INSTANCE = "3377-20200706062600"
SUPPORT = str(Path(__file__).resolve().parent.parent / "support")
TI: Any = None


def whole_flow(flow_id: int | str = 3377, **more: Any) -> EnosTriggerFlowOperator:
    arguments = {"trigger_time": TIME, "poll_interval": 0.01, "deferrable": False, **more}
    return EnosTriggerFlowOperator(task_id="t", flow_id=flow_id, **arguments)


def from_node(**more: Any) -> EnosTriggerFlowFromTaskOperator:
    return EnosTriggerFlowFromTaskOperator(
        task_id="t", flow_id="3377", from_task_id=" 108580", trigger_time=TIME, poll_interval=0.01, **more
    )


def sensor(**more: Any) -> EnosFlowInstanceSensor:
    arguments = {"flow_instance_id": INSTANCE, "poke_interval": 0.01, "deferrable": False, **more}
    return EnosFlowInstanceSensor(task_id="t", **arguments)


def window_sensor(flow_id: int, **more: Any) -> EnosFlowSensor:
    return EnosFlowSensor(
        task_id="t", flow_id=flow_id, window_start=TIME - 60_000, window_end=TIME + 60_000, types=0,
        scheduled_only=False, poke_interval=0.01, deferrable=False, **more,
    )  # fmt: skip


def run(operator: Any) -> Any:
    execute(operator, {"ti": TaskInstance()})
    return operator


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[External]:
    """What OpenLineage would be told, in place of telling it."""
    told: list[External] = []
    path = "airflow_provider_enos.utils.openlineage_facets.lineage_of"
    monkeypatch.setattr(path, lambda *known: told.append(External(*known)))
    return told


def test_each_method_tells_what_is_known_by_then(connection: EnosSimulator, asked: list[External]) -> None:
    operator = from_node(deferrable=False)
    operator.get_openlineage_facets_on_start()
    assert asked == [External(3377, 108580)]
    run(operator)
    requests = len(connection.requests)
    operator.get_openlineage_facets_on_complete(TI)
    operator.get_openlineage_facets_on_failure(TI)
    assert asked[1:] == 2 * [External(3377, 108580, (INSTANCE,), connection.url)]
    assert len(connection.requests) == requests, "EnOS is asked for nothing"


def test_a_whole_flow_has_no_node(connection: EnosSimulator) -> None:
    assert run(whole_flow())._external() == External(3377, None, (INSTANCE,), connection.url)


def test_without_waiting_the_instance_is_named_too(connection: EnosSimulator) -> None:
    assert run(whole_flow(wait_for_completion=False))._external().flow_instance_ids == (INSTANCE,)


def test_an_instance_that_failed_is_named(connection: EnosSimulator) -> None:
    operator = whole_flow(4001)
    with pytest.raises(errors.EnosFlowFailedError):
        run(operator)
    assert operator._external() == External(4001, None, ("4001-20200706062600",), connection.url)


@pytest.mark.parametrize("error", [None, errors.EnosPollLostError("out of reach", flow_instance_id=INSTANCE)])
def test_after_a_deferral_the_instance_is_that_of_the_event(
    connection: EnosSimulator, error: errors.EnosError | None
) -> None:
    with pytest.raises(TaskDeferred):
        run(from_node(deferrable=True))
    connection.finish(INSTANCE, "SUCCESS")
    status = "ended" if error is None else "error"
    event = {"flow_instance_id": INSTANCE, "status": status, "error": error and errors.to_json(error)}
    resumed = from_node(deferrable=True)
    context: Any = {"ti": TaskInstance()}
    with suppress(errors.EnosPollLostError):
        resumed.execute_complete(context, event)
    assert resumed._external() == External(3377, 108580, (INSTANCE,), connection.url)


def test_where_nothing_was_started_no_instance_is_named(connection: EnosSimulator) -> None:
    operator = whole_flow(9999)
    with pytest.raises(AirflowFailException):
        run(operator)
    assert operator._external() == External(9999, None, (), connection.url)


def test_a_connection_that_cannot_work_is_the_tasks_to_report(
    connection: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", "enos://")
    operator = whole_flow()
    with pytest.raises(AirflowFailException):
        run(operator)
    assert operator._external() == External(3377)


@pytest.mark.parametrize("flow_id", ["{{ params.flow }}", "None", "", "3377; drop", -1, True])
def test_arguments_that_cannot_work_are_left_out(flow_id: Any, asked: list[External]) -> None:
    assert number_if_valid(flow_id) is None
    for operator, name in ((whole_flow(), "flow_id"), (window_sensor(1), "flow_id"), (sensor(), "flow_instance_id")):
        # As a template may become.
        setattr(operator, name, flow_id)
        operator.get_openlineage_facets_on_start()
    assert asked == 3 * [External(None)]


def test_a_sensor_names_its_instance_and_the_flow_that_this_tells(connection: EnosSimulator) -> None:
    assert sensor()._external() == External(3377)
    connection.trigger(3377, None, TIME)
    named = External(3377, None, (INSTANCE,), connection.url)
    assert run(sensor())._external() == named
    resumed = sensor()
    context: Any = {"ti": TaskInstance()}
    resumed.execute_complete(context, {"flow_instance_id": INSTANCE, "status": "ended", "error": None})
    assert resumed._external() == named


def test_a_sensor_whose_instance_failed_names_it(connection: EnosSimulator) -> None:
    instance = connection.trigger(4001, None, TIME)
    operator = sensor(flow_instance_id=instance.id)
    with pytest.raises(errors.EnosFlowFailedError):
        run(operator)
    assert operator._external().flow_instance_ids == (instance.id,)


def test_a_sensor_of_a_schedule_names_all_and_last_the_one_that_it_reports(connection: EnosSimulator) -> None:
    connection.add_flow(7001, tasks={70011: "a"}, progress="at_once", type=1)
    first, second = (connection.trigger(7001, None, TIME + minute * 60_000).id for minute in (0, 1))
    assert window_sensor(7001)._external() == External(7001)
    went_well = run(window_sensor(7001, expected_instances=2))
    assert went_well._external() == External(7001, None, (first, second), connection.url)
    assert second == "7001-20200706062700"


def test_a_sensor_of_a_schedule_that_failed_names_the_one_that_is_to_blame(connection: EnosSimulator) -> None:
    connection.add_flow(7001, tasks={70011: "a"}, progress="at_once", type=1, ends_as="FAIL")
    instances = [connection.trigger(7001, None, TIME + minute * 60_000).id for minute in (0, 1)]
    operator = window_sensor(7001)
    with pytest.raises(errors.EnosFlowFailedError) as caught:
        run(operator)
    named = operator._external().flow_instance_ids
    assert sorted(named) == instances
    assert named[-1] == caught.value.flow_instance_id


def test_who_has_no_flow_says_so() -> None:
    with pytest.raises(NotImplementedError):
        ReportsLineage().get_openlineage_facets_on_start()


def test_nothing_of_openlineage_is_imported_by_a_task(
    connection: EnosSimulator, make_environment: Callable[[], dict[str, str]]
) -> None:
    """Where it is not installed, and where it is not used: constructed and run, a task loads nothing of it."""
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "openlineage" or name.startswith("airflow.providers.openlineage.extractors"):
            raise ModuleNotFoundError(f"no module named {{name}}", name=name)
sys.meta_path.insert(0, Absent())
sys.path.insert(0, {SUPPORT!r})
from worker import TaskInstance, execute
from airflow_provider_enos.operators.enos import EnosTriggerFlowOperator
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor, EnosFlowSensor
import airflow_provider_enos.triggers.enos, airflow_provider_enos.utils.openlineage
operator = EnosTriggerFlowOperator(task_id="t", flow_id=3377, trigger_time={TIME}, poll_interval=0.01, deferrable=False)
ids = [execute(operator, {{"ti": TaskInstance()}})]
sensor = EnosFlowInstanceSensor(task_id="s", flow_instance_id=ids[0], poke_interval=0.01, deferrable=False)
ids.append(execute(sensor, {{"ti": TaskInstance()}}))
loaded = [name for name in sys.modules if name.endswith("openlineage_facets")]
try:
    operator.get_openlineage_facets_on_start()
except ImportError as error:
    print(ids, loaded, type(error).__name__)
"""
    process = subprocess.run(
        [sys.executable, "-c", code], env=make_environment(), capture_output=True, text=True, timeout=600, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == f"{[INSTANCE, INSTANCE]} [] ModuleNotFoundError"
