"""Starts EnOS flows and follows them to their end; cancels instances; switches the schedules of flows on and off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import timedelta
from time import time
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_enos.errors import (
    EnosError,
    EnosFlowCancelledError,
    EnosFlowTimeoutError,
    EnosTriggerError,
)
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.links.enos import EnosFlowInstanceLink, push_instance, push_link
from airflow_provider_enos.protocol import arguments, trigger_time as times
from airflow_provider_enos.protocol.arguments import OnConflict
from airflow_provider_enos.protocol.follow.cancelling import (
    OnEnded,
    ask_to_cancel,
    await_stop,
    cancel_late,
    has_stopped,
    not_cancelled,
    stopped_at_once,
    try_to_cancel,
    was_cancelled,
)
from airflow_provider_enos.protocol.follow.deadline import glance
from airflow_provider_enos.protocol.follow.instance_wait import TaskLogs, Watch, has_ended, look, sight, wait
from airflow_provider_enos.protocol.follow.poll_tolerance import recheck
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.protocol.start.attempts import Intent, Target, nothing_sent
from airflow_provider_enos.protocol.start.killed import cancel_unanswered
from airflow_provider_enos.protocol.start.starting import Starter
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.utils.airflow_errors import airflow_errors
from airflow_provider_enos.utils.deferral import default_deferrable, task_deadline
from airflow_provider_enos.utils.openlineage import External, ReportsLineage, number_if_valid
from airflow_provider_enos.utils.task_arguments import (
    TENANT_ARGUMENTS,
    TENANT_FIELDS,
    WAITING_ARGUMENTS,
    Argument,
    ArgumentChecks,
    one_of,
)
from airflow_provider_enos.utils.task_end import end_as, link_of, stream_of
from airflow_provider_enos.utils.trigger_events import InstanceEvent
from airflow_provider_enos.utils.trigger_record import TriggerRecord
from airflow_provider_enos.version_compat import AirflowSkipException, AirflowTaskTimeout, BaseOperator

if TYPE_CHECKING:
    from airflow_provider_enos.client.settings import Settings
    from airflow_provider_enos.client.sync import SyncClient
    from airflow_provider_enos.protocol.follow.log_tail import LogStream
    from airflow_provider_enos.protocol.models import FlowInstance
    from airflow_provider_enos.version_compat import Context

__all__ = [
    "DEFAULT_TRIGGER_TIME",
    "EnosCancelFlowInstanceOperator",
    "EnosDisableFlowOperator",
    "EnosEnableFlowOperator",
    "EnosTriggerFlowFromTaskOperator",
    "EnosTriggerFlowOperator",
]

DEFAULT_TRIGGER_TIME = "{{ (data_interval_end | default(none)) or dag_run.run_after }}"
"""The end of the data interval; where a run has none, the moment from which it was allowed to run."""

_CANCEL_TIMEOUT, _CANCEL_CONNECT_TIMEOUT = 2.0, 1.0
_KILL_SECONDS = 4.0
"""How long a killed task may look for what it has started: Airflow ends it after 5 s."""


class _EnosOperator(ArgumentChecks, BaseOperator):
    """What all operators have in common: on whose behalf they ask EnOS."""

    ui_color = "#d9f2ee"

    enos_conn_id: str
    org_id: str | None
    user_id: str | None

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

    def _hook(self) -> EnosHook:
        return EnosHook(self.enos_conn_id, org_id=self.org_id, user_id=self.user_id)


class _TriggerOperator(_EnosOperator, ReportsLineage):
    """What the operators that start a flow have in common: all but what they start."""

    operator_extra_links = (EnosFlowInstanceLink(),)
    _enos_arguments = {
        **TENANT_ARGUMENTS,
        **WAITING_ARGUMENTS,
        "flow_id": Argument(arguments.number, templated=True),
        "trigger_time": Argument(times.check, templated=True),
        "on_conflict": Argument(one_of(OnConflict)),
        "cancel_on_kill": Argument(arguments.flag),
        "cancel_on_timeout": Argument(arguments.flag),
        "task_logs": Argument(one_of(TaskLogs)),
    }

    flow_id: int | str
    trigger_time: Any
    wait_for_completion: bool
    deferrable: bool
    poll_interval: float
    timeout: float
    poll_error_tolerance: float
    on_conflict: OnConflict
    cancel_on_kill: bool
    cancel_on_timeout: bool
    task_logs: TaskLogs

    def __init__(
        self,
        *,
        flow_id: int | str,
        trigger_time: Any = DEFAULT_TRIGGER_TIME,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: timedelta | float = 30.0,
        timeout: timedelta | float = timedelta(days=7),
        poll_error_tolerance: timedelta | float = timedelta(minutes=10),
        on_conflict: OnConflict = "next_minute",
        cancel_on_kill: bool = True,
        cancel_on_timeout: bool = True,
        task_logs: TaskLogs = "failed",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._set(
            flow_id=flow_id,
            trigger_time=trigger_time,
            wait_for_completion=wait_for_completion,
            deferrable=default_deferrable() if deferrable is None else deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            poll_error_tolerance=poll_error_tolerance,
            on_conflict=on_conflict,
            cancel_on_kill=cancel_on_kill,
            cancel_on_timeout=cancel_on_timeout,
            task_logs=task_logs,
        )
        self._flow_instance_id: str | None = None
        self._gateway: str | None = None
        self._killed = False
        self._record: TriggerRecord | None = None
        self._last_client: SyncClient | None = None
        self._last_settings: Settings | None = None

    def execute(self, context: Context) -> str:
        """Start the instance, wait if wanted, and return its id."""
        # An earlier try may have started one, too.
        with airflow_errors(known=lambda: self._flow_instance_id is not None or context["ti"].try_number > 1):
            return self._start_and_wait(context)

    def execute_complete(
        self,
        context: Context,
        event: Any,
        taken_over: bool = False,
        deadline: float | None = None,
        task_deadline: float | None = None,
    ) -> str:
        """Go on once the trigger has fired: as without deferral, from what it has met or seen the end of."""
        with airflow_errors(known=lambda: True):
            event = InstanceEvent.of(event)
            hook = self._hook(resumed=True)
            self._flow_instance_id = event.flow_instance_id
            if self._killed and self.cancel_on_kill:
                # The kill came while the id was not known yet.
                self._cancel_killed(event.flow_instance_id)
            deadline = time() + self.timeout if deadline is None else deadline
            if event.error is None:
                # It has ended in time: what is late is this worker.
                deadline = max(deadline, time() + self.poll_error_tolerance)
            of_task = event.error is not None and task_deadline is not None and task_deadline <= deadline
            stream = stream_of(self.task_logs, self.log, event.logs)
            instance = self._awaited(hook, event.flow_instance_id, deadline, event.error, stream, of_task=of_task)
            return self._end(context, hook, instance, taken_over, stream)

    def on_kill(self) -> None:
        """Cancels the instance, in the 5 seconds that Airflow leaves, and without a word to Airflow.

        Where the reply to the trigger has not come yet, this looks for the instance that the request has made. It runs
        in a signal handler that may have interrupted anything, so it uses nothing that ``execute`` uses. The cancel is
        sent once, or once more with a new token.
        """
        self._killed = True
        intent = self._record.last if self._record else None
        flow_instance_id = self._flow_instance_id or (intent and intent.flow_instance_id)
        if not self.cancel_on_kill:
            return
        if flow_instance_id:
            self._cancel_killed(flow_instance_id)
        elif intent is not None and intent.is_open:
            self._cancel_unanswered(intent)

    def _start_and_wait(self, context: Context) -> str:
        hook = self._hook()
        deadline = time() + self.timeout
        flow_instance_id, taken_over = self._start(hook, context, deadline)
        if not self.wait_for_completion:
            return flow_instance_id
        stream = stream_of(self.task_logs, self.log)
        if not self.deferrable:
            instance = self._awaited(hook, flow_instance_id, deadline, stream=stream)
        elif taken_over and (ended := self._ended_already(hook, flow_instance_id)):
            instance = ended
        else:
            self._defer(context, flow_instance_id, deadline, taken_over)
        return self._end(context, hook, instance, taken_over, stream)

    def _target(self) -> Target:
        """What to start. Raises ``EnosConfigError`` for a rendered argument that cannot work."""
        raise NotImplementedError

    def _hook(self, *, resumed: bool = False) -> EnosHook:
        """Return the hook; with it, before anything is started, make the client for a last cancel.

        A resumed task has an instance: if its connection cannot be read now, that is an error of the next look.
        """
        hook = super()._hook()
        hook.client.when_read = self._prepare_last_cancel
        with suppress(Exception) if resumed else nullcontext():
            self._prepare_last_cancel(hook.settings)
        return hook

    def _prepare_last_cancel(self, settings: Settings) -> None:
        """Make the client for a last cancel, which cannot ask Airflow."""
        from airflow_provider_enos.client.sync import SyncClient
        from airflow_provider_enos.protocol.wire.exchange import AT_ONCE

        if settings == self._last_settings:
            return
        client = SyncClient(settings, retry=AT_ONCE, timeout=_CANCEL_TIMEOUT, connect_timeout=_CANCEL_CONNECT_TIMEOUT)
        # Now, since a signal may come while what it needs is being imported.
        client.open()
        self._last_client, self._last_settings = client, settings
        self._gateway = settings.base_url

    def _start(self, hook: EnosHook, context: Context, deadline: float) -> tuple[str, bool]:
        """Start the instance; return its id, and whether it was taken over from an earlier try."""
        target, settings, client = self._target(), hook.settings, hook.client
        record = TriggerRecord(context, target.flow_id, f"{settings.base_url} {settings.org_id}", self.log)
        client.before_unsafe = lambda: self._check_wanted(record)
        client.while_sleeping = self._check_not_killed
        attempt = record.attempt(
            retries=self.retries or 0, trigger_time=lambda now: times.parse(self.trigger_time, now=now)
        )
        self._record = record
        starter = Starter(
            target,
            attempt,
            record,
            self.log,
            on_conflict=self.on_conflict,
            tolerance=self.poll_error_tolerance,
            deadline=deadline,
            clock=time,
            gateway_clock=lambda: client.gateway.now(),
            origin=record.origin,
            cancels_predecessor=self.cancel_on_kill and self.wait_for_completion,
        )
        started = client.run(starter.run())
        self._flow_instance_id = started.flow_instance_id
        if self._killed and self.cancel_on_kill:
            # The kill came while the id was not known yet.
            self._cancel_killed(started.flow_instance_id)
            raise EnosFlowCancelledError(
                f"flow instance {started.flow_instance_id}: the task was killed while it was started",
                flow_instance_id=started.flow_instance_id,
                status="unknown",
            )
        self._announce(context["ti"], started.flow_instance_id, settings.link(started.flow_instance_id))
        return started.flow_instance_id, started.taken_over

    def _check_wanted(self, record: TriggerRecord) -> None:
        """Raise an error just before a request that starts something, if it must not be sent any more."""
        if self._killed:
            raise nothing_sent("the task was killed")
        record.check_current()

    def _check_not_killed(self) -> None:
        if self._killed:
            raise EnosTriggerError("the task was killed while it started the flow")

    def _announce(self, ti: Any, flow_instance_id: str, link: str | None) -> None:
        """Push link and id to XCom. A failure must not end a task that is the only one to follow the instance."""
        try:
            push_instance(ti, flow_instance_id, link, do_xcom_push=self.do_xcom_push)
            if self.do_xcom_push:
                ti.xcom_push(key="return_value", value=flow_instance_id)
        except Exception as error:  # noqa: BLE001 - whatever Airflow or a backend of XComs raises
            self.log.warning("Cannot store the id of flow instance %s in XCom: %s", flow_instance_id, error)

    def _check_still_wanted(self) -> None:
        if self._killed and self._flow_instance_id is not None:
            raise EnosFlowCancelledError(
                f"flow instance {self._flow_instance_id}: the task was killed while it waited",
                flow_instance_id=self._flow_instance_id,
                status="unknown",
            )

    def _defer(self, context: Context, flow_instance_id: str, deadline: float, taken_over: bool) -> NoReturn:
        from airflow_provider_enos.triggers.enos import EnosFlowInstanceTrigger

        of_task = task_deadline(self.execution_timeout, context["ti"])
        trigger = EnosFlowInstanceTrigger(
            flow_instance_id,
            self.enos_conn_id,
            self.poll_interval,
            deadline if of_task is None else min(deadline, of_task),
            poll_error_tolerance=self.poll_error_tolerance,
            cancel_on_kill=self.cancel_on_kill,
            known=True,
            show_logs=self.task_logs == "all",
            org_id=self.org_id,
            user_id=self.user_id,
        )
        # No timeout of Airflow's: it would end the task without a word to EnOS. The deadline is the trigger's.
        kwargs = {"taken_over": taken_over, "deadline": deadline, "task_deadline": of_task}
        self.defer(trigger=trigger, method_name="execute_complete", kwargs=kwargs)

    def _watch(self, hook: EnosHook, flow_instance_id: str, stream: LogStream | None = None) -> Watch:
        return Watch(
            flow_instance_id,
            tolerance=self.poll_error_tolerance,
            log=self.log,
            link=link_of(hook, flow_instance_id),
            known=True,
            stream=stream,
        )

    def _ended_already(self, hook: EnosHook, flow_instance_id: str) -> FlowInstance | None:
        """Look once before the task is deferred: return the instance if it has ended; an error is tolerated."""
        watch = self._watch(hook, flow_instance_id)
        instance = hook.client.run(
            glance(lambda deadline: look(watch, clock=time, deadline=deadline), clock=time),
        )
        return instance if instance is not None and instance.status.ended else None

    def _awaited(
        self,
        hook: EnosHook,
        flow_instance_id: str,
        deadline: float,
        error: EnosError | None = None,
        stream: LogStream | None = None,
        *,
        of_task: bool = False,
    ) -> FlowInstance:
        """Return the instance once it has ended; cancel one that is late.

        ``error``: what the trigger met instead; ``of_task``: whether its deadline was the ``execution_timeout``.
        """
        watch = self._watch(hook, flow_instance_id, stream)
        hook.client.while_sleeping = self._check_still_wanted
        steps = wait(watch, poll_interval=self.poll_interval, deadline=deadline, clock=time)
        if error is not None:
            steps = recheck(sight(watch, clock=time), watch, error, is_over=has_ended, log=self.log, clock=time)
        try:
            return hook.client.run(steps)
        except EnosFlowTimeoutError as late:
            if of_task:
                raise self._task_timeout(hook, late) from late
            raise (hook.client.run(cancel_late(late)) if self.cancel_on_timeout else late) from None

    def _task_timeout(self, hook: EnosHook, late: EnosFlowTimeoutError) -> AirflowTaskTimeout:
        """Return Airflow's own error for a deferred task over its ``execution_timeout``; cancel as for a kill."""
        said = f"execution_timeout: {late}"
        if self.cancel_on_kill:
            failure = hook.client.run(try_to_cancel(late.flow_instance_id))
            # Airflow calls on_kill after this error: it is to cancel only what is not cancelled yet.
            self.cancel_on_kill = failure is not None
            said += f"; cancelling it failed: {failure}" if failure else "; it was asked to be cancelled"
        return AirflowTaskTimeout(said)

    def _end(
        self,
        context: Context,
        hook: EnosHook,
        instance: FlowInstance,
        taken_over: bool,
        stream: LogStream | None = None,
    ) -> str:
        """Ends as the instance has ended."""
        if taken_over and instance.status.outcome is Outcome.CANCELLED and not self._killed:
            # The try that was killed, or was late, has asked for it: EnOS may take its time to carry it out.
            self.log.warning("%s has been cancelled since it was taken over", instance.flow_instance_id)
            return self._start_and_wait(context)
        end_as(instance, hook, task_logs=self.task_logs, log=self.log, stream=stream)
        return instance.flow_instance_id

    def _external(self) -> External:
        return External(
            number_if_valid(self.flow_id),
            number_if_valid(getattr(self, "from_task_id", None)),
            () if self._flow_instance_id is None else (self._flow_instance_id,),
            self._gateway,
        )

    def _cancel_unanswered(self, intent: Intent) -> None:
        client = self._last_client
        if client is None:
            return
        until = time() + _KILL_SECONDS
        search = cancel_unanswered(intent, until=until, clock=time, gateway_clock=client.gateway.now)
        try:
            cancelled = client.run(search)
        except Exception as error:  # noqa: BLE001 - in a signal handler it would end up anywhere
            self.log.error("The task was killed while it started the flow, and what came of it is not known: %s", error)
            return
        if cancelled is None:
            self.log.warning("The task was killed while it started the flow; no instance of it can be seen")
        else:
            self.log.info("The task was killed while it started the flow: asked EnOS to cancel %s", cancelled)

    def _cancel_killed(self, flow_instance_id: str) -> None:
        if self._last_client is None:
            return
        try:
            self._last_client.call(calls.cancel_flow_instance(flow_instance_id))
        except Exception as error:  # noqa: BLE001 - in a signal handler it would end up anywhere
            self.log.error("The task was killed, but cancelling %s failed: %s", flow_instance_id, error)
        else:
            self.log.info("The task was killed: asked EnOS to cancel %s", flow_instance_id)


