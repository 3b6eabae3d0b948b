"""Waits for EnOS flow instances."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from time import time
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseSensorOperator, PokeReturnValue

from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.hooks.boundary import TaskState, airflow_errors
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.models import FlowInstance, Outcome
from airflow_provider_enos.protocol.waiting import TaskLogs, Watch, conclude, look

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
    :param poll_error_tolerance: for how long EnOS may be out of reach while waiting, a timedelta or seconds.
    :param task_logs: whose logs to copy to the task's log at the end: ``"failed"`` nodes, ``"all"``, ``"none"``.
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
    ui_color = "#d9f2ee"

    def __init__(
        self,
        *,
        flow_instance_id: str,
        poll_error_tolerance: timedelta | float = timedelta(minutes=10),
        task_logs: TaskLogs = "failed",
        enos_conn_id: str = EnosHook.default_conn_name,
        org_id: str | None = None,
        user_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.flow_instance_id = flow_instance_id
        self.poll_error_tolerance = arguments.seconds(poll_error_tolerance, "poll_error_tolerance", zero=True)
        self.task_logs = arguments.choice(task_logs, "task_logs", TaskLogs)
        self.enos_conn_id = enos_conn_id
        self.org_id = org_id
        self.user_id = user_id
        self._hook: EnosHook | None = None
        self._watch: Watch | None = None

    def poke(self, context: Context) -> PokeReturnValue:
        """Looks at the instance once."""
        try:
            with airflow_errors():
                return self._look(context)
        except EnosError as error:
            if self.soft_fail:
                # Airflow itself does so for its own exceptions only.
                raise AirflowSkipException(str(error)) from error
            raise

    def _look(self, context: Context) -> PokeReturnValue:
        hook = self._hook = self._hook or EnosHook(self.enos_conn_id, org_id=self.org_id, user_id=self.user_id)
        flow_instance_id = arguments.instance(self.flow_instance_id, "flow_instance_id")
        link = hook.settings.link(flow_id=flow_instance_id.split("-")[0], flow_instance_id=flow_instance_id)
        instance = self._look_with_memory(hook, flow_instance_id, link, context)
        if instance is None or not instance.status.ended:
            return PokeReturnValue(is_done=False)
        outcome = hook.client.run(conclude(instance, task_logs=self.task_logs, link=link, log=self.log))
        if outcome is Outcome.SKIPPED:
            raise AirflowSkipException(f"flow instance {flow_instance_id} was skipped in EnOS")
        return PokeReturnValue(is_done=True, xcom_value=flow_instance_id)

    def _look_with_memory(
        self, hook: EnosHook, flow_instance_id: str, link: str | None, context: Context
    ) -> FlowInstance | None:
        """One look; in reschedule mode with what earlier looks of this try saw, each of them in its own process."""
        watch = self._watch
        if watch is None:
            watch = self._watch = Watch(flow_instance_id, tolerance=self.poll_error_tolerance, log=self.log, link=link)
        if not self.reschedule:
            return hook.client.run(look(watch, clock=time))
        ti: Any = context["ti"]
        state = TaskState(context, _STATE_KEY, self.log)
        before = state.load()
        if isinstance(before, dict) and before.get("try_number") == ti.try_number:
            watch.remember(before)
        instance = hook.client.run(look(watch, clock=time))
        after = {**watch.memory, "try_number": ti.try_number}
        if after != before:
            state.save(after)
        return instance
