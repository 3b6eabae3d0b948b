"""Wait for an EnOS flow instance whose id is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.sensors.base import EnosSensor
from airflow_provider_enos.utils.openlineage import External, number_if_valid
from airflow_provider_enos.utils.task_arguments import TENANT_FIELDS, Argument

if TYPE_CHECKING:
    from airflow_provider_enos.sensors.flow_instance_execution import FlowInstanceExecution
    from airflow_provider_enos.version_compat import Context


class EnosFlowInstanceSensor(EnosSensor):
    """Wait until a flow instance has ended, and end as the instance ends.

    ``flow_instance_id`` takes the output of an operator that started the instance::

        started = EnosTriggerFlowFromTaskOperator(..., wait_for_completion=False)
        EnosFlowInstanceSensor(task_id="wait", flow_instance_id=started.output, mode="reschedule")

    If the instance succeeds, the task succeeds and returns its id. If it is skipped, the task is skipped. If it fails
    or is cancelled, the task raises one of the errors below, or is skipped with ``soft_fail``.

    In ``reschedule`` mode before Airflow 3.3 nothing is kept between two polls. So errors of the network are tolerated
    there until ``timeout``.

    Documentation: Batch Processing API, "Get Flow Instance", "Get Task Instance Log".

    Template fields: ``flow_instance_id``, ``enos_conn_id``, ``org_id``, ``user_id``.

    :param flow_instance_id: the instance, such as ``3377-20200706062600``.
    :param deferrable: whether to wait in the triggerer and not in a worker. Default: ``default_deferrable`` in the
        section ``[operators]`` of Airflow's configuration.
    :param start_from_trigger: whether to start in the triggerer, without a worker, and to end there if the instance has
        succeeded or was skipped. Default: False. ``user_defined_macros`` do not work there. Where Airflow cannot start
        it there, the task says so and defers from a worker: before Airflow 3.3, whose triggers render no templates; for
        a mapped task or a task in a mapped task group; and if an argument is neither a template nor the plain output of
        a task that is not mapped. In a template of your own give ``xcom_pull`` its ``map_indexes``: without it,
        Airflow's triggerer cannot render the template.
    :param poll_error_tolerance: how long EnOS may be out of reach, or refuse the keys and rights of the connection: a
        timedelta or seconds. The connection is read again after each refusal. Default: 10 minutes.
    :param task_logs: which logs of nodes to show in the task's log: ``"failed"`` (default), the last lines of failed
        nodes once the instance has ended badly; ``"all"``, the log of each node as it grows (in ``reschedule`` mode
        before Airflow 3.3: at the end); ``"none"``.
    :param outlet_partition: the partition key of the asset events of ``outlets``, as for the operators. Default: the
        key of the DAG run, if it has one.
    :param enos_conn_id: the Airflow connection, of type ``enos``. Default: ``enos_default``.
    :param org_id: the EnOS organisation, in place of the organisation in the connection.
    :param user_id: the EnOS user, in place of the user in the connection.
    :param kwargs: the arguments of every sensor: ``poke_interval`` (60 s), ``timeout`` (anew for each try), ``mode``,
        ``silent_fail`` (keep waiting after any failed poll), ``soft_fail``, ``execution_timeout``, ...

    :raises EnosConfigError: (a ``ValueError``) from the constructor, for an argument that cannot work.
    :raises AirflowFailException: a rendered argument cannot work. The task is not retried.
    :raises AirflowSkipException: the instance was skipped in EnOS.
    :raises EnosFlowFailedError: the instance failed. The message names the failed nodes, with the last lines of their
        logs.
    :raises EnosFlowCancelledError: the instance was cancelled.
    :raises EnosRequestError: EnOS does not know the instance.
    :raises EnosPollLostError: EnOS was out of reach for longer than ``poll_error_tolerance``.
    :raises AirflowSensorTimeout: the instance did not end within ``timeout``.
    :raises AirflowTaskTimeout: the instance did not end within the task's ``execution_timeout``, which also holds while
        the task is deferred.
    """

    template_fields: Sequence[str] = ("flow_instance_id", *TENANT_FIELDS)
    _enos_arguments = {
        **EnosSensor._enos_arguments,
        "flow_instance_id": Argument(arguments.instance, templated=True),
    }

    flow_instance_id: str

    def __init__(self, *, flow_instance_id: str, start_from_trigger: bool = False, **kwargs: Any) -> None:
        super().__init__(start_from_trigger=start_from_trigger, **kwargs)
        self._set(flow_instance_id=flow_instance_id)
        if start_from_trigger:
            self._start_from_trigger(
                "EnosFlowInstanceTrigger", ["flow_instance_id"], cancel_on_kill=False, push_link=True
            )

    @property
    def trigger_arguments(self) -> dict[str, Any]:
        """The arguments of the trigger that are the arguments of the sensor."""
        return {**super().trigger_arguments, "show_logs": self.task_logs == "all"}

    def _execution_in(self, context: Context) -> FlowInstanceExecution:
        from airflow_provider_enos.sensors.flow_instance_execution import FlowInstanceExecution

        return FlowInstanceExecution(self, context, self.flow_instance_id)

    def _external(self) -> External:
        ids = self._reported_ids()
        known = ids[-1] if ids else self.flow_instance_id
        flow_id = number_if_valid(known.partition("-")[0]) if isinstance(known, str) else None
        return External(flow_id, flow_instance_ids=ids, gateway=self._gateway if ids else None)
