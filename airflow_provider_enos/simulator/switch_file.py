"""Switches in a file, as the survey of the command line writes it: ``{"switches": {"first_page": 0, ...}}``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from airflow_provider_enos.simulator.wire import parse_object

SwitchesLike = Mapping[str, object] | str | os.PathLike[str]
"""Switches by name, or the path of a file of them."""

_LARGEST_FILE = 2**20


def switches_of(given: SwitchesLike) -> dict[str, object]:
    """Return the switches, unchecked. Raise OSError, and ValueError if the file has none."""
    if isinstance(given, Mapping):
        return dict(given)
    path = Path(given)
    with path.open("rb") as file:
        text = file.read(_LARGEST_FILE + 1)
    try:
        found = parse_object(text)["switches"] if len(text) <= _LARGEST_FILE else None
    except (ValueError, KeyError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no file of switches: give one that airflow enos survey --write has written")
    return found
