"""Every example DAG is run through Airflow, in a process and a home of its own."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflows import AIRFLOW, dag_bag
from dag_process import new_home, run_dag
from happened import until

from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.protocol.flow_definition import FlowDefinition
from airflow_provider_enos.simulator import EnosSimulator

EXAMPLES = Path(__file__).resolve().parent.parent / "example_dags"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(migrated_home: Path, tmp_path: Path, sim: EnosSimulator) -> Run:
    """Runs an example DAG; gives the states of run and tasks, their XComs, and what was printed."""
    sim.progress = "at_once"

    def run(name: str, runner: str = "run_dag", **configured: str) -> dict[str, Any]:
        new_home(migrated_home, tmp_path)
        return run_dag(EXAMPLES / f"{name}.py", name, tmp_path, sim, runner, **configured)

    return run


def test_trigger_and_wait(run: Run, sim: EnosSimulator) -> None:
    result = run("enos_trigger_and_wait")
    (instance,) = sim.instances
    assert result["state"] == "success"
    assert result["tasks"] == {"clean_meter_readings": "success"}
    assert result["xcom"]["clean_meter_readings"] == instance.id
    assert (instance.flow_id, instance.from_task_id, instance.status) == (3377, 108580, "SUCCESS")


def test_trigger_then_sense(run: Run, sim: EnosSimulator) -> None:
    """The sensor takes the operator's output, and is rescheduled while the instance runs."""
    sim.progress = ("polls", 1)
    result = run("enos_trigger_then_sense")
    (instance,) = sim.instances
    assert result["tasks"] == {"start": "success", "in_between": "success", "wait": "success"}
    assert result["xcom"]["wait"] == result["xcom"]["start"] == instance.id
    assert sim.count("flowInstances/get") == 2


def test_how_instances_end(run: Run, sim: EnosSimulator) -> None:
    """Failed and cancelled instances fail their task and say why; a skipped one skips it; all leave their id."""
    result = run("enos_how_instances_end")
    assert result["tasks"] == {"failed": "failed", "cancelled": "failed", "skipped": "skipped", "report": "success"}
    by_flow = {instance.flow_id: instance.id for instance in sim.instances}
    expected = {"failed": by_flow[4001], "cancelled": by_flow[4002], "skipped": by_flow[4003]}
    assert result["xcom"]["report"] == expected
    assert "node load failed: ColumnMissing: " in result["printed"]
    assert "ColumnMissing: dw.meter_readings has no column 'reactive_power'" in result["printed"]
    assert "ended with status CANCEL" in result["printed"]


def test_whole_flows(run: Run, sim: EnosSimulator) -> None:
    """Parameters are those of the run; mapped tasks of one flow get a minute each."""
    result = run("enos_whole_flows")
    assert result["state"] == "success"
    recomputed, *by_region = sim.instances
    assert recomputed.id == "3377-20200706062600"
    assert recomputed.parameters == {"site": "all", "requested_by": "enos_whole_flows"}
    # Airflow runs mapped tasks in any order.
    assert sorted(instance.parameters["region"] for instance in by_region) == ["north", "south"]
    assert len({instance.id for instance in sim.instances}) == 3


def test_by_name(run: Run, sim: EnosSimulator) -> None:
    """A template makes the name; the id that is found is logged."""
    result = run("enos_by_name")
    (instance,) = sim.instances
    assert (result["state"], result["xcom"]["clean_meter_readings"]) == ("success", instance.id)
    assert (instance.flow_id, instance.from_task_id) == (3377, 108580)
    assert "The flow named 'meter_readings_daily' is flow 3377" in result["printed"]


def test_cancel_and_pause(run: Run, sim: EnosSimulator) -> None:
    """The instance is cancelled, and the schedule on again."""
    result = run("enos_cancel_and_pause")
    (instance,) = sim.instances
    assert result["state"] == "success"
    assert result["xcom"]["cancel"] == result["xcom"]["start"] == instance.id
    assert instance.status == "CANCEL"
    assert (sim.count("flows/disable"), sim.count("flows/enable")) == (1, 1)


def test_look_around(run: Run, sim: EnosSimulator) -> None:
    """The hook finds the nodes of a flow, and the instances that have failed."""
    ids = [sim.trigger(flow_id, trigger_time=sim.now_ms() - 3_600_000).id for flow_id in (3377, 4001)]
    sim.finish(ids[1], "FAIL")
    result = run("enos_look_around")
    assert result["xcom"]["nodes"]["clean"] == "108580"
    assert result["xcom"]["failed_since_yesterday"] == ids[1:]


def test_wait_for_schedule(run: Run, sim: EnosSimulator) -> None:
    """Two flows that EnOS runs by its own schedule, daily and hourly: the simulator does."""
    sim.schedules = True
    result = run("enos_wait_for_schedule")
    assert result["tasks"] == {"daily": "success", "hourly": "success", "report": "success"}
    reported = result["xcom"]["report"]
    # Where the data interval ends differs between versions of Airflow.
    assert reported["daily"] in [[one.id] for one in sim.instances_of(4010)]
    assert reported["hourly"] in [[one.id] for one in sim.instances_of(3388)]
    assert sim.count("flows/trigger") == sim.count("flows/triggerFromTask") == 0


