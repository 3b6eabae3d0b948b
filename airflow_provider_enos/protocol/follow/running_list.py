"""The list of the flow instances that run: one page of it replaces as many single looks as it has entries."""

from __future__ import annotations

from airflow_provider_enos.protocol.follow.listing import SIZES, ListStyle, PageReader
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.models import FlowInstancePage, FlowStatus
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Call

ACTIVE = tuple(status for status in FlowStatus if not status.ended)
WORTH = 5
"""A page pays if it saves at least this many single looks."""


def running(type: int, style: ListStyle, window: Window) -> PageReader:
    """Return a reader of the instances of one type that run in ``window``, the newest first.

    A gateway that ignores the filter lists instances that have ended, too.
    """

    def ask(page_no: int, size: int, sort_by: str | None) -> Call[FlowInstancePage]:
        return calls.list_flow_instances(
            nodes=False,
            type=type,
            from_trigger_time=window.first,
            to_trigger_time=window.end,
            page_no=page_no,
            page_size=size,
            status=ACTIVE,
            sort_by=sort_by,
            newest_first=True,
        )

    return PageReader(style, ask, SIZES[-1])
