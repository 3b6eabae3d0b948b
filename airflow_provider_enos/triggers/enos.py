"""The triggers for EnOS: waits in the triggerer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.links.enos import LINK_KEY
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.follow.log_tail import LogStream
from airflow_provider_enos.protocol.follow.options import (
    DEFAULT_ALLOWED,
    DEFAULT_FAILED,
    DEFAULT_SKIPPED,
    PERIODIC,
    Instances,
)
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.follow.window_rules import Rules, Verdict
from airflow_provider_enos.protocol.follow.window_wait import Wanted, WindowWatch
from airflow_provider_enos.protocol.trigger_time import moment
from airflow_provider_enos.protocol.wire.names import Choice
from airflow_provider_enos.triggers.base import CancellingTrigger, WaitingTrigger, argument, resume, with_arguments
from airflow_provider_enos.triggers.events import EnosFlowEventTrigger
from airflow_provider_enos.utils.trigger_events import InstanceEvent, WindowEvent
from airflow_provider_enos.utils.triggerer import push_xcom

if TYPE_CHECKING:
    from airflow.triggers.base import TriggerEvent

    from airflow_provider_enos.client.polling.poller import Poller
    from airflow_provider_enos.client.settings import Settings
    from airflow_provider_enos.protocol.models import FlowInstance

__all__ = ["EnosFlowEventTrigger", "EnosFlowInstanceTrigger", "EnosFlowTrigger"]


@with_arguments
class EnosFlowInstanceTrigger(CancellingTrigger):
    """Fire one event when a flow instance has ended, or when the wait for it cannot go on.

    All triggers of one gateway and tenant in a triggerer share one poller: see ``client.polling``. The event says only
    that the wait is over, and why. The resumed task reads the instance and decides, as it does if it waits itself.

    If a user marks the deferred task failed or clears it, the trigger cancels the instance. If the triggerer stops or
    restarts, it does not.

    Documentation: Batch Processing API, "Get Flow Instance", "List Flow Instances", "Cancel Flow Instance".

    :param flow_instance_id: the instance.
    :param enos_conn_id: the Airflow connection, of type ``enos``. It is read again after each refusal.
    :param poll_interval: the longest pause between two polls, in seconds.
    :param deadline: when to give up, in epoch seconds; None if ``timeout`` is given.
    :param poll_error_tolerance: for how many seconds EnOS may be out of reach. Default: 600.
    :param cancel_on_kill: whether to cancel the instance if the task is killed (default).
    :param timeout: for a task that starts in the triggerer, in place of ``deadline``: seconds from its start.
    :param known: whether EnOS is known to have the instance, so that "not found" is tolerated. Default: False.
    :param ends_task: whether to end the task at once if the instance has succeeded or was skipped, and not to resume it
        in a worker. Default: False. A failure is always reported by the task itself, which has the retries, the
        callbacks and the log.
    :param do_xcom_push: whether the id becomes the return value of the task then (default).
    :param show_logs: whether to show the logs of the nodes in the task's log as they grow. Default: False. The event
        says how much was shown. A triggerer that takes over from another one does not know that, and begins with the
        end of each log.
    :param push_link: whether to give the task its link to the instance, because no worker has done it. Default: False.
    :param silent_fail: whether to go on until the deadline, however long EnOS is out of reach. Default: False.
    :param told: which statuses a worker has logged before it deferred the task, so that they are not logged again: see
        ``InstanceWatch.told``. Default: None.
    :param org_id: the EnOS organisation, in place of the organisation in the connection.
    :param user_id: the EnOS user, in place of the user in the connection.

    :raises EnosConfigError: an argument cannot work.
    """

    flow_instance_id: str = argument(arguments.instance, templated=True, kw_only=False)
    show_logs: bool = argument(arguments.flag, default=False)
    push_link: bool = argument(arguments.flag, default=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._watch: InstanceWatch | None = None
        self._stream: LogStream | None = None

    async def on_kill(self) -> None:
        """Cancel the instance. Airflow calls this if a user marks the deferred task or clears it."""
        if self.cancel_on_kill:
            await self._cancel(self.flow_instance_id)

    async def _event(self) -> TriggerEvent:
        try:
            self._watch = self._new_watch()
            instance = await self._wait(self._watch, self._poll)
        except EnosError as error:
            return self._resume(error)
        ended = await self._end_of_task(instance.status.outcome, instance.flow_instance_id)
        return ended or self._resume()

    def _resume(self, error: EnosError | None = None) -> TriggerEvent:
        logs = self._stream.memory if self._stream else None
        told = self._watch.told if self._watch else None
        return resume(InstanceEvent(self.flow_instance_id, error, logs, told))

    def _new_watch(self) -> InstanceWatch:
        flow_instance_id = arguments.instance(self.flow_instance_id, "flow_instance_id")
        self._stream = LogStream(self.log) if self.show_logs else None
        watch = InstanceWatch(
            flow_instance_id,
            tolerance=self.poll_error_tolerance,
            log=self.log,
            known=self.known,
            stream=self._stream,
            gives_up=not self.silent_fail,
        )
        watch.was_told(self.told)
        return watch

    def _poll(self, poller: Poller, watch: InstanceWatch, deadline: float) -> Coroutine[Any, Any, FlowInstance]:
        return poller.wait(
            watch,
            poll_interval=self.poll_interval,
            deadline=deadline,
            # A resumed task reads the instance itself.
            read_end=self.ends_task,
            # No worker has deferred the task, so nothing has polled the instance yet.
            at_once=self.deadline is None,
        )

    async def _use(self, settings: Settings) -> None:
        if self._watch is not None and self._watch.link is None:
            self._watch.link = settings.link(self._watch.flow_instance_id)
            await self._push_link(self._watch.link)

    async def _push_link(self, link: str | None) -> None:
        if not self.push_link or link is None:
            return
        try:
            await push_xcom(self.task_instance, link, LINK_KEY)
        except Exception as error:  # noqa: BLE001 - whatever Airflow raises; it is not worth failing for
            self.log.warning("Cannot store the link to the instance: %s", error)


@with_arguments
class EnosFlowTrigger(WaitingTrigger):
    """Fire one event when the instances of a flow in a window of trigger times have ended, or the wait cannot go on.

    As for ``EnosFlowInstanceTrigger``, all waits of one gateway share one poller, the event says only that the wait is
    over, and the resumed task polls once more and decides. Nothing is ever cancelled, since the task did not start the
    instances.

    Documentation: Batch Processing API, "List Flow Instances", "Get Flow Instance", "Get Flow".

    :param flow_id: the flow; None if ``flow_name`` is given.
    :param window_start: the window begins after this minute; as for ``EnosFlowSensor``, but a datetime is given as
        text.
    :param window_end: the window ends with this minute.
    :param enos_conn_id: the Airflow connection, of type ``enos``. It is read again after each refusal.
    :param poll_interval: the longest pause between two polls, in seconds.
    :param deadline: when to give up, in epoch seconds; None if ``timeout`` is given.
    :param flow_name: the exact name of the flow, which the first look finds. The event says which flow it is.
    :param window_shift: how many seconds earlier the window lies. Default: 0.
    :param allowed_statuses: names of statuses, as for ``EnosFlowSensor``, like the next six arguments.
    :param failed_statuses: names of statuses.
    :param skipped_statuses: names of statuses.
    :param instances: ``"all"``, ``"any"`` or ``"latest"``.
    :param expected_instances: how many instances there must be.
    :param types: the types under which EnOS lists them.
    :param scheduled_only: whether to ignore instances that were triggered by hand or through the API.
    :param check_existence: whether to fail at once if there is no such flow (default).
    :param poll_error_tolerance: for how many seconds EnOS may be out of reach. Default: 600.
    :param timeout: for a task that starts in the triggerer, in place of ``deadline``: seconds from its start.
    :param ends_task: whether to end the task at once if it succeeds or is skipped, and not to resume it in a worker.
        Default: False.
    :param do_xcom_push: whether the ids become the return value of the task then (default).
    :param known: whether EnOS has listed instances before, so that "not found" is tolerated. Default: False.
    :param silent_fail: whether to go on until the deadline, however long EnOS is out of reach. Default: False.
    :param told: what a worker has logged before it deferred the task, so that it is not logged again: see
        ``WindowWatch.told``. Default: None.
    :param org_id: the EnOS organisation, in place of the organisation in the connection.
    :param user_id: the EnOS user, in place of the user in the connection.

    :raises EnosConfigError: an argument cannot work.
    """

    flow_id: int | str | None = argument(arguments.number_or_none, templated=True, kw_only=False)
    window_start: int | str = argument(moment, templated=True, kw_only=False)
    window_end: int | str = argument(moment, templated=True, kw_only=False)
    flow_name: str | None = argument(arguments.label_or_none, templated=True, default=None)
    window_shift: float = argument(arguments.shift, default=0.0)
    allowed_statuses: Iterable[str] = argument(default=DEFAULT_ALLOWED)
    failed_statuses: Iterable[str] = argument(default=DEFAULT_FAILED)
    skipped_statuses: Iterable[str] = argument(default=DEFAULT_SKIPPED)
    instances: Instances = argument(default="all")
    expected_instances: int = argument(default=1)
    types: Iterable[int] = argument(default=(PERIODIC,))
    scheduled_only: bool = argument(default=True)
    check_existence: bool = argument(arguments.flag, default=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        arguments.one_of_two({"flow_id": self.flow_id, "flow_name": self.flow_name})
        self._watch: WindowWatch | None = None
        self._rules = Rules.of(
            allowed_statuses=self.allowed_statuses,
            failed_statuses=self.failed_statuses,
            skipped_statuses=self.skipped_statuses,
            instances=self.instances,
            expected_instances=self.expected_instances,
            types=self.types,
            scheduled_only=self.scheduled_only,
        )
        # As lists in one order: Airflow compares triggers by their arguments.
        vars(self).update(self._rules.to_arguments())

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire the one event."""
        yield await self._event_after_handover()

    async def _event(self) -> TriggerEvent:
        window: Window | None = None
        try:
            window = Window.between(self.window_start, self.window_end, shift=self.window_shift)
            flow = Choice.of(self.flow_id, self.flow_name, "flow")
            self._watch = self._new_watch(Wanted(flow.id, window, self._rules, flow.name))
            verdict = await self._wait(self._watch, self._poll)
        except EnosError as error:
            return self._resume(window, error)
        return await self._end_of_task(verdict.outcome, verdict.ids) or self._resume(window)

    def _resume(self, window: Window | None, error: EnosError | None = None) -> TriggerEvent:
        flow_id, told = (self._watch.wanted.flow_id, self._watch.told) if self._watch else (None, None)
        return resume(WindowEvent(window, error, flow_id, told))

    def _new_watch(self, wanted: Wanted) -> WindowWatch:
        watch = WindowWatch(
            wanted,
            tolerance=self.poll_error_tolerance,
            log=self.log,
            check_existence=self.check_existence,
            known=self.known,
            gives_up=not self.silent_fail,
        )
        watch.was_told(self.told)
        return watch

    def _poll(self, poller: Poller, watch: WindowWatch, deadline: float) -> Coroutine[Any, Any, Verdict]:
        return poller.windows.wait(watch, poll_interval=self.poll_interval, deadline=deadline)
