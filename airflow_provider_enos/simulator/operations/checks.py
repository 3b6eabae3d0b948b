"""Checks of parameters and rights, for several operations. Each raises ServiceRefused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_enos.simulator.flows import Flow
from airflow_provider_enos.simulator.operations.registry import INVALID_BODY, INVALID_QUERY, Call, ServiceRefused

NOT_FOUND = "Workflow not found"


def check_names(
    given: Mapping[str, object], required: frozenset[str], optional: frozenset[str], message: str = INVALID_BODY
) -> None:
    """Refuse a body or query that lacks a required name, or has an unknown one."""
    if not required <= given.keys() or given.keys() - required - optional:
        raise ServiceRefused(62102, message)


def whole(body: Mapping[str, Any], name: str, message: str = INVALID_BODY) -> int:
    """Return a field that is a whole number."""
    value = body[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ServiceRefused(62102, message)
    return value


def text(body: Mapping[str, Any], name: str, message: str = INVALID_BODY) -> str:
    """Return a field that is text."""
    value = body[name]
    if not isinstance(value, str):
        raise ServiceRefused(62102, message)
    return value


def one_of_these(body: Mapping[str, Any], name: str, known: tuple[int | str, ...], message: str) -> Any:
    """Return a field that has one of these values."""
    value = body[name]
    if isinstance(value, bool) or value not in known:
        raise ServiceRefused(62102, message)
    return value


def parameters(value: object, message: str = INVALID_BODY) -> dict[str, str]:
    """Return the parameters of a list of ``{"key", "value"}``."""
    if not isinstance(value, list):
        raise ServiceRefused(62102, message)
    found: dict[str, str] = {}
    for pair in value:
        match pair:
            case {"key": str(key), "value": str(text)} if len(pair) == 2:
                found[key] = text
            case _:
                raise ServiceRefused(62102, message)
    return found


def flow_in_query(call: Call, malformed: str = INVALID_QUERY) -> Flow:
    """Return the flow that the query names."""
    number = call.query["flowId"]
    if not re.fullmatch(r"[0-9]{1,18}", number):
        raise ServiceRefused(62102, malformed)
    return existing(call, int(number))


def existing(call: Call, flow_id: int, message: str = NOT_FOUND) -> Flow:
    """Return the flow with that id."""
    flow = call.catalog.flow(flow_id)
    if flow is None:
        raise ServiceRefused(62102, message)
    return flow


def check_privilege(call: Call, flow: Flow) -> None:
    """Refuse a flow that is locked, or belongs to another user."""
    if flow.locked or call.config.user_id not in flow.owners(call.config.user_id):
        raise ServiceRefused(62103, "User has no privilege.")


@dataclass(frozen=True)
class Page:
    """Which part of a result is asked for, and its order."""

    start: int
    size: int
    sorters: tuple[tuple[str, bool], ...]
    """Fields in lower case and without ``_``, each with whether it sorts in descending order."""


def page(pagination: object, first_page: int, fields: re.Pattern[str], wrong_sorters: str) -> Page:
    """Parse the field ``pagination``. ``fields`` matches the names to sort by, ``wrong_sorters`` is for others."""
    if not isinstance(pagination, dict):
        raise ServiceRefused(62102, INVALID_BODY)
    check_names(pagination, frozenset({"pageNo", "pageSize"}), frozenset({"sorters"}))
    number, size = whole(pagination, "pageNo") - first_page, whole(pagination, "pageSize")
    if number < 0 or size < 1:
        raise ServiceRefused(62102, INVALID_BODY)
    sorters = pagination.get("sorters", [])
    if not isinstance(sorters, list):
        raise ServiceRefused(62102, wrong_sorters)
    return Page(number * size, size, tuple(_sorter(sorter, fields, wrong_sorters) for sorter in sorters))


def _sorter(value: object, fields: re.Pattern[str], wrong: str) -> tuple[str, bool]:
    if not isinstance(value, dict) or value.keys() - {"field", "order"}:
        raise ServiceRefused(62102, wrong)
    name, order = value.get("field"), value.get("order", "ASC")
    if not isinstance(name, str) or not fields.fullmatch(name) or order not in ("ASC", "DESC"):
        raise ServiceRefused(62102, wrong)
    return name.replace("_", "").lower(), order == "DESC"
