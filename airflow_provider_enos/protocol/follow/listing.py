"""Read List Flow Instances page by page, in the way that this gateway understands.

The documentation leaves open whether pages start at 0 or 1, what the fields to sort by are called, how large a page may
be, and what ``count`` counts. A gateway that wants another form refuses the request, always with the same code, or
silently does something else. So the way to ask is learned by asking, once for each kind of list, and kept in a
``ListStyle``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from airflow_provider_enos.errors import EnosApiError
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.models import FlowInstance, FlowInstancePage, FlowStatus
from airflow_provider_enos.protocol.wire import calls, replies
from airflow_provider_enos.protocol.wire.messages import Call, Procedure
from airflow_provider_enos.protocol.wire.paging import PAGE_FAULTS, PAGE_SIZE

SIZES = (20, 50, 100, 200)
"""Page sizes to ask for. Larger pages save few requests, and hold the event loop while they are parsed."""
_FEWEST = 10
"""EnOS's default page size. No gateway has a smaller cap, so a shorter page is the last one."""
_TIMES_BEFORE_PAGE_1 = 3
"""How often page 0 has to fail, or to show the same as page 1, before pages are taken to start at 1."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to ask for a list."""

    first_page: int
    most: int
    """The largest page size."""
    sort_by: str | None


Ask = Callable[[int, int, str | None], Call[FlowInstancePage]]
"""Makes the call for a page: its number, its size, the field to sort by."""


def newest_first(type: int, window: Window, statuses: Collection[FlowStatus]) -> Ask:
    """Return what makes the call for a page of the instances with these statuses, the newest first."""

    def ask(page_no: int, size: int, sort_by: str | None) -> Call[FlowInstancePage]:
        return calls.list_flow_instances(
            nodes=False,
            type=type,
            from_trigger_time=window.first,
            to_trigger_time=window.end,
            page_no=page_no,
            page_size=size,
            status=statuses,
            sort_by=sort_by,
            newest_first=True,
        )

    return ask


class ListStyle:
    """How to ask a gateway for one kind of list. All readers of this kind of list share it.

    :param sort_fields: possible names of the field to sort by, the likeliest first. If all are refused, do not sort.
    """

    def __init__(self, *sort_fields: str) -> None:
        self._ways = [
            Way(first_page, most, sort_by)
            for sort_by in (*sort_fields, None)
            for most in (SIZES[-1], PAGE_SIZE, _FEWEST)
            for first_page in (0, 1)
        ]
        self.way = self._ways[0]
        self.is_proven = False
        """Whether a page with entries was read like this."""
        self.counts_all = False
        """Whether ``count`` is known to count all entries of all pages."""
        self.largest_given = 0
        self._largest_taken = 0
        """Page size that was asked for and not refused."""
        self._page_faults = 0
        self._same_pages = 0

    def refused(self, page_no: int, size: int, error: EnosApiError) -> None:
        """Note that the first page was refused, and try the next way to ask. Raise ``error`` if there is none."""
        if error.code == replies.INVALID and size > self._largest_taken > 0:
            self.capped(self._largest_taken)
            return
        is_fault = page_no == 0 and error.code in PAGE_FAULTS
        position = self._ways.index(self.way) if self.way in self._ways else len(self._ways)
        if self.is_proven or position + 1 >= len(self._ways) or not (is_fault or error.code == replies.INVALID):
            # What has worked so far works no more: the next read learns it anew.
            self.way, self.is_proven, self._largest_taken = self._ways[0], False, 0
            raise error
        self._page_faults += is_fault
        self.way = self._ways[position + 1]

    def gave(self, size: int, page: FlowInstancePage) -> None:
        """Learn from a page that was asked for with this size."""
        entries = len(page.instances)
        self._largest_taken = max(self._largest_taken, size)
        self.largest_given = max(self.largest_given, entries)
        self.counts_all = self.counts_all or (page.count is not None and page.count > entries)

    def gave_first(self, page: FlowInstancePage) -> None:
        """Note that the first page was read like this."""
        if self.way.first_page == 0:
            self._page_faults = 0
        self.is_proven = self.is_proven or (bool(page.instances) and not 0 < self._page_faults < _TIMES_BEFORE_PAGE_1)
        if not self.is_proven:
            # An error for page 0 may pass. To begin with page 1 would then leave out the newest entries.
            self.way = replace(self.way, first_page=0)

    def starts_at_1(self) -> None:
        """Note that page 1 is the first page."""
        self.way = replace(self.way, first_page=1)
        self.is_proven = True

    def same_pages(self) -> None:
        """Note that page 1 has shown the same as page 0."""
        self._same_pages += 1
        if self._same_pages >= _TIMES_BEFORE_PAGE_1:
            self.starts_at_1()

    def capped(self, most: int) -> None:
        """Note that pages have no more entries than this, whatever size is asked for."""
        self.way = replace(self.way, most=most)


