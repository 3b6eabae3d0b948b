"""All that the simulated EnOS holds: flows, directories, their instances, and the user's account."""

from __future__ import annotations

import threading

from airflow_provider_enos.simulator.catalog import Catalog
from airflow_provider_enos.simulator.config import Config
from airflow_provider_enos.simulator.instance_store import InstanceStore
from airflow_provider_enos.simulator.schedules import ScheduleRunner


class ReliedOn(ValueError):
    """Other flows rely on the flow."""


class StillRunning(ValueError):
    """The flow has an instance that runs."""


class State:
    """The flows with their directories (``catalog``), and their ``instances``. Any thread may call it."""

    def __init__(self, config: Config) -> None:
        self.lock = threading.RLock()
        """Held during each call; hold it to make several calls one."""
        self.catalog = Catalog(self.lock)
        self.instances = InstanceStore(config, self.catalog, self.lock)
        self.user_locked = False
        self._config = config
        self._schedules = ScheduleRunner(config, self.catalog, self.instances)

    def catch_up(self) -> None:
        """Start what the schedules of flows have started since the last call, if the setting ``schedules`` is on."""
        if self._config.schedules:
            with self.lock:
                self._schedules.run_due()

    def delete_flow(self, flow_id: int) -> None:
        """Delete a flow, its instances and its temporary copies.

        Raise ReliedOn or StillRunning where EnOS refuses it, KeyError for an unknown flow.
        """
        with self.lock:
            if self.catalog.flow(flow_id) is None:
                raise KeyError(flow_id)
            if self.catalog.is_relied_on(flow_id):
                raise ReliedOn(flow_id)
            if self.instances.is_running(flow_id):
                raise StillRunning(flow_id)
            self.instances.remove_of(self.catalog.remove_flow(flow_id))
