"""What a command prints, and where: results on stdout, all else on stderr. Whatever comes from EnOS is cleaned."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO

from airflow_provider_enos.protocol.text import clean_lines, excerpt

_LONGEST_CELL = 500


class Terminal:
    """The two streams of a command. As a protocol's ``Log`` it writes to stderr.

    :param as_json: whether the result is one JSON document; if not, tables and lines.
    """

    def __init__(self, out: TextIO, notes: TextIO, *, as_json: bool) -> None:
        self._out = out
        self._notes = notes
        self.as_json = as_json
        self._progress_shown = False
        self.left_behind = ""
        """What to say of that which runs on when the command is interrupted."""
        for stream in (out, notes):
            # Names may hold what the terminal's encoding has not.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")

    def line(self, text: str) -> None:
        """A line of the result."""
        self.lines([text])

    def lines(self, texts: Sequence[str]) -> None:
        """Lines of the result, as they are."""
        self.clear_progress()
        self._out.write("".join(f"{text}\n" for text in texts))
        self._out.flush()

    def json(self, data: object) -> None:
        """The whole result, for programs. Escaped to ASCII: it may go to a terminal, too."""
        text = json.dumps(data, indent=2, ensure_ascii=True).replace("\x7f", "\\u007f")
        self.lines([text])

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[object]], *, styles: Mapping[str, str] | None = None
    ) -> None:
        """A table as Airflow's own commands print it. ``styles``: how to colour a cell with this text."""
        from airflow.cli.simple_table import SimpleTable
        from rich.console import Console
        from rich.text import Text

        table = SimpleTable(show_header=True, caption=None)  # type: ignore[no-untyped-call]
        for column in columns:
            # What people copy stays on one line.
            table.add_column(column, no_wrap=column.endswith(("id", "time", "status")))
        for row in rows:
            texts = [excerpt("" if cell is None else str(cell), _LONGEST_CELL) for cell in row]
            # As Text, so that brackets in a name are no markup.
            table.add_row(*(Text(text, style=(styles or {}).get(text, "")) for text in texts))
        # What is piped is not folded.
        console = Console(file=self._out, width=None if self._out.isatty() else 100_000)
        with console.capture() as captured:
            console.print(table)
        self.lines([line.rstrip() for line in captured.get().splitlines()])

    def details(self, values: Mapping[str, object]) -> None:
        """Names and values, one a line; those without a value are left out."""
        shown = {name: excerpt(str(value), _LONGEST_CELL) for name, value in values.items() if value not in (None, "")}
        width = max(map(len, shown), default=0)
        self.lines([f"{name:{width}}  {value}" for name, value in shown.items()])

    def note(self, text: str) -> None:
        """A line on stderr."""
        self.clear_progress()
        self._notes.write("".join(f"{line}\n" for line in clean_lines(text)))
        self._notes.flush()

    def progress(self, text: str) -> None:
        """What goes on, in a line that the next one overwrites; nothing unless somebody looks at it."""
        if self._notes.isatty():
            self._notes.write(f"\r\x1b[K{excerpt(text, 70)}")
            self._notes.flush()
            self._progress_shown = True

    def clear_progress(self) -> None:
        """Takes the line of ``progress`` away."""
        if self._progress_shown:
            self._progress_shown = False
            self._notes.write("\r\x1b[K")
            self._notes.flush()

    def info(self, message: str, /, *args: Any) -> None:
        """A line of a procedure's log."""
        text = message % args if args else message
        # Marks for Airflow's log page, which folds what is between them.
        if text != "::endgroup::":
            self.note(f"{time.strftime('%H:%M:%S')} {text.removeprefix('::group::')}")

    def warning(self, message: str, /, *args: Any) -> None:
        """The same, of what may go wrong."""
        self.info(f"Warning: {message}", *args)

    error = warning

    def hang_up(self) -> None:
        """Nobody reads stdout any more: has Python not complain of that when it ends."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._out.fileno())
            os.close(nowhere)
