"""Find the instance that has a minute, and tell whether a request of ours can have started it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING

from airflow_provider_enos.errors import EnosError, EnosNotFoundError, EnosServerError, EnosTriggerTargetError
from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.protocol.trigger_time import (
    MINUTE,
    is_scheduled,
    minute_of,
    predicted_flow_instance_id,
    zone_of,
)
from airflow_provider_enos.protocol.wire import calls, replies
from airflow_provider_enos.protocol.wire.messages import Procedure

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import Flow, FlowInstance

_CLOCK_TOLERANCE = 2 * MINUTE
"""Milliseconds by which the clock of EnOS may be off."""
_ALL_ZONES: tuple[tzinfo, ...] = tuple(timezone(timedelta(hours=hours)) for hours in range(-12, 15))


def instances_of_minute(
    flow_id: int, time: int, flow_instance_id: str | None = None
) -> Procedure[tuple[FlowInstance, ...]]:
    """Return the instances of the minute of ``time``: looked up by the known id, then by the predicted id, then listed.

    Instances that EnOS's own schedule has started come last.
    """
    predicted = predicted_flow_instance_id(flow_id, time)
    for candidate in dict.fromkeys(filter(None, (flow_instance_id, predicted))):
        try:
            instance: FlowInstance = yield calls.get_flow_instance(candidate)
            return (instance,)
        except EnosNotFoundError:
            continue
        except EnosServerError as error:
            # The code for an unknown id is not documented, so the list decides.
            if error.code != replies.INTERNAL:
                raise
    return (yield from _listed(flow_id, minute_of(time)))


def triggered(found: Iterable[FlowInstance]) -> tuple[FlowInstance, ...]:
    """Return the instances that were triggered: EnOS's own schedule has started the others."""
    return tuple(one for one in found if not is_scheduled(one.flow_instance_id))


def _listed(flow_id: int, minute: int) -> Procedure[tuple[FlowInstance, ...]]:
    # Parsing a DAG file does not need it.
    from airflow_provider_enos.protocol.follow.window import Window
    from airflow_provider_enos.protocol.follow.window_list import instances_in

    window = Window(minute, minute + MINUTE)
    scheduled: list[FlowInstance] = []
    for type in calls.ALL_FLOW_TYPES:
        listed = yield from instances_in(window, (type,), flow_id)
        if found := triggered(listed):
            return found
        scheduled += listed
    return tuple(scheduled)


def flow_of(flow_id: int, from_task_id: int | None, log: Log) -> Procedure[Flow | None]:
    """Return the flow; None if EnOS cannot be asked now, which is logged.

    EnOS refuses a flow or a node that does not exist with the code of a taken minute. This tells them apart.

    :raises EnosTriggerTargetError: the flow or the node does not exist.
    """
    try:
        flow: Flow = yield calls.get_flow(flow_id)
    except EnosNotFoundError as error:
        raise EnosTriggerTargetError(f"flow_id: EnOS has no flow {flow_id} ({error})") from error
    except EnosError as error:
        if error.final:
            raise
        log.warning("Cannot check flow %s, assuming that it exists: %s", flow_id, error)
        return None
    nodes = {node.task_id for node in flow.nodes}
    if from_task_id is not None and nodes and from_task_id not in nodes:
        raise EnosTriggerTargetError(
            f"from_task_id: flow {flow_id} has no task node {from_task_id}; it has "
            + ", ".join(excerpt(str(node), 80) for node in flow.nodes)
        )
    return flow


def gateway_zone() -> Procedure[tzinfo | None]:
    """Return the time zone of the gateway; None where its name cannot be read."""
    name: str = yield calls.get_time_zone()
    return zone_of(name)


def can_be_ours(
    instance: FlowInstance, first_sent: int, now: int, zone: Callable[[], Procedure[tzinfo | None]] = gateway_zone
) -> Procedure[bool]:
    """Return whether a request of ours can have started the instance, judged by when the instance was created.

    It can if the instance was created between our first request for its minute and now; clocks may be two minutes off.
    EnOS does not document the zone of its times, so the text is read as UTC and in the zone of the gateway: one reading
    that fits is enough. A time that is missing or cannot be read rules nothing out.

    :param first_sent: epoch milliseconds by the gateway's clock; 0 where it is not known.
    :param now: epoch milliseconds by the gateway's clock.
    :param zone: asks for the gateway's zone. If the zone cannot be told, any zone counts.
    """
    # Parsing a DAG file does not need it.
    from airflow_provider_enos.protocol.models.instances import time_of

    if is_scheduled(instance.flow_instance_id):
        return False
    created = time_of(instance.created_time or instance.start_time)
    if created is None or not first_sent or _is_between(created, first_sent, now, UTC):
        return True
    try:
        known = yield from zone()
    except EnosError:
        known = None
    zones = _ALL_ZONES if known is None else (known,)
    return any(_is_between(created, first_sent, now, one) for one in zones)


def _is_between(created: datetime, first: int, last: int, zone: tzinfo) -> bool:
    moment = created.replace(tzinfo=zone).timestamp() * 1000
    return first - _CLOCK_TOLERANCE <= moment <= last + _CLOCK_TOLERANCE