def size_for(entries: int) -> int:
    """Return the smallest page size with room for this many entries, or else the largest one."""
    return next((size for size in SIZES if size >= entries), SIZES[-1])


class PageReader:
    """Read the pages of one list, one after the other.

    :param ask: makes the call for a page.
    :param size: the page size; the gateway may give fewer entries.
    """

    def __init__(self, style: ListStyle, ask: Ask, size: int) -> None:
        self._style = style
        self._ask = ask
        self._wanted_size = self._size = size
        self._next: int | None = None
        self._short = 0
        self.entries: dict[str, FlowInstance] = {}
        """All entries that were read, by id."""
        self.requests = 0
        self.at_end = False
        """Whether there are no more pages."""

    def next(self) -> Procedure[list[FlowInstance]]:
        """Read the next page; return its entries, also those that an earlier page had."""
        if self._next is None:
            page = yield from self._first()
        else:
            page = yield from self._request(self._next)
        number = self._next or 0
        fresh = [one for one in page.instances if one.flow_instance_id not in self.entries]
        self.entries.update((one.flow_instance_id, one) for one in fresh)
        if number == 1 and page.instances and not fresh and self._style.way.first_page == 0:
            self._style.same_pages()
        elif self._is_last(page, fresh):
            self.at_end = True
        if self._short and fresh:
            # A page was shorter than asked for, and yet not the last one: this gateway gives no more.
            self._style.capped(self._short)
        self._short = 0
        if not self.at_end and len(page.instances) < self._size:
            # The gateway counts pages in the size that it gives.
            self._short = self._size = len(page.instances)
        self._next = number + 1
        return list(page.instances)

    def _first(self) -> Procedure[FlowInstancePage]:
        page: FlowInstancePage | None = None
        while page is None:
            way = self._style.way
            self._size = min(self._wanted_size, way.most)
            try:
                page = yield from self._request(way.first_page)
            except EnosApiError as error:
                self._style.refused(way.first_page, self._size, error)
        self._next = way.first_page
        self._style.gave_first(page)
        if not page.instances and way.first_page == 0 and not self._style.is_proven:
            page = yield from self._after_an_empty_page_0(page)
        return page

    def _after_an_empty_page_0(self, empty: FlowInstancePage) -> Procedure[FlowInstancePage]:
        """Return page 1, which may be the first page."""
        try:
            page = yield from self._request(1)
        except EnosApiError as error:
            if error.code != replies.INVALID:
                raise
            return empty
        if page.instances:
            self._style.starts_at_1()
            self._next = 1
        return page

    def _request(self, page_no: int) -> Procedure[FlowInstancePage]:
        self.requests += 1
        page: FlowInstancePage = yield self._ask(page_no, self._size, self._style.way.sort_by)
        self._style.gave(self._size, page)
        return page

    def _is_last(self, page: FlowInstancePage, fresh: list[FlowInstance]) -> bool:
        length = len(page.instances)
        if not fresh or length < min(self._size, _FEWEST):
            return True
        if self._style.counts_all and page.count is not None:
            return page.count <= len(self.entries)
        return length < min(self._size, self._style.largest_given)
