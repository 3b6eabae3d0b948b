"""Schedule DAGs when EnOS flow instances end, with an ``AssetWatcher`` of Airflow 3."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Hashable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_enos.errors import EnosConfigError, EnosError
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.follow.event_pacer import EventPacer
from airflow_provider_enos.protocol.follow.flow_events import EndMemory, ends, news, payload
from airflow_provider_enos.protocol.follow.poll_tolerance import PollTolerance
from airflow_provider_enos.protocol.text import shown
from airflow_provider_enos.triggers.flow_finder import find_flow, flow_choice
from airflow_provider_enos.utils.connections import current_settings
from airflow_provider_enos.utils.state_store import AssetState
from airflow_provider_enos.version_compat import BaseEventTrigger, event_triggers_take_queues

if TYPE_CHECKING:
    from airflow_provider_enos.client.polling.flow_watcher import Look, Watched
    from airflow_provider_enos.client.settings import Settings
    from airflow_provider_enos.protocol.models import FlowInstance

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 60.0
_APART = 5.0
"""Seconds that Airflow's scheduler gets to start a run for an event before the next event comes."""


class EnosFlowEventTrigger(BaseEventTrigger):
    """Fire an event for each instance of a flow that ends, no matter who has started it::

        readings = Asset(
            "meter_readings",
            watchers=[AssetWatcher(name="flow_3377", trigger=EnosFlowEventTrigger(3377, statuses=["SUCCESS"]))],
        )

        with DAG("report", schedule=readings): ...

    The payload of the event is in ``triggering_asset_events`` of the DAG run, under ``extra["payload"]``. It is a dict
    of ``flow_instance_id``, ``flow_id``, ``flow_name``, ``status``, ``trigger_time``, ``trigger_time_utc``,
    ``start_time``, ``end_time`` and ``business_date``: texts as EnOS sends them, the times without a zone. Only
    ``trigger_time_utc`` has a zone. It is the minute in the id of the instance, such as ``2020-07-06T06:26:00+00:00``,
    and can be the ``trigger_time`` of an operator. It is None if the id names no minute, as for the hourly and daily
    instances of EnOS's schedule.

    If several events come together, Airflow starts one run for the first of them, and gives the others to the run of
    the next event. So if a poll finds several ends, the last one is fired alone, one poll later: within two
    ``poll_interval`` after it was seen, and at least 5 seconds after the others. Give each flow an asset of its own. If
    a DAG is to run for several flows, give it several assets: ``schedule=(a | b)``.

    No event is fired for an instance that had ended before the first poll. Each end is fired once. It is fired again
    only if the instance is run again in EnOS: a poll has seen it running in between, or it has another status, or it
    has succeeded at another time.

    Since Airflow 3.3 the ends that were fired are kept in Airflow's asset state store. So if a triggerer stops, no end
    is lost, and the next triggerer goes on. The store is written once Airflow has stored the events, a second or two
    later. If a triggerer ends in between, the next one fires these events again. Before 3.3 Airflow has no such store:
    what ends while no triggerer runs is missed.

    All triggers with the same connection, tenant, ``poll_interval`` and ``lookback`` share one stream of polls (from
    Airflow 3.3 on). They share one session and one token with all other waits for this gateway in the triggerer. Errors
    never end the stream. They are logged when they begin and when they are over.

    Documentation: Batch Processing API, "List Flow Instances", "Get Flow Instance".

    :param flow_id: the flow, a number or digits; None if ``flow_name`` is given.
    :param enos_conn_id: the Airflow connection, of type ``enos``. Default: ``enos_default``.
    :param flow_name: the exact name of the flow, in place of ``flow_id``; no template. It is looked up when the trigger
        starts in a triggerer. If not exactly one flow has it, or EnOS cannot be asked, it is looked up again after
        ``poll_interval``. The flow that is found is watched until the trigger stops, even if it gets another name.
    :param statuses: which ends are events: names out of SUCCESS, FAIL, INTERNAL_ERROR, TIMEOUT, CANCEL, SKIP; None
        (default): all.
    :param poll_interval: the longest pause between two polls, a timedelta or seconds. Default: 60 seconds. Instances
        whose trigger time is more than a day ago are polled every ten minutes.
    :param lookback: how long ago the trigger time of an instance may be, a timedelta or seconds. Default: 7 days. Older
        instances are ignored. EnOS lists by trigger time. So ``lookback`` must be longer than an instance takes, and
        longer than the age of the trigger times that are used, as in a backfill. At most a thousand ends of a flow are
        remembered; if there are more, instances with earlier trigger times are ignored.
    :param poll_error_tolerance: how long EnOS may be out of reach before the log has an error and not a warning, a
        timedelta or seconds. Default: 10 minutes.
    :param org_id: the EnOS organisation, in place of the organisation in the connection.
    :param user_id: the EnOS user, in place of the user in the connection.
    :param queue: the trigger queue: only triggerers that were started with it (``airflow triggerer --queues``) run the
        trigger, where ``[triggerer] queues_enabled`` is set. Needs Airflow 3.4. Default: None, no queue.

    :raises EnosConfigError: an argument cannot work.
    """

    def __init__(
        self,
        flow_id: int | str | None = None,
        enos_conn_id: str = "enos_default",
        *,
        flow_name: str | None = None,
        statuses: Collection[str] | str | None = None,
        poll_interval: timedelta | float = 60.0,
        lookback: timedelta | float = timedelta(days=7),
        poll_error_tolerance: timedelta | float = timedelta(minutes=10),
        org_id: str | None = None,
        user_id: str | None = None,
        queue: str | None = None,
    ) -> None:
        # Airflow reads it where it stores the trigger, and does not hand it to the trigger that runs.
        super().__init__(**({} if queue is None else {"queue": _checked(queue)}))  # type: ignore[no-untyped-call]
        self._flow = flow_choice(flow_id, flow_name)
        self.flow_id = self._flow.id
        self.flow_name = self._flow.name
        self.enos_conn_id = arguments.connection_id(enos_conn_id)
        self.statuses = ends(statuses, "statuses")
        self.poll_interval = arguments.seconds(poll_interval, "poll_interval")
        self.lookback = arguments.seconds(lookback, "lookback")
        self.poll_error_tolerance = arguments.seconds(poll_error_tolerance, "poll_error_tolerance", zero=True)
        self.org_id = arguments.tenant(org_id, "org_id")
        self.user_id = arguments.tenant(user_id, "user_id")
        self._is_alone = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the class, and the arguments: plain values, and nothing secret.

        Triggers with the same arguments are one trigger to Airflow.
        """
        return (
            "airflow_provider_enos.triggers.enos.EnosFlowEventTrigger",
            {
                "flow_id": self.flow_id,
                "flow_name": self.flow_name,
                "enos_conn_id": self.enos_conn_id,
                "statuses": list(self.statuses),
                "poll_interval": self.poll_interval,
                "lookback": self.lookback,
                "poll_error_tolerance": self.poll_error_tolerance,
                "org_id": self.org_id,
                "user_id": self.user_id,
            },
        )

    @property
    def watched_key(self) -> Hashable:
        """The key of the triggers that share one stream. A trigger that shares none has a key of its own."""
        return (self.shared_stream_key(), id(self) if self._is_alone else None)

    def shared_stream_key(self) -> Hashable:
        """Return the key of the triggers that share one stream of polls."""
        return ("enos", self.enos_conn_id, self.org_id, self.user_id, self.poll_interval, self.lookback)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Any:
        """Return the stream that Airflow polls for all triggers with the same key."""
        return LookStream(cls(**kwargs))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncGenerator[TriggerEvent, None]:
        """Yield the events for the flow of this trigger from the shared stream."""
        from airflow_provider_enos.client.polling.flow_watcher import stream

        with stream(self.watched_key) as watched:
            starting = asyncio.create_task(self._start(watched))
            try:
                async for look in shared_stream:
                    if not starting.done():
                        # The flow is not found yet. Polls of others are taken: Airflow waits until all have taken them.
                        continue
                    flow = starting.result()
                    for instance in await flow.ended(look):
                        yield TriggerEvent(payload(instance))  # type: ignore[no-untyped-call]
                    if flow.needs_all:
                        watched.show_all_again(flow.flow_id)
                    (watched.holding.add if flow.is_holding else watched.holding.discard)(flow)
            finally:
                starting.cancel()
                for started in await asyncio.gather(starting, return_exceptions=True):
                    if isinstance(started, _FlowEvents):
                        watched.holding.discard(started)
                        watched.remove(started.flow_id)

    async def _start(self, watched: Watched) -> _FlowEvents:
        """Find the flow, and have it polled."""
        flow_id = await find_flow(
            self._flow,
            self.read_settings,
            self.log,
            poll_interval=self.poll_interval,
            tolerance=self.poll_error_tolerance,
        )
        watched.add(flow_id)
        return _FlowEvents(self, flow_id)

    async def read_settings(self) -> Settings:
        """Return what the connection says now. Raises nothing but ``EnosError``."""
        return await current_settings(self.enos_conn_id, org_id=self.org_id, user_id=self.user_id)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire the events from a stream of its own: before Airflow 3.3, triggers do not share streams."""
        self._is_alone = True
        async with aclosing(self._own_stream()) as looks, aclosing(self.filter_shared_stream(looks)) as events:
            async for event in events:
                yield event

    async def _own_stream(self) -> AsyncGenerator[Look, None]:
        async with aclosing(LookStream(self).open_stream()) as looks:
            async for look, _ in looks:
                yield look
                await _settle(look)


