"""Watching a flow: which ends of its instances are new to somebody who is to hear of each once.

The list of a window of trigger times is looked at again and again. What was told is remembered by instance, so neither
the order of a list, nor what comes late or twice, nor a restart changes what is told. The list is taken without a
filter on status: so rows never move in or out while its pages are read, and an instance that is run again is seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_enos.errors import EnosConfigError, EnosError
from airflow_provider_enos.protocol.follow import window_list
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.models import FlowInstance, FlowStatus, Outcome
from airflow_provider_enos.protocol.text import excerpt, shown
from airflow_provider_enos.protocol.trigger_time import stamp_of_id as _stamp, utc_of_id
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure

ENDS = tuple(status.name for status in FlowStatus if status.ended)
"""The statuses that are ends, by name."""

_HOUR = 3_600_000
_DAY = 24 * _HOUR
_MOST = 1000
"""Ends that are remembered for a flow: as JSON about 55 kB, of the 64 kB that Airflow advises at the most."""


def ends(value: object, field: str) -> tuple[str, ...]:
    """``value``, names of statuses that are ends or None for all of them, in one order whichever way they are given.

    Raises ``EnosConfigError``, naming ``field`` and the value.
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
class Stretch(Window):
    """The trigger times that are looked at."""

    whole: bool
    """Whether it reaches as far back as is ever looked."""

    @classmethod
    def at(cls, now: float, lookback: float, *, whole: bool) -> Stretch:
        """That of a look ``now``, in epoch seconds, from ``lookback`` seconds ago, or else a day, to a day ahead."""
        whole = whole or lookback <= _DAY / 1000
        back = lookback if whole else _DAY / 1000
        return cls(int((now - back) * 1000), int(now * 1000) + _DAY, whole)


def instances_in(window: Stretch, flow_id: int) -> Procedure[list[FlowInstance]]:
    """The instances of a flow with a trigger time in the window, whatever their status and type."""
    listed = yield from window_list.instances_in(window, calls.ALL_FLOW_TYPES, flow_id)
    return [replace(one, nodes=()) for one in listed]


def instances_of(
    window: Stretch, flow_ids: Collection[int], *, most_pages: int
) -> Procedure[dict[int, list[FlowInstance]] | None]:
    """Those of each of these flows, from a list of everything; None where that takes more pages than it may."""
    listed = yield from window_list.overview(window, calls.ALL_FLOW_TYPES, flow_ids, most_pages=most_pages)
    if listed is None:
        return None
    found: dict[int, dict[str, FlowInstance]] = {flow_id: {} for flow_id in flow_ids}
    for _, flow_id, one in listed:
        found[flow_id][one.flow_instance_id] = one
    return {flow_id: list(instances.values()) for flow_id, instances in found.items()}


@dataclass(frozen=True, slots=True)
class End:
    """What was last seen of an instance whose end was told. If its status is no end, it has been run again since."""

    status: FlowStatus
    end_time: str | None

    def is_told_by(self, told: End) -> bool:
        """Whether it is the end that was ``told``, rather than that of another run of the instance.

        EnOS may give the end time of an instance that failed only when its last nodes are done, so that a change of it
        says nothing. One that succeeded has none left.
        """
        if self.status != told.status and told.status.ended:
            return False
        known = self.end_time is not None and told.end_time is not None
        if not told.status.ended:
            return known and self.end_time == told.end_time
        return not (known and self.end_time != told.end_time and self.status.outcome is Outcome.SUCCEEDED)


@dataclass(frozen=True, slots=True)
class Memory:
    """The ends of one flow that were told, or were there from the beginning."""

    since: int
    """From which trigger time on everything was looked at."""
    hidden_before: int
    """Instances that are named after an earlier time are neither told nor remembered."""
    ends: Mapping[str, End]

    def to_json(self) -> dict[str, Any]:
        """As JSON, for another process."""
        told = {id: [end.status.name, end.end_time] for id, end in self.ends.items()}
        return {"since": self.since, "hidden_before": self.hidden_before, "ends": told}

    @classmethod
    def of(cls, value: object) -> Memory | None:
        """What ``to_json`` gave; None for anything else."""
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
        """Whether less is looked at than the window has, since there is too much to remember."""
        return self.hidden_before > self.since

    def without(self, instance: FlowInstance, earlier: Memory) -> Memory:
        """This, as if the instance had not been seen since the ``earlier`` one."""
        id = excerpt(instance.flow_instance_id)
        kept = {other: end for other, end in self.ends.items() if other != id}
        if id in earlier.ends:
            kept[id] = earlier.ends[id]
        return replace(self, ends=kept)

    def with_those_of(self, other: Memory | None) -> Memory:
        """This, and what only the other remembers."""
        if other is None:
            return self
        hidden_before = max(self.hidden_before, other.hidden_before)
        return _bounded(Memory(max(self.since, other.since), hidden_before, {**other.ends, **self.ends}))


