"""Exceptions that leave a driver carry no frames of its inside, where local variables hold the token."""

from __future__ import annotations

import sys
from types import TracebackType


class without_frames:
    """Take from whatever is raised inside the block its traceback, cause and context, and let it go on.

    Crash reporters send the local variables of each frame that an exception came through. Those of the HTTP libraries
    and of the exchange hold the token, the signature and the headers. It holds for ``BaseException`` alike: a task that
    is timed out or killed, and a cancelled coroutine. The object stays the same, so ``task.cancel(message)`` and
    ``asyncio.timeout`` work as ever. What the caller was handling before remains the context.
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
            # Not itself, where the caller handles the very error that is thrown on.
            error.__context__ = self._handled if self._handled is not error else None
