"""Between EnOS and Airflow: what operators and sensors raise, and what they keep from one try to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from time import time
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, conf

from airflow_provider_enos.errors import EnosError, EnosEventError, from_json, to_json
from airflow_provider_enos.hooks.versions import ends_deferred_tasks_in_time
from airflow_provider_enos.protocol.arguments import connection_id
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.protocol.patience import is_refusal
from airflow_provider_enos.protocol.waiting import conclude

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_enos.client.settings import Settings
    from airflow_provider_enos.hooks.enos import EnosHook
    from airflow_provider_enos.protocol.models import FlowInstance
    from airflow_provider_enos.protocol.streaming import LogStream
    from airflow_provider_enos.protocol.waiting import Log, TaskLogs
    from airflow_provider_enos.protocol.windows import Window


TENANT_FIELDS = ("enos_conn_id", "org_id", "user_id")
"""Template fields of every operator and sensor: on whose behalf it asks EnOS."""


@contextmanager
def airflow_errors(known: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Turn errors that trying again cannot help into ``AirflowFailException``: the task fails without a retry.

    ``known``: whether there is, or may be, an instance of this task. Then a refusal stays as it is, so that the task is
    retried: the connection may be right by then, and the retry takes the instance over.
    """
    try:
        yield
    except EnosError as error:
        if error.final and not (is_refusal(error) and known()):
            raise AirflowFailException(str(error)) from error
        raise


def stream_of(task_logs: TaskLogs, log: Log, memory: object = None) -> LogStream | None:
    """What shows the logs of the nodes while the task waits, where that is wanted.

    ``memory``: how far another one of this task has come.
    """
    if task_logs != "all":
        return None
    from airflow_provider_enos.protocol.streaming import LogStream

    stream = LogStream(log)
    stream.remember(memory)
    return stream


def end_as(
    instance: FlowInstance, hook: EnosHook, *, task_logs: TaskLogs, log: Log, stream: LogStream | None = None
) -> None:
    """Ends the task as its flow instance has ended: returns, or raises what says why not.

    ``stream``: what has shown the logs of the nodes so far, so that nothing is shown twice.
    """
    link = link_of(hook, instance.flow_instance_id)
    outcome = hook.client.run(conclude(instance, task_logs=task_logs, link=link, log=log, stream=stream))
    if outcome is Outcome.SKIPPED:
        raise AirflowSkipException(f"flow instance {instance.flow_instance_id} was skipped in EnOS")


def link_of(hook: EnosHook, flow_instance_id: str) -> str | None:
    """Return the link to an instance; None without one, and where the connection cannot be read at the moment."""
    with suppress(Exception):
        return hook.settings.link(flow_instance_id)
    return None


def task_deadline(execution_timeout: timedelta | None, task_instance: Any) -> float | None:
    """Return when this try's ``execution_timeout`` is over, in epoch seconds, for a task that is about to be deferred.

    None where there is no such timeout, and where Airflow itself ends deferred tasks then.
    """
    if execution_timeout is None or ends_deferred_tasks_in_time():
        return None
    started = getattr(task_instance, "start_date", None)
    return (started.timestamp() if started else time()) + execution_timeout.total_seconds()


def default_deferrable() -> bool:
    """Whether Airflow's configuration has operators wait in the triggerer unless they say otherwise."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


@dataclass(frozen=True, slots=True)
class InstanceEvent:
    """What a trigger tells the task that it resumes: the wait for an instance is over; ``error`` has cut it short.

    ``logs`` is how far it has shown the logs of the nodes: see ``LogStream.memory``.
    """

    flow_instance_id: str
    error: EnosError | None = None
    logs: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The payload of the trigger's event."""
        error = None if self.error is None else to_json(self.error)
        event = {"flow_instance_id": self.flow_instance_id, "status": "error" if error else "ended", "error": error}
        return {**event, "logs": self.logs} if self.logs else event

    @classmethod
    def of(cls, payload: object) -> InstanceEvent:
        """The event with this payload. Raises ``EnosEventError`` for whatever no trigger of ours sends."""
        if isinstance(payload, dict):
            flow_instance_id, error = payload.get("flow_instance_id"), payload.get("error")
            logs = payload.get("logs")
            if isinstance(flow_instance_id, str) and flow_instance_id:
                if payload.get("status") == "ended" and error is None:
                    return cls(flow_instance_id, logs=logs)
                if payload.get("status") == "error":
                    return cls(flow_instance_id, from_json(error), logs)
        raise _unknown(payload)


@dataclass(frozen=True, slots=True)
class WindowEvent:
    """The same of a wait for a window of trigger times; ``window`` is None where ``error`` came before it was known."""

    window: Window | None
    error: EnosError | None = None

    def to_json(self) -> dict[str, Any]:
        """The payload of the trigger's event."""
        window = None if self.window is None else [self.window.first, self.window.end]
        error = None if self.error is None else to_json(self.error)
        return {"window": window, "status": "error" if error else "ended", "error": error}

    @classmethod
    def of(cls, payload: object) -> WindowEvent:
        """The event with this payload. Raises ``EnosEventError`` for whatever no trigger of ours sends."""
        from airflow_provider_enos.protocol.windows import Window

        if isinstance(payload, dict):
            window: Window | None = None
            match payload.get("window"):
                case [int(first), int(end)] if first < end:
                    window = Window(first, end)
            if payload.get("status") == "ended" and payload.get("error") is None and window is not None:
                return cls(window)
            if payload.get("status") == "error":
                return cls(window, from_json(payload.get("error")))
        raise _unknown(payload)


def _unknown(payload: object) -> EnosEventError:
    return EnosEventError(f"the task was resumed with an event that its trigger does not send: {repr(payload)[:200]}")


async def async_settings(conn_id: str, *, org_id: str | None, user_id: str | None) -> Settings:
    """What the connection says, read without blocking the event loop."""
    from airflow.providers.common.compat.connection import get_async_connection

    from airflow_provider_enos.client import settings

    return settings.read(await get_async_connection(connection_id(conn_id)), org_id=org_id, user_id=user_id)


async def push_xcom(task_instance: Any, value: str | list[str], key: str = "return_value") -> None:
    """Makes ``value`` what the task returns, or what it has under ``key``, from the triggerer: as a worker pushes it.

    Not in the event that ends the task: what that carries Airflow 3.3 encodes once more, so that others pull it quoted.
    """
    from airflow.providers.common.compat.sdk import XCom
    from asgiref.sync import sync_to_async

    await sync_to_async(XCom.set)(
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

    from airflow_provider_enos.hooks.versions import state_of

    try:
        return await sync_to_async(state_of)(task_instance) == "deferred"
    except Exception as error:  # noqa: BLE001 - whatever Airflow raises
        log.warning("Cannot find out what became of the task: %s", error)
        return True


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
