"""A DAG with each operator and sensor, and the triggers, with a value for each argument; prints how they are stored."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_enos.operators.enos import (
    EnosCancelFlowInstanceOperator,
    EnosDisableFlowOperator,
    EnosEnableFlowOperator,
    EnosTriggerFlowFromTaskOperator,
    EnosTriggerFlowOperator,
)
from airflow_provider_enos.protocol.models import FlowStatus
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor, EnosFlowSensor
from airflow_provider_enos.task_groups.enos import EnosFlowTaskGroup
from airflow_provider_enos.triggers.enos import EnosFlowEventTrigger, EnosFlowInstanceTrigger, EnosFlowTrigger
from airflow_provider_enos.triggers.node import EnosFlowNodeTrigger
from airflow_provider_enos.version_compat import has_runtime_partitions

CLASSES: list[type[Any]] = [
    EnosTriggerFlowFromTaskOperator,
    EnosTriggerFlowOperator,
    EnosCancelFlowInstanceOperator,
    EnosEnableFlowOperator,
    EnosDisableFlowOperator,
    EnosFlowInstanceSensor,
    EnosFlowSensor,
]
TRIGGERS: list[type[Any]] = [EnosFlowInstanceTrigger, EnosFlowTrigger, EnosFlowEventTrigger, EnosFlowNodeTrigger]
START, END = datetime(2024, 3, 2, tzinfo=UTC), datetime(2024, 3, 3, tzinfo=UTC)
ARGUMENTS: dict[str, Any] = {
    "flow_id": "3377",
    "from_task_id": 108580,
    "flow_name": None,
    "from_task_name": None,
    "flow_instance_id": "3377-20200706062600",
    "trigger_time": END,
    "window_start": START,
    "window_end": END,
    "window_shift": timedelta(hours=1),
    "parameters": dict.fromkeys(("site", "day", "region", "unit"), "{{ ds }}"),
    "enos_conn_id": "enos_emea",
    "org_id": "o",
    "user_id": "{{ params.user }}",
    "deferrable": True,
    "wait_for_completion": True,
    "poll_interval": timedelta(minutes=1),
    "timeout": timedelta(days=1),
    "poll_error_tolerance": 60,
    "on_conflict": "attach",
    "retry_from": "failure",
    "on_ended": "skip",
    "cancel_on_kill": True,
    "cancel_on_timeout": False,
    "task_logs": "all",
    "outlet_partition": "business_date" if has_runtime_partitions() else None,
    "start_from_trigger": True,
    "check_existence": False,
    "allowed_statuses": {"SUCCESS", "SKIP", "SUSPEND"},
    "failed_statuses": {"FAIL", "CANCEL", "TIMEOUT"},
    "skipped_statuses": frozenset({FlowStatus.INTERNAL_ERROR, FlowStatus.RERUN, "WAIT"}),
    "instances": "any",
    "expected_instances": "2",
    "types": {2, 0, 1},
    "scheduled_only": False,
    # Of triggers only.
    "deadline": 1700000000.5,
    "known": True,
    "ends_task": True,
    "do_xcom_push": False,
    "show_logs": True,
    "push_link": True,
    "silent_fail": True,
    "told": {"status": "RUNNING", "nodes": {"108580-20200706062600": "RUNNING"}},
    "statuses": {"FAIL", "SUCCESS", "SKIP", "CANCEL"},
    "lookback": timedelta(days=3),
    "queue": None,
    # Of the trigger of a node only.
    "node": 5,
    "start_task_id": "group.start",
    "for_rest": True,
    "show_log": True,
}
"""What an author may write. Collections as sets, whose order is that of hashes."""


DEFINITION: dict[str, Any] = {
    "format": 1,
    "flow_id": 3377,
    "name": "flow",
    "nodes": [{"task_id": number, "name": name} for number, name in enumerate(["a", "b", "b", "读数", ""], 1)],
    "relations": [[1, 3], [1, 2], [2, 4], [3, 4], [3, 5]],
    "schedule": None,
    "parameters": {"site": None},
}
OF_GROUPS = (
    *("trigger_time", "on_conflict", "cancel_on_kill", "poll_interval", "timeout", "poll_error_tolerance"),
    *("task_logs", "deferrable", "enos_conn_id", "org_id", "user_id"),
)
"""What a group takes besides its definition, the node to start from, and parameters."""


def made(cls: type[Any], **others: Any) -> dict[str, Any]:
    """Return the arguments for one of the classes."""
    names = cls._enos_arguments if cls in CLASSES else inspect.signature(cls).parameters
    values = {name: {**ARGUMENTS, **others}[name] for name in names}
    return {name: plain(value) for name, value in values.items()} if cls in TRIGGERS else values


def plain(value: Any) -> Any:
    """Return what a trigger is given in its place."""
    if isinstance(value, datetime):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, timedelta) else value


def main() -> None:
    """Print how they are stored, names in order, as Airflow compares them."""
    stored: dict[str, Any] = {}
    with DAG("everything", schedule=None, default_args={"skipped_statuses": {"SKIP", "RERUN", "WAIT"}}) as dag:
        for cls in CLASSES:
            cls(task_id=cls.__name__, **made(cls))
            cls.partial(task_id=f"{cls.__name__}-partial", **made(cls)).expand(do_xcom_push=[True, False])
            cls.partial(task_id=f"{cls.__name__}-expanded").expand(**{name: [one] for name, one in made(cls).items()})
            cls.partial(task_id=f"{cls.__name__}-kwargs").expand_kwargs([made(cls)])
    stored["dag"] = serialized(dag)
    of_group = {name: ARGUMENTS[name] for name in OF_GROUPS}
    with DAG("groups", schedule=None) as dag:
        EnosFlowTaskGroup("all", definition=DEFINITION, parameters=ARGUMENTS["parameters"], **of_group)
        EnosFlowTaskGroup("some", definition=DEFINITION, from_task_id=2, **of_group)
    stored["groups"] = serialized(dag)
    for trigger in TRIGGERS:
        stored[trigger.__name__] = trigger(**made(trigger)).serialize()
    print(json.dumps(stored, indent=1, sort_keys=True))


def serialized(dag: Any) -> Any:
    """Return what Airflow stores of a DAG."""
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialization
    except ImportError:  # Airflow before 3.2
        from airflow.serialization.serialized_objects import SerializedDAG as Serialization
    return Serialization.to_dict(dag)


if __name__ == "__main__":
    main()
