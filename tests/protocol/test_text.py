"""Text and numbers from elsewhere, cleaned and checked."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.protocol import text as text_module
from airflow_provider_enos.protocol.text import clean, excerpt, is_instance_id, shown, tail

FORBIDDEN = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x202E, 0x2066)}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("short", "short"),
        ("a\r\n\tb\x00c", "a b c"),
        ("  a   b  ", "a b"),
        ("\x1b[1mred\x1b[0m", "red"),
        ("\x1b[38;5;1mred\x9b0m", "red"),
        ("\x1b]0;red\x07", "]0;red"),
        ("\x1b[\x1b[mred", "[red"),
        ("exactly 10", "exactly 10"),
        ("more than 10", "more than…"),
        ("a" * 11, "a" * 9 + "…"),
        ("a" + " " * 30 + "b", "a…"),
        ("\u202etxt.exe", "txt.exe"),
        ("a\ud83db", "a b"),
        ("\U0001f600", "\U0001f600"),
    ],
)
def test_excerpt(text: str, shown: str) -> None:
    assert excerpt(text, 10) == shown


@given(st.text(st.characters(), max_size=60), st.integers(1, 30))
def test_excerpt_is_short_and_on_one_line(text: str, length: int) -> None:
    found = excerpt(text, length)
    assert len(found.encode()) >= len(found)
    assert len(found) <= length
    assert not FORBIDDEN & set(found)
    assert found == found.strip()


@given(st.text(min_size=100))
def test_excerpt_says_that_it_was_cut(text: str) -> None:
    if any(not unicodedata.category(char).startswith(("C", "Z")) for char in text):
        assert excerpt(text, 10).endswith("…")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("one\n", "one"),
        ("1\n2\n3\n", "1\n2\n3"),
        ("1\n2\n3\n4", "… 2\n3\n4"),
        ("1\r\n2\r\n\r\n", "1\n2"),
        ("a\tb\x1b[0m", "a b"),
        ("x" * 30, "… " + "x" * 20),
        ("x" * 60, "… " + "x" * 20),
    ],
)
def test_tail(text: str, shown: str) -> None:
    assert tail(text, 3, 20) == shown


def test_a_tail_costs_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that is cut away, which may be megabytes, is not cleaned."""
    cleaned: list[str] = []
    monkeypatch.setattr(text_module, "clean", lambda line: cleaned.append(line) or line)
    assert tail("row\n" * 1_000_000, 3, 20) == "… row\nrow\nrow"
    assert len(cleaned) == 3


@given(st.text(st.characters(), max_size=200), st.integers(1, 5), st.integers(1, 40))
def test_tail_is_short(text: str, lines: int, length: int) -> None:
    found = tail(text, lines, length)
    assert len(found.encode()) >= len(found)
    assert len(found) <= length + 2
    assert len(found.splitlines()) <= lines
    assert not (FORBIDDEN - {"\n"}) & set(found)


@pytest.mark.parametrize("text", ["3377-20200706062600", "a", "0", "a_B.c:d-1", "x" * 200, "none"])
def test_instance_id(text: str) -> None:
    assert is_instance_id(text)


@pytest.mark.parametrize(
    "text", ["", " ", "None", "a b", "a/b", "a&b", "-1", "a\n", "\na", "ä", "\ud83d", "a\udc80", "x" * 201, "{{ x }}"]
)
def test_no_instance_id(text: str) -> None:
    assert not is_instance_id(text)


FOLDS = ["::group::", "::endgroup::", "##[group]", "##[endgroup]"]


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("text", ["{0}", "x {0} y", "{0}{0}", ":{0}:", "a{0}b ::group{0}"])
def test_nothing_folds_the_log_page(fold: str, text: str) -> None:
    hostile = text.format(fold)
    for cleaned in (clean(hostile), excerpt(hostile), tail(hostile, 5, 200)):
        assert not [one for one in FOLDS if one in cleaned]
        assert "group" in cleaned


@pytest.mark.parametrize("line", ["std::vector", "::groupby::x", "a:group:b", "    indented", "[group]"])
def test_clean_leaves_the_rest_as_it_is(line: str) -> None:
    assert clean(line) == line


@given(st.text(st.sampled_from(":#[]groupend\x00\n"), max_size=60))
def test_any_text_folds_nothing(text: str) -> None:
    for cleaned in (clean(text), excerpt(text, 30), tail(text, 5, 30)):
        assert not [one for one in FOLDS if one in cleaned]


@pytest.mark.parametrize(
    "value", ["x" * 10_000_000, ["x" * 5_000_000] * 9, [[[[["x"] * 9] * 9] * 9] * 9] * 1_000, {"a": [0] * 1_000_000}]
)
def test_no_time_is_lost_on_a_large_value(value: object) -> None:
    begun = time.thread_time()
    assert len(shown(value)) <= 80
    assert time.thread_time() - begun < 0.1
