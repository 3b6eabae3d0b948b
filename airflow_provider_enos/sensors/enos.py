"""Waits for EnOS flow instances."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from math import inf
from time import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_enos.errors import (
    EnosConfigError,
    EnosError,
    EnosEventError,
    EnosFlowFailedError,
    EnosFlowTimeoutError,
)
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.links.enos import EnosFlowInstanceLink, push_instance, push_link
from airflow_provider_enos.protocol import arguments, trigger_time as times
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.follow.options import (
    DEFAULT_ALLOWED,
    DEFAULT_FAILED,
    DEFAULT_SKIPPED,
    PERIODIC,
    Instances,
    TaskLogs,
)
from airflow_provider_enos.protocol.follow.watch import Watch
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.follow.window_rules import Rules, Verdict, flow_types
from airflow_provider_enos.protocol.follow.window_wait import Wanted, WindowWatch
from airflow_provider_enos.protocol.models import FlowStatus, Outcome
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.utils.airflow_errors import airflow_errors
from airflow_provider_enos.utils.deferral import default_deferrable, task_deadline
from airflow_provider_enos.utils.openlineage import External, ReportsLineage, number_if_valid
from airflow_provider_enos.utils.state_store import TaskState
from airflow_provider_enos.utils.task_arguments import (
    TENANT_ARGUMENTS,
    TENANT_FIELDS,
    WAITING_ARGUMENTS,
    Argument,
    ArgumentChecks,
    one_of,
)
from airflow_provider_enos.utils.task_end import end_as, link_of, stream_of
from airflow_provider_enos.utils.templates import (
    can_be_rendered_by_trigger,
    for_trigger,
    is_mapped,
    known_part,
)
from airflow_provider_enos.utils.trigger_events import InstanceEvent, WindowEvent
from airflow_provider_enos.version_compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    triggers_are_told_of_kills,
)

if TYPE_CHECKING:
    from airflow_provider_enos.client.settings import Settings
    from airflow_provider_enos.protocol.models import FlowInstance
    from airflow_provider_enos.version_compat import Context

__all__ = ["EnosFlowInstanceSensor", "EnosFlowSensor"]

_STATE_KEY = "enos_watch"
_RULES = frozenset(
    {
        *("allowed_statuses", "failed_statuses", "skipped_statuses"),
        *("instances", "expected_instances", "types", "scheduled_only"),
    }
)
"""The arguments that ``Rules`` are made of."""

Sight = TypeVar("Sight", "FlowInstance", "Verdict")
"""What a look shows."""
TheWatch = TypeVar("TheWatch", bound=Watch[Any])


class _WaitingSensor(ArgumentChecks, BaseSensorOperator, ReportsLineage, Generic[TheWatch, Sight]):
    """What the sensors have in common: how they wait and how they fail; not for what."""

    operator_extra_links = (EnosFlowInstanceLink(),)
    ui_color = "#d9f2ee"
    _enos_arguments = {
        **TENANT_ARGUMENTS,
        **{name: WAITING_ARGUMENTS[name] for name in ("deferrable", "poll_error_tolerance")},
        "task_logs": Argument(one_of(TaskLogs)),
        "start_from_trigger": Argument(arguments.flag),
    }

    deferrable: bool
    poll_error_tolerance: float
    task_logs: TaskLogs
    enos_conn_id: str
    org_id: str | None
    user_id: str | None

    def __init__(
        self,
        *,
        deferrable: bool | None = None,
        start_from_trigger: bool = False,
        poll_error_tolerance: timedelta | float = timedelta(minutes=10),
        task_logs: TaskLogs = "failed",
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
            enos_conn_id=enos_conn_id,
            org_id=org_id,
            user_id=user_id,
        )
        self._wants_trigger: bool = self._checked(start_from_trigger=start_from_trigger)["start_from_trigger"]
        self._watch: TheWatch | None = None
        self._ti: Any = None
        self._gateway: str | None = None
        self._deadline: float | None = None
        self._is_skip_told = False

    def _start_from_trigger(self, trigger: str, fields: Collection[str], **trigger_kwargs: Any) -> None:
        """Have the scheduler hand the task to the triggerer, with everything that its trigger has to know.

        :param trigger: the class of the trigger.
        :param fields: the template fields that it takes, beside those of the tenant.
        """
        from airflow.triggers.base import StartTriggerArgs

        self.deferrable = True
        templated = {name: getattr(self, name) for name in (*fields, *TENANT_FIELDS)}
        if not triggers_are_told_of_kills() or is_mapped(self):
            return
        if not all(map(can_be_rendered_by_trigger, templated.values())):
            return
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls=f"airflow_provider_enos.triggers.enos.{trigger}",
            trigger_kwargs={
                **trigger_kwargs,
                "deadline": None,
                "timeout": min(self.timeout, self._execution_seconds),
                # Logs of nodes that went well are copied by the task itself.
                "ends_task": self.task_logs != "all",
                "do_xcom_push": self.do_xcom_push,
                **self._trigger_arguments,
                **{name: for_trigger(value) for name, value in templated.items()},
            },
            next_method="execute_complete",
            next_kwargs=None,
            timeout=None,
        )
        self.start_from_trigger = True

    @property
    def _execution_seconds(self) -> float:
        return inf if self.execution_timeout is None else self.execution_timeout.total_seconds()

    @property
    def _trigger_arguments(self) -> dict[str, Any]:
        return {
            "enos_conn_id": self.enos_conn_id,
            "poll_interval": self.poke_interval,
            "poll_error_tolerance": self.poll_error_tolerance,
            "silent_fail": self.silent_fail,
            "org_id": self.org_id,
            "user_id": self.user_id,
        }

    def execute(self, context: Context) -> Any:
        """Wait, in the worker or in the triggerer."""
        if self._wants_trigger:
            self.log.info(
                "Airflow cannot start this in the triggerer (before 3.3, mapped, or with an argument that only a "
                "worker can find out): deferring from a worker"
            )
        self._ti = context["ti"]
        self._deadline = self._first_look_at(context) + self.timeout
        if self.deferrable:
            return self._end_or_defer(self._deadline)
        with self._told_if_skipped():
            return super().execute(context)

    def execute_complete(self, context: Context, event: Any, of_task: bool | None = None) -> str | list[str]:
        """Go on once the trigger has fired: the end is the same as without deferral.

        ``of_task``: whether the deadline of the trigger was the ``execution_timeout``; None if no worker has set it.
        """
        self._ti = context["ti"]
        with self._sensor_errors():
            self._check_tenant()
            event = self._event_of(event)
            watch = self._watch = self._watch_after(event)
            if event.error is None:
                steps = watch.wait(poll_interval=self.poke_interval, deadline=time() + self.timeout, clock=time)
            else:
                steps = watch.recheck(event.error, clock=time)
            try:
                return self._end(watch, self._hook.client.run(steps))
            except EnosFlowTimeoutError as error:
                if self._execution_seconds <= self.timeout if of_task is None else of_task:
                    raise AirflowTaskTimeout(f"execution_timeout: {error}") from error
                raise AirflowSensorTimeout(f"Sensor has timed out: {error}") from error

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        self._ti = context["ti"]
        deadline = time() + self.timeout if self._deadline is None else self._deadline
        with self._sensor_errors():
            if self._watch is None:
                self._watch = self._new_watch()
            try:
                look = self._look_again if self.reschedule else self._look_once
                seen = look(self._watch, context, deadline)
                is_over = seen is not None and self._watch.is_over(seen)
                if not is_over and time() >= deadline:
                    raise self._watch.out_of_time()
            except EnosFlowTimeoutError as error:
                raise AirflowSensorTimeout(f"Sensor has timed out: {error}") from error
            if seen is None or not is_over:
                return PokeReturnValue(is_done=False)
            # What it came to is no error of looking, which Airflow would pass over: it is told at once.
            self.silent_fail = False
            return PokeReturnValue(is_done=True, xcom_value=self._end(self._watch, seen))

    def _first_look_at(self, context: Context) -> float:
        """When this try has looked first, which counts for ``timeout``: in reschedule mode in another process."""
        find = getattr(context["ti"], "get_first_reschedule_date", None)
        first = find(context) if self.reschedule and not self.deferrable and find is not None else None
        # `dags test` of Airflow 3.0 gives a text.
        first = datetime.fromisoformat(first) if isinstance(first, str) else first
        return first.timestamp() if first is not None else time()

    def _end_or_defer(self, deadline: float) -> str | list[str]:
        """Look once: end if there is nothing left to wait for, else wait in the triggerer."""
        of_task = task_deadline(self.execution_timeout, self._ti)
        trigger_deadline = deadline if of_task is None else min(deadline, of_task)
        with self._sensor_errors():
            watch = self._watch = self._new_watch()
            # The triggerer would show the logs from their beginning once more.
            watch.stream = None
            seen = self._hook.client.run(watch.look_before_deferral(clock=time, deadline=trigger_deadline))
            if seen is not None and watch.is_over(seen):
                return self._end(watch, seen)
            kwargs = {"of_task": trigger_deadline != deadline}
            self.defer(trigger=self._trigger(watch, trigger_deadline), method_name="execute_complete", kwargs=kwargs)
        raise AssertionError("unreachable")

    def _check_tenant(self) -> None:
        """Raise ``EnosConfigError`` for an argument that cannot work, which no wait mends, unlike a connection."""
        from airflow_provider_enos.client.settings import check_tenant

        check_tenant(org_id=self.org_id, user_id=self.user_id)

    def _trigger(self, watch: TheWatch, deadline: float) -> Any:
        """The trigger that waits instead."""
        raise NotImplementedError

    def _new_watch(self) -> TheWatch:
        """What is told what is seen. Raises ``EnosConfigError`` for a rendered argument that cannot work."""
        raise NotImplementedError

    def _event_of(self, payload: Any) -> Any:
        """The trigger's event. Raises ``EnosEventError`` for any other."""
        raise NotImplementedError

    def _watch_after(self, event: Any) -> TheWatch:
        """The watch once the trigger has fired. Raises the trigger's error where there is nothing to look at."""
        raise NotImplementedError

    def _end(self, watch: TheWatch, seen: Sight) -> str | list[str]:
        """Ends as what was waited for has ended."""
        raise NotImplementedError

    @contextmanager
    def _sensor_errors(self) -> Iterator[None]:
        """Turn errors into those of Airflow; with ``soft_fail`` or ``never_fail`` each of ours skips the task.

        Airflow itself skips for fewer: with ``soft_fail`` for a timeout and for what is not retried, and for no error
        of ours in a resumed task. Here it does not depend on the way to wait.
        """
        try:
            with airflow_errors():
                yield
        except (EnosError, AirflowSensorTimeout, AirflowFailException) as error:
            if not (self.soft_fail or self.never_fail):
                raise
            self._tell_skip("soft_fail" if self.soft_fail else "never_fail", error)
            raise AirflowSkipException(str(error)) from error

    @contextmanager
    def _told_if_skipped(self) -> Iterator[None]:
        """Log why Airflow has skipped the task, where we have not."""
        try:
            yield
        except AirflowSkipException as skip:
            if not self._is_skip_told:
                self.log.warning("Skipped: %s", skip.__cause__ or skip)
            raise

    def _tell_skip(self, why: str, error: BaseException) -> None:
        self.log.warning("Skipped instead of failed, since %s is set: %s", why, error)
        self._is_skip_told = True

    @cached_property
    def _hook(self) -> EnosHook:
        hook = EnosHook(self.enos_conn_id, org_id=self.org_id, user_id=self.user_id)
        hook.client.when_read = self._note_gateway
        return hook

    def _note_gateway(self, settings: Settings) -> None:
        self._gateway = settings.base_url

    def _look_once(self, watch: TheWatch, context: Context, deadline: float) -> Sight | None:
        seen: Sight | None = self._hook.client.run(watch.look(clock=time, deadline=deadline))
        return seen

    def _look_again(self, watch: TheWatch, context: Context, deadline: float) -> Sight | None:
        """One look in reschedule mode: with what earlier looks of this try saw, each of them in its own process."""
        ti: Any = context["ti"]
        state = TaskState(context, _STATE_KEY, self.log)
        before = state.load()
        if isinstance(before, dict) and before.get("try_number") == ti.try_number:
            watch.remember(before)
        if not state.kept:
            # Each look would show the logs from their beginning.
            watch.stream = None
        seen = self._look_once(watch, context, deadline)
        after = {**watch.memory, "try_number": ti.try_number}
        if after != before:
            state.save(after)
        return seen


