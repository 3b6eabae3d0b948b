"""One poller for all waits of an event loop that have the same settings."""

from __future__ import annotations

import asyncio

from airflow_provider_enos.client.polling.poller import Poller
from airflow_provider_enos.client.settings import Settings

_pollers: dict[tuple[asyncio.AbstractEventLoop, Settings], tuple[Poller, int]] = {}


class SharedPoller:
    """Share the poller for these settings on this event loop: made for its first user, closed after its last one.

    It is an async context manager that gives the poller.
    """

    # A triggerer has thousands of them.
    __slots__ = ("_key", "_settings")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def __aenter__(self) -> Poller:
        self._key = (asyncio.get_running_loop(), self._settings)
        poller, users = _pollers.get(self._key) or (Poller(self._settings), 0)
        _pollers[self._key] = (poller, users + 1)
        return poller

    async def __aexit__(self, *error: object) -> None:
        poller, users = _pollers[self._key]
        if users > 1:
            _pollers[self._key] = (poller, users - 1)
        else:
            del _pollers[self._key]
            await poller.close()
