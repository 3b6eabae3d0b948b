"""The arguments that the sensors share, and how a sensor starts in the triggerer."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.follow.options import TaskLogs
from airflow_provider_enos.utils.deferral import default_deferrable
from airflow_provider_enos.utils.outlets import OutletPartition, partition_or_none
from airflow_provider_enos.utils.start_in_triggerer import StartsInTriggerer
from airflow_provider_enos.utils.task import EnosTask
from airflow_provider_enos.utils.task_arguments import (
    TENANT_ARGUMENTS,
    TENANT_FIELDS,
    WAITING_ARGUMENTS,
    Argument,
    one_of,
)
from airflow_provider_enos.version_compat import BaseSensorOperator


class SensorArguments(StartsInTriggerer, EnosTask, BaseSensorOperator):
    """The base of the sensors that checks their arguments."""

    _enos_arguments = {
        **TENANT_ARGUMENTS,
        **{name: WAITING_ARGUMENTS[name] for name in ("deferrable", "poll_error_tolerance")},
        "task_logs": Argument(one_of(TaskLogs)),
        "outlet_partition": Argument(partition_or_none),
        "start_from_trigger": Argument(arguments.flag),
    }

    deferrable: bool
    poll_error_tolerance: float
    task_logs: TaskLogs
    outlet_partition: OutletPartition | None

    def __init__(
        self,
        *,
        deferrable: bool | None = None,
        start_from_trigger: bool = False,
        poll_error_tolerance: timedelta | float = timedelta(minutes=10),
        task_logs: TaskLogs = "failed",
        outlet_partition: OutletPartition | None = None,
        enos_conn_id: str = EnosHook.default_conn_name,
        org_id: str | None = None,
        user_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._set(
            deferrable=default_deferrable() if deferrable is None else deferrable,
            poll_error_tolerance=poll_error_tolerance,
            task_logs=task_logs,
            outlet_partition=outlet_partition,
            enos_conn_id=enos_conn_id,
            org_id=org_id,
            user_id=user_id,
        )
        self._wants_trigger: bool = self._checked(start_from_trigger=start_from_trigger)["start_from_trigger"]

    def _start_from_trigger(self, trigger: str, fields: Collection[str], **trigger_kwargs: Any) -> None:
        """Let the scheduler start the task in the triggerer, where Airflow can.

        :param trigger: the name of the trigger's class.
        :param fields: the template fields that the trigger takes, without those of the tenant.
        """
        self.deferrable = True
        self._start_in_triggerer(
            f"airflow_provider_enos.triggers.enos.{trigger}",
            {name: getattr(self, name) for name in (*fields, *TENANT_FIELDS)},
            {
                **trigger_kwargs,
                "timeout": min(self.timeout, self.execution_seconds),
                # With "all" the task itself shows the logs of an instance that has succeeded.
                "ends_task": self.task_logs != "all",
                "do_xcom_push": self.do_xcom_push,
                **self.trigger_arguments,
            },
        )

    @property
    def trigger_arguments(self) -> dict[str, Any]:
        """The arguments of the trigger that are the arguments of the sensor."""
        return {
            "enos_conn_id": self.enos_conn_id,
            "poll_interval": self.poke_interval,
            "poll_error_tolerance": self.poll_error_tolerance,
            "silent_fail": self.silent_fail,
            "org_id": self.org_id,
            "user_id": self.user_id,
        }
