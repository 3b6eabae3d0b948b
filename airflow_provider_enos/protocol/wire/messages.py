"""The messages between the protocol and a driver.

A generator of the protocol yields a ``Call``, ``Request``, ``Read`` or ``Sleep``. The driver carries it out and sends
back the result, the ``Response`` or ``None``, or throws the ``EnosError`` into the generator.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from airflow_provider_enos.protocol.text import Secrets

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One API operation before it is signed. ``safe``: sending it twice has the same effect as sending it once."""

    operation: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: bytes | None = field(repr=False)
    """Not shown in ``repr``, since a call of the token service has a token in it."""
    safe: bool
    parse: Callable[[Any], T_co]
    tenant: bool = True
    """Whether the query has ``orgId`` and ``userId``."""
    missing_codes: tuple[int, ...] = ()
    """The codes by which EnOS says that the object does not exist. If there are any, empty data says so too."""
    token_only: bool = False
    """Whether the call only fetches a token, if there is no valid one, and sends nothing else."""
    deadline: float | None = None
    """Epoch seconds after which the call is not repeated."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. A driver sends it as it is, to the byte, since the signature is over bytes."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    safe: bool = field(default=True, repr=False)
    """Whether sending it twice has the same effect as sending it once, as its call says."""


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP reply with its whole body. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Read:
    """Read the reply to a call by ``replies.read``. The driver chooses the thread and the limits."""

    call: Call[Any]
    response: Response
    secrets: Secrets = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for this number of seconds."""

    seconds: float


Exchange: TypeAlias = Generator[Request | Read | Sleep, Any, T]
"""The steps of one call: get a token, sign, send, read, renew the token, back off."""

Procedure: TypeAlias = Generator[Call[Any] | Sleep, Any, T]
"""Several calls and waits that belong together, such as the start of a flow."""


def one_call(call: Call[T]) -> Procedure[T]:
    """Return the procedure of a single call."""
    result: T = yield call
    return result
