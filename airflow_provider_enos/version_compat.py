# ruff: noqa: F401
"""The names that this package takes from Airflow, each from its newest place, and where versions of Airflow differ.

Airflow 3.1 has nearly all of them in ``airflow.sdk``; Airflow 3.0 some, Airflow 2 none. Type checkers see the newest.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger

if TYPE_CHECKING:
    from airflow.sdk import (
        BaseHook as BaseHook,
        BaseOperator as BaseOperator,
        BaseOperatorLink as BaseOperatorLink,
        BaseSensorOperator as BaseSensorOperator,
        Context as Context,
        PokeReturnValue as PokeReturnValue,
    )
    from airflow.sdk.configuration import conf as conf
    from airflow.sdk.definitions.template import literal as literal
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
    try:
        from airflow.sdk import BaseOperator, BaseOperatorLink
        from airflow.sdk.definitions.template import literal
    except ImportError:  # Airflow 2
        from airflow.models import BaseOperator
        from airflow.models.baseoperatorlink import BaseOperatorLink
        from airflow.utils.template import literal
    try:
        from airflow.sdk import BaseHook, BaseSensorOperator, PokeReturnValue
    except ImportError:  # Airflow before 3.1
        from airflow.hooks.base import BaseHook
        from airflow.sensors.base import BaseSensorOperator, PokeReturnValue
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # Airflow before 3.2
        from airflow.configuration import conf
    try:
        from airflow.sdk.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSensorTimeout,
            AirflowSkipException,
            AirflowTaskTimeout,
        )
    except ImportError:  # Airflow before 3.2
        from airflow.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSensorTimeout,
            AirflowSkipException,
            AirflowTaskTimeout,
        )
    try:
        from airflow.triggers.base import BaseEventTrigger
    except ImportError:  # Airflow 2, which has nothing that one could be given to
        BaseEventTrigger = BaseTrigger


def xcom() -> Any:
    """Return Airflow's class of XComs. Imported when it is used, since it takes long."""
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

    try:
        from airflow.sdk import Connection
    except ImportError:  # Airflow 2
        return await sync_to_async(BaseHook.get_connection)(conn_id)
    if hasattr(Connection, "aextra_dejson"):  # Airflow 3.3.2
        return await BaseHook.aget_connection(conn_id)
    return await sync_to_async(BaseHook.get_connection)(conn_id)


def ends_deferred_tasks_in_time() -> bool:
    """Return whether Airflow itself ends a deferred task at its ``execution_timeout``, as Airflow 2 does.

    It stops the trigger then, which cancels the instance. Airflow 3 looks at the time in a worker only.
    """
    return importlib.util.find_spec("airflow.sdk") is None


def triggers_are_told_of_kills() -> bool:
    """Whether a trigger hears that its task was killed: from 3.3 on, which can also render a trigger's templates.

    Before, it is cancelled as it is when the triggerer stops.
    """
    return hasattr(BaseTrigger, "on_kill")


def state_of(task_instance: Any) -> str | None:
    """The state of a task now, by name; None where it is gone. To be called from a trigger, in a thread."""
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
    # A mapped task is named after its index, too.
    return next((str(state) for state in found.values()), None)
