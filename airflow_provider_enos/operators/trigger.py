"""Start EnOS flows, and follow the flow instances to their end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.links.enos import EnosFlowInstanceLink
from airflow_provider_enos.operators.base import StartingOperator
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.utils.openlineage import External, ReportsLineage, label_if_valid, number_if_valid
from airflow_provider_enos.utils.task_arguments import FLOW_FIELDS, TENANT_FIELDS, Argument

if TYPE_CHECKING:
    from airflow_provider_enos.operators.trigger_execution import TriggerExecution
    from airflow_provider_enos.protocol.start.targets import TargetChoice
    from airflow_provider_enos.version_compat import Context

_NODE_FIELDS = ("from_task_id", "from_task_name")


class TriggerOperator(StartingOperator, ReportsLineage):
    """The base of the operators that start a flow: what they do."""

    operator_extra_links = (EnosFlowInstanceLink(),)
    _execution: TriggerExecution | None = None

    def execute(self, context: Context) -> str:
        """Start the instance, wait until it has ended, and return its id."""
        return self._execution_in(context).execute()

    def execute_complete(
        self,
        context: Context,
        event: Any,
        taken_over: bool = False,
        deadline: float | None = None,
        task_deadline: float | None = None,
        restarted_from: int | None = None,
        flow_id: int | None = None,
        from_task_id: int | None = None,
    ) -> str:
        """Go on after the trigger has fired, and end as without deferral.

        :param taken_over: whether an earlier try has started the instance.
        :param deadline: when ``timeout`` is over, in epoch seconds.
        :param task_deadline: when ``execution_timeout`` is over, in epoch seconds.
        :param restarted_from: the node from which a retry has restarted the instance.
        :param flow_id: the flow, where its name or the node's name was looked up.
        :param from_task_id: the node, in the same case.
        """
        self.link_may_be_stored = True
        execution = self._execution_in(context)
        execution.note_target(flow_id, from_task_id)
        return execution.resume(
            event,
            taken_over=taken_over,
            deadline=deadline,
            task_deadline=task_deadline,
            restarted_from=restarted_from,
        )

    def on_kill(self) -> None:
        """Cancel the instance, in the 5 seconds that Airflow gives.

        If the reply to the trigger has not come yet, look for the instance that the request has started.
        """
        self.is_killed = True
        if self._execution is not None:
            self._execution.on_kill()

    def _execution_in(self, context: Context) -> TriggerExecution:
        from airflow_provider_enos.operators.trigger_execution import TriggerExecution

        self._execution = TriggerExecution(self, context)
        return self._execution

    def _external(self) -> External:
        started = None if self._execution is None else self._execution.flow_instance_id
        target = None if self._execution is None else self._execution.target
        return External(
            number_if_valid(self.flow_id) if target is None else target.flow_id,
            number_if_valid(getattr(self, "from_task_id", None)) if target is None else target.from_task_id,
            () if started is None else (started,),
            self._gateway,
            label_if_valid(self.flow_name),
            label_if_valid(getattr(self, "from_task_name", None)),
        )


class EnosTriggerFlowFromTaskOperator(TriggerOperator):
    """Start an EnOS flow from one of its task nodes, follow the flow instance, and end as the instance ends.

    The given node runs, and all nodes downstream of it. EnOS takes the trigger time as the business time: the business
    date ``calDt`` is the day before it. By default, the run of a daily DAG for 2 March triggers with 3 March 00:00, and
    EnOS computes 2 March, as Airflow means it.

    EnOS keeps one instance for each flow and minute. So a retry of the task takes over the instance that the try before
    it has started, unless that instance ended badly. A cleared task starts another instance.

    The id of the instance is in XCom before the wait begins, under ``flow_instance_id`` and as the return value.

    Documentation: Batch Processing API, "Trigger Flow From Task", "Get Flow Instance", "Cancel Flow Instance".

    Template fields: ``flow_id``, ``flow_name``, ``from_task_id``, ``from_task_name``, ``trigger_time``,
    ``enos_conn_id``, ``org_id``, ``user_id``.

    :param flow_id: the flow, a whole number or its digits. Either this or ``flow_name`` is given.
    :param flow_name: the exact name of the flow, for DAGs that move between environments, where ids differ. It is
        looked up when the task runs: exactly one flow of the organisation must have it. A retry uses the id that the
        try before it has found (Airflow 3.3 and later).
    :param from_task_id: the task node to start from (EnOS calls it taskId), a whole number or its digits. Either this
        or ``from_task_name`` is given.
    :param from_task_name: the exact name of that node. Exactly one node of the flow must have it.
    :param trigger_time: an aware datetime, ISO 8601 text with an offset, epoch milliseconds, or ``"now"``. Default: the
        end of the data interval, or ``run_after`` for a run without a data interval. EnOS waits until a trigger time
        that is in the future.
    :param wait_for_completion: whether to follow the instance to its end (default). If not, the task succeeds once the
        instance is started.
    :param deferrable: whether to wait in the triggerer and not in a worker. Default: ``default_deferrable`` in the
        section ``[operators]`` of Airflow's configuration.
    :param poll_interval: the longest pause between two polls of the instance, a timedelta or seconds. Default: 30
        seconds.
    :param timeout: how long the instance may take, a timedelta or seconds; each try begins anew. Default: 7 days.
    :param poll_error_tolerance: how long EnOS may be out of reach, or refuse the keys and rights of the connection: a
        timedelta or seconds. The connection is read again after each refusal. Default: 10 minutes.
    :param on_conflict: what to do if somebody else's instance of this flow has the minute of the trigger time.
        ``"next_minute"`` (default) takes the next free minute of that day. ``"attach"`` takes that instance over as if
        the task had started it, so a kill or a timeout cancels it. ``"fail"`` fails.
    :param retry_from: what a retry starts after an instance that failed or was cancelled. ``"start"`` (default) starts
        the same again. ``"failure"`` waits until nothing of that instance runs any more, and starts from the node that
        has to run again: nodes that had succeeded before it are kept. A first try, and a try after a clear, runs
        everything.
    :param cancel_on_kill: whether to cancel the instance if the task is killed (default): marked failed, marked as
        success or cleared while it runs or is deferred, over its ``execution_timeout``, or its worker shut down.
    :param cancel_on_timeout: whether to cancel the instance when ``timeout`` is over (default).
    :param task_logs: which logs of nodes to show in the task's log: ``"failed"`` (default), the last lines of failed
        nodes once the instance has ended badly; ``"all"``, the log of each node as it grows; ``"none"``.
    :param outlet_partition: the partition key of the asset events of ``outlets``, since Airflow 3.3: None (default),
        the key of the DAG run, if it has one; ``"business_date"``, the day that the instance computes. Only partitioned
        DAGs start for an event with a key. In a DAG with ``schedule=PartitionedAtRuntime()`` whose run has no key, the
        default is ``"business_date"``.
    :param enos_conn_id: the Airflow connection, of type ``enos``. Default: ``enos_default``.
    :param org_id: the EnOS organisation, in place of the organisation in the connection.
    :param user_id: the EnOS user, in place of the user in the connection.

    :raises EnosConfigError: (a ``ValueError``) from the constructor, for an argument that cannot work.
    :raises AirflowFailException: the connection, a rendered argument, the credentials, the flow or the node cannot
        work. The task is not retried.
    :raises AirflowSkipException: the instance was skipped in EnOS.
    :raises EnosFlowFailedError: the instance failed. The message names the failed nodes, with the last lines of their
        logs.
    :raises EnosFlowCancelledError: the instance was cancelled.
    :raises EnosFlowTimeoutError: the instance did not end within ``timeout``.
    :raises EnosPollLostError: EnOS was out of reach for longer than ``poll_error_tolerance``. The instance runs on.
    :raises AirflowTaskTimeout: the instance did not end within the task's ``execution_timeout``, which also holds while
        the task is deferred.
    :raises EnosTriggerUncertainError: it is not known whether an instance was started. A retry looks for it first.
    :raises EnosTriggerConflictError: the minute is taken, and ``on_conflict`` does not allow another one.
    """

    template_fields: Sequence[str] = (*FLOW_FIELDS, *_NODE_FIELDS, "trigger_time", *TENANT_FIELDS)
    _enos_arguments = {
        **TriggerOperator._enos_arguments,
        "from_task_id": Argument(arguments.number_or_none, templated=True),
        "from_task_name": Argument(arguments.label_or_none, templated=True),
    }
    _ids_and_names = (FLOW_FIELDS, _NODE_FIELDS)

    from_task_id: int | str | None
    from_task_name: str | None

    def __init__(
        self,
        *,
        flow_id: int | str | None = None,
        flow_name: str | None = None,
        from_task_id: int | str | None = None,
        from_task_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(flow_id=flow_id, flow_name=flow_name, **kwargs)
        self._set_one(from_task_id=from_task_id, from_task_name=from_task_name)

    def choice(self) -> TargetChoice:
        """Return what to start. Raises ``EnosConfigError`` for a rendered argument that cannot work."""
        from airflow_provider_enos.protocol.start.targets import TargetChoice
        from airflow_provider_enos.protocol.wire.names import Choice

        node = Choice.of(self.from_task_id, self.from_task_name, "from_task")
        return TargetChoice(Choice.of(self.flow_id, self.flow_name, "flow"), node)


class EnosTriggerFlowOperator(TriggerOperator):
    """Start a whole EnOS flow, follow the flow instance, and end as the instance ends.

    Trigger times, retries, clears, waiting and XCom work as for ``EnosTriggerFlowFromTaskOperator``. Its arguments
    other than ``from_task_id`` and ``from_task_name``, and the errors that it raises, are the same here. With
    ``parameters``, a retry with ``retry_from="failure"`` starts the whole flow, since Trigger Flow From Task takes no
    parameters.

    Documentation: Batch Processing API, "Trigger Flow", "Update And Trigger Flow".

    Template fields: ``flow_id``, ``flow_name``, ``parameters``, ``trigger_time``, ``enos_conn_id``, ``org_id``,
    ``user_id``.

    :param flow_id: the flow, a whole number or its digits. Either this or ``flow_name`` is given.
    :param flow_name: the exact name of the flow, as for ``EnosTriggerFlowFromTaskOperator``.
    :param parameters: a mapping from name to text, for this one run; the stored parameters of the flow do not change.
        None (default) or empty: the flow runs with its stored parameters. A whole number is sent as its digits, since
        ``render_template_as_native_obj`` turns texts into numbers. Values of other types are refused.
    """

    template_fields: Sequence[str] = (*FLOW_FIELDS, "parameters", "trigger_time", *TENANT_FIELDS)
    template_fields_renderers = {"parameters": "json"}
    _enos_arguments = {
        **TriggerOperator._enos_arguments,
        "parameters": Argument(arguments.parameters_or_none, templated=True),
    }

    parameters: Mapping[str, str | int] | None

    def __init__(
        self,
        *,
        flow_id: int | str | None = None,
        flow_name: str | None = None,
        parameters: Mapping[str, str | int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(flow_id=flow_id, flow_name=flow_name, **kwargs)
        self._set(parameters=parameters)

    def choice(self) -> TargetChoice:
        """Return what to start. Raises ``EnosConfigError`` for a rendered argument that cannot work."""
        from airflow_provider_enos.protocol.start.targets import TargetChoice
        from airflow_provider_enos.protocol.wire.names import Choice

        parameters = arguments.parameters_or_none(self.parameters) or None
        return TargetChoice(Choice.of(self.flow_id, self.flow_name, "flow"), parameters=parameters)
