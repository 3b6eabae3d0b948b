"""Let tasks begin in the triggerer, without a worker, where Airflow can (3.3 and later)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from airflow_provider_enos.utils.templates import can_be_rendered_by_trigger, for_trigger, is_mapped
from airflow_provider_enos.version_compat import triggers_are_told_of_kills


class StartsInTriggerer:
    """Mix into operators and sensors that can begin in the triggerer."""

    start_trigger_args: Any
    start_from_trigger: bool
    execution_timeout: Any
    outlets: Any

    def _start_in_triggerer(self, trigger: str, templated: Mapping[str, Any], kwargs: Mapping[str, Any]) -> None:
        """Let the scheduler start the task in the triggerer, where Airflow can.

        :param trigger: the path of the trigger's class.
        :param templated: the arguments of the trigger that are template fields of the task.
        :param kwargs: its other arguments.
        """
        from airflow.triggers.base import StartTriggerArgs

        if not triggers_are_told_of_kills() or is_mapped(self):
            return
        if not all(map(can_be_rendered_by_trigger, templated.values())):
            return
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls=trigger,
            trigger_kwargs={
                "deadline": None,
                **kwargs,
                # Airflow registers no asset event for a task that ends in the triggerer.
                "ends_task": kwargs["ends_task"] and not self.outlets,
                **{name: for_trigger(value) for name, value in templated.items()},
            },
            next_method="execute_complete",
            next_kwargs=None,
            timeout=None,
        )
        self.start_from_trigger = True

    def add_outlets(self, outlets: Iterable[Any]) -> None:
        """Add outlets. A task that has some ends in a worker, since Airflow registers no asset event elsewhere."""
        super().add_outlets(outlets)  # type: ignore[misc]
        if self.start_trigger_args is not None and self.start_trigger_args.trigger_kwargs is not None and self.outlets:
            self.start_trigger_args.trigger_kwargs["ends_task"] = False

    @property
    def execution_seconds(self) -> float:
        """The ``execution_timeout`` in seconds; infinite if there is none."""
        return inf if self.execution_timeout is None else float(self.execution_timeout.total_seconds())
