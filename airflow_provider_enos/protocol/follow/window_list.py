"""List the flow instances of a window of trigger times.

EnOS is asked for the window: whether an instance lies in it cannot be told from the reply, since the zone of the times
there is not documented.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.errors import EnosApiError
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure
from airflow_provider_enos.protocol.wire.paging import PAGE_SIZE, Pager, all_entries

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowInstance


def instances_in(window: Window, types: Iterable[int], flow_id: int) -> Procedure[list[FlowInstance]]:
    """Return the instances of one flow that EnOS lists under these types, whatever their status."""
    found: dict[str, FlowInstance] = {}
    for type in types:
        # The id of the flow is a part of the ids of its instances.
        listed = yield from all_entries(partial(_page, type, window, str(flow_id)))
        found.update((one.flow_instance_id, one) for one in listed if one.flow_id == flow_id)
    return list(found.values())


def overview(
    window: Window, types: Iterable[int], flow_ids: Iterable[int], *, most_pages: int
) -> Procedure[list[tuple[int, int, FlowInstance]] | None]:
    """Return type, flow and instance, without its nodes, of all instances of these flows.

    Return None if that takes more than ``most_pages`` pages.
    """
    wanted = set(flow_ids)
    expression = str(*wanted) if len(wanted) == 1 else ""
    found: list[tuple[int, int, FlowInstance]] = []
    for type in types:
        pager = Pager(partial(_page, type, window, expression))
        while not pager.done:
            if most_pages <= 0:
                return None
            most_pages -= 1
            try:
                page = yield pager.call
            except EnosApiError as error:
                pager.refused(error)
            else:
                fresh = pager.take(page)
                found += [(type, one.flow_id, one) for one in fresh if one.flow_id in wanted]
    return found


def _page(type: int, window: Window, expression: str, page_no: int) -> Any:
    return calls.list_flow_instances(
        type=type,
        from_trigger_time=window.first,
        to_trigger_time=window.end,
        page_no=page_no,
        page_size=PAGE_SIZE,
        expression=expression,
        nodes=False,
    )
