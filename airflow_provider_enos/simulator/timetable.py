"""Compute when the nodes of an instance run, and what they show. Pure: no clock, and nothing is changed.

Each node takes some time. It starts when all nodes before it have ended. An instance lasts as long as its longest path.

Nodes that the instance does not include, and nodes that a failure before them keeps from running, show ``INIT``: the
documentation has no other word for them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from zlib import crc32

from airflow_provider_enos.simulator.config import Progress
from airflow_provider_enos.simulator.flows import Flow

JUST_STARTED = 1e-9
"""The share of work just after the start: the first nodes run, and nothing is done yet."""
_SHORTEST, _LONGEST = 5, 30
"""Seconds that a node takes if its flow does not say how many."""


@dataclass(frozen=True)
class Span:
    """From when to when a node runs."""

    start: float
    end: float


@dataclass(frozen=True)
class Timetable:
    """The plan of an instance: when its nodes run, from its start on, and how it ends.

    The unit is seconds, or levels of nodes where all nodes take equally long.
    """

    spans: Mapping[int, Span]
    """The nodes that run, in the order of the flow."""
    ends_as: str
    failing: int | None
    """The node that makes the instance end badly."""

    @property
    def length(self) -> float:
        """How long the instance lasts: as long as its longest path."""
        return max((span.end for span in self.spans.values()), default=0.0)

    def statuses(self, tasks: Collection[int], share: float) -> dict[int, str]:
        """Return the status of each of these nodes when a share of the work is done: 0 at the start, 1 at the end."""
        shown = dict.fromkeys(tasks, "INIT")
        if share <= 0:
            return shown
        over, done = share >= 1, share * self.length
        for task, span in self.spans.items():
            shown[task] = "SUCCESS" if over or done >= span.end else "RUNNING" if done >= span.start else "INIT"
        if over and self.ends_as == "SKIP":
            shown.update(dict.fromkeys(self.spans, "SKIP"))
        if self.failing is not None and shown[self.failing] == "SUCCESS":
            # Only a failure shows before the end: a cancelled or timed-out node runs until its instance ends.
            shown[self.failing] = self.ends_as if over or self.ends_as == "FAIL" else "RUNNING"
        return shown

    def node_share(self, task_id: int, share: float) -> float:
        """Return how much of its work a node has done when the instance has done this share, from 0 to 1."""
        span = self.spans.get(task_id)
        if span is None or span.end <= span.start:
            return 1.0
        return min(max((share * self.length - span.start) / (span.end - span.start), 0.0), 1.0)


def timetable(
    flow: Flow,
    from_task_id: int | None,
    progress: Progress,
    ends_as: str,
    failing: int | None = None,
    follows: str = "all",
) -> Timetable:
    """Plan an instance.

    :param from_task_id: the node from which it runs; None: the whole flow.
    :param progress: by polls, all nodes take equally long, unless the flow says how long they take.
    :param ends_as: the status in the end; SUCCESS instead, where the failing node is not part of the instance.
    :param failing: the node that makes it end badly; None: the node that the flow names, else the last one.
    :param follows: the relations along which it runs from that node, as ``Flow.downstream`` takes it.
    """
    levels = flow.levels(set(flow.tasks) if from_task_id is None else flow.downstream(from_task_id, follows))
    if ends_as in ("SUCCESS", "SKIP"):
        failing = None
    elif failing is None:
        failing = flow.failing_task
        if failing is None:
            failing = max(levels, key=lambda task: levels[task], default=None)
    if failing is not None and failing not in levels:
        failing, ends_as = None, "SUCCESS"
    blocked = set() if failing is None else flow.downstream(failing) - {failing}
    equal = progress.kind == "polls" and not flow.seconds
    spans: dict[int, Span] = {}
    for task in levels:  # each after all that run before it
        if task not in blocked:
            before = [edge.source for edge in flow.relations if edge.target == task and edge.source in spans]
            start = max((spans[source].end for source in before), default=0.0)
            spans[task] = Span(start, start + (1.0 if equal else node_seconds(flow, task)))
    plan = Timetable({task: spans[task] for task in flow.tasks if task in spans}, ends_as, failing)
    if failing is None or ends_as == "FAIL":
        return plan
    lasting = {**plan.spans, failing: Span(plan.spans[failing].start, plan.length)}
    return Timetable(lasting, ends_as, failing)


def node_seconds(flow: Flow, task_id: int) -> float:
    """Return how long a node takes: as its flow says, else from 5 to 30 seconds, the same each time."""
    return flow.seconds.get(task_id) or _SHORTEST + crc32(b"%d" % task_id) % (_LONGEST - _SHORTEST + 1)


def progress_of(flow: Flow, default: Progress) -> Progress:
    """Return how the instances of a flow progress.

    A flow that says how long its nodes take goes by that, unless ``default`` is ``at_once`` or ``manual``.
    """
    if flow.progress is not None:
        return flow.progress
    by_nodes = bool(flow.seconds) and default.kind in ("polls", "seconds")
    return Progress("nodes") if by_nodes else default


def share_done(progress: Progress, plan: Timetable, seconds: float, polls: int) -> float:
    """Return which share of its work an instance has done, from 0; 1 or more means all of it.

    :param seconds: since its start.
    :param polls: since its start.
    """
    if progress.kind == "manual":
        return JUST_STARTED
    lasts = plan.length if progress.kind == "nodes" else progress.amount
    if progress.kind == "at_once" or not lasts:
        return 1.0
    if progress.kind == "polls":
        return max(polls - 1, 0) / lasts
    return max(seconds / lasts, JUST_STARTED)
