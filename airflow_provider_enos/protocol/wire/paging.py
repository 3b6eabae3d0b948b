"""Fetch all pages of List Flow Instances and of Search Flow, whether the gateway numbers them from 0 or from 1.

The documentation says both, and does not say what ``count`` counts. So page 0 is asked for first. If page 0 is refused,
empty, or the same as page 1, no entry is lost and none comes twice.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf
from typing import Generic, Protocol, TypeVar

from airflow_provider_enos.errors import EnosApiError, EnosReplyError, EnosRequestError
from airflow_provider_enos.protocol.wire import replies
from airflow_provider_enos.protocol.wire.messages import Call, Procedure

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

PAGE_SIZE = 50
"""The largest size that the documentation recommends."""
_MOST_PAGES = 2_000
PAGE_FAULTS = (replies.INTERNAL, 500)
"""Codes of a service that fails on page 0. Not 503 and the like: then page 0 may exist, with entries."""


class Page(Protocol[T_co]):
    """One page of a list."""

    @property
    def entries(self) -> tuple[tuple[Hashable, T_co], ...]:
        """The entries of the page, each with its id."""

    @property
    def count(self) -> int | None:
        """The number of entries in all, or of this page; None where EnOS does not say."""


class Pager(Generic[T]):
    """Tell which page to fetch next, and which of its entries are new.

    ``or_else``: another form of the call, for releases of EnOS that refuse the first form as invalid on every page.
    """

    def __init__(
        self,
        call_for: Callable[[int], Call[Page[T]]],
        page_size: int = PAGE_SIZE,
        *,
        or_else: Callable[[int], Call[Page[T]]] | None = None,
    ) -> None:
        self._call_for = call_for
        self._or_else = or_else
        self._page_size = page_size
        self._page_no = 0
        self._seen: set[Hashable] = set()
        self.done = False

    @property
    def call(self) -> Call[Page[T]]:
        """The call for the next page."""
        return self._call_for(self._page_no)

    def refused(self, error: EnosApiError) -> None:
        """Go on with page 1 or with the other form of the call. Raises ``error`` if neither is left."""
        if self._page_no == 0 and (isinstance(error, EnosRequestError) or error.code in PAGE_FAULTS):
            self._page_no = 1
        elif self._or_else is not None and error.code == replies.INVALID:
            self._call_for, self._or_else = self._or_else, None
            self._page_no = 0
        else:
            raise error

    def take(self, page: Page[T]) -> list[T]:
        """Return the entries of the page that no earlier page had."""
        self._or_else = None
        fresh = []
        for key, entry in page.entries:
            if key not in self._seen:
                self._seen.add(key)
                fresh.append(entry)
        self.done = self._is_last(page, fresh)
        self._page_no += 1
        if self._page_no > _MOST_PAGES:
            # Else a gateway that always has something new would be asked forever.
            raise EnosReplyError(f"the list has more than {_MOST_PAGES:,} pages")
        return fresh

    def _is_last(self, page: Page[T], fresh: list[T]) -> bool:
        if self._page_no == 0 and not page.entries:
            return False
        if self._page_no > 1 and not fresh:
            # Else a gateway that returns the same page for every number would be asked forever.
            return True
        # A gateway may return smaller pages than it was asked for; then ``count`` says that there are more.
        return len(page.entries) < self._page_size and (page.count is None or page.count <= len(self._seen))


def all_entries(call_for: Callable[[int], Call[Page[T]]], page_size: int = PAGE_SIZE) -> Procedure[list[T]]:
    """Return all entries of all pages."""
    return all_of(Pager(call_for, page_size))


def all_of(pager: Pager[T], most_pages: float = inf) -> Procedure[list[T]]:
    """Return all entries of the pages of ``pager``, or of the first ``most_pages`` of them."""
    found: list[T] = []
    pages = 0
    while not pager.done and pages < most_pages:
        try:
            page = yield pager.call
        except EnosApiError as error:
            pager.refused(error)
        else:
            found += pager.take(page)
            pages += 1
    return found
