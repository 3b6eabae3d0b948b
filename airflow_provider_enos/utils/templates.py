"""Recognize arguments whose value is known only when the task runs: templates, and other tasks' outputs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from airflow_provider_enos.protocol.arguments import TEMPLATE_MARKS, is_template
from airflow_provider_enos.version_compat import literal

_DELIMITERS = ("variable_start_string", "block_start_string", "comment_start_string", "line_statement_prefix")
_LiteralValue = type(literal(None))


def marks_of(dag: Any) -> tuple[str, ...]:
    """Return the texts that begin a template in this DAG, which may define its own delimiters."""
    own = getattr(dag, "jinja_environment_kwargs", None) or {}
    return (*TEMPLATE_MARKS, *(own[name] for name in _DELIMITERS if own.get(name)))


def is_rendered_later(value: object, marks: Iterable[str] = TEMPLATE_MARKS) -> bool:
    """Return whether Airflow replaces ``value`` when the task runs.

    It replaces templates, functions, and what resolves to a value, such as another task's output.
    """
    if isinstance(value, str):
        return any(mark in value for mark in marks)
    if is_literal(value) or isinstance(value, (os.PathLike, type)):
        return False
    return hasattr(value, "resolve") or callable(value)


def is_literal(value: object) -> bool:
    """Return whether ``value`` is a ``literal()``, whose text Airflow does not render."""
    return isinstance(value, _LiteralValue)


def known_part(value: Any, marks: Iterable[str] = TEMPLATE_MARKS) -> Any:
    """Return ``value`` as far as it is known: a literal's value; a mapping with empty texts in place of templates."""
    if isinstance(value, Mapping):
        return {name: "" if is_rendered_later(one, marks) else _plain(one) for name, one in value.items()}
    return _plain(value)


def _plain(value: Any) -> Any:
    return value.value if is_literal(value) else value


def is_mapped(task: Any) -> bool:
    """Return whether a DAG run may have several instances of ``task``: it is mapped, or a task group around it is."""
    return bool(getattr(task, "is_mapped", False)) or task.get_closest_mapped_task_group() is not None


def can_be_rendered_by_trigger(value: Any) -> bool:
    """Return whether a task that starts in the triggerer can get ``value`` there.

    A trigger can render templates. It can resolve neither outputs of mapped tasks nor expressions made of outputs.
    """
    if not is_rendered_later(value):
        return True
    source = _output_of(value)
    return is_template(value) or (source is not None and not is_mapped(source[0]))


def for_trigger(value: Any) -> Any:
    """Return ``value`` as an argument of a trigger, in JSON: another task's output becomes a template."""
    value = known_part(value)
    source = _output_of(value)
    if source is not None:
        task, key = source
        return f"{{{{ ti.xcom_pull(task_ids={task.task_id!r}, key={key!r}, map_indexes=-1) }}}}"
    if value is None:
        return None
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _output_of(value: Any) -> tuple[Any, str] | None:
    """Return task and key if ``value`` is nothing but another task's output."""
    task, key = getattr(value, "operator", None), getattr(value, "key", None)
    return None if task is None or key is None else (task, key)
