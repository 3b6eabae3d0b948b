"""Find and read the definition of a flow when a DAG file is parsed."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol.flow_definition import FlowDefinition
from airflow_provider_enos.protocol.text import shown

_ACCEPTED = "a file that airflow enos export FLOW -o FILE has written, relative to the file that makes the group"
_PACKAGE = str(Path(__file__).parent.parent)
_LARGEST = 16 * 2**20


def read_definition(definition: Any) -> tuple[FlowDefinition, str | None]:
    """Return the definition, and the path of its file; None for a dict.

    :param definition: a path, relative to the file that calls this package; or the same as a dict.
    :raises EnosConfigError: it cannot be read.
    """
    if isinstance(definition, Mapping):
        return FlowDefinition.from_json(definition, "definition"), None
    if not isinstance(definition, (str, os.PathLike)):
        raise EnosConfigError("definition", shown(definition), accepted=f"{_ACCEPTED}; or a dict")
    path = _folder_of_caller() / Path(os.fspath(definition))
    try:
        if path.stat().st_size > _LARGEST:
            raise EnosConfigError("definition", f"{path} has more than {_LARGEST >> 20} MiB", accepted=_ACCEPTED)
        text = path.read_bytes()
    except OSError as error:
        raise EnosConfigError("definition", f"{path}: {error.strerror or error}", accepted=_ACCEPTED) from None
    return FlowDefinition.from_text(text, str(path)), str(path)


def _folder_of_caller() -> Path:
    """Return the folder of the file that calls this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return Path(frame.f_code.co_filename).resolve().parent
