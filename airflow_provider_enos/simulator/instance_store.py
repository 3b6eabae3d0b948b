"""The instances of all flows, and how they progress.

An instance is ``INIT`` before its trigger time, ``WAIT`` while another instance of its flow runs, ``READY`` when its
turn has come, then ``RUNNING`` until the end that its flow is set to have. One failed node makes the instance
``FAIL`` at once, though other branches run on. When they have ended, it has an end time, and the next one may start.

Nothing here runs in the background: instances are brought up to date whenever somebody looks at them.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import RLock

from airflow_provider_enos.simulator.catalog import Catalog
from airflow_provider_enos.simulator.config import Config, Progress
from airflow_provider_enos.simulator.flows import PERIODIC, Flow, check_end_status
from airflow_provider_enos.simulator.instances import (
    STATUS_CODES,
    Instance,
    NodeInstance,
    StoredInstance,
    id_stamp,
    minute_of,
)
from airflow_provider_enos.simulator.timetable import progress_of, share_done


class Conflict(ValueError):
    """The flow has an instance of that minute."""


@dataclass
class _Queue:
    """The instances of one flow: the minutes that are taken, and those that have not ended, in order of arrival."""

    minutes: set[int] = field(default_factory=set)
    unended: list[StoredInstance] = field(default_factory=list)
    last_triggered: int | None = None
    free_since: int = 0
    """When the last instance ended."""

    def running(self) -> StoredInstance | None:
        return next((instance for instance in self.unended if instance.started_at is not None), None)


class InstanceStore:
    """All instances. Any thread may call it.

    :param lock: held during each call.
    """

    def __init__(self, config: Config, catalog: Catalog, lock: RLock) -> None:
        self._config = config
        self._catalog = catalog
        self._lock = lock
        self._queues: defaultdict[int, _Queue] = defaultdict(_Queue)
        self._instances: dict[str, StoredInstance] = {}
        self._nodes: dict[str, tuple[StoredInstance, int]] = {}

    def run_schedule(self, flow_id: int, trigger_time: int) -> Instance | None:
        """Start what the schedule of a flow starts at that time.

        Return None if it starts nothing: the schedule is off or not yet in effect, or the flow has none. Raise
        Conflict, and KeyError for an unknown flow.
        """
        with self._lock:
            flow = self._flow(flow_id)
            day = datetime.fromtimestamp(trigger_time / 1000, self._config.zone)
            if flow.type != PERIODIC or not flow.active or f"{day:%Y-%m-%d}" < flow.start_time:
                return None
            return self.trigger(flow_id, None, trigger_time, type=PERIODIC)

    def trigger(
        self,
        flow_id: int,
        from_task_id: int | None,
        trigger_time: int,
        *,
        parameters: Mapping[str, str] | None = None,
        type: int | None = None,
        created_at: int | None = None,
    ) -> Instance:
        """Create an instance.

        Raise Conflict where the minute rule forbids it, KeyError for an unknown flow or node.

        :param from_task_id: the node to start from; None: the whole flow runs.
        :param parameters: for this instance only; None: the flow's own.
        :param created_at: in milliseconds; None: now.
        """
        with self._lock:
            flow = self._flow(flow_id)
            if from_task_id is not None and from_task_id not in flow.tasks:
                raise KeyError(from_task_id)
            now = self._config.now_ms() if created_at is None else created_at
            instance_id = self._new_id(flow, trigger_time, now, periodic=type == PERIODIC)
            keeps_stored = parameters is None or self._config.omitted_parameters == "kept"
            instance = StoredInstance(
                id=instance_id,
                flow=flow,
                trigger_time=trigger_time,
                created_at=now,
                from_task_id=from_task_id,
                parameters={**(flow.parameters if keeps_stored else {}), **(parameters or {})},
                type=type,
                nodes=dict.fromkeys(flow.tasks, "INIT"),
                follows=self._config.from_task_follows,
            )
            self.put(instance)
            return self._snapshot(instance)

    def add_past(self, flow: Flow, trigger_time: int) -> None:
        """Add an instance that the schedule started at that time, and that has ended. Raise Conflict."""
        with self._lock:
            instance = StoredInstance(
                id=self._new_id(flow, trigger_time, trigger_time, periodic=True),
                flow=flow,
                trigger_time=trigger_time,
                created_at=trigger_time,
                from_task_id=None,
                parameters=dict(flow.parameters),
                type=PERIODIC,
                nodes=dict.fromkeys(flow.tasks, "INIT"),
                started_at=trigger_time,
            )
            plan = instance.plan(Progress("nodes"))
            instance.show(plan, 1.0, trigger_time + round(plan.length * 1000))
            self.put(instance)

    def put(self, instance: StoredInstance) -> None:
        """Add an instance that exists already, such as one from a state file."""
        with self._lock:
            queue = self._queues[instance.flow.flow_id]
            queue.minutes.add(minute_of(instance.trigger_time))
            queue.last_triggered = max(instance.created_at, queue.last_triggered or 0)
            if instance.ended_at is None:
                queue.unended.append(instance)
            else:
                queue.free_since = max(queue.free_since, instance.ended_at)
            self._instances[instance.id] = instance
            self._nodes.update({instance.task_instance_id(task): (instance, task) for task in instance.flow.tasks})

    def remove_of(self, flow_ids: Collection[int]) -> None:
        """Remove all instances of these flows."""
        with self._lock:
            for flow_id in flow_ids:
                self._queues.pop(flow_id, None)
            self._instances = {one.id: one for one in self._instances.values() if one.flow.flow_id not in flow_ids}
            self._nodes = {name: found for name, found in self._nodes.items() if found[0].id in self._instances}

    def is_running(self, flow_id: int) -> bool:
        """Return whether an instance of the flow runs."""
        with self._lock:
            queue = self._queues[flow_id]
            self._update_queue(queue)
            return queue.running() is not None

    def stored(self) -> list[StoredInstance]:
        """Return copies of all instances, up to date, in order of arrival."""
        with self._lock:
            for instance in self._instances.values():
                self._update(instance)
            return [
                replace(
                    one,
                    nodes=dict(one.nodes),
                    set_by_hand=dict(one.set_by_hand),
                    started=dict(one.started),
                    ended=dict(one.ended),
                )
                for one in self._instances.values()
            ]

    def get(self, instance_id: str) -> Instance | None:
        """Return the instance, or None. This does not count as a poll."""
        with self._lock:
            instance = self._instances.get(instance_id)
            return self._snapshot(instance) if instance else None

    def all(self, flow_id: int | None = None) -> list[Instance]:
        """Return all instances (of a flow), in order of arrival. This does not count as a poll."""
        with self._lock:
            chosen = [one for one in self._instances.values() if flow_id is None or one.flow.flow_id == flow_id]
            return [self._snapshot(instance) for instance in chosen]

    def poll(self, instance_id: str) -> Instance | None:
        """Return the instance, or None. With the progress ``polls`` this moves it on.

        A poll of an instance that waits for its turn also counts for the instance that runs: otherwise an instance that
        nobody polls would run for ever, and no later one would start.
        """
        with self._lock:
            instance = self._instances.get(instance_id)
            if instance is None:
                return None
            self._poll(instance)
            return instance.snapshot(self._config.now_ms())

    def search(
        self,
        matches: Callable[[StoredInstance], bool],
        statuses: Collection[str],
        sort_keys: Iterable[tuple[Callable[[StoredInstance], int], bool]],
        page: slice,
    ) -> tuple[list[Instance], int]:
        """Return a page of the matching instances, and how many match in all.

        Each instance that matches is polled, as by ``poll``: otherwise a client that follows its instances by lists
        would wait for ever.

        :param statuses: of these statuses only; empty: of any.
        :param sort_keys: keys, each with whether it sorts in descending order.
        """
        with self._lock:
            found: list[StoredInstance] = []
            for instance in filter(matches, list(self._instances.values())):
                self._poll(instance)
                if not statuses or instance.status_at(self._config.now_ms()) in statuses:
                    found.append(instance)
            for key, descending in reversed(list(sort_keys)):
                found.sort(key=key, reverse=descending)
            return [self._snapshot(instance) for instance in found[page]], len(found)

    def flow_of(self, instance: Instance) -> Flow:
        """Return the flow as it was when the instance was created."""
        with self._lock:
            return self._instances[instance.id].flow

    def node(self, task_instance_id: str) -> tuple[Instance, NodeInstance] | None:
        """Return the node with that task instance id, and its instance; None where there is none."""
        with self._lock:
            if task_instance_id not in self._nodes:
                return None
            stored, task_id = self._nodes[task_instance_id]
            instance = self._snapshot(stored)
        return instance, next(node for node in instance.nodes if node.task_id == task_id)

    def node_share(self, task_instance_id: str) -> float:
        """Return how much of its work the node has done, from 0 to 1: 1 unless it runs."""
        with self._lock:
            instance, task_id = self._nodes[task_instance_id]
            if instance.nodes[task_id] != "RUNNING":
                return 1.0
            return instance.plan(self._progress(instance)).node_share(task_id, instance.share)

    def cancel(self, instance_id: str) -> bool:
        """Cancel an instance, at once or after a while (switch ``cancel_takes``); one that has ended stays as it is.

        Return whether the instance exists.
        """
        with self._lock:
            instance = self._instances.get(instance_id)
            if instance is None:
                return False
            self._update(instance)
            if instance.ended_at is None and not instance.cancelled:
                instance.cancelled = True
                instance.cancel_at = self._config.now_ms() + int(self._config.cancel_takes * 1000)
                self._update(instance)
            return True

    def finish(self, instance_id: str, status: str, failed_task: int | None = None) -> None:
        """End an instance, whatever its progress.

        Raise ValueError for a status that is no end, KeyError for an unknown instance or node.
        """
        check_end_status(status)
        with self._lock:
            instance = self._instances[instance_id]
            if failed_task is not None and failed_task not in instance.nodes:
                raise KeyError(failed_task)
            self._update(instance)
            now = self._config.now_ms()
            plan = instance.plan_to(status, failed_task, self._progress(instance))
            if instance.started_at is None:
                instance.started_at = now
            instance.show(plan, 1.0, now)
            instance.status = status
            self._leave_queue(instance)

    def set_node_status(self, instance_id: str, task_id: int, status: str) -> None:
        """Fix the status of a node, whatever the progress. Raise ValueError for an unknown status, or KeyError."""
        if status not in STATUS_CODES:
            raise ValueError(f"a status is one of {', '.join(STATUS_CODES)}, not {status!r}")
        with self._lock:
            instance = self._instances[instance_id]
            if task_id not in instance.nodes:
                raise KeyError(task_id)
            self._update(instance)
            instance.set_by_hand_at(task_id, status, self._config.now_ms())
            if instance.started_at is not None and instance.ended_at is None:
                instance.show_status()

    def _flow(self, flow_id: int) -> Flow:
        flow = self._catalog.flow(flow_id)
        if flow is None:
            raise KeyError(flow_id)
        return flow

    def _new_id(self, flow: Flow, trigger_time: int, now: int, *, periodic: bool) -> str:
        queue = self._queues[flow.flow_id]
        documented = f"{flow.flow_id}-{id_stamp(trigger_time, flow.cycle if periodic else None)}"
        by_clock = self._config.minute_rule == "clock"
        recent = queue.last_triggered is not None and now - queue.last_triggered < self._config.clock_minute * 1000
        same_minute = minute_of(trigger_time) in queue.minutes
        # An id names one instance, so a documented one that exists is refused under either rule.
        if documented in self._instances or (recent if by_clock else same_minute):
            raise Conflict(f"flow {flow.flow_id} was triggered for or in that minute")
        return documented if self._config.id_style == "documented" else f"{flow.flow_id}-{secrets.token_hex(6)}"

    def _poll(self, instance: StoredInstance) -> None:
        self._update(instance)
        instance.polls += 1
        running = self._queues[instance.flow.flow_id].running()
        moved = running if instance.started_at is None else instance
        if moved is not None and instance.trigger_time <= self._config.now_ms():
            moved.polls_running += 1
            self._update(moved)

    def _snapshot(self, instance: StoredInstance) -> Instance:
        self._update(instance)
        return instance.snapshot(self._config.now_ms())

    def _progress(self, instance: StoredInstance) -> Progress:
        return progress_of(instance.flow, self._config.progress)

    def _update(self, instance: StoredInstance) -> None:
        """Bring an instance up to date."""
        now = self._config.now_ms()
        if self._config.one_at_a_time:
            self._update_queue(self._queues[instance.flow.flow_id])
        elif instance.ended_at is None:
            self._update_alone(instance, now)
        if instance.started_at is None and _cancel_is_due(instance, now):
            self._end_cancelled(instance)

    def _update_queue(self, queue: _Queue) -> None:
        """Bring the instances of a flow up to date: end those that are done, start those that may start."""
        now = self._config.now_ms()
        if self._config.one_at_a_time:
            while (instance := queue.running() or self._start_next(queue, now)) and self._advance(instance, now):
                continue
            return
        for instance in list(queue.unended):
            self._update_alone(instance, now)

    def _update_alone(self, instance: StoredInstance, now: int) -> None:
        if instance.started_at is None and instance.trigger_time <= now:
            self._start(instance, max(instance.created_at, instance.trigger_time))
        if instance.started_at is not None:
            self._advance(instance, now)

    def _start_next(self, queue: _Queue, now: int) -> StoredInstance | None:
        for instance in [one for one in queue.unended if one.trigger_time <= now]:
            self._start(instance, max(instance.created_at, instance.trigger_time, queue.free_since))
            if instance.started_at is not None:
                return instance
        return None

    def _start(self, instance: StoredInstance, at: int) -> None:
        """Start an instance, unless it has been cancelled before."""
        if _cancel_is_due(instance, at):
            self._end_cancelled(instance)
        else:
            instance.started_at = at

    def _advance(self, instance: StoredInstance, now: int) -> bool:
        """Bring a started instance and its nodes up to date. Return whether it has ended."""
        is_cancelled = _cancel_is_due(instance, now)
        moment = instance.cancel_at if is_cancelled else now
        progress = self._progress(instance)
        plan = instance.plan(progress)
        seconds = (moment - (instance.started_at or 0)) / 1000
        share = share_done(progress, plan, seconds, instance.polls_running)
        if share != instance.share or instance.seen_at is None:
            instance.show(plan, share, moment)
        if instance.ended_at is not None:
            self._leave_queue(instance)
        elif is_cancelled:
            self._end_cancelled(instance)
        return instance.ended_at is not None

    def _end_cancelled(self, instance: StoredInstance) -> None:
        instance.end_cancelled(instance.cancel_at)
        self._leave_queue(instance)

    def _leave_queue(self, instance: StoredInstance) -> None:
        queue = self._queues[instance.flow.flow_id]
        if instance in queue.unended:
            queue.unended.remove(instance)
        queue.free_since = max(queue.free_since, instance.ended_at or 0)


def _cancel_is_due(instance: StoredInstance, now: int) -> bool:
    return instance.ended_at is None and instance.cancelled and instance.cancel_at <= now
