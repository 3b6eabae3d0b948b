"""Text and numbers from elsewhere: cleaned for a log line or a message, cut, and checked."""

from __future__ import annotations

import re
from itertools import islice

# Patterns as text: ``re`` compiles one when it is first used. Parsing a DAG file imports this module and uses none.
_CONTROL = r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+"

_COLOUR = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
"""Escape sequences of terminals, such as colours. They are removed whole, so that no rest of one remains."""

_PLAIN = r"[A-Za-z0-9_.-]*"

_FOLD = r"(?:::|##\[)(?=(?:end)?group(?:::|]))"
"""The marks by which Airflow's log page folds lines, wherever they are in a line."""


class Secrets(tuple[str, ...]):
    """Texts that must not be shown, not even where the local variables of a traceback are shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Secrets({len(self)})"


NO_SECRETS = Secrets()


def clean(line: str) -> str:
    """Return ``line`` without control and direction characters, colours, and marks by which Airflow folds its log."""
    return re.sub(_FOLD, _apart, _printable(line)).rstrip()


def is_one_line(text: str) -> bool:
    """Return whether ``text`` has no control or direction characters and no line breaks."""
    return re.search(_CONTROL, text) is None


def _printable(line: str) -> str:
    return re.sub(_CONTROL, " ", re.sub(_COLOUR, "", line))


def _apart(found: re.Match[str]) -> str:
    return " ".join(found[0])


def excerpt(text: str, length: int = 200) -> str:
    """Return the beginning of ``text`` on one line, cleaned, at most ``length`` long."""
    if len(text) <= length and re.fullmatch(_PLAIN, text):
        # Ids and words, the common case: cleaning takes twenty times as long.
        return text
    # Clean no more than twice the length: the rest is cut away anyway.
    line = " ".join(clean(text[: 2 * length]).split())
    return line if len(line) <= length and len(text) <= 2 * length else line[: length - 1].rstrip() + "…"


def shown(value: object, length: int = 80) -> str:
    """Return ``repr(value)`` for a message: on one line, at most ``length`` long."""
    try:
        return excerpt(repr(_beginning(value)), length)
    except ValueError:
        # Python refuses to write a number of thousands of digits.
        return f"a {type(value).__name__} of great length"


def _beginning(value: object, levels: int = 3) -> object:
    """Return as much of ``value`` as a message can show, since it may be megabytes long."""
    if isinstance(value, str):
        return value[:200]
    if not isinstance(value, (list, dict)):
        return value
    if not levels:
        return "…"
    if isinstance(value, list):
        return [_beginning(item, levels - 1) for item in value[:40]]
    return {_beginning(name): _beginning(item, levels - 1) for name, item in islice(value.items(), 40)}


def tail(text: str, lines: int, length: int) -> str:
    """Return the last ``lines`` lines of ``text``, cleaned, at most ``length`` characters; ``…`` marks a cut."""
    whole = text.rstrip()
    # As in ``excerpt``: look at no more than twice the length.
    near = whole[-2 * length :].splitlines()
    end = "\n".join(clean(line) for line in near[-lines:])
    kept = end[-length:]
    return f"… {kept}" if len(kept) < len(end) or len(near) > lines or len(whole) > 2 * length else kept


def clean_lines(text: str) -> list[str]:
    """Return the lines of ``text``, cleaned, not cut, with tabs as spaces."""
    return [_printable(line.expandtabs()).rstrip() for line in text.splitlines()]


def is_instance_id(text: str) -> bool:
    """Return whether this can be the id of a flow or task instance: one word of letters, digits and ``_.:-``."""
    return text != "None" and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}", text) is not None


def whole_number(value: object) -> int | None:
    """Return ``value`` as a whole number, also from digits; None if it is not one."""
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
