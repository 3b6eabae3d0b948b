"""A gateway as the tab sees it: settings of its connection, and a clock that a test moves."""

from __future__ import annotations

import json
from dataclasses import dataclass

from airflow.providers.common.compat.sdk import Connection

from airflow_provider_enos.client import settings
from airflow_provider_enos.plugins.view.lookups import Source
from airflow_provider_enos.simulator import EnosSimulator


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Viewed:
    """What somebody sees who looks at instances of this gateway, by this clock."""

    def __init__(self, sim: EnosSimulator) -> None:
        self.sim = sim
        self.clock = Clock()

    def settings_of(self, source: Source) -> settings.Settings:
        extra = json.dumps({"org_id": self.sim.org_id, "user_id": self.sim.user_id})
        keys = {"login": self.sim.access_key, "password": self.sim.secret_key}
        return settings.read(
            Connection(conn_id=source.conn_id, conn_type="enos", host=self.sim.url, extra=extra, **keys)
        )
