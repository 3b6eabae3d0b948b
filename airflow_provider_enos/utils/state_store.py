"""Values that outlive a try: in Airflow's task and asset state stores (Airflow 3.3 and later), and in XComs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.log import Log
    from airflow_provider_enos.version_compat import Context


class State(Protocol):
    """One value that a later try can read. ``place``: where it is kept, for messages."""

    place: str
    fails: bool

    @property
    def kept(self) -> bool: ...

    def load(self) -> Any: ...

    def save(self, value: Any) -> bool: ...

    @property
    def superseded(self) -> bool: ...


class TaskState:
    """One value that a retry of the task instance can read, where Airflow has a store (3.3 and later).

    If the store fails, a warning is logged, and the caller decides what follows.
    """

    place = "Airflow's task state store"

    def __init__(self, context: Context, key: str, log: Log) -> None:
        self._store: Any = context.get("task_state_store")
        self._key = key
        self._log = log
        self._saved: list[Any] = []
        self._warned = False
        self.fails = False
        """Whether reading the value of an earlier try has failed."""

    @property
    def kept(self) -> bool:
        """Whether it is known what an earlier try saved: there is a store, and reading it has not failed."""
        return self._store is not None and not self.fails

    def load(self) -> Any:
        """Return the value; None where there is none."""
        if self._store is None:
            return None
        try:
            return self._store.get(self._key)
        except Exception as error:  # noqa: BLE001 - a store can be anybody's
            self.fails = True
            self._warn(error)
            return None

    def save(self, value: Any) -> bool:
        """Replace the value, a JSON structure. Return False if there is a store and it fails."""
        if self._store is None:
            return True
        try:
            self._store.set(self._key, value)
        except Exception as error:  # noqa: BLE001 - a store can be anybody's
            self._warn(error)
            if self._saved:
                # The store may have saved it all the same.
                self._saved.append(value)
            return False
        self._saved = [value]
        return True

    @property
    def superseded(self) -> bool:
        """Whether another try may have begun since this one.

        It has saved another value; or Airflow, which gives each try an id of its own, refuses the id of this one.
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
            self._log.warning("%s fails: %s", self.place, error)
        self._warned = True


class AssetState:
    """One value for each asset of an event trigger, where Airflow has a store (3.3 and later).

    A line is logged when the store begins to fail, and when it works again.
    """

    def __init__(self, store: Any, key: str, log: Log) -> None:
        self._store = store
        self._key = key
        self._log = log
        self._fails = False

    async def load(self) -> list[Any] | None:
        """Return the values that there are, at most one an asset. None if the store fails."""
        try:
            values = [await store.aget(self._key) for store in self._stores()]
        except Exception as error:  # noqa: BLE001 - a store can be anybody's
            self._failed(error)
            return None
        self._worked()
        return [value for value in values if value is not None]

    async def save(self, value: Any) -> bool:
        """Replace the value of each asset with a JSON structure. Return False if the store fails."""
        try:
            for store in self._stores():
                await store.aset(self._key, value)
        except Exception as error:  # noqa: BLE001 - a store can be anybody's
            self._failed(error)
            return False
        self._worked()
        return True

    def _stores(self) -> list[Any]:
        """Return the store of each asset: Airflow makes one of triggers with the same arguments."""
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
