"""How the fields of EnOS's answers are read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import NoneType
from typing import Any, TypeVar, overload

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol import bounded_json, text
from airflow_provider_enos.protocol.bounded_json import TooMuchJson

MOST_ITEMS = 20_000
"""Entries that a list of a reply may have, unless it says otherwise."""

D = TypeVar("D")


def one(data: object, what: str) -> object:
    """The object itself, also where EnOS sends it as a list of one."""
    if isinstance(data, list):
        if len(data) != 1:
            raise EnosReplyError(f"{what}: expected one, got a list of {len(data)}")
        return data[0]
    return data


def many(data: object, what: str, most: int = MOST_ITEMS) -> list[Any]:
    """Return the list itself; one object counts as a list of one, and nothing as an empty one."""
    if data is None or data == "":
        return []
    if isinstance(data, Mapping):
        return [data]
    if not isinstance(data, list):
        raise EnosReplyError(f"{what}: expected a list, got {shown(data)}")
    return at_most(most, data, what)


def at_most(most: int, items: list[Any], what: str) -> list[Any]:
    """Return ``items``. Raises ``EnosReplyError`` where they are more than ``most``."""
    if len(items) > most:
        raise EnosReplyError(f"{what}: expected at most {most:,} entries, got {len(items):,}")
    return items


_REQUIRED: Any = object()


class Fields:
    """Reads the fields of one JSON object, in camelCase as documented or in snake_case as some samples have it."""

    def __init__(self, data: object, what: str, *, show_values: bool = True) -> None:
        self._what = what
        self._show_values = show_values
        if not isinstance(data, Mapping):
            raise EnosReplyError(f"{what}: expected an object, got {self._shown(data)}")
        self._data = data

    def any(self, name: str) -> Any:
        """The value as it came; None where there is none."""
        value = self._data.get(name)
        return self._data.get(snake_case(name)) if value is None else value

    @overload
    def text(self, name: str) -> str: ...

    @overload
    def text(self, name: str, default: D) -> str | D: ...

    def text(self, name: str, default: Any = _REQUIRED) -> Any:
        """A text; numbers count as text, since ids come as both."""
        value = self.any(name)
        if value is None:
            return self._default(name, default)
        if isinstance(value, str):
            return _whole(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        raise self.wrong(name, "a text", value)

    @overload
    def number(self, name: str) -> int: ...

    @overload
    def number(self, name: str, default: D) -> int | D: ...

    def number(self, name: str, default: Any = _REQUIRED) -> Any:
        """A whole number, also as digits."""
        value = self.any(name)
        if value is None or value == "":
            return self._default(name, default)
        number = whole_number(value)
        if number is None:
            raise self.wrong(name, "a whole number", value)
        return number

    def decimal(self, name: str) -> float | None:
        """A finite number, also as text; None where it is missing."""
        value = self.any(name)
        if value is None or value == "":
            return None
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise self.wrong(name, "a number", value)
        return number

    def flag(self, name: str) -> bool:
        """A boolean, which some fields carry as 0 and 1; missing is false."""
        value = self.any(name)
        if value in (None, "", False, 0, "0", "false"):
            return False
        if value in (True, 1, "1", "true"):
            return True
        raise self.wrong(name, "true or false", value)

    def list(self, name: str, *, empty: bool = False, most: int = MOST_ITEMS) -> list[Any]:
        """Return a list. ``empty``: null stands for an empty one; that the field is missing still does not."""
        value = self.any(name)
        if empty and value in (None, "") and self._data.keys() & {name, snake_case(name)}:
            return []
        if not isinstance(value, list):
            raise self.wrong(name, "a list", value)
        return at_most(most, value, f"{self._what}: {name}")

    def items(self, name: str) -> Sequence[Any]:
        """A list, which may be missing or null, or come as JSON text; one object counts as a list of one."""
        value = self.decoded(name)
        if not isinstance(value, (list, Mapping, NoneType)):
            raise self.wrong(name, "a list", value)
        return many(value, name)

    def others(self, known: Iterable[str]) -> dict[str, Any]:
        """The fields of other names than these, in either style."""
        names = {spelling for name in known for spelling in (name, snake_case(name))}
        return {name: value for name, value in self._data.items() if name not in names}

    def decoded(self, name: str) -> Any:
        """Return a structure, which EnOS sends as JSON text; None where it is missing or empty.

        Raises ``TooMuchJson`` where the text has more than is read of a reply.
        """
        value = self.any(name)
        if not isinstance(value, str):
            return value
        if not value.strip():
            return None
        try:
            return bounded_json.loads(value)
        except TooMuchJson as error:
            raise TooMuchJson(f"{self._what}: {name} is not read, since {error}") from None
        except (ValueError, RecursionError):
            raise self.wrong(name, "JSON", value) from None

    def wrong(self, name: str, expected: str, value: object) -> EnosReplyError:
        """The error for a field of another shape."""
        return EnosReplyError(f"{self._what}: {name}: expected {expected}, got {self._shown(value)}")

    def _default(self, name: str, default: Any) -> Any:
        if default is _REQUIRED:
            raise EnosReplyError(f"{self._what}: {name} is missing")
        return default

    def _shown(self, value: object) -> str:
        return shown(value) if self._show_values else f"a value of type {type(value).__name__}"


def graph_list(graph: object, name: str, most: int = MOST_ITEMS) -> list[Any]:
    """Return a list of a graph, such as its ``tasks``; empty where it, or the graph, is missing."""
    if graph is None:
        return []
    fields = Fields(graph, "graph")
    return fields.list(name, most=most) if fields.any(name) else []


def parameters(value: object) -> tuple[tuple[str, str], ...]:
    """Parameters, documented both as a map and as a list of key and value."""
    if not value:
        return ()
    if isinstance(value, (Mapping, list)) and len(value) > MOST_ITEMS:
        raise EnosReplyError(f"parameters: expected at most {MOST_ITEMS:,} entries, got {len(value):,}")
    if isinstance(value, Mapping):
        return tuple((_whole(str(name)), _whole(str(text))) for name, text in value.items())
    if isinstance(value, list):
        pairs = (Fields(item, "parameter") for item in value)
        return tuple((pair.text("key"), pair.text("value", "")) for pair in pairs)
    raise EnosReplyError(f"parameters: expected a list of key and value, got {shown(value)}")


def whole_number(value: object) -> int | None:
    """``value`` as a whole number, also from digits; None where it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        # Some JSON libraries write 3377 as 3377.0.
        value = int(value)
    if isinstance(value, int):
        return value if abs(value) < 10**19 else None
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) <= 19:
        return int(value)
    return None


def _whole(text: str) -> str:
    """Return ``text`` without halves of characters, which JSON can hold and no encoding takes."""
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


@lru_cache(maxsize=500)
def snake_case(name: str) -> str:
    """A field's name as some samples write it: ``task_id`` for ``taskId``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def shown(value: object) -> str:
    """``value`` for a message: short, and on one line."""
    return "nothing" if value is None else text.shown(value, 60)
