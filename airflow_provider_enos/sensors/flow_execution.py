"""Run ``EnosFlowSensor`` in a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.errors import EnosError, EnosEventError, EnosFlowFailedError
from airflow_provider_enos.links.enos import push_instance
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.follow.window_rules import Rules, Verdict
from airflow_provider_enos.protocol.follow.window_wait import Wanted, WindowWatch
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.names import Choice
from airflow_provider_enos.sensors.execution import SensorExecution
from airflow_provider_enos.triggers.enos import EnosFlowTrigger
from airflow_provider_enos.utils.outlets import describe_outlets
from airflow_provider_enos.utils.task_end import end_as, link_of
from airflow_provider_enos.utils.trigger_events import WindowEvent
from airflow_provider_enos.version_compat import AirflowSkipException

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowInstance
    from airflow_provider_enos.sensors.sensor_arguments import SensorArguments
    from airflow_provider_enos.version_compat import Context


@dataclass(frozen=True)
class WindowArguments:
    """The rendered arguments of the sensor that say what it waits for."""

    flow_id: Any
    flow_name: Any
    window_start: Any
    window_end: Any
    window_shift: float
    rules: Rules
    check_existence: bool

    def wanted(self, window: Window | None = None, found_id: int | None = None) -> Wanted:
        """Return what to wait for. Raise ``EnosConfigError`` if an argument cannot work.

        :param window: in place of the window that the arguments make.
        :param found_id: the flow that was found by its name.
        """
        flow = Choice.of(self.flow_id, self.flow_name, "flow")
        window = window or Window.between(self.window_start, self.window_end, shift=self.window_shift)
        return Wanted(flow.id if flow.name is None else found_id, window, self.rules, flow.name)


class FlowExecution(SensorExecution[WindowWatch, Verdict]):
    """Wait for the instances of a flow in a window of trigger times."""

    def __init__(self, sensor: SensorArguments, context: Context, given: WindowArguments) -> None:
        super().__init__(sensor, context)
        self._given = given

    @property
    def flow_id(self) -> int | None:
        """The flow, as far as it is known."""
        return None if self._watch is None else self._watch.wanted.flow_id

    def _new_watch(self) -> WindowWatch:
        return self._watch_of(self._given.wanted())

    def _watch_after(self, payload: object) -> tuple[WindowWatch, EnosError | None]:
        event = WindowEvent.of(payload)
        if event.window is None:
            raise event.error or EnosEventError("the trigger's event has no window")
        # The window with which the wait began: by now, templates may render to another one.
        watch = self._watch_of(self._given.wanted(event.window, event.flow_id))
        watch.was_told(event.told)
        return watch, event.error

    def _watch_of(self, wanted: Wanted) -> WindowWatch:
        return WindowWatch(
            wanted,
            tolerance=self._sensor.poll_error_tolerance,
            log=self._log,
            check_existence=self._given.check_existence,
            gives_up=not self._sensor.silent_fail,
        )

    def _trigger(self, watch: WindowWatch, deadline: float) -> EnosFlowTrigger:
        start, end = watch.wanted.window.bounds
        wanted = watch.wanted
        given = {**self._sensor.trigger_arguments, "check_existence": watch.checks_flow, "told": watch.told or None}
        # The trigger has to look for the name if the worker's one look could not.
        flow_name = wanted.flow_name if wanted.flow_id is None else None
        return EnosFlowTrigger(
            wanted.flow_id, start, end, flow_name=flow_name, deadline=deadline, known=watch.known, **given
        )

    def _end(self, watch: WindowWatch, seen: Verdict) -> list[str]:
        first, *others = seen.instances
        # After a success the last instance is reported, otherwise the one that decides.
        reported = seen.instances[-1] if seen.outcome is Outcome.SUCCEEDED else first
        reported_id = reported.flow_instance_id
        self.reported_ids = (*(one for one in seen.ids if one != reported_id), reported_id)
        link = link_of(self._hook, reported_id)
        push_instance(self._ti, reported_id, link, do_xcom_push=self._sensor.do_xcom_push)
        if seen.outcome is Outcome.SKIPPED:
            raise AirflowSkipException(_why_skipped(first))
        if seen.outcome is Outcome.FAILED:
            for other in others:
                self._log.error("Flow instance %s, too: %s", other.flow_instance_id, str(other.status))
            self._fail(first)
        if self._sensor.task_logs == "all":
            self._show_logs(seen)
        describe_outlets(self._sensor, self._context, self._hook.client.run, reported_id)
        return seen.ids

    def _fail(self, instance: FlowInstance) -> None:
        if instance.status.outcome in (Outcome.FAILED, Outcome.CANCELLED):
            end_as(instance, self._hook, task_logs=self._sensor.task_logs, log=self._log)
        raise EnosFlowFailedError(
            f"flow {instance.flow_id}: instance {instance.flow_instance_id} has status {instance.status}, "
            "which is one of failed_statuses",
            flow_instance_id=instance.flow_instance_id,
            status=str(instance.status),
        )

    def _show_logs(self, verdict: Verdict) -> None:
        for listed in verdict.instances:
            try:
                instance = self._hook.run(calls.get_flow_instance(listed.flow_instance_id))
            except EnosError as error:
                # A success does not become a failure because its logs cannot be read.
                self._log.warning("Cannot read %s, so its logs are not shown: %s", listed.flow_instance_id, error)
                continue
            if instance.status.outcome is Outcome.SUCCEEDED:
                end_as(instance, self._hook, task_logs=self._sensor.task_logs, log=self._log)


def _why_skipped(instance: FlowInstance) -> str:
    if instance.status.outcome is Outcome.SKIPPED:
        return f"flow instance {instance.flow_instance_id} was skipped in EnOS"
    return f"flow instance {instance.flow_instance_id} has status {instance.status}, one of skipped_statuses"
