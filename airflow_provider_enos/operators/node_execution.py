"""What the task of a node does when it runs in a worker. Parsing a DAG file needs none of it."""

from __future__ import annotations

from contextlib import suppress
from time import time
from typing import TYPE_CHECKING, NoReturn

from airflow_provider_enos.errors import EnosFlowCancelledError, EnosFlowTimeoutError, EnosTriggerError
from airflow_provider_enos.links.enos import push_instance
from airflow_provider_enos.operators.execution import Execution
from airflow_provider_enos.operators.group_base import NodeOperator
from airflow_provider_enos.operators.kill import KillClient
from airflow_provider_enos.protocol.follow.node_wait import NodeWatch, conclude_node
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.protocol.start.attempts import Attempt, nothing_sent, tries_before_clear
from airflow_provider_enos.protocol.start.group import (
    GroupInstance,
    GroupRequest,
    GroupStart,
    NodeStep,
    NodeSuccess,
    newest_with,
    next_step,
)
from airflow_provider_enos.protocol.start.group_restart import Plan, Siblings, plan_after
from airflow_provider_enos.protocol.start.pauses import Backoff
from airflow_provider_enos.protocol.start.starting import Starter
from airflow_provider_enos.triggers.node import EnosFlowNodeTrigger
from airflow_provider_enos.utils.airflow_errors import airflow_errors
from airflow_provider_enos.utils.deferral import task_deadline
from airflow_provider_enos.utils.group_record import GroupRecord
from airflow_provider_enos.utils.outlets import describe_outlets
from airflow_provider_enos.utils.task_end import link_of, show_reason, stream_of
from airflow_provider_enos.utils.trigger_events import ASK_WORKER, InstanceEvent
from airflow_provider_enos.utils.trigger_record import TriggerRecord
from airflow_provider_enos.version_compat import AirflowSkipException, AirflowTaskTimeout

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowInstance
    from airflow_provider_enos.protocol.wire.messages import Procedure, T
    from airflow_provider_enos.version_compat import Context


