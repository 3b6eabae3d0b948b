"""Keep the error with which a task ends where the tab "EnOS" finds it: in the task's XComs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from airflow_provider_enos.errors import EnosError, EnosFlowCancelledError, EnosFlowFailedError
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.version_compat import AirflowNotFoundException

ERROR_KEY = "enos_error"
"""The XCom: ``{"error": message}``. Airflow deletes it when the next try begins."""
LENGTH = 1_000
"""Characters of the message that are kept."""

_TOLD_BY_ENOS = (EnosFlowFailedError, EnosFlowCancelledError)
"""The flow instance itself says these."""

log = logging.getLogger(__name__)


def keeper(task: Any, task_instance: Any) -> Callable[[BaseException], None]:
    """Return a function that stores an error of this task in XCom, unless ``do_xcom_push`` is false.

    It stores errors of this package, errors of Airflow that are raised from one, and that a connection does not exist.
    None of their messages holds a secret. Of any other error nothing is known, so nothing is stored. It raises nothing.
    """

    def keep(error: BaseException) -> None:
        if not task.do_xcom_push or not _is_ours(error):
            return
        try:
            task_instance.xcom_push(key=ERROR_KEY, value={"error": excerpt(str(error), LENGTH)})
        except Exception as problem:  # noqa: BLE001 - whatever Airflow or a backend of XComs raises
            log.warning("Cannot store the error in XCom: %s", problem)

    return keep


def _is_ours(error: BaseException) -> bool:
    if isinstance(error, AirflowNotFoundException):
        return True
    found = next((one for one in (error, error.__cause__) if isinstance(one, EnosError)), None)
    return found is not None and not isinstance(found, _TOLD_BY_ENOS)
