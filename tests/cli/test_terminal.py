"""What goes to which stream, and in which form."""

from __future__ import annotations

import io
import json

import pytest

from airflow_provider_enos.cli.terminal import Terminal


class Screen(io.StringIO):
    """A stream that says that somebody looks at it."""

    def isatty(self) -> bool:
        return True


def streams(*, screen: bool = False) -> tuple[Terminal, io.StringIO, io.StringIO]:
    out, notes = (Screen(), Screen()) if screen else (io.StringIO(), io.StringIO())
    return Terminal(out, notes, as_json=False), out, notes


def test_what_is_piped_is_not_folded() -> None:
    terminal, out, _ = streams()
    terminal.table(("flow_id", "flow_name"), [(3377, "name " * 60)])
    assert out.getvalue().splitlines()[2] == "3377    | " + ("name " * 60).rstrip()


def test_an_id_stays_on_one_line_on_a_narrow_screen() -> None:
    terminal, out, _ = streams(screen=True)
    terminal.table(("flow_instance_id", "flow_name"), [("3377-20200706062600", "name " * 60)])
    assert "3377-20200706062600" in out.getvalue()


@pytest.mark.parametrize("screen", [True, False])
def test_colours_only_on_a_screen(screen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal, out, _ = streams(screen=screen)
    terminal.table(("status",), [("FAIL",)], styles={"FAIL": "red"})
    cell = out.getvalue().splitlines()[2]
    assert cell.startswith("\x1b[31mFAIL") if screen else cell == "FAIL"


def test_markup_and_control_characters_are_text() -> None:
    terminal, out, _ = streams()
    terminal.table(("name",), [("[bold]a[/b] :smile: \x1b[31m\n",)])
    assert out.getvalue().splitlines()[2] == "[bold]a[/b] :smile: [31m"


def test_an_empty_table_has_its_columns() -> None:
    terminal, out, _ = streams()
    terminal.table(("flow_id", "flow_name"), [])
    assert out.getvalue() == "flow_id | flow_name\n========+==========\n"


def test_json_is_safe_on_a_terminal_and_exact_for_a_program() -> None:
    terminal, out, _ = streams()
    text = "\x1b[31m\x7f\x9b\u202e读\ud800"
    terminal.json({"name": text})
    assert out.getvalue().isascii()
    assert "\x1b" not in out.getvalue()
    assert "\x7f" not in out.getvalue()
    assert json.loads(out.getvalue()) == {"name": text}


def test_progress_is_for_whoever_looks() -> None:
    for screen in (True, False):
        terminal, _, notes = streams(screen=screen)
        terminal.progress("1 flow\x07")
        terminal.note("done")
        assert notes.getvalue() == ("\r\x1b[K1 flow\r\x1b[Kdone\n" if screen else "done\n")


def test_details_leave_out_what_is_not_known() -> None:
    terminal, out, _ = streams()
    terminal.details({"flow": "1", "business date": None, "owner": "", "status\t": "\x07ok"})
    assert out.getvalue() == "flow     1\nstatus\t  ok\n"


def test_a_terminal_that_has_not_all_characters() -> None:
    raw = io.BytesIO()
    terminal = Terminal(io.TextIOWrapper(raw, encoding="ascii"), io.StringIO(), as_json=False)
    terminal.line("读")
    assert raw.getvalue() == b"\\u8bfb\n"


def test_marks_for_the_log_page_of_airflow_are_left_out() -> None:
    terminal, _, notes = streams()
    terminal.info("::group::The log of %s", "a")
    terminal.info("::endgroup::")
    terminal.warning("%s", "odd\x1b")
    assert [line[9:] for line in notes.getvalue().splitlines()] == ["The log of a", "Warning: odd"]
