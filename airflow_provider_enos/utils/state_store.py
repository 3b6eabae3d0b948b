"""Values in Airflow's state stores of tasks and of assets (Airflow 3.3 and later)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.log import Log
    from airflow_provider_enos.version_compat import Context


class TaskState:
    """One value of the task instance that outlives a try, where Airflow can keep it (3.3 and later).

    A store that fails is a warning, and is tried again the next time; what that means its user decides.
    """

    def __init__(self, context: Context, key: str, log: Log) -> None:
        self._store: Any = context.get("task_state_store")
        self._key = key
        self._log = log
        self._saved: list[Any] = []
        self._warned = False
        self.fails = False
        """Whether what an earlier try saved could not be read."""

    @property
    def kept(self) -> bool:
        """Whether what an earlier try saved can be told: there is a store, and reading it has not failed."""
        return self._store is not None and not self.fails

    def load(self) -> Any:
        """The value; None where there is none."""
        if self._store is None:
            return None
        try:
            return self._store.get(self._key)
        except Exception as error:  # noqa: BLE001 - a store can be anybody's
            self.fails = True
            self._warn(error)
            return None

    def save(self, value: Any) -> bool:
        """Keeps the value, a JSON structure, in place of an earlier one; False where there is a store, and it fails."""
        if self._store is None:
            return True
        try:
            self._store.set(self._key, value)
        except Exception as error:  # noqa: BLE001 - a store can be anybody's
            self._warn(error)
            if self._saved:
                # It may have been kept all the same.
                self._saved.append(value)
            return False
        self._saved = [value]
        return True

    @property
    def superseded(self) -> bool:
        """Whether another try may have begun since this one: it has changed what was saved here, or Airflow, which
        gives each try an id of its own, does not find it, or lets nobody look, under the id of this one any more.
        """
        if not self._saved:
            return False
        try:
            return self._store.get(self._key) not in self._saved
        except Exception as error:  # noqa: BLE001 - a store can be anybody's
            self._warn(error)
            return True

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._log.warning("Airflow's task state store fails: %s", error)
        self._warned = True


class AssetState:
    """One value kept with each asset that a trigger watches for, where Airflow can keep it (3.3 and later).

    It says so when the store begins to fail, and when it works again.
    """

    def __init__(self, store: Any, key: str, log: Log) -> None:
        self._store = store
        self._key = key
        self._log = log
        self._fails = False

    async def load(self) -> list[Any] | None:
        """The values that are there: none, or one for each asset. None where the store fails."""
        try:
            values = [await store.aget(self._key) for store in self._stores()]
        except Exception as error:  # noqa: BLE001 - a store can be anybody's
            self._failed(error)
            return None
        self._worked()
        return [value for value in values if value is not None]

    async def save(self, value: Any) -> bool:
        """Keeps the value, a JSON structure; False where it cannot be kept."""
        try:
            for store in self._stores():
                await store.aset(self._key, value)
        except Exception as error:  # noqa: BLE001 - a store can be anybody's
            self._failed(error)
            return False
        self._worked()
        return True

    def _stores(self) -> list[Any]:
        """That of each asset: triggers with the same arguments are one to Airflow, whichever assets they are for."""
        if self._store is None:
            return []
        of_assets = [*getattr(self._store, "_by_name", {}).values(), *getattr(self._store, "_by_uri", {}).values()]
        return of_assets or [self._store]

    def _failed(self, error: Exception) -> None:
        if not self._fails:
            self._log.warning("Airflow's asset state store fails, trying again: %s", error)
        self._fails = True

    def _worked(self) -> None:
        if self._fails:
            self._log.info("Airflow's asset state store works again")
        self._fails = False
