"""Task instances and their logs."""

from __future__ import annotations

import re

from airflow_provider_enos.simulator.operations.registry import INVALID_QUERY, Ask, ServiceRefused, operation
from airflow_provider_enos.simulator.operations.shapes import no_instance, one_as_set, task_data, task_log

NO_LOG_OR_NO_TASK = "Invalid taskInstId or it has no log"
_DEFAULT_LOG_LENGTH = 2**20


@operation("GET", "taskInstances/get", "taskInstId")
def _get_task_instance(ask: Ask) -> object:
    found = ask.world.task(ask.query["taskInstId"])
    if found is None:
        return no_instance(ask.config)
    return one_as_set(ask.config, task_data(ask.config, ask.world.flow_of(found[0]), *found))


@operation("GET", "taskInstances/getLog", "taskInstId", optional=("maxLength",))
def _get_task_instance_log(ask: Ask) -> object:
    length = _log_length(ask.query.get("maxLength", ""))
    found = ask.world.task(ask.query["taskInstId"])
    newer_texts = ask.config.log_missing_code == 62102
    if found is None:
        raise ServiceRefused(62102, NO_LOG_OR_NO_TASK if newer_texts else "Instance not found")
    instance, node = found
    if node.status in ("INIT", "WAIT", "READY", "SKIP") or instance.started_at is None:
        if newer_texts:
            raise ServiceRefused(62102, NO_LOG_OR_NO_TASK)
        raise ServiceRefused(62109, "No log found")
    share = ask.world.share_of(node.task_instance_id) if ask.config.log_grows else 1.0
    text = task_log(ask.config, ask.world.flow_of(instance), node, instance.started_at, share)
    return {"log": text[:length] if ask.config.log_keeps == "head" else text[max(len(text) - length, 0) :]}


def _log_length(text: str) -> int:
    if not re.fullmatch(r"[0-9]{0,9}", text):
        raise ServiceRefused(62102, INVALID_QUERY)
    return int(text) if text else _DEFAULT_LOG_LENGTH
