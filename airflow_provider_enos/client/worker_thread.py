"""A thread for work that would block the event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_threads: dict[int, ThreadPoolExecutor] = {}


async def in_worker_thread(work: Callable[[], T]) -> T:
    """Run ``work`` in another thread. Return its result.

    A process has one such thread: each busy thread delays the event loop, which needs the interpreter's lock.
    """
    # A forked process does not have its parent's threads: hence the process id.
    thread = _threads.get(os.getpid()) or _threads.setdefault(os.getpid(), ThreadPoolExecutor(1, "enos-replies"))
    return await asyncio.get_running_loop().run_in_executor(thread, work)
