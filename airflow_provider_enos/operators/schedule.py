"""Switch the schedules of EnOS flows on and off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.operators.base import EnosOperator
from airflow_provider_enos.utils.task_arguments import (
    FLOW_ARGUMENTS,
    FLOW_FIELDS,
    TENANT_ARGUMENTS,
    TENANT_FIELDS,
)

if TYPE_CHECKING:
    from airflow_provider_enos.version_compat import Context


class _ScheduleOperator(EnosOperator):
    """The base of the two operators."""

    template_fields: Sequence[str] = (*FLOW_FIELDS, *TENANT_FIELDS)
    _enos_arguments = {**TENANT_ARGUMENTS, **FLOW_ARGUMENTS}
    _ids_and_names = (FLOW_FIELDS,)

    flow_id: int | str | None
    flow_name: str | None

    def __init__(self, *, flow_id: int | str | None = None, flow_name: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._set_one(flow_id=flow_id, flow_name=flow_name)

    def execute(self, context: Context) -> None:
        """Switch the schedule of the flow."""
        from airflow_provider_enos.protocol.wire.names import Choice, flow_id_of
        from airflow_provider_enos.utils.airflow_errors import airflow_errors
        from airflow_provider_enos.utils.kept_error import keeper

        with airflow_errors(keeper(self, context["ti"])):
            flow = Choice.of(self.flow_id, self.flow_name, "flow")
            self._switch(self.hook.client.run(flow_id_of(flow, self.log)))

    def _switch(self, flow_id: int) -> None:
        raise NotImplementedError


class EnosEnableFlowOperator(_ScheduleOperator):
    """Enable a flow: from now on EnOS's own schedule starts instances of it.

    Enabling a flow that is enabled already changes nothing.

    Documentation: Batch Processing API, "Enable Flow".

    Template fields: ``flow_id``, ``flow_name``, ``enos_conn_id``, ``org_id``, ``user_id``.

    :param flow_id: the flow, a whole number or its digits. Either this or ``flow_name`` is given.
    :param flow_name: the exact name of the flow, looked up when the task runs. Exactly one flow of the organisation
        must have it.
    :param enos_conn_id: the Airflow connection, of type ``enos``. Default: ``enos_default``.
    :param org_id: the EnOS organisation, in place of the organisation in the connection.
    :param user_id: the EnOS user, in place of the user in the connection. The user must own the flow.

    :raises EnosConfigError: (a ``ValueError``) from the constructor, for an argument that cannot work.
    :raises AirflowFailException: the connection, a rendered argument, the credentials or the user's privileges do not
        allow it, or the flow or the user is locked. The task is not retried.
    :raises EnosRequestError: EnOS does not know the flow of this id. A name that exactly one flow does not have is an
        ``AirflowFailException``.
    :raises EnosError: EnOS was out of reach. A retry does no harm.
    """

    def _switch(self, flow_id: int) -> None:
        self.hook.enable_flow(flow_id)
        self.log.info("Flow %s is enabled: its schedule starts instances", flow_id)


class EnosDisableFlowOperator(_ScheduleOperator):
    """Disable a flow: from now on EnOS's own schedule starts no instances of it. Instances that run are left alone.

    Documentation: Batch Processing API, "Disable Flow".

    Template fields, arguments and errors are the same as for ``EnosEnableFlowOperator``.
    """

    def _switch(self, flow_id: int) -> None:
        self.hook.disable_flow(flow_id)
        self.log.info("Flow %s is disabled: its schedule starts no instances", flow_id)
