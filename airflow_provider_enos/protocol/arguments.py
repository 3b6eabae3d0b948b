"""Check arguments as DAG authors write them or as templates render them, before anything is sent.

Each check returns the value to use. If a value cannot work, the check raises ``EnosConfigError``, which names ``field``
and the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol.text import is_instance_id, is_one_line, shown

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowStatus

T = TypeVar("T")
Value = TypeVar("Value")

OnConflict = Literal["next_minute", "attach", "fail"]
"""What to do if somebody else's instance has the minute: take the next free minute, take the instance over, or fail."""
RetryFrom = Literal["start", "failure"]
"""Where a retry begins after an instance that ended badly: at the start, or at the node that has to run again."""

FLOW_TYPES = (0, 1, 2)
"""The types of List Flow Instances: manual, periodic, temporary."""

_SURROGATE = r"[\ud800-\udfff]"
"""A lone surrogate (half a character), which UTF-8 cannot encode."""
TEMPLATE_MARKS = ("{{", "{%", "{#")
"""The marks that begin a Jinja expression, statement or comment."""
_LARGEST = 2**63 - 1
_MOST_DIGITS = 1000
_LONGEST = timedelta(days=36_500).total_seconds()


def is_template(value: object) -> bool:
    """Return whether ``value`` is a text that Jinja would change."""
    return isinstance(value, str) and any(mark in value for mark in TEMPLATE_MARKS)


def unless_template(check: Callable[[object, str], object], value: Value, field: str) -> Value:
    """Return ``value``. Unless it is a template, ``check`` must accept it."""
    if not is_template(value):
        check(value, field)
    return value


def flag(value: object, field: str) -> bool:
    """Return ``value``, a bool. Texts such as ``"false"`` are refused."""
    if not isinstance(value, bool):
        raise EnosConfigError(field, shown(value), accepted="True or False")
    return value


def flag_or_none(value: object, field: str) -> bool | None:
    """Return ``value``, a bool or None."""
    if value is not None and not isinstance(value, bool):
        raise EnosConfigError(field, shown(value), accepted="True, False or None")
    return value


def number(value: object, field: str) -> int:
    """Return ``value``, a number or digits, as the number of a flow or a task node."""
    found = value
    if isinstance(found, str) and re.fullmatch(r"\s*[0-9]{1,19}\s*", found, re.ASCII):
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 < found <= _LARGEST:
        raise EnosConfigError(field, shown(value), accepted="a whole number from 1 on, such as 3377")
    return found


def number_or_none(value: object, field: str) -> int | None:
    """Return ``value`` as ``number`` does; None stays None."""
    return None if value is None else number(value, field)


def label(value: object, field: str) -> str:
    """Return ``value``, the name of a flow or of a task node, as EnOS has it. Blanks count."""
    if not isinstance(value, str) or not value.strip() or len(value) > 1000 or not is_one_line(value):
        raise EnosConfigError(field, shown(value), accepted="a name on one line, such as 'meter_readings_daily'")
    return value


def label_or_none(value: object, field: str) -> str | None:
    """Return ``value`` as ``label`` does; None stays None."""
    return None if value is None else label(value, field)


def one_of_two(given: Mapping[str, object]) -> None:
    """Refuse ``given``, an id and a name of the same thing, unless exactly one of them is not None."""
    if sum(value is not None for value in given.values()) != 1:
        (field, value), (other, other_value) = given.items()
        raise EnosConfigError(
            field, f"{shown(value)}, and {other} is {shown(other_value)}", accepted=f"only one of {field} and {other}"
        )


def instance(value: object, field: str) -> str:
    """Return ``value`` as the id of a flow or task instance."""
    found = value.strip() if isinstance(value, str) else ""
    if not is_instance_id(found):
        raise EnosConfigError(field, shown(value), accepted="an instance id such as 3377-20200706062600")
    return found


def seconds(value: object, field: str, *, zero: bool = False) -> float:
    """Return ``value``, a timedelta or a number of seconds, in seconds. ``zero``: whether it may be zero."""
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
    """Return ``value``, one of ``options``, a ``Literal``."""
    if value not in get_args(options):
        accepted = ", ".join(f'"{option}"' for option in get_args(options))
        raise EnosConfigError(field, shown(value), accepted=f"one of {accepted}")
    return value


