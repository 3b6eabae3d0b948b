"""The directories that hold the flows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol.models.fields import Fields, many

_DEEPEST = 100
"""Levels of a tree that are read: more than any real tree has, fewer than raise a ``RecursionError``."""


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory, or a flow in one (page "List Workflow Directories").

    ``key``: the id of the directory, or the ``flow_id`` in digits.
    """

    key: str
    title: str
    is_directory: bool
    editable: bool
    type: int | None
    children: tuple[Directory, ...]
    flow_id: int | None
    """The id of the flow; None for a directory."""

    def __str__(self) -> str:
        return f"{self.title} ({self.key})"

    @classmethod
    def parse(cls, data: object, level: int = 0) -> Directory:
        if level == _DEEPEST:
            raise EnosReplyError(f"directory: children: expected at most {_DEEPEST} levels, got more")
        fields = Fields(data, "directory")
        children = fields.any("children")
        is_directory = children is not None if fields.any("isDirectory") is None else fields.flag("isDirectory")
        return cls(
            key=fields.text("key"),
            title=fields.text("title", ""),
            is_directory=is_directory,
            editable=fields.flag("editable"),
            type=fields.number("type", None),
            children=tuple(cls.parse(child, level + 1) for child in fields.list("children")) if children else (),
            flow_id=None if is_directory else fields.number("key"),
        )

    def walk(self) -> Iterator[Directory]:
        """Yield this directory and everything below it, parents before their children."""
        yield self
        for child in self.children:
            yield from child.walk()


def directories_of(data: object) -> tuple[Directory, ...]:
    """Return the trees in the reply of List Workflow Directories; usually there is one."""
    return tuple(Directory.parse(item) for item in many(data, "directories"))
