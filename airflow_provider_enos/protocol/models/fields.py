"""Read the fields of EnOS's replies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import NoneType
from typing import Any, TypeVar, overload

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol import bounded_json, text
from airflow_provider_enos.protocol.bounded_json import TooMuchJson
from airflow_provider_enos.protocol.text import whole_number

MOST_ITEMS = 20_000
"""The most entries that a list of a reply may have, unless a field has a limit of its own."""

D = TypeVar("D")


def one(data: object, what: str) -> object:
    """Return the object; EnOS sends some objects as a list of one. ``what``: its name in an error."""
    if isinstance(data, list):
        if len(data) != 1:
            raise EnosReplyError(f"{what}: expected one, got a list of {len(data)}")
        return data[0]
    return data


def many(data: object, what: str, most: int = MOST_ITEMS) -> list[Any]:
    """Return the list. A single object counts as a list of one, and null or empty text as an empty list."""
    if data is None or data == "":
        return []
    if isinstance(data, Mapping):
        return [data]
    if not isinstance(data, list):
        raise EnosReplyError(f"{what}: expected a list, got {shown(data)}")
    return at_most(most, data, what)


def at_most(most: int, items: list[Any], what: str) -> list[Any]:
    """Return ``items``. Raises ``EnosReplyError`` if there are more than ``most``."""
    if len(items) > most:
        raise EnosReplyError(f"{what}: expected at most {most:,} entries, got {len(items):,}")
    return items


_REQUIRED: Any = object()


class Fields:
    """The fields of one JSON object, named in camelCase as documented or in snake_case as in some samples.

    The methods raise ``EnosReplyError``, naming the field, where its value has another shape.
    """

    def __init__(self, data: object, what: str, *, show_values: bool = True) -> None:
        self._what = what
        self._show_values = show_values
        if not isinstance(data, Mapping):
            raise EnosReplyError(f"{what}: expected an object, got {self._shown(data)}")
        self._data = data

    def any(self, name: str) -> Any:
        """Return the value as it came; None where it is missing or null."""
        value = self._data.get(name)
        return self._data.get(snake_case(name)) if value is None else value

    @overload
    def text(self, name: str) -> str: ...

    @overload
    def text(self, name: str, default: D) -> str | D: ...

    def text(self, name: str, default: Any = _REQUIRED) -> Any:
        """Return a text. A number counts as text, since ids come as both."""
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
        """Return a whole number. Digits count as a number."""
        value = self.any(name)
        if value is None or value == "":
            return self._default(name, default)
        number = whole_number(value)
        if number is None:
            raise self.wrong(name, "a whole number", value)
        return number

    def decimal(self, name: str) -> float | None:
        """Return a finite number, also from text; None where it is missing."""
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
        """Return a boolean, which some fields have as 0 and 1; False where it is missing."""
        value = self.any(name)
        if value in (None, "", False, 0, "0", "false"):
            return False
        if value in (True, 1, "1", "true"):
            return True
        raise self.wrong(name, "true or false", value)

    def list(self, name: str, *, empty: bool = False, most: int = MOST_ITEMS) -> list[Any]:
        """Return a list. ``empty``: null counts as an empty list; a missing field is still an error."""
        value = self.any(name)
        if empty and value in (None, "") and self._data.keys() & {name, snake_case(name)}:
            return []
        if not isinstance(value, list):
            raise self.wrong(name, "a list", value)
        return at_most(most, value, f"{self._what}: {name}")

    def items(self, name: str) -> Sequence[Any]:
        """Return a list, which may be missing, null or JSON text. A single object counts as a list of one."""
        value = self.decoded(name)
        if not isinstance(value, (list, Mapping, NoneType)):
            raise self.wrong(name, "a list", value)
        return many(value, name)

    def others(self, known: Iterable[str]) -> dict[str, Any]:
        """Return the fields that are not among ``known``, in either style of name."""
        names = {spelling for name in known for spelling in (name, snake_case(name))}
        return {name: value for name, value in self._data.items() if name not in names}

    def decoded(self, name: str) -> Any:
        """Return a structure that EnOS sends as JSON text; None where it is missing or empty.

        Raises ``TooMuchJson`` if the text exceeds the limits of a reply.
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
        """Return the error for a field of another shape."""
        return EnosReplyError(f"{self._what}: {name}: expected {expected}, got {self._shown(value)}")

    def _default(self, name: str, default: Any) -> Any:
        if default is _REQUIRED:
            raise EnosReplyError(f"{self._what}: {name} is missing")
        return default

    def _shown(self, value: object) -> str:
        return shown(value) if self._show_values else f"a value of type {type(value).__name__}"


def graph_list(graph: object, name: str, most: int = MOST_ITEMS) -> list[Any]:
    """Return a list of a graph, such as its ``tasks``; empty if the list or the graph is missing."""
    if graph is None:
        return []
    fields = Fields(graph, "graph")
    return fields.list(name, most=most) if fields.any(name) else []


def parameters(value: object) -> tuple[tuple[str, str], ...]:
    """Return parameters, which are documented both as a map and as a list of key and value."""
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


def _whole(text: str) -> str:
    """Return ``text`` without lone surrogates, which JSON can hold and UTF-8 cannot."""
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


@lru_cache(maxsize=500)
def snake_case(name: str) -> str:
    """Return the name of a field as some samples write it: ``task_id`` for ``taskId``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def shown(value: object) -> str:
    """Return ``value`` for a message: short, on one line."""
    return "nothing" if value is None else text.shown(value, 60)
