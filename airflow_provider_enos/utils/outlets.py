"""What the asset events of a task's outlets say: which instance, and which day it has computed.

Airflow registers the events if the task succeeds in a worker. A task that ends in the triggerer has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.version_compat import asset_types, has_runtime_partitions

if TYPE_CHECKING:
    from datetime import date

    from airflow_provider_enos.protocol.models import FlowInstance
    from airflow_provider_enos.protocol.wire.messages import Procedure
    from airflow_provider_enos.version_compat import Context

OutletPartition = Literal["business_date"]
"""Which partition key the events get."""


def partition_or_none(value: Any, field: str) -> OutletPartition | None:
    """Return the value of ``outlet_partition``. Raises ``EnosConfigError``, also where Airflow has no such keys."""
    if value is None:
        return None
    chosen: OutletPartition = arguments.choice(value, field, options=OutletPartition)
    if not has_runtime_partitions():
        raise EnosConfigError(
            field, f"{chosen!r}: tasks cannot set partition keys before Airflow 3.3", accepted="None, or Airflow 3.3"
        )
    return chosen


def describe_outlets(
    task: Any,
    context: Context,
    run: Callable[[Procedure[date | None]], date | None],
    flow_instance_id: str,
    instance: FlowInstance | None = None,
) -> None:
    """Say in the asset events of the task's outlets which instance they are about. Errors are only logged.

    Keys of ``extra`` that the DAG's author has set already stay as they are. The events of asset aliases are left
    alone: only the author knows their assets.

    :param run: carries out what has to be asked of EnOS.
    :param instance: what Get Flow Instance has said; None if it was not asked yet.
    """
    from airflow_provider_enos.protocol.follow.business_date import find_business_date
    from airflow_provider_enos.protocol.trigger_time import utc_of_id

    events: Any = context.get("outlet_events")
    assets = [outlet for outlet in task.outlets or () if isinstance(outlet, asset_types())]
    if events is None or not assets:
        return
    found = run(find_business_date(flow_instance_id, instance, task.log))
    day = None if found is None else found.isoformat()
    extra = {
        "flow_instance_id": flow_instance_id,
        "business_date": day,
        "trigger_time_utc": utc_of_id(flow_instance_id),
    }
    is_partitioned = _is_partitioned(task, context)
    if is_partitioned and day is None:
        task.log.error("The events of the outlets get no partition key, since the business date is not known")
    for asset in assets:
        try:
            event = events[asset]
            event.extra = {**extra, **(event.extra or {})}
            if is_partitioned and day is not None:
                event.add_partitions(day)
        except Exception as error:  # noqa: BLE001 - whatever Airflow raises: the instance has succeeded
            task.log.warning("Cannot say in the event of %r what it is about: %s", asset, error)


def _is_partitioned(task: Any, context: Context) -> bool:
    """Return whether the events get the business date as their partition key."""
    if task.outlet_partition is not None:
        return True
    timetable = getattr(context.get("dag"), "timetable", None)
    has_key = getattr(context.get("dag_run"), "partition_key", None) is not None
    # The author has said that tasks set the keys.
    return bool(getattr(timetable, "partitioned_at_runtime", False)) and not has_key
