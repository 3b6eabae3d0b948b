"""Waits for EnOS flow instances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from time import time
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)

from airflow_provider_enos.errors import EnosError, EnosFlowTimeoutError
from airflow_provider_enos.hooks.boundary import (
    InstanceEvent,
    TaskState,
    airflow_errors,
    default_deferrable,
    end_as,
    stream_of,
)
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.links.enos import EnosFlowInstanceLink, push_link
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.waiting import TaskLogs, Watch, look, wait

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["EnosFlowInstanceSensor"]

_STATE_KEY = "enos_watch"


class EnosFlowInstanceSensor(BaseSensorOperator):
    """Waits until a flow instance has ended, and ends as it ends.

    ``flow_instance_id`` takes the output of an operator that started it::

        started = EnosTriggerFlowFromTaskOperator(..., wait_for_completion=False)
        EnosFlowInstanceSensor(task_id="wait", flow_instance_id=started.output, mode="reschedule")

    Succeeded: success, and the id is the return value. Skipped: the task is skipped. Failed or cancelled: the errors
    below, or skipped with ``soft_fail``. In ``reschedule`` mode on Airflow before 3.3, which keeps nothing between two
    looks, errors of the network are waited through until ``timeout``.

    Documentation: Batch Processing API, "Get Flow Instance", "Get Task Instance Log".

    Template fields: ``flow_instance_id``, ``enos_conn_id``, ``org_id``, ``user_id``.

    :param flow_instance_id: the instance, such as ``3377-20200706062600``.
    :param deferrable: whether to wait in the triggerer rather than in a worker. Default: ``default_deferrable`` in the
        section ``[operators]`` of Airflow's configuration.
    :param start_from_trigger: whether to start in the triggerer, without a worker, and to end there when the instance
        has succeeded or was skipped. Before Airflow 3.3, whose triggers cannot render templates, the task says so and
        defers from a worker. ``flow_instance_id`` may be another task's output; in a template of your own give
        ``xcom_pull`` its ``map_indexes``, without which Airflow's triggerer cannot carry it out.
    :param poll_error_tolerance: for how long EnOS may be out of reach while waiting, a timedelta or seconds.
    :param task_logs: whose logs to show in the task's log: ``"failed"`` nodes, the end of them once the instance has
        ended badly; ``"all"``, as they grow (in ``reschedule`` mode on Airflow before 3.3 at the end); ``"none"``.
    :param enos_conn_id: the Airflow connection, of type ``enos``.
    :param org_id: the EnOS organisation, in place of the connection's.
    :param user_id: the EnOS user, in place of the connection's.
    :param kwargs: those of every sensor: ``poke_interval`` (60 s), ``timeout``, ``mode``, ``soft_fail``, ...

    :raises AirflowFailException: the connection, a rendered argument or the credentials cannot work: not retried.
    :raises AirflowSkipException: the instance was skipped in EnOS.
    :raises EnosFlowFailedError: the instance failed; the message says which nodes and how their logs end.
    :raises EnosFlowCancelledError: the instance was cancelled.
    :raises EnosRequestError: EnOS does not know the instance.
    :raises EnosPollLostError: EnOS was out of reach for longer than ``poll_error_tolerance``.
    """

    template_fields: Sequence[str] = ("flow_instance_id", "enos_conn_id", "org_id", "user_id")
    operator_extra_links = (EnosFlowInstanceLink(),)
    ui_color = "#d9f2ee"

    def __init__(
        self,
        *,
        flow_instance_id: str,
        deferrable: bool | None = None,
        start_from_trigger: bool = False,
        poll_error_tolerance: timedelta | float = timedelta(minutes=10),
        task_logs: TaskLogs = "failed",
        enos_conn_id: str = EnosHook.default_conn_name,
        org_id: str | None = None,
        user_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.flow_instance_id = flow_instance_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.poll_error_tolerance = arguments.seconds(poll_error_tolerance, "poll_error_tolerance", zero=True)
        self.task_logs = arguments.choice(task_logs, "task_logs", TaskLogs)
        self.enos_conn_id = enos_conn_id
        self.org_id = org_id
        self.user_id = user_id
        self._wants_trigger = start_from_trigger
        if start_from_trigger:
            self._start_from_trigger()
        self._watch: Watch | None = None
        self._has_link = False

    def _start_from_trigger(self) -> None:
        """Has the scheduler hand the task to the triggerer, with everything that its trigger has to know."""
        from airflow.triggers.base import BaseTrigger, StartTriggerArgs

        self.deferrable = True
        if not hasattr(BaseTrigger, "on_kill"):
            return
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="airflow_provider_enos.triggers.enos.EnosFlowInstanceTrigger",
            trigger_kwargs={
                "flow_instance_id": _as_template(self.flow_instance_id),
                "deadline": None,
                "timeout": self.timeout,
                # Logs of nodes that went well are copied by the task itself.
                "ends_task": self.task_logs != "all",
                "do_xcom_push": self.do_xcom_push,
                "push_link": True,
                **self._trigger_arguments,
            },
            next_method="execute_complete",
            next_kwargs=None,
            timeout=None,
        )
        self.start_from_trigger = True

    @property
    def _trigger_arguments(self) -> dict[str, Any]:
        return {
            "enos_conn_id": self.enos_conn_id,
            "poll_interval": self.poke_interval,
            "poll_error_tolerance": self.poll_error_tolerance,
            # It did not start the instance, so it does not end it.
            "cancel_on_kill": False,
            "show_logs": self.task_logs == "all",
            "org_id": self.org_id,
            "user_id": self.user_id,
        }

    def execute(self, context: Context) -> Any:
        """Waits, in the worker or in the triggerer."""
        if self._wants_trigger:
            self.log.info("Airflow cannot start this in the triggerer (before 3.3, or mapped): deferring from a worker")
        if self.deferrable:
            with self._sensor_errors():
                self._defer(arguments.instance(self.flow_instance_id, "flow_instance_id"), context)
        return super().execute(context)

    def execute_complete(self, context: Context, event: Any) -> str:
        """Goes on once the trigger has fired: the end is the same as without deferral."""
        with self._sensor_errors():
            event = InstanceEvent.of(event)
            try:
                if event.error is not None:
                    raise event.error
                watch, deadline = self._watch_of(event.flow_instance_id), time() + self.timeout
                if watch.stream is not None:
                    watch.stream.remember(event.logs)
                ended = wait(watch, poll_interval=self.poke_interval, deadline=deadline, clock=time)
                return self._end(self._hook.client.run(ended))
            except EnosFlowTimeoutError as error:
                raise AirflowSensorTimeout(f"Sensor has timed out: {error}") from error

    def poke(self, context: Context) -> PokeReturnValue:
        """Looks at the instance once."""
        with self._sensor_errors():
            watch = self._watch_of(arguments.instance(self.flow_instance_id, "flow_instance_id"))
            if not self._has_link:
                push_link(context["ti"], self._hook.settings.link(watch.flow_instance_id))
                self._has_link = True
            instance = self._look_again(watch, context) if self.reschedule else self._look(watch)
            if instance is None or not instance.status.ended:
                return PokeReturnValue(is_done=False)
            return PokeReturnValue(is_done=True, xcom_value=self._end(instance))

    @contextmanager
    def _sensor_errors(self) -> Iterator[None]:
        """As all of ours; with ``soft_fail`` or ``never_fail`` the task is skipped, as Airflow does for its own."""
        try:
            with airflow_errors():
                yield
        except (EnosError, AirflowSensorTimeout, AirflowFailException) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    @cached_property
    def _hook(self) -> EnosHook:
        return EnosHook(self.enos_conn_id, org_id=self.org_id, user_id=self.user_id)

    def _watch_of(self, flow_instance_id: str) -> Watch:
        if self._watch is None:
            link = self._hook.settings.link(flow_instance_id)
            self._watch = Watch(
                flow_instance_id,
                tolerance=self.poll_error_tolerance,
                log=self.log,
                link=link,
                stream=stream_of(self.task_logs, self.log),
            )
        return self._watch

    def _defer(self, flow_instance_id: str, context: Context) -> None:
        from airflow_provider_enos.triggers.enos import EnosFlowInstanceTrigger

        trigger = EnosFlowInstanceTrigger(
            flow_instance_id,
            deadline=time() + self.timeout,
            push_link=not self._link(flow_instance_id, context),
            **self._trigger_arguments,
        )
        self.defer(trigger=trigger, method_name="execute_complete")

    def _link(self, flow_instance_id: str, context: Context) -> bool:
        """Gives the task its link, if the connection can be read at this moment; else that is the trigger's."""
        try:
            push_link(context["ti"], self._hook.settings.link(flow_instance_id))
        except Exception as error:  # noqa: BLE001 - whatever Airflow raises: the trigger is more patient, and says why
            self.log.debug("The link is left to the triggerer: %s", error)
            return False
        return True

    def _end(self, instance: FlowInstance) -> str:
        """Ends as the instance has ended."""
        stream = self._watch.stream if self._watch else None
        end_as(instance, self._hook, task_logs=self.task_logs, log=self.log, stream=stream)
        return instance.flow_instance_id

    def _look(self, watch: Watch) -> FlowInstance | None:
        return self._hook.client.run(look(watch, clock=time))

    def _look_again(self, watch: Watch, context: Context) -> FlowInstance | None:
        """One look in reschedule mode: with what earlier looks of this try saw, each of them in its own process."""
        ti: Any = context["ti"]
        state = TaskState(context, _STATE_KEY, self.log)
        before = state.load()
        if isinstance(before, dict) and before.get("try_number") == ti.try_number:
            watch.remember(before)
        if not state.kept:
            # Each look would show the logs from their beginning.
            watch.stream = None
        instance = self._look(watch)
        after = {**watch.memory, "try_number": ti.try_number}
        if after != before:
            state.save(after)
        return instance


def _as_template(value: Any) -> str:
    """``value``, where it is another task's output as a template that the triggerer can render."""
    task, key = getattr(value, "operator", None), getattr(value, "key", None)
    if task is None or key is None:
        return str(value)
    return f"{{{{ ti.xcom_pull(task_ids={task.task_id!r}, key={key!r}, map_indexes=-1) }}}}"
