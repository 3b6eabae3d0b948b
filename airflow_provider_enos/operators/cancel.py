"""Cancel EnOS flow instances."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.links.enos import EnosFlowInstanceLink
from airflow_provider_enos.operators.base import WaitingOperator
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.follow.options import OnEnded
from airflow_provider_enos.utils.task_arguments import TENANT_FIELDS, Argument, one_of

if TYPE_CHECKING:
    from airflow_provider_enos.operators.cancel_execution import CancelExecution
    from airflow_provider_enos.version_compat import Context


class EnosCancelFlowInstanceOperator(WaitingOperator):
    """Cancel a flow instance, and succeed once it is really cancelled.

    EnOS accepts a cancel before it has carried it out, and it cannot stop jobs that a node has submitted already. So
    the task polls the instance until nothing of it runs any more. An instance that was cancelled before needs nothing
    more, so a retry does no harm. After a failure the nodes that still run are stopped.

    The return value is the id of the instance.

    Documentation: Batch Processing API, "Cancel Flow Instance", "Get Flow Instance".

    Template fields: ``flow_instance_id``, ``enos_conn_id``, ``org_id``, ``user_id``.

    :param flow_instance_id: the instance, such as the ``.output`` of the operator that started it.
    :param on_ended: how the task ends if the instance had ended by itself, before the cancel or during it: ``"fail"``
        (default), ``"skip"`` or ``"succeed"``.
    :param wait_for_completion: whether to wait until the instance is cancelled (default). If not, the task succeeds
        once EnOS has accepted the cancel.
    :param deferrable: whether to wait in the triggerer and not in a worker. Default: ``default_deferrable`` in the
        section ``[operators]`` of Airflow's configuration.
    :param poll_interval: the longest pause between two polls of the instance, a timedelta or seconds. Default: 5
        seconds.
    :param timeout: how long EnOS may take, a timedelta or seconds. Default: one hour.
    :param poll_error_tolerance: how long EnOS may be out of reach while the task waits, a timedelta or seconds. Once
        EnOS has shown the instance, it may also refuse the keys or rights of the connection for as long. Default: 10
        minutes.
    :param enos_conn_id: the Airflow connection, of type ``enos``. Default: ``enos_default``.
    :param org_id: the EnOS organisation, in place of the organisation in the connection.
    :param user_id: the EnOS user, in place of the user in the connection. The user must own the instance.

    :raises EnosConfigError: (a ``ValueError``) from the constructor, for an argument that cannot work.
    :raises AirflowFailException: the instance had ended by itself (``EnosCancelError``), or the connection, a rendered
        argument, the credentials or the user's privileges do not allow it. The task is not retried.
    :raises AirflowSkipException: the instance had ended by itself, and ``on_ended`` is ``"skip"``.
    :raises EnosRequestError: EnOS does not know the instance.
    :raises EnosFlowTimeoutError: it was not cancelled within ``timeout``. The message has its status.
    :raises EnosPollLostError: EnOS was out of reach for longer than ``poll_error_tolerance``.
    :raises AirflowTaskTimeout: it was not cancelled within the task's ``execution_timeout``, which also holds while the
        task is deferred.
    """

    template_fields: Sequence[str] = ("flow_instance_id", *TENANT_FIELDS)
    operator_extra_links = (EnosFlowInstanceLink(),)
    _enos_arguments = {
        **WaitingOperator._enos_arguments,
        "flow_instance_id": Argument(arguments.instance, templated=True),
        "on_ended": Argument(one_of(OnEnded)),
    }

    flow_instance_id: str
    on_ended: OnEnded

    def __init__(
        self,
        *,
        flow_instance_id: str,
        on_ended: OnEnded = "fail",
        poll_interval: timedelta | float = 5.0,
        timeout: timedelta | float = timedelta(hours=1),
        **kwargs: Any,
    ) -> None:
        super().__init__(poll_interval=poll_interval, timeout=timeout, **kwargs)
        self._set(flow_instance_id=flow_instance_id, on_ended=on_ended)

    def execute(self, context: Context) -> str:
        """Ask EnOS to cancel the instance, wait until it is cancelled, and return its id."""
        return self._execution_in(context).execute(self.flow_instance_id)

    def execute_complete(
        self, context: Context, event: Any, deadline: float, task_deadline: float | None = None
    ) -> str:
        """Go on after the trigger has fired, and end as without deferral.

        :param deadline: when ``timeout`` is over, in epoch seconds.
        :param task_deadline: when ``execution_timeout`` is over, in epoch seconds.
        """
        self.link_may_be_stored = True
        return self._execution_in(context).resume(event, deadline=deadline, task_deadline=task_deadline)

    def _execution_in(self, context: Context) -> CancelExecution:
        from airflow_provider_enos.operators.cancel_execution import CancelExecution

        return CancelExecution(self, context, self.on_ended)
