"""Flow instances."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from airflow_provider_enos.simulator.instances import STATUS_CODES, StoredInstance
from airflow_provider_enos.simulator.operations.checks import check_privilege, page, text, whole
from airflow_provider_enos.simulator.operations.registry import INVALID_BODY, Call, ServiceRefused, operation
from airflow_provider_enos.simulator.operations.shapes import formatted_data, instance_data, listed_data, no_instance

WRONG_SORTERS = "The sorters field parameter is invalid"
SORT_FIELDS: Mapping[str, Callable[[StoredInstance], int]] = {
    "createtime": lambda instance: instance.created_at,
    "updatetime": lambda instance: instance.ended_at or instance.started_at or instance.created_at,
    "starttime": lambda instance: instance.started_at or 0,
    "triggertime": lambda instance: instance.trigger_time,
    "endtime": lambda instance: instance.ended_at or 0,
}
_SORT_NAME = re.compile(r"(create|update|start|trigger|end)(Time|_time)")


@operation("GET", "flowInstances/get", "flowInstId")
def _get_flow_instance(call: Call) -> object:
    instance = call.instances.poll(call.query["flowInstId"])
    if instance is None:
        return no_instance(call.config)
    return formatted_data(call.config, instance_data(call, instance))


@operation("POST", "flowInstances/cancel", "flowInstId", writes=True)
def _cancel_flow_instance(call: Call) -> object:
    instance_id = text(call.body, "flowInstId")
    instance = call.instances.get(instance_id)
    if instance is None:
        raise ServiceRefused(62102, "Instance not found")
    check_privilege(call, call.catalog.flow(instance.flow_id) or call.instances.flow_of(instance))
    call.instances.cancel(instance_id)
    return ""


@operation(
    "POST",
    "flowInstances/search",
    *("type", "owner", "fromTriggerTime", "toTriggerTime", "status", "pagination"),
    optional=("expression",),
)
def _list_flow_instances(call: Call) -> object:
    asked = page(call.body["pagination"], call.config.first_page, _SORT_NAME, WRONG_SORTERS)
    shown, count = call.instances.search(
        _matcher(call),
        _statuses(call.body["status"]),
        [(SORT_FIELDS[name], descending) for name, descending in asked.sorters],
        slice(asked.start, asked.start + asked.size),
    )
    return {
        "flowInsts": [listed_data(call, instance) for instance in shown],
        "count": count if call.config.count_means == "total" else len(shown),
    }


def _statuses(value: object) -> set[str]:
    texts = str(value).split(",") if value != "" else []
    known = {str(code): status for status, code in STATUS_CODES.items()}
    if not isinstance(value, str | int) or isinstance(value, bool) or not set(texts) <= known.keys():
        raise ServiceRefused(62102, INVALID_BODY)
    return {known[text] for text in texts}


def _matcher(call: Call) -> Callable[[StoredInstance], bool]:
    """Return the filter of a list, apart from its statuses."""
    kind, owner, expression = (
        whole(call.body, "type"),
        text(call.body, "owner"),
        call.body.get("expression", ""),
    )
    since, until = whole(call.body, "fromTriggerTime"), whole(call.body, "toTriggerTime")
    if kind not in (0, 1, 2) or not isinstance(expression, str):
        raise ServiceRefused(62102, INVALID_BODY)

    def matches(instance: StoredInstance) -> bool:
        listed_type = call.config.listed_type if instance.type is None else instance.type
        return (
            since <= instance.trigger_time < until
            and listed_type == kind
            and owner in ("", *instance.flow.owners(call.config.user_id))
            and (expression in instance.id or expression in instance.flow.name)
        )

    return matches
