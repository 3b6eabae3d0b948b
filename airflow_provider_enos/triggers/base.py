"""The base of the triggers that resume or end a task."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import MISSING, dataclass, field, fields
from time import monotonic, time
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

from airflow.triggers.base import BaseTrigger, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from airflow_provider_enos.errors import EnosError, EnosTransportError
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.follow.poll_tolerance import is_refusal
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.utils.connections import current_settings
from airflow_provider_enos.utils.task_arguments import Argument
from airflow_provider_enos.utils.trigger_events import ASK_WORKER
from airflow_provider_enos.utils.triggerer import is_still_deferred, push_xcom
from airflow_provider_enos.version_compat import triggers_are_told_of_kills

if TYPE_CHECKING:
    from airflow_provider_enos.client.polling.poller import Poller
    from airflow_provider_enos.client.settings import Settings
    from airflow_provider_enos.protocol.follow.watch import Watch
    from airflow_provider_enos.utils.trigger_events import InstanceEvent, WindowEvent

T = TypeVar("T")
TriggerClass = TypeVar("TriggerClass", bound=type)

_LONGEST_PAUSE = 30.0
_CANCEL_TIMEOUT = 10.0


def argument(
    check: Callable[[Any, str], Any] | None = None,
    *,
    default: Any = MISSING,
    templated: bool = False,
    kw_only: bool = True,
) -> Any:
    """Return the dataclass field that declares one argument of a trigger.

    :param check: takes the value and the name; returns the value to use, or raises ``EnosConfigError``.
    :param templated: whether the value may be a template, which the triggerer renders later. It is kept as it is then.
    """
    checked = check and Argument(check, templated)
    return field(default=default, kw_only=kw_only, metadata={"argument": checked})


@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(argument,))
def with_arguments(cls: TriggerClass) -> TriggerClass:
    """Give a trigger a constructor that takes its fields."""
    return dataclass(eq=False, repr=False)(cls)  # type: ignore[return-value]


def seconds(value: object, field: str) -> float:
    """Return a number of seconds, which may be 0. Raises ``EnosConfigError``."""
    return arguments.seconds(value, field, zero=True)


@with_arguments
class WaitingTrigger(BaseTrigger):
    """The base of the triggers that wait for something, and then resume or end their task."""

    enos_conn_id: str = argument(arguments.connection_id)
    poll_interval: float = argument(seconds)
    deadline: float | None = argument()
    poll_error_tolerance: float = argument(seconds, default=600.0)
    timeout: float | None = argument(default=None)
    known: bool = argument(arguments.flag, default=False)
    ends_task: bool = argument(arguments.flag, default=False)
    do_xcom_push: bool = argument(arguments.flag, default=True)
    silent_fail: bool = argument(arguments.flag, default=False)
    told: dict[str, Any] | None = argument(default=None)
    org_id: str | None = argument(default=None)
    user_id: str | None = argument(default=None)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # Otherwise Airflow makes a logger for each of thousands. The task of a line is in the context.
        type(self).logger()
        self._settings: Settings | None = None
        for one in fields(self):
            check: Argument | None = one.metadata["argument"]
            if check is not None:
                setattr(self, one.name, check.checked(getattr(self, one.name), one.name, arguments.TEMPLATE_MARKS))

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the class, and the arguments.

        They are scalars and lists of them, and nothing secret, since Airflow stores them in its database.
        """
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {one.name: getattr(self, one.name) for one in fields(self)}

    @abstractmethod
    async def _event(self) -> TriggerEvent:
        """Wait, and return the event that says how the wait has ended."""

    async def _event_after_handover(self) -> TriggerEvent:
        """Return the event, but not before the task may be resumed.

        Airflow 3.3 learns up to 5 s late that the process which deferred a task has ended, and fails the task if it has
        been resumed by then (issue 72716 of apache/airflow).
        """
        from airflow_provider_enos.client import timing

        settled = monotonic() + (0.0 if self.deadline is None else timing.handover())
        event = await self._event()
        await asyncio.sleep(settled - monotonic())
        return event

    async def _end_of_task(self, outcome: Outcome, xcom: str | list[str]) -> TriggerEvent | None:
        """Return the event that ends the task; None if the task has to be resumed in a worker."""
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

    def _end_time(self) -> float:
        """Return when the wait is over, in epoch seconds."""
        if self.deadline is not None:
            return self.deadline
        # Counted from the start of the task, so that a later triggerer gets the same time.
        started = getattr(self.task_instance, "start_date", None)
        return (started.timestamp() if started else time()) + (self.timeout or 0.0)

    async def _wait(self, watch: Watch[T], wait: Callable[[Poller, Any, float], Awaitable[T]]) -> T:
        """Wait with the shared poller. After a refusal, read the connection again and join its poller.

        The watch tolerates refusals, and a connection that cannot be read, like any other error.

        :param wait: takes the poller, the watch, and the deadline in epoch seconds.
        """
        from airflow_provider_enos.client import timing
        from airflow_provider_enos.client.polling.shared_poller import SharedPoller
        from airflow_provider_enos.client.settings import check_tenant

        arguments.connection_id(self.enos_conn_id)
        check_tenant(org_id=self.org_id, user_id=self.user_id)
        deadline = self._end_time()
        while True:
            try:
                settings = self._settings = await self._read_settings()
                await self._use(settings)
                async with SharedPoller(settings) as poller:
                    return await wait(poller, watch, deadline)
            except EnosError as error:
                # The poller has told the watch of all other errors on the way to EnOS.
                if not (is_refusal(error) or isinstance(error, EnosTransportError)):
                    raise
                watch.missed(error, time())
            left = deadline - time()
            if left <= 0:
                raise watch.out_of_time()
            await asyncio.sleep(min(timing.poll_pause(min(self.poll_interval, _LONGEST_PAUSE)), left))

    async def _read_settings(self) -> Settings:
        return await current_settings(self.enos_conn_id, org_id=self.org_id, user_id=self.user_id)

    async def _use(self, settings: Settings) -> None:
        """Take over what the connection says now."""


