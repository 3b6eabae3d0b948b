"""The task of a task group that starts the flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.operators.group_base import GroupStartOperator
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.utils.task_arguments import FLOW_FIELDS, TENANT_FIELDS, Argument, EnosArgumentError

if TYPE_CHECKING:
    from airflow_provider_enos.operators.group_start_execution import GroupStartExecution
    from airflow_provider_enos.protocol.flow_definition import FlowDefinition
    from airflow_provider_enos.protocol.start.targets import TargetChoice
    from airflow_provider_enos.version_compat import Context


class EnosFlowGroupStartOperator(GroupStartOperator):
    """Start the flow of a task group, and end. ``EnosFlowTaskGroup`` makes it.

    Before anything is sent, it compares the flow with its definition. It fails if a task of the group would show
    another node, or other relations, than EnOS runs.

    Template fields: ``flow_id``, ``flow_name``, ``parameters``, ``trigger_time``, ``enos_conn_id``, ``org_id``,
    ``user_id``.

    :param flow_id: the flow, as for ``EnosTriggerFlowOperator``, and so are ``parameters`` and the other arguments.
    :param from_task_id: the node to start from; None for the whole flow.
    :param definition: the flow as the group shows it.
    :param source: the file of the definition, for messages; None if it comes from none.
    """

    template_fields: Sequence[str] = (*FLOW_FIELDS, "parameters", "trigger_time", *TENANT_FIELDS)
    template_fields_renderers = {"parameters": "json"}
    _enos_arguments = {
        **GroupStartOperator._enos_arguments,
        "from_task_id": Argument(arguments.number_or_none),
        "parameters": Argument(arguments.parameters_or_none, templated=True),
    }

    from_task_id: int | None
    parameters: Mapping[str, str | int] | None

    def __init__(
        self,
        *,
        flow_id: int,
        definition: FlowDefinition,
        source: str | None,
        from_task_id: int | None = None,
        parameters: Mapping[str, str | int] | None = None,
        **kwargs: Any,
    ) -> None:
        # Given here, none of them comes from default_args. A group needs an instance that runs all of its nodes.
        super().__init__(
            flow_id=flow_id, flow_name=None, wait_for_completion=False, deferrable=False, retry_from="start", **kwargs
        )
        self._set(from_task_id=from_task_id, parameters=parameters)
        if parameters is not None and from_task_id is not None:
            problem, accepted = "Trigger Flow From Task takes none", "None, or a group of the whole flow"
            raise EnosArgumentError(self.task_id, EnosConfigError("parameters", problem, accepted=accepted))
        self.definition = definition
        self.source = source

    def choice(self) -> TargetChoice:
        """Return what to start. Raises ``EnosConfigError`` for a rendered argument that cannot work."""
        from airflow_provider_enos.protocol.start.targets import TargetChoice
        from airflow_provider_enos.protocol.wire.names import Choice

        node = None if self.from_task_id is None else Choice.of(self.from_task_id, None, "from_task")
        parameters = arguments.parameters_or_none(self.parameters) or None
        return TargetChoice(Choice.of(self.flow_id, None, "flow"), node, parameters)

    def _execution_in(self, context: Context) -> GroupStartExecution:
        from airflow_provider_enos.operators.group_start_execution import GroupStartExecution

        self._execution = execution = GroupStartExecution(self, context)
        return execution
