"""Event triggers that watch a flow by its name."""

from __future__ import annotations

import asyncio
import json
from importlib.util import find_spec
from typing import Any

import pytest
from event_triggers import (
    FLOW,
    OTHER,
    Airflow,
    AssetStore,
    Ended,
    MakeEventTrigger,
    Watching,
    ids,
    in_airflow,
    run,
    watching,
)
from worker import Log

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol.wire.names import Choice
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers.enos import EnosFlowEventTrigger
from airflow_provider_enos.triggers.flow_finder import find_flow
from airflow_provider_enos.utils.connections import current_settings

shared_streams = pytest.mark.skipif(
    find_spec("airflow.triggers.shared_stream") is None, reason="Airflow shares streams from 3.3 on"
)

NAME = "读数 daily"
NEW = 8201


@pytest.fixture
def named(event_trigger: MakeEventTrigger, sim: EnosSimulator, at_once: None) -> MakeEventTrigger:
    """Makes a trigger that watches by name. A flow with a like name is there."""
    sim.add_flow(8200, name=f"{NAME} 2", tasks={82001: "load"})
    return lambda **arguments: event_trigger(None, **{"flow_name": NAME, **arguments})


def name_flow(sim: EnosSimulator, flow_id: int, name: str = NAME) -> None:
    sim.add_flow(flow_id, name=name, tasks={flow_id * 10: "load"})


def lookups(one: EnosFlowEventTrigger) -> list[str]:
    """What the log says of the look-up."""
    return [line for line in one.log.lines if line.startswith(("Cannot find", "The flow named"))]


def test_the_flow_is_found_once_and_keeps_its_id(named: MakeEventTrigger, ended: Ended, sim: EnosSimulator) -> None:
    """Though it gets another name, and another flow gets its name."""
    name_flow(sim, FLOW)
    one = named()

    async def main() -> None:
        async with watching(sim, one) as watch:
            searched = sim.count("flows/search")
            first = ended(hours=2)
            await watch.until(lambda: ids(watch.told) == [first])
            name_flow(sim, FLOW, "renamed")
            name_flow(sim, OTHER)
            ended(hours=2, flow_id=OTHER)
            second = ended(hours=1)
            await watch.until(lambda: len(watch.told) == 2)
            await watch.looks()
            assert ids(watch.told) == sorted([first, second])
            assert watch.told[1]["flow_name"] == "renamed"
            assert sim.count("flows/search") == searched <= 2

    run(main())
    assert lookups(one) == [f"The flow named {NAME!r} is flow {FLOW}"]


def test_a_flow_that_is_not_there_yet_is_waited_for(named: MakeEventTrigger, ended: Ended, sim: EnosSimulator) -> None:
    one = named()

    async def main() -> None:
        watch = Watching(sim, one)
        searched = sim.count("flows/search")
        await watch.until(lambda: sim.count("flows/search") > searched + 8)
        name_flow(sim, NEW)
        await watch.until(lambda: any("are there already" in line for line in one.log.lines))
        id = ended(flow_id=NEW)
        await watch.until(lambda: watch.told)
        assert ids(watch.told) == [id]
        watch.task.cancel()
        await asyncio.gather(watch.task, return_exceptions=True)

    run(main())
    missing, found = lookups(one)
    assert missing.startswith(f"Cannot find the flow named {NAME!r}, will go on trying: flow_name: EnOS has no flow")
    assert f"8200 ('{NAME} 2')" in missing
    assert found == f"The flow named {NAME!r} is flow {NEW}"