class EnosTriggerFlowFromTaskOperator(_TriggerOperator):
    """Starts an EnOS flow from one of its task nodes, follows the flow instance, and ends as it ends.

    The given node and all nodes downstream of it run. EnOS takes the trigger time as the business time: the business
    date ``calDt`` is the day before it. With the default, a daily DAG's run for 2 March triggers with 3 March 00:00
    and EnOS computes 2 March, as Airflow means it.

    A retry of the task takes over the instance that the try before it started, unless that ended badly; a cleared
    task starts another one. EnOS keeps one instance a flow and minute, which is what this rests on.

    The instance's id is in XCom, under ``flow_instance_id`` and as the return value, before the wait begins.

    Documentation: Batch Processing API, "Trigger Flow From Task", "Get Flow Instance", "Cancel Flow Instance".

    Template fields: ``flow_id``, ``from_task_id``, ``trigger_time``, ``enos_conn_id``, ``org_id``, ``user_id``.

    :param flow_id: the flow, a whole number or its digits.
    :param from_task_id: the task node to start from (EnOS calls it taskId), a whole number or its digits.
    :param trigger_time: an aware datetime, ISO 8601 text with an offset, epoch milliseconds, or ``"now"``. Default: the
        end of the data interval, or ``run_after`` where there is none. In the future: EnOS waits until then.
    :param wait_for_completion: whether to follow the instance to its end; if not, the task succeeds once it is started.
    :param deferrable: whether to wait in the triggerer rather than in a worker. Default: ``default_deferrable`` in the
        section ``[operators]`` of Airflow's configuration.
    :param poll_interval: seconds between two looks at the instance.
    :param timeout: how long the instance may take, a timedelta or seconds. Each try has a new one.
    :param poll_error_tolerance: for how long EnOS may be out of reach, or refuse the connection's keys and rights: a
        timedelta or seconds. The connection is read again after each refusal.
    :param on_conflict: what to do when somebody else's instance of this flow has the minute of the trigger time:
        ``"next_minute"`` takes the next free one of that day, ``"attach"`` takes that instance over as if it were the
        task's own, cancelling included, ``"fail"`` fails.
    :param cancel_on_kill: whether to cancel the instance when the task is killed: marked failed, marked as success or
        cleared while it runs or is deferred, over its ``execution_timeout``, or its worker shut down.
    :param cancel_on_timeout: whether to cancel the instance when ``timeout`` has passed.
    :param task_logs: whose logs to show in the task's log: ``"failed"`` nodes, the end of them once the instance has
        ended badly; ``"all"``, as they grow; ``"none"``.
    :param enos_conn_id: the Airflow connection, of type ``enos``.
    :param org_id: the EnOS organisation, in place of the connection's.
    :param user_id: the EnOS user, in place of the connection's.

    :raises EnosConfigError: (a ``ValueError``) from the constructor, for an argument that cannot work.
    :raises AirflowFailException: the connection, a rendered argument, the credentials, the flow or the node cannot
        work: not retried.
    :raises AirflowSkipException: the instance was skipped in EnOS.
    :raises EnosFlowFailedError: the instance failed; the message says which nodes and how their logs end.
    :raises EnosFlowCancelledError: the instance was cancelled.
    :raises EnosFlowTimeoutError: it did not end within ``timeout``.
    :raises EnosPollLostError: EnOS was out of reach for longer than ``poll_error_tolerance``; the instance runs on.
    :raises AirflowTaskTimeout: it did not end within the task's ``execution_timeout``, which holds while deferred, too.
    :raises EnosTriggerUncertainError: it is not known whether the instance was started; a retry looks for it first.
    :raises EnosTriggerConflictError: the minute is taken, and ``on_conflict`` does not help.
    """

    template_fields: Sequence[str] = ("flow_id", "from_task_id", "trigger_time", *TENANT_FIELDS)
    _enos_arguments = {
        **_TriggerOperator._enos_arguments,
        "from_task_id": Argument(arguments.number, templated=True),
    }

    from_task_id: int | str

    def __init__(self, *, flow_id: int | str, from_task_id: int | str, **kwargs: Any) -> None:
        super().__init__(flow_id=flow_id, **kwargs)
        self._set(from_task_id=from_task_id)

    def _target(self) -> Target:
        return Target(arguments.number(self.flow_id, "flow_id"), arguments.number(self.from_task_id, "from_task_id"))


