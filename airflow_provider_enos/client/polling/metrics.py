"""How waits fare, as metrics of Airflow: see ``docs/scale.md``. Nothing where Airflow's metrics are off.

The one module of the client that knows of Airflow, and it asks only when there is something to tell.
"""

from __future__ import annotations

import logging
from functools import cache
from inspect import signature
from typing import Any, cast

_log = logging.getLogger(__name__)


@cache
def _stats() -> Any:
    """Return Airflow's ``Stats``, ready to be told; None where this runs without Airflow."""
    try:
        from airflow_provider_enos.version_compat import stats

        Stats = stats()
    except ImportError:
        return None
    # From Airflow 3.2 on it tells nobody until it is told whom, and the triggerer tells a copy of its own.
    try:
        from airflow.sdk.configuration import conf
        from airflow.sdk.observability.metrics import stats_utils
    except ImportError:
        return Stats
    initialize, factory_of = cast(Any, Stats.initialize), cast(Any, stats_utils.get_stats_factory)
    try:
        if signature(factory_of).parameters:  # Airflow 3.2
            initialize(factory=factory_of(Stats))
        else:
            names = conf.getboolean("metrics", "legacy_names_on", fallback=True)
            initialize(factory=factory_of(), export_legacy_names=names)
    except Exception as error:  # noqa: BLE001 - whatever Airflow raises: nobody waits for a metric
        _log.warning("No metrics of waits for EnOS: %s", error)
    return Stats


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
