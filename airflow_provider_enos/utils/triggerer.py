"""What a trigger reads and writes of its task in Airflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.log import Log

T = TypeVar("T")


async def in_thread(do: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call what asks Airflow, in the thread from which a trigger may ask."""
    from asgiref.sync import sync_to_async

    return await sync_to_async(do)(*args, **kwargs)


async def push_xcom(task_instance: Any, value: str | list[str], key: str = "return_value") -> None:
    """Push an XCom of the task from the triggerer, in the form in which a worker pushes it.

    The event that ends a task can carry XComs too, but Airflow 3.3 encodes those twice: other tasks get them quoted.
    """
    from airflow_provider_enos.version_compat import xcom

    await in_thread(
        xcom().set,
        key=key,
        value=value,
        dag_id=task_instance.dag_id,
        task_id=task_instance.task_id,
        run_id=task_instance.run_id,
        map_index=task_instance.map_index,
    )


async def is_still_deferred(task_instance: Any, log: Log) -> bool:
    """Return whether the task still waits for its trigger. Then the trigger was cancelled because the triggerer stops.

    For Airflow before 3.3, which does not tell a trigger why it is cancelled. If the state cannot be read, return True:
    it is worse to cancel an instance at a restart than to let one run on.
    """
    from airflow_provider_enos.version_compat import state_of

    try:
        return await in_thread(state_of, task_instance) == "deferred"
    except Exception as error:  # noqa: BLE001 - whatever Airflow raises
        log.warning("Cannot read the state of the task: %s", error)
        return True


async def is_run_over(task_instance: Any, log: Log) -> bool:
    """Return whether somebody has ended the DAG run of the task. If its state cannot be read, return False."""
    from airflow_provider_enos.version_compat import run_state_of

    try:
        return await in_thread(run_state_of, task_instance) in ("failed", "success")
    except Exception as error:  # noqa: BLE001 - whatever Airflow raises
        log.warning("Cannot read the state of the DAG run: %s", error)
        return False
