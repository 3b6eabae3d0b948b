"""The task of a node: it ends as its node ends, wherever it waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException
from group_fixtures import WAYS
from groups import EDGES, FIRST, NODES, Group, add_flow, end, nodes_are

from airflow_provider_enos import errors
from airflow_provider_enos.operators.node import EnosFlowNodeOperator
from airflow_provider_enos.protocol.start.group import GroupInstance
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.utils import group_record
from airflow_provider_enos.utils.group_record import GroupRecord
from airflow_provider_enos.version_compat import (
    AirflowTaskTimeout,
    ends_deferred_tasks_in_time,
    triggers_are_told_of_kills,
)

MakeGroup = Callable[..., Group]
REASON = "ValueError: no such meter"


@pytest.fixture
def started(group: MakeGroup, way: str) -> MakeGroup:
    """A group whose ``start`` has run."""

    def make(**arguments: Any) -> Group:
        made = group(way, **arguments)
        assert made.run("start").message == ""
        return made

    return make


def soon(do: Callable[[], None], seconds: float = 0.4) -> None:
    threading.Timer(seconds, do).start()


def test_it_waits_for_its_node_and_not_for_the_instance(started: MakeGroup, sim: EnosSimulator) -> None:
    one = started()
    soon(lambda: nodes_are(sim, SUCCESS="a", RUNNING="bc"))
    assert one.run("a").xcom == FIRST
    assert sim.instances[0].status == "RUNNING"
    assert one.xcom("a", "flow_instance_id") == FIRST


def test_no_worker_is_needed_where_airflow_can_do_without(started: MakeGroup, sim: EnosSimulator, way: str) -> None:
    one = started()
    nodes_are(sim, SUCCESS="a")
    assert one.run("a").error is None
    assert one.in_worker == (["start"] if way == "triggerer" else ["start", "a"])


def test_a_node_that_failed(started: MakeGroup, sim: EnosSimulator) -> None:
    add_flow(sim, logs={NODES["c"]: f"Reading\n{REASON}\n"})
    one = started()
    soon(lambda: end(sim, "FAIL", SUCCESS="abd", FAIL="c", INIT="ef"))
    failed = one.run("c")
    assert failed.error is errors.EnosFlowFailedError
    assert REASON in failed.message
    assert FIRST in failed.message
    assert any(REASON in line for line in one.log.lines)
    assert one.run("d").xcom == FIRST


def test_a_node_that_was_skipped(started: MakeGroup, sim: EnosSimulator) -> None:
    one = started()
    nodes_are(sim, SUCCESS="a", SKIP="b", RUNNING="cd")
    assert one.run("b").error is AirflowSkipException
    nodes_are(sim, SUCCESS="d")
    assert one.run("d").xcom == FIRST


def test_a_node_that_never_ran(started: MakeGroup, sim: EnosSimulator) -> None:
    """Airflow's own rules keep its task from running; here somebody has marked the task before it as successful."""
    one = started()
    end(sim, "FAIL", SUCCESS="abd", FAIL="c", INIT="ef")
    never_ran = one.run("e")
    assert never_ran.error is errors.EnosFlowFailedError
    assert never_ran.message.startswith("node e did not run")


@pytest.mark.parametrize("node", ["b", "d"])
def test_an_instance_that_is_cancelled_in_enos(started: MakeGroup, sim: EnosSimulator, node: str) -> None:
    one = started()
    nodes_are(sim, SUCCESS="a", RUNNING="bc")
    soon(lambda: end(sim, "CANCEL", CANCEL="bc", INIT="def"))
    cancelled = one.run(node)
    assert cancelled.error is errors.EnosFlowCancelledError
    assert f"node {node} {'was cancelled' if node == 'b' else 'did not run'}" in cancelled.message


def test_timeout_of_a_node(started: MakeGroup, sim: EnosSimulator) -> None:
    one = started(timeout=0.5)
    assert one.run("a").error is errors.EnosFlowTimeoutError
    assert not sim.instances[0].cancelled, "other tasks go on"


@pytest.mark.skipif(ends_deferred_tasks_in_time(), reason="Airflow 2 itself ends the task")
@pytest.mark.parametrize("way", WAYS[1:])
def test_execution_timeout_while_no_worker_waits(started: MakeGroup, sim: EnosSimulator) -> None:
    one = started(default_args={"execution_timeout": timedelta(seconds=0.5)})
    one.ti("a").start_date = datetime.now(UTC)
    assert one.run("a").error in (AirflowTaskTimeout, errors.EnosFlowTimeoutError)
    assert not sim.instances[0].cancelled


