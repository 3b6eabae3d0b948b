"""Waits in the triggerer for flow instances."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import time
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.hooks.boundary import InstanceEvent, async_settings, is_still_deferred, push_xcom
from airflow_provider_enos.protocol import arguments, calls
from airflow_provider_enos.protocol.models import FlowInstance, Outcome
from airflow_provider_enos.protocol.waiting import Watch
from airflow_provider_enos.triggers.events import EnosFlowEventTrigger

if TYPE_CHECKING:
    from airflow_provider_enos.client.settings import Settings

__all__ = ["EnosFlowEventTrigger", "EnosFlowInstanceTrigger"]

_CANCEL_TIMEOUT = 10.0
_SETTLED = 6.0
"""Seconds before which a task that a worker has deferred is not resumed.

Airflow 3.3 learns up to 5 s late that the process which deferred a task has ended, and fails the task if it has been
resumed by then (issue 72716 of apache/airflow).
"""
_LONGEST_PAUSE = 30.0


class EnosFlowInstanceTrigger(BaseTrigger):
    """Fires one event when a flow instance has ended, or when waiting for it cannot go on.

    All triggers of a gateway and tenant that run in one triggerer share one poller: see ``client.poller``. The event
    says only that the wait is over, and why; the resumed task reads the instance and decides, as it does when it
    waits itself.

    A user who marks the deferred task failed or clears it cancels the instance; a triggerer that stops or restarts
    does not.

    :param flow_instance_id: the instance.
    :param enos_conn_id: the Airflow connection, of type ``enos``; it is read once.
    :param poll_interval: seconds between two looks.
    :param deadline: when to give up, in epoch seconds; None where ``timeout`` says it.
    :param poll_error_tolerance: for how many seconds EnOS may be out of reach.
    :param cancel_on_kill: whether to cancel the instance when the task is killed.
    :param timeout: in place of a deadline, for a task that starts in the triggerer: seconds from its start.
    :param known: whether EnOS is known to have the instance, so that an answer that it has not is waited through.
    :param ends_task: whether to end the task at once when the instance has succeeded or was skipped, rather than resume
        it in a worker. What went wrong is always told by the task itself: it has the retries, the callbacks, the log.
    :param do_xcom_push: whether the id is then what the task returns.
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
        org_id: str | None = None,
        user_id: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flow_instance_id = flow_instance_id
        self.enos_conn_id = enos_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.poll_error_tolerance = poll_error_tolerance
        self.cancel_on_kill = cancel_on_kill
        self.timeout = timeout
        self.known = known
        self.ends_task = ends_task
        self.do_xcom_push = do_xcom_push
        self.org_id = org_id
        self.user_id = user_id
        self._settings: Settings | None = None

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
                "org_id": self.org_id,
                "user_id": self.user_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Waits, and fires the one event."""
        try:
            settled = time() + (0.0 if self.deadline is None else _SETTLED)
            event = await self._event()
            await asyncio.sleep(settled - time())
            yield event
        except asyncio.CancelledError:
            # Before 3.3 Airflow has no on_kill for triggers: what the task has become tells a kill from a restart.
            if not hasattr(BaseTrigger, "on_kill") and not await is_still_deferred(self.task_instance, self.log):
                await self.on_kill()
            raise

    async def on_kill(self) -> None:
        """Cancels the instance: Airflow calls this when a user marks the deferred task or clears it."""
        from airflow_provider_enos.client.aio import AsyncClient
        from airflow_provider_enos.protocol.exchange import Retry

        if not self.cancel_on_kill:
            return
        try:
            settings = self._settings or await self._read_settings()
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
            return _resume(InstanceEvent(self.flow_instance_id, error))
        return await self._end_of_task(instance) or _resume(InstanceEvent(self.flow_instance_id))

    async def _end_of_task(self, instance: FlowInstance) -> TriggerEvent | None:
        """The event that ends the task, if it may and can be ended here."""
        outcome = instance.status.outcome
        if not self.ends_task or outcome not in (Outcome.SUCCEEDED, Outcome.SKIPPED):
            return None
        if outcome is Outcome.SKIPPED:
            return TaskSkippedEvent()
        try:
            if self.do_xcom_push:
                await push_xcom(self.task_instance, instance.flow_instance_id)
        except Exception as error:  # noqa: BLE001 - whatever Airflow raises
            self.log.warning("Cannot store the id from the triggerer, leaving it to a worker: %s", error)
            return None
        return TaskSuccessEvent()

    async def _ended_instance(self) -> FlowInstance:
        from airflow_provider_enos.client.poller import shared_poller

        flow_instance_id = arguments.instance(self.flow_instance_id, "flow_instance_id")
        settings = self._settings = await self._read_settings_patiently()
        watch = Watch(
            flow_instance_id,
            tolerance=self.poll_error_tolerance,
            log=self.log,
            link=settings.link(flow_instance_id),
            known=self.known,
        )
        async with shared_poller(settings) as poller:
            return await poller.wait(watch, poll_interval=self.poll_interval, deadline=self._deadline())

    def _deadline(self) -> float:
        if self.deadline is not None:
            return self.deadline
        # From the start of the task, so that another triggerer, later, comes to the same.
        started = getattr(self.task_instance, "start_date", None)
        return (started.timestamp() if started else time()) + (self.timeout or 0.0)

    async def _read_settings_patiently(self) -> Settings:
        """Through what Airflow may meet when it looks for the connection, for as long as EnOS may be out of reach."""
        until = time() + self.poll_error_tolerance
        while True:
            try:
                return await self._read_settings()
            except (EnosError, AirflowNotFoundException):
                raise
            except Exception as error:
                if time() >= until:
                    raise
                self.log.warning("Airflow cannot read the connection %s, trying again: %s", self.enos_conn_id, error)
            await asyncio.sleep(min(self.poll_interval, _LONGEST_PAUSE))

    async def _read_settings(self) -> Settings:
        return await async_settings(self.enos_conn_id, org_id=self.org_id, user_id=self.user_id)


def _resume(event: InstanceEvent) -> TriggerEvent:
    return TriggerEvent(event.to_json())  # type: ignore[no-untyped-call]
