"""Directories: where flows are filed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol.models.fields import Fields, many

_DEEPEST = 100
"""More levels than any real tree has, and fewer than end in a RecursionError."""


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory, or a flow in one (page "List Workflow Directories").

    ``key`` is the id of a directory, and of a flow its ``flow_id`` in digits.
    """

    key: str
    title: str
    is_directory: bool
    editable: bool
    type: int | None
    children: tuple[Directory, ...]
    flow_id: int | None
    """The flow, where this is one; None for a directory."""

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
        """This and all below it, each before its children."""
        yield self
        for child in self.children:
            yield from child.walk()


def directories_of(data: object) -> tuple[Directory, ...]:
    """The trees in the answer of List Workflow Directories; as a rule there is one."""
    return tuple(Directory.parse(item) for item in many(data, "directories"))
