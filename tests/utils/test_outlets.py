"""Asset events of outlets: in a worker and deferred, for operators and sensors, with and without partitions."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from airflows import AIRFLOW
from tries import TRIGGER_TIME, completed
from worker import Log, StateStore, TaskInstance

from airflow_provider_enos.errors import EnosConfigError, EnosFlowFailedError
from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator, EnosTriggerFlowOperator
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor, EnosFlowSensor
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.version_compat import has_runtime_partitions, triggers_are_told_of_kills

if AIRFLOW >= (3, 0):
    from airflow.sdk import Asset, AssetAlias
    from airflow.sdk.execution_time.context import OutletEventAccessors
else:
    _datasets = import_module("airflow.datasets")
    Asset, AssetAlias = _datasets.Dataset, _datasets.DatasetAlias  # type: ignore[misc]
    from airflow.utils.context import OutletEventAccessors  # type: ignore[assignment,no-redef]

INSTANCE = "3377-20200706062600"
SAID = {
    "flow_instance_id": INSTANCE,
    "business_date": "2020-07-05",
    "trigger_time_utc": "2020-07-06T06:26:00+00:00",
}
READINGS = Asset("enos://readings")
partitions = pytest.mark.skipif(not has_runtime_partitions(), reason="before Airflow 3.3")

TRIGGER = {"flow_id": 3377, "trigger_time": TRIGGER_TIME, "poll_interval": 0.01}
SENSE = {"poke_interval": 0.01, "timeout": 60}
TASKS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "from a node": (EnosTriggerFlowFromTaskOperator, {**TRIGGER, "from_task_id": 108580}),
    "whole flow": (EnosTriggerFlowOperator, TRIGGER),
    "instance": (EnosFlowInstanceSensor, {**SENSE, "flow_instance_id": INSTANCE}),
    "window": (
        EnosFlowSensor,
        {
            **SENSE,
            "flow_id": 3377,
            "window_start": TRIGGER_TIME - 60_000,
            "window_end": TRIGGER_TIME,
            "types": [0, 1, 2],
            "scheduled_only": False,
        },
    ),
}


class Run:
    """A task in a DAG run, and what its asset events say."""

    def __init__(self, kind: str, *, dag: Any = None, key: str | None = None, **arguments: Any) -> None:
        self.operator_class, given = TASKS[kind]
        self.arguments = {"outlets": [READINGS], **given, **arguments}
        self.log = Log()
        self.context = self._new_context(dag, key)

    def _new_context(self, dag: Any, key: str | None) -> dict[str, Any]:
        run = SimpleNamespace(clear_number=0, partition_key=key)
        return {
            "ti": TaskInstance(),
            "dag": dag,
            "dag_run": run,
            "task_state_store": StateStore(),
            "outlet_events": OutletEventAccessors(),
        }

    def _made(self) -> Any:
        return type("Logged", (self.operator_class,), {"log": self.log})(task_id="task", **self.arguments)

    def run(self) -> Any:
        return completed(self, lambda: self._made().execute(self.context))

    def resume(self, method: str, event: Any, kwargs: dict[str, Any]) -> Any:
        # Another process: nothing is left of what the first one has noted.
        self.context["outlet_events"] = OutletEventAccessors()
        return getattr(self._made(), method)(self.context, json.loads(json.dumps(event)), **kwargs)

    @property
    def extra(self) -> Any:
        return self.context["outlet_events"][READINGS].extra

    @property
    def keys(self) -> set[str]:
        return set(getattr(self.context["outlet_events"][READINGS], "partition_keys", ()))


@pytest.fixture
def started(connection: EnosSimulator, short_pauses: None) -> Callable[..., Run]:
    """A task whose flow instance is there, if it is a sensor."""
    connection.progress = "at_once"

    def make(kind: str, **arguments: Any) -> Run:
        if kind in ("instance", "window"):
            connection.trigger(3377, None, TRIGGER_TIME)
        return Run(kind, **arguments)

    return make


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("deferrable", [False, True], ids=["in a worker", "deferred"])
def test_the_event_says_which_instance_and_day(started: Callable[..., Run], kind: str, deferrable: bool) -> None:
    one = started(kind, deferrable=deferrable)
    one.run()
    assert one.extra == SAID
    assert one.keys == set()


def test_a_task_that_does_not_wait_asks_for_the_day_once(started: Callable[..., Run], sim: EnosSimulator) -> None:
    one = started("from a node", wait_for_completion=False)
    assert one.run() == INSTANCE
    assert one.extra == SAID
    assert sim.count("flowInstances/get") == 1


def test_a_task_without_outlets_asks_for_nothing_more(started: Callable[..., Run], sim: EnosSimulator) -> None:
    one = started("from a node", outlets=[], wait_for_completion=False)
    one.run()
    assert len(one.context["outlet_events"]) == 0
    assert sim.count("flowInstances/get") == 0


def test_an_airflow_without_outlet_events_is_left_in_peace(started: Callable[..., Run], sim: EnosSimulator) -> None:
    one = started("from a node", wait_for_completion=False)
    del one.context["outlet_events"]
    assert one.run() == INSTANCE
    assert sim.count("flowInstances/get") == 0


def test_what_the_author_has_said_stays(started: Callable[..., Run]) -> None:
    one = started("from a node")
    one.context["outlet_events"][READINGS].extra = {"business_date": "mine", "rows": 7}
    one.run()
    assert one.extra == {**SAID, "business_date": "mine", "rows": 7}


def test_only_assets_have_events_to_describe(started: Callable[..., Run]) -> None:
    """The assets of an alias are known to the author alone; Airflow 2 allows other things, too."""
    one = started("from a node", outlets=[AssetAlias("any"), READINGS])
    one.run()
    assert one.extra == SAID
    assert [key for key in one.context["outlet_events"] if isinstance(key, AssetAlias)] == []


def test_nothing_is_said_of_an_instance_that_failed(started: Callable[..., Run], sim: EnosSimulator) -> None:
    one = started("from a node")
    sim.progress = "manual"
    sim.trigger(3377, 108580, TRIGGER_TIME)
    sim.finish(INSTANCE, "FAIL")
    one.arguments["on_conflict"] = "attach"
    with pytest.raises(EnosFlowFailedError):
        one.run()
    assert len(one.context["outlet_events"]) == 0


def test_an_event_that_cannot_be_described_does_not_fail_the_task(started: Callable[..., Run]) -> None:
    class Broken(dict[Any, Any]):
        def __getitem__(self, key: Any) -> Any:
            raise RuntimeError("no such asset")

    one = started("from a node")
    one.context["outlet_events"] = Broken()
    assert one.run() == INSTANCE
    assert any("no such asset" in line for line in one.log.lines)


@partitions
@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("deferrable", [False, True], ids=["in a worker", "deferred"])
def test_the_business_date_is_the_partition_key(started: Callable[..., Run], kind: str, deferrable: bool) -> None:
    one = started(kind, deferrable=deferrable, outlet_partition="business_date", key="us|2020")
    one.run()
    assert (one.extra, one.keys) == (SAID, {"2020-07-05"})


@partitions
def test_tasks_set_the_keys_of_a_dag_that_is_partitioned_at_runtime(started: Callable[..., Run]) -> None:
    from airflow.sdk import DAG, PartitionedAtRuntime

    dag = DAG("dag", schedule=PartitionedAtRuntime())
    one = started("from a node", dag=dag)
    one.run()
    assert one.keys == {"2020-07-05"}
    with_key = Run("instance", dag=dag, key="us")
    with_key.run()
    assert with_key.keys == set()


@partitions
def test_no_key_is_guessed(started: Callable[..., Run], sim: EnosSimulator) -> None:
    """Where the day is not known, no day is started; the log says so."""
    sim.fault("http_503", on="flowInstances/get", times=None)
    sim.fault("http_503", on="time/getTimeZone", times=None)
    one = started("from a node", outlet_partition="business_date", wait_for_completion=False)
    assert one.run() == INSTANCE
    assert one.extra == {**SAID, "business_date": None}
    assert one.keys == set()
    assert any("get no partition key" in line for line in one.log.lines)


@pytest.mark.parametrize("kind", TASKS)
def test_what_is_no_partition_is_refused(kind: str) -> None:
    operator_class, arguments = TASKS[kind]
    with pytest.raises(EnosConfigError, match=r'task: outlet_partition: .*one of "business_date"'):
        operator_class(task_id="task", **arguments, outlet_partition="run")


@pytest.mark.skipif(has_runtime_partitions(), reason="tasks can set partition keys")
def test_a_key_that_airflow_does_not_have_is_refused() -> None:
    operator_class, arguments = TASKS["from a node"]
    with pytest.raises(EnosConfigError, match=r"outlet_partition: .*before Airflow 3\.3"):
        operator_class(task_id="task", **arguments, outlet_partition="business_date")


@pytest.mark.skipif(not triggers_are_told_of_kills(), reason="no task starts in the triggerer before Airflow 3.3")
@pytest.mark.parametrize("kind", ["instance", "window"])
def test_a_sensor_with_outlets_does_not_end_in_the_triggerer(kind: str) -> None:
    """Airflow registers no asset event for a task that ends there."""
    operator_class, arguments = TASKS[kind]

    def ends_there(sensor: Any) -> Any:
        return sensor.start_trigger_args.trigger_kwargs["ends_task"]

    plain = operator_class(task_id="task", **arguments, start_from_trigger=True)
    assert ends_there(plain) is True
    assert ends_there(operator_class(task_id="task", **arguments, start_from_trigger=True, outlets=[READINGS])) is False
    plain.add_outlets([READINGS])
    assert ends_there(plain) is False
