"""The type of the loggers that this package writes to."""

from __future__ import annotations

from typing import Any, Protocol


class Log(Protocol):
    """The methods of a logger that this package uses."""

    def info(self, message: str, /, *args: Any) -> Any: ...

    def warning(self, message: str, /, *args: Any) -> Any: ...

    def error(self, message: str, /, *args: Any) -> Any: ...
