"""What a worker gives to a task, without a database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from airflows import AIRFLOW


def execute(operator: Any, context: dict[str, Any]) -> Any:
    """Execute it as a worker does, in any thread."""
    if AIRFLOW < (3, 0):
        from airflow.models.baseoperator import ExecutorSafeguard

        # Airflow 2 allows execution by a variable that only its main thread has.
        if not hasattr(ExecutorSafeguard._sentinel, "callers"):
            ExecutorSafeguard._sentinel.callers = {}
    return operator.execute(context)


@dataclass
class TaskInstance:
    """The part of Airflow's task instance that the operator uses."""

    try_number: int = 1
    max_tries: int = 0
    xcom: dict[str, Any] = field(default_factory=dict)
    on_push: Callable[[str], None] = lambda key: None
    dag_id: str = "dag"
    task_id: str = "task"
    run_id: str = "run"
    map_index: int = -1

    def xcom_push(self, key: str, value: Any) -> None:
        self.on_push(key)
        self.xcom[key] = value


@dataclass
class StateStore:
    """Airflow 3.3's ``task_state_store``, in memory."""

    values: dict[str, Any] = field(default_factory=dict)
    history: list[Any] = field(default_factory=list)
    broken: bool = False

    def get(self, key: str, default: Any = None) -> Any:
        if self.broken:
            raise RuntimeError("no store today")
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        if self.broken:
            raise RuntimeError("no store today")
        self.values[key] = value
        self.history.append(value)


@dataclass
class Log:
    """A logger that keeps its lines."""

    lines: list[str] = field(default_factory=list)

    def info(self, message: str, *arguments: Any, **_: Any) -> None:
        # Airflow 2 logs the value of an enum, which of a status is a number.
        assert not any(isinstance(argument, Enum) for argument in arguments), f"{message} is given {arguments}"
        self.lines.append(message % arguments)

    warning = error = debug = info
