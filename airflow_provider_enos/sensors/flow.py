"""Wait for the flow instances that EnOS's own schedule starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol import arguments, trigger_time as times
from airflow_provider_enos.protocol.follow.options import (
    DEFAULT_ALLOWED,
    DEFAULT_FAILED,
    DEFAULT_SKIPPED,
    PERIODIC,
    Instances,
)
from airflow_provider_enos.sensors.base import EnosSensor
from airflow_provider_enos.utils.openlineage import External, label_if_valid, number_if_valid
from airflow_provider_enos.utils.task_arguments import FLOW_ARGUMENTS, FLOW_FIELDS, TENANT_FIELDS, Argument, one_of
from airflow_provider_enos.utils.templates import known_part

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowStatus
    from airflow_provider_enos.sensors.flow_execution import FlowExecution, WindowArguments
    from airflow_provider_enos.version_compat import Context

_RULE_ARGUMENTS: Mapping[str, Argument] = {
    "allowed_statuses": Argument(arguments.status_names),
    "failed_statuses": Argument(arguments.status_names),
    "skipped_statuses": Argument(arguments.status_names),
    "instances": Argument(one_of(Instances)),
    "expected_instances": Argument(arguments.number),
    "types": Argument(arguments.flow_types),
    "scheduled_only": Argument(arguments.flag),
}
"""The arguments of ``Rules``."""


class EnosFlowSensor(EnosSensor):
    """Wait for the instances of a flow that EnOS's own schedule starts, and end as they end.

    This is what Airflow's ``ExternalTaskSensor`` is for DAGs. The DAG neither starts the flow nor knows the ids of its
    instances. It names a window of trigger times, by default the data interval of the DAG run::

        EnosFlowSensor(task_id="wait_for_meters", flow_id=3377, deferrable=True)

    **The window** begins after ``window_start`` and ends with ``window_end``, each to the minute. So each trigger time
    is in the window of one DAG run. The run of a daily DAG for 2 March has the data interval from 2 March 00:00 to
    3 March 00:00. In its window are:

    - for a flow that is scheduled daily at 00:00: the instance triggered at 3 March 00:00. EnOS computes the day before
      the trigger time. That is 2 March, the day of Airflow's data interval, as with the operators of this package.
    - for a flow that is scheduled hourly: the instances triggered at 01:00, 02:00, ... and 3 March 00:00. With
      ``expected_instances=24`` the task waits until all of them exist.
    - for a flow that is scheduled daily at 03:00: the instance triggered at 2 March 03:00, which computes 1 March. The
      instance that computes 2 March comes three hours after the data interval: ``window_shift=timedelta(hours=-3)``.

    Airflow's days begin at midnight in the DAG's time zone, EnOS's days at midnight in its own: use the same zone.

    If start and end are the same, the window is that one minute. This is the case for Airflow 3's cron schedules, whose
    data intervals are empty unless Airflow is configured otherwise. It is right if Airflow and EnOS have the same
    schedule. Otherwise give a start, such as ``window_start="{{ data_interval_end - macros.timedelta(days=1) }}"``. A
    run without a data interval, such as a run that an asset has started, fails with a message that says so.

    **What the instances mean.** A status is allowed, or it fails the task, or it skips the task. While an instance has
    another status, such as INIT or RUNNING, the task waits. List Flow Instances is enough for a success; before the
    task fails, it also reads the instance with Get Flow Instance. If the window has several instances:

    - ``"all"``: one failed instance fails the task at once. Otherwise the task waits until each instance has a status
      in one of the three sets, and there are as many instances as expected. Then one skipped instance skips the task.
    - ``"any"``: the task succeeds with as many allowed instances as expected, whatever the others do. It fails, or is
      skipped, if there are as many instances as expected, each has a status in one of the sets, and too few of them
      are allowed.
    - ``"latest"``: the instance with the last trigger time decides, once there are as many as expected.

    A failure is reported as by ``EnosFlowInstanceSensor``: with the failed nodes and their logs. The return value is
    the list of the ids of the instances that decided the success, in the order of their trigger times. Once a worker
    has ended the task, the link leads to the last of these, or to the instance that is reported. Its id is then in XCom
    as ``flow_instance_id``, also if the task failed. Nothing is ever cancelled.

    In ``reschedule`` mode before Airflow 3.3 nothing is kept between two polls. So errors of the network are tolerated
    there until ``timeout``, and the log repeats itself. In the triggerer many of these sensors share one list.

    Documentation: Batch Processing API, "List Flow Instances", "Get Flow Instance", "Get Flow".

    Template fields: ``flow_id``, ``flow_name``, ``window_start``, ``window_end``, ``enos_conn_id``, ``org_id``,
    ``user_id``.

    :param flow_id: the flow, a whole number or its digits. Either this or ``flow_name`` is given.
    :param flow_name: the exact name of the flow. The first look of a try looks it up: exactly one flow of the
        organisation must have it, whatever ``check_existence`` says.
    :param window_start: an aware datetime, ISO 8601 text with an offset, or epoch milliseconds. The window begins after
        this minute. Default: the start of the data interval.
    :param window_end: the same. The window ends with this minute. Default: the end of the data interval.
    :param window_shift: how much earlier the window lies, as ``execution_delta`` of ``ExternalTaskSensor``: a timedelta
        or seconds, in whole minutes. Negative: later. Default: 0.
    :param allowed_statuses: names, such as ``"SUCCESS"`` (default), or members of ``FlowStatus``; one or several.
    :param failed_statuses: statuses that fail the task. Default: FAIL, INTERNAL_ERROR, TIMEOUT, CANCEL. If it is empty,
        the task waits until somebody has run the instance again.
    :param skipped_statuses: statuses that skip the task. Default: SKIP.
    :param instances: which of the instances in the window have to end well: ``"all"`` (default), ``"any"``,
        ``"latest"``.
    :param expected_instances: how many instances there must be before the task can succeed. Default: 1.
    :param types: the types under which EnOS lists them: 1 periodic (default), 0 manual, 2 temporary; one or several.
    :param scheduled_only: whether to ignore instances that were triggered by hand or through the API, which their ids
        show (default). EnOS does not document under which type it lists such instances of a periodic flow.
    :param check_existence: whether to fail at once, without a retry, if there is no such flow (default). The task asks
        for the flow once, if the window is empty.
    :param deferrable: whether to wait in the triggerer and not in a worker. Default: ``default_deferrable`` in the
        section ``[operators]`` of Airflow's configuration.
    :param start_from_trigger: whether to start in the triggerer, without a worker, and to end there if the task
        succeeds or is skipped. Default: False. ``user_defined_macros`` do not work there. Where Airflow cannot start it
        there, the task says so and defers from a worker, as for ``EnosFlowInstanceSensor``.
    :param poll_error_tolerance: how long EnOS may be out of reach, or refuse the keys and rights of the connection: a
        timedelta or seconds. The connection is read again after each refusal. Default: 10 minutes.
    :param task_logs: which logs of nodes to show in the task's log at the end: ``"failed"`` (default), the last lines
        of the failed nodes of the instance that is reported; ``"all"``, all nodes of all instances; ``"none"``.
    :param outlet_partition: the partition key of the asset events of ``outlets``, as for the operators. Default: the
        key of the DAG run, if it has one.
    :param enos_conn_id: the Airflow connection, of type ``enos``. Default: ``enos_default``.
    :param org_id: the EnOS organisation, in place of the organisation in the connection.
    :param user_id: the EnOS user, in place of the user in the connection.
    :param kwargs: the arguments of every sensor: ``poke_interval`` (60 s), ``timeout`` (anew for each try), ``mode``,
        ``silent_fail`` (keep waiting after any failed poll), ``soft_fail``, ``execution_timeout``, ...

    :raises EnosConfigError: (a ``ValueError``) from the constructor, for an argument that cannot work.
    :raises AirflowFailException: a rendered argument cannot work, or there is no such flow. The task is not retried.
    :raises AirflowSkipException: an instance has a status that skips the task.
    :raises EnosFlowFailedError: an instance has a status that fails the task. The message names the failed nodes, with
        the last lines of their logs.
    :raises EnosFlowCancelledError: the same, if the instance was cancelled.
    :raises EnosPollLostError: EnOS was out of reach for longer than ``poll_error_tolerance``.
    :raises AirflowSensorTimeout: there was no decision within ``timeout``.
    :raises AirflowTaskTimeout: there was no decision within the task's ``execution_timeout``, which also holds while
        the task is deferred.
    """

    template_fields: Sequence[str] = (*FLOW_FIELDS, "window_start", "window_end", *TENANT_FIELDS)
    _enos_arguments = {
        **EnosSensor._enos_arguments,
        **_RULE_ARGUMENTS,
        **FLOW_ARGUMENTS,
        "window_start": Argument(times.moment, templated=True),
        "window_end": Argument(times.moment, templated=True),
        "window_shift": Argument(arguments.shift),
        "check_existence": Argument(arguments.flag),
    }

    _ids_and_names = (FLOW_FIELDS,)

    _execution: FlowExecution | None = None

    flow_id: int | str | None
    flow_name: str | None
    window_start: Any
    window_end: Any
    window_shift: float
    check_existence: bool

    def __init__(
        self,
        *,
        flow_id: int | str | None = None,
        flow_name: str | None = None,
        window_start: Any = "{{ data_interval_start | default(none) }}",
        window_end: Any = "{{ data_interval_end | default(none) }}",
        window_shift: timedelta | float = timedelta(),
        allowed_statuses: str | FlowStatus | Iterable[str | FlowStatus] = DEFAULT_ALLOWED,
        failed_statuses: str | FlowStatus | Iterable[str | FlowStatus] = DEFAULT_FAILED,
        skipped_statuses: str | FlowStatus | Iterable[str | FlowStatus] = DEFAULT_SKIPPED,
        instances: Instances = "all",
        expected_instances: int = 1,
        types: int | Iterable[int] = PERIODIC,
        scheduled_only: bool = True,
        check_existence: bool = True,
        start_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(start_from_trigger=start_from_trigger, **kwargs)
        self._set_one(flow_id=flow_id, flow_name=flow_name)
        self._set(
            window_start=window_start,
            window_end=window_end,
            window_shift=window_shift,
            check_existence=check_existence,
        )
        rules = self._checked(
            allowed_statuses=allowed_statuses,
            failed_statuses=failed_statuses,
            skipped_statuses=skipped_statuses,
            instances=instances,
            expected_instances=expected_instances,
            types=types,
            scheduled_only=scheduled_only,
        )
        from airflow_provider_enos.protocol.follow.window_rules import Rules

        with self._naming_task():
            self._check_window(self.window_start, self.window_end, self.window_shift)
            self._rules = Rules.of(**rules)
        if start_from_trigger:
            self._start_from_trigger(
                "EnosFlowTrigger", [*FLOW_FIELDS, "window_start", "window_end"], window_shift=self.window_shift
            )

    @classmethod
    def _check_together(cls, given: Mapping[str, Any], unknown: Set[str]) -> None:
        from airflow_provider_enos.protocol.follow.window_rules import Rules

        if not _RULE_ARGUMENTS.keys() & unknown:
            Rules.of(**{name: given[name] for name in _RULE_ARGUMENTS.keys() & given.keys()})
        if {"window_start", "window_end"} <= given.keys() and "window_shift" not in unknown:
            cls._check_window(given["window_start"], given["window_end"], given.get("window_shift", 0.0))

    @staticmethod
    def _check_window(start: Any, end: Any, shift: float) -> None:
        """Refuse a window that is known to be empty. Raises ``EnosConfigError``."""
        from airflow_provider_enos.protocol.follow.window import Window

        try:
            first, last = times.moment(known_part(start), "window_start"), times.moment(known_part(end), "window_end")
        except EnosConfigError:
            # Each was checked already, so this one is known only when the task runs.
            return
        Window.between(first, last, shift=shift)

    @property
    def trigger_arguments(self) -> dict[str, Any]:
        """The arguments of the trigger that are the arguments of the sensor."""
        return {
            **super().trigger_arguments,
            **self._rules.to_arguments(),
            "check_existence": self.check_existence,
        }

    @property
    def window_arguments(self) -> WindowArguments:
        """The arguments that say what to wait for, as they are rendered now."""
        from airflow_provider_enos.sensors.flow_execution import WindowArguments

        return WindowArguments(
            self.flow_id,
            self.flow_name,
            self.window_start,
            self.window_end,
            self.window_shift,
            self._rules,
            self.check_existence,
        )

    def _execution_in(self, context: Context) -> FlowExecution:
        from airflow_provider_enos.sensors.flow_execution import FlowExecution

        return FlowExecution(self, context, self.window_arguments)

    def _external(self) -> External:
        found = None if self._execution is None else self._execution.flow_id
        return External(
            found or number_if_valid(self.flow_id),
            flow_instance_ids=self._reported_ids(),
            gateway=self._gateway,
            flow_name=label_if_valid(self.flow_name),
        )
