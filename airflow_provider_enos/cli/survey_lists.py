"""How to ask about lists of flows and instances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_enos.cli.survey_answers import (
    NO_INSTANCE,
    NO_RUN,
    Answer,
    Asked,
    agreed,
    unknown,
)
from airflow_provider_enos.cli.survey_scene import (
    Scene,
    page_of,
    read,
)
from airflow_provider_enos.protocol import trigger_time as times
from airflow_provider_enos.protocol.models import FlowPage, FlowStatus
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Call
from airflow_provider_enos.protocol.wire.probes import Seen


def _first_of(scene: Scene, make: Callable[[int], Call[Any]], ids: Callable[[Seen], list[Any]]) -> Asked:
    zero = yield from scene.ask(make(0))
    first = yield from scene.ask(make(1))
    if not first.accepted:
        return unknown(first.problem)
    if zero.refused:
        return Answer(1)
    if not zero.accepted:
        return unknown(zero.problem)
    on_zero, on_first = ids(zero), ids(first)
    if not on_zero and not on_first:
        return unknown("the list is empty")
    # Where both are the same, page 0 is another name of page 1.
    return Answer(0 if on_zero and on_zero != on_first else 1)


def _ids_of_instances(seen: Seen) -> list[Any]:
    return [name for name, _ in page_of(seen).entries]


def first_page(scene: Scene) -> Asked:
    """Ask for pages 0 and 1 of the instances, with one entry each."""
    listing = scene.listing
    if listing is None:
        # A refusal of page 0 tells, even if the list is empty.
        return (yield from _first_of(scene, lambda page: scene.recent.call(page, 1, scene.list_sorter), lambda _: []))
    return (yield from _first_of(scene, lambda page: listing.call(page, 1, scene.list_sorter), _ids_of_instances))


def search_first_page(scene: Scene) -> Asked:
    """Ask for pages 0 and 1 of the flows, with one entry each."""
    if not scene.search_sorters:
        return unknown("Search Flow accepts no field to sort by that is known")
    by = scene.search_sorters[0]

    def ids(seen: Seen) -> list[Any]:
        page = read(FlowPage.parse, seen)
        return [flow.flow_id for flow in page.flows] if page else []

    return (yield from _first_of(scene, lambda page: calls.search_flows(page_no=page, page_size=1, sort_by=by), ids))


def search_sorters(scene: Scene) -> Asked:
    """Tell by which fields the gateway sorts flows."""
    yield from ()
    snake, camel = (name in scene.search_sorters for name in calls.SORT_FIELDS)
    if not snake and not camel:
        return unknown("neither is accepted")
    return Answer("either" if snake and camel else "snake" if snake else "camel")


def list_sorters(scene: Scene) -> Asked:
    """Tell by which fields the gateway sorts instances."""
    yield from ()
    return Answer(None, " and ".join(scene.list_sorters) or "neither create_time nor createTime is accepted")


def count_means(scene: Scene) -> Asked:
    """Ask for pages with one entry, and compare their counts with how many there are."""
    if scene.listing is None:
        return unknown(NO_INSTANCE)
    ids: set[str] = set()
    counts: set[int] = set()
    for page_no in (0, 1, 2):
        page = page_of((yield from scene.ask(scene.listing.call(page_no, 1, scene.list_sorter))))
        if len(page.instances) == 1:
            ids.add(page.instances[0].flow_instance_id)
            counts |= set() if page.count is None else {page.count}
    if max(counts, default=0) > 1:
        return Answer("total")
    return Answer("page") if counts == {1} and len(ids) > 1 else unknown("there are too few instances to compare")


def page_size(scene: Scene) -> Asked:
    """Ask for a page of 200 entries."""
    listing = scene.listing or scene.recent
    seen = yield from scene.ask(listing.call(1, 200, scene.list_sorter))
    if not seen.accepted:
        return Answer(None, "200 entries are refused")
    found = len(page_of(seen).instances)
    return Answer(None, "200 entries are accepted" + (", and come" if found >= 200 else ""))


def keeps_order(scene: Scene) -> Asked:
    """Ask for the oldest and for the newest instances first, and look at when they were created."""
    if scene.listing is None or scene.list_sorter is None:
        return unknown(NO_INSTANCE if scene.listing is None else "no field to sort by is accepted")
    listing = scene.listing
    for page_no in (0, 1):
        created = []
        for newest_first in (False, True):
            call = listing.call(page_no, 20, scene.list_sorter, newest_first=newest_first)
            page = page_of((yield from scene.ask(call)))
            created.append([one.created_time or "" for one in page.instances])
        if len(set(created[0])) > 1 and len(set(created[1])) > 1:
            kept = created[0] == sorted(created[0]) and created[1] == sorted(created[1], reverse=True)
            return Answer(None, "yes" if kept else "no")
    return unknown("there are too few instances to compare")


def keeps_statuses(scene: Scene) -> Asked:
    """Ask for the instances with one status, where there are others."""
    present = {one.status for one in scene.listed if one.status.ended and one.status.known}
    if scene.listing is None or len({one.status for one in scene.listed}) < 2 or not present:
        return unknown("there are too few instances with different statuses")
    asked: FlowStatus = min(present, key=lambda status: status.name)
    came: set[FlowStatus] = set()
    for page_no in (0, 1):
        call = scene.listing.call(page_no, 50, scene.list_sorter, status=(asked,))
        came |= {one.status for one in page_of((yield from scene.ask(call))).instances}
    if came - {asked}:
        return Answer(None, "no")
    return Answer(None, "yes") if came else unknown("nothing came")


def listed_type(scene: Scene) -> Asked:
    """Look for the run in the lists of all three types."""
    if scene.run is None:
        return unknown(NO_RUN)
    found = []
    for kind in calls.ALL_FLOW_TYPES:
        for page_no in (0, 1):
            call = calls.list_flow_instances(
                type=kind,
                from_trigger_time=scene.run.sent_at - times.MINUTE,
                to_trigger_time=scene.run.sent_at + times.MINUTE,
                page_no=page_no,
                page_size=50,
                expression=str(scene.run.flow_id),
                sort_by=scene.list_sorter,
            )
            if scene.run.flow_instance_id in _ids_of_instances((yield from scene.ask(call))):
                found.append(int(kind))
    return agreed(found, "no list has the run")