class EnosTriggerFlowOperator(_TriggerOperator):
    """Starts a whole EnOS flow, follows the flow instance, and ends as it ends.

    What ``EnosTriggerFlowFromTaskOperator`` says of trigger times, retries, clears, waiting and XCom holds here too.
    All its other arguments, and the errors that it raises, are those of this one.

    Documentation: Batch Processing API, "Trigger Flow", "Update And Trigger Flow".

    Template fields: ``flow_id``, ``parameters``, ``trigger_time``, ``enos_conn_id``, ``org_id``, ``user_id``.

    :param flow_id: the flow, a whole number or its digits.
    :param parameters: a mapping from name to text, with which the flow runs this once; its stored parameters stay as
        they are. None or empty: it runs with those. A whole number is sent as its digits, since
        ``render_template_as_native_obj`` makes numbers of texts; values of other types are refused.
    """

    template_fields: Sequence[str] = ("flow_id", "parameters", "trigger_time", *TENANT_FIELDS)
    template_fields_renderers = {"parameters": "json"}
    _enos_arguments = {
        **_TriggerOperator._enos_arguments,
        "parameters": Argument(arguments.parameters_or_none, templated=True),
    }

    parameters: Mapping[str, str | int] | None

    def __init__(self, *, flow_id: int | str, parameters: Mapping[str, str | int] | None = None, **kwargs: Any) -> None:
        super().__init__(flow_id=flow_id, **kwargs)
        self._set(parameters=parameters)

    def _target(self) -> Target:
        parameters = arguments.parameters_or_none(self.parameters) or None
        return Target(arguments.number(self.flow_id, "flow_id"), parameters=parameters)