def statuses(value: object, field: str) -> tuple[FlowStatus, ...]:
    """Return the statuses in ``value``: one or several, as members of ``FlowStatus`` or as names.

    They come in the order of ``FlowStatus``, each once. The order of a set would differ between processes.
    """
    from airflow_provider_enos.protocol.models import FlowStatus

    several = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    found = set()
    for one in several:
        name = str(one).strip().upper() if isinstance(one, (str, FlowStatus)) else ""
        if name not in FlowStatus.__members__:
            raise EnosConfigError(field, shown(one), accepted=f"any of {', '.join(FlowStatus.__members__)}")
        found.add(name)
    return tuple(status for name, status in FlowStatus.__members__.items() if name in found)


def status_names(value: object, field: str) -> tuple[str, ...]:
    """Return the names of the statuses in ``value``, as ``statuses`` reads them."""
    return tuple(map(str, statuses(value, field)))


def flow_types(value: object, field: str) -> tuple[int, ...]:
    """Return the types of flow instances in ``value``: one or several, in ascending order, each once."""
    several = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    known = [one for one in several if type(one) is int and one in FLOW_TYPES]
    if not several or len(known) < len(several):
        raise EnosConfigError(
            field, shown(value), accepted="0 (manual), 1 (periodic), 2 (temporary), or several of them"
        )
    return tuple(sorted(set(known)))


def shift(value: object, field: str) -> float:
    """Return ``value``, a timedelta or a number of seconds, in seconds: whole minutes, which may be negative.

    EnOS counts trigger times by the minute, so a part of a minute would be ignored, or lead to the wrong minute.
    """
    found = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not -_LONGEST <= found <= _LONGEST:
        raise EnosConfigError(field, shown(value), accepted="a timedelta or seconds, up to 100 years")
    if found % 60:
        raise EnosConfigError(
            field,
            f"{shown(value)} is {found:g} s, and EnOS counts by the minute",
            accepted="whole minutes: a timedelta such as timedelta(hours=3), or seconds such as 10800",
        )
    return float(found)


def parameters(value: object, field: str = "parameters") -> dict[str, str]:
    """Return ``value``, a mapping from name to text. A whole number counts as its digits."""
    if not isinstance(value, Mapping):
        raise EnosConfigError(
            field, shown(value), accepted="a mapping from name to text (from a template: with native rendering)"
        )
    return {name: _parameter(name, given, field) for name, given in value.items()}


def parameters_or_none(value: object, field: str = "parameters") -> dict[str, str] | None:
    """Return ``value``, parameters or None."""
    return None if value is None else parameters(value, field)


def _parameter(name: object, given: object, field: str) -> str:
    text = str(given) if _is_writable_number(given) else given
    if not isinstance(name, str) or not name or not isinstance(text, str) or re.search(_SURROGATE, name + text):
        raise EnosConfigError(
            f"{field}[{shown(name, 40)}]",
            shown(given),
            accepted="a text or a whole number (and a name that is not empty)",
        )
    return text


def _is_writable_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_MOST_DIGITS


def connection_id(value: object, field: str = "enos_conn_id") -> str:
    """Return ``value``, the id of an Airflow connection."""
    # A template that finds nothing renders to "None".
    if not isinstance(value, str) or value.strip() in ("", "None") or not value.isprintable() or len(value) > 250:
        raise EnosConfigError(field, shown(value), accepted='the id of an Airflow connection, such as "enos_default"')
    return value


def tenant(value: object, field: str) -> str | None:
    """Return ``value``, a text that replaces the ``field`` of the connection, or None."""
    if value is not None and not (isinstance(value, str) and value.isprintable()):
        raise EnosConfigError(field, shown(value), accepted="a text such as o15504722874071, or None")
    return value


def text(value: object, field: str) -> str:
    """Return ``value``, a text that may be empty."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > 1000:
        raise EnosConfigError(field, shown(value), accepted="a text in printable characters")
    return value


def name(value: object, field: str) -> str:
    """Return ``value``, a text that is not empty."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > 1000:
        raise EnosConfigError(field, shown(value), accepted="a text in printable characters, not empty")
    return value


def prose(value: object, field: str) -> str:
    """Return ``value``, a text of any number of lines."""
    if not isinstance(value, str) or re.search(_SURROGATE, value):
        raise EnosConfigError(field, shown(value), accepted="a text")
    return value
