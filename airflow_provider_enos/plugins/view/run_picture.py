"""Make the JSON of the page of a DAG run: a line for each of its EnOS tasks. Texts of EnOS are cleaned before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_enos.plugins.view.lookups import Problem, Source
from airflow_provider_enos.plugins.view.picture import REFRESH, REFRESH_SLOW, Json
from airflow_provider_enos.plugins.view.run_record import Row, RunRecord

Seen = Mapping[Source, Json | Problem | None]
"""What is known of the instances; None of those that have not been asked for yet."""


def of_run(record: RunRecord, seen: Seen) -> Json:
    """Return what the page draws."""
    return {
        "kind": "run",
        "refresh": _refresh(record, seen),
        "rows": [_row(row, seen) for row in record.rows],
        "states": dict(record.states),
        "total": sum(record.states.values()),
    }


def _refresh(record: RunRecord, seen: Seen) -> int | None:
    """Return after how many seconds the page is to ask again; None if all has ended."""
    if None in seen.values():
        return REFRESH
    have_stopped = all(isinstance(one, dict) and one["has_stopped"] for one in seen.values())
    return None if record.ended and have_stopped else REFRESH_SLOW


def _row(row: Row, seen: Seen) -> dict[str, Any]:
    record = row.record
    known = {
        "task_id": row.task_id,
        "map_index": row.map_index,
        "label": row.label,
        "state": record.state or "no status",
        "try_number": record.try_number,
        "instance": None if record.source is None else record.source.flow_instance_id,
    }
    one = None if record.source is None else seen[record.source]
    if isinstance(one, Problem):
        return known | {"problem": one.message}
    return known if one is None else known | {"brief": one}
