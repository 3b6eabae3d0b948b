"""The part of a logger that waits use."""

from __future__ import annotations

from typing import Any, Protocol


class Log(Protocol):
    """The part of a logger that is used here."""

    def info(self, message: str, /, *args: Any) -> Any: ...

    def warning(self, message: str, /, *args: Any) -> Any: ...

    def error(self, message: str, /, *args: Any) -> Any: ...
