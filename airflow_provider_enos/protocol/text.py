"""Text that comes from elsewhere, made fit for a log line or a message."""

from __future__ import annotations

import re
from itertools import islice

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")

_COLOUR = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]")
"""What a terminal takes for a colour or the like. Without its first character the rest would be left to be read."""

_PLAIN = re.compile(r"[A-Za-z0-9_.-]*")

_FOLD = re.compile(r"(?:::|##\[)(?=(?:end)?group(?:::|]))")
"""What Airflow's log pages fold lines by, wherever in a line it is."""


class Secrets(tuple[str, ...]):
    """Texts that are shown to nobody, nor by what shows the local variables of a traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Secrets({len(self)})"


NO_SECRETS = Secrets()


def clean(line: str) -> str:
    """``line`` without control or direction characters and colours, nor what Airflow's log page takes for a fold."""
    return _FOLD.sub(_apart, _printable(line)).rstrip()


def _printable(line: str) -> str:
    return _CONTROL.sub(" ", _COLOUR.sub("", line))


def _apart(found: re.Match[str]) -> str:
    return " ".join(found[0])


def excerpt(text: str, length: int = 200) -> str:
    """Return the beginning of ``text`` on one line, cleaned, at most ``length`` long."""
    if len(text) <= length and _PLAIN.fullmatch(text):
        # Ids and words, of which there are thousands: cleaning takes twenty times as long.
        return text
    # Twice the length is enough to look at: what is cut away later need not be cleaned.
    line = " ".join(clean(text[: 2 * length]).split())
    return line if len(line) <= length and len(text) <= 2 * length else line[: length - 1].rstrip() + "…"


def shown(value: object, length: int = 80) -> str:
    """Return ``value`` for a message: as Python writes it, short, and on one line."""
    try:
        return excerpt(repr(_beginning(value)), length)
    except ValueError:
        # Python writes no number of thousands of digits.
        return f"a {type(value).__name__} of great length"


def _beginning(value: object, levels: int = 3) -> object:
    """Return as much of ``value`` as a message can show: to write the rest, which may be megabytes, takes its time."""
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
    """The last ``lines`` lines of ``text``, cleaned, at most ``length`` characters, with a mark where it was cut."""
    whole = text.rstrip()
    # As of an excerpt, twice the length is enough to look at.
    near = whole[-2 * length :].splitlines()
    end = "\n".join(clean(line) for line in near[-lines:])
    kept = end[-length:]
    return f"… {kept}" if len(kept) < len(end) or len(near) > lines or len(whole) > 2 * length else kept


def clean_lines(text: str) -> list[str]:
    """The lines of ``text``, each cleaned, whole, with its tabs as spaces."""
    return [_printable(line.expandtabs()).rstrip() for line in text.splitlines()]


def is_instance_id(text: str) -> bool:
    """Whether this can be the id of a flow or task instance: one word, in the characters that ids are made of."""
    return text != "None" and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}", text) is not None
