"""Build the address of a task's flow instance in the EnOS console, when a browser asks for it.

It is made of the connection's ``console_url`` and the id of an instance of the task's flow. No address is taken from
XCom, since anybody who may write XComs can put one there.

Only for the API server, or the webserver of Airflow 2: it reads Airflow's database.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow_provider_enos.plugins.view.lookups import Source
from airflow_provider_enos.plugins.view.record import read, settings_of
from airflow_provider_enos.plugins.view.stored import Key

log = logging.getLogger(__name__)


def address_of(ti_key: Any) -> str:
    """Return the address for this task instance; empty if there is none, or if it cannot be found out."""
    try:
        return _address_of(Key(ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index))
    except Exception as error:  # noqa: BLE001 - secrets back-ends raise anything, and the page has other links
        log.warning("No link to the EnOS console for %s: %s", ti_key, error)
        return ""


def _address_of(key: Key) -> str:
    record = read(key)
    if record is None:
        return ""
    if record.source is not None:
        return (settings_of(record.source).link(record.source.flow_instance_id) or "") if _fits(record.source) else ""
    # A task that pushes no XComs, or runs in no worker, has stored its address only: use it if we would build the same.
    linked = record.linked
    if linked is None or not linked.sources:
        return ""
    settings = settings_of(linked.sources[0])
    matches = (one for one in linked.sources if settings.link(one.flow_instance_id) == linked.address)
    return linked.address if any(_fits(one) for one in matches) else ""


def _fits(source: Source) -> bool:
    """Return whether this is an instance of the task's flow, by its id. Ids of another form get no link."""
    flow_id, _, _ = source.flow_instance_id.partition("-")
    if source.flow_id is None or flow_id == str(source.flow_id):
        return True
    log.warning("%s is not of flow %s, so there is no link to it", source.flow_instance_id, source.flow_id)
    return False
