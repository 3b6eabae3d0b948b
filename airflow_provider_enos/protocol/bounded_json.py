"""Reading JSON that a gateway sends, at a cost that is known beforehand.

One call of Python's JSON reader lets no other thread run before it has ended: 30 MiB of empty lists would stop a
triggerer, or Airflow's API server, for seconds. So what makes it slow is counted first, in small steps, and a text that
has too much of it is refused. Some fields of a reply, such as ``graph``, are themselves texts of JSON: each of them is
counted when it is read, and all of them share what the reply may have in lists and objects.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from airflow_provider_enos.errors import EnosReplyError


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a reply is read. At these numbers one call of the JSON reader takes some tens of milliseconds."""

    size: int = 12 * 2**20
    """Bytes of the reply, decompressed. A list of 50 instances with 500 nodes each has some 7 MiB."""
    escapes: int = 2_000_000
    """Backslashes in one text of JSON. A log of 2^20 characters has half as many at the most."""
    values: int = 150_000
    """Commas in one text of JSON, outside of strings: about as many as it has values."""
    containers: int = 100_000
    """Lists and objects in the reply and in all texts of JSON that are read from it."""


LIMITS = Limits()
"""For processes that serve many at once, such as the triggerer."""
LIMITS_OF_A_TASK = Limits(size=32 * 2**20, escapes=5_000_000)
"""For a process that has one task: a log of 2^22 characters may take 24 MiB."""
LIMITS_OF_A_PAGE = Limits(size=7 * 2**20, escapes=1_200_000, values=60_000, containers=25_000)
"""For Airflow's API server. A log of 2^20 characters takes 6 MiB at the most; a picture needs far less."""

_STEP = 2**16
_DEEPEST = 300
_LONGEST_NUMBER = 100
"""Characters. Python takes its time over long ones."""
_SHORT, _FEW = 8192, _DEEPEST
"""Bytes and brackets of a text that needs no closer look."""
_BRACKETS = b"[]{}"
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))
_DEEPER = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class TooMuchJson(EnosReplyError):
    """A text of JSON has more of something than is read."""


class Budget:
    """What may still be read of one reply."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._containers = limits.containers
        # Of their own, so that a graph which is too large does not take the parameters with it.
        self._for_short_texts = limits.containers // 4

    def loads(self, text: str | bytes | bytearray) -> Any:
        """Return what ``text`` means. Raises ``TooMuchJson``, and what ``json.loads`` raises."""
        self._take(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
        decoded = text if isinstance(text, str) else text.decode("utf-8-sig")
        return json.loads(decoded, parse_int=_int, parse_float=_float)

    def _take(self, text: bytes | bytearray) -> None:
        if len(text) <= _SHORT:
            few = text.count(b"[") + text.count(b"{")
            if few <= min(_FEW, self._for_short_texts):
                self._for_short_texts -= few
                return
        escapes = values = containers = depth = 0
        for escapes_here, outside in _outside_strings(text):
            escapes += escapes_here
            values += outside.count(b",")
            brackets = outside.translate(None, _OTHERS)
            containers += brackets.count(b"[") + brackets.count(b"{")
            self._check(escapes, values, containers)
            levels = list(accumulate((_DEEPER[one] for one in brackets), initial=depth))
            if max(levels) > _DEEPEST:
                raise TooMuchJson(f"its lists and objects are nested more than {_DEEPEST} deep")
            depth = levels[-1]
        self._containers -= containers

    def _check(self, escapes: int, values: int, containers: int) -> None:
        if containers > self._containers:
            raise TooMuchJson(f"it has more than {self._limits.containers:,} lists and objects")
        if values > self._limits.values:
            raise TooMuchJson(f"it has more than {self._limits.values:,} values")
        if escapes > self._limits.escapes:
            raise TooMuchJson(f"it has more than {self._limits.escapes:,} backslashes")


_budget: ContextVar[Budget] = ContextVar("enos_json_budget")


@contextmanager
def within(limits: Limits) -> Iterator[None]:
    """Have ``loads`` read no more than this in all, as long as the context lasts."""
    token = _budget.set(Budget(limits))
    try:
        yield
    finally:
        _budget.reset(token)


def loads(text: str | bytes | bytearray) -> Any:
    """Return what ``text`` means, within what is left of the reply's budget, or within ``LIMITS`` where there is none.

    Raises ``TooMuchJson``, and what ``json.loads`` raises.
    """
    return (_budget.get(None) or Budget(LIMITS)).loads(text)


def _outside_strings(text: bytes | bytearray) -> Iterator[tuple[int, bytes]]:
    """Yield ``text`` in steps: how many backslashes a step has, and what of it is outside of strings.

    What is no JSON may be taken for something else, but only behind the place where the JSON reader stops.
    """
    start, in_string = 0, False
    while start < len(text):
        step = text[start : start + _STEP]
        if (len(step) - len(step.rstrip(b"\\"))) % 2:
            # It would end within an escape.
            step = text[start : start + _STEP + 1]
        start += len(step)
        parts = step.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        yield step.count(b"\\"), b"".join(parts[in_string::2])
        in_string ^= len(parts) % 2 == 0


def _int(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise TooMuchJson(f"it has a number of more than {_LONGEST_NUMBER} characters")
    return int(digits)


def _float(digits: str) -> float:
    if len(digits) > _LONGEST_NUMBER:
        raise TooMuchJson(f"it has a number of more than {_LONGEST_NUMBER} characters")
    return float(digits)