class LookStream:
    """Produce a shared stream for Airflow. Its raw events are ``Look`` objects, and Airflow acknowledges each of them.

    It has the methods of Airflow's ``SharedStreamProducer``, a class that exists only from 3.3 on.
    """

    def __init__(self, trigger: EnosFlowEventTrigger) -> None:
        self._trigger = trigger
        self._looks = 0
        self._doubtful = 0
        """The last poll after which Airflow may have failed to store an event. Up to it, no memory is saved."""

    async def open_stream(self) -> AsyncGenerator[tuple[Look, tuple[int, Look]], None]:
        """Poll for ever. Errors are logged, and the next poll tries again."""
        from airflow_provider_enos.client.polling.flow_watcher import Watcher, stream
        from airflow_provider_enos.client.polling.shared_poller import SharedPoller

        one = self._trigger
        tolerance = PollTolerance(
            f"flows of {one.enos_conn_id}", tolerance=one.poll_error_tolerance, log=_log, gives_up=False
        )
        with stream(one.watched_key) as watched:
            watcher = Watcher(watched, poll_interval=one.poll_interval, lookback=one.lookback)
            while True:
                try:
                    # Read again after each error: keys may have changed.
                    async with SharedPoller(await one.read_settings()) as poller:
                        async for look in watcher.looks(poller):
                            if look.is_complete:
                                tolerance.answered(time())
                            self._looks += 1
                            yield look, (self._looks, look)
                except EnosError as error:
                    tolerance.note(error, time())
                await asyncio.sleep(min(one.poll_interval, _LONGEST_PAUSE))

    async def advance(self, batch: Sequence[Any]) -> None:
        """Note that Airflow is done with these polls. It has stored their events unless ``outcome`` says otherwise."""
        for item in batch:
            number, look = item.broker_payload
            if item.outcome.failed:
                # Airflow does not say which trigger failed, nor what it got since. The others save their memory later.
                self._doubtful = self._looks
            elif number > self._doubtful:
                await _settle(look)

    def get_advance_lane(self, broker_payload: Any) -> Hashable:
        """Return the same lane for all events, so that they are acknowledged in the order of the polls."""
        return None

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""