@with_arguments
class CancellingTrigger(WaitingTrigger):
    """The base of the triggers that cancel their instance if the task is killed."""

    cancel_on_kill: bool = argument(arguments.flag, default=True)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire the one event."""
        try:
            yield await self._event_after_handover()
        except asyncio.CancelledError:
            # Before 3.3 Airflow has no on_kill for triggers. The state of the task tells a kill from a restart.
            if not triggers_are_told_of_kills() and not await is_still_deferred(self.task_instance, self.log):
                await self.on_kill()
            raise

    @abstractmethod
    async def on_kill(self) -> None:
        """Cancel the instance, if that is wanted. Airflow calls this if a user marks the deferred task or clears it."""

    async def _cancel(self, flow_instance_id: str) -> None:
        """Cancel an instance, since the task was killed."""
        from airflow_provider_enos.client.aio import AsyncClient
        from airflow_provider_enos.protocol.wire import calls
        from airflow_provider_enos.protocol.wire.exchange import Retry

        try:
            settings = await self._settings_for_cancel()
            async with AsyncClient(settings, retry=Retry(attempts=2), timeout=_CANCEL_TIMEOUT) as client:
                await client.call(calls.cancel_flow_instance(flow_instance_id))
        except EnosError as error:
            self.log.error("The task was killed, but cancelling %s failed: %s", flow_instance_id, error)
        else:
            self.log.info("The task was killed: asked EnOS to cancel %s", flow_instance_id)

    async def _settings_for_cancel(self) -> Settings:
        """Return what the connection says now; what it said last if it cannot be read."""
        try:
            self._settings = await self._read_settings()
        except EnosError:
            if self._settings is None:
                raise
        return self._settings


def resume(event: InstanceEvent | WindowEvent) -> TriggerEvent:
    """Return the event that resumes the task."""
    return TriggerEvent(event.to_json())  # type: ignore[no-untyped-call]


def ask_worker() -> TriggerEvent:
    """Return the event that lets a worker begin the task, since a trigger cannot."""
    return TriggerEvent(ASK_WORKER)  # type: ignore[no-untyped-call]
