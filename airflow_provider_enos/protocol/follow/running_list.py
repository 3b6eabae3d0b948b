"""The list of the flow instances that run. A page of it replaces one single poll for each entry."""

from __future__ import annotations

from airflow_provider_enos.protocol.follow.listing import SIZES, ListStyle, PageReader, newest_first
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.models import FlowStatus

ACTIVE = tuple(status for status in FlowStatus if not status.ended)
WORTH = 5
"""A page pays if it saves at least this many single polls."""


def running(type: int, style: ListStyle, window: Window) -> PageReader:
    """Return a reader of the instances of one type that run in ``window``, the newest first.

    A gateway that ignores the filter lists instances that have ended, too.
    """
    return PageReader(style, newest_first(type, window, ACTIVE), SIZES[-1])
