"""The gateway's time and time zone."""

from __future__ import annotations

from airflow_provider_enos.simulator.operations.registry import Ask, operation


@operation("GET", "time/getCurrentTime", for_tenant=False)
def _get_current_time(ask: Ask) -> object:
    return ask.config.now_ms()


@operation("GET", "time/getTimeZone", for_tenant=False)
def _get_time_zone(ask: Ask) -> object:
    return {"timezone": ask.config.time_zone}
