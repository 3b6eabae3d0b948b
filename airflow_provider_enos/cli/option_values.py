"""The values of options: readers that argparse calls. Airflow imports this for each of its own commands."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowStatus

T = TypeVar("T")


def _checked(read: Callable[[], T]) -> T:
    """Return what ``read`` returns; make its error one of argparse, which names the option itself."""
    from airflow_provider_enos.errors import EnosConfigError

    try:
        return read()
    except EnosConfigError as error:
        raise ArgumentTypeError(str(error).removeprefix(f"{error.field}: ")) from None


def number(text: str) -> int:
    """Return a whole number."""
    from airflow_provider_enos.protocol import arguments

    return _checked(lambda: arguments.number(text, "number"))


def instance(text: str) -> str:
    """Return the id of an instance, of a flow or of a task."""
    from airflow_provider_enos.protocol import arguments

    return _checked(lambda: arguments.instance(text, "id"))


def text(text: str) -> str:
    """Return a text that is not empty."""
    from airflow_provider_enos.protocol import arguments

    return _checked(lambda: arguments.text(text, "text"))


def label(text: str) -> str:
    """Return a name."""
    from airflow_provider_enos.protocol import arguments

    return _checked(lambda: arguments.label(text, "name"))


def time(text: str) -> str:
    """Return the text itself if it is a time: the command resolves "now" when it uses it."""
    from airflow_provider_enos.protocol import trigger_time

    _checked(lambda: trigger_time.parse(text, now=0, field="time"))
    return text


def seconds(text: str) -> float:
    """Return a number of seconds."""
    from airflow_provider_enos.protocol import arguments

    try:
        given: object = float(text)
    except ValueError:
        given = text
    return _checked(lambda: arguments.seconds(given, "seconds"))


def parameter(text: str) -> tuple[str, str]:
    """Return name and value of ``NAME=VALUE``."""
    from airflow_provider_enos.protocol import arguments

    name, equals, value = text.partition("=")
    if not equals:
        raise ArgumentTypeError(f"{text!r}: expected NAME=VALUE")
    return next(iter(_checked(lambda: arguments.parameters({name: value}, "parameter")).items()))


def status(text: str) -> FlowStatus:
    """Return a status by its name."""
    from airflow_provider_enos.protocol import arguments

    return _checked(lambda: arguments.statuses(text, "status"))[0]
