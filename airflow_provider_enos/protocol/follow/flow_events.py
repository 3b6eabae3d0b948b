"""Find out which ends of a flow's instances are new, so that each end is reported once.

The list of a window of trigger times is read again and again. What was reported is remembered by instance. So neither
the order of a list, nor what comes late or twice, nor a restart changes what is reported. The list is read without a
filter on the status: rows do not move between pages while it is read, and an instance that runs again is seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol.follow import window_list
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.models import FlowInstance, FlowStatus, Outcome
from airflow_provider_enos.protocol.text import excerpt, shown
from airflow_provider_enos.protocol.trigger_time import stamp_of_id as _stamp, utc_of_id
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure

ENDS = tuple(status.name for status in FlowStatus if status.ended)
"""The names of the final statuses."""

_HOUR = 3_600_000
_DAY = 24 * _HOUR
_MOST = 1000
"""Ends that are remembered for a flow: about 55 kB of JSON. Airflow advises 64 kB at most."""


def ends(value: object, field: str) -> tuple[str, ...]:
    """Return ``value``, names of final statuses, in a fixed order; None: all of them.

    :raises EnosConfigError: naming ``field`` and the value.
    """
    names = (value,) if isinstance(value, str) else value
    if names is None:
        return ENDS
    if isinstance(names, (list, tuple, set, frozenset)) and names:
        wanted = {name.strip().upper() for name in names if isinstance(name, str)}
        if len(wanted) == len(names) and wanted <= set(ENDS):
            return tuple(name for name in ENDS if name in wanted)
    raise EnosConfigError(field, shown(value), accepted=f"names of ends, each once: {', '.join(ENDS)}")


@dataclass(frozen=True, slots=True)
class LookWindow(Window):
    """The trigger times of one poll."""

    whole: bool
    """Whether it reaches back for the whole ``lookback``, and not for a day only."""

    @classmethod
    def at(cls, now: float, lookback: float, *, whole: bool) -> LookWindow:
        """Return the window of a poll at ``now`` (epoch seconds), up to a day ahead.

        It begins ``lookback`` seconds ago if ``whole``, and otherwise a day ago.
        """
        whole = whole or lookback <= _DAY / 1000
        back = lookback if whole else _DAY / 1000
        return cls(int((now - back) * 1000), int(now * 1000) + _DAY, whole)


def instances_in(window: LookWindow, flow_id: int) -> Procedure[list[FlowInstance]]:
    """Return the instances of a flow in the window, whatever their status and type, without their nodes."""
    listed = yield from window_list.instances_in(window, calls.ALL_FLOW_TYPES, flow_id)
    return [replace(one, nodes=()) for one in listed]


def instances_of(
    window: LookWindow, flow_ids: Collection[int], *, most_pages: int
) -> Procedure[dict[int, list[FlowInstance]] | None]:
    """Return the same for each of these flows, read from one list of everything.

    Return None if that takes more than ``most_pages`` pages.
    """
    listed = yield from window_list.overview(window, calls.ALL_FLOW_TYPES, flow_ids, most_pages=most_pages)
    if listed is None:
        return None
    found: dict[int, dict[str, FlowInstance]] = {flow_id: {} for flow_id in flow_ids}
    for _, flow_id, one in listed:
        found[flow_id][one.flow_instance_id] = one
    return {flow_id: list(instances.values()) for flow_id, instances in found.items()}


@dataclass(frozen=True, slots=True)
class End:
    """The last end of an instance that was reported. If its status is not final, the instance has run again since."""

    status: FlowStatus
    end_time: str | None

    def is_same_end(self, told: End) -> bool:
        """Return whether this is the end that was reported (``told``), and not the end of a later run of the instance.

        EnOS may give the end time of a failed instance only when its last nodes are done. So another end time tells
        of another run only if the instance succeeded: then no nodes are left.
        """
        if self.status != told.status and told.status.ended:
            return False
        known = self.end_time is not None and told.end_time is not None
        if not told.status.ended:
            return known and self.end_time == told.end_time
        return not (known and self.end_time != told.end_time and self.status.outcome is Outcome.SUCCEEDED)


@dataclass(frozen=True, slots=True)
class EndMemory:
    """The ends of one flow that were reported, or were there at the first poll."""

    since: int
    """All trigger times from this one on have been polled."""
    hidden_before: int
    """Instances that are named after an earlier time are neither reported nor remembered."""
    ends: Mapping[str, End]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, for another process."""
        told = {id: [end.status.name, end.end_time] for id, end in self.ends.items()}
        return {"since": self.since, "hidden_before": self.hidden_before, "ends": told}

    @classmethod
    def of(cls, value: object) -> EndMemory | None:
        """Return the memory that ``to_json`` has written; None for anything else."""
        if not isinstance(value, dict):
            return None
        since, hidden_before, ends = (value.get(name) for name in ("since", "hidden_before", "ends"))
        if not isinstance(since, int) or not isinstance(hidden_before, int) or not isinstance(ends, dict):
            return None
        found = {}
        for id, end in ends.items():
            match end:
                case [str() as status, (str() | None) as end_time]:
                    found[id] = End(FlowStatus(status), end_time)
                case _:
                    return None
        return cls(since, hidden_before, found)

    @property
    def is_full(self) -> bool:
        """Return whether it is too small for all instances of the window, so that older ones are left out."""
        return self.hidden_before > self.since

    def without(self, instance: FlowInstance, earlier: EndMemory) -> EndMemory:
        """Return the memory with what the ``earlier`` memory has of this instance."""
        id = excerpt(instance.flow_instance_id)
        kept = {other: end for other, end in self.ends.items() if other != id}
        if id in earlier.ends:
            kept[id] = earlier.ends[id]
        return replace(self, ends=kept)

    def merged_with(self, other: EndMemory | None) -> EndMemory:
        """Return this memory, with the ends that only ``other`` has."""
        if other is None:
            return self
        hidden_before = max(self.hidden_before, other.hidden_before)
        return _bounded(EndMemory(max(self.since, other.since), hidden_before, {**other.ends, **self.ends}))


