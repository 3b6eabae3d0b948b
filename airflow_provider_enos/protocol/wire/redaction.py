"""Hiding secrets in a text that repeats them, however it spells them.

A text and a secret are compared by their ASCII letters and digits alone, in lower case, after escapes are undone. So it
does not matter which signs an encoding spells otherwise, nor in which order encodings were applied. Base64 and hex are
decoded and looked into. A piece of a secret counts as much as the whole from eight letters and digits on.
"""

from __future__ import annotations

import base64
import html
import json
import re
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from urllib.parse import quote

LONGEST = 2048
"""Characters that are looked at; what comes after them is dropped."""
_RUN = 8
"""So many letters and digits of a secret in a row are hidden."""
_CUT = 4
"""The same where a text is cut off."""
_ROUNDS = 12
_DEPTH = 2
"""How often base64 or hex is looked into that is inside another one."""

_ESCAPE = re.compile(
    # However often it was escaped in the same way, it is undone in one step.
    r"%(?:25)*(?P<percent>[0-9a-f]{2})"
    r"|&(?:amp;)*(?P<entity>\#x[0-9a-f]{1,6}|\#[0-9]{1,7}|[a-z][a-z0-9]{1,30});"
    r"|\\+(?:u(?P<unicode>[0-9a-f]{4})|x(?P<byte>[0-9a-f]{2})|(?P<letter>[^\x00-\x1f\x7f-\x9f]))"
    # Colours of a terminal, and what is not printed, a line's end too: it may stand between any two letters.
    r"|(?P<unprinted>(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+)",
    re.IGNORECASE,
)
_UNPRINTED = frozenset("abfnrtv0")
"""What stands behind a backslash for a character that is not printed."""
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{11,}")
_HEX = re.compile(r"[0-9A-Fa-f]{16,}")
Unpack = Callable[[str], Iterator[str]]
_NO_SIGNS = re.compile(r"[^a-z0-9]+")
_TOKEN_FIELD = re.compile(
    r"""(?:access[_-]?token["']?\s*[:=]\s*["']?|["']token["']\s*:\s*["']?)(?P<value>[^"',\s}]+)""", re.IGNORECASE
)
"""A token in a reply that was not understood: nobody knows it yet, so it is in no list of secrets."""


def hide(text: str, secrets: Iterable[str], *, token_fields: bool = False) -> str:
    """Return the first ``LONGEST`` characters of ``text`` with ``***`` in place of each secret, or a piece of one.

    :param token_fields: hide the values of fields that are named like an access token, too.
    """
    text = text[:LONGEST]
    known = [secret for secret in secrets if secret]
    hidden = bytearray(len(text))
    for start, end in _literal(text, known):
        hidden[start:end] = b"\1" * (end - start)
    plain = _Plain(text)
    for start, end in (*plain.found(_Needles(known), _DEPTH), *plain.tokens(token_fields)):
        hidden[start:end] = b"\1" * (end - start)
    groups = groupby(zip(text, hidden, strict=True), key=lambda pair: pair[1])
    return "".join("***" if mark else "".join(letter for letter, _ in pairs) for mark, pairs in groups)


def holds(text: str, secret: str) -> bool:
    """Return whether ``text`` has all of ``secret`` in it; one of a few letters may be there by chance, and is not."""
    letters = _Plain(secret[:LONGEST]).letters
    return len(letters) >= _RUN and letters in _Plain(text[:LONGEST]).letters


