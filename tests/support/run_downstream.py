"""Runs one DAG of a file with ``dag.test()``, then the DAGs that Airflow's scheduler starts for its asset events.

Prints, as its last line, as JSON: the asset events, and the partition key and the XComs of each run that was started.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))
from airflows import dag_bag
from sqlalchemy import select


def main(file: str, dag_id: str) -> None:
    bag = dag_bag(Path(file))
    if bag.import_errors:
        sys.exit(str(bag.import_errors))
    first = bag.dags[dag_id].test()
    print(json.dumps({"state": str(first.state), "events": events(), "started": started(bag, dag_id)}))


def events() -> list[dict[str, Any]]:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session

    with create_session() as session:
        names = {one.id: one.name for one in session.scalars(select(AssetModel))}
        found = session.scalars(select(AssetEvent).order_by(AssetEvent.id))
        return [
            {"asset": names[one.asset_id], "extra": one.extra, "key": getattr(one, "partition_key", None)}
            for one in found
        ]


def started(bag: Any, dag_id: str) -> dict[str, Any]:
    """Have the scheduler create the runs that are due by asset events, and run their tasks one after the other."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.sdk.definitions.dag import _run_task
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.utils.session import create_session

    result = {}
    with create_session() as session:
        runner = SchedulerJobRunner(job=Job())
        runner._create_dagruns_for_partitioned_asset_dags(session)
        due, triggered = DagModel.dags_needing_dagruns(session)
        by_asset = [one for one in due.all() if one.dag_id in triggered]
        runner._create_dag_runs_asset_triggered(dag_models=by_asset, session=session)
        session.commit()
        for run in session.scalars(select(DagRun).where(DagRun.dag_id != dag_id)).all():
            dag = bag.dags[run.dag_id]
            run.dag = DagSerialization.from_dict(DagSerialization.to_dict(dag))
            run.state = "running"
            session.commit()
            due_tasks, _ = run.update_state(session=session)
            for ti in due_tasks:
                ti.try_number, ti.state = 1, "scheduled"
                session.commit()
                _run_task(ti=ti, task=dag.task_dict[ti.task_id], run_triggerer=True)
            session.expire_all()
            xcoms = {ti.task_id: ti.xcom_pull(task_ids=ti.task_id) for ti in run.get_task_instances(session=session)}
            result[run.dag_id] = {"key": run.partition_key, "xcom": xcoms}
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
