"""Modules that are imported when they are first used: DAG files are parsed all day, and need none of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class LazyModule:
    """Stand in for a module until something of it is needed. To be written beside the import for type checkers::

    if TYPE_CHECKING:
        from airflow_provider_enos.protocol.wire import calls
    else:
        calls = LazyModule("airflow_provider_enos.protocol.wire.calls")
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)
