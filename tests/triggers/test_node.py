"""The trigger of a node: which instance it waits for, and what it fires."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from groups import FIRST, NODES, SECOND, Group, end, nodes_are
from instance_triggers import error_of

from airflow_provider_enos import errors
from airflow_provider_enos.protocol.start.group import GroupInstance, GroupStart, NodeSuccess
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers.node import EnosFlowNodeTrigger
from airflow_provider_enos.utils.group_record import GroupRecord
from airflow_provider_enos.utils.trigger_events import ASK_WORKER, InstanceEvent
from airflow_provider_enos.version_compat import triggers_are_told_of_kills

MakeGroup = Callable[..., Group]
MakeTrigger = Callable[..., EnosFlowNodeTrigger]
ends_tasks = pytest.mark.skipif(not triggers_are_told_of_kills(), reason="only Airflow 3.3 and later can")


@pytest.fixture
def one(group: MakeGroup) -> Group:
    """A group that has been started."""
    made = group("deferred")
    made.run("start")
    return made


@pytest.fixture
def node_trigger(one: Group) -> MakeTrigger:
    def make(name: str = "a", **arguments: Any) -> EnosFlowNodeTrigger:
        defaults = {
            "node": NODES[name],
            "start_task_id": "nodes.start",
            "enos_conn_id": "enos_default",
            "poll_interval": 0.02,
            "deadline": None,
            "timeout": 20.0,
        }
        made = EnosFlowNodeTrigger(**{**defaults, **arguments})
        made.task_instance, made._log = one.ti(name), one.log
        return made

    return make


def fired(trigger: EnosFlowNodeTrigger) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(30):
            return [event async for event in trigger.run()]

    (event,) = asyncio.run(main())
    return event


def resumes(event: Any) -> InstanceEvent:
    return InstanceEvent.of(json.loads(json.dumps(event.payload)))


def restart(one: Group, sim: EnosSimulator) -> None:
    """Start another instance from ``c``, as the task of that node does."""
    sim.one_at_a_time = False
    second = sim.trigger(8300, NODES["c"], sim.instances[0].trigger_time + 60_000).id
    record = GroupRecord(one.ti("c"), "nodes.start")
    first = record.start().first
    record.note_restart(
        record.start(), GroupInstance(second, NODES["c"], 1, tuple(NODES[name] for name in "cef")), first
    )


def test_it_can_be_stored_and_made_again(node_trigger: MakeTrigger) -> None:
    given = node_trigger("c", flow_instance_id=FIRST, for_rest=True, show_log=True, org_id="o")
    path, kwargs = given.serialize()
    assert path == "airflow_provider_enos.triggers.node.EnosFlowNodeTrigger"
    assert EnosFlowNodeTrigger(**json.loads(json.dumps(kwargs))).serialize() == (path, kwargs)


@pytest.mark.parametrize("wrong", [{"node": "x"}, {"for_rest": "yes"}, {"enos_conn_id": ""}])
def test_arguments_are_checked(node_trigger: MakeTrigger, wrong: dict[str, Any]) -> None:
    with pytest.raises(errors.EnosConfigError):
        node_trigger(**wrong)


@pytest.mark.parametrize("nodes", [{"SUCCESS": "a"}, {"SKIP": "a"}])
def test_it_resumes_its_task(node_trigger: MakeTrigger, sim: EnosSimulator, nodes: dict[str, str]) -> None:
    nodes_are(sim, **nodes)
    event = resumes(fired(node_trigger()))
    assert (event.flow_instance_id, event.error) == (FIRST, None)


@ends_tasks
@pytest.mark.parametrize("nodes", [{"SUCCESS": "a"}, {"SKIP": "a"}])
def test_it_ends_its_task(node_trigger: MakeTrigger, sim: EnosSimulator, one: Group, nodes: dict[str, str]) -> None:
    nodes_are(sim, **nodes)
    event = fired(node_trigger(ends_task=True))
    assert str(event.task_instance_state) == ("success" if "SUCCESS" in nodes else "skipped")
    assert one.xcom("a", "flow_instance_id") == FIRST
    assert one.xcom("a", "return_value") == (FIRST if "SUCCESS" in nodes else None)
    assert GroupRecord(one.ti("a"), "nodes.start").success(1) == NodeSuccess(FIRST, 1)


@ends_tasks
def test_a_failure_is_left_to_a_worker(node_trigger: MakeTrigger, sim: EnosSimulator) -> None:
    end(sim, "FAIL", FAIL="a", INIT="bcdef")
    event = resumes(fired(node_trigger(ends_task=True)))
    assert (event.flow_instance_id, event.error) == (FIRST, None)


@ends_tasks
def test_it_goes_on_to_the_instance_that_another_task_has_started(
    node_trigger: MakeTrigger, sim: EnosSimulator, one: Group
) -> None:
    restart(one, sim)
    nodes_are(sim, SECOND, SUCCESS="c")
    assert fired(node_trigger("c", flow_instance_id=FIRST, ends_task=True, deadline=time.time() + 20)) is not None
    event = fired(node_trigger("c", ends_task=True))
    assert str(event.task_instance_state) == "success"
    assert one.xcom("c", "flow_instance_id") == SECOND


@ends_tasks
def test_an_instance_that_is_started_while_it_waits(node_trigger: MakeTrigger, sim: EnosSimulator, one: Group) -> None:
    async def main() -> Any:
        waits = asyncio.create_task(anext(node_trigger("f", ends_task=True).run()))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(restart, one, sim)
        nodes_are(sim, FIRST, SUCCESS="f")
        await asyncio.sleep(0.3)
        assert not waits.done(), "what counts is the newest instance"
        nodes_are(sim, SECOND, SUCCESS="f")
        async with asyncio.timeout(20):
            return await waits

    assert str(asyncio.run(main()).task_instance_state) == "success"
    assert one.xcom("f", "return_value") == SECOND


def test_a_further_try_begins_in_a_worker(node_trigger: MakeTrigger, sim: EnosSimulator, one: Group) -> None:
    one.ti("a").try_number = 2
    asked = sim.count("flowInstances/get")
    assert fired(node_trigger()).payload == ASK_WORKER
    assert sim.count("flowInstances/get") == asked


def test_what_is_not_on_record_is_left_to_a_worker(node_trigger: MakeTrigger, one: Group) -> None:
    trigger = node_trigger()
    one.xcoms.stored.clear()
    assert fired(trigger).payload == ASK_WORKER
    assert "clear that task" in one.log.lines[-1]


def test_xcoms_that_fail_are_left_to_a_worker(
    node_trigger: MakeTrigger, one: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: GroupRecord) -> GroupStart:
        raise RuntimeError("no XComs today")

    monkeypatch.setattr(GroupRecord, "start", fail)
    assert fired(node_trigger()).payload == ASK_WORKER
    assert one.log.lines[-1].endswith("XComs cannot be read or written: no XComs today")


def test_time_is_over(node_trigger: MakeTrigger) -> None:
    error = error_of([fired(node_trigger(timeout=0.3)).payload])
    assert isinstance(error, errors.EnosFlowTimeoutError)


def test_the_gateway_is_out_of_reach(node_trigger: MakeTrigger, sim: EnosSimulator) -> None:
    sim.fault("http_500", on="flowInstances/get", times=None)
    error = error_of([fired(node_trigger(poll_error_tolerance=0.2)).payload])
    assert isinstance(error, errors.EnosPollLostError)


def test_it_waits_until_nothing_runs(node_trigger: MakeTrigger, sim: EnosSimulator) -> None:
    nodes_are(sim, SUCCESS="a", FAIL="c", RUNNING="b")

    async def main() -> Any:
        trigger = node_trigger("c", flow_instance_id=FIRST, for_rest=True, deadline=time.time() + 20)
        waits = asyncio.create_task(anext(trigger.run()))
        await asyncio.sleep(0.5)
        assert not waits.done()
        end(sim, "FAIL", SUCCESS="b", INIT="def")
        async with asyncio.timeout(20):
            return await waits

    assert resumes(asyncio.run(main())).flow_instance_id == FIRST


def test_many_nodes_share_one_look(one: Group, node_trigger: MakeTrigger, sim: EnosSimulator) -> None:
    before = sim.count("flowInstances/get")

    async def main() -> None:
        waits = [asyncio.create_task(anext(node_trigger(name, poll_interval=0.3).run())) for name in NODES]
        await asyncio.sleep(1.7)
        end(sim, "SUCCESS", SUCCESS="abcdef")
        async with asyncio.timeout(20):
            await asyncio.gather(*waits)

    asyncio.run(main())
    assert 3 <= sim.count("flowInstances/get") - before <= 10, "one each 0.3 s; one for each node would be 36"
    assert sim.count("flowInstances/search") == 0
