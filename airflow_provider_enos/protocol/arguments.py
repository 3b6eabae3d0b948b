"""Arguments as DAG authors write them, or as a rendered template gives them, checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TypeVar, get_args

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol.models import FlowStatus
from airflow_provider_enos.protocol.text import is_instance_id, shown

T = TypeVar("T")

_HALF = re.compile(r"[\ud800-\udfff]")
"""Half a character, which no encoding takes."""
_LARGEST = 2**63 - 1
_LONGEST = timedelta(days=36_500).total_seconds()


def number(value: object, field: str) -> int:
    """``value`` as the whole number that EnOS numbers flows and task nodes with.

    Raises ``EnosConfigError``, naming ``field`` and the value.
    """
    found = value
    if isinstance(found, str) and re.fullmatch(r"\s*[0-9]{1,19}\s*", found, re.ASCII):
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 < found <= _LARGEST:
        raise EnosConfigError(field, shown(value), accepted="a whole number from 1 on, such as 3377")
    return found


def instance(value: object, field: str) -> str:
    """``value`` as the id of a flow or task instance. Raises ``EnosConfigError``, naming ``field`` and the value."""
    found = value.strip() if isinstance(value, str) else ""
    if not is_instance_id(found):
        raise EnosConfigError(field, shown(value), accepted="an instance id such as 3377-20200706062600")
    return found


def seconds(value: object, field: str, *, zero: bool = False) -> float:
    """``value``, a timedelta or a number of seconds, in seconds; above zero unless ``zero`` lets it be zero.

    Raises ``EnosConfigError``, naming ``field`` and the value.
    """
    found = value.total_seconds() if isinstance(value, timedelta) else value
    if (
        isinstance(found, bool)
        or not isinstance(found, (int, float))
        or not 0 <= found <= _LONGEST
        or (found == 0 and not zero)
    ):
        least = "from 0" if zero else "above 0"
        raise EnosConfigError(field, shown(value), accepted=f"a timedelta or seconds, {least} to 100 years")
    return float(found)


def choice(value: T, field: str, options: object) -> T:
    """``value`` if ``options``, a ``Literal``, lists it. Raises ``EnosConfigError``, naming ``field`` and the value."""
    if value not in get_args(options):
        accepted = ", ".join(f'"{option}"' for option in get_args(options))
        raise EnosConfigError(field, shown(value), accepted=f"one of {accepted}")
    return value


def statuses(value: object, field: str) -> tuple[FlowStatus, ...]:
    """``value``, statuses as members of ``FlowStatus`` or their names, or a single one; no status twice.

    Raises ``EnosConfigError``, naming ``field`` and the value.
    """
    several = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    found = {}
    for one in several:
        name = str(one).strip().upper() if isinstance(one, (str, FlowStatus)) else ""
        if name not in FlowStatus.__members__:
            raise EnosConfigError(field, shown(one), accepted=f"any of {', '.join(FlowStatus.__members__)}")
        found[name] = FlowStatus[name]
    return tuple(found.values())


def shift(value: object, field: str) -> float:
    """``value``, a timedelta or a number of seconds, in seconds; it may be negative.

    Raises ``EnosConfigError``, naming ``field`` and the value.
    """
    found = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not -_LONGEST <= found <= _LONGEST:
        raise EnosConfigError(field, shown(value), accepted="a timedelta or seconds, up to 100 years")
    return float(found)


def parameters(value: object, field: str = "parameters") -> dict[str, str]:
    """``value``, a mapping from name to text. Raises ``EnosConfigError``, naming ``field`` and what is wrong."""
    if not isinstance(value, Mapping):
        raise EnosConfigError(field, shown(value), accepted="a mapping from name to text")
    for name, text in value.items():
        if not isinstance(name, str) or not name or not isinstance(text, str) or _HALF.search(name + text):
            raise EnosConfigError(
                f"{field}[{shown(name, 40)}]",
                shown(text),
                accepted="a text (and a name that is not empty)",
            )
    return dict(value)


def text(value: object, field: str) -> str:
    """``value``, a text that may be empty. Raises ``EnosConfigError``, naming ``field`` and the value."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > 1000:
        raise EnosConfigError(field, shown(value), accepted="a text in printable characters")
    return value


def name(value: object, field: str) -> str:
    """``value``, a text that is not empty. Raises ``EnosConfigError``, naming ``field`` and the value."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > 1000:
        raise EnosConfigError(field, shown(value), accepted="a text in printable characters, not empty")
    return value


def prose(value: object, field: str) -> str:
    """``value``, a text of any number of lines. Raises ``EnosConfigError``, naming ``field`` and the value."""
    if not isinstance(value, str) or _HALF.search(value):
        raise EnosConfigError(field, shown(value), accepted="a text")
    return value