def test_enos_out_of_reach(started: MakeGroup, sim: EnosSimulator) -> None:
    one = started(poll_error_tolerance=0.3)
    sim.fault("http_500", on="flowInstances/get", times=None)
    lost = one.run("a")
    assert lost.error is errors.EnosPollLostError
    assert FIRST in lost.message


def test_a_moment_out_of_reach(started: MakeGroup, sim: EnosSimulator) -> None:
    one = started()
    sim.fault("http_500", on="flowInstances/get", times=2)
    nodes_are(sim, SUCCESS="a")
    assert one.run("a").xcom == FIRST


def test_what_is_not_started_cannot_be_waited_for(group: MakeGroup, way: str) -> None:
    one = group(way)
    lost = one.run("a")
    assert lost.error is errors.EnosTriggerError
    assert "the XCom 'enos_group' of task nodes.start is not there; clear that task" in lost.message


def test_a_group_whose_start_was_skipped(group: MakeGroup, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a branch: the rule of a node's task lets it run after tasks that were skipped."""
    monkeypatch.setattr(group_record, "state_of", lambda _: "skipped")
    one = group(way)
    assert one.run("b").error is AirflowSkipException


def test_a_log_as_it_grows(started: MakeGroup, sim: EnosSimulator) -> None:
    add_flow(sim, logs={NODES["a"]: "first line\nlast line\n", NODES["b"]: "of another node\n"})
    one = started(task_logs="all")
    soon(lambda: nodes_are(sim, SUCCESS="a", RUNNING="b"))
    assert one.run("a").xcom == FIRST
    shown = "\n".join(one.log.lines)
    assert "last line" in shown
    assert "of another node" not in shown


def test_no_log(started: MakeGroup, sim: EnosSimulator) -> None:
    add_flow(sim, logs={NODES["c"]: f"{REASON}\n"})
    one = started(task_logs="none")
    end(sim, "FAIL", SUCCESS="abd", FAIL="c", INIT="ef")
    failed = one.run("c")
    assert failed.error is errors.EnosFlowFailedError
    assert REASON not in "\n".join([failed.message, *one.log.lines])


def test_a_task_that_pushes_no_xcom(started: MakeGroup, sim: EnosSimulator, way: str) -> None:
    one = started(default_args={"do_xcom_push": False})
    nodes_are(sim, SUCCESS="a")
    assert one.run("a").error is None
    assert one.xcom("a", "return_value") is None


def test_mapped_groups_know_nothing_of_each_other(group: MakeGroup, sim: EnosSimulator, way: str) -> None:
    groups = [group(way, map_index=index) for index in (0, 1)]
    sim.one_at_a_time = False
    for one in groups:
        assert one.run("start").error is None
    first, second = (instance.id for instance in sim.instances)
    nodes_are(sim, first, SUCCESS="a")
    nodes_are(sim, second, SUCCESS="a")
    assert [one.run("a").xcom for one in groups] == [first, second]


def test_all_nodes_of_an_instance_share_its_looks(group: MakeGroup, sim: EnosSimulator) -> None:
    one = group("deferred", poll_interval=0.5)
    one.run("start")
    before = sim.count("flowInstances/get")

    async def wait() -> None:
        tasks = [asyncio.create_task(anext(one.first_trigger(node).run())) for node in NODES]
        await asyncio.sleep(2.2)
        end(sim, "SUCCESS", SUCCESS="abcdef")
        async with asyncio.timeout(30):
            await asyncio.gather(*tasks)

    asyncio.run(wait())
    looks = sim.count("flowInstances/get") - before
    assert 3 <= looks <= 8, "one for all, every 0.5 s; for each node it would be 30"


@pytest.mark.parametrize(
    ("run_state", "start", "is_cancelled"),
    [
        ("failed", "success", True),
        ("success", "success", True),
        ("running", "success", False),
        # It was cleared with the task.
        ("running", "running", True),
        ("queued", "None", True),
        ("running", "success again", True),
        ("running", None, False),
    ],
)
def test_a_kill_cancels_the_instance_only_if_the_run_is_over_or_begins_again(
    group: MakeGroup,
    sim: EnosSimulator,
    monkeypatch: pytest.MonkeyPatch,
    run_state: str,
    start: str | None,
    *,
    is_cancelled: bool,
) -> None:
    one = group("deferred")
    one.run("start")
    monkeypatch.setattr("airflow_provider_enos.version_compat.run_state_of", lambda _: run_state)
    monkeypatch.setattr("airflow_provider_enos.version_compat.state_of", lambda _: "failed")
    monkeypatch.setattr(group_record, "state_of", lambda _: start and start.removesuffix(" again"))

    def start_again() -> None:
        record = GroupRecord(one.ti("start"), "nodes.start")
        record.begin(replace(record.start(), first=GroupInstance("8300-20200706062700", None, 1)))

    async def kill() -> None:
        trigger = one.first_trigger("a")
        waits = asyncio.create_task(anext(trigger.run()))
        await asyncio.sleep(0.5)
        if start == "success again":
            sim.one_at_a_time = False
            await asyncio.to_thread(start_again)
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
        if triggers_are_told_of_kills():
            await trigger.on_kill()

    asyncio.run(kill())
    assert sim.instances[0].cancelled is is_cancelled


def test_a_killed_task_does_not_ask_in_its_own_name_whether_start_was_cleared(
    group: MakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From Airflow 3.4 on, a task that was cleared may no longer read XComs."""
    one, name, asked_by = group("deferred"), ContextVar("name", default="nobody"), list[str]()
    one.run("start")
    monkeypatch.setattr("airflow_provider_enos.version_compat.run_state_of", lambda _: "running")
    monkeypatch.setattr("airflow_provider_enos.version_compat.state_of", lambda _: "failed")
    monkeypatch.setattr(GroupRecord, "is_over", lambda *_: bool(asked_by.append(name.get())))

    async def kill() -> None:
        name.set("the task")
        trigger = one.first_trigger("a")
        waits = asyncio.create_task(anext(trigger.run()))
        await asyncio.sleep(0.5)
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
        if triggers_are_told_of_kills():
            await trigger.on_kill()

    asyncio.run(kill())
    assert asked_by == ["nobody"]


def test_a_restarted_triggerer_cancels_nothing(
    group: MakeGroup, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = group("deferred")
    one.run("start")
    monkeypatch.setattr("airflow_provider_enos.version_compat.run_state_of", lambda _: "running")
    monkeypatch.setattr("airflow_provider_enos.version_compat.state_of", lambda _: "deferred")

    async def stop() -> None:
        waits = asyncio.create_task(anext(one.first_trigger("a").run()))
        await asyncio.sleep(0.5)
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)

    asyncio.run(stop())
    assert not sim.instances[0].cancelled


def test_what_it_reports_to_openlineage_is_its_node(started: MakeGroup, sim: EnosSimulator) -> None:
    one = started()
    operator = one.operator("b")
    assert operator._external().flow_id == 8300
    assert operator._external().from_task_id == NODES["b"]


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="task node: poll_interval"):
        EnosFlowNodeOperator(
            task_id="node",
            flow_id=1,
            node=2,
            node_name="x",
            start_task_id="start",
            poll_interval="soon",  # type: ignore[arg-type]
        )


def test_the_edges_are_those_of_the_flow(group: MakeGroup) -> None:
    made = group().made()
    for upstream, downstream in EDGES:
        assert made[downstream].task_id in made[upstream].downstream_task_ids
    assert made.start.downstream_task_ids == {"nodes.a"}


@pytest.mark.parametrize(("flow_id", "first"), [(8301, FIRST), (8300, "3377-20200706062600")])
def test_what_an_xcom_names_of_another_flow_is_left_alone(
    started: MakeGroup, sim: EnosSimulator, way: str, flow_id: int, first: str
) -> None:
    """Anybody who may write XComs can change them."""
    one = started()
    assert sim.trigger(3377, 108579, 1594016819108).id == "3377-20200706062600"
    end(sim, "FAIL", FAIL="a", INIT="bcdef")
    record = GroupRecord(one.ti("start"), "nodes.start")
    start = record.start()
    record.begin(replace(start, flow_id=flow_id, first=replace(start.first, flow_instance_id=first)))
    before = len(sim.instances)
    ended = one.run("a") if way == "worker" else one.retry("a")
    assert ended.error is errors.EnosTriggerError
    assert "about flow" in ended.message
    assert len(sim.instances) == before
