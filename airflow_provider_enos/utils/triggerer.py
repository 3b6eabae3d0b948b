"""What a trigger asks of Airflow about its task, and tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.log import Log


async def push_xcom(task_instance: Any, value: str | list[str], key: str = "return_value") -> None:
    """Makes ``value`` what the task returns, or what it has under ``key``, from the triggerer: as a worker pushes it.

    Not in the event that ends the task: what that carries Airflow 3.3 encodes once more, so that others pull it quoted.
    """
    from asgiref.sync import sync_to_async

    from airflow_provider_enos.version_compat import xcom

    await sync_to_async(xcom().set)(
        key=key,
        value=value,
        dag_id=task_instance.dag_id,
        task_id=task_instance.task_id,
        run_id=task_instance.run_id,
        map_index=task_instance.map_index,
    )


async def is_still_deferred(task_instance: Any, log: Log) -> bool:
    """Whether the task still waits for its trigger, as it does when it is the triggerer that stops.

    For Airflow before 3.3, which tells a trigger only that it is cancelled. Where it cannot be found out, it counts as
    deferred: an instance that runs on is a lesser evil than one that is cancelled by a restart.
    """
    from asgiref.sync import sync_to_async

    from airflow_provider_enos.version_compat import state_of

    try:
        return await sync_to_async(state_of)(task_instance) == "deferred"
    except Exception as error:  # noqa: BLE001 - whatever Airflow raises
        log.warning("Cannot find out what became of the task: %s", error)
        return True
