"""A sensor for the instances of a flow that is given by its name: every way to wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from ends import End, rescheduled, started_from_trigger, waited
from worker import Log, TaskInstance, execute

from airflow_provider_enos.sensors.enos import EnosFlowSensor
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers.enos import EnosFlowTrigger
from airflow_provider_enos.utils.openlineage import External
from airflow_provider_enos.version_compat import triggers_are_told_of_kills

FLOW, NAME = 7001, "读数 daily"
HOUR = 3_600_000
END = 1594080000000
"""2020-07-07T00:00:00Z."""


def sensor(log: Log | None = None, **arguments: Any) -> Callable[[], Any]:
    logged = type("Logged", (EnosFlowSensor,), {"log": log or Log()})
    defaults = {"window_start": END - 24 * HOUR, "window_end": END, "poke_interval": 0.01, "flow_name": NAME}
    return lambda: logged(task_id="task", **{**defaults, **arguments})


WAYS: dict[str, Callable[..., End]] = {
    "poke": lambda **more: waited(sensor(deferrable=False, **more)),
    "reschedule": lambda **more: rescheduled(sensor(mode="reschedule", deferrable=False, **more)),
    "deferred": lambda **more: waited(sensor(deferrable=True, **more)),
    "from trigger": lambda **more: started_from_trigger(sensor(start_from_trigger=True, **more), ""),
}
if not triggers_are_told_of_kills():
    del WAYS["from trigger"]


@pytest.fixture
def instance(connection: EnosSimulator, short_pauses: None) -> str:
    """An instance that EnOS's schedule has started, of a flow with others of like names."""
    for number, name in ((7002, f"{NAME} 2"), (7003, "daily"), (7004, NAME.upper())):
        connection.add_flow(number, name=name, tasks={number * 10: "load"})
    connection.add_flow(FLOW, name=NAME, tasks={70011: "load"}, progress=("polls", 3), cycle="H")
    return connection.trigger(FLOW, trigger_time=END - HOUR, type=1).id


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_wait(way: str, instance: str, connection: EnosSimulator) -> None:
    assert WAYS[way]() == End(None, "", [instance])
    assert connection.count("flows/search") <= 2, "looked up once, with page 0 and page 1"


@pytest.mark.parametrize("way", WAYS)
def test_names_that_cannot_be_told_fail_alike(way: str, instance: str, connection: EnosSimulator) -> None:
    """At once, without a retry, also if the sensor is to wait for flows that are not there yet."""
    connection.add_flow(7005, name="twice", tasks={70051: "load"})
    connection.add_flow(7006, name="twice", tasks={70061: "load"}, owner="another_user")
    for name, said in (("twice", "2 flows named 'twice': 7005, 7006"), ("Daily", "near are 7003 ('daily')")):
        end = WAYS[way](flow_name=name, check_existence=False)
        assert end.error is AirflowFailException, way
        assert said in end.message


@pytest.mark.parametrize("way", WAYS)
def test_a_search_that_fails_is_tolerated(way: str, instance: str, connection: EnosSimulator) -> None:
    connection.fault("http_503", on="flows/search", times=5)
    assert WAYS[way]() == End(None, "", [instance])


def test_a_deferred_task_is_resumed_for_the_flow_that_was_found(
    connection: EnosSimulator, instance: str, short_pauses: None
) -> None:
    """Though it has another name by then; and whether the worker or the trigger has found it."""
    connection.fault("http_503", on="flows/search", times=None)
    for is_found_by_trigger in (True, False):
        if not is_found_by_trigger:
            connection.add_flow(FLOW, name=NAME, tasks={70011: "load"}, progress="manual", cycle="H")
            connection.trigger(FLOW, trigger_time=END - 2 * HOUR, type=1)
        make = sensor(deferrable=True)
        with pytest.raises(TaskDeferred) as deferral:
            execute(make(), {"ti": TaskInstance()})
        path, arguments = deferral.value.trigger.serialize()
        trigger = EnosFlowTrigger(**json.loads(json.dumps(arguments)))
        assert path == "airflow_provider_enos.triggers.enos.EnosFlowTrigger"
        given = (trigger.flow_id, trigger.flow_name)
        assert given == ((None, NAME) if is_found_by_trigger else (FLOW, None))
        connection.clear_faults()
        for one in connection.instances:
            if not one.ended:
                connection.finish(one.id, "SUCCESS")
        event = asyncio.run(anext(trigger.run()))
        assert event.payload["flow_id"] == FLOW
        connection.add_flow(FLOW, name="renamed", tasks={70011: "load"}, cycle="H")
        searched = connection.count("flows/search")
        resumed = make()
        context: Any = {"ti": TaskInstance()}
        found = resumed.execute_complete(context, json.loads(json.dumps(event.payload)), **deferral.value.kwargs)
        assert instance in found
        assert connection.count("flows/search") == searched
        assert resumed._external() == External(FLOW, None, tuple(found), connection.url, NAME)


def test_a_rendered_name_is_checked(connection: EnosSimulator, instance: str) -> None:
    one = sensor(deferrable=False, flow_name="{{ params.flow }}")()
    assert one._external() == External(None, flow_name="{{ params.flow }}")
    for rendered, said in (("None\n", "expected a name on one line"), (None, "expected only one of")):
        one.flow_name = rendered
        with pytest.raises(AirflowFailException, match=said):
            execute(one, {"ti": TaskInstance()})
