"""What operators and sensors tell OpenLineage: the EnOS flow and flow instances that a task stands for.

Only Airflow's OpenLineage provider calls this, in a copy of the worker's process. So nothing of OpenLineage is imported
before, and neither EnOS nor Airflow is asked for anything: it is told what the task has come to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol import arguments

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


@dataclass(frozen=True, slots=True)
class External:
    """What a task stands for in EnOS, as far as it is known.

    ``gateway`` is the address without credentials; the last of ``flow_instance_ids`` is the one that the task reports.
    """

    flow_id: int | None
    from_task_id: int | None = None
    flow_instance_ids: tuple[str, ...] = ()
    gateway: str | None = None


class ReportsLineage:
    """The methods that Airflow's OpenLineage provider looks for in operators and sensors."""

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Names the flow; the instance is not known yet."""
        return self._lineage()

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any]:
        """Names the flow and its instances."""
        return self._lineage()

    def get_openlineage_facets_on_failure(self, task_instance: object) -> OperatorLineage[Any, Any]:
        """Names the flow and, if the task has come so far, its instances."""
        return self._lineage()

    def _external(self) -> External:
        """What the task stands for in EnOS. Asks nobody, and raises nothing for arguments that cannot work."""
        raise NotImplementedError

    def _lineage(self) -> OperatorLineage[Any, Any]:
        from airflow_provider_enos.utils.openlineage_facets import lineage_of

        known = self._external()
        return lineage_of(known.flow_id, known.from_task_id, known.flow_instance_ids, known.gateway)


def number_if_valid(value: object) -> int | None:
    """``value`` as an id; None where it is none, which is the task's to report."""
    try:
        return arguments.number(value, "id")
    except EnosConfigError:
        return None
