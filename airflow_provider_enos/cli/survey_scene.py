"""What a survey looks at: flows and instances that it finds by reading, and one run if the user wants it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any, TypeVar

from airflow_provider_enos.cli.runner import Failure
from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol import trigger_time as times
from airflow_provider_enos.protocol.models import (
    Flow,
    FlowInstance,
    FlowInstancePage,
    FlowPage,
    FlowStatus,
    Outcome,
    my_flows_of,
    time_zone_of,
)
from airflow_provider_enos.protocol.models.instances import time_of
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.exchange import Tenant
from airflow_provider_enos.protocol.wire.messages import Call, Exchange, Sleep
from airflow_provider_enos.protocol.wire.probes import ProbingGateway, Seen

T = TypeVar("T")

_DAYS = (7, 90)
"""How far back to look for instances."""
_DAY = 86_400_000
_LISTED = 50
"""Entries of a page."""
_MOST_FLOWS, _ENOUGH_FLOWS = 12, 3
_MOST_INSTANCES = 12
_MOST_NODES = 3
"""Nodes of an instance whose logs are asked for."""
_NOT_LET_IN = (62101, 62105)
"""Codes for a user that does not belong to the organisation, or is locked."""
_NO_PAGE = FlowInstancePage((), None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The run that the user wants to be started.

    :param seconds: how long to follow it at most.
    """

    flow_id: int
    from_task_id: int | None
    poll_interval: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that has instances: a type, and a window of trigger times."""

    type: int
    first: int
    end: int

    def call(
        self,
        page_no: int,
        page_size: int,
        sort_by: str | None,
        *,
        status: tuple[FlowStatus, ...] = (),
        newest_first: bool = False,
    ) -> Call[Any]:
        """Return the call for one page."""
        return calls.list_flow_instances(
            type=self.type,
            from_trigger_time=self.first,
            to_trigger_time=self.end,
            page_no=page_no,
            page_size=page_size,
            status=status,
            sort_by=sort_by,
            newest_first=newest_first,
        )


@dataclass(slots=True)
class Run:
    """A run that was started, and what was seen of it.

    :param sent_at: its trigger time, the gateway's time when it was started, in epoch milliseconds.
    :param switched_off: whether the flow has a schedule that is off.
    """

    flow_id: int
    flow_instance_id: str
    sent_at: int
    switched_off: bool
    log_while_running: bool | None = None
    """Whether the log of a node was there while the node ran; None if no node was seen running."""
    missing_log: Seen | None = None
    """The reply for the log of a node that had not begun."""


@dataclass(slots=True)
class Scene:
    """The gateway, and what was found there.

    :param note: what to call with a line about the progress.
    """

    gateway: ProbingGateway
    tenant: Tenant
    note: Callable[[str], None]
    no_refresh: bool = False
    zone_text: str = ""
    list_sorters: list[str] = field(default_factory=list)
    """The names of the field to sort instances by that the gateway accepts."""
    search_sorters: list[str] = field(default_factory=list)
    listing: Listing | None = None
    flows: list[tuple[Flow, Seen]] = field(default_factory=list)
    instances: list[tuple[FlowInstance, Seen]] = field(default_factory=list)
    listed: list[FlowInstance] = field(default_factory=list)
    run: Run | None = None
    run_requested: bool = False
    """Whether the gateway was asked to start it."""
    refreshed: dict[str, Any] | None = None
    """The answers to the questions about a refresh, which is done once."""

    @property
    def recent(self) -> Listing:
        """The list of the last day, which may be empty."""
        return Listing(0, self.now - _DAY, self.now)

    @property
    def now(self) -> int:
        """The gateway's time in epoch milliseconds."""
        return int(self.gateway.now() * 1000)

    @property
    def zone(self) -> tzinfo | None:
        """The zone of Get Timezone; None if its name cannot be read."""
        return times.zone_of(self.zone_text)

    @property
    def list_sorter(self) -> str | None:
        """A name to sort instances by; None where the gateway accepts none."""
        return next(iter(self.list_sorters), None)

    @property
    def flow_id(self) -> int:
        """The id of a flow that exists, if there is one."""
        return self.flows[0][0].flow_id if self.flows else 1

    def ask(self, call: Call[Any]) -> Exchange[Seen]:
        """Carry out a call that only reads."""
        if not call.safe:
            raise AssertionError(f"a survey does not send {call.operation}")
        return self.gateway.ask(call, self.tenant)

    def ask_twice(self, call: Call[Any]) -> Exchange[tuple[Seen, Seen]]:
        """Send the same signed request twice."""
        return self.gateway.ask_twice(call, self.tenant)


