"""What is refused, whatever the operation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_enos.simulator.flows import Flow
from airflow_provider_enos.simulator.operations.registry import INVALID_BODY, INVALID_QUERY, Ask, ServiceRefused

NOT_FOUND = "Workflow not found"


def check_names(
    given: Mapping[str, object], required: frozenset[str], optional: frozenset[str], message: str = INVALID_BODY
) -> None:
    """Refuses a body, or a query, that lacks a name or has one more."""
    if not required <= given.keys() or given.keys() - required - optional:
        raise ServiceRefused(62102, message)


def whole(body: Mapping[str, Any], name: str, message: str = INVALID_BODY) -> int:
    """A field that is a whole number."""
    value = body[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ServiceRefused(62102, message)
    return value


def text(body: Mapping[str, Any], name: str, message: str = INVALID_BODY) -> str:
    """A field that is text."""
    value = body[name]
    if not isinstance(value, str):
        raise ServiceRefused(62102, message)
    return value


def one_of_these(body: Mapping[str, Any], name: str, known: tuple[int | str, ...], message: str) -> Any:
    """A field that is one of a few values."""
    value = body[name]
    if isinstance(value, bool) or value not in known:
        raise ServiceRefused(62102, message)
    return value


def parameters(value: object, message: str = INVALID_BODY) -> dict[str, str]:
    """A list of ``{"key", "value"}``."""
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


def flow_in_query(ask: Ask, malformed: str = INVALID_QUERY) -> Flow:
    """The flow that a GET is about."""
    number = ask.query["flowId"]
    if not re.fullmatch(r"[0-9]{1,18}", number):
        raise ServiceRefused(62102, malformed)
    return existing(ask, int(number))


def existing(ask: Ask, flow_id: int, message: str = NOT_FOUND) -> Flow:
    """The flow of that id."""
    flow = ask.world.flow(flow_id)
    if flow is None:
        raise ServiceRefused(62102, message)
    return flow


def check_privilege(ask: Ask, flow: Flow) -> None:
    """Refuses what the user does to a flow that is locked or another user's."""
    if flow.locked or ask.config.user_id not in flow.owners(ask.config.user_id):
        raise ServiceRefused(62103, "User has no privilege.")


@dataclass(frozen=True)
class Page:
    """Which part of what is found is asked for, and in which order."""

    start: int
    size: int
    sorters: tuple[tuple[str, bool], ...]
    """A field in lower case and without ``_``, and whether it descends."""


def page(pagination: object, first_page: int, fields: re.Pattern[str], wrong_sorters: str) -> Page:
    """The field ``pagination``; ``fields`` are the names to sort by, ``wrong_sorters`` what is said of others."""
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
