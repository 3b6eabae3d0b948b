"""The task of one node in a task group."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.links.enos import EnosFlowInstanceLink
from airflow_provider_enos.operators.group_base import NodeOperator
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.follow.options import TaskLogs
from airflow_provider_enos.utils.deferral import default_deferrable
from airflow_provider_enos.utils.openlineage import External, ReportsLineage
from airflow_provider_enos.utils.outlets import OutletPartition, partition_or_none
from airflow_provider_enos.utils.task_arguments import (
    TENANT_ARGUMENTS,
    TENANT_FIELDS,
    WAITING_ARGUMENTS,
    Argument,
    one_of,
)
from airflow_provider_enos.version_compat import BaseOperator

if TYPE_CHECKING:
    from airflow_provider_enos.operators.node_execution import NodeExecution
    from airflow_provider_enos.version_compat import Context


class EnosFlowNodeOperator(NodeOperator, ReportsLineage):
    """Wait until one node of a flow instance has ended, and end as the node ends. ``EnosFlowTaskGroup`` makes them.

    The task waits for the newest instance of its group that runs the node. A further try whose node has not succeeded
    there starts another instance, from the node that has to run again; a try after a clear of a success starts one from
    the node itself. Otherwise it only waits.

    If the DAG run is marked failed, the instance is cancelled. If only the task is marked or cleared, it runs on, since
    other nodes do.

    Documentation: Batch Processing API, "Get Flow Instance", "Trigger Flow From Task".

    Template fields: ``flow_id``, ``node``, ``enos_conn_id``, ``org_id``, ``user_id``.

    :param flow_id: the flow.
    :param node: the node. EnOS calls it taskId.
    :param node_name: its name, for messages.
    :param start_task_id: the task of the group that starts the flow.
    :param task_logs: which logs of the node to show: ``"failed"`` (default), the end of its log if it failed;
        ``"all"``, its log as it grows; ``"none"``.
    :param outlet_partition: as for the operators.
    :param cancel_on_kill: whether to cancel the instance if the DAG run is marked failed (default).
    :param deferrable: whether to wait without a worker. Default: True. In a worker, a task cannot tell the end of the
        DAG run from its own, so it cancels nothing.
    :param kwargs: ``poll_interval``, ``timeout``, ``poll_error_tolerance``, ``enos_conn_id``, ``org_id``, ``user_id``,
        as for ``EnosTriggerFlowFromTaskOperator``, and the arguments of every operator. When ``timeout`` is over, the
        instance runs on.

    :raises EnosConfigError: (a ``ValueError``) from the constructor, for an argument that cannot work.
    :raises AirflowSkipException: the node was skipped in EnOS.
    :raises EnosFlowFailedError: the node failed, or did not run. The message has the line of its log that says why.
    :raises EnosFlowCancelledError: the node or the instance was cancelled.
    :raises EnosFlowTimeoutError: the node did not end within ``timeout``.
    :raises EnosPollLostError: EnOS was out of reach for longer than ``poll_error_tolerance``. The instance runs on.
    :raises EnosTriggerError: another instance had to be started, and could not be.
    """

    template_fields: Sequence[str] = ("flow_id", "node", *TENANT_FIELDS)
    operator_extra_links = (EnosFlowInstanceLink(),)
    _enos_arguments = {
        **TENANT_ARGUMENTS,
        **{name: one for name, one in WAITING_ARGUMENTS.items() if name != "wait_for_completion"},
        "flow_id": Argument(arguments.number, templated=True),
        "node": Argument(arguments.number),
        "cancel_on_kill": Argument(arguments.flag),
        "task_logs": Argument(one_of(TaskLogs)),
        "outlet_partition": Argument(partition_or_none),
    }
    _execution: NodeExecution | None = None

    def __init__(
        self,
        *,
        flow_id: int,
        node: int,
        node_name: str,
        start_task_id: str,
        task_logs: TaskLogs = "failed",
        outlet_partition: OutletPartition | None = None,
        cancel_on_kill: bool = True,
        deferrable: bool | None = True,
        poll_interval: timedelta | float = 30.0,
        timeout: timedelta | float = timedelta(days=7),
        poll_error_tolerance: timedelta | float = timedelta(minutes=10),
        enos_conn_id: str = EnosHook.default_conn_name,
        org_id: str | None = None,
        user_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        # Not by way of the classes between: a group has many tasks, and Airflow fills in defaults for each constructor.
        BaseOperator.__init__(self, **kwargs)
        self._set(
            flow_id=flow_id,
            node=node,
            cancel_on_kill=cancel_on_kill,
            task_logs=task_logs,
            outlet_partition=outlet_partition,
            deferrable=default_deferrable() if deferrable is None else deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            poll_error_tolerance=poll_error_tolerance,
            enos_conn_id=enos_conn_id,
            org_id=org_id,
            user_id=user_id,
        )
        self.node_name = node_name
        self.start_task_id = start_task_id
        self.is_killed = False
        if self.deferrable:
            self._start_in_triggerer(
                "airflow_provider_enos.triggers.node.EnosFlowNodeTrigger",
                {name: getattr(self, name) for name in TENANT_FIELDS},
                {
                    "timeout": min(self.timeout, self.execution_seconds),
                    "do_xcom_push": self.do_xcom_push,
                    **self.trigger_arguments,
                },
            )

    def execute(self, context: Context) -> str:
        """Wait for the node, and return the id of the flow instance."""
        return self._execution_in(context).execute()

    def execute_complete(
        self,
        context: Context,
        event: Any,
        deadline: float | None = None,
        task_deadline: float | None = None,
        for_rest: bool = False,
    ) -> str:
        """Go on after the trigger has fired, and end as without deferral.

        :param deadline: when ``timeout`` is over, in epoch seconds.
        :param task_deadline: when ``execution_timeout`` is over, in epoch seconds.
        :param for_rest: whether the trigger has waited until nothing of the instance ran.
        """
        self.link_may_be_stored = True
        return self._execution_in(context).resume(
            event, deadline=deadline, task_deadline=task_deadline, for_rest=for_rest
        )

    def on_kill(self) -> None:
        """Cancel the instance that this task was about to start. An instance that the group waits for runs on."""
        self.is_killed = True
        if self._execution is not None:
            self._execution.on_kill()

    def _execution_in(self, context: Context) -> NodeExecution:
        from airflow_provider_enos.operators.node_execution import NodeExecution

        self._execution = NodeExecution(self, context)
        return self._execution

    def _external(self) -> External:
        at = None if self._execution is None else self._execution.flow_instance_id
        return External(self.flow_id, self.node, () if at is None else (at,), self._gateway)