def news(
    memory: Memory | None, instances: Iterable[FlowInstance], window: Stretch
) -> tuple[list[FlowInstance], Memory | None]:
    """The instances of one flow whose end is to be told now, in the order in which they ended; and the memory then.

    Without a memory nothing is told: what has ended by the first look at the whole window was there before.

    :param instances: all that the list has in the ``window``.
    """
    if memory is None and not window.whole:
        return [], None
    told = {} if memory is None else dict(memory.ends)
    hidden_before = max(window.first - _DAY if window.whole else 0, 0 if memory is None else memory.hidden_before)
    there_before = _there_before(memory, window)
    new, listed = [], set()
    for instance in instances:
        id, end = excerpt(instance.flow_instance_id), End(instance.status, _clean(instance.end_time))
        listed.add(id)
        stamp = _stamp(id)
        if stamp is not None and stamp < hidden_before:
            continue
        before = told.get(id)
        if before is None:
            if not end.status.ended:
                continue
            if (stamp or 0) >= there_before:
                new.append(instance)
        elif not end.status.ended:
            end = End(end.status, before.end_time)
        elif end.is_told_by(before):
            end = End(end.status, end.end_time or before.end_time)
        else:
            new.append(instance)
        told[id] = end
    if window.whole:
        # Where the id tells no time, that it has left the list does.
        told = {id: end for id, end in told.items() if id in listed or _stamp(id) is not None}
    since = window.first if memory is None or window.whole else memory.since
    new.sort(key=lambda instance: (instance.end_time or "", instance.flow_instance_id))
    return new, _bounded(Memory(since, hidden_before, told))


def payload(instance: FlowInstance) -> dict[str, Any]:
    """Return what is told of an end: texts as EnOS sends them, and None where it sends none.

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


class Handover:
    """Decide which ends are told now, and hold the others back for the next look.

    Airflow queues one run for an asset at its first event, and gives it the events up to that one. An event that comes
    before the scheduler has created that run queues none: it waits for the next event, whenever that comes. So of
    several ends the last one is told alone, at the next look, and its run gets all that wait; and two tellings lie
    ``apart`` seconds apart at least.

    :param apart: seconds that Airflow's scheduler is given to create a run.
    """

    def __init__(self, apart: float) -> None:
        self._apart = apart
        self._told_at = float("-inf")
        self._held: dict[str, FlowInstance] = {}

    @property
    def is_holding(self) -> bool:
        """Whether something waits to be told."""
        return bool(self._held)

    def seen(self, listed: Iterable[FlowInstance]) -> list[FlowInstance]:
        """Return what is listed, and what is held as it was when it ended.

        A look at the last day does not list what was triggered for an earlier time, and an instance may be run again
        before its end is told.
        """
        others = (one for one in listed if one.flow_instance_id not in self._held)
        return [*self._held.values(), *others]

    def hold(self, instances: Iterable[FlowInstance]) -> None:
        """Hold all of these back."""
        self._held |= {one.flow_instance_id: one for one in instances}

    def due(self, wanted: Iterable[FlowInstance], now: float) -> list[FlowInstance]:
        """Return those that are told now, and hold the others back: each longer than one look only if it is too early.

        :param wanted: all that is to be told, with what is held; what is no more among them is forgotten.
        :param now: seconds of a clock that only goes forward.
        """
        queue = sorted(wanted, key=lambda one: one.flow_instance_id not in self._held)
        is_early = now - self._told_at < self._apart
        count = 0 if is_early else max(len(queue) - 1, 1)
        self._held = {one.flow_instance_id: one for one in queue[count:]}
        if queue[:count]:
            self._told_at = now
        return queue[:count]


class Reach:
    """Whether EnOS can be asked. Says so when it changes, and once more when it has lasted: nothing ever ends a watch.

    :param what: what is asked for.
    :param tolerance: seconds after which it is an error rather than a warning.
    """

    def __init__(self, what: str, *, tolerance: float, log: Log) -> None:
        self._what = what
        self._tolerance = tolerance
        self._log = log
        self._failing_since: float | None = None
        self._error = ""
        self._is_late = False

    def answered(self, now: float) -> None:
        """EnOS has answered."""
        if self._failing_since is not None:
            self._log.info("EnOS answers again for %s, after %.0f s", self._what, now - self._failing_since)
        self._failing_since = None
        self._error, self._is_late = "", False

    def failed(self, error: EnosError, now: float) -> None:
        """It has not."""
        if self._failing_since is None:
            self._failing_since = now
        if type(error).__name__ != self._error:
            self._error = type(error).__name__
            self._log.warning("Cannot ask EnOS for %s, will go on trying: %s", self._what, error)
        if now - self._failing_since >= self._tolerance and not self._is_late:
            self._is_late = True
            self._log.error(
                "EnOS could not be asked for %s for %.0f s; what ends meanwhile is told later. Last error: %s",
                self._what,
                now - self._failing_since,
                error,
            )


def _there_before(memory: Memory | None, window: Stretch) -> float:
    """Instances named after an earlier time may have ended before they could be seen: that is not told."""
    if memory is None:
        return float("inf")
    if window.whole and window.first < memory.since - _HOUR:
        # It looks further back than it did.
        return memory.since + _DAY
    return 0


def _bounded(memory: Memory) -> Memory:
    """The same, without what is hidden; and more is hidden if there is too much."""
    stamps = sorted((stamp for id in memory.ends if (stamp := _stamp(id)) is not None), reverse=True)
    hidden_before = max(memory.hidden_before, stamps[_MOST - 1] if len(stamps) > _MOST else 0)
    kept = {id: end for id, end in memory.ends.items() if (stamp := _stamp(id)) is None or stamp >= hidden_before}
    return Memory(memory.since, hidden_before, kept)


def _clean(text: str | None) -> str | None:
    return None if text is None else excerpt(text)
