"""Waiting in a loop for what has happened, and not for a time: the machine may be slow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


async def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    """Goes on when it is so; raises TimeoutError when it is not so for long."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
