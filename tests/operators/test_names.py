"""Flows and nodes by name: looked up when the task runs, once a round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from ends import End, waited
from worker import Log, StateStore, TaskInstance, execute

from airflow_provider_enos import errors
from airflow_provider_enos.operators.enos import (
    EnosDisableFlowOperator,
    EnosEnableFlowOperator,
    EnosTriggerFlowFromTaskOperator,
    EnosTriggerFlowOperator,
)
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.utils.openlineage import External

TIME = 1594016819108
INSTANCE = "7001-20200706062600"
NAME, NODE_NAME = "读数 daily", "clean & load"

MakeTask = Callable[..., Any]


def add(sim: EnosSimulator, flow_id: int = 7001, name: str = NAME, **more: Any) -> None:
    tasks = {flow_id * 10 + 1: "extract", flow_id * 10 + 2: NODE_NAME, flow_id * 10 + 3: "clean"}
    sim.add_flow(flow_id, **{"name": name, "tasks": tasks, "progress": "at_once", **more})


def looks(sim: EnosSimulator) -> int:
    return sim.count("flows/search") + sim.count("flows/get")


@pytest.fixture
def named(task: MakeTask) -> MakeTask:
    """A task that gives flow and node by their names."""

    def make(store: StateStore | None = None, **arguments: Any) -> Any:
        one = task(store, **{"flow_name": NAME, "from_task_name": NODE_NAME, **arguments})
        del one.arguments["flow_id"], one.arguments["from_task_id"]
        return one

    return make


@pytest.mark.parametrize("deferrable", [False, True])
def test_both_ways_to_wait(connection: EnosSimulator, short_pauses: None, deferrable: bool) -> None:
    add(connection)
    for flow_id, name in ((7002, f"{NAME} 2"), (7003, "daily"), (7004, NAME.upper())):
        add(connection, flow_id, name)
    add(connection, progress=("polls", 3))
    log = Log()
    logged = type("Logged", (EnosTriggerFlowFromTaskOperator,), {"log": log})
    names = {"flow_name": NAME, "from_task_name": NODE_NAME}
    end = waited(lambda: logged(task_id="task", **names, trigger_time=TIME, poll_interval=0.01, deferrable=deferrable))
    assert end == End(None, "", INSTANCE)
    (started,) = connection.instances
    assert started.from_task_id == 70012
    assert f"The flow named {NAME!r} is flow 7001" in log.lines
    assert f"The task node named {NODE_NAME!r} of flow 7001 is 70012" in log.lines
    assert connection.count("flows/get") == 1


def test_with_ids_nothing_is_looked_up(task: MakeTask, sim: EnosSimulator) -> None:
    task().run()
    assert looks(sim) == 0


@pytest.mark.parametrize("waits", [True, False])
def test_a_retry_finds_its_instance_though_the_flow_has_another_name(
    named: MakeTask, sim: EnosSimulator, state_store: StateStore, waits: bool
) -> None:
    """And though another flow has taken the name."""
    add(sim, progress="manual")
    one = named(state_store, timeout=0.05, cancel_on_timeout=False)
    with pytest.raises(errors.EnosFlowTimeoutError):
        one.run()
    before = looks(sim)
    add(sim, name="renamed", progress="manual")
    if waits:
        add(sim, 7002)
    sim.finish(INSTANCE, "SUCCESS")
    assert one.retry() == INSTANCE
    assert looks(sim) == before, "a retry does not look again"
    assert len(sim.instances) == 1
    assert any("flow 7001, as an earlier try has found" in line for line in one.log.lines)


def test_a_clear_looks_again(named: MakeTask, sim: EnosSimulator, state_store: StateStore) -> None:
    add(sim)
    one = named(state_store)
    one.run()
    add(sim, name="renamed")
    add(sim, 7002)
    assert one.clear().startswith("7002-")


def test_without_a_store_a_retry_looks_again(named: MakeTask, sim: EnosSimulator) -> None:
    add(sim)
    one = named()
    assert one.run() == INSTANCE
    searched = sim.count("flows/search")
    assert one.retry() == INSTANCE
    assert sim.count("flows/search") == 2 * searched


def test_the_name_that_was_asked_for_is_on_record(named: MakeTask, sim: EnosSimulator, state_store: StateStore) -> None:
    add(sim)
    named(state_store).run()
    (record,) = state_store.values.values()
    found = [record[field] for field in ("flow_id", "flow_name", "node_name", "node_id")]
    assert found == [7001, NAME, NODE_NAME, 70012]


WRONG = {
    "none": ({"flow_name": "daily readings"}, "EnOS has no flow named 'daily readings'"),
    "two": ({"flow_name": "twice"}, "EnOS has 2 flows named 'twice': 7005, 7006"),
    "no node": ({"from_task_name": "Clean"}, "flow 7001 has no task node named 'Clean'; it has 70011 ('extract')"),
    "rendered empty": ({"flow_name": " "}, "flow_name: ' '; expected a name"),
    "rendered to nothing": ({"flow_name": None}, "flow_id: None, and flow_name is None; expected only one"),
    "rendered to both": ({"flow_id": 7001}, f"flow_id: 7001, and flow_name is {NAME!r}; expected only one"),
}


@pytest.mark.parametrize(("rendered", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_told_is_not_retried(
    named: MakeTask, sim: EnosSimulator, rendered: dict[str, Any], said: str
) -> None:
    add(sim)
    add(sim, 7005, "twice")
    add(sim, 7006, "twice", owner="another_user")
    one = named()
    one.rendered = rendered
    with pytest.raises(AirflowFailException) as caught:
        one.run()
    assert said in str(caught.value)
    assert sim.instances == []


def test_a_flow_of_another_owner_is_found_and_enos_refuses_it(named: MakeTask, sim: EnosSimulator) -> None:
    add(sim, owner="another_user")
    with pytest.raises(AirflowFailException, match="62103"):
        named().run()


def test_a_gateway_that_is_out_of_reach_is_waited_for(named: MakeTask, sim: EnosSimulator) -> None:
    add(sim)
    sim.fault("http_503", on="flows/search", times=6)
    sim.fault("http_503", on="flows/get", times=6)
    assert named().run() == INSTANCE


def test_a_node_by_name_of_a_flow_by_id(task: MakeTask, sim: EnosSimulator) -> None:
    add(sim)
    one = task(flow_id=7001, from_task_name=NODE_NAME)
    del one.arguments["from_task_id"]
    assert one.run() == INSTANCE
    assert sim.count("flows/search") == 0


def test_a_whole_flow_by_name(whole_flow: MakeTask, sim: EnosSimulator) -> None:
    add(sim)
    one = whole_flow(flow_name=NAME, parameters={"a": "b"})
    del one.arguments["flow_id"]
    assert one.run() == INSTANCE


def test_the_instances_of_a_mapped_task_have_names_of_their_own(connection: EnosSimulator, short_pauses: None) -> None:
    from airflow.providers.common.compat.sdk import DAG

    add(connection)
    add(connection, 7002, "other")
    with DAG("dag", schedule=None):
        partial = EnosTriggerFlowOperator.partial(task_id="mapped", trigger_time=TIME, poll_interval=0.01)
        mapped = partial.expand(flow_name=[NAME, "other"])
    started = [
        execute(mapped.unmap({"flow_name": name}), {"ti": TaskInstance(map_index=index)})
        for index, name in enumerate((NAME, "other"))
    ]
    assert started == [INSTANCE, INSTANCE.replace("7001", "7002")]


def test_the_lineage_has_the_name_and_then_the_id(connection: EnosSimulator, short_pauses: None) -> None:
    add(connection, progress="manual")

    def make() -> Any:
        return EnosTriggerFlowFromTaskOperator(
            task_id="task", flow_name=NAME, from_task_name=NODE_NAME, trigger_time=TIME, deferrable=True
        )

    from airflow.providers.common.compat.sdk import TaskDeferred

    operator = make()
    assert operator._external() == External(None, None, (), None, NAME, NODE_NAME)
    with pytest.raises(TaskDeferred) as deferral:
        execute(operator, {"ti": TaskInstance()})
    known = External(7001, 70012, (INSTANCE,), connection.url, NAME, NODE_NAME)
    assert operator._external() == known
    connection.finish(INSTANCE, "SUCCESS")
    before = looks(connection)
    resumed = make()
    context: Any = {"ti": TaskInstance()}
    event = {"flow_instance_id": INSTANCE, "status": "ended", "error": None}
    resumed.execute_complete(context, event, **deferral.value.kwargs)
    assert resumed._external() == known
    assert looks(connection) == before


def test_a_schedule_is_switched_by_name(connection: EnosSimulator, short_pauses: None) -> None:
    add(connection, type=1)
    for cls, active in ((EnosDisableFlowOperator, False), (EnosEnableFlowOperator, True)):
        execute(cls(task_id="task", flow_name=NAME), {"ti": TaskInstance()})
        assert [flow.active for flow in connection.flows if flow.flow_id == 7001] == [active]
        with pytest.raises(AirflowFailException, match="no flow named 'x'"):
            execute(cls(task_id="task", flow_name="x"), {"ti": TaskInstance()})