class _FlowEvents:
    """The ends that one trigger has fired, and those that it still has to fire."""

    def __init__(self, trigger: EnosFlowEventTrigger, flow_id: int) -> None:
        self.flow_id = flow_id
        self._statuses = trigger.statuses
        tenant = (trigger.enos_conn_id, trigger.org_id or "", trigger.user_id or "")
        key = "/".join(("enos_ends", *tenant, str(flow_id), ",".join(trigger.statuses)))
        self._state = AssetState(getattr(trigger, "asset_state_store", None), key, trigger.log)
        self._log = trigger.log
        self._memory: EndMemory | None = None
        self._saved: EndMemory | None = None
        self._is_loaded = False
        self._is_full = False
        self._pacer = EventPacer(_APART)
        self.needs_all = False
        """Whether a poll has shown the flow, but no poll has shown its whole window yet."""
        self._has_all = False

    @property
    def is_holding(self) -> bool:
        """Whether ends that were seen are held back until the next poll."""
        return self._pacer.is_holding

    async def ended(self, look: Look) -> list[FlowInstance]:
        """Return the instances whose ends are events now."""
        is_shown = self.flow_id in look.flows
        if not (is_shown or self.is_holding):
            return []
        if not (self._is_loaded or await self._load()):
            self.needs_all = is_shown
            return []
        self._has_all = self._has_all or (is_shown and look.window.whole)
        self.needs_all = is_shown and not self._has_all
        new, memory = self._news(look)
        if new:
            # Another triggerer may have fired them while this one was taken for dead.
            if not await self._load():
                self._pacer.hold(self._wanted(new))
                return []
            new, memory = self._news(look)
        wanted = await asyncio.gather(*(self._whole(look, instance) for instance in self._wanted(new)))
        due = self._pacer.due(wanted, monotonic())
        if memory is not None:
            for instance in wanted:
                if instance not in due and self._memory is not None:
                    memory = memory.without(instance, self._memory)
            self._remember(memory, look)
        for instance in due:
            self._log.info("Flow instance %s: %s", payload(instance)["flow_instance_id"], str(instance.status))
        return due

    def _news(self, look: Look) -> tuple[list[FlowInstance], EndMemory | None]:
        listed = look.flows.get(self.flow_id)
        # In a poll that does not show the flow, nothing is gone.
        window = look.window if listed is not None else replace(look.window, whole=False)
        return news(self._memory, self._pacer.seen(listed or []), window)

    def _wanted(self, new: list[FlowInstance]) -> list[FlowInstance]:
        return [instance for instance in new if instance.status.name in self._statuses]

    def _remember(self, memory: EndMemory, look: Look) -> None:
        if self._memory is None:
            self._log.info("Watching flow %s; %d ended instances are there already", self.flow_id, len(memory.ends))
        if memory.is_full and not self._is_full:
            self._log.warning(
                "Flow %s has more instances than can be remembered: only the latest %d are watched, by trigger time",
                self.flow_id,
                len(memory.ends),
            )
        self._is_full = memory.is_full
        self._memory = memory
        if memory != self._saved:
            look.when_told.append(partial(self._save, memory))

    async def _whole(self, look: Look, instance: FlowInstance) -> FlowInstance:
        """Return the instance with the fields that the list leaves out, if it can be read."""
        if instance.business_date is not None:
            return instance
        try:
            read = await look.read(instance.flow_instance_id)
        except EnosError as error:
            self._log.warning("Cannot read %s, so its event has no business date: %s", instance.flow_instance_id, error)
            return instance
        is_same = (read.flow_instance_id, read.status) == (instance.flow_instance_id, instance.status)
        return replace(read, nodes=()) if is_same else instance

    async def _load(self) -> bool:
        """Take over what is stored; return False if it cannot be read, so that no event may be fired."""
        kept = await self._state.load()
        if kept is None:
            return False
        for value in kept:
            memory = EndMemory.of(value)
            if memory is None:
                self._log.warning("The value in Airflow's asset state store for flow %s cannot be read", self.flow_id)
            else:
                self._memory = memory if self._memory is None else self._memory.merged_with(memory)
        self._is_loaded = True
        return True

    async def _save(self, memory: EndMemory) -> None:
        if await self._state.save(memory.to_json()):
            self._saved = memory


def _checked(queue: object) -> str:
    """Return the name of a trigger queue. Refuse it where this Airflow would ignore it."""
    if not isinstance(queue, str) or not queue.strip():
        raise EnosConfigError("queue", shown(queue), accepted="the name of a trigger queue, or None")
    if not event_triggers_take_queues():
        raise EnosConfigError(
            "queue",
            f"{shown(queue)}, but this Airflow gives event triggers no queue: any triggerer could run the trigger",
            accepted="None before Airflow 3.4",
        )
    return queue


async def _settle(look: Look) -> None:
    for do in look.when_told:
        await do()
