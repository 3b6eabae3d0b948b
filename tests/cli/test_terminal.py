"""What goes to which stream, and in which form."""

from __future__ import annotations

import io
import json
import re

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


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment asks for nothing in particular."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def everything_with_a_status(*, screen: bool) -> str:
    """What is printed of statuses, on both streams."""
    terminal, out, notes = streams(screen=screen)
    terminal.table(("flow_name", "status"), [("FAIL", "FAIL"), ("FAIL", "ok")])
    terminal.details({"flow": "FAIL", "status": "SUCCESS"})
    terminal.status_line("3377-1", "CANCEL")
    terminal.info("Node %s: %s -> %s", "FAIL", "RUNNING", "FAIL")
    return out.getvalue() + notes.getvalue()


def test_statuses_have_colours_on_a_screen(colours: None) -> None:
    """Only they: a flow may be named like a status."""
    table, _, failed, ok, *lines = everything_with_a_status(screen=True).splitlines()
    assert "flow_name" in table
    assert re.fullmatch(r"FAIL +\| \x1b\[1;31mFAIL *\x1b\[0m", failed)
    assert re.fullmatch(r"FAIL +\| \x1b\[32mok *\x1b\[0m", ok)
    assert lines[:3] == ["flow    FAIL", "status  \x1b[32mSUCCESS\x1b[0m", "3377-1 \x1b[33mCANCEL\x1b[0m"]
    assert lines[3][9:] == "Node FAIL: \x1b[36mRUNNING\x1b[0m -> \x1b[1;31mFAIL\x1b[0m"


@pytest.mark.parametrize(
    ("screen", "environment"),
    [(False, {}), (True, {"NO_COLOR": "1"}), (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}), (True, {"TERM": "dumb"})],
)
def test_no_colours(screen: bool, environment: dict[str, str], colours: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert "\x1b" not in everything_with_a_status(screen=screen)


def test_colours_in_a_pipe_where_they_are_asked_for(colours: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert everything_with_a_status(screen=False).count("\x1b[1;31mFAIL") == 2


def test_a_colour_of_the_gateways_own_is_taken_away(colours: None) -> None:
    terminal, _, notes = streams(screen=True)
    terminal.info("Node %s: %s", "\x1b[31mred\x1b[2J", "FAIL")
    assert notes.getvalue()[9:] == "Node red: \x1b[1;31mFAIL\x1b[0m\n"


def test_markup_and_control_characters_are_text() -> None:
    terminal, out, _ = streams()
    terminal.table(("name",), [("[bold]a[/b] :smile: \x1b[31m\n",)])
    assert out.getvalue().splitlines()[2] == "[bold]a[/b] :smile:"


def test_a_note_takes_the_place_of_an_empty_table() -> None:
    terminal, out, notes = streams()
    terminal.table(("flow_id", "flow_name"), [], empty="There is no flow.")
    assert (out.getvalue(), notes.getvalue()) == ("", "There is no flow.\n")


def test_json_is_safe_on_a_terminal_and_exact_for_a_program() -> None:
    terminal, out, _ = streams()
    text = "\x1b[31m\x7f\x9b\u202e读\ud800"
    terminal.json({"name": text})
    assert out.getvalue().isascii()
    assert "\x1b" not in out.getvalue()
    assert "\x7f" not in out.getvalue()
    assert json.loads(out.getvalue()) == {"name": text}


def test_progress_is_for_a_screen() -> None:
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
