"""How all who wait for a gateway ask it: one session, a few requests at a time, none while it is left alone."""

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
"""Looks at a time: fewer than there are connections, so that lists find one."""
_DISPENSABLE = ("ends", "running", "log")
"""Requests that nobody needs: that they fail, or are refused for a quota of their own, is no reason to ask no more."""


class Requests:
    """Asks a gateway. No call is repeated: the next look comes anyway.

    While the gateway is left alone, each call fails with the error that is the reason.
    """

    def __init__(self, settings: Settings) -> None:
        self._client = AsyncClient(settings, retry=Retry(attempts=1))
        self.limit = asyncio.Semaphore(_CONCURRENT)
        """To be held for each call that somebody waits for."""
        self.breaker = CircuitBreaker(lambda: asyncio.get_running_loop().time())

    async def call(self, kind: str, call: Call[T]) -> T:
        """Return the result of one call, which counts as of this kind."""
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
        """Return what carries out procedures whose calls count as of this kind. They do not wait for others."""

        async def run(procedure: Procedure[T]) -> T:
            return await self._client.run(procedure, call=partial(self.call, kind))

        return run

    async def run(self, kind: str, procedure: Procedure[T]) -> T:
        """Return the result of a procedure whose calls wait for others."""

        async def call(one: Call[Any]) -> Any:
            async with self.limit:
                return await self.call(kind, one)

        return await self._client.run(procedure, call=call)

    async def close(self) -> None:
        """Close the session."""
        await self._client.close()


def _tells_of_gateway(kind: str, error: EnosError) -> bool:
    """Return whether the error of such a call counts when it is asked how the gateway is."""
    if kind in _DISPENSABLE:
        return False
    # What a page 0 that does not exist is answered with says nothing.
    return not (kind == "window" and isinstance(error, EnosApiError) and error.code in PAGE_FAULTS)