def test_task_group(run: Run, sim: EnosSimulator) -> None:
    """Each node is a task; all of them wait for the one instance that ``start`` has started."""
    result = run("enos_task_group")
    (instance,) = sim.instances
    nodes = [f"meter_readings.{name}" for name in ("ingest", "clean", "aggregate", "publish")]
    assert result["tasks"] == dict.fromkeys(["meter_readings.start", *nodes, "quality_report", "notify"], "success")
    assert {result["xcom"][node] for node in nodes} == {instance.id}
    assert (instance.flow_id, instance.from_task_id, instance.status) == (3377, None, "SUCCESS")
    assert result["xcom"]["quality_report"] == f"checked what {instance.id} has computed"


@pytest.mark.skipif(AIRFLOW < (3, 0), reason="it imports what Airflow 3 has")
def test_task_group_that_is_mapped(migrated_home: Path, tmp_path: Path, sim: EnosSimulator) -> None:
    """As the page shows it: each index has an instance of its own, with its parameters."""
    (code,) = re.findall(
        r"^```python\n(.*?)^```", (EXAMPLES.parent / "docs" / "task_groups.md").read_text(), re.M | re.S
    )
    file = tmp_path / "dags" / "by_region.py"
    shutil.copytree(EXAMPLES / "flows", file.parent / "flows")
    file.write_text(code)
    new_home(migrated_home, tmp_path)
    sim.progress = "at_once"
    result = run_dag(file, "by_region", tmp_path, sim)
    assert set(result["tasks"].values()) == {"success"}
    assert sorted(one.parameters["region"] for one in sim.instances) == ["north", "south"]
    assert len({one.id for one in sim.instances}) == 2


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("flows/*.json")), ids=lambda path: path.stem)
def test_the_definitions_are_those_of_the_simulators_flows(path: Path, connection: EnosSimulator) -> None:
    """As ``airflow enos export`` writes them."""
    definition = FlowDefinition.from_text(path.read_bytes(), path.name)
    assert path.read_text() == FlowDefinition.of(EnosHook().get_flow(definition.flow_id)).text()


@pytest.mark.skipif(AIRFLOW < (3, 0), reason="Airflow 2 has no asset watchers")
def test_run_on_flow_end(run: Run, connection: EnosSimulator) -> None:
    """By hand there is no event. The asset's trigger makes one of an instance that ends, and the task takes it."""
    from airflow.sdk.execution_time.context import TriggeringAssetEventsAccessor

    assert run("enos_run_on_flow_end")["xcom"] == {"report": []}
    bag = dag_bag(EXAMPLES / "enos_run_on_flow_end.py")
    assert not bag.import_errors
    dag = bag.dags["enos_run_on_flow_end"]
    asset = dag.timetable.asset_condition
    (watcher,) = asset.watchers
    watcher.trigger.poll_interval = 0.02
    connection.progress = "manual"
    ids: list[str] = []

    async def main() -> Any:
        fired = watcher.trigger.run()
        event = asyncio.create_task(anext(fired))
        await until(lambda: connection.count("flowInstances/search") >= 12)  # two looks
        for hours, status in ((2, "FAIL"), (1, "SUCCESS")):
            ids.append(connection.trigger(3377, trigger_time=connection.now_ms() - hours * 3_600_000).id)
            connection.finish(ids[-1], status)
        payload = (await asyncio.wait_for(event, 60)).payload
        await fired.aclose()
        return payload

    event = SimpleNamespace(
        asset=asset, source_aliases=[], extra={"from_trigger": True, "payload": asyncio.run(main())}
    )
    events = TriggeringAssetEventsAccessor.build([event])
    assert dag.task_dict["report"].python_callable(triggering_asset_events=events) == [ids[1]]


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="tasks cannot set partition keys before Airflow 3.3")
@pytest.mark.parametrize("deferrable", ["False", "True"], ids=["in a worker", "deferred"])
def test_outlet_by_day(run: Run, sim: EnosSimulator, deferrable: str) -> None:
    """The event names instance and day; the scheduler starts the second DAG for that day."""
    result = run("enos_outlet_by_day", "run_downstream", AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE=deferrable)
    (instance,) = sim.instances
    hour_there = datetime.fromtimestamp(instance.trigger_time / 1000, timezone(timedelta(hours=8)))
    day = f"{hour_there - timedelta(days=1):%Y-%m-%d}"
    (event,) = result["events"]
    assert event["key"] == event["extra"]["business_date"] == day
    assert event["extra"]["flow_instance_id"] == instance.id
    assert ("Pausing task as DEFERRED" in result["printed"]) == (deferrable == "True")
    assert result["started"] == {"enos_report_of_day": {"key": day, "xcom": {"report": {"day": day, **event["extra"]}}}}


def test_every_example_is_run_here() -> None:
    tested = {"enos_" + name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert set(NAMES) <= tested
