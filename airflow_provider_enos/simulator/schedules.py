"""EnOS's own schedule of periodic flows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from airflow_provider_enos.simulator.catalog import Catalog
from airflow_provider_enos.simulator.config import Config
from airflow_provider_enos.simulator.flows import PERIODIC, Flow
from airflow_provider_enos.simulator.instance_store import Conflict, InstanceStore

_PAST_DAYS = 2
_MOST_PAST_INSTANCES = 48


class ScheduleRunner:
    """Starts the instances of periodic flows when they are due. It catches up whenever it is called.

    A flow that it sees for the first time has run for two days already, but at most 48 times.
    """

    def __init__(self, config: Config, catalog: Catalog, instances: InstanceStore) -> None:
        self._config = config
        self._catalog = catalog
        self._instances = instances
        self._done_until: dict[int, int] = {}
        """For each flow, the time up to which its schedule has been carried out."""

    def run_due(self) -> None:
        """Start all instances that are due."""
        now = self._config.now_ms()
        for flow in self._catalog.flows():
            if flow.type != PERIODIC or not flow.tasks or flow.copy_of is not None:
                continue
            done_until = self._done_until.get(flow.flow_id)
            self._done_until[flow.flow_id] = max(now, done_until or 0)
            if not flow.active:
                continue
            # However far the clock has jumped, no more than two days are caught up.
            after = max(done_until or 0, now - _PAST_DAYS * 86_400_000)
            due = list(schedule_times(flow, after, now, self._config.zone))
            is_new = done_until is None
            for moment in due[-_MOST_PAST_INSTANCES:] if is_new else due:
                self._start(flow, moment, is_past=is_new)

    def _start(self, flow: Flow, moment: int, *, is_past: bool) -> None:
        try:
            if is_past:
                self._instances.add_past(flow, moment)
            else:
                self._instances.trigger(flow.flow_id, None, moment, type=PERIODIC, created_at=moment)
        except Conflict:
            pass  # somebody has triggered that minute, or it was loaded from a file


def schedule_times(flow: Flow, after: int, until: int, zone: timezone) -> Iterator[int]:
    """Yield when the schedule of a flow starts instances, in milliseconds: later than ``after``, and up to ``until``.

    That is the beginning of each minute, hour, day, week (Monday) or month, as the cycle of the flow says. A flow whose
    first day is no date has no schedule.
    """
    try:
        first_day = datetime.strptime(flow.start_time, "%Y-%m-%d").replace(tzinfo=zone)
    except ValueError:
        return
    moment = _beginning(max(datetime.fromtimestamp(after / 1000, zone), first_day), flow.cycle)
    end = datetime.fromtimestamp(until / 1000, zone)
    while moment <= end:
        if moment.timestamp() * 1000 > after and moment >= first_day:
            yield int(moment.timestamp() * 1000)
        moment = _next(moment, flow.cycle)


def _beginning(moment: datetime, cycle: str) -> datetime:
    minute = moment.replace(second=0, microsecond=0)
    if cycle == "mi":
        return minute
    hour = minute.replace(minute=0)
    if cycle.upper() == "H":
        return hour
    day = hour.replace(hour=0)
    if cycle == "W":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if cycle == "M" else day


def _next(moment: datetime, cycle: str) -> datetime:
    if cycle == "M":
        return (moment + timedelta(days=32)).replace(day=1)
    steps = {"mi": timedelta(minutes=1), "H": timedelta(hours=1), "h": timedelta(hours=1), "W": timedelta(days=7)}
    return moment + steps.get(cycle, timedelta(days=1))
