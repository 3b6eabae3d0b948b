"""Read connections in the triggerer, where a wait reads them again after EnOS or a proxy has refused a request."""

from __future__ import annotations

import asyncio
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from airflow_provider_enos.errors import EnosError, EnosTransportError
from airflow_provider_enos.protocol.arguments import connection_id
from airflow_provider_enos.protocol.text import excerpt

if TYPE_CHECKING:
    from airflow_provider_enos.client.settings import Settings

_FRESH = 3.0
"""Seconds for which callers share one reading of a connection."""


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """One reading of a connection, and when it began, by the event loop's clock."""

    task: asyncio.Task[Settings]
    begun: float


_readings: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str | None, ...], _Reading]] = WeakKeyDictionary()


def unreadable(conn_id: str, error: Exception) -> EnosError:
    """Return the error for a connection that Airflow cannot give.

    A wait tolerates it: somebody may be making the connection anew, or the API server or secrets backend may be down.
    """
    said = excerpt(str(error)) or type(error).__name__
    return EnosTransportError(f"Airflow cannot read the connection {excerpt(conn_id, 80)!r}: {said}", sent=False)


async def current_settings(conn_id: str, *, org_id: str | None, user_id: str | None) -> Settings:
    """Return the settings of a connection, at most ``_FRESH`` seconds old. Callers share one reading.

    After a key is rotated, a thousand waits ask at once. Raises nothing but ``EnosError``.
    """
    loop = asyncio.get_running_loop()
    readings, key = _readings.setdefault(loop, {}), (conn_id, org_id, user_id)
    reading = readings.get(key)
    if reading is None or (reading.task.done() and loop.time() - reading.begun >= _FRESH):
        task = loop.create_task(async_settings(conn_id, org_id=org_id, user_id=user_id))
        task.add_done_callback(_note)
        reading = readings[key] = _Reading(task, loop.time())
    try:
        # If the caller is cancelled, the others still need the reading.
        return await asyncio.shield(reading.task)
    except EnosError as error:
        raise copy(error) from None
    except Exception as error:
        raise unreadable(conn_id, error) from error


def _note(task: asyncio.Task[Settings]) -> None:
    # Otherwise asyncio warns of an error that nobody has seen.
    if not task.cancelled():
        task.exception()


async def async_settings(conn_id: str, *, org_id: str | None, user_id: str | None) -> Settings:
    """Return the settings of a connection, without blocking the event loop. Raises whatever Airflow raises."""
    from airflow_provider_enos.client import settings
    from airflow_provider_enos.version_compat import async_connection

    return settings.read(await async_connection(connection_id(conn_id)), org_id=org_id, user_id=user_id)
