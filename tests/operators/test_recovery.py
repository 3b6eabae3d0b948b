"""A retry with ``retry_from="failure"`` against the simulator, in a worker and deferred."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tries import completed
from worker import StateStore

from airflow_provider_enos import errors
from airflow_provider_enos.simulator import EnosSimulator

FLOW = 5001
EXTRACT, CLEAN, LOAD = 50010, 50011, 50012
NAMES = {EXTRACT: "extract", CLEAN: "clean", LOAD: "load"}
FIRST, SECOND, THIRD = (f"{FLOW}-2020070606{minute}00" for minute in (26, 27, 28))

MakeTask = Callable[..., Any]


def prepare(sim: EnosSimulator, failing: int | None = None, **changes: Any) -> None:
    """Define the flow, a chain of three nodes. ``failing``: the node that fails."""
    ending = {} if failing is None else {"ends_as": "FAIL", "failing_task": failing}
    chain = [(EXTRACT, CLEAN), (CLEAN, LOAD)]
    sim.add_flow(FLOW, tasks=NAMES, **{"relations": chain, "progress": "at_once", **ending, **changes})


def fail(one: Any, run: Callable[[], str]) -> None:
    with pytest.raises(errors.EnosFlowFailedError):
        completed(one, run)


def started_from(sim: EnosSimulator) -> list[int | None]:
    return [instance.from_task_id for instance in sim.instances]


@pytest.fixture
def recovering(task: MakeTask, store: Any, deferrable: bool) -> Any:
    return task(store, flow_id=FLOW, from_task_id=EXTRACT, deferrable=deferrable, retry_from="failure", retries=3)


def test_retry_restarts_from_the_failed_node(recovering: Any, sim: EnosSimulator) -> None:
    prepare(sim, CLEAN)
    fail(recovering, recovering.run)
    prepare(sim)
    assert completed(recovering, recovering.retry) == SECOND
    assert started_from(sim) == [EXTRACT, CLEAN]
    assert (
        f"Retry 1 restarts flow {FLOW} from node clean ({CLEAN}): 1 of 3 nodes failed, 1 never ran; "
        "1 that succeeded is kept"
    ) in recovering.log.lines


def test_cleared_task_runs_everything(recovering: Any, sim: EnosSimulator) -> None:
    prepare(sim, CLEAN)
    fail(recovering, recovering.run)
    prepare(sim)
    assert completed(recovering, recovering.clear) == SECOND
    assert started_from(sim) == [EXTRACT, EXTRACT]


def test_second_failure(task: MakeTask, sim: EnosSimulator, state_store: StateStore) -> None:
    one = task(state_store, flow_id=FLOW, from_task_id=EXTRACT, retry_from="failure")
    prepare(sim, CLEAN)
    fail(one, one.run)
    prepare(sim, LOAD)
    fail(one, one.retry)
    prepare(sim)
    assert one.retry() == THIRD
    assert started_from(sim) == [EXTRACT, CLEAN, LOAD]


def test_second_failure_without_a_record(task: MakeTask, sim: EnosSimulator) -> None:
    one = task(None, flow_id=FLOW, from_task_id=EXTRACT, retry_from="failure")
    prepare(sim, CLEAN)
    fail(one, one.run)
    prepare(sim, LOAD)
    fail(one, one.retry)
    prepare(sim)
    assert one.retry() == THIRD
    assert started_from(sim) == [EXTRACT, CLEAN, EXTRACT]


def test_lost_reply_of_a_restart_starts_one_instance(recovering: Any, sim: EnosSimulator) -> None:
    prepare(sim, CLEAN)
    fail(recovering, recovering.run)
    prepare(sim)
    sim.fault("lost_reply", on="flows/triggerFromTask")
    assert completed(recovering, recovering.retry) == SECOND
    assert started_from(sim) == [EXTRACT, CLEAN]


def test_whole_flow_is_restarted_from_a_node(whole_flow: MakeTask, sim: EnosSimulator, state_store: StateStore) -> None:
    one = whole_flow(state_store, flow_id=FLOW, retry_from="failure")
    prepare(sim, LOAD)
    fail(one, one.run)
    prepare(sim)
    assert one.retry() == SECOND
    assert started_from(sim) == [None, LOAD]


def test_whole_flow_with_parameters_starts_as_the_first_time(
    whole_flow: MakeTask, sim: EnosSimulator, state_store: StateStore
) -> None:
    one = whole_flow(state_store, flow_id=FLOW, retry_from="failure", parameters={"day": "1"})
    prepare(sim, LOAD)
    fail(one, one.run)
    prepare(sim)
    assert one.retry() == SECOND
    assert started_from(sim) == [None, None]
    assert any("as the first time: it has parameters, which cannot be given" in line for line in one.log.lines)


@pytest.mark.parametrize(
    ("follows", "flag", "nodes"),
    [
        ("all", False, [EXTRACT, CLEAN]),
        ("rerun", True, [EXTRACT, CLEAN]),
        ("rerun", False, [None, CLEAN, None]),
    ],
)
def test_whichever_relations_a_restart_follows_everything_has_run(
    whole_flow: MakeTask,
    sim: EnosSimulator,
    store: Any,
    deferrable: bool,
    follows: str,
    flag: bool,
    nodes: list[int | None],
) -> None:
    sim.from_task_follows = follows
    relations = [(EXTRACT, CLEAN, flag), (CLEAN, LOAD, flag)]
    one = whole_flow(store, flow_id=FLOW, deferrable=deferrable, retry_from="failure")
    prepare(sim, CLEAN, relations=relations)
    fail(one, one.run)
    prepare(sim, relations=relations)
    result = completed(one, one.retry)
    assert started_from(sim) == [None, *nodes[1:]]
    assert result == sim.instances[-1].id
    assert {node.status for node in sim.instances[-1].nodes if node.task_id != EXTRACT} == {"SUCCESS"}
    missed = f"EnOS did not run all that is downstream of node {CLEAN}: load. The flow is started as the first time"
    assert any(missed in line for line in one.log.lines) == (len(nodes) == 3)


def test_nothing_of_the_failed_instance_may_run(
    recovering: Any, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the failed node, a branch runs on. The restart waits for the end of it."""
    beside = [(EXTRACT, CLEAN), (EXTRACT, LOAD)]
    prepare(sim, relations=beside, progress="manual")

    def fail_early(event: str, record: Any) -> None:
        if (event, record.operation) == ("accepted", "flows/triggerFromTask") and len(sim.instances) == 1:
            for node, status in ((EXTRACT, "SUCCESS"), (CLEAN, "FAIL"), (LOAD, "RUNNING")):
                sim.set_node_status(FIRST, node, status)

    sim.on_event(fail_early)
    fail(recovering, recovering.run)
    looks: list[str] = []

    def come_to_rest(event: str, record: Any) -> None:
        if (event, record.operation) == ("replied", "flowInstances/get"):
            looks.append(sim.instances[0].status)
            if len(looks) == 3:
                sim.set_node_status(FIRST, LOAD, "SUCCESS")
                sim.finish(FIRST, "FAIL", CLEAN)
                prepare(sim, relations=beside)

    sim.on_event(come_to_rest)
    assert completed(recovering, recovering.retry) == SECOND
    assert any("Waiting until nothing of" in line and "load" in line for line in recovering.log.lines)
    assert started_from(sim) == [EXTRACT, CLEAN]
