"""The place in a log up to which it was shown."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.protocol.follow.log_place import Piece, Place, advance


def read(*texts: str, final: bool = False) -> Piece:
    """What the last of these replies brings."""
    piece = Piece([], Place(), is_gap=False)
    for number, text in enumerate(texts, 1):
        piece = advance(piece.place, text, final=final and number == len(texts))
    return piece


@pytest.mark.parametrize(
    ("texts", "lines"),
    [
        (["a\nb\n"], ["a", "b"]),
        (["a\nb"], ["a"]),
        (["a\n", "a\nb\n"], ["b"]),
        (["a\n", "a\n"], []),
        (["a\n", "a\nb"], []),
        (["", "a\n"], ["a"]),
        (["a\nb\n", ""], []),
    ],
)
def test_whole_lines_that_have_come_since(texts: list[str], lines: list[str]) -> None:
    assert (read(*texts).lines, read(*texts).is_gap) == (lines, False)


def test_the_last_line_counts_when_the_log_grows_no_more() -> None:
    assert read("a\n", "a\nb", final=True).lines == ["b"]
    assert read("a\nb", "a\nb", final=True).lines == ["b"]


def test_a_place_that_is_not_found_is_a_gap_and_all_is_shown() -> None:
    assert read("run 1\n", "run 2\nmore\n") == (["run 2", "more"], read("run 2\nmore\n").place, True)


def test_a_log_whose_beginning_is_cut_off_goes_on_where_it_was() -> None:
    lines = [f"line {number}\n" for number in range(200)]
    piece = read("".join(lines[:150]), "".join(lines[80:]))
    assert (piece.lines, piece.is_gap) == ([line.strip() for line in lines[150:]], False)


def test_nothing_new_leaves_the_place_where_it_is() -> None:
    place = read("a\nb\n").place
    assert advance(place, "a\nb\n", final=True).place is place


@given(st.lists(st.text("ab\r\n\t é", max_size=20), max_size=8), st.booleans())
def test_each_line_comes_once(pieces: list[str], final: bool) -> None:
    text, place, shown = "", Place(), list[str]()
    for number, more in enumerate(pieces, 1):
        text += more
        lines, place, is_gap = advance(place, text, final=final and number == len(pieces))
        assert not is_gap
        shown += lines
    whole = text if final else text[: text.rfind("\n") + 1]
    assert shown == whole.splitlines()
