"""A thread for what would hold up an event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_threads: dict[int, ThreadPoolExecutor] = {}


async def in_worker_thread(work: Callable[[], T]) -> T:
    """Return what ``work`` returns, which is carried out in another thread.

    There is one such thread in a process: the event loop has to wait for its turn behind each thread that is busy.
    """
    # A forked process has none of its parent's threads: hence the process id.
    thread = _threads.get(os.getpid()) or _threads.setdefault(os.getpid(), ThreadPoolExecutor(1, "enos-replies"))
    return await asyncio.get_running_loop().run_in_executor(thread, work)
