"""Batch Processing Service v2.1: find the operation, check the tenant, and put the result into the envelope.

An unknown resource is HTTP 404, an unknown action code 62102, a wrong method HTTP 405.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import airflow_provider_enos.simulator.operations  # noqa: F401  (fills OPERATIONS)
from airflow_provider_enos.simulator.config import Config
from airflow_provider_enos.simulator.operations.checks import check_names
from airflow_provider_enos.simulator.operations.registry import (
    INVALID_QUERY,
    OPERATIONS,
    Call,
    Operation,
    ServiceRefused,
)
from airflow_provider_enos.simulator.state import State
from airflow_provider_enos.simulator.wire import Reply, Request, gateway_reply, json_reply, parse_object

INTERNAL_ERROR = "Internal server exception"


class Service:
    """The service behind the gateway."""

    def __init__(self, config: Config, state: State) -> None:
        self._config = config
        self._state = state

    def answer(self, request: Request, query: Mapping[str, str]) -> Reply:
        """Return the reply to a request that the gateway has let through."""
        if request.resource not in {name.partition("/")[0] for name in OPERATIONS}:
            return gateway_reply(404, "no Route matched with those values")
        found = OPERATIONS.get(f"{request.resource}/{query.get('action', '')}")
        if found and request.method != found.method:
            return gateway_reply(405, "Method not allowed", Allow=found.method)
        try:
            if found is None:
                raise ServiceRefused(62102, "Invalid request parameter: action")
            with self._state.lock:
                self._state.catch_up()
                data = found.run(self._call(found, request, query))
        except ServiceRefused as refused:
            return envelope(self._config, refused.code, refused.message, None)
        return envelope(self._config, 0, "OK", data)

    def _call(self, found: Operation, request: Request, query: Mapping[str, str]) -> Call:
        if found.for_tenant:
            self._check_tenant(query)
        if found.writes and self._state.user_locked:
            raise ServiceRefused(*found.user_locked)
        own = {name: value for name, value in query.items() if name not in ("action", "userId", "orgId")}
        if found.method == "GET":
            check_names(own, found.required, found.optional, found.malformed)
            return Call(self._config, self._state, own, {})
        check_names(own, frozenset(), frozenset(), INVALID_QUERY)
        try:
            body = parse_object(request.body)
        except ValueError as error:
            raise ServiceRefused(62102, found.malformed) from error
        check_names(body, found.required, found.optional, found.malformed)
        return Call(self._config, self._state, {}, body)

    def _check_tenant(self, query: Mapping[str, str]) -> None:
        if (query.get("userId"), query.get("orgId")) != (self._config.user_id, self._config.org_id):
            raise ServiceRefused(62101, "userId does not exist, or it does not match to orgId.")


def envelope(config: Config, code: int, message: str, data: object) -> Reply:
    """Return the documented ``{"code", "msg", "data"}``."""
    content: dict[str, object] = {"code": code, "msg": message, "data": data}
    if config.request_id:
        content["requestId"] = secrets.token_hex(16)
    return json_reply(content, status=config.envelope_http_status if code else 200, code=code)
