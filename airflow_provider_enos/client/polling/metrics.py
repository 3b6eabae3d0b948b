"""How waits fare, as metrics of Airflow: see ``docs/scale.md``. Nothing where Airflow's metrics are off.

The one module of the client that knows of Airflow, and it asks only when there is something to tell.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any


@cache
def _stats() -> Any:
    """Return Airflow's ``Stats``; None where this runs without Airflow."""
    with suppress(ImportError):
        from airflow.providers.common.compat.sdk import Stats

        return Stats
    return None


def count(name: str, times: int = 1) -> None:
    """Add to the counter ``enos.poller.<name>``."""
    stats = _stats()
    if stats is not None and times:
        stats.incr(f"enos.poller.{name}", times)


def gauge(name: str, value: float) -> None:
    """Set the gauge ``enos.poller.<name>``."""
    stats = _stats()
    if stats is not None:
        stats.gauge(f"enos.poller.{name}", value)


_waits = 0


def more_waits(change: int) -> None:
    """Note that so many more wait in this process, of whatever gateway."""
    global _waits
    _waits += change
    gauge("waits", _waits)
