"""Strip the frames of a driver from exceptions: their local variables hold the token."""

from __future__ import annotations

import sys
from types import TracebackType


class without_frames:
    """Remove traceback, cause and context from any exception that leaves the block.

    Crash reporters send the local variables of each frame in a traceback. In the HTTP libraries and the exchange these
    are the token, the signature and the headers. ``BaseException`` is stripped too: tasks are timed out and killed, and
    coroutines cancelled. The exception object stays the same, so that ``task.cancel(message)`` and ``asyncio.timeout``
    work. The exception that the caller was handling before remains the context.
    """

    __slots__ = ("_handled",)

    def __enter__(self) -> None:
        self._handled = sys.exception()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.__traceback__ = None
            error.__cause__ = None
            # The caller may be handling, and raising again, this very exception.
            error.__context__ = self._handled if self._handled is not error else None
