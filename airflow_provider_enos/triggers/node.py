"""The trigger for the node of a task group: it waits in the triggerer until the node has ended."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_enos.errors import EnosError, EnosTriggerError
from airflow_provider_enos.links.enos import LINK_KEY
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.follow.log_tail import LogStream
from airflow_provider_enos.protocol.follow.node_wait import NodeWatch
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.protocol.start.group import NodeSuccess, newest_with
from airflow_provider_enos.triggers.base import CancellingTrigger, argument, ask_worker, resume, with_arguments
from airflow_provider_enos.utils.group_record import GroupRecord
from airflow_provider_enos.utils.trigger_events import InstanceEvent
from airflow_provider_enos.utils.triggerer import in_thread, is_run_over, push_xcom
from airflow_provider_enos.version_compat import AirflowSkipException

if TYPE_CHECKING:
    from airflow.triggers.base import TriggerEvent

    from airflow_provider_enos.client.polling.poller import Poller
    from airflow_provider_enos.client.settings import Settings
    from airflow_provider_enos.protocol.models import FlowInstance

T = TypeVar("T")


@with_arguments
class EnosFlowNodeTrigger(CancellingTrigger):
    """Fire one event when a node of a flow instance has ended, or when the wait for it cannot go on.

    All waits for nodes of one instance share its looks, on the poller of its gateway. The event says only that the wait
    is over. The resumed task reads the instance and decides.

    A further try of a task always begins in a worker, since it may have to start another instance.

    If a user marks the DAG run failed, or clears ``start`` with the task, the trigger cancels the instance. If only the
    task is marked or cleared, it does not: other nodes go on.

    Documentation: Batch Processing API, "Get Flow Instance", "Cancel Flow Instance".

    :param node: the node. EnOS calls it taskId.
    :param start_task_id: the task that has started the instance.
    :param flow_instance_id: the instance; None for the newest instance of the group that runs the node.
    :param for_rest: whether to wait until nothing of the instance runs any more. Default: False.
    :param show_log: whether to show the log of the node in the task's log as it grows. Default: False.
    :param cancel_on_kill: whether to cancel the instance if the DAG run is marked failed (default).
    :param kwargs: ``enos_conn_id``, ``poll_interval``, ``deadline``, ``timeout``, ``poll_error_tolerance``, ``known``,
        ``ends_task``, ``do_xcom_push``, ``told``, ``org_id`` and ``user_id``, as for ``EnosFlowInstanceTrigger``.

    :raises EnosConfigError: an argument cannot work.
    """

    node: int = argument(arguments.number, kw_only=False)
    start_task_id: str = argument(kw_only=False)
    flow_instance_id: str | None = argument(default=None)
    for_rest: bool = argument(arguments.flag, default=False)
    show_log: bool = argument(arguments.flag, default=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._watch: NodeWatch | None = None
        self._pushed: str | None = None

    async def on_kill(self) -> None:
        """Cancel the instance if the DAG run was ended, or ``start`` cleared. Airflow calls this for a killed task."""
        if not self.cancel_on_kill or self._watch is None:
            return
        flow_instance_id = self._watch.flow_instance_id
        if await is_run_over(self.task_instance, self.log) or await self._is_round_over(flow_instance_id):
            await self._cancel(flow_instance_id)

    async def _is_round_over(self, flow_instance_id: str) -> bool:
        """Return whether ``start`` was cleared, too. In Airflow 3.4 it does not know what it has started before."""
        try:
            # Not in the context of the task: from Airflow 3.4 on, one that was cleared may no longer read XComs.
            return await self._in_thread(lambda record: Context().run(record.is_over, flow_instance_id))
        except (EnosTriggerError, AirflowSkipException) as error:
            self.log.warning("Cannot tell whether task %s was cleared: %s", self.start_task_id, error)
            return False

    async def _event(self) -> TriggerEvent:
        if self.flow_instance_id is None and self._try_number > 1:
            return ask_worker()
        try:
            return await self._end_of_wait()
        except (EnosTriggerError, AirflowSkipException) as error:
            self.log.info("Leaving it to a worker: %s", error)
            return ask_worker()
        except EnosError as error:
            return self._resume(error)

    async def _end_of_wait(self) -> TriggerEvent:
        flow_instance_id = self.flow_instance_id or await self._newest()
        while True:
            outcome = await self._outcome_in(flow_instance_id)
            if self.for_rest or not self.ends_task or outcome not in (Outcome.SUCCEEDED, Outcome.SKIPPED):
                return self._resume()
            newest = await self._newest()
            if newest == flow_instance_id:
                success = NodeSuccess(newest, self._try_number)
                await self._in_thread(partial(GroupRecord.note_success, node=self.node, success=success))
                return await self._end_of_task(outcome, newest) or self._resume()
            self.log.info("%s has been started since, and runs this node, too: waiting for it", newest)
            flow_instance_id = newest

    async def _outcome_in(self, flow_instance_id: str) -> Outcome | None:
        stream = LogStream(self.log) if self.show_log else None
        watch = self._watch = NodeWatch(
            flow_instance_id,
            self.node,
            tolerance=self.poll_error_tolerance,
            log=self.log,
            known=True,
            stream=stream,
            for_rest=self.for_rest,
        )
        if flow_instance_id == self.flow_instance_id:
            watch.was_told(self.told)
        await self._wait(watch, self._poll)
        return watch.outcome

    def _poll(self, poller: Poller, watch: NodeWatch, deadline: float) -> Coroutine[Any, Any, FlowInstance]:
        return poller.wait(watch, poll_interval=self.poll_interval, deadline=deadline, at_once=self.deadline is None)

    def _resume(self, error: EnosError | None = None) -> TriggerEvent:
        watch = self._watch
        if watch is None:
            return ask_worker()
        logs = watch.stream.memory if watch.stream else None
        return resume(InstanceEvent(watch.flow_instance_id, error, logs, watch.told))

    async def _use(self, settings: Settings) -> None:
        watch = self._watch
        if watch is None:
            return
        watch.link = watch.link or settings.link(watch.flow_instance_id)
        if watch.flow_instance_id not in (self.flow_instance_id, self._pushed):
            # No worker has done it: the task began here, or another task has started this instance since.
            self._pushed = watch.flow_instance_id
            try:
                await push_xcom(self.task_instance, watch.flow_instance_id, "flow_instance_id")
                await push_xcom(self.task_instance, watch.link or "", LINK_KEY)
            except Exception as error:  # noqa: BLE001 - whatever Airflow raises; it is not worth failing for
                self.log.warning("Cannot store the id of flow instance %s in XCom: %s", watch.flow_instance_id, error)

    @property
    def _try_number(self) -> int:
        return int(getattr(self.task_instance, "try_number", 1) or 1)

    async def _newest(self) -> str:
        """Return the newest instance of the group that runs the node."""

        def find(record: GroupRecord) -> str:
            found = newest_with(self.node, record.instances(record.start()))
            if found is None:
                raise EnosTriggerError(f"no instance of the group runs node {self.node}")
            return found.flow_instance_id

        return await self._in_thread(find)

    async def _in_thread(self, do: Callable[[GroupRecord], T]) -> T:
        """Read or write the record of the group. Raises ``EnosTriggerError`` where Airflow fails."""
        record = GroupRecord(self.task_instance, self.start_task_id)
        try:
            return await in_thread(do, record)
        except (EnosError, AirflowSkipException):
            raise
        except Exception as error:
            raise EnosTriggerError(f"Airflow's XComs cannot be read or written: {error}") from error
