"""Flow instances."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from airflow_provider_enos.simulator.operations.checks import check_privilege, page, text, whole
from airflow_provider_enos.simulator.operations.registry import INVALID_BODY, Ask, ServiceRefused, operation
from airflow_provider_enos.simulator.operations.shapes import instance_data, listed_data, no_instance, one_as_set
from airflow_provider_enos.simulator.state import STATUS_CODES, Run

WRONG_SORTERS = "The sorters field parameter is invalid"
SORT_FIELDS: Mapping[str, Callable[[Run], int]] = {
    "createtime": lambda instance: instance.created_at,
    "updatetime": lambda instance: instance.ended_at or instance.started_at or instance.created_at,
    "starttime": lambda instance: instance.started_at or 0,
    "triggertime": lambda instance: instance.trigger_time,
    "endtime": lambda instance: instance.ended_at or 0,
}
_SORT_NAME = re.compile(r"(create|update|start|trigger|end)(Time|_time)")


@operation("GET", "flowInstances/get", "flowInstId")
def _get_flow_instance(ask: Ask) -> object:
    instance = ask.world.poll(ask.query["flowInstId"])
    if instance is None:
        return no_instance(ask.config)
    return one_as_set(ask.config, instance_data(ask, instance))


@operation("POST", "flowInstances/cancel", "flowInstId", writes=True)
def _cancel_flow_instance(ask: Ask) -> object:
    instance_id = text(ask.body, "flowInstId")
    instance = ask.world.instance(instance_id)
    if instance is None:
        raise ServiceRefused(62102, "Instance not found")
    check_privilege(ask, ask.world.flow(instance.flow_id) or ask.world.flow_of(instance))
    ask.world.cancel(instance_id)
    return ""


@operation(
    "POST",
    "flowInstances/search",
    *("type", "owner", "fromTriggerTime", "toTriggerTime", "status", "pagination"),
    optional=("expression",),
)
def _list_flow_instances(ask: Ask) -> object:
    asked = page(ask.body["pagination"], ask.config.first_page, _SORT_NAME, WRONG_SORTERS)
    shown, found = ask.world.search(
        _in_question(ask),
        _statuses(ask.body["status"]),
        [(SORT_FIELDS[name], descending) for name, descending in asked.sorters],
        slice(asked.start, asked.start + asked.size),
    )
    return {
        "flowInsts": [listed_data(ask, instance) for instance in shown],
        "count": found if ask.config.count_means == "total" else len(shown),
    }


def _statuses(value: object) -> set[str]:
    texts = str(value).split(",") if value != "" else []
    known = {str(code): status for status, code in STATUS_CODES.items()}
    if not isinstance(value, str | int) or isinstance(value, bool) or not set(texts) <= known.keys():
        raise ServiceRefused(62102, INVALID_BODY)
    return {known[text] for text in texts}


def _in_question(ask: Ask) -> Callable[[Run], bool]:
    """Whether a list is about an instance, whatever its status."""
    kind, owner, expression = (
        whole(ask.body, "type"),
        text(ask.body, "owner"),
        ask.body.get("expression", ""),
    )
    since, until = whole(ask.body, "fromTriggerTime"), whole(ask.body, "toTriggerTime")
    if kind not in (0, 1, 2) or not isinstance(expression, str):
        raise ServiceRefused(62102, INVALID_BODY)

    def asked_for(instance: Run) -> bool:
        listed_type = ask.config.listed_type if instance.type is None else instance.type
        return (
            since <= instance.trigger_time < until
            and listed_type == kind
            and owner in ("", *instance.flow.owners(ask.config.user_id))
            and (expression in instance.id or expression in instance.flow.name)
        )

    return asked_for