def look_around(scene: Scene, wanted: Wanted | None) -> Exchange[None]:
    """Fill the scene. Raise the ``EnosError`` if keys, user or connection do not work."""
    zone = yield from scene.ask(calls.get_time_zone())
    if not zone.accepted:
        raise Failure(zone.problem)
    scene.zone_text = read(time_zone_of, zone) or ""
    user = calls.list_flow_instances(
        type=0,
        from_trigger_time=scene.now - times.MINUTE,
        to_trigger_time=scene.now,
        page_no=1,
        page_size=1,
        sort_by=None,
    )
    seen = yield from scene.ask(user)
    if seen.code in _NOT_LET_IN or seen.http_status == 403:
        raise Failure(seen.problem)
    yield from _find_sorters(scene)
    yield from _find_flows(scene)
    if wanted is not None:
        yield from _start(scene, wanted)
    scene.note("looking for instances")
    yield from _find_instances(scene)


def read(parse: Callable[[Any], T], seen: Seen) -> T | None:
    """Return what a reply says; None if it says nothing that can be read."""
    try:
        return parse(seen.data) if seen.accepted else None
    except EnosReplyError:
        return None


def page_of(seen: Seen) -> FlowInstancePage:
    """Return a page of instances, an empty one if it cannot be read."""
    return read(FlowInstancePage.parse_without_nodes, seen) or _NO_PAGE


def _find_sorters(scene: Scene) -> Exchange[None]:
    scene.note("looking at the lists")
    recent = scene.recent
    for name in calls.SORT_FIELDS:
        # Page 1 exists whether the first page is 0 or 1.
        if (yield from scene.ask(recent.call(1, 1, name))).accepted:
            scene.list_sorters.append(name)
        if (yield from scene.ask(calls.search_flows(page_no=1, page_size=1, sort_by=name))).accepted:
            scene.search_sorters.append(name)


def _find_flows(scene: Scene) -> Exchange[None]:
    mine = yield from scene.ask(calls.get_my_flow())
    ids = [one.flow_id for one in sorted(read(my_flows_of, mine) or (), key=lambda one: not one.editable)]
    for page_no in (0, 1):
        for sorter in scene.search_sorters[:1]:
            call = calls.search_flows(page_no=page_no, page_size=_LISTED, sort_by=sorter)
            page = read(FlowPage.parse, (yield from scene.ask(call)))
            ids += [one.flow_id for one in page.flows] if page else []
    for number, flow_id in enumerate(list(dict.fromkeys(ids))[:_MOST_FLOWS], 1):
        scene.note(f"flow {number}")
        seen = yield from scene.ask(calls.get_flow(flow_id))
        flow = read(Flow.parse, seen)
        if flow is not None and flow.nodes:
            scene.flows.append((flow, seen))
        if len(scene.flows) == _ENOUGH_FLOWS:
            return


def _find_instances(scene: Scene) -> Exchange[None]:
    end = scene.now + times.MINUTE
    for days in _DAYS:
        for kind in calls.ALL_FLOW_TYPES:
            listing = Listing(int(kind), end - days * _DAY, end)
            found: dict[str, FlowInstance] = {}
            for page_no in (0, 1):
                seen = yield from scene.ask(listing.call(page_no, _LISTED, scene.list_sorter, newest_first=True))
                found |= dict(page_of(seen).entries)
            if found and (scene.listing is None or (len(scene.listed) < 2 and len(found) > len(scene.listed))):
                scene.listing, scene.listed = listing, list(found.values())
        if len(scene.listed) > 1:
            break
    ids = [one.flow_instance_id for one in sorted(scene.listed, key=_how_telling)]
    ids = [*([scene.run.flow_instance_id] if scene.run else []), *ids]
    for number, flow_instance_id in enumerate(list(dict.fromkeys(ids))[:_MOST_INSTANCES], 1):
        scene.note(f"instance {number}")
        seen = yield from scene.ask(calls.get_flow_instance(flow_instance_id))
        instance = read(FlowInstance.parse, seen)
        if instance is not None:
            scene.instances.append((instance, seen))


