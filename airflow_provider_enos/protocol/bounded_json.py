"""Read JSON from a gateway within limits, so that no reply stops a whole process.

While Python's JSON reader runs, no other thread does: 30 MiB of empty lists would stop a triggerer, or Airflow's API
server, for seconds. So the parts that make it slow are counted first, in small steps, and a text with too many of them
is refused. Some fields of a reply, such as ``graph``, are JSON texts themselves. Each of them is counted when it is
read, and all of them share one limit of lists and objects with the reply.
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
    """The most that is read of a reply. Within these limits, a call of the JSON reader takes tens of milliseconds."""

    size: int = 12 * 2**20
    """Bytes of the reply, decompressed. A list of 50 instances with 500 nodes each has about 7 MiB."""
    escapes: int = 2_000_000
    """Backslashes in one JSON text. A log of 2^20 characters has at most half as many."""
    values: int = 150_000
    """Commas in one JSON text, outside of strings: about the number of its values."""
    containers: int = 100_000
    """Lists and objects in the reply and in all JSON texts in it."""


LIMITS = Limits()
"""For processes that serve many tasks, such as the triggerer."""
LIMITS_OF_A_TASK = Limits(size=32 * 2**20, escapes=5_000_000)
"""For a process that runs one task. A log of 2^22 characters may take 24 MiB."""
LIMITS_OF_A_PAGE = Limits(size=7 * 2**20, escapes=1_200_000, values=60_000, containers=25_000)
"""For Airflow's API server. A log of 2^20 characters takes at most 6 MiB; a picture needs far less."""

_STEP = 2**16
_DEEPEST = 300
_LONGEST_NUMBER = 100
"""Characters of a number: Python is slow with long ones."""
_SHORT, _FEW = 8192, _DEEPEST
"""A text with at most this many bytes and brackets is not counted in detail."""
_BRACKETS = b"[]{}"
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))
_DEEPER = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class TooMuchJson(EnosReplyError):
    """A JSON text exceeds one of the ``Limits``."""


class Budget:
    """How much may still be read of one reply."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._containers = limits.containers
        # A separate share, so that the parameters are read even if the graph is too large.
        self._for_short_texts = limits.containers // 4

    def loads(self, text: str | bytes | bytearray) -> Any:
        """Return the value of ``text``. Raises ``TooMuchJson``, and what ``json.loads`` raises."""
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
    """Bound everything that ``loads`` reads within this context, taken together."""
    token = _budget.set(Budget(limits))
    try:
        yield
    finally:
        _budget.reset(token)


def loads(text: str | bytes | bytearray) -> Any:
    """Return the value of ``text``, within the rest of the reply's budget, or within ``LIMITS`` outside of ``within``.

    Raises ``TooMuchJson``, and what ``json.loads`` raises.
    """
    return (_budget.get(None) or Budget(LIMITS)).loads(text)


def _outside_strings(text: bytes | bytearray) -> Iterator[tuple[int, bytes]]:
    """Yield ``text`` in steps: how many backslashes a step has, and the part of it that is outside of strings.

    If ``text`` is not JSON, this may be wrong, but only behind the place where the JSON reader stops.
    """
    start, in_string = 0, False
    while start < len(text):
        step = text[start : start + _STEP]
        if (len(step) - len(step.rstrip(b"\\"))) % 2:
            # The step would end within an escape.
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
