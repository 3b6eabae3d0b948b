"""What the operators that start a flow do when their task runs. Parsing a DAG file needs none of it."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from time import time
from typing import TYPE_CHECKING

from airflow_provider_enos.errors import EnosError, EnosFlowCancelledError, EnosFlowTimeoutError, EnosTriggerError
from airflow_provider_enos.links.enos import push_instance
from airflow_provider_enos.operators.base import StartingOperator
from airflow_provider_enos.operators.execution import Execution
from airflow_provider_enos.operators.kill import KillClient
from airflow_provider_enos.protocol import trigger_time as times
from airflow_provider_enos.protocol.follow.cancelling import cancel_late, try_to_cancel
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.protocol.start.attempts import NO_NAMES, Attempt, Target, nothing_sent
from airflow_provider_enos.protocol.start.pauses import Backoff
from airflow_provider_enos.protocol.start.restarts import incomplete_line, nodes_left_out
from airflow_provider_enos.protocol.start.starting import Starter
from airflow_provider_enos.protocol.start.states import Started
from airflow_provider_enos.utils.airflow_errors import airflow_errors
from airflow_provider_enos.utils.outlets import describe_outlets
from airflow_provider_enos.utils.task_end import end_as, stream_of
from airflow_provider_enos.utils.trigger_events import InstanceEvent
from airflow_provider_enos.utils.trigger_record import TriggerRecord
from airflow_provider_enos.version_compat import AirflowTaskTimeout

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.follow.log_tail import LogStream
    from airflow_provider_enos.protocol.models import FlowInstance
    from airflow_provider_enos.protocol.start.attempts import Intent
    from airflow_provider_enos.protocol.start.targets import TargetChoice
    from airflow_provider_enos.protocol.wire.messages import Procedure, T
    from airflow_provider_enos.version_compat import Context


class TriggerExecution(Execution[StartingOperator]):
    """Start a flow, or take over what an earlier try has started, and follow the flow instance to its end."""

    def __init__(self, operator: StartingOperator, context: Context) -> None:
        super().__init__(operator, context)
        self.flow_instance_id: str | None = None
        """The instance, once it is known."""
        self.target: Target | None = None
        """What to start, once its ids are known."""
        self._record: TriggerRecord | None = None
        self._kill_client = KillClient(self._log)
        self._retry_from = operator.retry_from
        self._is_cancelled = False
        """Whether a kill has nothing left to cancel."""

    def execute(self) -> str:
        """Start the instance, wait if wanted, and return its id."""
        # An earlier try may have started an instance, too.
        with airflow_errors(
            self._keep_error, known=lambda: self.flow_instance_id is not None or self._ti.try_number > 1
        ):
            return self._start_and_wait()

    def resume(
        self,
        payload: object,
        *,
        taken_over: bool,
        deadline: float | None,
        task_deadline: float | None,
        restarted_from: int | None,
    ) -> str:
        """Go on after the trigger has fired with this ``payload``.

        :param taken_over: whether an earlier try has started the instance.
        :param restarted_from: the node from which a retry has restarted the instance.
        :param deadline: when the ``timeout`` of the operator is over, in epoch seconds.
        :param task_deadline: when the ``execution_timeout`` of the task is over, in epoch seconds.
        """
        with airflow_errors(self._keep_error, known=lambda: True):
            event = InstanceEvent.of(payload)
            # There is an instance: if the connection cannot be read now, that is an error of the next look.
            with suppress(Exception):
                self._prepare_for_kill()
            self.flow_instance_id = event.flow_instance_id
            if self._operator.is_killed and self._operator.cancel_on_kill:
                self._kill_client.cancel(event.flow_instance_id)
            deadline = time() + self._operator.timeout if deadline is None else deadline
            if event.error is None:
                # The instance has ended in time. It is this worker that is late.
                deadline = max(deadline, time() + self._operator.poll_error_tolerance)
            is_task_late = event.error is not None and task_deadline is not None and task_deadline <= deadline
            stream = stream_of(self._operator.task_logs, self._log, event.logs)
            instance = self._wait(
                event.flow_instance_id, deadline, stream, event.error, is_task_late=is_task_late, told=event.told
            )
            if self._must_start_again(instance, Started(event.flow_instance_id, taken_over, restarted_from)):
                return self._start_and_wait()
            return self._end(instance, stream)

    def on_kill(self) -> None:
        """Cancel the instance; if the reply to the trigger has not come yet, look for the instance first."""
        if not self._operator.cancel_on_kill or self._is_cancelled:
            return
        with suppress(Exception):
            # The connection may have been read again.
            self._kill_client.prepare(self._hook)
        intent = self._record.last if self._record else None
        flow_instance_id = self.flow_instance_id or (intent and intent.flow_instance_id)
        if flow_instance_id:
            self._kill_client.cancel(flow_instance_id)
        elif intent is not None and intent.is_open:
            self._kill_client.cancel_unanswered(intent)

    def _start_and_wait(self) -> str:
        operator = self._operator
        while True:
            deadline = time() + operator.timeout
            started = self._start(deadline)
            if not operator.wait_for_completion:
                describe_outlets(operator, self._context, self._run, started.flow_instance_id)
                return started.flow_instance_id
            stream = stream_of(operator.task_logs, self._log)
            if operator.deferrable:
                instance = self._end_or_defer(started, deadline)
            else:
                instance = self._wait(started.flow_instance_id, deadline, stream)
            if not self._must_start_again(instance, started):
                return self._end(instance, stream)

    def _prepare_for_kill(self) -> None:
        """Read the connection, and prepare the client for a kill, which cannot ask Airflow."""
        _ = self._hook.settings
        self._kill_client.prepare(self._hook)

    def _start(self, deadline: float) -> Started:
        """Start the instance or take one over, and put its id and its link into XCom."""
        operator = self._operator
        self._prepare_for_kill()
        choice, settings, client = operator.choice(), self._hook.settings, self._hook.client
        record = TriggerRecord(self._context, f"{settings.base_url} {settings.org_id}", self._log)
        attempt = record.attempt(
            retries=operator.retries or 0, trigger_time=lambda now: times.parse(operator.trigger_time, now=now)
        )
        self._record = record
        target = self._target(choice, attempt.intent, record.origin, deadline)
        record.take_up(attempt.intent, target.flow_id)
        self._before_start(target, attempt, deadline)
        starter = Starter(
            target,
            attempt,
            record,
            self._log,
            on_conflict=operator.on_conflict,
            tolerance=operator.poll_error_tolerance,
            deadline=deadline,
            clock=time,
            gateway_clock=lambda: client.gateway.now(),
            origin=record.origin,
            cancels_predecessor=self._cancels_predecessor,
            retry_from=self._retry_from,
        )
        started = client.run(
            starter.run(),
            before_unsafe=lambda: self._check_before_request(record),
            while_sleeping=self._check_while_starting,
        )
        self.flow_instance_id = started.flow_instance_id
        if operator.is_killed and operator.cancel_on_kill:
            # The kill came before the id was known.
            self._kill_client.cancel(started.flow_instance_id)
            raise self._killed("while it was started")
        self._announce(started.flow_instance_id, settings.link(started.flow_instance_id))
        return started

    @property
    def _cancels_predecessor(self) -> bool:
        """Whether this task, once it is cleared, cancels what it has left running."""
        return self._operator.cancel_on_kill and self._operator.wait_for_completion

    def _before_start(self, target: Target, attempt: Attempt, deadline: float) -> None:
        """Do what comes before anything is sent."""

    def _target(self, choice: TargetChoice, intent: Intent | None, origin: str, deadline: float) -> Target:
        """Return the target with its ids. A gateway that is out of reach is waited for."""
        backoff = Backoff(self._operator.poll_error_tolerance, deadline, time, self._log)
        steps = backoff.repeat(lambda: choice.target(self._log, intent, origin))
        target = self.target = self._hook.client.run(steps, while_sleeping=self._check_while_starting)
        return target

    @property
    def _looked_up(self) -> dict[str, int | None]:
        """The ids that were found by names: the process that resumes the task does not look again."""
        if self.target is None or self.target.names == NO_NAMES:
            return {}
        return {"flow_id": self.target.flow_id, "from_task_id": self.target.from_task_id}

    def note_target(self, flow_id: int | None, from_task_id: int | None) -> None:
        """Note the ids that the process which deferred the task has found by names."""
        if flow_id is not None:
            self.target = Target(flow_id, from_task_id)

    def _check_before_request(self, record: TriggerRecord) -> None:
        """Raise an error if a request must not be sent that starts something."""
        if self._operator.is_killed:
            raise nothing_sent("the task was killed")
        record.check_current()

    def _check_while_starting(self) -> None:
        if self._operator.is_killed:
            raise EnosTriggerError("the task was killed while it started the flow")

    def _check_while_waiting(self) -> None:
        if self._operator.is_killed:
            raise self._killed("while it waited")

    def _killed(self, when: str) -> EnosFlowCancelledError:
        flow_instance_id = str(self.flow_instance_id)
        return EnosFlowCancelledError(
            f"flow instance {flow_instance_id}: the task was killed {when}",
            flow_instance_id=flow_instance_id,
            status="unknown",
        )

    def _announce(self, flow_instance_id: str, link: str | None) -> None:
        """Put link and id into XCom. A failure is only logged: nothing else would follow the instance."""
        do_xcom_push = self._operator.do_xcom_push
        try:
            push_instance(self._ti, flow_instance_id, link, do_xcom_push=do_xcom_push)
            if do_xcom_push:
                self._ti.xcom_push(key="return_value", value=flow_instance_id)
        except Exception as error:  # noqa: BLE001 - whatever Airflow or a backend of XComs raises
            self._log.warning("Cannot store the id of flow instance %s in XCom: %s", flow_instance_id, error)

    def _run(self, steps: Procedure[T]) -> T:
        return self._hook.client.run(steps, while_sleeping=self._check_while_waiting)

    def _end_or_defer(self, started: Started, deadline: float) -> FlowInstance:
        """Return an instance that this try has taken over if it has ended. Otherwise defer the task."""
        operator, watch = self._operator, self._watch(started.flow_instance_id)
        instance = self._run(watch.look_before_deferral(clock=time)) if started.taken_over else None
        if instance is None or not instance.status.ended:
            self._defer(
                started.flow_instance_id,
                deadline,
                cancel_on_kill=operator.cancel_on_kill,
                show_logs=operator.task_logs == "all",
                told=watch.told,
                taken_over=started.taken_over,
                restarted_from=started.restarted_from,
                **self._looked_up,
            )
        return instance

    def _wait(
        self,
        flow_instance_id: str,
        deadline: float,
        stream: LogStream | None,
        error: EnosError | None = None,
        *,
        is_task_late: bool = False,
        told: object = None,
    ) -> FlowInstance:
        """Return the instance once it has ended; cancel it if it is late.

        :param error: why the trigger has ended the wait too early.
        :param is_task_late: whether the trigger's deadline was the ``execution_timeout``.
        :param told: what the trigger has logged.
        """
        watch = self._watch(flow_instance_id, stream=stream, told=told)
        if error is None:
            steps = watch.wait(poll_interval=self._operator.poll_interval, deadline=deadline, clock=time)
        else:
            steps = watch.recheck(error, clock=time)
        try:
            return self._run(steps)
        except EnosFlowTimeoutError as late:
            if is_task_late:
                raise self._task_timeout(late) from late
            raise (self._run(cancel_late(late)) if self._operator.cancel_on_timeout else late) from None

    def _task_timeout(self, late: EnosFlowTimeoutError) -> AirflowTaskTimeout:
        """Return Airflow's own error for a deferred task over its ``execution_timeout``; cancel as for a kill."""
        said = f"execution_timeout: {late}"
        if self._operator.cancel_on_kill:
            failure = self._run(try_to_cancel(late.flow_instance_id))
            # Airflow calls on_kill after this error.
            self._is_cancelled = failure is None
            said += f"; cancelling it failed: {failure}" if failure else "; it was asked to be cancelled"
        return AirflowTaskTimeout(said)

    def _must_start_again(self, instance: FlowInstance, started: Started) -> bool:
        """Return whether an earlier try has cancelled the instance that this try has taken over.

        The earlier try was killed, or too late, and EnOS may take its time to carry out a cancel. Or the instance was
        restarted from a node, and EnOS has left out nodes downstream of it.
        """
        if self._operator.is_killed:
            return False
        if started.taken_over and instance.status.outcome is Outcome.CANCELLED:
            self._log.warning("%s has been cancelled since it was taken over", instance.flow_instance_id)
            return True
        node = started.restarted_from
        if node is None or instance.status.outcome is not Outcome.SUCCEEDED:
            return False
        looks = Backoff(self._operator.poll_error_tolerance, inf, time, self._log)
        missed = self._run(looks.repeat(lambda: nodes_left_out(instance.flow_instance_id, node)))
        if missed:
            self._log.warning("%s", incomplete_line(instance.flow_instance_id, node, missed))
            self._retry_from = "start"
        return bool(missed)

    def _end(self, instance: FlowInstance, stream: LogStream | None) -> str:
        """End as the instance has ended: return its id, or raise."""
        end_as(instance, self._hook, self._run, task_logs=self._operator.task_logs, log=self._log, stream=stream)
        describe_outlets(self._operator, self._context, self._run, instance.flow_instance_id, instance)
        return instance.flow_instance_id