def classify(previous: End | None, current: End) -> tuple[bool, End | None]:
    """Return whether to report ``current`` as an end, and what to remember of the instance; None: nothing yet.

    :param previous: what is remembered of the instance.
    """
    if not current.status.ended:
        return False, None if previous is None else End(current.status, previous.end_time)
    if previous is None or not current.is_same_end(previous):
        return True, current
    return False, End(current.status, current.end_time or previous.end_time)


def news(
    memory: EndMemory | None, instances: Iterable[FlowInstance], window: LookWindow
) -> tuple[list[FlowInstance], EndMemory | None]:
    """Return the instances of one flow whose ends are to be reported, in the order of the ends; and the new memory.

    Without a memory nothing is reported: what has ended by the first poll of the whole window is old.

    :param instances: all that the list has in the ``window``, and those whose end waits to be reported.
    """
    if memory is None and not window.whole:
        return [], None
    told = {} if memory is None else dict(memory.ends)
    hidden_before = max(window.first - _DAY if window.whole else 0, 0 if memory is None else memory.hidden_before)
    new_from = _new_from(memory, window)
    visible = {excerpt(one.flow_instance_id): one for one in instances}
    visible = {id: one for id, one in visible.items() if not _is_before(id, hidden_before)}
    new = []
    for id, instance in visible.items():
        previous = told.get(id)
        is_new, end = classify(previous, End(instance.status, _clean(instance.end_time)))
        if end is not None:
            told[id] = end
        if is_new and (previous is not None or (_stamp(id) or 0) >= new_from):
            new.append(instance)
    if window.whole:
        # An id that names no time is forgotten once it is no longer listed.
        told = {id: end for id, end in told.items() if id in visible or _stamp(id) is not None}
    since = window.first if memory is None or window.whole else memory.since
    new.sort(key=lambda instance: (instance.end_time or "", instance.flow_instance_id))
    return new, _bounded(EndMemory(since, hidden_before, told))


def payload(instance: FlowInstance) -> dict[str, Any]:
    """Return the payload of an end's event: texts as EnOS sends them, or None where it sends none.

    ``trigger_time_utc`` comes from the id, since ``trigger_time`` says no zone; None where the id names no minute.
    """
    return {
        "flow_instance_id": excerpt(instance.flow_instance_id),
        "flow_id": instance.flow_id,
        "flow_name": excerpt(instance.flow_name),
        "status": instance.status.name,
        "trigger_time": _clean(instance.trigger_time),
        "trigger_time_utc": utc_of_id(instance.flow_instance_id),
        "start_time": _clean(instance.start_time),
        "end_time": _clean(instance.end_time),
        "business_date": _clean(instance.business_date),
    }


def _new_from(memory: EndMemory | None, window: LookWindow) -> float:
    """Return from which trigger time on an end that is not remembered is new; earlier ones may be old."""
    if memory is None:
        return float("inf")
    if window.whole and window.first < memory.since - _HOUR:
        # This window reaches further back than those before.
        return memory.since + _DAY
    return 0


def _is_before(id: str, time: int) -> bool:
    stamp = _stamp(id)
    return stamp is not None and stamp < time


def _bounded(memory: EndMemory) -> EndMemory:
    """Return the memory without what is hidden. Where it is too large, hide what has the earliest trigger times."""
    stamps = sorted((stamp for id in memory.ends if (stamp := _stamp(id)) is not None), reverse=True)
    hidden_before = max(memory.hidden_before, stamps[_MOST - 1] if len(stamps) > _MOST else 0)
    kept = {id: end for id, end in memory.ends.items() if not _is_before(id, hidden_before)}
    return EndMemory(memory.since, hidden_before, kept)


def _clean(text: str | None) -> str | None:
    return None if text is None else excerpt(text)
