"""A flow as a task group: every node is a task."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from os import PathLike
from typing import Any

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.operators.group_start import EnosFlowGroupStartOperator
from airflow_provider_enos.operators.node import EnosFlowNodeOperator
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.arguments import OnConflict
from airflow_provider_enos.protocol.flow_definition import DefinedNode, FlowDefinition
from airflow_provider_enos.protocol.follow.options import TaskLogs
from airflow_provider_enos.protocol.text import excerpt, shown
from airflow_provider_enos.task_groups.definition_file import read_definition
from airflow_provider_enos.version_compat import Label, TaskGroup

__all__ = ["EnosFlowTaskGroup"]

_START = "start"
_LONGEST_ID = 100
_MOST_NAMES = 5


class EnosFlowTaskGroup(TaskGroup):
    """An EnOS flow as a task group: a ``start`` task, and one task a node, with the flow's own edges::

        readings = EnosFlowTaskGroup("meter_readings", definition="flows/meter_readings.json")
        readings["aggregate"] >> quality_report()  # need not wait for the whole flow
        readings >> notify()

    ``start`` triggers the flow. The task of a node ends as the node ends in EnOS, and needs no worker while it waits
    (Airflow 3.3 and later). What does not run because another node failed is ``upstream_failed``.

    If the task of a node that failed is retried or cleared, it starts the flow again from the node that has to run
    again. If the task of a node that succeeded is cleared, it starts the flow from that node. Tasks downstream of it
    that were cleared with it wait for the same instance. Clear ``start`` and all downstream tasks to run everything.

    Nothing is asked of EnOS when the DAG is parsed. When ``start`` runs, it compares the definition with the flow, and
    fails before anything is sent if nodes, their names or their relations differ.

    Ids of tasks are the names of the nodes, cleaned. Where two are the same, or one is ``start``, the id of the node
    follows.

    Documentation: Batch Processing API, "Trigger Flow", "Trigger Flow From Task", "Get Flow", "Get Flow Instance".

    Template fields: ``trigger_time``, ``parameters``, ``enos_conn_id``, ``org_id``, ``user_id``.

    :param group_id: the id of the group.
    :param definition: what ``airflow enos export FLOW -o FILE`` has written: its path, relative to the file that makes
        the group, or the same as a dict.
    :param from_task_id: the node to start from. Then only this node and what is downstream of it are in the group.
        Default: the whole flow.
    :param from_task_name: the exact name of that node, in place of its id.
    :param parameters: as for ``EnosTriggerFlowOperator``; not with a node to start from. With parameters, a retry or a
        clear of a node starts the whole flow, since EnOS takes none with a node.
    :param trigger_time: as for the operators, like the next nine arguments. Default: the end of the data interval.
    :param on_conflict: what ``start`` does if somebody else's instance has the minute. Default: ``"next_minute"``.
    :param cancel_on_kill: whether to cancel the instance if ``start`` is killed or cleared, or the DAG run is marked
        failed (default). If the task of a single node is killed, the instance runs on.
    :param poll_interval: the longest pause between two polls, a timedelta or seconds. Default: 30 seconds.
    :param timeout: how long each node may take, from the moment at which its task begins. Default: 7 days.
    :param poll_error_tolerance: how long EnOS may be out of reach. Default: 10 minutes.
    :param task_logs: which logs to show in the tasks of nodes. Default: ``"failed"``.
    :param deferrable: whether the tasks of nodes wait without a worker. Default: True. A task that waits in a worker
        cannot tell the end of the DAG run from its own, so it cancels nothing.
    :param enos_conn_id: the Airflow connection, of type ``enos``. Default: ``enos_default``.
    :param org_id: the EnOS organisation, in place of the organisation in the connection.
    :param user_id: the EnOS user, in place of the user in the connection.
    :param kwargs: the arguments of Airflow's ``TaskGroup``: ``default_args`` (for ``retries``, ``pool``, callbacks and
        the like of all tasks), ``prefix_group_id``, ``tooltip``, ...

    :raises EnosConfigError: (a ``ValueError``) the definition or an argument cannot work.
    """

    def __init__(
        self,
        group_id: str,
        *,
        definition: str | PathLike[str] | Mapping[str, Any],
        from_task_id: int | str | None = None,
        from_task_name: str | None = None,
        parameters: Mapping[str, str | int] | None = None,
        trigger_time: Any = None,
        on_conflict: OnConflict | None = None,
        cancel_on_kill: bool | None = None,
        poll_interval: timedelta | float | None = None,
        timeout: timedelta | float | None = None,
        poll_error_tolerance: timedelta | float | None = None,
        task_logs: TaskLogs | None = None,
        deferrable: bool | None = None,
        enos_conn_id: str | None = None,
        org_id: str | None = None,
        user_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        flow, source = read_definition(definition)
        graph = _Graph(flow, _node_to_start_from(flow, from_task_id, from_task_name))
        super().__init__(group_id, **{"tooltip": f"EnOS flow {excerpt(flow.name, 100)} ({flow.flow_id})", **kwargs})
        shared = {
            "cancel_on_kill": cancel_on_kill,
            "timeout": timeout,
            "poll_interval": poll_interval,
            "poll_error_tolerance": poll_error_tolerance,
            "task_logs": task_logs,
            "enos_conn_id": enos_conn_id,
            "org_id": org_id,
            "user_id": user_id,
        }
        of_start = {"trigger_time": trigger_time, "on_conflict": on_conflict, "parameters": parameters}
        with self:
            # What is not given here may stand in default_args.
            self.start = EnosFlowGroupStartOperator(
                task_id=_START,
                flow_id=flow.flow_id,
                definition=flow,
                source=source,
                from_task_id=graph.first,
                **_given({**shared, **of_start}),
            )
            of_nodes = _given({**shared, "deferrable": deferrable})
            self._tasks = {
                node.task_id: self._node_task(flow, node, task_id, graph, of_nodes)
                for node, task_id in zip(graph.nodes, _task_ids(graph.nodes), strict=True)
            }
        self._connect(graph)

    def __getitem__(self, node: str | int) -> EnosFlowNodeOperator:
        """Return the task of a node, given its name or its id in EnOS. Raises ``KeyError``, naming what there is."""
        found = [one for one in self._tasks.values() if node in (one.node_name, one.node)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(f"{shown(one.node_name)} ({one.node})" for one in self._tasks.values())
        problem = "several nodes have this name: use the id" if found else "the group has no such node"
        raise KeyError(f"{node!r}: {problem}; it has {excerpt(names, 500)}")

    def _node_task(
        self, flow: FlowDefinition, node: DefinedNode, task_id: str, graph: _Graph, of_nodes: dict[str, Any]
    ) -> EnosFlowNodeOperator:
        if node.name.strip() and node.name != task_id:
            of_nodes = {**of_nodes, "task_display_name": node.name}
        return EnosFlowNodeOperator(
            task_id=task_id,
            flow_id=flow.flow_id,
            node=node.task_id,
            node_name=node.name or str(node.task_id),
            start_task_id=self.start.task_id,
            # A node that EnOS skips does not keep EnOS from running the next one.
            trigger_rule="none_failed" if graph.before[node.task_id] else "all_success",
            **of_nodes,
        )

    def _connect(self, graph: _Graph) -> None:
        for task_id, task in self._tasks.items():
            before: list[Any] = [self._tasks[one] for one in graph.before[task_id]] or [self.start]
            label = graph.label_before(task_id)
            for upstream in before:
                if label is None:
                    upstream >> task
                else:
                    upstream >> Label(label) >> task


class _Graph:
    """The nodes of a group, and the nodes that each of them runs after.

    :param first: the node to start from; None for the whole flow.
    """

    def __init__(self, flow: FlowDefinition, first: int | None) -> None:
        self.first = first
        after: dict[int, list[int]] = {node.task_id: [] for node in flow.nodes}
        self._all_before: dict[int, list[int]] = {node.task_id: [] for node in flow.nodes}
        for upstream, downstream in flow.relations:
            after[upstream].append(downstream)
            self._all_before[downstream].append(upstream)
        scope = set(after) if first is None else _reached_from(first, after)
        self._names = {node.task_id: node for node in flow.nodes}
        self.nodes = [node for node in flow.nodes if node.task_id in scope]
        self.before = {one: [node for node in self._all_before[one] if node in scope] for one in scope}

    def label_before(self, node: int) -> str | None:
        """Return the label of the edges to a node that say which nodes before it are left out."""
        left_out = [str(self._names[one]) for one in self._all_before[node] if one not in self.before]
        if not left_out:
            return None
        more = f" and {len(left_out) - _MOST_NAMES} more" if len(left_out) > _MOST_NAMES else ""
        return f"without {', '.join(left_out[:_MOST_NAMES])}{more}"


def _reached_from(first: int, after: Mapping[int, list[int]]) -> set[int]:
    found, left = {first}, [first]
    while left:
        new = [node for node in after[left.pop()] if node not in found]
        found.update(new)
        left += new
    return found


def _node_to_start_from(flow: FlowDefinition, from_task_id: int | str | None, from_task_name: str | None) -> int | None:
    if from_task_id is not None and from_task_name is not None:
        raise EnosConfigError("from_task_id", "from_task_name is given, too", accepted="one of the two")
    if from_task_id is not None:
        wanted = arguments.number(from_task_id, "from_task_id")
        found = [node.task_id for node in flow.nodes if node.task_id == wanted]
    elif from_task_name is not None:
        found = [node.task_id for node in flow.nodes if node.name == from_task_name]
    else:
        return None
    if len(found) != 1:
        field, value = ("from_task_id", from_task_id) if from_task_name is None else ("from_task_name", from_task_name)
        there = excerpt(", ".join(map(str, flow.nodes)), 500)
        how_many = "several nodes of the flow have it" if found else "the flow has no such node"
        raise EnosConfigError(field, f"{shown(value)}: {how_many}", accepted=f"one of {there}")
    return found[0]


def _task_ids(nodes: list[DefinedNode]) -> list[str]:
    """Return an id for the task of each node: its name, as Airflow allows it; with its id behind it if others meet."""
    names = {node.task_id: re.sub(r"[^\w-]+", "_", node.name).strip("_")[:_LONGEST_ID] or "node" for node in nodes}
    taken = {_START}
    while True:
        counts = Counter(names.values())
        meeting = [one for one, name in names.items() if counts[name] > 1 or name in taken]
        if not meeting:
            return [names[node.task_id] for node in nodes]
        for one in meeting:
            taken.add(names[one])
            names[one] = f"{names[one]}_{one}"


def _given(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
