"""Text that comes from elsewhere, made fit for a log line or a message."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")

_FOLD = re.compile(r"(?:::|##\[)(?=(?:end)?group(?:::|]))")
"""What Airflow's log pages fold lines by, wherever in a line it is."""


def clean(line: str) -> str:
    """``line`` without control or direction characters, nor what Airflow's log page takes for a fold."""
    return _FOLD.sub(_apart, _CONTROL.sub(" ", line)).rstrip()


def _apart(found: re.Match[str]) -> str:
    return " ".join(found[0])


def excerpt(text: str, length: int = 200) -> str:
    """The beginning of ``text`` on one line, cleaned, at most ``length`` long."""
    # Twice the length is enough to look at: what is cut away later need not be cleaned.
    line = " ".join(clean(text[: 2 * length]).split())
    return line if len(line) <= length and len(text) <= 2 * length else line[: length - 1].rstrip() + "…"


def tail(text: str, lines: int, length: int) -> str:
    """The last ``lines`` lines of ``text``, cleaned, at most ``length`` characters, with a mark where it was cut."""
    whole = [clean(line) for line in text.rstrip().splitlines()]
    end = "\n".join(whole[-lines:])
    kept = end[-length:]
    return f"… {kept}" if len(kept) < len(end) or len(whole) > lines else kept


def clean_lines(text: str) -> list[str]:
    """The lines of ``text``, each cleaned, whole, with its tabs as spaces."""
    return [_CONTROL.sub(" ", line.expandtabs()).rstrip() for line in text.splitlines()]


def is_instance_id(text: str) -> bool:
    """Whether this can be the id of a flow or task instance: one word, in the characters that ids are made of."""
    return text != "None" and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}", text) is not None
