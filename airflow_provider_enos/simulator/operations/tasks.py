"""Task instances and their logs."""

from __future__ import annotations

import re

from airflow_provider_enos.simulator.operations.registry import INVALID_QUERY, Call, ServiceRefused, operation
from airflow_provider_enos.simulator.operations.shapes import formatted_data, no_instance, task_data, task_log

NO_LOG_OR_NO_TASK = "Invalid taskInstId or it has no log"
_DEFAULT_LOG_LENGTH = 2**20


@operation("GET", "taskInstances/get", "taskInstId")
def _get_task_instance(call: Call) -> object:
    found = call.instances.node(call.query["taskInstId"])
    if found is None:
        return no_instance(call.config)
    return formatted_data(call.config, task_data(call.config, call.instances.flow_of(found[0]), *found))


@operation("GET", "taskInstances/getLog", "taskInstId", optional=("maxLength",))
def _get_task_instance_log(call: Call) -> object:
    length = _log_length(call.query.get("maxLength", ""))
    found = call.instances.node(call.query["taskInstId"])
    newer_texts = call.config.log_missing_code == 62102
    if found is None:
        raise ServiceRefused(62102, NO_LOG_OR_NO_TASK if newer_texts else "Instance not found")
    instance, node = found
    # A log that does not grow is there when its node has ended.
    if node.started_at is None or (node.ended_at is None and not call.config.log_grows):
        if newer_texts:
            raise ServiceRefused(62102, NO_LOG_OR_NO_TASK)
        raise ServiceRefused(62109, "No log found")
    share = call.instances.node_share(node.task_instance_id)
    text = task_log(call.config, call.instances.flow_of(instance), node, share)
    return {"log": text[:length] if call.config.log_keeps == "head" else text[max(len(text) - length, 0) :]}


def _log_length(text: str) -> int:
    if not re.fullmatch(r"[0-9]{0,9}", text):
        raise ServiceRefused(62102, INVALID_QUERY)
    return int(text) if text else _DEFAULT_LOG_LENGTH
