"""What the tasks of a task group are, for the modules that run them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_enos.operators.base import WaitingOperator
from airflow_provider_enos.operators.trigger import TriggerOperator
from airflow_provider_enos.utils.start_in_triggerer import StartsInTriggerer

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.flow_definition import FlowDefinition
    from airflow_provider_enos.protocol.follow.options import TaskLogs
    from airflow_provider_enos.utils.outlets import OutletPartition


class NodeOperator(StartsInTriggerer, WaitingOperator):
    """The base of the task of a node: see ``EnosFlowNodeOperator``."""

    flow_id: int
    node: int
    node_name: str
    start_task_id: str
    task_logs: TaskLogs
    outlet_partition: OutletPartition | None
    cancel_on_kill: bool
    is_killed: bool
    """Whether Airflow has called ``on_kill``."""

    @property
    def trigger_arguments(self) -> dict[str, Any]:
        """The arguments of the trigger that are the arguments of the operator."""
        return {
            "node": self.node,
            "start_task_id": self.start_task_id,
            "enos_conn_id": self.enos_conn_id,
            "poll_interval": self.poll_interval,
            "poll_error_tolerance": self.poll_error_tolerance,
            "cancel_on_kill": self.cancel_on_kill,
            "show_log": self.task_logs == "all",
            "ends_task": self.task_logs != "all",
            "known": True,
            "org_id": self.org_id,
            "user_id": self.user_id,
        }

    @property
    def nodes_beside(self) -> list[int]:
        """The other nodes of the group."""
        return [task.node for task in node_tasks(self) if task.node != self.node]


class GroupStartOperator(TriggerOperator):
    """The base of the task that starts the flow of a group: see ``EnosFlowGroupStartOperator``."""

    definition: FlowDefinition
    source: str | None

    @property
    def node_task_ids(self) -> list[str]:
        """The ids of the tasks of the group's nodes."""
        return [task.task_id for task in node_tasks(self)]


def node_tasks(task: Any) -> list[NodeOperator]:
    """Return the tasks of the nodes in the group of ``task``."""
    group = task.task_group
    return [] if group is None else [one for one in group.children.values() if isinstance(one, NodeOperator)]
