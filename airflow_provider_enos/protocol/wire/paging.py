"""All pages of List Flow Instances and of Search Flow, whichever way the gateway numbers them.

The documentation says both that pages start at 0 and that they start at 1, and leaves open what ``count`` counts, where
there is one. So page 0 is asked for first; where that is refused, empty, or the same as page 1, nothing is lost and
nothing comes twice.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from airflow_provider_enos.errors import EnosApiError, EnosReplyError, EnosRequestError
from airflow_provider_enos.protocol.wire import replies
from airflow_provider_enos.protocol.wire.messages import Call, Procedure

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

PAGE_SIZE = 50
"""What the documentation recommends at the most."""
_MOST_PAGES = 2_000
PAGE_FAULTS = (replies.INTERNAL, 500)
"""What a service may say that stumbles over a page 0. Not 503 and the like: the page may be there, with entries."""


class Page(Protocol[T_co]):
    """One page of a list."""

    @property
    def entries(self) -> tuple[tuple[Hashable, T_co], ...]:
        """What is on it, each with its id."""

    @property
    def count(self) -> int | None:
        """How many there are in all, or on this page; None where EnOS does not say."""


class Pager(Generic[T]):
    """Which page to ask for next, and what of it is new.

    ``or_else``: another way to ask, where EnOS finds the first one invalid whatever page is asked for.
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
        """The call for the page that is due."""
        return self._call_for(self._page_no)

    def refused(self, error: EnosApiError) -> None:
        """The page was refused: pages start at 1, or it is to be asked for in another way, or the error stands."""
        if self._page_no == 0 and (isinstance(error, EnosRequestError) or error.code in PAGE_FAULTS):
            self._page_no = 1
        elif self._or_else is not None and error.code == replies.INVALID:
            self._call_for, self._or_else = self._or_else, None
            self._page_no = 0
        else:
            raise error

    def take(self, page: Page[T]) -> list[T]:
        """The entries of the page that was due which no earlier page had."""
        self._or_else = None
        fresh = []
        for key, entry in page.entries:
            if key not in self._seen:
                self._seen.add(key)
                fresh.append(entry)
        self.done = self._is_last(page, fresh)
        self._page_no += 1
        if self._page_no > _MOST_PAGES:
            # A gateway that always has something new would be asked for ever.
            raise EnosReplyError(f"the list has more than {_MOST_PAGES:,} pages")
        return fresh

    def _is_last(self, page: Page[T], fresh: list[T]) -> bool:
        if self._page_no == 0 and not page.entries:
            return False
        if self._page_no > 1 and not fresh:
            # A gateway that gives the same page for every number would be asked for ever.
            return True
        # A gateway may give smaller pages than it was asked for, and says then that there are more.
        return len(page.entries) < self._page_size and (page.count is None or page.count <= len(self._seen))


def all_entries(call_for: Callable[[int], Call[Page[T]]], page_size: int = PAGE_SIZE) -> Procedure[list[T]]:
    """All entries of all pages, at once."""
    pager = Pager(call_for, page_size)
    found: list[T] = []
    while not pager.done:
        try:
            page = yield pager.call
        except EnosApiError as error:
            pager.refused(error)
        else:
            found += pager.take(page)
    return found
