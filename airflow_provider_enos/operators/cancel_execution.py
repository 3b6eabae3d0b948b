"""Cancel an instance while the task runs. A module of its own, so that parsing a DAG file need not import it."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.errors import EnosFlowTimeoutError
from airflow_provider_enos.links.enos import push_link
from airflow_provider_enos.operators.base import WaitingOperator
from airflow_provider_enos.operators.execution import Execution
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.follow.cancelling import (
    ask_to_cancel,
    await_stop,
    has_stopped,
    not_cancelled,
    stopped_at_once,
    was_cancelled,
)
from airflow_provider_enos.utils.airflow_errors import airflow_errors
from airflow_provider_enos.utils.trigger_events import InstanceEvent
from airflow_provider_enos.version_compat import AirflowSkipException, AirflowTaskTimeout

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.follow.options import OnEnded
    from airflow_provider_enos.protocol.models import FlowInstance
    from airflow_provider_enos.version_compat import Context


class CancelExecution(Execution[WaitingOperator]):
    """Cancel a flow instance, and wait until it is cancelled.

    :param on_ended: how to end if the instance had ended by itself.
    """

    def __init__(self, operator: WaitingOperator, context: Context, on_ended: OnEnded) -> None:
        super().__init__(operator, context)
        self._on_ended = on_ended

    def execute(self, flow_instance_id: str) -> str:
        """Ask EnOS to cancel the instance, wait if wanted, and return its id.

        :param flow_instance_id: the rendered argument.
        """
        operator = self._operator
        with airflow_errors(self._keep_error):
            hook, deadline = self._hook, time() + operator.timeout
            flow_instance_id = arguments.instance(flow_instance_id, "flow_instance_id")
            push_link(self._ti, hook.settings.link(flow_instance_id))
            # Until EnOS has shown the instance once, a connection that cannot work fails the task at once.
            watch = self._watch(flow_instance_id, known=False, strict=True)
        with airflow_errors(self._keep_error, known=lambda: watch.known or self._ti.try_number > 1):
            pace = self._pace(deadline)
            ask = ask_to_cancel(watch, log=self._log, tolerance=operator.poll_error_tolerance, **pace)
            instance = hook.client.run(ask)
            if has_stopped(instance):
                return self._end(instance)
            if not operator.wait_for_completion:
                return flow_instance_id
            if not operator.deferrable:
                return self._end(hook.client.run(await_stop(watch, **pace)))
            stopped = hook.client.run(stopped_at_once(watch, poll_interval=operator.poll_interval, clock=time))
            if stopped is None:
                # The task did not start the instance, and has asked for its end already.
                self._defer(flow_instance_id, deadline, cancel_on_kill=False, told=watch.told)
            return self._end(stopped)

    def resume(self, payload: object, *, deadline: float, task_deadline: float | None) -> str:
        """Go on after the trigger has fired with this ``payload``.

        :param deadline: when the ``timeout`` of the operator is over, in epoch seconds.
        :param task_deadline: when the ``execution_timeout`` of the task is over, in epoch seconds.
        """
        with airflow_errors(self._keep_error, known=lambda: True):
            event = InstanceEvent.of(payload)
            watch = self._watch(event.flow_instance_id, strict=True, told=event.told)
            if event.error is None:
                steps = await_stop(watch, **self._pace(deadline))
            elif isinstance(event.error, EnosFlowTimeoutError):
                # A wait whose time is over polls once more.
                steps = await_stop(watch, **self._pace(0.0))
            else:
                steps = watch.recheck(event.error, clock=time, until=has_stopped)
            try:
                return self._end(self._hook.client.run(steps))
            except EnosFlowTimeoutError as late:
                if task_deadline is not None and task_deadline <= deadline:
                    raise AirflowTaskTimeout(f"execution_timeout: {late}") from late
                raise

    def _pace(self, deadline: float) -> dict[str, Any]:
        return {"poll_interval": self._operator.poll_interval, "deadline": deadline, "clock": time}

    def _end(self, instance: FlowInstance) -> str:
        """End as the cancel has ended: return the id, or raise."""
        if was_cancelled(instance):
            self._log.info("Flow instance %s is cancelled", instance.flow_instance_id)
        elif self._on_ended == "fail":
            raise not_cancelled(instance)
        elif self._on_ended == "skip":
            raise AirflowSkipException(str(not_cancelled(instance)))
        else:
            self._log.info("%s", not_cancelled(instance))
        return instance.flow_instance_id
