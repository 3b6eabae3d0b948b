"""Run sensors in a worker. A module of its own, so that parsing a DAG file need not import it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from time import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_enos.client.settings import check_tenant
from airflow_provider_enos.errors import EnosError, EnosFlowTimeoutError
from airflow_provider_enos.protocol.follow.watch import Watch
from airflow_provider_enos.utils.airflow_errors import airflow_errors
from airflow_provider_enos.utils.deferral import task_deadline
from airflow_provider_enos.utils.kept_error import keeper
from airflow_provider_enos.utils.state_store import TaskState
from airflow_provider_enos.version_compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    PokeReturnValue,
)

if TYPE_CHECKING:
    from airflow_provider_enos.hooks.enos import EnosHook
    from airflow_provider_enos.sensors.sensor_arguments import SensorArguments
    from airflow_provider_enos.triggers.base import WaitingTrigger
    from airflow_provider_enos.version_compat import Context

_STATE_KEY = "enos_watch"

TheWatch = TypeVar("TheWatch", bound=Watch[Any])
Seen = TypeVar("Seen")
"""What a poll of the watch returns."""


class SensorExecution(ABC, Generic[TheWatch, Seen]):
    """One execution of a sensor in a worker: a new try, a poll in reschedule mode, or a task that was deferred."""

    def __init__(self, sensor: SensorArguments, context: Context) -> None:
        self._sensor = sensor
        self._context = context
        self._ti: Any = context["ti"]
        self._log = sensor.log
        self._keep_error = keeper(sensor, self._ti)
        self._watch: TheWatch | None = None
        self._deadline: float | None = None
        self._has_logged_skip = False
        self.reported_ids: tuple[str, ...] = ()
        """The ids of the instances that the task waits for, as far as they are known; the last one is reported."""

    # What each sensor defines itself.

    @abstractmethod
    def _new_watch(self) -> TheWatch:
        """Return the watch of a wait that begins. Raise ``EnosConfigError`` if a rendered argument cannot work."""

    @abstractmethod
    def _watch_after(self, payload: object) -> tuple[TheWatch, EnosError | None]:
        """Return the watch after a trigger has fired with this payload, and the error that has ended its wait.

        Raise ``EnosEventError`` for the payload of another trigger, and the error if there is nothing to poll.
        """

    @abstractmethod
    def _trigger(self, watch: TheWatch, deadline: float) -> WaitingTrigger:
        """Return the trigger that goes on with the wait."""

    @abstractmethod
    def _end(self, watch: TheWatch, seen: Seen) -> str | list[str]:
        """End the task by what the last poll has ``seen``: return the task's return value, or raise."""

    # What all sensors share.

    @property
    def _hook(self) -> EnosHook:
        return self._sensor.hook

    def set_deadline(self) -> None:
        """Note when the ``timeout`` of this try is over."""
        self._deadline = self._first_look_at() + self._sensor.timeout

    def poke(self) -> PokeReturnValue:
        """Poll once."""
        sensor = self._sensor
        deadline = time() + sensor.timeout if self._deadline is None else self._deadline
        with airflow_errors(self._keep_error), self._soft_errors():
            if self._watch is None:
                self._watch = self._checked_watch()
            watch = self._watch
            try:
                seen = self._look_rescheduled(watch, deadline) if sensor.reschedule else self._look(watch, deadline)
                is_over = seen is not None and watch.is_over(seen)
                if not is_over and time() >= deadline:
                    raise watch.out_of_time()
            except EnosFlowTimeoutError as error:
                raise AirflowSensorTimeout(f"Sensor has timed out: {error}") from error
            if seen is None or not is_over:
                return PokeReturnValue(is_done=False)
            # It hides failed polls. A bad end of the instances is no failed poll, so Airflow must not hide it.
            sensor.silent_fail = False
            return PokeReturnValue(is_done=True, xcom_value=self._end(watch, seen))

    def end_or_defer(self) -> str | list[str]:
        """Poll once, and end if the wait is over; otherwise wait in the triggerer."""
        sensor = self._sensor
        deadline = time() + sensor.timeout if self._deadline is None else self._deadline
        execution_deadline = task_deadline(sensor.execution_timeout, self._ti)
        trigger_deadline = deadline if execution_deadline is None else min(deadline, execution_deadline)
        with airflow_errors(self._keep_error), self._soft_errors():
            watch = self._watch = self._checked_watch()
            # The triggerer would show the logs from the beginning again.
            watch.stream = None
            seen = self._hook.client.run(watch.look_before_deferral(clock=time, deadline=trigger_deadline))
            if seen is not None and watch.is_over(seen):
                return self._end(watch, seen)
            sensor.defer(
                trigger=self._trigger(watch, trigger_deadline),
                method_name="execute_complete",
                kwargs={"is_execution_timeout": trigger_deadline != deadline},
            )
        raise AssertionError("deferring raises")

    def resume(self, payload: object, is_execution_timeout: bool | None) -> str | list[str]:
        """Go on after a trigger has fired with this payload.

        :param is_execution_timeout: whether the trigger's deadline was the ``execution_timeout``; None if the task was
            started in the triggerer.
        """
        sensor = self._sensor
        with airflow_errors(self._keep_error), self._soft_errors():
            self._check_tenant()
            watch, error = self._watch_after(payload)
            self._watch = watch
            if error is None:
                steps = watch.wait(poll_interval=sensor.poke_interval, deadline=time() + sensor.timeout, clock=time)
            else:
                steps = watch.recheck(error, clock=time)
            try:
                return self._end(watch, self._hook.client.run(steps))
            except EnosFlowTimeoutError as late:
                if is_execution_timeout is None:
                    is_execution_timeout = sensor.execution_seconds <= sensor.timeout
                if is_execution_timeout:
                    raise AirflowTaskTimeout(f"execution_timeout: {late}") from late
                raise AirflowSensorTimeout(f"Sensor has timed out: {late}") from late

    @contextmanager
    def logging_skips(self) -> Iterator[None]:
        """Log why Airflow has skipped the task, unless the reason was logged already."""
        try:
            yield
        except AirflowSkipException as skip:
            if not self._has_logged_skip:
                self._log.warning("Skipped: %s", skip.__cause__ or skip)
            raise

    def _first_look_at(self) -> float:
        """Return when this try polled first, in epoch seconds. In reschedule mode another process may have done it."""
        find = getattr(self._ti, "get_first_reschedule_date", None)
        is_rescheduled = self._sensor.reschedule and not self._sensor.deferrable
        first = find(self._context) if is_rescheduled and find is not None else None
        # `dags test` of Airflow 3.0 gives a text.
        first = datetime.fromisoformat(first) if isinstance(first, str) else first
        return time() if first is None else first.timestamp()

    def _checked_watch(self) -> TheWatch:
        self._check_tenant()
        return self._new_watch()

    def _check_tenant(self) -> None:
        """Raise ``EnosConfigError`` if a rendered argument cannot work: unlike a connection, nobody can mend it."""
        check_tenant(org_id=self._sensor.org_id, user_id=self._sensor.user_id)

    def _look(self, watch: TheWatch, deadline: float) -> Seen | None:
        seen: Seen | None = self._hook.client.run(watch.look(clock=time, deadline=deadline))
        return seen

    def _look_rescheduled(self, watch: TheWatch, deadline: float) -> Seen | None:
        """Poll once in reschedule mode. Use what earlier polls of this try, in other processes, have seen."""
        state = TaskState(self._context, _STATE_KEY, self._log)
        before = state.load()
        if isinstance(before, dict) and before.get("try_number") == self._ti.try_number:
            watch.remember(before)
        if not state.kept:
            # Each poll would show the logs from the beginning.
            watch.stream = None
        seen = self._look(watch, deadline)
        after = {**watch.memory, "try_number": self._ti.try_number}
        if after != before:
            state.save(after)
        return seen

    @contextmanager
    def _soft_errors(self) -> Iterator[None]:
        """Skip the task in place of an error with ``soft_fail`` or ``never_fail``.

        With ``soft_fail`` Airflow itself skips the task only for a timeout and for errors that are not retried. In a
        resumed task it skips for no error of this package. Here the task is skipped for the same errors in every mode.
        """
        try:
            yield
        except (EnosError, AirflowSensorTimeout, AirflowFailException) as error:
            if not (self._sensor.soft_fail or self._sensor.never_fail):
                raise
            argument = "soft_fail" if self._sensor.soft_fail else "never_fail"
            self._log.warning("Skipped instead of failed, since %s is set: %s", argument, error)
            self._has_logged_skip = True
            raise AirflowSkipException(str(error)) from error
