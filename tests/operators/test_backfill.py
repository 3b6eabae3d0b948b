"""Many tasks at once, in threads, over sockets: each gets an instance of its own, and none is lost."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from worker import Log, StateStore, TaskInstance, execute

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator
from airflow_provider_enos.simulator import EnosSimulator

FLOW, NODE = 3377, 108580
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
RUNS, WORKERS, MAPPED = 200, 32, 10
CLOCK_MINUTE = 0.3
"""Seconds. The pauses are a thousandth of what they are, so this is a minute five times too long."""
MOST_SENDS = 6 + 85 + MAPPED
"""A task's, until the tenth minute begins: six with short pauses, 2.7 s with pauses of 32 ms, and each minute anew."""


@dataclass
class Run:
    """One task of one run, with a worker of its own."""

    day: datetime
    map_index: int = -1
    store: StateStore = field(default_factory=StateStore)

    def execute(self) -> str:
        logged = type("Logged", (EnosTriggerFlowFromTaskOperator,), {"log": Log()})
        operator = logged(task_id="task", flow_id=FLOW, from_task_id=NODE, poll_interval=0.01)
        context: dict[str, Any] = {
            "ti": TaskInstance(),
            "data_interval_start": self.day,
            "data_interval_end": self.day + DAY,
            "dag_run": {"run_after": self.day + DAY},
            "task_state_store": self.store,
        }
        operator.render_template_fields(context, operator.get_template_env())
        result: str = execute(operator, context)
        return result

    @property
    def sends(self) -> int:
        """How often it asked for an instance: each time is recorded before it is sent."""
        return sum(not seen["refused"] and seen["flow_instance_id"] is None for seen in self.store.history)


def together(runs: Iterable[Run], workers: int) -> list[str]:
    """Return the results of all. They begin at the same moment, as far as there are workers."""
    barrier = Barrier(workers)
    with ThreadPoolExecutor(workers, initializer=barrier.wait) as pool:
        return list(pool.map(Run.execute, runs))


@pytest.fixture
def gateway(connection: EnosSimulator, short_pauses: None) -> EnosSimulator:
    connection.progress = "at_once"
    return connection


def minutes(gateway: EnosSimulator) -> list[datetime]:
    return sorted(datetime.fromtimestamp(one.minute / 1000, UTC) for one in gateway.instances)


def test_a_backfill_starts_one_instance_for_each_day(gateway: EnosSimulator) -> None:
    """The trigger time is the end of the run's data interval: no two have the same, so none meets a conflict."""
    runs = [Run(FIRST_DAY + number * DAY) for number in range(RUNS)]
    ids = together(runs, WORKERS)
    assert ids == [f"{FLOW}-{run.day + DAY:%Y%m%d}000000" for run in runs]
    assert minutes(gateway) == [run.day + DAY for run in runs]
    assert gateway.count("flows/triggerFromTask") == RUNS
    assert {run.sends for run in runs} == {1}


@pytest.mark.parametrize("tasks", [2, MAPPED])
def test_tasks_that_race_for_a_minute_get_one_each(gateway: EnosSimulator, tasks: int) -> None:
    """Such as the mapped tasks of one run."""
    runs = [Run(FIRST_DAY, number) for number in range(tasks)]
    ids = together(runs, tasks)
    assert sorted(ids) == sorted(one.id for one in gateway.instances)
    assert minutes(gateway) == [FIRST_DAY + DAY + number * timedelta(minutes=1) for number in range(tasks)]
    assert max(run.sends for run in runs) <= tasks


def test_tasks_that_race_where_the_gateway_counts_minutes_by_its_own_clock(gateway: EnosSimulator) -> None:
    """It accepts one trigger a minute; waiting tasks ask no more often than their pauses allow."""
    gateway.minute_rule, gateway.clock_minute = "clock", CLOCK_MINUTE
    runs = [Run(FIRST_DAY, number) for number in range(MAPPED)]
    ids = together(runs, MAPPED)
    assert sorted(ids) == sorted(one.id for one in gateway.instances)
    assert minutes(gateway) == [FIRST_DAY + DAY + number * timedelta(minutes=1) for number in range(MAPPED)]
    assert max(run.sends for run in runs) <= MOST_SENDS
