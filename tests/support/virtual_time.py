"""An event loop without real waits: if nothing is ready, its clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    """A selector without sockets: only the clock moves."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen")
        self.loop.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time begins at 1,000 s."""

    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        self.now = 1000.0
        selector.loop = self

    def time(self) -> float:
        return self.now


def run(main: Awaitable[T]) -> T:
    """The result of ``main``, at once."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()
