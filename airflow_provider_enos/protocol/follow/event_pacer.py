"""When the ends of flow instances are told to Airflow, so that each comes into a DAG run."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_enos.protocol.models import FlowInstance


class EventPacer:
    """Decide which ends become events now, and hold the others back for the next poll.

    Airflow queues one run for an asset at its first event, and gives that run all events until the scheduler creates
    it. An event that comes after the queuing and before the creation queues no run of its own: it waits for the next
    event, whenever that comes. So the last of several ends is told alone, at the next poll, and its run gets all events
    that wait. Two polls that tell something are at least ``apart`` seconds apart.

    :param apart: seconds that Airflow's scheduler gets to create a run.
    """

    def __init__(self, apart: float) -> None:
        self._apart = apart
        self._told_at = float("-inf")
        self._held: dict[str, FlowInstance] = {}

    @property
    def is_holding(self) -> bool:
        """Return whether ends wait to be told."""
        return bool(self._held)

    def seen(self, listed: Iterable[FlowInstance]) -> list[FlowInstance]:
        """Return what a poll has listed, with each held instance as it was when it ended.

        A poll at the last day does not list what was triggered for an earlier time, and an instance may run again
        before its end is told.
        """
        others = (one for one in listed if one.flow_instance_id not in self._held)
        return [*self._held.values(), *others]

    def hold(self, instances: Iterable[FlowInstance]) -> None:
        """Hold all of these back."""
        self._held |= {one.flow_instance_id: one for one in instances}

    def due(self, wanted: Iterable[FlowInstance], now: float) -> list[FlowInstance]:
        """Return the ends to tell now, and hold the others back, for longer than one poll only if it is too early.

        :param wanted: all ends that are to be told, the held ones included. A held one that is missing is dropped.
        :param now: seconds of a clock that never goes back.
        """
        queue = sorted(wanted, key=lambda one: one.flow_instance_id not in self._held)
        is_early = now - self._told_at < self._apart
        count = 0 if is_early else max(len(queue) - 1, 1)
        self._held = {one.flow_instance_id: one for one in queue[count:]}
        if queue[:count]:
            self._told_at = now
        return queue[:count]