def _literal(text: str, secrets: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Where a secret stands as it is, or as JSON, Python or a URL writes it: short ones, and those of other letters."""
    for secret in secrets:
        as_json = (json.dumps(secret, ensure_ascii=escaped)[1:-1] for escaped in (True, False))
        for spelling in dict.fromkeys((secret, *as_json, repr(secret)[1:-1], quote(secret, safe="", errors="replace"))):
            yield from (found.span() for found in re.finditer(re.escape(spelling), text, re.IGNORECASE))


class _Needles:
    """What is looked for: the letters and digits of each secret, and all pieces of them that count."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self.whole = [letters for secret in secrets if len(letters := _Plain(secret).letters) >= _RUN]
        self.pieces = {one[at : at + _RUN] for one in self.whole for at in range(len(one) - _RUN + 1)}


class _Plain:
    """A text with its escapes undone, which knows for each character what of the text it came of."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = list(range(len(text)))
        self._ends = list(range(1, len(text) + 1))
        for _ in range(_ROUNDS):
            if not self._unescape():
                break
        lower = self._text.lower() if self._text.isascii() else "".join(map(_lower, self._text))
        self._places = [place for place, letter in enumerate(lower) if letter.isascii() and letter.isalnum()]
        self.letters = _NO_SIGNS.sub("", lower)

    def _unescape(self) -> bool:
        pieces: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        done = 0
        for found in _ESCAPE.finditer(self._text):
            meant = _meant(found)
            if meant is None:
                continue
            first, end = found.span()
            pieces += (self._text[done:first], meant)
            starts += self._starts[done:first] + [self._starts[first]] * len(meant)
            ends += self._ends[done:first] + [self._ends[end - 1]] * len(meant)
            done = end
        if not done:
            return False
        self._text = "".join(pieces) + self._text[done:]
        self._starts = starts + self._starts[done:]
        self._ends = ends + self._ends[done:]
        return True

    def found(self, needles: _Needles, depth: int) -> Iterator[tuple[int, int]]:
        """Where the text has something of a secret."""
        if not needles.whole:
            return
        for at in range(len(self.letters) - _RUN + 1):
            if self.letters[at : at + _RUN] in needles.pieces:
                yield self._span(self._places[at], self._places[at + _RUN - 1] + 1)
        yield from self._cut_off(needles)
        if depth:
            yield from self._packed(_BASE64, _from_base64, needles, depth - 1)
            yield from self._packed(_HEX, _from_hex, needles, depth - 1)

    def _cut_off(self, needles: _Needles) -> Iterator[tuple[int, int]]:
        """Where the text ends within a secret."""
        for cut in {found.start() for found in re.finditer("…", self._text)} | {len(self._text)}:
            before = bisect_left(self._places, cut)
            for length in range(_CUT, _RUN):
                if self.letters.endswith(tuple(one[:length] for one in needles.whole), 0, before):
                    yield self._span(self._places[before - length], self._places[before - 1] + 1)

    def _packed(
        self, pattern: re.Pattern[str], unpack: Unpack, needles: _Needles, depth: int
    ) -> Iterator[tuple[int, int]]:
        """Where there is Base64 or hex with a secret in it."""
        spans = [found.span() for found in pattern.finditer(self._text)]
        unpacked = [list(unpack(self._text[first:end])) for first, end in spans]
        # All at once, since as a rule there is nothing in any of them.
        if any(any(_Plain("\n".join(ways)).found(needles, depth)) for ways in zip(*unpacked, strict=True)):
            for span, ways in zip(spans, unpacked, strict=True):
                if any(any(_Plain(way).found(needles, depth)) for way in ways):
                    yield self._span(*span)

    def tokens(self, wanted: bool) -> Iterator[tuple[int, int]]:
        """Where the values of fields stand that are named like an access token."""
        if wanted:
            yield from (self._span(*found.span("value")) for found in _TOKEN_FIELD.finditer(self._text))

    def _span(self, first: int, end: int) -> tuple[int, int]:
        return self._starts[first], self._ends[end - 1]


def _lower(letter: str) -> str:
    # That of some letters is longer than one.
    return letter.lower() if letter.isascii() else "\x80"


def _meant(found: re.Match[str]) -> str | None:
    """What an escape stands for; None where it is none."""
    if entity := found["entity"]:
        if entity.startswith("#"):
            # Not by html.unescape, which drops those that HTML forbids.
            number = int(entity[2:], 16) if entity[1] in "xX" else int(entity[1:])
            return chr(number) if number <= sys.maxunicode else ""
        meant = html.unescape(f"&{entity};")
        return None if len(meant) > 2 else meant
    if digits := found["percent"] or found["unicode"] or found["byte"]:
        return chr(int(digits, 16))
    letter = found["letter"] or ""
    return "" if letter.lower() in _UNPRINTED else letter


def _from_base64(text: str) -> Iterator[str]:
    """What it may stand for: where it begins is not known, since the front may be cut off."""
    standard = text.translate({ord("-"): "+", ord("_"): "/"})
    for skipped in range(4):
        piece = standard[skipped:]
        # One letter alone stands for nothing.
        piece = piece[:-1] if len(piece) % 4 == 1 else piece
        yield base64.b64decode(piece + "=" * (-len(piece) % 4)).decode("latin-1")


def _from_hex(text: str) -> Iterator[str]:
    for skipped in range(2):
        piece = text[skipped:]
        yield bytes.fromhex(piece[: len(piece) // 2 * 2]).decode("latin-1")