class NodeExecution(Execution[NodeOperator]):
    """Wait for a node; start another instance first where a further try of the task needs one."""

    def __init__(self, operator: NodeOperator, context: Context) -> None:
        super().__init__(operator, context)
        self.flow_instance_id: str | None = None
        """The instance that the task waits for."""
        self._group = GroupRecord(self._ti, operator.start_task_id)
        self._kill_client = KillClient(self._log)
        self._record: TriggerRecord | None = None
        self._waited_for: set[str] = set()
        """The instances whose end this try reports, whatever it is."""
        self._wait_is_over: set[str] = set()
        """The instances that this try has waited for until the end. EnOS may show no time of that end."""
        self._deadline = time() + operator.timeout
        self._task_deadline: float | None = None
        self._event: InstanceEvent | None = None
        """What the trigger has said, until it is used."""

    def execute(self) -> str:
        """Wait for the node, and return the id of the instance."""
        with airflow_errors(self._keep_error, known=lambda: True):
            return self._begin()

    def resume(self, payload: object, *, deadline: float | None, task_deadline: float | None, for_rest: bool) -> str:
        """Go on after the trigger has fired with this ``payload``. Deadlines are in epoch seconds."""
        with airflow_errors(self._keep_error, known=lambda: True):
            if payload == ASK_WORKER:
                return self._begin()
            self._event = event = InstanceEvent.of(payload)
            self._task_deadline = task_deadline
            if deadline is None:
                # The task was started in the triggerer, whose deadline was the earlier one of the two.
                self._task_deadline = (
                    self._deadline if self._operator.execution_seconds <= self._operator.timeout else None
                )
            else:
                # If the node has ended in time, it is this worker that is late.
                self._deadline = (
                    deadline if event.error else max(deadline, time() + self._operator.poll_error_tolerance)
                )
            if not for_rest:
                self._waited_for.add(event.flow_instance_id)
            if event.error is None:
                self._wait_is_over.add(event.flow_instance_id)
            return self._follow()

    def on_kill(self) -> None:
        """Cancel the instance of a request that was not answered yet. An instance that is followed runs on."""
        with suppress(Exception):
            self._kill_client.prepare(self._hook)
        intent = self._record.last if self._record else None
        if intent is not None and intent.is_open and self._operator.cancel_on_kill:
            self._kill_client.cancel_unanswered(intent)

    def _begin(self) -> str:
        if self._ti.try_number > 1:
            self._group.begin_try(self._operator.node, self._ti.try_number)
        return self._follow()

    def _follow(self) -> str:
        while True:
            start = self._group.start()
            self._check_flow(start.flow_id, "the record of the group")
            at = self._newest_in(start)
            self._announce(at)
            watch = self._node_watch(at)
            instance = self._look(watch)
            self._check_flow(instance.flow_id, f"flow instance {at.flow_instance_id}")
            match self._step(at, instance):
                case NodeStep.WATCH:
                    self._wait_or_defer(at, watch)
                case NodeStep.END:
                    if self._newest_in(self._group.start()) == at:
                        return self._end(at, instance, watch)
                case step:
                    self._restart(start, at, instance, step)

    def _check_flow(self, flow_id: int | None, what: str) -> None:
        """Raise an error for an instance of another flow: anybody who may write XComs can change what they name."""
        if flow_id not in (None, self._operator.flow_id):
            raise nothing_sent(f"{what} is about flow {flow_id}, and this task about flow {self._operator.flow_id}")

    def _newest_in(self, start: GroupStart) -> GroupInstance:
        found = newest_with(self._operator.node, self._group.instances(start))
        if found is None:
            raise nothing_sent(f"no instance of the group runs node {self._operator.node}")
        return found

    def _step(self, at: GroupInstance, instance: FlowInstance) -> NodeStep:
        operator, try_number = self._operator, self._ti.try_number
        is_further = try_number > 1 and at.flow_instance_id not in self._waited_for
        return next_step(
            instance,
            operator.node,
            # What fails while this try waits is for the next try: so ``retries`` bounds how often the flow starts.
            runs_again=is_further and not self._waited_for,
            was_quiet=at.flow_instance_id in self._wait_is_over,
            success=self._group.success(operator.node) if is_further else None,
            tries_before_clear=tries_before_clear(
                try_number=try_number, max_tries=self._ti.max_tries or 0, retries=operator.retries or 0
            ),
        )

    # Waiting.

    def _node_watch(self, at: GroupInstance, *, for_rest: bool = False) -> NodeWatch:
        operator, event = self._operator, self._event
        is_new = event is None or event.flow_instance_id != at.flow_instance_id
        logs, told = (None, None) if is_new or event is None else (event.logs, event.told)
        watch = NodeWatch(
            at.flow_instance_id,
            operator.node,
            tolerance=operator.poll_error_tolerance,
            log=self._log,
            link=link_of(self._hook, at.flow_instance_id),
            known=True,
            stream=None if for_rest else stream_of(operator.task_logs, self._log, logs),
            for_rest=for_rest,
        )
        watch.was_told(told)
        return watch

    def _look(self, watch: NodeWatch) -> FlowInstance:
        """Return the instance as it is now. Errors are tolerated for a while."""
        event, self._event = self._event, None
        error = None if event is None else event.error
        if error is None:
            steps = watch.wait(
                poll_interval=self._operator.poll_interval, deadline=self._deadline, clock=time, until=lambda _: True
            )
        else:
            steps = watch.recheck(error, clock=time)
        return self._in_time(steps, of_trigger=error is not None)

    def _wait_or_defer(self, at: GroupInstance, watch: NodeWatch) -> None:
        if time() >= self._deadline:
            raise watch.out_of_time()
        if self._operator.deferrable:
            self._defer_wait(at, watch)
        steps = watch.wait(poll_interval=self._operator.poll_interval, deadline=self._deadline, clock=time)
        self._in_time(steps)
        self._wait_is_over.add(at.flow_instance_id)
        if not watch.for_rest:
            self._waited_for.add(at.flow_instance_id)

    def _in_time(self, steps: Procedure[T], *, of_trigger: bool = False) -> T:
        try:
            return self._run(steps)
        except EnosFlowTimeoutError as late:
            if of_trigger and self._task_deadline is not None and self._task_deadline <= self._deadline:
                raise AirflowTaskTimeout(f"execution_timeout: {late}") from late
            raise

    def _defer_wait(self, at: GroupInstance, watch: NodeWatch) -> NoReturn:
        operator = self._operator
        execution_deadline = task_deadline(operator.execution_timeout, self._ti)
        deadlines = [self._deadline, *([] if execution_deadline is None else [execution_deadline])]
        trigger = EnosFlowNodeTrigger(
            **{
                **operator.trigger_arguments,
                # Only the worker knows what an earlier try has seen.
                "ends_task": False,
                "flow_instance_id": at.flow_instance_id,
                "for_rest": watch.for_rest,
                "show_log": operator.task_logs == "all" and not watch.for_rest,
                "told": watch.told or None,
                "deadline": min(deadlines),
            }
        )
        kwargs = {"deadline": self._deadline, "task_deadline": execution_deadline, "for_rest": watch.for_rest}
        operator.defer(trigger=trigger, method_name="execute_complete", kwargs=kwargs)

    def _run(self, steps: Procedure[T]) -> T:
        return self._hook.client.run(steps, while_sleeping=self._check_alive)

    def _check_alive(self) -> None:
        if self._operator.is_killed:
            raise EnosFlowCancelledError(
                f"flow instance {self.flow_instance_id}: the task was killed while it waited",
                flow_instance_id=str(self.flow_instance_id),
                status="unknown",
            )

    # Starting another instance.

    def _restart(self, start: GroupStart, at: GroupInstance, instance: FlowInstance, step: NodeStep) -> None:
        """Start another instance after ``at``, or take over that of another task, and put it on record."""
        if not self._is_at_rest(at, instance):
            return
        backoff = Backoff(self._operator.poll_error_tolerance, self._deadline, time, self._log)
        plan = self._run(plan_after(start, at, instance, self._operator.node, step, backoff))
        if plan is None:
            return
        self._log.info("Try %d starts flow %d %s", self._ti.try_number, start.flow_id, plan.line)
        started, is_new = self._start(start, at, plan)
        if not self._group.is_current(start):
            self._leave(started.flow_instance_id)
        self._group.note_restart(start, started, at, replaces=self._is_named)
        if is_new:
            # What was taken over may have ended badly before. Then it is recovered, too.
            self._waited_for.add(started.flow_instance_id)
        if self._newest_in(start) == at:
            said = (
                f"the record of the group says that {started.flow_instance_id} does not run node {self._operator.node}"
            )
            raise EnosTriggerError(said)

    @property
    def _is_named(self) -> bool:
        """Whether EnOS has named to this task what it has started."""
        return bool(self._record and self._record.last and self._record.last.named)

    def _leave(self, flow_instance_id: str) -> NoReturn:
        """Fail after an instance was started for a round that is over, and cancel it if it is surely this try's."""
        start = self._group.start_task_id
        if self._operator.cancel_on_kill and self._is_named:
            self._kill_client.cancel(flow_instance_id, f"Task {start} was cleared")
        raise EnosTriggerError(f"task {start} was cleared while this task started {flow_instance_id}")

    def _is_at_rest(self, at: GroupInstance, instance: FlowInstance) -> bool:
        """Return whether nothing of the instance runs any more. If something may, wait until it ends: look again."""
        rest = self._node_watch(at, for_rest=True)
        rest.saw(instance, time())
        if at.flow_instance_id in self._wait_is_over or rest.is_over(instance):
            return True
        self._wait_or_defer(at, rest)
        return False

    def _start(self, start: GroupStart, at: GroupInstance, plan: Plan) -> tuple[GroupInstance, bool]:
        """Return what is started, and whether this try has started it."""
        operator, settings, client = self._operator, self._hook.settings, self._hook.client
        origin = f"{settings.base_url} {settings.org_id}"
        if origin != start.origin:
            raise nothing_sent(f"the connection leads to {origin} now, and the group was started at {start.origin}")
        self._kill_client.prepare(self._hook)
        earlier = self._request_after(at)
        intent = earlier.intent if earlier else None
        # The earlier plan may have been another one: the flow may have changed since.
        runs_from = {earlier.intent.from_task_id: earlier.runs} if earlier else {}
        runs_from[plan.target.from_task_id] = plan.runs
        state = self._group.intent_state(operator.node, at, self._ti.try_number, runs_from, self._log)
        record = self._record = TriggerRecord(self._context, origin, self._log, state)
        record.take_up(intent, start.flow_id)
        attempt = Attempt(
            trigger_time=start.trigger_time,
            first_index=at.index + 1,
            fresh=intent is None,
            has_record=True,
            intent=intent,
            try_number=self._ti.try_number,
        )
        self._group.note_restarts()
        siblings = Siblings(at, operator.node, plan, self._group, operator.nodes_beside, client.gateway.now)
        starter = Starter(
            plan.target,
            attempt,
            record,
            self._log,
            on_conflict="next_minute",
            tolerance=operator.poll_error_tolerance,
            deadline=self._deadline,
            clock=time,
            gateway_clock=lambda: client.gateway.now(),
            origin=origin,
            siblings=siblings,
        )
        started = client.run(
            starter.run(),
            before_unsafe=self._check_before_request,
            while_sleeping=self._check_starting,
        )
        if record.last is None:
            raise AssertionError("what has been started is on record")
        own = GroupRequest(at.flow_instance_id, record.last, runs_from.get(record.last.from_task_id))
        known = None if self._is_named else siblings.known(started.flow_instance_id)
        return known or own.instance(started.flow_instance_id), not started.taken_over

    def _request_after(self, at: GroupInstance) -> GroupRequest | None:
        """Return the request after this instance that an earlier try has sent, or was to send."""
        request = self._group.request(self._operator.node)
        return request if request is not None and request.after == at.flow_instance_id else None

    def _check_before_request(self) -> None:
        if self._operator.is_killed:
            raise nothing_sent("the task was killed")
        self._group.check_try(self._operator.node, self._ti.try_number)

    def _check_starting(self) -> None:
        if self._operator.is_killed:
            raise EnosTriggerError("the task was killed while it started the flow")

    # The end.

    def _announce(self, at: GroupInstance) -> None:
        """Put the id and the link of the instance into XCom. ``start`` reads the id after a clear."""
        if at.flow_instance_id == self.flow_instance_id:
            return
        self.flow_instance_id = at.flow_instance_id
        try:
            push_instance(self._ti, at.flow_instance_id, link_of(self._hook, at.flow_instance_id), do_xcom_push=True)
        except Exception as error:  # noqa: BLE001 - whatever Airflow or a backend of XComs raises
            self._log.warning("Cannot store the id of flow instance %s in XCom: %s", at.flow_instance_id, error)

    def _end(self, at: GroupInstance, instance: FlowInstance, watch: NodeWatch) -> str:
        """End as the node has ended: return the id of the instance, or raise."""
        operator = self._operator
        # After a kill nothing may count as a success that a clear comes after.
        self._check_alive()
        steps = conclude_node(
            instance,
            operator.node,
            operator.node_name,
            task_logs=operator.task_logs,
            link=watch.link,
            log=self._log,
            stream=watch.stream,
        )
        with show_reason(self._log):
            outcome = self._run(steps)
        success = NodeSuccess(at.flow_instance_id, self._ti.try_number)
        self._group.note_success(operator.node, success)
        if outcome is Outcome.SKIPPED:
            raise AirflowSkipException(f"node {operator.node_name} was skipped in flow instance {at.flow_instance_id}")
        describe_outlets(operator, self._context, self._run, at.flow_instance_id, instance)
        return at.flow_instance_id
