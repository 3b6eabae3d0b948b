"""Between EnOS and Airflow: what operators and sensors raise, and what they keep from one try to the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_enos.errors import EnosError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_enos.protocol.waiting import Log


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Errors that trying again cannot help become ``AirflowFailException``: the task fails without a retry."""
    try:
        yield
    except EnosError as error:
        if error.final:
            raise AirflowFailException(str(error)) from error
        raise


class TaskState:
    """One value of the task instance that outlives a try, where Airflow can keep it (3.3 and later).

    Keeping it is never worth failing for: if the store does, a warning is logged and the value counts as not kept.
    """

    def __init__(self, context: Context, key: str, log: Log) -> None:
        self._store: Any = context.get("task_state_store")
        self._key = key
        self._log = log

    @property
    def kept(self) -> bool:
        """Whether there is a store, and it has not failed so far."""
        return self._store is not None

    def load(self) -> Any:
        """The value; None where there is none."""
        return self._try(lambda store: store.get(self._key))

    def save(self, value: Any) -> None:
        """Keeps the value, a JSON structure, in place of an earlier one."""
        self._try(lambda store: store.set(self._key, value))

    def _try(self, use: Any) -> Any:
        if self._store is None:
            return None
        try:
            return use(self._store)
        except Exception as error:  # noqa: BLE001 - a store can be anybody's, and is not worth failing for
            self._log.warning("Airflow's task state store fails, going on without it: %s", error)
            self._store = None
            return None
