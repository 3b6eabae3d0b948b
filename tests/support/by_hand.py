"""Drive an exchange by hand."""

from __future__ import annotations

from typing import Any

from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.wire import replies
from airflow_provider_enos.protocol.wire.messages import Read, Response


def read(step: Read) -> Any:
    """Return what the reply says, or the error that it is."""
    try:
        return replies.read(step.call, step.response, secrets=step.secrets)
    except EnosError as error:
        return error


def answer(exchange: Any, response: Response) -> Any:
    """Give an exchange the reply to its request, have it read, and return the next step."""
    result = read(exchange.send(response))
    return exchange.throw(result) if isinstance(result, EnosError) else exchange.send(result)
