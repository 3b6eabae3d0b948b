"""Whether a task is deferred, and until when."""

from __future__ import annotations

from datetime import timedelta
from time import time
from typing import Any

from airflow_provider_enos.version_compat import conf, ends_deferred_tasks_in_time


def task_deadline(execution_timeout: timedelta | None, task_instance: Any) -> float | None:
    """Return when ``execution_timeout`` of this try ends, in epoch seconds, for a task that is about to be deferred.

    None if there is no such timeout, or if Airflow itself ends deferred tasks at that time.
    """
    if execution_timeout is None or ends_deferred_tasks_in_time():
        return None
    started = getattr(task_instance, "start_date", None)
    return (started.timestamp() if started else time()) + execution_timeout.total_seconds()


def default_deferrable() -> bool:
    """Return Airflow's ``[operators] default_deferrable``."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))
