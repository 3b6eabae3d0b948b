"""What travels between the protocol and a driver.

A protocol generator yields ``Call``, ``Request``, ``Read`` or ``Sleep``; the driver does what it says and sends back
the result, the ``Response`` or ``None``, or throws the ``EnosError`` that came of it.
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
    """One API operation, as yet unsigned. ``safe``: sending it twice does no more than sending it once."""

    operation: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: bytes | None = field(repr=False)
    """Not shown: that of the token service's calls has a token in it."""
    safe: bool
    parse: Callable[[Any], T_co]
    tenant: bool = True
    """Whether ``orgId`` and ``userId`` belong into the query."""
    missing_codes: tuple[int, ...] = ()
    """Codes with which EnOS says that what was asked for is not there; where there are any, no data says so too."""
    token_only: bool = False
    """Whether there is nothing to send: only a valid token is wanted."""
    deadline: float | None = None
    """Epoch seconds after which it is not repeated any more."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, final to the last byte: a driver changes nothing, for the signature is over bytes."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    safe: bool = field(default=True, repr=False)
    """As its call: whether sending it twice does no more than sending it once."""


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP reply, read whole. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Read:
    """Read the reply to a call, by ``replies.read``: the driver knows where that may take its time, and its limits."""

    call: Call[Any]
    response: Response
    secrets: Secrets = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


Exchange: TypeAlias = Generator[Request | Read | Sleep, Any, T]
"""Carries out one call: token, sign, send, read, renew, back off."""

Procedure: TypeAlias = Generator[Call[Any] | Sleep, Any, T]
"""Several calls and waits that belong together, such as starting a flow."""
