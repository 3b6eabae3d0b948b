"""Hide secrets in a text that repeats them, however it spells them.

Escapes are undone; then text and secret are compared by their ASCII letters and digits alone, in lower case. So it does
not matter which other characters an encoding changes, nor in which order encodings were applied. Base64 and hex are
decoded and searched too. A piece of a secret is hidden like the whole if it has eight or more letters and digits.
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
"""Characters of a text that are searched; the rest is dropped."""
_RUN = 8
"""A piece of a secret with this many letters and digits in a row, or more, is hidden."""
_CUT = 4
"""The same at the end of a text that was cut off."""
_ROUNDS = 12
_DEPTH = 2
"""Levels of base64 or hex within each other that are decoded."""

_ESCAPE = re.compile(
    # A character that was escaped several times in the same way is read in one step.
    r"%(?:25)*(?P<percent>[0-9a-f]{2})"
    r"|&(?:amp;)*(?P<entity>\#x[0-9a-f]{1,6}|\#[0-9]{1,7}|[a-z][a-z0-9]{1,30});"
    r"|\\+(?:u(?P<unicode>[0-9a-f]{4})|x(?P<byte>[0-9a-f]{2})|(?P<letter>[^\x00-\x1f\x7f-\x9f]))"
    # Colours of a terminal and unprinted characters, line ends included: they may be between any two letters.
    r"|(?P<unprinted>(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+)",
    re.IGNORECASE,
)
_UNPRINTED = frozenset("abfnrtv0")
"""Letters that, behind a backslash, stand for an unprinted character."""
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{11,}")
_HEX = re.compile(r"[0-9A-Fa-f]{16,}")
Unpack = Callable[[str], Iterator[str]]
_NO_SIGNS = re.compile(r"[^a-z0-9]+")
_TOKEN_FIELD = re.compile(
    r"""(?:access[_-]?token["']?\s*[:=]\s*["']?|["']token["']\s*:\s*["']?)(?P<value>[^"',\s}]+)""", re.IGNORECASE
)
"""A token in a reply that was not understood. It is not known yet, so no list of secrets has it."""


def hide(text: str, secrets: Iterable[str], *, token_fields: bool = False) -> str:
    """Return the first ``LONGEST`` characters of ``text`` with ``***`` in place of each secret or piece of one.

    :param token_fields: also hide the values of fields whose name is that of an access token.
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
    """Return whether ``text`` contains ``secret``. A secret of less than eight letters and digits never counts."""
    letters = _Plain(secret[:LONGEST]).letters
    return len(letters) >= _RUN and letters in _Plain(text[:LONGEST]).letters


def _literal(text: str, secrets: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield where a secret stands as it is, or as JSON, Python or a URL writes it; also short and non-ASCII ones."""
    for secret in secrets:
        as_json = (json.dumps(secret, ensure_ascii=escaped)[1:-1] for escaped in (True, False))
        for spelling in dict.fromkeys((secret, *as_json, repr(secret)[1:-1], quote(secret, safe="", errors="replace"))):
            yield from (found.span() for found in re.finditer(re.escape(spelling), text, re.IGNORECASE))


class _Needles:
    """The letters and digits of each secret, and all pieces of them that are hidden."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self.whole = [letters for secret in secrets if len(letters := _Plain(secret).letters) >= _RUN]
        self.pieces = {one[at : at + _RUN] for one in self.whole for at in range(len(one) - _RUN + 1)}


class _Plain:
    """A text with its escapes undone, and for each character its place in the original text."""

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
        """Yield where the text has a secret or a piece of one."""
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
        """Yield where the text is cut off within a secret."""
        for cut in {found.start() for found in re.finditer("…", self._text)} | {len(self._text)}:
            before = bisect_left(self._places, cut)
            for length in range(_CUT, _RUN):
                if self.letters.endswith(tuple(one[:length] for one in needles.whole), 0, before):
                    yield self._span(self._places[before - length], self._places[before - 1] + 1)

    def _packed(
        self, pattern: re.Pattern[str], unpack: Unpack, needles: _Needles, depth: int
    ) -> Iterator[tuple[int, int]]:
        """Yield where there is base64 or hex with a secret in it."""
        spans = [found.span() for found in pattern.finditer(self._text)]
        unpacked = [list(unpack(self._text[first:end])) for first, end in spans]
        # All of them at once, since usually none has a secret.
        if any(any(_Plain("\n".join(ways)).found(needles, depth)) for ways in zip(*unpacked, strict=True)):
            for span, ways in zip(spans, unpacked, strict=True):
                if any(any(_Plain(way).found(needles, depth)) for way in ways):
                    yield self._span(*span)

    def tokens(self, wanted: bool) -> Iterator[tuple[int, int]]:
        """Yield where fields that are named like an access token have their values."""
        if wanted:
            yield from (self._span(*found.span("value")) for found in _TOKEN_FIELD.finditer(self._text))

    def _span(self, first: int, end: int) -> tuple[int, int]:
        return self._starts[first], self._ends[end - 1]


def _lower(letter: str) -> str:
    # Some letters have two letters in lower case, which would shift the places.
    return letter.lower() if letter.isascii() else "\x80"


def _meant(found: re.Match[str]) -> str | None:
    """Return the character that an escape stands for; None if it is no escape."""
    if entity := found["entity"]:
        if entity.startswith("#"):
            # Not by html.unescape, which drops characters that HTML forbids.
            number = int(entity[2:], 16) if entity[1] in "xX" else int(entity[1:])
            return chr(number) if number <= sys.maxunicode else ""
        meant = html.unescape(f"&{entity};")
        return None if len(meant) > 2 else meant
    if digits := found["percent"] or found["unicode"] or found["byte"]:
        return chr(int(digits, 16))
    letter = found["letter"] or ""
    return "" if letter.lower() in _UNPRINTED else letter


def _from_base64(text: str) -> Iterator[str]:
    """Yield the possible meanings: the beginning may be cut off, so each offset is tried."""
    standard = text.translate({ord("-"): "+", ord("_"): "/"})
    for skipped in range(4):
        piece = standard[skipped:]
        # A single letter encodes nothing.
        piece = piece[:-1] if len(piece) % 4 == 1 else piece
        yield base64.b64decode(piece + "=" * (-len(piece) % 4)).decode("latin-1")


def _from_hex(text: str) -> Iterator[str]:
    for skipped in range(2):
        piece = text[skipped:]
        yield bytes.fromhex(piece[: len(piece) // 2 * 2]).decode("latin-1")