class EnosFlowInstanceSensor(_WaitingSensor[InstanceWatch, "FlowInstance"]):
    """Waits until a flow instance has ended, and ends as it ends.

    ``flow_instance_id`` takes the output of an operator that started it::

        started = EnosTriggerFlowFromTaskOperator(..., wait_for_completion=False)
        EnosFlowInstanceSensor(task_id="wait", flow_instance_id=started.output, mode="reschedule")

    Succeeded: success, and the id is the return value. Skipped: the task is skipped. Failed or cancelled: the errors
    below, or skipped with ``soft_fail``. In ``reschedule`` mode on Airflow before 3.3, which keeps nothing between two
    looks, errors of the network are waited through until ``timeout``.

    Documentation: Batch Processing API, "Get Flow Instance", "Get Task Instance Log".

    Template fields: ``flow_instance_id``, ``enos_conn_id``, ``org_id``, ``user_id``.

    :param flow_instance_id: the instance, such as ``3377-20200706062600``.
    :param deferrable: whether to wait in the triggerer rather than in a worker. Default: ``default_deferrable`` in the
        section ``[operators]`` of Airflow's configuration.
    :param start_from_trigger: whether to start in the triggerer, without a worker, and to end there when the instance
        has succeeded or was skipped. ``user_defined_macros`` do not work there. Where Airflow cannot do it, the task
        says so and defers from a worker: before 3.3, whose triggers render no templates; for a mapped task, also one of
        a mapped task group; and where an argument is neither a template nor the plain output of a task that is not
        mapped. In a template of your own give ``xcom_pull`` its ``map_indexes``, without which Airflow's triggerer
        cannot carry it out.
    :param poll_error_tolerance: for how long EnOS may be out of reach, or refuse the connection's keys and rights: a
        timedelta or seconds. The connection is read again after each refusal.
    :param task_logs: whose logs to show in the task's log: ``"failed"`` nodes, the end of them once the instance has
        ended badly; ``"all"``, as they grow (in ``reschedule`` mode on Airflow before 3.3 at the end); ``"none"``.
    :param enos_conn_id: the Airflow connection, of type ``enos``.
    :param org_id: the EnOS organisation, in place of the connection's.
    :param user_id: the EnOS user, in place of the connection's.
    :param kwargs: those of every sensor: ``poke_interval`` (60 s), ``timeout`` (each try has a new one), ``mode``,
        ``silent_fail`` (waits on whatever goes wrong with a look), ``soft_fail``, ``execution_timeout``, ...

    :raises AirflowFailException: a rendered argument cannot work: not retried.
    :raises AirflowSkipException: the instance was skipped in EnOS.
    :raises EnosFlowFailedError: the instance failed; the message says which nodes and how their logs end.
    :raises EnosFlowCancelledError: the instance was cancelled.
    :raises EnosRequestError: EnOS does not know the instance.
    :raises EnosPollLostError: EnOS was out of reach for longer than ``poll_error_tolerance``.
    :raises AirflowTaskTimeout: the task's ``execution_timeout``, which holds while deferred, too, was over first.
    """

    template_fields: Sequence[str] = ("flow_instance_id", *TENANT_FIELDS)
    _enos_arguments = {
        **_WaitingSensor._enos_arguments,
        "flow_instance_id": Argument(arguments.instance, templated=True),
    }

    flow_instance_id: str

    def __init__(self, *, flow_instance_id: str, start_from_trigger: bool = False, **kwargs: Any) -> None:
        super().__init__(start_from_trigger=start_from_trigger, **kwargs)
        self._set(flow_instance_id=flow_instance_id)
        self._is_link_pushed = False
        if start_from_trigger:
            self._start_from_trigger(
                "EnosFlowInstanceTrigger", ["flow_instance_id"], cancel_on_kill=False, push_link=True
            )

    @property
    def _trigger_arguments(self) -> dict[str, Any]:
        return {**super()._trigger_arguments, "show_logs": self.task_logs == "all"}

    def _trigger(self, watch: InstanceWatch, deadline: float) -> Any:
        from airflow_provider_enos.triggers.enos import EnosFlowInstanceTrigger

        return EnosFlowInstanceTrigger(
            watch.flow_instance_id,
            deadline=deadline,
            known=watch.known,
            push_link=not self._is_link_pushed,
            # It did not start the instance, so it does not end it.
            cancel_on_kill=False,
            **self._trigger_arguments,
        )

    def _can_push_link(self, flow_instance_id: str) -> bool:
        """Give the task its link, if the connection can be read now; else that is left to the triggerer."""
        try:
            push_link(self._ti, self._hook.settings.link(flow_instance_id))
        except Exception as error:  # noqa: BLE001 - whatever Airflow raises: a look tolerates it, and says why
            self.log.debug("There is no link yet: %s", error)
            return False
        return True

    def _new_watch(self) -> InstanceWatch:
        flow_instance_id = arguments.instance(self.flow_instance_id, "flow_instance_id")
        self._check_tenant()
        self._is_link_pushed = self._can_push_link(flow_instance_id)
        return self._watch_of(flow_instance_id)

    def _event_of(self, payload: Any) -> InstanceEvent:
        return InstanceEvent.of(payload)

    def _watch_after(self, event: InstanceEvent) -> InstanceWatch:
        return self._watch_of(arguments.instance(event.flow_instance_id, "flow_instance_id"), event.logs)

    def _watch_of(self, flow_instance_id: str, logs: object = None) -> InstanceWatch:
        return InstanceWatch(
            flow_instance_id,
            tolerance=self.poll_error_tolerance,
            log=self.log,
            link=link_of(self._hook, flow_instance_id),
            stream=stream_of(self.task_logs, self.log, logs),
            gives_up=not self.silent_fail,
        )

    def _end(self, watch: InstanceWatch, seen: FlowInstance) -> str:
        end_as(seen, self._hook, task_logs=self.task_logs, log=self.log, stream=watch.stream)
        return seen.flow_instance_id

    def _external(self) -> External:
        if self._watch is None:
            return External(_flow_of(self.flow_instance_id))
        flow_instance_id = self._watch.flow_instance_id
        return External(_flow_of(flow_instance_id), flow_instance_ids=(flow_instance_id,), gateway=self._gateway)


