"""The flows that there are, and the directories that they lie in."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from dataclasses import replace
from threading import RLock
from typing import Any

from airflow_provider_enos.simulator.directories import ROOT, ROOT_DIRECTORY, Directory
from airflow_provider_enos.simulator.flows import Flow


class SameName(ValueError):
    """The parent directory already holds a directory of this name."""


class Catalog:
    """All flows and directories. Any thread may call it.

    :param lock: held during each call; hold it to make several calls one.
    """

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self._flows: dict[int, Flow] = {}
        self._directories = {ROOT: ROOT_DIRECTORY}
        self._highest_flow = self._highest_task = 0

    def flow(self, flow_id: int) -> Flow | None:
        """Return the flow, or None."""
        with self._lock:
            return self._flows.get(flow_id)

    def flows(self) -> list[Flow]:
        """Return all flows, temporary copies included."""
        with self._lock:
            return list(self._flows.values())

    def add_flows(self, flows: Collection[Flow]) -> None:
        """Add flows; replace flows with the same ids. Existing instances keep the flow that they were created from.

        All are added or none: raise ValueError where one lies in a directory, or relies on a flow, that does not exist.
        """
        with self._lock:
            flow_ids = self._flows.keys() | {flow.flow_id for flow in flows}
            for flow in flows:
                self._check_references(flow, flow_ids)
            for flow in flows:
                self._put(flow)

    def change_flow(self, flow_id: int, **changes: Any) -> None:
        """Change fields of a flow. Raise KeyError for an unknown flow, ValueError for values that make no sense."""
        with self._lock:
            changed = replace(self._flows[flow_id], **changes)
            self._check_references(changed, self._flows.keys())
            self._put(changed)

    def new_flow(self, make: Callable[[int, int], Flow], wanted: int | None = None) -> Flow:
        """Add the flow that ``make(flow_id, first_free_task_id)`` returns. Its id is ``wanted`` if that is free."""
        with self._lock:
            flow_id = self._highest_flow + 1 if wanted is None or wanted in self._flows else wanted
            flow = make(flow_id, self._highest_task + 1)
            self.add_flows([flow])
            return flow

    def remove_flow(self, flow_id: int) -> set[int]:
        """Remove a flow and its temporary copies. Return the ids of all of them."""
        with self._lock:
            removed = {flow_id} | {flow.flow_id for flow in self._flows.values() if flow.copy_of == flow_id}
            self._flows = {kept: flow for kept, flow in self._flows.items() if kept not in removed}
            return removed

    def name_is_taken(self, name: str, except_by: int | None = None) -> bool:
        """Return whether a flow other than ``except_by`` has this name."""
        return any(flow.name == name and flow.copy_of is None and flow.flow_id != except_by for flow in self.flows())

    def task_ids(self) -> set[int]:
        """Return the ids of the nodes of all flows."""
        return {task for flow in self.flows() for task in flow.tasks}

    def is_relied_on(self, flow_id: int) -> bool:
        """Return whether another flow relies on this one, or on a node of it."""
        return any(link.flow_id == flow_id for other in self._others(flow_id) for link in other.links)

    def linked_tasks(self, flow_id: int) -> set[int]:
        """Return the nodes of a flow that other flows rely on."""
        links = [link for other in self._others(flow_id) for link in other.links]
        return {link.task_id for link in links if link.flow_id == flow_id and link.task_id is not None}

    def directories(self) -> list[Directory]:
        """Return all directories, in the order of creation; the first is the root."""
        with self._lock:
            return list(self._directories.values())

    def add_directory(self, title: str, parent: str = ROOT, id: str | None = None) -> Directory:
        """Create a directory. Raise KeyError for an unknown parent, SameName for a name that the parent has already."""
        with self._lock:
            self._directories[parent]
            if any(one.parent == parent and one.title == title for one in self._directories.values()):
                raise SameName(f"there is a directory {title!r} in that place")
            created = Directory(id or secrets.token_hex(16), title, parent)
            self._directories[created.id] = created
            return created

    def _put(self, flow: Flow) -> None:
        self._flows[flow.flow_id] = flow
        # Ids of deleted flows are not given to others, so these never go down.
        self._highest_flow = max(self._highest_flow, flow.flow_id)
        self._highest_task = max(self._highest_task, *flow.tasks, 0)

    def _check_references(self, flow: Flow, flow_ids: Collection[int]) -> None:
        missing = {link.flow_id for link in flow.links} - set(flow_ids)
        # A temporary copy does not prevent the deletion of what it relies on.
        if missing and flow.copy_of is None:
            raise ValueError(f"there is no flow {missing.pop()} for flow {flow.flow_id} to rely on")
        if flow.directory not in self._directories:
            raise ValueError(f"there is no directory {flow.directory!r} for flow {flow.flow_id}")

    def _others(self, flow_id: int) -> list[Flow]:
        return [flow for flow in self.flows() if flow.copy_of is None and flow.flow_id != flow_id]
