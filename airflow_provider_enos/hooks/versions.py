"""Where versions of Airflow differ, and ``airflow.providers.common.compat`` does not make up for it."""

from __future__ import annotations

import importlib.util
from typing import Any

from airflow.triggers.base import BaseTrigger

try:
    from airflow.triggers.base import BaseEventTrigger as BaseEventTrigger
except ImportError:  # Airflow 2, which has nothing that one could be given to; only newer ``compat`` knows of it
    BaseEventTrigger = BaseTrigger  # type: ignore[misc, assignment]

try:
    from airflow.sdk.definitions.template import literal as literal
except ImportError:  # Airflow 2
    from airflow.utils.template import literal as literal  # type: ignore[import-not-found, no-redef]


try:
    from airflow.sdk.exceptions import AirflowTaskTimeout as AirflowTaskTimeout
except ImportError:  # Airflow before 3.2
    from airflow.exceptions import AirflowTaskTimeout as AirflowTaskTimeout  # type: ignore[no-redef]


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