def test_each_kind_of_error_is_logged_once_and_ends_nothing(
    named: MakeEventTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection, a refusal, a gateway that fails, no flow, two flows."""
    one = named()
    monkeypatch.delenv("AIRFLOW_CONN_ENOS_DEFAULT")

    async def main() -> None:
        watch = Watching(sim, one)

        async def said(number: int) -> None:
            await watch.until(lambda: len(lookups(one)) == number)
            await asyncio.sleep(0.1)

        await said(1)
        monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri.replace(sim.secret_key, "wrong"))
        await said(2)
        sim.fault("http_503", on="flows/search", times=4)
        monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)
        # Then there is no such flow.
        await said(4)
        for flow_id in (FLOW, NEW):
            name_flow(sim, flow_id)
        await said(5)
        name_flow(sim, NEW, "another name")
        await said(6)
        await watch.until(lambda: any("are there already" in line for line in one.log.lines))
        id = ended()
        await watch.until(lambda: ids(watch.told) == [id])
        watch.task.cancel()
        await asyncio.gather(watch.task, return_exceptions=True)

    run(main())
    *errors, found = lookups(one)
    assert all(line.startswith(f"Cannot find the flow named {NAME!r}, will go on trying: ") for line in errors)
    reasons = (
        "cannot read the connection",
        "secret key",
        "503",
        "EnOS has no flow",
        f"has 2 flows named {NAME!r}: 8101, 8201",
    )
    for line, reason in zip(errors, reasons, strict=True):
        assert reason in line
    assert found == f"The flow named {NAME!r} is flow {FLOW}"
    assert not any(sim.secret_key in line for line in one.log.lines)


class Levels(Log):
    """A log with the level of each line."""

    def warning(self, message: str, *arguments: Any, **_: Any) -> None:
        self.lines.append(f"warning: {message % arguments}")

    def error(self, message: str, *arguments: Any, **_: Any) -> None:
        self.lines.append(f"error: {message % arguments}")


@pytest.mark.parametrize(("tolerance", "levels"), [(60.0, ["warning"]), (0.05, ["warning", "error"]), (0.0, ["error"])])
def test_an_error_that_lasts_is_logged_as_an_error(
    connection: EnosSimulator, tolerance: float, levels: list[str]
) -> None:
    log = Levels()

    async def main() -> None:
        finding = find_flow(
            Choice(name="nowhere"),
            lambda: current_settings("enos_default", org_id=None, user_id=None),
            log,
            poll_interval=0.02,
            tolerance=tolerance,
        )
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(finding, 0.4)

    run(main())
    assert [line.partition(":")[0] for line in log.lines] == levels


@shared_streams
def test_a_name_that_is_not_found_holds_up_no_other_trigger_of_the_stream(
    named: MakeEventTrigger, event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    """Airflow gives up a trigger that takes no polls. Once there is such a flow, it is watched by the same stream."""
    stores = {1: AssetStore(), 2: AssetStore()}

    async def main(airflow: Airflow) -> None:
        airflow.start(1, named(store=stores[1]))
        airflow.start(2, event_trigger(store=stores[2]))
        await airflow.until(lambda: stores[2].values)
        one = ended(hours=3)
        await airflow.until(lambda: one in stores[2].ends)
        await asyncio.sleep(1.5)
        name_flow(sim, NEW)
        await airflow.until(lambda: stores[1].values)
        assert len(airflow.manager._groups) == 1
        other = ended(hours=2, flow_id=NEW)
        await airflow.until(lambda: other in stores[1].ends)
        assert {number: ids(told) for number, told in airflow.told.items()} == {1: [other], 2: [one]}
        assert sim.count("token/get") == 1

    in_airflow(main, ack_timeout=1)


@shared_streams
def test_what_was_told_is_remembered_of_the_flow_and_not_of_its_name(
    named: MakeEventTrigger, event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    """The DAG takes the name in place of the id. Then the flow gets another name, and the DAG takes that."""
    store = AssetStore()
    name_flow(sim, FLOW)
    told: list[str] = []

    async def until_told(airflow: Airflow, one: EnosFlowEventTrigger, known: set[str]) -> None:
        airflow.start(1, one)
        await airflow.until(lambda: store.values)
        known.add(ended(hours=8 - len(known)))
        await airflow.until(lambda: store.ends == known)
        told.extend(ids(airflow.told[1]))
        # The next one ends while no triggerer runs.
        known.add(ended(hours=8 - len(known)))

    known: set[str] = set()
    in_airflow(lambda airflow: until_told(airflow, event_trigger(store=store), known))
    in_airflow(lambda airflow: until_told(airflow, named(store=store), known))
    name_flow(sim, FLOW, "renamed")
    in_airflow(lambda airflow: until_told(airflow, named(store=store, flow_name="renamed"), known))
    assert len(told) == 5
    assert set(told) == store.ends
    assert len(store.values) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "^flow_id: None, and flow_name is None; expected only one of flow_id and flow_name"),
        ({"flow_id": 1, "flow_name": "a"}, "^flow_id: 1, and flow_name is 'a'; expected only one of"),
        ({"flow_name": " "}, "^flow_name: ' '; expected a name on one line"),
        ({"flow_name": "a\nb"}, "^flow_name: "),
        ({"flow_name": ["a"]}, "^flow_name: "),
        ({"flow_name": "{{ var.value.flow }}"}, "^flow_name: .*; expected the name itself, since no template is"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(EnosConfigError, match=said):
        EnosFlowEventTrigger(**arguments)


def test_the_name_is_stored_and_makes_another_trigger_but_not_another_stream() -> None:
    one = EnosFlowEventTrigger(flow_name=NAME)
    stored = json.loads(json.dumps(one.serialize()[1]))
    assert (stored["flow_id"], stored["flow_name"]) == (None, NAME)
    assert EnosFlowEventTrigger(**stored).serialize() == one.serialize()
    assert EnosFlowEventTrigger(flow_name="other").serialize() != one.serialize()
    by_id = EnosFlowEventTrigger(3377)
    assert by_id.serialize()[1]["flow_name"] is None
    assert one.shared_stream_key() == by_id.shared_stream_key()
