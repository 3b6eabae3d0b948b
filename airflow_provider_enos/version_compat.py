"""The names that this package takes from Airflow, each from its newest place, and where versions of Airflow differ.

A name is imported when it is first used, so that a DAG file with an operator pays neither for sensors nor for triggers.
Type checkers see the newest Airflow.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import (
        BaseHook as BaseHook,
        BaseOperator as BaseOperator,
        BaseOperatorLink as BaseOperatorLink,
        BaseSensorOperator as BaseSensorOperator,
        Context as Context,
        Label as Label,
        PokeReturnValue as PokeReturnValue,
        TaskGroup as TaskGroup,
        conf as conf,
        literal as literal,
    )
    from airflow.sdk.exceptions import (
        AirflowException as AirflowException,
        AirflowFailException as AirflowFailException,
        AirflowNotFoundException as AirflowNotFoundException,
        AirflowSensorTimeout as AirflowSensorTimeout,
        AirflowSkipException as AirflowSkipException,
        AirflowTaskTimeout as AirflowTaskTimeout,
    )
    from airflow.sdk.types import TaskInstanceKey as TaskInstanceKey
    from airflow.triggers.base import BaseEventTrigger as BaseEventTrigger
else:
    _EXCEPTIONS = ("airflow.sdk.exceptions", "airflow.exceptions")  # 3.2, before
    _PLACES = {
        "AirflowException": _EXCEPTIONS,
        "AirflowFailException": _EXCEPTIONS,
        "AirflowNotFoundException": _EXCEPTIONS,
        "AirflowSensorTimeout": _EXCEPTIONS,
        "AirflowSkipException": _EXCEPTIONS,
        "AirflowTaskTimeout": _EXCEPTIONS,
        "BaseHook": ("airflow.sdk", "airflow.hooks.base"),  # 3.1, before
        "BaseOperator": ("airflow.sdk", "airflow.models"),  # 3.0, Airflow 2
        "BaseOperatorLink": ("airflow.sdk", "airflow.models.baseoperatorlink"),  # 3.0, Airflow 2
        "BaseSensorOperator": ("airflow.sdk", "airflow.sensors.base"),  # 3.0, Airflow 2
        "Label": ("airflow.sdk", "airflow.utils.edgemodifier"),  # 3.0, Airflow 2
        "PokeReturnValue": ("airflow.sdk", "airflow.sensors.base"),  # 3.0, Airflow 2
        "TaskGroup": ("airflow.sdk", "airflow.utils.task_group"),  # 3.0, Airflow 2
        "conf": ("airflow.sdk", "airflow.configuration"),  # 3.2, before
        "literal": ("airflow.sdk", "airflow.sdk.definitions.template", "airflow.utils.template"),  # 3.1, 3.0, Airflow 2
    }
    """Where each name is, the newest place first, and the first version of Airflow that has it there."""

    def __getattr__(name: str) -> object:
        if name == "BaseEventTrigger":
            return _base_event_trigger()
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        for place in _PLACES[name]:
            try:
                found = getattr(import_module(place), name)
            except (ImportError, AttributeError):
                continue
            return globals().setdefault(name, found)
        raise ImportError(f"this Airflow has {name} in none of {', '.join(_PLACES[name])}")

    def _base_event_trigger() -> object:
        from airflow.triggers import base

        # Airflow 2 has nothing that an event trigger could be given to.
        return getattr(base, "BaseEventTrigger", base.BaseTrigger)


def xcom() -> Any:
    """Return Airflow's class of XComs."""
    try:
        from airflow.sdk.execution_time.xcom import XCom
    except ImportError:  # Airflow 2
        from airflow.models.xcom import XCom  # type: ignore[no-redef]
    return XCom


def stats() -> Any:
    """Return Airflow's ``Stats``. Raise ``ImportError`` where there is no Airflow."""
    try:
        from airflow.sdk.observability.stats import Stats
    except ImportError:  # Airflow before 3.2
        from airflow.stats import Stats
    return Stats