def _how_telling(instance: FlowInstance) -> int:
    """Sort those first that say most: one that runs, then one that failed, of which nodes may not have begun."""
    return 0 if instance.status.working else 1 if instance.status.outcome is Outcome.FAILED else 2


def _start(scene: Scene, wanted: Wanted) -> Exchange[None]:
    """Start the run, and watch it until it has ended."""
    seen = yield from scene.ask(calls.get_flow(wanted.flow_id))
    flow = read(Flow.parse, seen)
    if flow is None:
        raise Failure(f"flow {wanted.flow_id} cannot be read: {seen.problem or 'the reply is none of a flow'}")
    moment = scene.now
    call = (
        calls.trigger_flow(wanted.flow_id, moment)
        if wanted.from_task_id is None
        else calls.trigger_flow_from_task(wanted.flow_id, wanted.from_task_id, moment)
    )
    scene.run_requested = True
    # Not safe, so the exchange never sends it again where its reply is lost.
    seen = yield from scene.gateway.ask(call, scene.tenant)
    flow_instance_id = read(call.parse, seen)
    if flow_instance_id is None:
        # Where it was sent twice, on its way or by us, the first copy may have started it.
        raise Failure(f"EnOS names no instance of flow {wanted.flow_id}: {seen.problem or 'the reply has no id'}")
    scene.run = Run(wanted.flow_id, flow_instance_id, moment, flow.switched_off)
    yield from _watch(scene, scene.run, wanted)


def _watch(scene: Scene, run: Run, wanted: Wanted) -> Exchange[None]:
    deadline = scene.now + wanted.seconds * 1000
    while True:
        seen = yield from scene.ask(calls.get_flow_instance(run.flow_instance_id))
        instance = read(FlowInstance.parse, seen)
        if instance is not None:
            scene.note(f"{run.flow_instance_id}: {instance.status}")
            if not run.log_while_running:
                # It may come a while after the node has begun.
                seen_now = yield from log_while_running(scene, instance)
                run.log_while_running = run.log_while_running if seen_now is None else seen_now
            if run.missing_log is None:
                run.missing_log = yield from log_of_waiting_node(scene, instance)
            if instance.status.ended and not instance.working_nodes:
                return
        if scene.now >= deadline:
            return
        yield Sleep(wanted.poll_interval)


def log_while_running(scene: Scene, instance: FlowInstance) -> Exchange[bool | None]:
    """Return whether a running node has a log; None if the instance has no node that runs."""
    for node in instance.working_nodes[:_MOST_NODES]:
        log = yield from scene.ask(calls.get_task_instance_log(node.task_instance_id))
        # It may have ended in between.
        if (yield from _status_of(scene, node.task_instance_id)) == FlowStatus.RUNNING:
            return log.accepted if log.accepted or log.code in (62109, 62102) else None
    return None


def log_of_waiting_node(scene: Scene, instance: FlowInstance) -> Exchange[Seen | None]:
    """Return the reply for the log of a node that exists and has not begun; None if there is no such node."""
    ids = [node.task_instance_id for node in instance.nodes if node.status == FlowStatus.INIT and node.task_instance_id]
    for task_instance_id in ids[:_MOST_NODES]:
        log = yield from scene.ask(calls.get_task_instance_log(task_instance_id))
        if not log.accepted and (yield from _status_of(scene, task_instance_id)) is not None:
            return log
    return None


def _status_of(scene: Scene, task_instance_id: str) -> Exchange[FlowStatus | None]:
    call = calls.get_task_instance(task_instance_id)
    run = read(call.parse, (yield from scene.ask(call)))
    return run.status if run is not None else None


def readings(text: str | None, zone: tzinfo | None) -> tuple[int, int] | None:
    """Return a time as epoch milliseconds, read as UTC and in the zone; None if it cannot be read, or both agree."""
    moment = time_of(text)
    if moment is None or zone is None:
        return None
    as_utc, in_zone = (int(moment.replace(tzinfo=one).timestamp() * 1000) for one in (UTC, zone))
    return None if as_utc == in_zone else (as_utc, in_zone)
