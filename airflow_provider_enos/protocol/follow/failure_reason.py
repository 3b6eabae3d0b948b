"""Find out the reason of a failure, and no more: what the tab "EnOS" shows of an instance that failed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.follow.failure_report import LOG_LENGTH, FailureReport, read_runs
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowInstance

MOST_COMPARED = 16
"""The most failed nodes of which it is found out which failed first."""


def explain(instance: FlowInstance) -> Procedure[FailureReport]:
    """Find out what ``FailureReport.reason`` says, with as few calls as that takes.

    Get Task Instance is called for the failed nodes if there are several, and up to 16. Only the log of the node that
    failed first is read. What cannot be read is left out.
    """
    failed = instance.nodes_with(Outcome.FAILED)
    runs = (yield from read_runs(failed, [])) if 1 < len(failed) <= MOST_COMPARED else {}
    report = FailureReport(instance, runs, {}, ())
    texts = {}
    for node in report.failed[:1]:
        with suppress(EnosError):
            # A log that is not there is also an error.
            log: str = yield calls.get_task_instance_log(node.task_instance_id, LOG_LENGTH)
            texts[node.task_instance_id] = log
    return replace(report, logs=texts)
