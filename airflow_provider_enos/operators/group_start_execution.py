"""What the ``start`` task of a group does when it runs in a worker. Parsing a DAG file needs none of it."""

from __future__ import annotations

from contextlib import suppress
from shlex import quote
from time import time
from typing import TYPE_CHECKING

from airflow_provider_enos.errors import (
    EnosConfigError,
    EnosError,
    EnosNotFoundError,
    EnosTriggerError,
    EnosTriggerTargetError,
)
from airflow_provider_enos.operators.group_base import GroupStartOperator
from airflow_provider_enos.operators.trigger_execution import TriggerExecution
from airflow_provider_enos.protocol.flow_definition import FlowDefinition
from airflow_provider_enos.protocol.flow_differences import differences
from airflow_provider_enos.protocol.start.group import GroupInstance, GroupStart
from airflow_provider_enos.protocol.start.pauses import Backoff
from airflow_provider_enos.protocol.text import is_instance_id
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.utils.group_record import GroupRecord
from airflow_provider_enos.version_compat import xcom

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import Flow, FlowInstance
    from airflow_provider_enos.protocol.start.attempts import Attempt, Target
    from airflow_provider_enos.protocol.start.states import Started
    from airflow_provider_enos.protocol.wire.messages import Procedure
    from airflow_provider_enos.version_compat import Context

_MOST_SHOWN = 5


class GroupStartExecution(TriggerExecution):
    """Start the flow of a group, or take over what an earlier try has started, and put it on record for the nodes."""

    _operator: GroupStartOperator

    def __init__(self, operator: GroupStartOperator, context: Context) -> None:
        super().__init__(operator, context)

    @property
    def _cancels_predecessor(self) -> bool:
        return self._operator.cancel_on_kill

    def _before_start(self, target: Target, attempt: Attempt, deadline: float) -> None:
        if attempt.tries_to_look_for == 0:
            # Otherwise an earlier try may have started an instance, which has to be taken over.
            self._check_definition(target.flow_id, deadline)
        if attempt.fresh and attempt.try_number > 1 and self._cancels_predecessor:
            self._cancel_restarted(target.flow_id)

    def _start(self, deadline: float) -> Started:
        started = super()._start(deadline)
        intent = self._record.last if self._record else None
        if intent is None or self.target is None:
            raise AssertionError("what has been started is on record")
        target = self.target
        first = GroupInstance(started.flow_instance_id, target.from_task_id, intent.index)
        parameters = None if target.parameters is None else dict(target.parameters)
        start = GroupStart(target.flow_id, intent.trigger_time, first, intent.origin, parameters)
        try:
            GroupRecord(self._ti, self._ti.task_id).begin(start)
        except Exception as error:
            # No task could follow the instance. A retry starts another one.
            if self._operator.cancel_on_kill:
                self._kill_client.cancel(started.flow_instance_id, "No task could follow it")
            raise EnosTriggerError(f"what was started cannot be stored in XCom: {error}") from error
        return started

    def _check_definition(self, flow_id: int, deadline: float) -> None:
        """Raise ``EnosConfigError`` if the flow is not as the group shows it."""
        backoff = Backoff(self._operator.poll_error_tolerance, deadline, time, self._log)
        flow = self._hook.client.run(backoff.repeat(lambda: _flow(flow_id)), while_sleeping=self._check_while_starting)
        there, now, source = self._operator.definition, FlowDefinition.of(flow), self._operator.source
        found = [str(one) for one in differences(there, now) if one.changes_graph]
        if found:
            more = [f"and {len(found) - _MOST_SHOWN} more differences"] if len(found) > _MOST_SHOWN else []
            command = f"airflow enos export {flow_id}{f' -o {quote(source)}' if source else ''}"
            raise EnosConfigError(
                "definition",
                f"flow {flow_id} is not as {source or 'it'} says: {'; '.join([*found[:_MOST_SHOWN], *more])}",
                accepted=f"the flow as it is: {command}",
            )

    def _cancel_restarted(self, flow_id: int) -> None:
        """Cancel what tasks of nodes have left running in the round before the clear."""
        for flow_instance_id in self._ids_of_nodes(flow_id):
            try:
                instance: FlowInstance = self._hook.client.call(calls.get_flow_instance(flow_instance_id))
                if not instance.status.ended:
                    self._hook.client.call(calls.cancel_flow_instance(flow_instance_id))
                    said = "The group was cleared while flow instance %s (%s) was running: asked EnOS to cancel it"
                    self._log.warning(said, flow_instance_id, str(instance.status))
            except EnosError as error:
                self._log.warning("Cannot cancel flow instance %s of before the clear: %s", flow_instance_id, error)

    def _ids_of_nodes(self, flow_id: int) -> list[str]:
        """Return the instances of the flow that the tasks of nodes have waited for."""
        found: set[str] = set()
        for task_id in self._operator.node_task_ids:
            value = None
            with suppress(Exception):
                value = xcom().get_one(
                    key="flow_instance_id",
                    dag_id=self._ti.dag_id,
                    task_id=task_id,
                    run_id=self._ti.run_id,
                    map_index=self._ti.map_index,
                )
            if isinstance(value, str) and is_instance_id(value) and value.startswith(f"{flow_id}-"):
                found.add(value)
        return sorted(found)


def _flow(flow_id: int) -> Procedure[Flow]:
    try:
        flow: Flow = yield calls.get_flow(flow_id)
    except EnosNotFoundError as error:
        raise EnosTriggerTargetError(f"flow_id: EnOS has no flow {flow_id} ({error})") from error
    return flow
