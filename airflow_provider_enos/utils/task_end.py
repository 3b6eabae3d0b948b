"""End a task as its flow instance has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import time
from typing import TYPE_CHECKING

from airflow_provider_enos.errors import EnosFlowError
from airflow_provider_enos.protocol.follow.instance_wait import conclude
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.version_compat import AirflowSkipException

if TYPE_CHECKING:
    from airflow_provider_enos.hooks.enos import EnosHook
    from airflow_provider_enos.protocol.follow.log_tail import LogStream
    from airflow_provider_enos.protocol.follow.options import TaskLogs
    from airflow_provider_enos.protocol.log import Log
    from airflow_provider_enos.protocol.models import FlowInstance
    from airflow_provider_enos.protocol.wire.messages import Procedure


def stream_of(task_logs: TaskLogs, log: Log, memory: object = None) -> LogStream | None:
    """Return a stream that copies the nodes' logs into the task's log; None unless ``task_logs`` is ``"all"``.

    :param memory: how much of the logs an earlier stream of this task has shown.
    """
    if task_logs != "all":
        return None
    from airflow_provider_enos.protocol.follow.log_tail import LogStream

    stream = LogStream(log)
    stream.remember(memory)
    return stream


def end_as(
    instance: FlowInstance,
    hook: EnosHook,
    run: Callable[[Procedure[Outcome]], Outcome] | None = None,
    *,
    task_logs: TaskLogs,
    log: Log,
    stream: LogStream | None = None,
) -> None:
    """End a task as its flow instance has ended: return if it has succeeded, raise an error otherwise.

    :param run: carries out what has to be asked of EnOS. Default: the client of the hook.
    :param stream: has shown the logs of the nodes so far. Only the ends of failed nodes' logs are shown again.
    :raises AirflowSkipException: the instance was skipped.
    :raises EnosFlowError: the instance has failed or was cancelled.
    """
    link = link_of(hook, instance.flow_instance_id)
    zone_name = _zone_name(hook)
    steps = conclude(instance, task_logs=task_logs, link=link, log=log, stream=stream, zone_name=zone_name, now=time())
    with show_reason(log):
        outcome = (run or hook.client.run)(steps)
    if outcome is Outcome.SKIPPED:
        raise AirflowSkipException(f"flow instance {instance.flow_instance_id} was skipped in EnOS")


@contextmanager
def show_reason(log: Log) -> Iterator[None]:
    """Log why an instance has failed: the last line before Airflow's own, below the log of the node."""
    try:
        yield
    except EnosFlowError as error:
        if error.reason:
            log.error("%s", error.reason)
        raise


def _zone_name(hook: EnosHook) -> str:
    """Return the zone of the gateway if this process has asked for it already, else nothing. It is not asked for."""
    with suppress(Exception):
        return hook.client.gateway.zone_name
    return ""


def link_of(hook: EnosHook, flow_instance_id: str) -> str | None:
    """Return the link to an instance; None without one, and where the connection cannot be read at the moment."""
    with suppress(Exception):
        return hook.settings.link(flow_instance_id)
    return None
