"""A window of trigger times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol.trigger_time import MINUTE, minute_of, moment, to_iso


@dataclass(frozen=True, slots=True)
class Window:
    """Trigger times from ``first`` up to, but not including, ``end``: epoch milliseconds."""

    first: int
    end: int

    @classmethod
    def between(cls, start: Any, end: Any, *, shift: float = 0.0) -> Window:
        """Return the minutes after the minute of ``start``, up to and including the minute of ``end``.

        So each trigger time is in exactly one of the windows of consecutive data intervals. If both are in one minute,
        the window is that minute.

        :param start: what ``trigger_time.moment`` takes, as is ``end``.
        :param shift: by how many seconds the window is moved into the past.
        :raises EnosConfigError: naming ``window_start``, ``window_end`` or ``window_shift``.
        """
        earlier = round(shift * 1000)
        first, last = (
            minute_of(_bound(value, field) - earlier) for value, field in ((start, "window_start"), (end, "window_end"))
        )
        if first < 0:
            raise EnosConfigError("window_shift", f"{shift:g} s", accepted="one that does not lead before 1970")
        if first > last:
            raise EnosConfigError(
                "window_start", f"{to_iso(first)} is after the window's end, {to_iso(last)}", accepted="an earlier time"
            )
        return cls(first if first == last else first + MINUTE, last + MINUTE)

    @property
    def bounds(self) -> tuple[str, str]:
        """Return the start and the end from which ``between`` makes the same window."""
        return to_iso(self.first - MINUTE), to_iso(self.end - MINUTE)

    def __str__(self) -> str:
        first, last = to_iso(self.first), to_iso(self.end - MINUTE)
        return f"at {first}" if first == last else f"from {first} to {last}"


def _bound(value: Any, field: str) -> int:
    if value is None or (isinstance(value, str) and value.strip() in ("", "None")):
        raise EnosConfigError(
            field,
            "it is empty, as the default is for a DAG run without a data interval",
            accepted="a time, or a template of one such as {{ dag_run.run_after }}",
        )
    return moment(value, field)
