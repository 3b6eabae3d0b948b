"""The requests of all waits for one gateway: one session, a few at a time, none while the breaker is open."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.client.polling import metrics
from airflow_provider_enos.client.polling.circuit_breaker import CircuitBreaker
from airflow_provider_enos.client.polling.end_feed import Run
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.errors import EnosApiError, EnosError, EnosRequestError
from airflow_provider_enos.protocol.wire.exchange import Retry
from airflow_provider_enos.protocol.wire.messages import Call, Procedure, T
from airflow_provider_enos.protocol.wire.paging import PAGE_FAULTS

_CONCURRENT = 6
"""Requests of polls at a time: fewer than there are connections, so that lists find a free one."""
_DISPENSABLE = ("ends", "running", "log")
"""Requests that no wait needs. Their errors do not count for the breaker: they may have a quota of their own."""


class Requests:
    """Ask a gateway. No call is repeated, since the next poll comes anyway.

    While the breaker is open, each call fails with the error that has opened it.
    """

    def __init__(self, settings: Settings) -> None:
        self._client = AsyncClient(settings, retry=Retry(attempts=1))
        self.limit = asyncio.Semaphore(_CONCURRENT)
        """To be held for each call of a poll."""
        self.breaker = CircuitBreaker(lambda: asyncio.get_running_loop().time())

    async def call(self, kind: str, call: Call[T]) -> T:
        """Return the result of one call. ``kind``: the name under which the metrics count it."""
        if (reason := self.breaker.error) is not None:
            raise reason
        metrics.count(f"requests.{kind}")
        try:
            result = await self._client.call(call)
        except EnosRequestError:
            self.breaker.answered()
            raise
        except EnosError as error:
            if _tells_of_gateway(kind, error):
                self.breaker.failed(error)
            raise
        self.breaker.answered()
        return result

    def runner(self, kind: str) -> Run:
        """Return what carries out procedures with calls of this kind, without regard to ``limit``."""

        async def run(procedure: Procedure[T]) -> T:
            return await self._client.run(procedure, call=partial(self.call, kind))

        return run

    async def run(self, kind: str, procedure: Procedure[T]) -> T:
        """Return the result of a procedure with calls of this kind, each within ``limit``."""

        async def call(one: Call[Any]) -> Any:
            async with self.limit:
                return await self.call(kind, one)

        return await self._client.run(procedure, call=call)

    async def close(self) -> None:
        """Close the session."""
        await self._client.close()


def _tells_of_gateway(kind: str, error: EnosError) -> bool:
    """Return whether the error of a call of this kind says how the gateway is."""
    if kind in _DISPENSABLE:
        return False
    # The answer to a page 0 that does not exist says nothing.
    return not (kind == "window" and isinstance(error, EnosApiError) and error.code in PAGE_FAULTS)
