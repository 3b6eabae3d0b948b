"""Waits in the triggerer for flow instances."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from time import monotonic, time
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.triggers.base import BaseTrigger, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from airflow_provider_enos.errors import EnosError, EnosTransportError
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
from airflow_provider_enos.protocol.follow.poll_tolerance import is_refusal
from airflow_provider_enos.protocol.follow.watch import Watch
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.follow.window_rules import Rules, Verdict
from airflow_provider_enos.protocol.follow.window_wait import Wanted, WindowWatch
from airflow_provider_enos.protocol.models import FlowInstance, Outcome
from airflow_provider_enos.protocol.trigger_time import moment
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.triggers.events import EnosFlowEventTrigger
from airflow_provider_enos.utils.connections import current_settings
from airflow_provider_enos.utils.trigger_events import InstanceEvent, WindowEvent
from airflow_provider_enos.utils.triggerer import is_still_deferred, push_xcom
from airflow_provider_enos.version_compat import triggers_are_told_of_kills

if TYPE_CHECKING:
    from airflow_provider_enos.client.polling.poller import Poller
    from airflow_provider_enos.client.settings import Settings

__all__ = ["EnosFlowEventTrigger", "EnosFlowInstanceTrigger", "EnosFlowTrigger"]

T = TypeVar("T")

_CANCEL_TIMEOUT = 10.0
_LONGEST_PAUSE = 30.0


class _WaitingTrigger(BaseTrigger):
    """What the triggers that resume or end a task have in common: how they wait; not for what."""

    enos_conn_id: str
    poll_interval: float
    deadline: float | None
    poll_error_tolerance: float
    timeout: float | None
    ends_task: bool
    do_xcom_push: bool
    silent_fail: bool
    org_id: str | None
    user_id: str | None

    async def _event(self) -> TriggerEvent:
        """Waits; gives the event that says how that ended."""
        raise NotImplementedError

    async def _settled_event(self) -> TriggerEvent:
        """The same, not before the task may be resumed.

        Airflow 3.3 learns up to 5 s late that the process which deferred a task has ended, and fails the task if it has
        been resumed by then (issue 72716 of apache/airflow).
        """
        from airflow_provider_enos.client import timing

        settled = monotonic() + (0.0 if self.deadline is None else timing.handover())
        event = await self._event()
        await asyncio.sleep(settled - monotonic())
        return event

    async def _end_of_task(self, outcome: Outcome, xcom: str | list[str]) -> TriggerEvent | None:
        """The event that ends the task, if it may and can be ended here."""
        if not self.ends_task or outcome not in (Outcome.SUCCEEDED, Outcome.SKIPPED):
            return None
        if outcome is Outcome.SKIPPED:
            return TaskSkippedEvent()
        try:
            if self.do_xcom_push:
                await push_xcom(self.task_instance, xcom)
        except Exception as error:  # noqa: BLE001 - whatever Airflow raises
            self.log.warning("Cannot store the id from the triggerer, leaving it to a worker: %s", error)
            return None
        return TaskSuccessEvent()

    def _deadline(self) -> float:
        if self.deadline is not None:
            return self.deadline
        # From the start of the task, so that another triggerer, later, comes to the same.
        started = getattr(self.task_instance, "start_date", None)
        return (started.timestamp() if started else time()) + (self.timeout or 0.0)

    async def _waited(self, watch: Watch[Any], wait: Callable[[Poller, float], Awaitable[T]]) -> T:
        """Wait on the shared poller until the deadline. After a refusal join that of the connection as it is then.

        The watch tolerates refusals, and a connection that cannot be read, as it does any other error.
        """
        from airflow_provider_enos.client import timing
        from airflow_provider_enos.client.polling.poller import shared_poller
        from airflow_provider_enos.client.settings import check_tenant

        arguments.connection_id(self.enos_conn_id)
        check_tenant(org_id=self.org_id, user_id=self.user_id)
        deadline = self._deadline()
        while True:
            try:
                settings = await self._read_settings()
                await self._joins(settings)
                async with shared_poller(settings) as poller:
                    return await wait(poller, deadline)
            except EnosError as error:
                # All other errors of the way to EnOS the poller has told the watch.
                if not (is_refusal(error) or isinstance(error, EnosTransportError)):
                    raise
                watch.missed(error, time())
            left = deadline - time()
            if left <= 0:
                raise watch.out_of_time()
            await asyncio.sleep(min(timing.poll_pause(min(self.poll_interval, _LONGEST_PAUSE)), left))

    async def _joins(self, settings: Settings) -> None:
        """Take up what the connection says now."""

    async def _read_settings(self) -> Settings:
        return await current_settings(self.enos_conn_id, org_id=self.org_id, user_id=self.user_id)


class EnosFlowInstanceTrigger(_WaitingTrigger):
    """Fires one event when a flow instance has ended, or when waiting for it cannot go on.

    All triggers of a gateway and tenant that run in one triggerer share one poller: see ``client.polling``. The event
    says only that the wait is over, and why; the resumed task reads the instance and decides, as it does when it
    waits itself.

    A user who marks the deferred task failed or clears it cancels the instance; a triggerer that stops or restarts
    does not.

    :param flow_instance_id: the instance.
    :param enos_conn_id: the Airflow connection, of type ``enos``; it is read again after each refusal.
    :param poll_interval: seconds between two looks.
    :param deadline: when to give up, in epoch seconds; None where ``timeout`` says it.
    :param poll_error_tolerance: for how many seconds EnOS may be out of reach.
    :param cancel_on_kill: whether to cancel the instance when the task is killed.
    :param timeout: in place of a deadline, for a task that starts in the triggerer: seconds from its start.
    :param known: whether EnOS is known to have the instance, so that an answer that it has not is waited through.
    :param ends_task: whether to end the task at once when the instance has succeeded or was skipped, rather than resume
        it in a worker. What went wrong is always told by the task itself: it has the retries, the callbacks, the log.
    :param do_xcom_push: whether the id is then what the task returns.
    :param show_logs: whether to show the logs of the nodes in the task's log as they grow. How far it has come goes
        with the event. A triggerer that takes over from another one does not know: it begins with the end of each log.
    :param push_link: whether to give the task its link to the instance, where no worker has done so.
    :param silent_fail: whether to go on until the deadline however long EnOS is out of reach.
    :param org_id: the EnOS organisation, in place of the connection's.
    :param user_id: the EnOS user, in place of the connection's.
    """

    def __init__(
        self,
        flow_instance_id: str,
        enos_conn_id: str,
        poll_interval: float,
        deadline: float | None,
        *,
        poll_error_tolerance: float = 600.0,
        cancel_on_kill: bool = True,
        timeout: float | None = None,
        known: bool = False,
        ends_task: bool = False,
        do_xcom_push: bool = True,
        show_logs: bool = False,
        push_link: bool = False,
        silent_fail: bool = False,
        org_id: str | None = None,
        user_id: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flow_instance_id = arguments.unless_template(arguments.instance, flow_instance_id, "flow_instance_id")
        self.enos_conn_id = arguments.connection_id(enos_conn_id)
        self.poll_interval = arguments.seconds(poll_interval, "poll_interval", zero=True)
        self.deadline = deadline
        self.poll_error_tolerance = arguments.seconds(poll_error_tolerance, "poll_error_tolerance", zero=True)
        self.cancel_on_kill = arguments.flag(cancel_on_kill, "cancel_on_kill")
        self.timeout = timeout
        self.known = arguments.flag(known, "known")
        self.ends_task = arguments.flag(ends_task, "ends_task")
        self.do_xcom_push = arguments.flag(do_xcom_push, "do_xcom_push")
        self.show_logs = arguments.flag(show_logs, "show_logs")
        self.push_link = arguments.flag(push_link, "push_link")
        self.silent_fail = arguments.flag(silent_fail, "silent_fail")
        self.org_id = org_id
        self.user_id = user_id
        self._settings: Settings | None = None
        self._watch: InstanceWatch | None = None
        self._stream: LogStream | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Scalars only, and nothing secret: they are stored in Airflow's database."""
        return (
            "airflow_provider_enos.triggers.enos.EnosFlowInstanceTrigger",
            {
                "flow_instance_id": self.flow_instance_id,
                "enos_conn_id": self.enos_conn_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "poll_error_tolerance": self.poll_error_tolerance,
                "cancel_on_kill": self.cancel_on_kill,
                "timeout": self.timeout,
                "known": self.known,
                "ends_task": self.ends_task,
                "do_xcom_push": self.do_xcom_push,
                "show_logs": self.show_logs,
                "push_link": self.push_link,
                "silent_fail": self.silent_fail,
                "org_id": self.org_id,
                "user_id": self.user_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Waits, and fires the one event."""
        try:
            yield await self._settled_event()
        except asyncio.CancelledError:
            # Before 3.3 Airflow has no on_kill for triggers: what the task has become tells a kill from a restart.
            if not triggers_are_told_of_kills() and not await is_still_deferred(self.task_instance, self.log):
                await self.on_kill()
            raise

    async def on_kill(self) -> None:
        """Cancels the instance: Airflow calls this when a user marks the deferred task or clears it."""
        from airflow_provider_enos.client.aio import AsyncClient
        from airflow_provider_enos.protocol.wire.exchange import Retry

        if not self.cancel_on_kill:
            return
        try:
            settings = await self._settings_for_cancel()
            async with AsyncClient(settings, retry=Retry(attempts=2), timeout=_CANCEL_TIMEOUT) as client:
                await client.call(calls.cancel_flow_instance(self.flow_instance_id))
        except EnosError as error:
            self.log.error("The task was killed, but cancelling %s failed: %s", self.flow_instance_id, error)
        else:
            self.log.info("The task was killed: asked EnOS to cancel %s", self.flow_instance_id)

    async def _event(self) -> TriggerEvent:
        try:
            instance = await self._ended_instance()
        except EnosError as error:
            return self._resumption(error)
        ended = await self._end_of_task(instance.status.outcome, instance.flow_instance_id)
        return ended or self._resumption()

    def _resumption(self, error: EnosError | None = None) -> TriggerEvent:
        logs = self._stream.memory if self._stream else None
        return _resume(InstanceEvent(self.flow_instance_id, error, logs))

    async def _settings_for_cancel(self) -> Settings:
        try:
            self._settings = await self._read_settings()
        except EnosError:
            if self._settings is None:
                raise
        return self._settings

    async def _ended_instance(self) -> FlowInstance:
        flow_instance_id = arguments.instance(self.flow_instance_id, "flow_instance_id")
        self._stream = LogStream(self.log) if self.show_logs else None
        watch = self._watch = InstanceWatch(
            flow_instance_id,
            tolerance=self.poll_error_tolerance,
            log=self.log,
            known=self.known,
            stream=self._stream,
            gives_up=not self.silent_fail,
        )
        return await self._waited(
            watch,
            lambda poller, deadline: poller.wait(
                watch,
                poll_interval=self.poll_interval,
                deadline=deadline,
                # A task that is resumed reads the instance itself. One that no worker deferred was not looked at yet.
                read_end=self.ends_task,
                at_once=self.deadline is None,
            ),
        )

    async def _joins(self, settings: Settings) -> None:
        self._settings = settings
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


class EnosFlowTrigger(_WaitingTrigger):
    """Fires one event when the instances of a flow in a window of trigger times have ended, or when waiting for them
    cannot go on.

    As ``EnosFlowInstanceTrigger``: all waits of a gateway share one poller, the event says only that the wait is over,
    and the resumed task looks itself and decides. Nothing is ever cancelled: the task did not start what it waits for.

    :param flow_id: the flow.
    :param window_start: the window begins after this minute; what ``EnosFlowSensor`` takes, but for a datetime its
        text.
    :param window_end: the window ends with this minute.
    :param enos_conn_id: the Airflow connection, of type ``enos``; it is read again after each refusal.
    :param poll_interval: seconds between two looks.
    :param deadline: when to give up, in epoch seconds; None where ``timeout`` says it.
    :param window_shift: how many seconds earlier the window lies.
    :param allowed_statuses: names; as ``EnosFlowSensor`` has it, and so are the next ones.
    :param failed_statuses: names.
    :param skipped_statuses: names.
    :param instances: ``"all"``, ``"any"``, ``"latest"``.
    :param expected_instances: how many there must be.
    :param types: the types under which EnOS lists them.
    :param scheduled_only: whether those do not count that were triggered by hand or through the API.
    :param check_existence: whether to fail at once if there is no such flow.
    :param poll_error_tolerance: for how many seconds EnOS may be out of reach.
    :param timeout: in place of a deadline, for a task that starts in the triggerer: seconds from its start.
    :param ends_task: whether to end the task at once when it is to succeed or be skipped, rather than resume it in a
        worker.
    :param do_xcom_push: whether the ids are then what the task returns.
    :param known: whether EnOS has listed instances of it once, so that an answer that there is nothing is tolerated.
    :param silent_fail: whether to go on until the deadline however long EnOS is out of reach.
    :param org_id: the EnOS organisation, in place of the connection's.
    :param user_id: the EnOS user, in place of the connection's.
    """

    def __init__(
        self,
        flow_id: int | str,
        window_start: int | str,
        window_end: int | str,
        enos_conn_id: str,
        poll_interval: float,
        deadline: float | None,
        *,
        window_shift: float = 0.0,
        allowed_statuses: Iterable[str] = DEFAULT_ALLOWED,
        failed_statuses: Iterable[str] = DEFAULT_FAILED,
        skipped_statuses: Iterable[str] = DEFAULT_SKIPPED,
        instances: Instances = "all",
        expected_instances: int = 1,
        types: Iterable[int] = (PERIODIC,),
        scheduled_only: bool = True,
        check_existence: bool = True,
        poll_error_tolerance: float = 600.0,
        timeout: float | None = None,
        ends_task: bool = False,
        do_xcom_push: bool = True,
        known: bool = False,
        silent_fail: bool = False,
        org_id: str | None = None,
        user_id: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flow_id = arguments.unless_template(arguments.number, flow_id, "flow_id")
        self.window_start = arguments.unless_template(moment, window_start, "window_start")
        self.window_end = arguments.unless_template(moment, window_end, "window_end")
        self.enos_conn_id = arguments.connection_id(enos_conn_id)
        self.poll_interval = arguments.seconds(poll_interval, "poll_interval", zero=True)
        self.deadline = deadline
        self.window_shift = arguments.shift(window_shift, "window_shift")
        self.rules = Rules.of(
            allowed_statuses=allowed_statuses,
            failed_statuses=failed_statuses,
            skipped_statuses=skipped_statuses,
            instances=instances,
            expected_instances=expected_instances,
            types=types,
            scheduled_only=scheduled_only,
        )
        self.check_existence = arguments.flag(check_existence, "check_existence")
        self.poll_error_tolerance = arguments.seconds(poll_error_tolerance, "poll_error_tolerance", zero=True)
        self.timeout = timeout
        self.ends_task = arguments.flag(ends_task, "ends_task")
        self.do_xcom_push = arguments.flag(do_xcom_push, "do_xcom_push")
        self.known = arguments.flag(known, "known")
        self.silent_fail = arguments.flag(silent_fail, "silent_fail")
        self.org_id = org_id
        self.user_id = user_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Scalars and lists of them only, and nothing secret: they are stored in Airflow's database."""
        return (
            "airflow_provider_enos.triggers.enos.EnosFlowTrigger",
            {
                "flow_id": self.flow_id,
                "window_start": self.window_start,
                "window_end": self.window_end,
                "enos_conn_id": self.enos_conn_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "window_shift": self.window_shift,
                **self.rules.to_arguments(),
                "check_existence": self.check_existence,
                "poll_error_tolerance": self.poll_error_tolerance,
                "timeout": self.timeout,
                "ends_task": self.ends_task,
                "do_xcom_push": self.do_xcom_push,
                "known": self.known,
                "silent_fail": self.silent_fail,
                "org_id": self.org_id,
                "user_id": self.user_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Waits, and fires the one event."""
        yield await self._settled_event()

    async def _event(self) -> TriggerEvent:
        window: Window | None = None
        try:
            window = Window.between(self.window_start, self.window_end, shift=self.window_shift)
            verdict = await self._verdict(Wanted(arguments.number(self.flow_id, "flow_id"), window, self.rules))
        except EnosError as error:
            return _resume(WindowEvent(window, error))
        return await self._end_of_task(verdict.outcome, verdict.ids) or _resume(WindowEvent(window))

    async def _verdict(self, wanted: Wanted) -> Verdict:
        watch = WindowWatch(
            wanted,
            tolerance=self.poll_error_tolerance,
            log=self.log,
            check_existence=self.check_existence,
            known=self.known,
            gives_up=not self.silent_fail,
        )
        return await self._waited(
            watch,
            lambda poller, deadline: poller.windows.wait(watch, poll_interval=self.poll_interval, deadline=deadline),
        )


def _resume(event: InstanceEvent | WindowEvent) -> TriggerEvent:
    return TriggerEvent(event.to_json())  # type: ignore[no-untyped-call]
