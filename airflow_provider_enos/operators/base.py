"""The arguments that several operators share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.protocol import arguments, trigger_time as times
from airflow_provider_enos.protocol.arguments import OnConflict, RetryFrom
from airflow_provider_enos.protocol.follow.options import TaskLogs
from airflow_provider_enos.utils.deferral import default_deferrable
from airflow_provider_enos.utils.outlets import OutletPartition, partition_or_none
from airflow_provider_enos.utils.task import EnosTask
from airflow_provider_enos.utils.task_arguments import (
    FLOW_ARGUMENTS,
    FLOW_FIELDS,
    TENANT_ARGUMENTS,
    WAITING_ARGUMENTS,
    Argument,
    one_of,
)
from airflow_provider_enos.version_compat import BaseOperator

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.start.targets import TargetChoice

DEFAULT_TRIGGER_TIME = "{{ (data_interval_end | default(none)) or dag_run.run_after }}"
"""The end of the data interval. For a run without a data interval, the time from which Airflow could start the run."""


class EnosOperator(EnosTask, BaseOperator):
    """The base of all operators."""

    def __init__(
        self,
        *,
        enos_conn_id: str = EnosHook.default_conn_name,
        org_id: str | None = None,
        user_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._set(enos_conn_id=enos_conn_id, org_id=org_id, user_id=user_id)


class WaitingOperator(EnosOperator):
    """The base of operators that wait for a flow instance."""

    _enos_arguments = {**TENANT_ARGUMENTS, **WAITING_ARGUMENTS}

    wait_for_completion: bool
    deferrable: bool
    poll_interval: float
    timeout: float
    poll_error_tolerance: float

    def __init__(
        self,
        *,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: timedelta | float = 30.0,
        timeout: timedelta | float = timedelta(days=7),
        poll_error_tolerance: timedelta | float = timedelta(minutes=10),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._set(
            wait_for_completion=wait_for_completion,
            deferrable=default_deferrable() if deferrable is None else deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            poll_error_tolerance=poll_error_tolerance,
        )


class StartingOperator(WaitingOperator):
    """The base of operators that start a flow. It checks their arguments; another module starts the flow."""

    _enos_arguments = {
        **WaitingOperator._enos_arguments,
        **FLOW_ARGUMENTS,
        "trigger_time": Argument(times.check, templated=True),
        "on_conflict": Argument(one_of(OnConflict)),
        "retry_from": Argument(one_of(RetryFrom)),
        "cancel_on_kill": Argument(arguments.flag),
        "cancel_on_timeout": Argument(arguments.flag),
        "task_logs": Argument(one_of(TaskLogs)),
        "outlet_partition": Argument(partition_or_none),
    }

    _ids_and_names: ClassVar[Sequence[tuple[str, str]]] = (FLOW_FIELDS,)

    flow_id: int | str | None
    flow_name: str | None
    trigger_time: Any
    on_conflict: OnConflict
    retry_from: RetryFrom
    cancel_on_kill: bool
    cancel_on_timeout: bool
    task_logs: TaskLogs
    outlet_partition: OutletPartition | None

    def __init__(
        self,
        *,
        flow_id: int | str | None = None,
        flow_name: str | None = None,
        trigger_time: Any = DEFAULT_TRIGGER_TIME,
        on_conflict: OnConflict = "next_minute",
        retry_from: RetryFrom = "start",
        cancel_on_kill: bool = True,
        cancel_on_timeout: bool = True,
        task_logs: TaskLogs = "failed",
        outlet_partition: OutletPartition | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._set_one(flow_id=flow_id, flow_name=flow_name)
        self._set(
            trigger_time=trigger_time,
            on_conflict=on_conflict,
            retry_from=retry_from,
            cancel_on_kill=cancel_on_kill,
            cancel_on_timeout=cancel_on_timeout,
            task_logs=task_logs,
            outlet_partition=outlet_partition,
        )
        self.is_killed = False
        """Whether Airflow has called ``on_kill``."""

    def choice(self) -> TargetChoice:
        """Return what to start. Raises ``EnosConfigError`` for a rendered argument that cannot work."""
        raise NotImplementedError
