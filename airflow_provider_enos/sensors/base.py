"""The base of the sensors: how they begin to wait, in a worker or in the triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_enos.links.enos import EnosFlowInstanceLink
from airflow_provider_enos.sensors.sensor_arguments import SensorArguments
from airflow_provider_enos.utils.openlineage import ReportsLineage

if TYPE_CHECKING:
    from airflow_provider_enos.sensors.execution import SensorExecution
    from airflow_provider_enos.version_compat import Context, PokeReturnValue


class EnosSensor(SensorArguments, ReportsLineage):
    """The base of the sensors. Each of them says in ``_execution_in`` what it waits for."""

    operator_extra_links = (EnosFlowInstanceLink(),)
    _execution: SensorExecution[Any, Any] | None = None

    def execute(self, context: Context) -> Any:
        """Wait, in the worker or in the triggerer."""
        if self._wants_trigger:
            self.log.info(
                "Airflow cannot start this task in the triggerer (before 3.3, mapped, or with an argument that only a "
                "worker can render): deferring from a worker"
            )
        execution = self._execution = self._execution_in(context)
        execution.set_deadline()
        if self.deferrable:
            return execution.end_or_defer()
        with execution.logging_skips():
            return super().execute(context)

    def execute_complete(
        self, context: Context, event: Any, is_execution_timeout: bool | None = None
    ) -> str | list[str]:
        """Go on after the trigger has fired, and end as without deferral.

        :param is_execution_timeout: whether the trigger's deadline was the ``execution_timeout``; None if the task was
            started in the triggerer.
        """
        # A worker stores one when it defers a task, even if it is empty. A triggerer may store none.
        self.link_may_be_stored = is_execution_timeout is not None
        self._execution = self._execution_in(context)
        return self._execution.resume(event, is_execution_timeout)

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once."""
        if self._execution is None:
            self._execution = self._execution_in(context)
        return self._execution.poke()

    def _execution_in(self, context: Context) -> SensorExecution[Any, Any]:
        """Return what the sensor does in this process, with the rendered arguments."""
        raise NotImplementedError

    def _reported_ids(self) -> tuple[str, ...]:
        """Return the ids of the instances that the task waited for; the last one is reported."""
        return () if self._execution is None else self._execution.reported_ids
