"""What operators and sensors report to OpenLineage: the EnOS flow and the flow instances of a task.

Only Airflow's OpenLineage provider calls this, in a fork of the worker's process. So OpenLineage is imported when it
calls, and nothing is asked of EnOS or Airflow: only what the task knows already is reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol import arguments

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


class External(NamedTuple):
    """The flow and the flow instances of a task, as far as they are known.

    The names are those by which the task gives flow and node; None where it gives their ids. ``gateway`` is the address
    without credentials. The last of ``flow_instance_ids`` is the run that the task reports.
    """

    flow_id: int | None
    from_task_id: int | None = None
    flow_instance_ids: tuple[str, ...] = ()
    gateway: str | None = None
    flow_name: str | None = None
    from_task_name: str | None = None


class ReportsLineage:
    """The methods that Airflow's OpenLineage provider calls on operators and sensors."""

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Report the flow; the instance is not known yet."""
        return self._lineage()

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any]:
        """Report the flow and its instances."""
        return self._lineage()

    def get_openlineage_facets_on_failure(self, task_instance: object) -> OperatorLineage[Any, Any]:
        """Report the flow, and its instances if there are any."""
        return self._lineage()

    def _external(self) -> External:
        """Return the flow and instances of the task. Send no request, and raise nothing for a wrong argument."""
        raise NotImplementedError

    def _lineage(self) -> OperatorLineage[Any, Any]:
        from airflow_provider_enos.utils.openlineage_facets import lineage_of

        return lineage_of(*self._external())


def label_if_valid(value: object) -> str | None:
    """Return ``value`` as a name; None if it is not one."""
    try:
        return arguments.label_or_none(value, "name")
    except EnosConfigError:
        return None


def number_if_valid(value: object) -> int | None:
    """Return ``value`` as an id; None if it is not one: the task itself raises the error."""
    try:
        return arguments.number(value, "id")
    except EnosConfigError:
        return None
