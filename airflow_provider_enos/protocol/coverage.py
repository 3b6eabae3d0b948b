"""Which instances the list shows as running: one page answers for as many single looks as it has entries."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from airflow_provider_enos.protocol import calls
from airflow_provider_enos.protocol.listing import SIZES, ListStyle, PageReader
from airflow_provider_enos.protocol.messages import Call, Procedure
from airflow_provider_enos.protocol.models import FlowInstance, FlowInstancePage, FlowStatus
from airflow_provider_enos.protocol.windows import Window

ACTIVE = tuple(status for status in FlowStatus if not status.ended)
WORTH = 5
"""A page has to save so many single looks."""


@dataclass(frozen=True, slots=True)
class Covered:
    """What the list has shown, and what that took."""

    shown: tuple[FlowInstance, ...]
    """Also others than those that were looked for; where the gateway ignores the filter, also such as have ended."""
    requests: int
    is_whole: bool
    """Whether the list was read to its end."""


def running(
    type: int, style: ListStyle, window: Window, wanted: Collection[str], most_pages: int
) -> Procedure[Covered]:
    """Read what runs in ``window`` of one type, the newest first, as long as another page may be worth it."""

    def ask(page_no: int, size: int, sort_by: str | None) -> Call[FlowInstancePage]:
        return calls.list_flow_instances(
            type=type,
            from_trigger_time=window.first,
            to_trigger_time=window.end,
            page_no=page_no,
            page_size=size,
            status=ACTIVE,
            sort_by=sort_by,
            newest_first=True,
        )

    pages = PageReader(style, ask, SIZES[-1])
    missing = set(wanted)
    for _ in range(most_pages):
        page = yield from pages.next()
        missing.difference_update(one.flow_instance_id for one in page)
        if len(missing) < WORTH or pages.at_end:
            break
    return Covered(tuple(pages.entries.values()), pages.requests, pages.at_end)
