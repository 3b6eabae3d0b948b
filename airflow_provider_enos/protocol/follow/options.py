"""Choices and defaults of the waits' arguments. It imports nothing, since each DAG file that is parsed needs it."""

from __future__ import annotations

from typing import Literal

TaskLogs = Literal["failed", "all", "none"]
"""Which logs are shown: the last lines of failed nodes, the whole log of each node as it grows, or none."""

OnEnded = Literal["fail", "skip", "succeed"]
"""How a task that cancels an instance ends if the instance has ended by itself."""

Instances = Literal["all", "any", "latest"]
"""Which of the instances in a window have to end well."""

DEFAULT_ALLOWED = ("SUCCESS",)
DEFAULT_FAILED = ("FAIL", "INTERNAL_ERROR", "TIMEOUT", "CANCEL")
DEFAULT_SKIPPED = ("SKIP",)

PERIODIC = 1
"""The type under which List Flow Instances has what EnOS's schedule starts."""