class EnosFlowSensor(_WaitingSensor[WindowWatch, Verdict]):
    """Waits for the instances that EnOS's own schedule starts of a flow, and ends as they end.

    The counterpart of Airflow's ``ExternalTaskSensor``. The DAG neither starts the flow nor knows its instances' ids;
    it names a window of trigger times, which by default is the data interval of the DAG run::

        EnosFlowSensor(task_id="wait_for_meters", flow_id=3377, deferrable=True)

    **The window** begins after ``window_start`` and ends with ``window_end``, each to the minute, so that each trigger
    time is in the window of one DAG run. A daily DAG's run for 2 March has the data interval from 2 March 00:00 to
    3 March 00:00, and in its window are:

    - of a flow that is scheduled daily at 00:00, the instance triggered at 3 March 00:00. EnOS takes the trigger time
      as the business time and computes the day before it: 2 March, as Airflow means it, and as the operators of this
      package have it;
    - of a flow that is scheduled hourly, those triggered at 01:00, 02:00, ... and 3 March 00:00. With
      ``expected_instances=24`` the task waits until all of them are there;
    - of a flow that is scheduled daily at 03:00, the instance triggered at 2 March 03:00, which computes 1 March. The
      one that computes 2 March comes three hours after the data interval: ``window_shift=timedelta(hours=-3)``.

    Days are those of the DAG's time zone for Airflow and those of EnOS for EnOS: have them agree.

    Where start and end are the same, the window is that one minute. That is so with Airflow 3's cron schedules, whose
    data intervals are empty unless it is configured otherwise: right if both sides have the same schedule; else give a
    start, such as ``window_start="{{ data_interval_end - macros.timedelta(days=1) }}"``. A run without a data interval,
    such as one that an asset has started, is refused with a message that says so.

    **What the instances mean.** Each status is allowed, or fails or skips the task, or, in none of the three sets,
    is waited through, as are INIT, RUNNING and the like. What EnOS lists is taken at its word for what went well; for
    what would fail the task its Get Flow Instance is asked, too. With several instances in the window:

    - ``"all"``: one that failed fails the task at once. Else all have to be decided, and as many as expected be there;
      then one that skips skips the task.
    - ``"any"``: as many allowed ones as expected are enough, whatever the others are. It fails, or is skipped, when
      as many as expected are there, and all are decided.
    - ``"latest"``: the one with the last trigger time counts, once as many as expected are there.

    A failure is told as ``EnosFlowInstanceSensor`` tells it: with the failed nodes and their logs. The return value is
    the list of the ids that the success rests on, in order of their trigger times. The link leads to the last of these,
    or to the instance that is reported, once a worker has ended the task; its id is then in XCom as
    ``flow_instance_id``, also where the task failed. Nothing is ever cancelled.

    In ``reschedule`` mode on Airflow before 3.3, which keeps nothing between two looks, errors of the network are
    waited through until ``timeout``, and the log repeats itself. In the triggerer many of these sensors share one list.

    Documentation: Batch Processing API, "List Flow Instances", "Get Flow Instance", "Get Flow".

    Template fields: ``flow_id``, ``window_start``, ``window_end``, ``enos_conn_id``, ``org_id``, ``user_id``.

    :param flow_id: the flow, a whole number or its digits.
    :param window_start: an aware datetime, ISO 8601 text with an offset, or epoch milliseconds; the window begins after
        this minute. Default: the start of the data interval.
    :param window_end: the same; the window ends with this minute. Default: the end of the data interval.
    :param window_shift: how much earlier the window lies, as ``execution_delta`` of ``ExternalTaskSensor``: a timedelta
        or seconds, in whole minutes; negative: later.
    :param allowed_statuses: names, such as ``"SUCCESS"``, or members of ``FlowStatus``; one or several.
    :param failed_statuses: statuses that fail the task. Default: FAIL, INTERNAL_ERROR, TIMEOUT, CANCEL. Empty: those
        are waited through, for somebody to run the instance again.
    :param skipped_statuses: statuses that skip the task. Default: SKIP.
    :param instances: which of the instances in the window have to end well: ``"all"``, ``"any"``, ``"latest"``.
    :param expected_instances: how many there must be before the task can succeed.
    :param types: under which types EnOS lists them: 1 periodic (default), 0 manual, 2 temporary; one or several.
    :param scheduled_only: whether instances do not count that were triggered by hand or through the API, as their ids
        tell. EnOS does not document under which type it lists those of a periodic flow.
    :param check_existence: whether to fail at once, without a retry, if there is no such flow. It is asked for once,
        when the window is empty.
    :param deferrable: whether to wait in the triggerer rather than in a worker. Default: ``default_deferrable`` in the
        section ``[operators]`` of Airflow's configuration.
    :param start_from_trigger: whether to start in the triggerer, without a worker, and to end there when the task is to
        succeed or be skipped. ``user_defined_macros`` do not work there. Where Airflow cannot do it, the task says so
        and defers from a worker: as for ``EnosFlowInstanceSensor``.
    :param poll_error_tolerance: for how long EnOS may be out of reach, or refuse the connection's keys and rights: a
        timedelta or seconds. The connection is read again after each refusal.
    :param task_logs: whose logs to show in the task's log at the end: ``"failed"`` nodes of the instance that is
        reported, the end of them; ``"all"`` nodes of all instances; ``"none"``.
    :param enos_conn_id: the Airflow connection, of type ``enos``.
    :param org_id: the EnOS organisation, in place of the connection's.
    :param user_id: the EnOS user, in place of the connection's.
    :param kwargs: those of every sensor: ``poke_interval`` (60 s), ``timeout`` (each try has a new one), ``mode``,
        ``silent_fail`` (waits on whatever goes wrong with a look), ``soft_fail``, ``execution_timeout``, ...

    :raises EnosConfigError: (a ``ValueError``) from the constructor, for an argument that cannot work.
    :raises AirflowFailException: a rendered argument cannot work, or there is no such flow: not retried.
    :raises AirflowSkipException: an instance has a status that skips the task.
    :raises EnosFlowFailedError: an instance has a status that fails the task; the message says which nodes failed and
        how their logs end.
    :raises EnosFlowCancelledError: the same, where the instance was cancelled.
    :raises EnosPollLostError: EnOS was out of reach for longer than ``poll_error_tolerance``.
    :raises AirflowTaskTimeout: the task's ``execution_timeout``, which holds while deferred, too, was over first.
    """

    template_fields: Sequence[str] = ("flow_id", "window_start", "window_end", *TENANT_FIELDS)
    _enos_arguments = {
        **_WaitingSensor._enos_arguments,
        "flow_id": Argument(arguments.number, templated=True),
        "window_start": Argument(times.moment, templated=True),
        "window_end": Argument(times.moment, templated=True),
        "window_shift": Argument(arguments.shift),
        "allowed_statuses": Argument(arguments.status_names),
        "failed_statuses": Argument(arguments.status_names),
        "skipped_statuses": Argument(arguments.status_names),
        "instances": Argument(one_of(Instances)),
        "expected_instances": Argument(arguments.number),
        "types": Argument(flow_types),
        "scheduled_only": Argument(arguments.flag),
        "check_existence": Argument(arguments.flag),
    }

    flow_id: int | str
    window_start: Any
    window_end: Any
    window_shift: float
    check_existence: bool

    def __init__(
        self,
        *,
        flow_id: int | str,
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
        self._set(
            flow_id=flow_id,
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
        with self._naming_task():
            self._check_window(self.window_start, self.window_end, self.window_shift)
            self._rules = Rules.of(**rules)
        self._ended: tuple[str, ...] = ()
        if start_from_trigger:
            self._start_from_trigger(
                "EnosFlowTrigger", ["flow_id", "window_start", "window_end"], window_shift=self.window_shift
            )

    @classmethod
    def _check_together(cls, given: Mapping[str, Any], unknown: Set[str]) -> None:
        if not _RULES & unknown:
            Rules.of(**{name: given[name] for name in _RULES & given.keys()})
        if {"window_start", "window_end"} <= given.keys() and "window_shift" not in unknown:
            cls._check_window(given["window_start"], given["window_end"], given.get("window_shift", 0.0))

    @staticmethod
    def _check_window(start: Any, end: Any, shift: float) -> None:
        """Refuse a window that is surely empty. Raises ``EnosConfigError``."""
        try:
            first, last = times.moment(known_part(start), "window_start"), times.moment(known_part(end), "window_end")
        except EnosConfigError:
            # Each has been checked already, so this one is known only when the task runs.
            return
        Window.between(first, last, shift=shift)

    @property
    def _trigger_arguments(self) -> dict[str, Any]:
        return {
            **super()._trigger_arguments,
            **self._rules.to_arguments(),
            "check_existence": self.check_existence,
        }

    def _trigger(self, watch: WindowWatch, deadline: float) -> Any:
        from airflow_provider_enos.triggers.enos import EnosFlowTrigger

        wanted = watch.wanted
        start, end = wanted.window.bounds
        arguments_of_trigger = {**self._trigger_arguments, "check_existence": watch.checks_flow}
        return EnosFlowTrigger(wanted.flow_id, start, end, deadline=deadline, known=watch.known, **arguments_of_trigger)

    def _wanted(self) -> Wanted:
        flow_id = arguments.number(self.flow_id, "flow_id")
        window = Window.between(self.window_start, self.window_end, shift=self.window_shift)
        return Wanted(flow_id, window, self._rules)

    def _new_watch(self) -> WindowWatch:
        wanted = self._wanted()
        self._check_tenant()
        return self._watch_of(wanted)

    def _event_of(self, payload: Any) -> WindowEvent:
        return WindowEvent.of(payload)

    def _watch_after(self, event: WindowEvent) -> WindowWatch:
        if event.window is None:
            raise event.error or EnosEventError("the trigger's event has no window")
        # As it was when the wait began, whatever templates render to by now.
        return self._watch_of(Wanted(arguments.number(self.flow_id, "flow_id"), event.window, self._rules))

    def _watch_of(self, wanted: Wanted) -> WindowWatch:
        return WindowWatch(
            wanted,
            tolerance=self.poll_error_tolerance,
            log=self.log,
            check_existence=self.check_existence,
            gives_up=not self.silent_fail,
        )

    def _end(self, watch: WindowWatch, seen: Verdict) -> list[str]:
        first, *others = seen.instances
        # The one that decides where something is wrong, else the last one.
        shown = seen.instances[-1] if seen.outcome is Outcome.SUCCEEDED else first
        self._ended = (*(one for one in seen.ids if one != shown.flow_instance_id), shown.flow_instance_id)
        link = link_of(self._hook, shown.flow_instance_id)
        push_instance(self._ti, shown.flow_instance_id, link, do_xcom_push=self.do_xcom_push)
        if seen.outcome is Outcome.SKIPPED:
            raise AirflowSkipException(_why_skipped(first))
        if seen.outcome is Outcome.FAILED:
            for other in others:
                self.log.error("Flow instance %s, too: %s", other.flow_instance_id, str(other.status))
            self._fail_as(first)
        if self.task_logs == "all":
            self._copy_logs(seen)
        return seen.ids

    def _external(self) -> External:
        return External(number_if_valid(self.flow_id), flow_instance_ids=self._ended, gateway=self._gateway)

    def _fail_as(self, instance: FlowInstance) -> None:
        if instance.status.outcome in (Outcome.FAILED, Outcome.CANCELLED):
            end_as(instance, self._hook, task_logs=self.task_logs, log=self.log)
        raise EnosFlowFailedError(
            f"flow {self.flow_id}: instance {instance.flow_instance_id} has status {instance.status}, "
            "which is one of failed_statuses",
            flow_instance_id=instance.flow_instance_id,
            status=str(instance.status),
        )

    def _copy_logs(self, verdict: Verdict) -> None:
        for listed in verdict.instances:
            try:
                instance = self._hook.run(calls.get_flow_instance(listed.flow_instance_id))
            except EnosError as error:
                # What went well does not fail for want of its logs.
                self.log.warning("Cannot read %s, so its logs are not shown: %s", listed.flow_instance_id, error)
                continue
            if instance.status.outcome is Outcome.SUCCEEDED:
                end_as(instance, self._hook, task_logs=self.task_logs, log=self.log)


def _flow_of(flow_instance_id: object) -> int | None:
    return number_if_valid(flow_instance_id.partition("-")[0]) if isinstance(flow_instance_id, str) else None


def _why_skipped(instance: FlowInstance) -> str:
    if instance.status.outcome is Outcome.SKIPPED:
        return f"flow instance {instance.flow_instance_id} was skipped in EnOS"
    return f"flow instance {instance.flow_instance_id} has status {instance.status}, one of skipped_statuses"
