"""Answers to the questions of a survey. What cannot be told is unknown, with the reason, and never guessed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from airflow_provider_enos.protocol.wire.messages import Exchange

ENDED_LONG_AGO = "20000101000000"
"""The end of an id that no instance has."""
NO_RUN = "only a run tells: see --trigger"
NO_INSTANCE = "there is no instance to look at"
NO_FLOW = "there is no flow to look at"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway does.

    :param value: the value of the simulator's switch; None if it is unknown, or if there is no switch for it.
    :param said: in words; empty where the question's ``says`` has the words for ``value``.
    """

    value: Any = None
    said: str = ""


Asked: TypeAlias = Exchange[Answer]
"""The steps that ask a question."""


def unknown(why: str) -> Answer:
    """Return the answer for what cannot be told."""
    return Answer(None, f"unknown: {why}")


def agreed(values: Iterable[Any], why_none: str) -> Answer:
    """Return the value that all places have; unknown if there is none, or if they differ."""
    found = list(dict.fromkeys(value for value in values if value is not None))
    if len(found) == 1:
        return Answer(found[0])
    return unknown(f"it differs from place to place ({', '.join(map(str, found))})" if found else why_none)


def form(value: object, forms: Mapping[str, str]) -> str | None:
    """Return the form of a value, by the name of its type; None for another type."""
    return forms.get(type(value).__name__)
