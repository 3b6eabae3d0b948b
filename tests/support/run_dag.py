"""Run one DAG of a file with ``dag.test()``. Print how it ended, as JSON."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))
from airflows import AIRFLOW, dag_bag


def main(file: str, dag_id: str) -> None:
    if AIRFLOW == (3, 0):
        drop_debug_lines()
    bag = dag_bag(Path(file))
    if bag.import_errors:
        sys.exit(str(bag.import_errors))
    run = bag.dags[dag_id].test()
    instances = run.get_task_instances()
    print(
        json.dumps(
            {
                "state": str(getattr(run.state, "value", run.state)),
                "tasks": {ti.task_id: str(getattr(ti.state, "value", ti.state)) for ti in instances},
                "tries": {ti.task_id: ti.try_number for ti in instances},
                "xcom": {ti.task_id: ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index) for ti in instances},
            }
        )
    )


def result_of(printed: str) -> dict[str, Any]:
    """Return what ``main`` has printed. What Airflow and other processes log may stand before and after it."""
    result: dict[str, Any]
    result, _ = json.JSONDecoder().raw_decode(printed[printed.index('{"state"') :])
    return result


def drop_debug_lines() -> None:
    """Drop the lines that Airflow 3.0 prints in ``dag.test()`` at any log level, with each secret to mask."""
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))


if __name__ == "__main__":
    main(*sys.argv[1:])
