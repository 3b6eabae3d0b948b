"""The code that operators share while their task runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from airflow_provider_enos.operators.base import WaitingOperator
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.triggers.enos import EnosFlowInstanceTrigger
from airflow_provider_enos.utils.deferral import task_deadline
from airflow_provider_enos.utils.kept_error import keeper
from airflow_provider_enos.utils.task_end import link_of

if TYPE_CHECKING:
    from airflow_provider_enos.hooks.enos import EnosHook
    from airflow_provider_enos.protocol.follow.log_tail import LogStream
    from airflow_provider_enos.version_compat import Context

Operator = TypeVar("Operator", bound=WaitingOperator)


class Execution(Generic[Operator]):
    """One execution of an operator in a worker: a new try, or a task that its trigger has resumed."""

    def __init__(self, operator: Operator, context: Context) -> None:
        self._operator = operator
        self._context = context
        self._ti: Any = context["ti"]
        self._log = operator.log
        self._keep_error = keeper(operator, self._ti)

    @property
    def _hook(self) -> EnosHook:
        return self._operator.hook

    def _watch(
        self,
        flow_instance_id: str,
        *,
        known: bool = True,
        strict: bool = False,
        stream: LogStream | None = None,
        told: object = None,
    ) -> InstanceWatch:
        watch = InstanceWatch(
            flow_instance_id,
            tolerance=self._operator.poll_error_tolerance,
            log=self._log,
            link=link_of(self._hook, flow_instance_id),
            known=known,
            stream=stream,
            strict=strict,
        )
        watch.was_told(told)
        return watch

    def _defer(
        self,
        flow_instance_id: str,
        deadline: float,
        *,
        cancel_on_kill: bool,
        show_logs: bool = False,
        told: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> NoReturn:
        """Defer the task. ``kwargs`` are given to ``execute_complete``, beside the deadlines.

        :param told: what the look before the deferral has logged.
        """
        operator = self._operator
        execution_deadline = task_deadline(operator.execution_timeout, self._ti)
        trigger = EnosFlowInstanceTrigger(
            flow_instance_id,
            enos_conn_id=operator.enos_conn_id,
            poll_interval=operator.poll_interval,
            deadline=deadline if execution_deadline is None else min(deadline, execution_deadline),
            poll_error_tolerance=operator.poll_error_tolerance,
            cancel_on_kill=cancel_on_kill,
            known=True,
            show_logs=show_logs,
            told=told or None,
            org_id=operator.org_id,
            user_id=operator.user_id,
        )
        # Not with Airflow's own timeout, which would end the task and leave the instance running.
        kwargs |= {"deadline": deadline, "task_deadline": execution_deadline}
        operator.defer(trigger=trigger, method_name="execute_complete", kwargs=kwargs)
