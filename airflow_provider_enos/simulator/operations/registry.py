"""What an operation is, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_enos.simulator.catalog import Catalog
from airflow_provider_enos.simulator.config import Config
from airflow_provider_enos.simulator.instance_store import InstanceStore
from airflow_provider_enos.simulator.state import State

INVALID_BODY = "Invalid request body."
INVALID_QUERY = "Invalid request parameter."


class ServiceRefused(Exception):
    """The service answers with this code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Call:
    """A call of an operation: the names of its parameters are checked, their values are not."""

    config: Config
    state: State
    query: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def catalog(self) -> Catalog:
        """The flows and directories."""
        return self.state.catalog

    @property
    def instances(self) -> InstanceStore:
        """The instances of all flows."""
        return self.state.instances


@dataclass(frozen=True)
class Operation:
    """An operation of the service: how it is called, and the function that carries it out."""

    method: str
    required: frozenset[str]
    optional: frozenset[str]
    run: Callable[[Call], object]
    for_tenant: bool
    """Whether ``userId`` and ``orgId`` are checked."""
    writes: bool
    malformed: str
    """The message for a request with missing or unknown parameters."""
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
) -> Callable[[Callable[[Call], object]], Callable[[Call], object]]:
    """Register an operation. Its parameters are in the query of a GET, in the body of a POST."""

    def register(run: Callable[[Call], object]) -> Callable[[Call], object]:
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
