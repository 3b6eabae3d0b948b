"""End a task as its flow instance has ended."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_provider_enos.version_compat import AirflowSkipException

if TYPE_CHECKING:
    from airflow_provider_enos.hooks.enos import EnosHook
    from airflow_provider_enos.protocol.follow.log_tail import LogStream
    from airflow_provider_enos.protocol.follow.options import TaskLogs
    from airflow_provider_enos.protocol.log import Log
    from airflow_provider_enos.protocol.models import FlowInstance


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
    instance: FlowInstance, hook: EnosHook, *, task_logs: TaskLogs, log: Log, stream: LogStream | None = None
) -> None:
    """Return if the flow instance succeeded, else raise the error that ends the task as it ended.

    :param stream: the stream that has shown the nodes' logs so far, so that nothing is shown twice.
    """
    from airflow_provider_enos.protocol.follow.instance_wait import conclude
    from airflow_provider_enos.protocol.models import Outcome

    link = link_of(hook, instance.flow_instance_id)
    outcome = hook.client.run(conclude(instance, task_logs=task_logs, link=link, log=log, stream=stream))
    if outcome is Outcome.SKIPPED:
        raise AirflowSkipException(f"flow instance {instance.flow_instance_id} was skipped in EnOS")


def link_of(hook: EnosHook, flow_instance_id: str) -> str | None:
    """Return the link to an instance; None without one, and where the connection cannot be read at the moment."""
    with suppress(Exception):
        return hook.settings.link(flow_instance_id)
    return None
