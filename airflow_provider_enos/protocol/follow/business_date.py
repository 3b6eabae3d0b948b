"""The business date of a flow instance: the day whose data it computes."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime

from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol import trigger_time as times
from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure


def find_business_date(flow_instance_id: str, instance: FlowInstance | None, log: Log) -> Procedure[date | None]:
    """Return the business date of an instance; None where nothing says it for sure.

    It is what EnOS says (``calDt``). If EnOS says nothing that can be read, it is the day before the trigger time in
    the id, in the gateway's time zone. Errors of EnOS are logged, never raised.

    :param instance: what Get Flow Instance has said; None if it was not asked yet, since lists have no business date.
    """
    try:
        if instance is None:
            instance = yield calls.get_flow_instance(flow_instance_id)
    except EnosError as error:
        log.warning("Cannot read %s for its business date: %s", flow_instance_id, error)
    said = None if instance is None else instance.business_date
    if said is not None:
        with suppress(ValueError):
            return datetime.strptime(said[:10], "%Y-%m-%d").date()
        log.warning("EnOS says that the business date of %s is %r: not a date", flow_instance_id, excerpt(said, 40))
    trigger_time = times.utc_of_id(flow_instance_id)
    if trigger_time is None:
        log.warning("The business date of %s is not known: its id names no minute", flow_instance_id)
        return None
    return (yield from _computed(flow_instance_id, times.moment(trigger_time, "trigger_time"), log))


def _computed(flow_instance_id: str, trigger_time: int, log: Log) -> Procedure[date | None]:
    try:
        name: str = yield calls.get_time_zone()
    except EnosError as error:
        log.warning("The business date of %s is not known: %s", flow_instance_id, error)
        return None
    zone = times.zone_of(name)
    if zone is None:
        shown = excerpt(name, 40)
        log.warning("The business date of %s is not known: EnOS names its time zone %r", flow_instance_id, shown)
        return None
    return times.business_date(trigger_time, zone)
