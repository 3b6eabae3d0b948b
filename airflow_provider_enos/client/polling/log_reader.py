"""Show the logs of nodes as they grow, in the log of the task that waits."""

from __future__ import annotations

import asyncio

from airflow_provider_enos.client.polling.end_feed import Run
from airflow_provider_enos.client.polling.wait import Wait
from airflow_provider_enos.errors import EnosError, EnosRateLimitError
from airflow_provider_enos.protocol.models import FlowInstance

_CONCURRENT = 3
"""Waits whose logs are read at a time: fewer than there are connections, so that polls find a free one."""
_LONGEST = 30.0
"""Seconds in which one poll reads the logs of an instance; the next poll reads the others."""
_PAUSE, _LONGEST_PAUSE = 30.0, 60.0
"""Seconds for which no logs are read after an error."""


class LogReader:
    """Read the logs that waits want to show.

    :param run: carries out what is asked of the gateway.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._limit = asyncio.Semaphore(_CONCURRENT)
        self._from = 0.0

    async def show(self, wait: Wait, instance: FlowInstance) -> None:
        """Show what has come in the logs of the nodes, if the wait wants that."""
        stream = wait.watch.stream
        if stream is None or wait.result.done():
            return

        async def follow() -> EnosError | None:
            async with asyncio.timeout(_LONGEST), self._limit:
                if self._now() < self._from:
                    return None
                return await self._run(stream.follow(wait.watch.part_of(instance)))

        wait.logs = asyncio.create_task(follow(), context=wait.context.copy())
        try:
            await asyncio.wait({wait.logs})
        finally:
            wait.logs.cancel()
        if wait.logs.cancelled():
            return
        fault = wait.logs.exception()
        if isinstance(fault, Exception) and not isinstance(fault, TimeoutError):
            wait.fail(fault)
        elif fault is None and (error := wait.logs.result()) is not None:
            # Polls go on: they may have another quota, and no wait depends on logs.
            asked = error.retry_after if isinstance(error, EnosRateLimitError) else None
            self._from = self._now() + min(asked or _PAUSE, _LONGEST_PAUSE)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
