"""What an operation is, and the list of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_enos.simulator.config import Config
from airflow_provider_enos.simulator.state import World

INVALID_BODY = "Invalid request body."
INVALID_QUERY = "Invalid request parameter."


class ServiceRefused(Exception):
    """The service answers with this code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Ask:
    """What an operation is asked, checked for its names but not for its values."""

    config: Config
    world: World
    query: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Operation:
    """An operation of the service: how it is called, and the function that does it."""

    method: str
    required: frozenset[str]
    optional: frozenset[str]
    run: Callable[[Ask], object]
    for_tenant: bool
    writes: bool
    malformed: str
    """What is said of a request that has not the fields it ought to have."""
    user_locked: tuple[int, str]
    """Code and message for a locked user, where the operation writes."""


OPERATIONS: dict[str, Operation] = {}
"""Every operation by name: ``resource/action``."""


def operation(
    method: str,
    name: str,
    *required: str,
    optional: tuple[str, ...] = (),
    for_tenant: bool = True,
    writes: bool = False,
    malformed: str | None = None,
    user_locked: tuple[int, str] = (62103, "User has no privilege."),
) -> Callable[[Callable[[Ask], object]], Callable[[Ask], object]]:
    """Registers an operation. Names are query parameters for a GET, body fields for a POST."""

    def register(run: Callable[[Ask], object]) -> Callable[[Ask], object]:
        OPERATIONS[name] = Operation(
            method=method,
            required=frozenset(required),
            optional=frozenset(optional),
            run=run,
            for_tenant=for_tenant,
            writes=writes,
            malformed=malformed or (INVALID_QUERY if method == "GET" else INVALID_BODY),
            user_locked=user_locked,
        )
        return run

    return register
