"""Run ``EnosFlowInstanceSensor`` in a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_enos.links.enos import push_link
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.sensors.execution import SensorExecution
from airflow_provider_enos.triggers.enos import EnosFlowInstanceTrigger
from airflow_provider_enos.utils.outlets import describe_outlets
from airflow_provider_enos.utils.task_end import end_as, link_of, stream_of
from airflow_provider_enos.utils.trigger_events import InstanceEvent

if TYPE_CHECKING:
    from airflow_provider_enos.errors import EnosError
    from airflow_provider_enos.protocol.models import FlowInstance
    from airflow_provider_enos.sensors.sensor_arguments import SensorArguments
    from airflow_provider_enos.version_compat import Context


class FlowInstanceExecution(SensorExecution[InstanceWatch, "FlowInstance"]):
    """Wait for one flow instance.

    :param flow_instance_id: the rendered argument.
    """

    def __init__(self, sensor: SensorArguments, context: Context, flow_instance_id: str) -> None:
        super().__init__(sensor, context)
        self._flow_instance_id = flow_instance_id
        self._has_pushed_link = False

    def _new_watch(self) -> InstanceWatch:
        flow_instance_id = arguments.instance(self._flow_instance_id, "flow_instance_id")
        self._has_pushed_link = self._push_link(flow_instance_id)
        return self._watch_of(flow_instance_id)

    def _watch_after(self, payload: object) -> tuple[InstanceWatch, EnosError | None]:
        event = InstanceEvent.of(payload)
        flow_instance_id = arguments.instance(event.flow_instance_id, "flow_instance_id")
        if not self._sensor.link_may_be_stored:
            self._push_link(flow_instance_id)
        watch = self._watch_of(flow_instance_id, event.logs)
        watch.was_told(event.told)
        return watch, event.error

    def _watch_of(self, flow_instance_id: str, logs: object = None) -> InstanceWatch:
        self.reported_ids = (flow_instance_id,)
        sensor = self._sensor
        return InstanceWatch(
            flow_instance_id,
            tolerance=sensor.poll_error_tolerance,
            log=self._log,
            link=link_of(self._hook, flow_instance_id),
            stream=stream_of(sensor.task_logs, self._log, logs),
            gives_up=not sensor.silent_fail,
        )

    def _trigger(self, watch: InstanceWatch, deadline: float) -> EnosFlowInstanceTrigger:
        return EnosFlowInstanceTrigger(
            watch.flow_instance_id,
            deadline=deadline,
            known=watch.known,
            push_link=not self._has_pushed_link,
            # The task did not start the instance, so it does not cancel it.
            cancel_on_kill=False,
            told=watch.told or None,
            **self._sensor.trigger_arguments,
        )

    def _end(self, watch: InstanceWatch, seen: FlowInstance) -> str:
        end_as(seen, self._hook, task_logs=self._sensor.task_logs, log=self._log, stream=watch.stream)
        describe_outlets(self._sensor, self._context, self._hook.client.run, seen.flow_instance_id, seen)
        return seen.flow_instance_id

    def _push_link(self, flow_instance_id: str) -> bool:
        """Give the task its link; return whether the connection could be read. If not, the triggerer tries again."""
        try:
            push_link(self._ti, self._hook.settings.link(flow_instance_id))
        except Exception as error:  # noqa: BLE001 - whatever Airflow raises: a poll tolerates it, and says why
            self._log.debug("There is no link yet: %s", error)
            return False
        return True
