"""Sensor tasks that can poll several times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from worker import Log, StateStore, TaskInstance

from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor

TRIGGER_TIME = 1594016819108
STAMP = "20200706062600"
UNFOUND = {"http_404": "404", "http_413": "413", "data_null": "it is not there", "data_empty_list": "it is not there"}

MakeSensor = Callable[..., "Sensor"]


@dataclass
class Sensor:
    """A sensor task that can poll several times, in one process or in one for each poll."""

    arguments: dict[str, Any]
    store: StateStore | None = None
    ti: TaskInstance = field(default_factory=TaskInstance)
    log: Log = field(default_factory=Log)
    operator: Any = None
    rendered: dict[str, Any] = field(default_factory=dict)
    """What templates have become."""

    def renewed(self) -> EnosFlowInstanceSensor:
        logged = type("Logged", (EnosFlowInstanceSensor,), {"log": self.log})
        self.operator = logged(task_id="wait", **self.arguments)
        for name, value in self.rendered.items():
            setattr(self.operator, name, value)
        return self.operator

    @property
    def context(self) -> Any:
        return {"ti": self.ti} if self.store is None else {"ti": self.ti, "task_state_store": self.store}

    def run(self) -> Any:
        """Run it in poke mode, to the end."""
        return self.renewed().execute(self.context)

    def look(self) -> Any:
        """Poll once in reschedule mode: as in a new process, which knows only what was stored."""
        return self.renewed().poke(self.context)
