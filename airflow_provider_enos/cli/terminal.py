"""What a command prints, and where: results on stdout, all else on stderr. Texts from EnOS are cleaned.

Statuses have a colour where a stream is a terminal. ``NO_COLOR`` takes the colours away, ``FORCE_COLOR`` adds them to
pipes; where both are set, there are none.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO

from airflow_provider_enos.protocol.models import FlowStatus, Outcome
from airflow_provider_enos.protocol.text import clean_lines, excerpt

_LONGEST_CELL = 500
_PIPE_WIDTH = 100_000
"""Columns of a table that goes into a pipe, so that no line is folded."""

_OUTCOME_STYLES = {
    Outcome.SUCCEEDED: "green",
    Outcome.FAILED: "bold red",
    Outcome.CANCELLED: "yellow",
    Outcome.SKIPPED: "magenta",
}
_STYLES = {
    "ok": "green",
    "note": "yellow",
    "failed": "bold red",
    **{status.name: _OUTCOME_STYLES.get(status.outcome, "cyan" if status.working else "") for status in FlowStatus},
}
"""How a status is shown, of an instance or of a step of ``check``."""


class Terminal:
    """The two streams of a command. As a protocol's ``Log`` it writes to stderr.

    :param out: for the result.
    :param notes: for everything else.
    :param as_json: whether the result is one JSON document; if not, it is tables and lines.
    """

    def __init__(self, out: TextIO, notes: TextIO, *, as_json: bool) -> None:
        self._out = out
        self._notes = notes
        self.as_json = as_json
        self._progress_shown = False
        self.when_interrupted = ""
        """What to say where the command is interrupted, such as what runs on."""
        for stream in (out, notes):
            # A name may hold characters that the terminal's encoding lacks.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")

    def line(self, text: str) -> None:
        """Print a line of the result."""
        self.lines([text])

    def lines(self, texts: Sequence[str]) -> None:
        """Print lines of the result, as they are."""
        self.clear_progress()
        self._out.write("".join(f"{text}\n" for text in texts))
        self._out.flush()

    def document(self, text: str) -> None:
        """Print the whole result, byte for byte what a file of it has: in UTF-8, whatever the terminal's encoding."""
        self.clear_progress()
        if hasattr(self._out, "reconfigure"):
            self._out.reconfigure(encoding="utf-8")
        self._out.write(text)
        self._out.flush()

    def status_line(self, subject: str, status: object) -> None:
        """Print a line of the result that ends with a status."""
        self.line(f"{subject} {_coloured(str(status), self._out)}")

    def json(self, data: object) -> None:
        """Print the whole result, for programs. It is ASCII only, since it may go to a terminal, too."""
        text = json.dumps(data, indent=2, ensure_ascii=True).replace("\x7f", "\\u007f")
        self.lines([text])

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str = "") -> None:
        """Print a table as Airflow's own commands do. What a column ``status`` holds has a colour.

        :param empty: a note to print in place of a table without rows.
        """
        if not rows and empty:
            self.note(empty)
            return
        from airflow.cli.simple_table import SimpleTable
        from rich.console import Console
        from rich.text import Text

        table = SimpleTable(show_header=True, caption=None)  # type: ignore[no-untyped-call]
        for column in columns:
            # Ids, times and statuses stay on one line, so that they can be copied.
            table.add_column(column, no_wrap=column.endswith(("id", "time", "status")))
        for row in rows:
            texts = [excerpt("" if cell is None else str(cell), _LONGEST_CELL) for cell in row]
            cells = zip(columns, texts, strict=True)
            # As Text, so that brackets in a name are no markup.
            table.add_row(*(Text(text, _STYLES.get(text, "") if column == "status" else "") for column, text in cells))
        # rich would colour a pipe where FORCE_COLOR is empty, and only bold remains of its colours with NO_COLOR.
        has_colours = _has_colours(self._out)
        console = Console(
            file=self._out,
            width=None if self._out.isatty() else _PIPE_WIDTH,
            force_terminal=has_colours,
            color_system="standard" if has_colours else None,
            no_color=False,
        )
        with console.capture() as captured:
            console.print(table)
        self.lines([line.rstrip() for line in captured.get().splitlines()])

    def details(self, values: Mapping[str, object]) -> None:
        """Print names and values, one a line, without those whose value is None or empty."""
        shown = {name: excerpt(str(value), _LONGEST_CELL) for name, value in values.items() if value not in (None, "")}
        width = max(map(len, shown), default=0)
        if "status" in shown:
            shown["status"] = _coloured(shown["status"], self._out)
        self.lines([f"{name:{width}}  {value}" for name, value in shown.items()])

    def note(self, text: str) -> None:
        """Print a line on stderr."""
        self._note(clean_lines(text))

    def _note(self, lines: Sequence[str]) -> None:
        self.clear_progress()
        self._notes.write("".join(f"{line}\n" for line in lines))
        self._notes.flush()

    def progress(self, text: str) -> None:
        """Say on stderr what goes on, in a line that the next one overwrites. Do nothing if stderr is no terminal."""
        if self._notes.isatty():
            self._notes.write(f"\r\x1b[K{excerpt(text, 70)}")
            self._notes.flush()
            self._progress_shown = True

    def clear_progress(self) -> None:
        """Remove the line of ``progress``."""
        if self._progress_shown:
            self._progress_shown = False
            self._notes.write("\r\x1b[K")
            self._notes.flush()

    def info(self, message: str, /, *args: Any) -> None:
        """Print a line of a procedure's log on stderr, with the time in front of it."""
        text = message % args if args else message
        # "::group::" and "::endgroup::" are for Airflow's log page, which folds the lines between them.
        if text != "::endgroup::":
            lines = clean_lines(f"{time.strftime('%H:%M:%S')} {text.removeprefix('::group::')}")
            self._note([_STATUS_IN_LOG.sub(lambda found: _coloured(found[0], self._notes), line) for line in lines])

    def warning(self, message: str, /, *args: Any) -> None:
        """Print a warning of a procedure's log on stderr."""
        self.info(f"Warning: {message}", *args)

    error = warning

    def hang_up(self) -> None:
        """Discard further output to stdout, which nobody reads any more: else Python complains when it ends."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._out.fileno())
            os.close(nowhere)


_STATUS_IN_LOG = re.compile(rf"(?:(?<=: )|(?<=> )|(?<=  ))({'|'.join(FlowStatus.__members__)})(?= ->|  |,|$)")
"""A status in a line of a log: after a colon, in "RUNNING -> FAIL", or in a column of a table."""


def _has_colours(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


def _coloured(status: str, stream: TextIO) -> str:
    style = _STYLES.get(status)
    if not style or not _has_colours(stream):
        return status
    from rich.color import ColorSystem
    from rich.style import Style

    return Style.parse(style).render(status, color_system=ColorSystem.STANDARD)
