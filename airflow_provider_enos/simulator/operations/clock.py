"""The gateway's time and time zone."""

from __future__ import annotations

from airflow_provider_enos.simulator.operations.registry import Call, operation


@operation("GET", "time/getCurrentTime", for_tenant=False)
def _get_current_time(call: Call) -> object:
    return call.config.now_ms()


@operation("GET", "time/getTimeZone", for_tenant=False)
def _get_time_zone(call: Call) -> object:
    return {"timezone": call.config.time_zone}
