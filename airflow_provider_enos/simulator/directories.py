"""The directories that flows lie in: a tree with one root."""

from __future__ import annotations

from dataclasses import dataclass

ROOT = "249a33bd419a4710b1567f5088f8955b"


@dataclass(frozen=True)
class Directory:
    """A directory; its id is 32 hex characters."""

    id: str
    title: str
    parent: str | None
    """None: it is the root."""


ROOT_DIRECTORY = Directory(ROOT, "Workflow", None)
