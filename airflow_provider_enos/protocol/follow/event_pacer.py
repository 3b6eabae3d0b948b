"""Decide when to report ends of flow instances to Airflow, so that each end gets into a DAG run."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_enos.protocol.models import FlowInstance


class EventPacer:
    """Decide which ends become events now, and hold the others back for the next poll.

    Airflow queues one run for an asset at its first event, and gives that run the events up to this moment. A later
    event queues no run of its own until the scheduler has created that run: it waits for the next event, whenever that
    comes. So the last of several ends is reported alone, at the next poll, and its run gets all events that wait.
    Between two polls that report something, at least ``apart`` seconds pass.

    :param apart: seconds that Airflow's scheduler gets to create a run.
    """

    def __init__(self, apart: float) -> None:
        self._apart = apart
        self._told_at = float("-inf")
        self._held: dict[str, FlowInstance] = {}

    @property
    def is_holding(self) -> bool:
        """Return whether ends wait to be reported."""
        return bool(self._held)

    def seen(self, listed: Iterable[FlowInstance]) -> list[FlowInstance]:
        """Return what a poll has listed, with each held instance as it was when it ended.

        A poll of the last day does not list what was triggered for an earlier time, and an instance may run again
        before its end is reported.
        """
        others = (one for one in listed if one.flow_instance_id not in self._held)
        return [*self._held.values(), *others]

    def hold(self, instances: Iterable[FlowInstance]) -> None:
        """Hold all of these back."""
        self._held |= {one.flow_instance_id: one for one in instances}

    def due(self, wanted: Iterable[FlowInstance], now: float) -> list[FlowInstance]:
        """Return the ends to report now. Hold the others back until the next poll, or longer if that comes too early.

        :param wanted: all ends that are to be reported, the held ones included. A held one that is missing is dropped.
        :param now: seconds of a clock that never goes back.
        """
        queue = sorted(wanted, key=lambda one: one.flow_instance_id not in self._held)
        is_early = now - self._told_at < self._apart
        count = 0 if is_early else max(len(queue) - 1, 1)
        self._held = {one.flow_instance_id: one for one in queue[count:]}
        if queue[:count]:
            self._told_at = now
        return queue[:count]