class EnosCancelFlowInstanceOperator(_EnosOperator):
    """Has a flow instance cancelled, and succeeds once it really is.

    EnOS accepts a cancel before it has carried it out, and jobs that a node has submitted already cannot be stopped. So
    this looks at the instance until nothing of it runs any more. One that has been cancelled before needs nothing more,
    which makes a retry harmless; after a failure, what still runs of the instance is stopped.

    The return value is the id.

    Documentation: Batch Processing API, "Cancel Flow Instance", "Get Flow Instance".

    Template fields: ``flow_instance_id``, ``enos_conn_id``, ``org_id``, ``user_id``.

    :param flow_instance_id: the instance, such as the ``.output`` of the operator that started it.
    :param on_ended: what to do where the instance has ended by itself, be it before or while it was to be cancelled:
        ``"fail"``, ``"skip"`` the task, or ``"succeed"``.
    :param wait_for_completion: whether to wait until it is cancelled; if not, the task succeeds once EnOS has accepted
        the cancel.
    :param deferrable: whether to wait in the triggerer rather than in a worker. Default: ``default_deferrable`` in the
        section ``[operators]`` of Airflow's configuration.
    :param poll_interval: seconds between two looks at the instance.
    :param timeout: how long EnOS may take, a timedelta or seconds.
    :param poll_error_tolerance: for how long EnOS may be out of reach meanwhile, or refuse the connection's keys and
        rights once it has shown the instance: a timedelta or seconds.
    :param enos_conn_id: the Airflow connection, of type ``enos``.
    :param org_id: the EnOS organisation, in place of the connection's.
    :param user_id: the EnOS user, in place of the connection's; must own the instance.

    :raises EnosConfigError: (a ``ValueError``) from the constructor, for an argument that cannot work.
    :raises AirflowFailException: the instance had ended by itself (``EnosCancelError``), or the connection, a rendered
        argument, the credentials or the user's privileges do not allow it: not retried.
    :raises AirflowSkipException: the instance had ended by itself, and ``on_ended`` is ``"skip"``.
    :raises EnosRequestError: EnOS does not know the instance.
    :raises EnosFlowTimeoutError: it was not cancelled within ``timeout``; the message says how it stands.
    :raises EnosPollLostError: EnOS was out of reach for longer than ``poll_error_tolerance``.
    """

    template_fields: Sequence[str] = ("flow_instance_id", *TENANT_FIELDS)
    operator_extra_links = (EnosFlowInstanceLink(),)
    _enos_arguments = {
        **TENANT_ARGUMENTS,
        **WAITING_ARGUMENTS,
        "flow_instance_id": Argument(arguments.instance, templated=True),
        "on_ended": Argument(one_of(OnEnded)),
    }

    flow_instance_id: str
    on_ended: OnEnded
    wait_for_completion: bool
    deferrable: bool
    poll_interval: float
    timeout: float
    poll_error_tolerance: float

    def __init__(
        self,
        *,
        flow_instance_id: str,
        on_ended: OnEnded = "fail",
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: timedelta | float = 5.0,
        timeout: timedelta | float = timedelta(hours=1),
        poll_error_tolerance: timedelta | float = timedelta(minutes=10),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._set(
            flow_instance_id=flow_instance_id,
            on_ended=on_ended,
            wait_for_completion=wait_for_completion,
            deferrable=default_deferrable() if deferrable is None else deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            poll_error_tolerance=poll_error_tolerance,
        )

    def execute(self, context: Context) -> str:
        """Ask EnOS to cancel the instance, and wait, if wanted, until it is."""
        ti: Any = context["ti"]
        with airflow_errors():
            hook, deadline = self._hook(), time() + self.timeout
            flow_instance_id = arguments.instance(self.flow_instance_id, "flow_instance_id")
            push_link(ti, hook.settings.link(flow_instance_id))
            watch = self._watch(hook, flow_instance_id)
        with airflow_errors(known=lambda: watch.known or ti.try_number > 1):
            pace = self._pace(deadline)
            ask = ask_to_cancel(watch, log=self.log, tolerance=self.poll_error_tolerance, **pace)
            instance = hook.client.run(ask)
            if has_stopped(instance):
                return self._end(instance)
            if not self.wait_for_completion:
                return flow_instance_id
            if not self.deferrable:
                return self._end(hook.client.run(await_stop(watch, **pace)))
            stopped = hook.client.run(stopped_at_once(watch, poll_interval=self.poll_interval, clock=time))
            if stopped is None:
                self._defer(context, flow_instance_id, deadline)
            return self._end(stopped)

    def execute_complete(
        self, context: Context, event: Any, deadline: float, task_deadline: float | None = None
    ) -> str:
        """Go on once the trigger has fired: as without deferral, from what it has met or seen the end of."""
        with airflow_errors(known=lambda: True):
            event = InstanceEvent.of(event)
            hook = self._hook()
            watch = self._watch(hook, event.flow_instance_id, known=True)
            is_late = isinstance(event.error, EnosFlowTimeoutError)
            # A wait whose time is over looks once more.
            steps = await_stop(watch, **self._pace(0.0 if is_late else deadline))
            if event.error is not None and not is_late:
                steps = recheck(
                    sight(watch, clock=time), watch, event.error, is_over=has_stopped, log=self.log, clock=time
                )
            try:
                return self._end(hook.client.run(steps))
            except EnosFlowTimeoutError as late:
                if task_deadline is not None and task_deadline <= deadline:
                    raise AirflowTaskTimeout(f"execution_timeout: {late}") from late
                raise

    def _pace(self, deadline: float) -> dict[str, Any]:
        return {"poll_interval": self.poll_interval, "deadline": deadline, "clock": time}

    def _watch(self, hook: EnosHook, flow_instance_id: str, *, known: bool = False) -> Watch:
        return Watch(
            flow_instance_id,
            tolerance=self.poll_error_tolerance,
            log=self.log,
            link=link_of(hook, flow_instance_id),
            known=known,
            # Until EnOS has shown it once: a connection that cannot work is told at once.
            strict=True,
        )

    def _defer(self, context: Context, flow_instance_id: str, deadline: float) -> NoReturn:
        from airflow_provider_enos.triggers.enos import EnosFlowInstanceTrigger

        of_task = task_deadline(self.execution_timeout, context["ti"])
        trigger = EnosFlowInstanceTrigger(
            flow_instance_id,
            self.enos_conn_id,
            self.poll_interval,
            deadline if of_task is None else min(deadline, of_task),
            poll_error_tolerance=self.poll_error_tolerance,
            cancel_on_kill=False,
            known=True,
            org_id=self.org_id,
            user_id=self.user_id,
        )
        kwargs = {"deadline": deadline, "task_deadline": of_task}
        self.defer(trigger=trigger, method_name="execute_complete", kwargs=kwargs)

    def _end(self, instance: FlowInstance) -> str:
        """Ends as the cancel has."""
        if was_cancelled(instance):
            self.log.info("Flow instance %s is cancelled", instance.flow_instance_id)
        elif self.on_ended == "fail":
            raise not_cancelled(instance)
        elif self.on_ended == "skip":
            raise AirflowSkipException(str(not_cancelled(instance)))
        else:
            self.log.info("%s", not_cancelled(instance))
        return instance.flow_instance_id


class _ScheduleOperator(_EnosOperator):
    """What switching a flow's schedule on and off have in common: all but the switch."""

    template_fields: Sequence[str] = ("flow_id", *TENANT_FIELDS)
    _enos_arguments = {**TENANT_ARGUMENTS, "flow_id": Argument(arguments.number, templated=True)}

    flow_id: int | str

    def __init__(self, *, flow_id: int | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._set(flow_id=flow_id)

    def execute(self, context: Context) -> None:
        """Switches the schedule."""
        with airflow_errors():
            flow_id = arguments.number(self.flow_id, "flow_id")
            self._switch(self._hook(), flow_id)

    def _switch(self, hook: EnosHook, flow_id: int) -> None:
        raise NotImplementedError


class EnosEnableFlowOperator(_ScheduleOperator):
    """Enables a flow: EnOS's own schedule starts instances of it from now on. Enabling it once more changes nothing.

    Documentation: Batch Processing API, "Enable Flow".

    Template fields: ``flow_id``, ``enos_conn_id``, ``org_id``, ``user_id``.

    :param flow_id: the flow, a whole number or its digits.
    :param enos_conn_id: the Airflow connection, of type ``enos``.
    :param org_id: the EnOS organisation, in place of the connection's.
    :param user_id: the EnOS user, in place of the connection's; must own the flow.

    :raises AirflowFailException: the connection, a rendered argument, the credentials or the user's privileges do not
        allow it, or the flow or the user is locked: not retried.
    :raises EnosRequestError: EnOS does not know the flow.
    :raises EnosError: EnOS was out of reach; repeating the task does no harm.
    """

    def _switch(self, hook: EnosHook, flow_id: int) -> None:
        hook.enable_flow(flow_id)
        self.log.info("Flow %s is enabled: its schedule starts instances", flow_id)


class EnosDisableFlowOperator(_ScheduleOperator):
    """Disables a flow: EnOS's own schedule starts no more instances of it. Those that run are left alone.

    Documentation: Batch Processing API, "Disable Flow".

    Template fields, arguments and errors are those of ``EnosEnableFlowOperator``.
    """

    def _switch(self, hook: EnosHook, flow_id: int) -> None:
        hook.disable_flow(flow_id)
        self.log.info("Flow %s is disabled: its schedule starts nothing more", flow_id)
