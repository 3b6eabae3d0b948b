"""Why a flow instance failed, in one line: the node that failed first, and the line of its log that says why."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_enos.protocol.follow.failure_reason import explain
from airflow_provider_enos.protocol.models import FlowInstance, Outcome
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.protocol.wire.messages import Procedure

LENGTH = 1_000
"""Characters of a reason that are shown."""


@dataclass(frozen=True, slots=True)
class Why:
    """The reason, empty if there is none. ``node``: the task instance of EnOS whose log tells more; may be empty."""

    reason: str = ""
    node: str = ""


def of_instance(instance: FlowInstance) -> Procedure[Why]:
    """Find out why an instance failed. Of any other one there is nothing to say."""
    if instance.status.outcome is not Outcome.FAILED:
        return Why()
    report = yield from explain(instance)
    node = next((one.task_instance_id for one in report.failed), "")
    return Why(excerpt(report.reason, LENGTH), excerpt(node))