async def async_connection(conn_id: str) -> Any:
    """Return a connection without blocking the event loop.

    Airflow 3.1 to 3.3.1 read it asynchronously but mask its secrets with a call that blocks, and that fails while
    another call is under way. There, and where nothing asynchronous exists, a thread reads it.
    """
    from asgiref.sync import sync_to_async

    # An import calls __getattr__ of this module; a bare name would not.
    from airflow_provider_enos.version_compat import BaseHook

    if _reads_connections_without_blocking():
        return await BaseHook.aget_connection(conn_id)
    return await sync_to_async(BaseHook.get_connection)(conn_id)


def _reads_connections_without_blocking() -> bool:
    try:
        from airflow.sdk import Connection
    except ImportError:  # Airflow 2
        return False
    return hasattr(Connection, "aextra_dejson")  # Airflow 3.3.2


def ends_deferred_tasks_in_time() -> bool:
    """Return whether Airflow itself ends a deferred task at its ``execution_timeout``. Only Airflow 2 does.

    It cancels the trigger then, which cancels the instance. Airflow 3 checks the timeout in a worker only.
    """
    return find_spec("airflow.sdk") is None


def triggers_are_told_of_kills() -> bool:
    """Return whether Airflow calls ``on_kill`` of a trigger whose task was killed, and renders its templates (3.3).

    Before, the trigger is only cancelled, as it is when the triggerer stops.
    """
    from airflow.triggers.base import BaseTrigger

    return hasattr(BaseTrigger, "on_kill")


def asset_types() -> tuple[type, ...]:
    """Return the classes of outlets whose asset events can be described. Airflow 2 calls assets datasets."""
    try:
        from airflow.sdk.definitions.asset import Asset, AssetRef
    except ImportError:  # Airflow 2
        return (import_module("airflow.datasets").Dataset,)
    return (Asset, AssetRef)


def has_runtime_partitions() -> bool:
    """Return whether a task can set the partition keys of its asset events (3.3)."""
    try:
        from airflow.sdk import PartitionedAtRuntime  # noqa: F401
    except ImportError:
        return False
    return True


def event_triggers_take_queues() -> bool:
    """Return whether an event trigger can be given a queue (3.4). Before, any triggerer may run it."""
    from airflow.triggers import base

    one = getattr(base, "BaseEventTrigger", None)
    return one is not None and "queue" in signature(one.__init__).parameters


def state_of(task_instance: Any) -> str | None:
    """Return the current state of a task, by name; None where it is gone. Call it from a trigger, in a thread."""
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:  # Airflow 2
        from airflow.models.taskinstance import TaskInstance

        fresh = TaskInstance.get_task_instance(
            dag_id=task_instance.dag_id,
            run_id=task_instance.run_id,
            task_id=task_instance.task_id,
            map_index=task_instance.map_index,
        )
        return None if fresh is None else str(fresh.state)
    states = RuntimeTaskInstance.get_task_states(
        dag_id=task_instance.dag_id,
        task_ids=[task_instance.task_id],
        run_ids=[task_instance.run_id],
        map_index=task_instance.map_index,
    )
    found = states.get(task_instance.run_id, {})
    # The key of a mapped task has its index behind the task id.
    return next((str(state) for state in found.values()), None)


def run_state_of(task_instance: Any) -> str | None:
    """Return the state of the DAG run of a task; None where it is gone. Call it from a trigger, in a thread."""
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:  # Airflow 2
        from airflow.models.dagrun import DagRun

        found = DagRun.find(dag_id=task_instance.dag_id, run_id=task_instance.run_id)
        return str(found[0].state) if found else None
    # An enumeration whose text is not its value.
    state: Any = RuntimeTaskInstance.get_dagrun_state(task_instance.dag_id, task_instance.run_id)
    return str(getattr(state, "value", state))
